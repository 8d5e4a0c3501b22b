"""A user's own captured faces with the record of who consented to their use (as the web-app sets of cs230 and FERS).

    consent.csv     person,consent,date,scope[,signed_by,note,withdrawn]      one row per person; consent is yes or no, dates are 2024-05-31
    captures.csv    file,person,expression[,time,corrected_from,note]         one row per picture, its path from this file's folder; or, without it:
    <person>/<expression>/<image>

Nobody's face is used by accident: who has no row in consent.csv, no yes, a withdrawn consent, or one of another scope is left out, with
the reason, and named in the log. What stays is a subject each, so that splits part people and never one person's pictures.
"""

from __future__ import annotations

import csv
import datetime
import difflib
import io
import logging
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names, say_unread
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.folder_names import match_expression, near_expression
from ferlab.data.readers.images import PictureFiles
from ferlab.data.readers.pixels import name_row
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

LOG = logging.getLogger(__name__)
CONSENT = (("person", "consent", "date", "scope"), ("signed_by", "note", "withdrawn"))  # columns that must be there, and that may
CAPTURES = (("file", "person", "expression"), ("time", "corrected_from", "note"))


def read(raw: Path, *, scope: str = "research") -> tuple[PictureFiles, pd.DataFrame]:
    """Read the pictures of people who consented.

    Args:
        raw: A folder or zip that holds consent.csv, in any leading folder, and beside it captures.csv or a folder per person.
        scope: What the faces are used for: a word that a person's scope must hold ("research; publication" holds two).

    Returns:
        Pictures, and a face table without `split` and `content_hash`, in the order of the paths: `usage` "all", `subject`, `consent_scope`, and
        with captures.csv `time` and `corrected_from` (the expression before a correction by hand). `excluded` is "" or: "no consent",
        "consent withdrawn", "consent is not for <scope>", "not in captures.csv", "no person", "no label", "label 'bored' is none of ours".

    Raises:
        InputError: If consent.csv is missing, or either csv has another column, a row or person twice, a wrong date, a file that is not
            there, or a word near to an expression; if there are no pictures, or nobody consented.
    """
    delivery = Delivery(raw)
    consent_csv = _find_one(delivery, "consent.csv")
    base = PurePosixPath(consent_csv).parent
    names = picture_names(delivery)
    if not names:
        expected = "expected captures.csv or <person>/<expression>/<image> by consent.csv. See data/raw/README.md."
        raise InputError(f"{raw} holds no pictures; {expected}{say_unread(delivery)}")
    beside = delivery.select(lambda path: path.parent == base and path.name.lower() == "captures.csv")
    captures = _from_csv(delivery, beside[0], names) if beside else _from_folders(delivery, names, base)
    consent = _read_consent(delivery, consent_csv)
    _leave_out_without_consent(captures, consent, scope=scope, where=delivery.where(consent_csv), name=consent_csv)
    faces = pd.DataFrame({"face_id": [f"captured/{name}" for name in names], "source": "captured", "source_path": names, "usage": "all"})
    return PictureFiles(delivery, names), pd.concat([faces, captures.set_axis(faces.index)], axis=1)


def _leave_out_without_consent(captures: pd.DataFrame, consent: pd.DataFrame, *, scope: str, where: str, name: str) -> None:
    """Leave out the pictures of who did not consent, and name them in the log: by the csv's name, since the log becomes part of a page."""
    reasons = {person: _why_not(row, scope) for person, row in zip(consent["person"], consent.to_dict("records"), strict=True)}
    _refuse_other_spellings(captures["subject"], reasons, where=where)
    for person, count in captures["subject"].value_counts().sort_index().items():
        why = reasons.get(person, "no consent")
        if person and why:
            near = difflib.get_close_matches(person, list(reasons), n=1, cutoff=0.8) if person not in reasons else []
            hint = f" (no row; did you mean {near[0]!r}?)" if near else "" if person in reasons else " (no row)"
            LOG.warning("%s: %d pictures of %r are left out: %s%s.", name, count, person, why, hint)
    found = captures["subject"].map(lambda person: reasons.get(person, "no consent") if person else "")
    refused = (found != "").to_numpy()
    captures.loc[refused, "excluded"] = found[refused]
    captures.loc[captures["excluded"] != "", "target"] = -1
    captures["consent_scope"] = captures["subject"].map(dict(zip(consent["person"], consent["scope"], strict=True))).fillna("")
    if refused.all():
        raise InputError(f"{where}: nobody whose pictures are here consented to {scope!r}; expected a row person,yes,date,scope for who did.")


def _refuse_other_spellings(people: pd.Series, rows: Iterable[str], *, where: str) -> None:
    """Whether 'anna' is the 'Anna' who consented is not for a program to say; that nobody is lost by a capital letter, it is."""
    plain = {_spelling(row): row for row in rows}
    for person in sorted(set(people).difference(["", *rows])):
        row = plain.get(_spelling(person))
        if row is not None:
            found = f"{where} has {row!r}, and {(people == person).sum()} pictures are of {person!r}"
            raise InputError(f"{found}; expected one spelling for one person. Write the same in both, or give {person!r} a row of their own.")


def _spelling(person: str) -> str:
    return re.sub(r"[\W_]+", "", person.casefold())


def _why_not(row: dict[str, str], scope: str) -> str:
    if row["consent"].casefold() != "yes":
        return "no consent"
    if row["withdrawn"]:
        return "consent withdrawn"
    return "" if scope.casefold() in re.split(r"\s*[;,/]\s*", row["scope"].casefold()) else f"consent is not for {scope}"


