"""A collecting session of one person: consent, prompts in balanced order, a face in hand, its label, stored or discarded. Knows no widget.

The face in hand is memory alone. The prediction is for after the label, so that the label is the person's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ferlab.live.collection.consent import Agreement, check_pseudonym
from ferlab.live.collection.storage import Collection, Erased
from ferlab.live.collection.taken import TakenFace, take_face
from ferlab.live.frames import Still
from ferlab.live.model import LiveModel
from ferlab.paths import InputError


def next_prompt(done: Counter[str], expressions: Sequence[str], *, each: int, last: str, rng: np.random.Generator) -> str:
    """Return what to ask for next: at random one of the expressions that were stored least often, if possible not `last` again; "" at the end.

    So at any time two expressions differ by at most one face, whenever the person stops.
    """
    least = min(done[name] for name in expressions)
    if least >= each:
        return ""
    open_ones = [name for name in expressions if done[name] == least]
    others = [name for name in open_ones if name != last] or [name for name in expressions if name != last and done[name] < each] or open_ones
    return str(rng.choice(others))


@dataclass
class Collecting:
    """One person at the camera.

    Attributes:
        collection: Where faces are stored.
        model: Predicts each face.
        each: Faces that are asked for of each expression.
        person: The pseudonym; "" before consent and after withdrawal.
        prompt: The expression asked for; "" for none.
        face: The face in hand; None without one.
        label: The person's label of it; "" before.
        stored: Files stored in this session, the last one last.
    """

    collection: Collection
    model: LiveModel
    each: int = 4
    seed: int | None = None
    person: str = ""
    prompt: str = ""
    face: TakenFace | None = None
    label: str = ""
    stored: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def agree(self, agreement: Agreement) -> str:
        """Record the consent and return the pseudonym, a new one or that of who came back."""
        self.person = self.collection.agree(agreement, person=self.person or None)
        self._ask()
        return self.person

    def come_back(self, typed: str) -> bool:
        """Take up the session of a pseudonym; return whether its consent is to the current text, else it is asked for again.

        Raises:
            InputError: If it is no pseudonym, not known here, or withdrew.
        """
        person = check_pseudonym(typed)
        row = {row["person"]: row for row in self.collection.rows("consent.csv")}.get(person)
        if row is None:
            raise InputError(f"{person} is not known in {self.collection.folder}. Look at it again, or agree below and get a new one.")
        if row["withdrawn"]:
            left = f"Where pictures are left, `ferlab forget {person}` erases them."
            raise InputError(f"{person} withdrew on {row['withdrawn']}. {left} To take part again, agree below and get a new one.")
        self.end()  # a face in hand is of whoever was here before
        self.person = person
        try:
            self.collection.check(person)
        except InputError:
            return False
        self._ask()
        return True

    def take(self, still: Still) -> TakenFace:
        """Hold the selected face of a still, in place of the one before; nothing is written.

        Raises:
            InputError: If there is no consent, no face, or a second one beside it.
        """
        if not self.person:
            raise InputError("Agree first; this picture was not kept.")
        self.face, self.label = None, ""
        self.face = take_face(still, self.model, prompt=self.prompt)
        return self.face

    def name(self, expression: str) -> None:
        """Label the face in hand."""
        if self.face is None:
            raise InputError("Take a picture first.")
        if expression not in self.model.expressions:
            raise InputError(f"{expression!r} is no expression; expected one of {', '.join(self.model.expressions)}.")
        self.label = expression

    def store(self) -> str:
        """Store the face in hand with its label and go to the next prompt; return the file.

        Raises:
            InputError: Without a face or a label, without consent by the record on disk (then the face is dropped), or if it cannot be written (then
                it stays in hand).
        """
        if self.face is None or not self.label:
            raise InputError("Take a picture first." if self.face is None else "Name the expression first: press its number.")
        try:
            self.collection.check(self.person)
        except InputError:
            self.discard()
            raise
        file = self.collection.store(self.person, self.face, expression=self.label)
        self.stored.append(file)
        self.discard()
        self._ask()
        return file

    def discard(self) -> None:
        """Drop the face in hand."""
        self.face, self.label = None, ""

    def undo(self) -> str:
        """Erase the face that was stored last in this session, and ask for the same again; return its file.

        Raises:
            InputError: If nothing was stored in this session, or it cannot be erased; then it is still the last one.
        """
        if not self.stored:
            raise InputError("Nothing was stored in this session.")
        file = self.stored[-1]
        self.collection.discard(file)
        self.stored.pop()
        self._ask()
        return file

    def skip(self) -> None:
        """Ask for something else."""
        self.discard()
        self._ask()

    def withdraw(self) -> Erased:
        """Drop the face in hand, mark the consent as withdrawn, and erase everything of the person here.

        Raises:
            InputError: If nobody is in the session; as `ferlab.live.collection.storage.Collection.erase`, and the session goes on.
        """
        if not self.person:
            raise InputError("Nobody is in this session; nothing was erased.")
        self.discard()
        erased = self.collection.withdraw(self.person)
        self.end()  # not before: the pseudonym is the only way back
        return erased

    def end(self) -> None:
        """End the session; what was stored stays."""
        self.discard()
        self.person, self.prompt, self.stored = "", "", []

    def progress(self) -> pd.DataFrame:
        """Return `expression, asked for, labelled so, in the dataset` per expression: of the person by prompt and by own label, and of all people."""
        own, labelled, everybody = self._done(), self.collection.counts(self.person), self.collection.counts()
        rows = [(name, f"{own[name]} of {self.each}", labelled[name], everybody[name]) for name in self.model.expressions]
        return pd.DataFrame(rows, columns=["expression", "asked for", "labelled so", "all people"])

    def _done(self) -> Counter[str]:
        return Counter(row["prompt"] for row in self.collection.rows("captures.csv") if row["person"] == self.person and row["prompt"])

    def _ask(self) -> None:
        self.prompt = next_prompt(self._done(), self.model.expressions, each=self.each, last=self.prompt, rng=self._rng)
