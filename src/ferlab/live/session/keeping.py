"""What a prompted session stores, by the person's choice: nothing, numbers, or numbers and faces; and how that is taken back.

Every write asks the record of consent on disk first, so that a consent that is withdrawn during a session stops it from storing.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ferlab.live.collection.consent import draw_pseudonym
from ferlab.live.collection.storage import Collection
from ferlab.live.collection.taken import take_face
from ferlab.live.frames import Still
from ferlab.live.model import LiveModel
from ferlab.live.session.files import SessionFacts, erase_session, read_sessions, session_path, write_session
from ferlab.paths import InputError


class Keeping:
    """The tables of a panel's sessions, and what of them lies on disk.

    Attributes:
        collection: Where faces are stored, with the record of consent.
        facts: Of the current session.
        tables: By session; kept or not.
    """

    def __init__(self, collection: Collection | None = None) -> None:
        self.collection = collection or Collection()
        self.facts: SessionFacts | None = None
        self.tables: dict[str, pd.DataFrame] = {}
        self._files: list[str] = []  # faces of the current session
        self._stored = False  # whether its table was

    def begin(self, facts: SessionFacts) -> None:
        """Take up a session.

        Raises:
            InputError: If what is to be kept lacks consent; the session is not taken up.
        """
        self._check(facts)
        self.facts, self._files, self._stored = facts, [], False

    def leave(self) -> None:
        """Leave the session as it is stored, or not: whoever chooses from here on is another person."""
        self.facts, self._files, self._stored = None, [], False

    def note(self, table: pd.DataFrame) -> None:
        """Take the attempts so far, and store them where that is agreed.

        Raises:
            InputError: If a consent was withdrawn or the file erased meanwhile: what lies on disk of this session is erased, and nothing more of it
                is stored.
        """
        self.tables[self.facts.session] = table
        if not self.facts.kept:
            return
        with self.collection.alone():  # a person who is erased at this moment is found erased
            try:
                self._check(self.facts)
                if self._stored and not session_path(self.facts.session).exists():
                    raise InputError(f"{self.facts.person}: this session was erased meanwhile; nothing more of it is stored.")
            except InputError:
                erase_session(self.facts.session)
                self.facts = replace(self.facts, kept="")
                self.tables[self.facts.session] = table.assign(kept="")
                raise
            write_session(table)
            self._stored = True

    def store_face(self, still: Still, model: LiveModel, *, prompt: str) -> None:
        """Store the face of a scored prompt where that is agreed; the prompt is the person's own label.

        Raises:
            InputError: As `ferlab.live.collection.storage.Collection.store` and `ferlab.live.collection.taken.take_face`.
        """
        if self.facts.kept == "faces":
            self._files.append(self.collection.store(self.facts.person, take_face(still, model, prompt=prompt), expression=prompt))

    def change(self, kept: str) -> str:
        """Keep more or less of the current session, from its first prompt on; return what was done, in one line.

        Raises:
            InputError: If what is to be kept lacks consent; nothing is changed then.
        """
        if self.facts is None:
            return ""
        changed = replace(self.facts, kept=kept)
        self._check(changed)
        self.facts = changed
        if kept != "faces":
            for file in self._files:
                self.collection.discard(file)
            self._files = []
        table = self.tables.get(changed.session)
        if table is None:
            return ""
        self.tables[changed.session] = table = table.assign(kept=kept)
        self._stored = bool(kept)
        if kept:
            with self.collection.alone():
                self._check(changed)
                write_session(table)
            return "The numbers of this session are stored."
        return "What was stored of this session is erased." if erase_session(changed.session) else ""

    def sessions(self) -> pd.DataFrame:
        """Return the attempts on disk and those of this panel that are not kept."""
        stored = read_sessions()
        others = [table for name, table in self.tables.items() if name not in set(stored["session"])]
        return pd.concat([stored, *others], ignore_index=True) if others else stored

    def new_pseudonym(self) -> str:
        """Draw a pseudonym that nobody here has."""
        return draw_pseudonym({row["person"] for row in self.collection.rows("consent.csv")} | set(self.sessions()["person"]))

    def _check(self, facts: SessionFacts) -> None:
        if facts.kept == "faces":
            self.collection.check(facts.person)
        elif facts.kept and any(row["person"] == facts.person and row["withdrawn"] for row in self.collection.rows("consent.csv")):
            raise InputError(f"{facts.person}: consent was withdrawn; nothing is stored under this pseudonym. Draw a new one.")
