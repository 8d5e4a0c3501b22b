"""The folder of collected faces: what `prepare.dataset: captured` reads, written face by face under a lock.

    data/raw/collected/
        consent.csv, consent_<version>.txt    who agreed to what, and the text
        captures.csv, <person>/<id>.png       a row and a picture per face
        labels.csv                            labels by others (`ferlab.live.collection.agreement`)
        sessions/<session>.csv                numbers of prompted sessions (`ferlab.live.session.files`)

Every write reads the disk first: a consent that was withdrawn meanwhile, in another session or by hand, stores nothing. Files are replaced whole;
a row is written after its picture and removed before it, so that no row lacks its picture. Only the owner can read what lies here.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import numpy as np
import pandas as pd

from ferlab.data.faces import content_hash
from ferlab.data.readers.captured import CAPTURES, CONSENT, LABELS, is_for, read_consent
from ferlab.data.readers.images import decode_picture, read_plain_file
from ferlab.data.readers.tables import name_row, read_columns
from ferlab.live.collection.consent import FORM, SCOPES, TEXT, Agreement, consent_version, draw_pseudonym, today
from ferlab.live.collection.csv_rows import erase_face_rows
from ferlab.live.collection.taken import TakenFace
from ferlab.live.session.files import SESSIONS, erase_person, people_of
from ferlab.locks import hold, let_go
from ferlab.paths import ROOT, InputError, read_json, write_whole

FOLDER = ROOT / "data" / "raw" / "collected"
WAIT = 20.0  # seconds for another session that stores
TABLES = {"consent.csv": CONSENT, "captures.csv": CAPTURES, "labels.csv": LABELS}


@dataclass(frozen=True)
class Erased:
    """What was erased of a person: numbers of pictures and of rows."""

    pictures: int
    rows: int

    def __str__(self) -> str:
        return f"{counted(self.pictures, 'picture')} and {counted(self.rows, 'row')}"


@dataclass(frozen=True)
class Collection:
    """A folder of collected faces; it is made with the first consent."""

    folder: Path = FOLDER

    def rows(self, name: str) -> list[dict[str, str]]:
        """Return the rows of one of `TABLES`, as texts; none where the file is missing.

        Raises:
            InputError: If the file was edited by hand into something that cannot be read; file and row are named.
        """
        path = self.folder / name
        if not path.is_file():
            return []
        where = str(path)
        read = read_consent(path.read_bytes(), where) if name == "consent.csv" else read_columns(path.read_bytes(), where, **TABLES[name])
        return read.to_dict("records")

    def agree(self, agreement: Agreement, *, person: str | None = None) -> str:
        """Record a consent and return the pseudonym: a drawn one, or `person`, who agrees anew and has not withdrawn.

        Raises:
            InputError: If the agreement lacks something, or the disk is full; nothing is stored then.
        """
        if agreement.missing:
            raise InputError(agreement.missing)
        with self.alone():
            rows = self.rows("consent.csv")
            known = {row["person"]: row for row in rows}
            if person is not None and known.get(person, {"withdrawn": "unknown"})["withdrawn"]:
                raise InputError(f"{person}: not known here, or withdrawn; a new pseudonym is drawn without one.")
            person = person or draw_pseudonym(self.people())
            text = self.folder / f"consent_{consent_version()}.txt"
            if not text.is_file() or text.read_text(encoding="utf-8") != TEXT:
                write_whole(text, TEXT.encode())
            row = agreement.record(person)
            self._write("consent.csv", [row if each["person"] == person else each for each in rows] if person in known else [*rows, row])
        return person

    def check(self, person: str) -> str:
        """Return the version of the text that a person agreed to, by the record on disk at this moment.

        Raises:
            InputError: If there is no consent, it was withdrawn, or the text is a new one; nothing may be stored.
        """
        row = {row["person"]: row for row in self.rows("consent.csv")}.get(person)
        if row is None or row["consent"].casefold() != "yes":
            raise InputError(f"{person}: no consent in {self.folder / 'consent.csv'}; nothing was stored.")
        if row["withdrawn"]:
            raise InputError(f"{person}: consent was withdrawn on {row['withdrawn']}; nothing was stored.")
        if not is_for(row["scope"], SCOPES[0]):
            raise InputError(f"{person}: consent is not for {SCOPES[0]}; nothing was stored.")
        if row["consent_version"] != consent_version():
            raise InputError(f"{person}: the consent text has changed since {row['date']}; agree to the new one first. Nothing was stored.")
        return row["consent_version"]

    def store(self, person: str, face: TakenFace, *, expression: str) -> str:
        """Store a face with the person's own label and return its file, such as `p-7k3q/0f3a9c1e.png`.

        Raises:
            InputError: As `check`; a full disk, or a captures.csv that cannot be read. Nothing is left of the face then.
        """
        picture, file = face.png(), f"{person}/{secrets.token_hex(4)}.png"
        self.check(person)  # before anything is made
        with self.alone():
            version, rows = self.check(person), self.rows("captures.csv")
            path = self.folder / file
            try:
                path.parent.mkdir(exist_ok=True)
                write_whole(path, picture)
                row = {"file": file, "person": person, "expression": expression, "consent_version": version}
                self._write("captures.csv", [*rows, {**face.record(), **row}])
            except BaseException as error:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    path.parent.rmdir()  # only where it is empty
                if isinstance(error, OSError):
                    raise InputError(f"{path}: not saved: {error.strerror}; nothing is left there; see to that and store again") from None
                raise
        return file

    def discard(self, file: str) -> None:
        """Erase one stored face with its labels, as undo does."""
        with self.alone():
            self._remove_rows({file}, labeller=None)
            (self.folder / file).unlink(missing_ok=True)

    def label(self, file: str, *, labeller: str, expression: str, time: str) -> None:
        """Record the label of another person; one who labels a face again replaces their label.

        Raises:
            InputError: If the face is not there any more, or the disk is full.
        """
        with self.alone():
            if not any(row["file"] == file for row in self.rows("captures.csv")):
                raise InputError("This face was erased meanwhile; nothing was stored. Go on with the next.")
            rows = [row for row in self.rows("labels.csv") if (row["file"], row["labeller"]) != (file, labeller)]
            self._write("labels.csv", [*rows, {"file": file, "labeller": labeller, "expression": expression, "time": time}])

    def counts(self, person: str | None = None) -> Counter[str]:
        """Return how many faces of each expression are stored, of a person or of all."""
        return Counter(row["expression"] for row in self.rows("captures.csv") if person in (None, row["person"]))

    def faces(self) -> pd.DataFrame:
        """Return the rows of captures.csv of people who have not withdrawn, with their `scope`, in the order of their times."""
        scopes = {row["person"]: row["scope"] for row in self.rows("consent.csv") if row["consent"].casefold() == "yes" and not row["withdrawn"]}
        rows = [{**row, "scope": scopes[row["person"]]} for row in self.rows("captures.csv") if row["person"] in scopes]
        columns = [*CAPTURES["required"], *CAPTURES["optional"], "scope"]
        return pd.DataFrame(sorted(rows, key=lambda row: (row["time"], row["file"])), columns=columns, dtype=object)

    def withdraw(self, person: str) -> Erased:
        """Mark a consent as withdrawn, then erase the person's faces here; what was computed from them is for `ferlab forget`."""
        self.mark_withdrawn(person)
        return self.erase(person)

    def mark_withdrawn(self, person: str) -> None:
        """Keep of a person's consent the pseudonym and two dates: given and withdrawn. From here on nothing of theirs is stored or prepared."""
        if not self.folder.is_dir():
            return
        with self.alone():
            rows = self.rows("consent.csv")
            for row in rows:
                if row["person"] == person:
                    kept = {"person": person, "consent": row["consent"], "date": row["date"], "withdrawn": row["withdrawn"] or today().isoformat()}
                    row.update({**dict.fromkeys(row, ""), **kept})
            if any(row["person"] == person for row in rows):
                self._write("consent.csv", rows)

    def erase(self, person: str) -> Erased:
        """Erase the rows, then the pictures of a person, and what they labelled; their checksums stay in a hidden file until `ferlab forget`.

        Raises:
            InputError: As `files_of`; no person is stated. Nothing is erased then.
        """
        if not person:
            raise InputError("no person is stated; nothing was erased.")
        if not self.folder.is_dir():
            return Erased(0, 0)
        with self.alone():
            files = self.files_of(person)
            if files:
                write_whole(self.checksums_file(person), json.dumps(self.known_checksums(person)).encode())
            rows = self._remove_rows(set(files), labeller=person) + erase_person(self.folder / SESSIONS, person)
            pictures = 0
            for file in files:
                pictures += (self.folder / file).is_file()
                (self.folder / file).unlink(missing_ok=True)
            if own := self._own_folder(person):
                pictures += sum(path.is_file() for path in own.rglob("*"))
                shutil.rmtree(own)
        return Erased(pictures, rows)

    def files_of(self, person: str) -> list[str]:
        """Return the pictures of a person, by captures.csv and by the folder of their name, below this folder.

        Raises:
            InputError: If a row or a link leads out of this folder, or a row names one of its tables: what lies there is not erased.
        """
        root, where = self.folder.resolve(), str(self.folder / "captures.csv")
        listed = []
        for number, row in enumerate(self.rows("captures.csv"), start=1):
            if row["person"] == person:
                path = (self.folder / row["file"]).resolve()
                if not path.is_relative_to(root) or path.is_dir() or path.suffix.lower() in (".csv", ".txt"):
                    found = f"{name_row(where, number)}: {row['file']!r} is no picture below this folder"
                    raise InputError(f"{found}, so it is not erased. Mend the row, delete by hand what lies elsewhere, and do it again.")
                listed.append(row["file"])
        own = self._own_folder(person)
        return sorted({*listed, *(path.relative_to(self.folder).as_posix() for path in (own.rglob("*") if own else ()) if path.is_file())})

    def _own_folder(self, person: str) -> Path | None:
        """Return the folder of a person's name, None without one."""
        own = self.folder / person
        if person in ("", ".", "..", SESSIONS) or PurePosixPath(person).name != person or not own.is_dir():
            return None
        if own.is_symlink():
            raise InputError(f"{own} is a link, so what lies there is not erased. Delete its content by hand and the link, and do it again.")
        return own

    def people(self) -> set[str]:
        """Return everybody who has a row below this folder, as a person, as a labeller or in a prompted session."""
        found = {row["person"] for name in ("consent.csv", "captures.csv") for row in self.rows(name)}
        found |= {row["labeller"] for row in self.rows("labels.csv")} | set(people_of(self.folder / SESSIONS))
        return found - {""}

    def checksums_file(self, person: str) -> Path:
        """Return where the checksums of an erased person's pictures lie until it is proved that no copy is left."""
        return self.folder / f".erased-{quote(person, safe='')}.json"

    def known_checksums(self, person: str) -> dict[str, list[str]]:
        """Return `files`, `sha256` and `pixels` (`content_hash`) of a person's pictures, of those that were erased too."""
        path = self.checksums_file(person)
        kept = read_json(path, made_by="erasing") if path.is_file() else {"files": [], "sha256": [], "pixels": []}
        files = self.files_of(person)
        there = [self.folder / file for file in files if (self.folder / file).is_file()]
        found = {"files": files, "sha256": [hashlib.sha256(each.read_bytes()).hexdigest() for each in there], "pixels": [*_pixels(there)]}
        return {key: sorted({*kept[key], *values}) for key, values in found.items()}

    def _remove_rows(self, files: set[str], *, labeller: str | None) -> int:
        """Remove the rows of some pictures from all tables, and those of a labeller; return how many."""
        gone = 0
        for name in ("captures.csv", "labels.csv"):
            rows = self.rows(name)
            kept = [row for row in rows if row["file"] not in files and not (name == "labels.csv" and row["labeller"] == labeller)]
            if len(kept) < len(rows):
                self._write(name, kept)
            gone += len(rows) - len(kept)
        gone += sum(erase_face_rows(path, files=files, who=labeller) for path in sorted(self.folder.rglob("*.csv")))
        return gone

    def _write(self, name: str, rows: Sequence[Mapping[str, str]]) -> None:
        columns = [*TABLES[name]["required"], *TABLES[name]["optional"]]
        text = io.StringIO()
        table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_whole(self.folder / name, text.getvalue().encode())

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder for this process, readable by its owner alone, while the block runs: meanwhile nobody stores, withdraws or erases."""
        before = os.umask(0o077)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.folder.stat().st_mode & 0o077:
                self.folder.chmod(0o700)
            lock = self.folder.with_name(f".{self.folder.name}.lock")
            hold(lock, what=str(self.folder), wait=WAIT)
            try:
                yield
            finally:
                let_go(lock)
        except OSError as error:
            raise InputError(f"{self.folder}: {error.strerror}; nothing was changed; see to that and do it again") from None
        finally:
            os.umask(before)


def counted(number: int, word: str) -> str:
    """Return "1 picture" or "2 pictures"."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"


def read_picture(path: Path) -> np.ndarray:
    """Return a stored picture, uint8 (H, W) or (H, W, 3) in RGB.

    Raises:
        InputError: If it is missing, or no picture any more.
    """
    return decode_picture(read_plain_file(path), where=str(path))


def is_pseudonym(person: str) -> bool:
    """Return whether an ID was drawn, so that it stands for nothing else wherever it is found."""
    return FORM.fullmatch(person) is not None


def _pixels(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        with contextlib.suppress(InputError):  # no picture: its bytes are known by their checksum
            yield content_hash(read_picture(path))
