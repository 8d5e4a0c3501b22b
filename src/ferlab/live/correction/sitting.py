"""One person goes through doubtful faces: the queue, the label to be decided, undo. Without widgets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from ferlab.data.faces import originals
from ferlab.data.preparation.corrections import BOTH, EXCLUDE
from ferlab.live.correction.decisions import Decisions
from ferlab.live.correction.doubtful import SOURCES, Scores, choose, count_doubtful, find_doubtful

WORKED_ON = ("train", "val")  # correcting test faces with predictions in sight biases the test


@dataclass
class Sitting:
    """The doubtful faces of a set and what one person decides about them; each decision is saved at once.

    Attributes:
        faces: Face table of the prepared set.
        expressions: Its names.
        scores: What models predict.
        decisions: Where decisions go; None until the person has given a name.
        sources: Those of SOURCES that faces are taken from.
        splits: Those that faces are taken from.
        again: Also faces that others have decided.
        first: The first of two labels, while the second is awaited; "".
        queue: `face_id` of the faces to come, the current one first.
    """

    faces: pd.DataFrame
    expressions: tuple[str, ...]
    scores: Scores
    decisions: Decisions | None = None
    sources: Sequence[str] = SOURCES
    splits: Sequence[str] = WORKED_ON
    again: bool = False
    first: str = ""
    queue: list[str] = field(default_factory=list)
    _doubtful: pd.DataFrame = field(default_factory=pd.DataFrame)
    _given: dict[str, str] = field(default_factory=dict)
    _past: list[tuple[str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.find()

    def sign(self, decisions: Decisions | None) -> None:
        """Go on as another person: the queue holds what this person has not decided, and what was decided before is not undone."""
        self.decisions = decisions
        self._past.clear()
        self.find()

    def find(self) -> None:
        """Look for doubtful faces again, as after further scores or a change of what is chosen; what is queued starts anew, undo goes on.

        Labels are those before any correction: where somebody decided already, the file knows them.
        """
        table = originals(self.faces).reset_index(drop=True)
        decided = self.decisions.all() if self.decisions else pd.DataFrame({"face_id": [], "old": [], "who": []})
        before = dict(zip(decided["face_id"], decided["old"], strict=True))
        names = [self.expressions[target] for target in table["target"]]
        self._given = {face_id: before.get(face_id, name) for face_id, name in zip(table["face_id"], names, strict=True)}
        given = [self.expressions.index(self._given[face_id]) for face_id in table["face_id"]]
        self._doubtful = find_doubtful(table.assign(target=given), self.scores, expressions=self.expressions)
        who = self.decisions.who if self.decisions else ""
        done = set(decided["face_id"][decided["who"] == who] if self.again else decided["face_id"])
        chosen = choose(self._doubtful, sources=self.sources, splits=self.splits)["face_id"]
        self.queue, self.first = [face_id for face_id in chosen if face_id not in done], ""

    def take(self, face_ids: Sequence[str]) -> int:
        """Queue the given faces instead of the doubtful ones, as long as they are faces of the set; return how many are."""
        self.queue, self.first = [face_id for face_id in face_ids if face_id in self._given], ""
        return len(self.queue)

    def counts(self) -> dict[str, int]:
        """Return how many faces of the chosen splits each source finds, decided ones included."""
        return count_doubtful(self._doubtful, splits=self.splits)

    @property
    def current(self) -> str | None:
        """The face to be decided; None at the end."""
        return self.queue[0] if self.queue else None

    def given(self, face_id: str) -> str:
        """Return the label of a face before any correction."""
        return self._given[face_id]

    def why(self, face_id: str) -> str:
        """Return the sources that found a face, as a reason."""
        row = self._doubtful[self._doubtful["face_id"] == face_id]
        return ", ".join(source for source in SOURCES if len(row) and row[source].iloc[0]) or "chosen by hand"

    def label(self, expression: str) -> str:
        """Decide the current face, or give the second of its labels; return the decision."""
        two = self.first and self.first != expression
        return self._decide(f"{self.first}{BOTH}{expression}" if two else expression)

    def begin_two(self, expression: str) -> str | None:
        """Take the first of two labels, or the second where the first is there; return the decision that this completes."""
        if self.first:
            return self.label(expression)
        self.first = expression
        return None

    def confirm(self) -> str:
        """Decide that the given label is right."""
        return self._decide(self.given(self.queue[0]))

    def exclude(self) -> str:
        """Decide that the face is not to be used."""
        return self._decide(EXCLUDE)

    def skip(self) -> None:
        """Leave the current face for the end of the queue."""
        self.first = ""
        if self.queue:
            self._past.append((self.queue[0], False))
            self.queue.append(self.queue.pop(0))

    def undo(self) -> str | None:
        """Take the last step back, a decision or a skip, and show its face again; None where there is none."""
        self.first = ""
        if not self._past:
            return None
        face_id, was_decided = self._past[-1]
        if was_decided and self.decisions:
            self.decisions.undo()
        self._past.pop()
        if face_id in self.queue:
            self.queue.remove(face_id)
        self.queue.insert(0, face_id)
        return face_id

    def _decide(self, new: str) -> str:
        if self.decisions is None:
            raise RuntimeError("a decision needs a person")
        face_id = self.queue[0]
        self.decisions.decide(face_id, self.given(face_id), new, why=self.why(face_id))
        self._past.append((self.queue.pop(0), True))
        self.first = ""
        return new