def _read_consent(delivery: Delivery, name: str) -> pd.DataFrame:
    table = _read_csv(delivery, name, columns=CONSENT)
    for row, (person, consent, date, withdrawn) in enumerate(zip(*(table[c] for c in ("person", "consent", "date", "withdrawn")), strict=True), 1):
        place = name_row(delivery.where(name), row)
        if not person:
            raise InputError(f"{place}: the person is empty; expected a name or number, as in the captures. Fill it in.")
        for column, day in (("date", date), ("withdrawn", withdrawn)):
            if not (_is_date(day) or (day == "" and (column == "withdrawn" or consent.casefold() != "yes"))):
                raise InputError(f"{place}: {column} is {day!r}; expected a day such as 2024-05-31. Fill it in.")
    table["person"] = table["person"].map(_same)
    _check_once(table["person"], delivery.where(name))
    return table


def _from_csv(delivery: Delivery, name: str, names: list[str]) -> pd.DataFrame:
    """Return `subject`, `target`, `excluded`, `time`, `corrected_from` for every picture in `names`."""
    table = _read_csv(delivery, name, columns=CAPTURES)
    where, base = delivery.where(name), PurePosixPath(name).parent
    table["file"] = [str(base / file) for file in table["file"]]
    _check_once(table["file"], where)
    known = set(names)
    for row, file in enumerate(table["file"], start=1):
        if file not in known:
            raise InputError(f"{name_row(where, row)}: {file!r} is no picture here; expected a path from the folder of captures.csv. Mend the row.")
    labels = [_label(word, name_row(where, row)) for row, word in enumerate(table["expression"], start=1)]
    before = [_label(word, name_row(where, row))[0] if word else -1 for row, word in enumerate(table["corrected_from"], start=1)]
    table = table.assign(
        subject=table["person"].map(_same),
        target=[target for target, _ in labels],
        excluded=[why if person else "no person" for person, (_, why) in zip(table["person"], labels, strict=True)],
        corrected_from=[ALL_EXPRESSIONS[place] if place >= 0 else word for place, word in zip(before, table["corrected_from"], strict=True)],
    )
    columns = ["subject", "target", "excluded", "time", "corrected_from"]
    table = table.set_index("file")[columns].reindex(names)
    table["excluded"] = table["excluded"].fillna("not in captures.csv")
    return table.fillna({"subject": "", "target": -1, "time": "", "corrected_from": ""}).astype({"target": np.int64})


def _from_folders(delivery: Delivery, names: list[str], base: PurePosixPath) -> pd.DataFrame:
    folders = [name.rpartition("/")[0] for name in names]
    found = {folder: _from_folder(PurePosixPath(folder), base, f"{delivery.root}/{folder!r}") for folder in sorted(set(folders))}
    return pd.DataFrame([found[folder] for folder in folders], columns=["subject", "target", "excluded"])


def _from_folder(folder: PurePosixPath, base: PurePosixPath, place: str) -> tuple[str, int, str]:
    parts = folder.relative_to(base).parts if folder.is_relative_to(base) else ()
    if not parts:
        return "", -1, "no person"
    return _same(parts[0]), *_label(parts[1] if len(parts) > 1 else "", place)


def _label(word: str, place: str) -> tuple[int, str]:
    """Return an expression's place, or -1 and why there is none."""
    expression = match_expression(word)
    if expression:
        return ALL_EXPRESSIONS.index(expression), ""
    near = near_expression(word)
    if near:
        raise InputError(f"{place}: {word!r} is no expression (did you mean {near!r}?); expected one of {', '.join(ALL_EXPRESSIONS)}. Mend it.")
    return -1, f"label {word!r} is none of ours" if word else "no label"


def _read_csv(delivery: Delivery, name: str, *, columns: tuple[tuple[str, ...], tuple[str, ...]]) -> pd.DataFrame:
    """Read a csv as text without blanks around; columns that may be there and are not are empty."""
    where = delivery.where(name)
    required, optional = columns
    try:
        text = io.StringIO(delivery.read(name).decode("utf-8-sig"), newline="")
        header, *rows = [cells for cells in csv.reader(text, skipinitialspace=True, strict=True) if cells] or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where} cannot be read as csv in UTF-8 ({error}); expected the columns {', '.join(required)}. Save it again.") from None
    header = [column.strip() for column in header]
    if not set(required) <= set(header) <= {*required, *optional} or len(set(header)) != len(header):
        may = f"{', '.join(required)}, and if you like {', '.join(optional)}"
        raise InputError(f"{where} has the columns {', '.join(header)!r}; expected {may}. Rename or remove what is not among them.")
    for row, cells in enumerate(rows, start=1):
        if len(cells) != len(header):
            raise InputError(f"{name_row(where, row)}: {len(cells)} cells; expected {len(header)}, one per column. Mend the row.")
    table = pd.DataFrame([[cell.strip() for cell in cells] for cells in rows], columns=header, dtype=object)
    return table.reindex(columns=[*required, *optional], fill_value="")


def _check_once(values: pd.Series, where: str) -> None:
    twice = values.duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        raise InputError(f"{name_row(where, row + 1)}: {values.name} {values.iloc[row]!r} comes twice; expected one row each. Remove one.")


def _find_one(delivery: Delivery, name: str) -> str:
    found = delivery.select(lambda path: path.name.lower() == name)
    if len(found) != 1:
        have = f"holds {len(found)} files {name}" if found else f"holds no {name}"
        raise InputError(f"{delivery.root} {have}; expected one, that says who consented: {','.join(CONSENT[0])}. See data/raw/README.md.")
    return found[0]


def _same(person: str) -> str:
    return unicodedata.normalize("NFC", person)  # a folder's name and a csv may write the same accent in two ways


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
