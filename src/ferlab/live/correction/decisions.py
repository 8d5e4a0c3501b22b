"""One person's decisions about labels, each saved at once in the corrections file of a set, beside those of others.

Several people may write one file at a time: a decision is read, merged and written under a lock, whole or not at all.
"""

from __future__ import annotations

import csv
import datetime
import io
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ferlab.data.preparation.corrections import COLUMNS, read_corrections
from ferlab.locks import hold, let_go
from ferlab.params import Prepare
from ferlab.paths import ROOT, InputError, write_whole

FILE = "corrections.csv"
LONGEST = 60  # characters of a name, or of a reason
FORMULA = ("=", "+", "-", "@")  # at the beginning of a cell: a spreadsheet computes it
PATIENCE = 10.0  # seconds to wait for another writer
DRAWN = "control"  # the dataset whose raw files are not read


def corrections_file(prepare: Prepare, set_name: str) -> Path:
    """Return where the corrections of a set lie: in its raw folder; of control faces, which have none, in `data/raw/<set>`.

    Raises:
        InputError: The set's `raw` is a file or an archive.
    """
    raw = ROOT / prepare.raw
    if {source["dataset"] for source in prepare.all_sources.values()} == {DRAWN} and not raw.is_dir():
        return ROOT / "data" / "raw" / set_name / FILE
    if not raw.is_dir():
        what = "is a file" if raw.exists() else "is missing"
        raise InputError(f"prepare.{set_name}.raw: {prepare.raw} {what}; corrections lie in a folder: put the dataset into one of its own")
    return raw / (prepare.corrections or FILE)


@dataclass
class Decisions:
    """The decisions of one person on the faces of a set.

    Attributes:
        path: The corrections file; made with the first decision.
        who: The person's pseudonym.
        now: Gives the time of a decision.
    """

    path: Path
    who: str
    now: Callable[[], datetime.datetime] = datetime.datetime.now
    _undo: list[tuple[dict[str, str], dict[str, str] | None]] = field(default_factory=list)  # what was written, and what was there

    def __post_init__(self) -> None:
        self.who = _one_line(self.who, what="your name or pseudonym")

    def all(self) -> pd.DataFrame:
        """Return the rows of everybody.

        Raises:
            InputError: See `read_corrections`.
        """
        return read_corrections(self.path) if self.path.is_file() else pd.DataFrame(columns=list(COLUMNS), dtype=object)

    def own(self) -> dict[str, str]:
        """Return this person's decisions by face."""
        table = self.all()
        own = table[table["who"] == self.who]
        return dict(zip(own["face_id"], own["new"], strict=True))

    def decide(self, face_id: str, old: str, new: str, *, why: str) -> None:
        """Save a decision, in place of an earlier one of this person on that face.

        Args:
            face_id: The face.
            old: Its label in the set.
            new: See `ferlab.data.preparation.corrections`.
            why: What brought the face up.

        Raises:
            InputError: A text that is empty or of several lines, a file that was damaged meanwhile, a full disk, or another writer that does not end.
        """
        when = self.now().replace(microsecond=0, tzinfo=None).isoformat()
        row = dict(zip(COLUMNS, (face_id, old, new, self.who, _one_line(why, what="a reason"), when), strict=True))
        self._undo.append((row, self._put(face_id, row)))

    def undo(self) -> str | None:
        """Take back the last decision of this session, and return its face; what this person had decided before comes back.

        What this person has decided since on that face, as in another window, stays.
        """
        if not self._undo:
            return None
        written, before = self._undo[-1]
        self._put(written["face_id"], before, over=written)
        self._undo.pop()
        return written["face_id"]

    @property
    def made(self) -> int:
        """Decisions of this session that were not taken back."""
        return len(self._undo)

    def _put(self, face_id: str, row: dict[str, str] | None, *, over: dict[str, str] | None = None) -> dict[str, str] | None:
        """Replace this person's row of a face, None for none, and return the one before; with `over`, only where that is it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.path.with_name(f".{self.path.name}.lock")
        hold(lock, what=self.path.name, wait=PATIENCE)
        try:
            rows = self.all().to_dict("records")
            place = next((number for number, each in enumerate(rows) if (each["face_id"], each["who"]) == (face_id, self.who)), len(rows))
            before = rows[place] if place < len(rows) else None
            if over and (before is None or any(before[column] != over[column] for column in ("new", "when"))):
                return before
            rows[place : place + 1] = [row] if row else []
            write_whole(self.path, _text(rows).encode())
        finally:
            let_go(lock)
        return before


def _text(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _one_line(text: str, *, what: str) -> str:
    kept = unicodedata.normalize("NFC", " ".join(text.split()))  # one accent, written in two ways, is one person
    if not kept or len(kept) > LONGEST or not kept.isprintable() or kept.startswith(FORMULA):
        raise InputError(f"expected {what} in 1 to {LONGEST} letters that begins with none of {' '.join(FORMULA)}, got {kept[:LONGEST]!r}")
    return kept
