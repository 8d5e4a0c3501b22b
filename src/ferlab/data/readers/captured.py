"""A user's own captured faces with the record of consent (as the web-app datasets of cs230 and FERS).

    consent.csv     person,consent,date,scope[,signed_by,note,withdrawn]      one row per person; consent is yes or no, dates are 2024-05-31
    captures.csv    file,person,expression[,time,corrected_from,note]         one row per picture, its path from this file's folder; or, without it:
    <person>/<expression>/<image>
    labels.csv      file,labeller,expression,time                             optional: labels by others; the target stays the person's own label

`ferlab.live.collection.storage` writes these files with further columns (`RECORDED`), and consent.csv with `adult` and `consent_version`.

People without a row in consent.csv, without a yes, with a withdrawn consent or one of another scope are excluded with the reason and named in the
log. Each other person is a subject, so that splits never divide a person's pictures.
"""

from __future__ import annotations

import datetime
import difflib
import logging
import re
import unicodedata
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.folder_names import read_label
from ferlab.data.readers.images import PictureFiles
from ferlab.data.readers.tables import BOX, face_table, name_row, read_columns, refuse_repeated
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

LOG = logging.getLogger(__name__)
CONSENT = {"required": ("person", "consent", "date", "scope"), "optional": ("signed_by", "note", "withdrawn", "adult", "consent_version")}
# What the collection records of a face: carried into the face table where a captures.csv has it. The prefix live_ stands for the model at capture.
TEXTS = ("prompt", "origin", "consent_version", "live_model", "live_model_sha256", "live_predicted")
POSE, LIGHT = ("pose_yaw", "pose_pitch", "pose_roll"), ("light_mean", "light_contrast", "light_side")
NUMBERS = (*BOX, *POSE, *LIGHT, *(f"live_prob_{name}" for name in ALL_EXPRESSIONS))
RECORDED = (*TEXTS, *NUMBERS)
CAPTURES = {"required": ("file", "person", "expression"), "optional": ("time", "corrected_from", "note", *RECORDED)}
LABELS = {"required": ("file", "labeller", "expression", "time"), "optional": ("note",)}
WAY = f"expected one of {', '.join(ALL_EXPRESSIONS)}. Mend it."


def read(raw: Path, *, scope: str = "research") -> tuple[PictureFiles, pd.DataFrame]:
    """Read the pictures of people who consented.

    Args:
        raw: A folder or zip that holds consent.csv, in any leading folder, and beside it captures.csv or a folder per person.
        scope: Purpose: a word that a person's scope must hold ("research; publication" holds two).

    Returns:
        Pictures, and a face table in the order of the paths: `subject`, `consent_scope`, with captures.csv `time`, `corrected_from` (the expression
        before a correction by hand) and those of `RECORDED` that it fills, with labels.csv `labels_by_others` ("sad;happy", in the order of their
        times; "" without one). The target is the person's own label.

    Raises:
        InputError: If consent.csv is missing; a csv has another column, a repeated row, a wrong date or number or a file that is not there; a word is
            near to an expression; there are no pictures, or nobody consented.
    """
    delivery = Delivery(raw)
    found = delivery.select(lambda path: path.name.lower() == "consent.csv")
    if len(found) != 1:
        have = f"holds {len(found)} files consent.csv" if found else "holds no consent.csv"
        raise InputError(f"{raw} {have}; expected one with the columns {','.join(CONSENT['required'])}. See data/raw/README.md.")
    base = PurePosixPath(found[0]).parent
    names = picture_names(delivery, expected="captures.csv or <person>/<expression>/<image> by consent.csv. See data/raw/README.md.")
    beside = delivery.select(lambda path: path.parent == base and path.name.lower() == "captures.csv")
    captures = _from_csv(delivery, beside[0], names) if beside else _from_folders(delivery, names, base)
    consent = read_consent(delivery.read(found[0]), delivery.where(found[0]))
    captures = _add_labels_by_others(captures, delivery, names, base)
    for text in delivery.select(lambda path: path.parent == base and path.name.startswith("consent_") and path.suffix == ".txt"):
        delivery.read(text)  # what was agreed to: no picture, and nothing that was overlooked
    captures = _exclude_without_consent(captures, consent, scope=scope, where=delivery.where(found[0]), name=found[0])
    return PictureFiles(delivery, names), face_table("captured", names, captures.pop("label"), **captures.to_dict("series"))


def _exclude_without_consent(captures: pd.DataFrame, consent: pd.DataFrame, *, scope: str, where: str, name: str) -> pd.DataFrame:
    """Replace the label of people without consent by the reason, and log their names with the csv's name alone: the log becomes part of a page."""
    reasons = {row["person"]: _why_not(row, scope) for row in consent.to_dict("records")}
    spellings = {_spelling(person): person for person in reasons}
    for person, count in captures["subject"].value_counts().sort_index().items():
        other = spellings.get(_spelling(person)) if person and person not in reasons else None
        if other is not None:
            found = f"{where} has {other!r}, and {count} pictures are of {person!r}"
            raise InputError(f"{found}; expected one spelling for one person. Write the same in both, or give {person!r} a row of their own.")
        why = reasons.get(person, "no consent")
        if person and why:
            near = difflib.get_close_matches(person, list(reasons), n=1, cutoff=0.8) if person not in reasons else []
            hint = f" (no row; did you mean {near[0]!r}?)" if near else "" if person in reasons else " (no row)"
            LOG.warning("%s: %d pictures of %r are excluded: %s%s.", name, count, person, why, hint)
    refused = captures["subject"].map(lambda person: reasons.get(person, "no consent") if person else "")
    if (refused != "").all():
        raise InputError(f"{where}: nobody whose pictures are here consented to {scope!r}; expected a row person,yes,date,scope for who did.")
    scopes = captures["subject"].map(dict(zip(consent["person"], consent["scope"], strict=True))).fillna("")
    return captures.assign(label=captures["label"].where(refused == "", refused), consent_scope=scopes)


def _spelling(person: str) -> str:
    return re.sub(r"[\W_]+", "", person.casefold())


def _why_not(row: dict[str, str], scope: str) -> str:
    if row["consent"].casefold() != "yes":
        return "no consent"
    if row["withdrawn"]:
        return "consent withdrawn"
    return "" if is_for(row["scope"], scope) else f"consent is not for {scope}"


def is_for(agreed: str, scope: str) -> bool:
    """Return whether a person's scope, such as "research; publication", holds a purpose as a whole: "no publication" does not.

    >>> is_for("Research; publication", "publication"), is_for("research; no publication", "publication")
    (True, False)
    """
    return scope.casefold() in re.split(r"\s*[;,/]\s*", agreed.strip().casefold())


def read_consent(data: bytes, where: str) -> pd.DataFrame:
    """Return a consent.csv as texts, one row per person, columns as in `CONSENT`; `where` names the file in errors.

    Raises:
        InputError: If it cannot be read, has another column, an empty or repeated person, or a date that is none.
    """
    table = read_columns(data, where, **CONSENT)
    for number, row in enumerate(table.to_dict("records"), start=1):
        place = name_row(where, number)
        if not row["person"]:
            raise InputError(f"{place}: the person is empty; expected a name or number, as in the captures. Fill it in.")
        for column in ("date", "withdrawn"):
            optional = column == "withdrawn" or row["consent"].casefold() != "yes"
            if not (_is_date(row[column]) or (row[column] == "" and optional)):
                raise InputError(f"{place}: {column} is {row[column]!r}; expected a day such as 2024-05-31. Fill it in.")
    table["person"] = table["person"].map(_composed)
    refuse_repeated(table["person"], where=where)
    return table


def _from_csv(delivery: Delivery, name: str, names: list[str]) -> pd.DataFrame:
    """Return `subject`, `label`, `time`, `corrected_from` and the filled ones of `RECORDED` of every picture in `names`."""
    where, base = delivery.where(name), PurePosixPath(name).parent
    table = read_columns(delivery.read(name), where, **CAPTURES)
    table["file"] = [str(base / file) for file in table["file"]]
    refuse_repeated(table["file"], where=where)
    known = set(names)
    for row, file in enumerate(table["file"], start=1):
        if file not in known:
            raise InputError(f"{name_row(where, row)}: {file!r} is no picture here; expected a path from the folder of captures.csv. Mend the row.")
    labels = [read_label(word, where=name_row(where, row), way=WAY) for row, word in enumerate(table["expression"], start=1)]
    before = [read_label(word, where=name_row(where, row), way=WAY) if word else "" for row, word in enumerate(table["corrected_from"], start=1)]
    table = table.assign(
        subject=table["person"].map(_composed),
        label=[label if person else "no person" for person, label in zip(table["person"], labels, strict=True)],
        corrected_from=[label if label in ALL_EXPRESSIONS else word for label, word in zip(before, table["corrected_from"], strict=True)],
    )
    filled = [column for column in RECORDED if (table[column] != "").any()]
    numbers = {column: _numbers(table[column], where=where) for column in filled if column in NUMBERS}
    columns = ["subject", "label", "time", "corrected_from", *filled]
    table = table.assign(**numbers).set_index("file")[columns].reindex(names).fillna({"label": "not in captures.csv"})
    return table.fillna(dict.fromkeys((column for column in columns if column not in NUMBERS), "")).reset_index(drop=True)


def _numbers(texts: pd.Series, *, where: str) -> pd.Series:
    """Return a column of texts as float64, NaN where empty."""
    values = pd.to_numeric(texts.where(texts != ""), errors="coerce").astype("float64")
    wrong = (values.isna() & (texts != "")) | np.isinf(values)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(f"{name_row(where, row + 1)}: {texts.name} is {texts.iloc[row]!r}; expected a number or nothing. Mend the row.")
    return values


def _add_labels_by_others(captures: pd.DataFrame, delivery: Delivery, names: list[str], base: PurePosixPath) -> pd.DataFrame:
    """Add `labels_by_others` where a labels.csv lies beside consent.csv; the person's own label stays the target, which is logged."""
    beside = delivery.select(lambda path: path.parent == base and path.name.lower() == "labels.csv")
    if not beside:
        return captures
    where = delivery.where(beside[0])
    table, known = read_columns(delivery.read(beside[0]), where, **LABELS), set(names)
    found: dict[str, list[tuple[str, str]]] = {}
    for number, row in enumerate(table.to_dict("records"), start=1):
        place, file = name_row(where, number), str(base / row["file"])
        if file not in known:
            raise InputError(f"{place}: {file!r} is no picture here; expected a path from the folder of labels.csv. Mend or remove the row.")
        found.setdefault(file, []).append((row["time"], read_label(row["expression"], where=place, way=WAY)))
    if found:
        kept = "kept in labels_by_others; the target is the person's own label"
        LOG.warning("%s: %d faces have labels by others, %s.", beside[0], len(found), kept)
    return captures.assign(labels_by_others=[";".join(label for _, label in sorted(found.get(name, []))) for name in names])


def _from_folders(delivery: Delivery, names: list[str], base: PurePosixPath) -> pd.DataFrame:
    found = {}
    for folder in sorted({name.rpartition("/")[0] for name in names}):
        path = PurePosixPath(folder)
        person, word = (*(path.relative_to(base).parts if path.is_relative_to(base) else ()), "", "")[:2]
        label = read_label(word, where=f"{delivery.root}/{folder!r}", way=WAY) if person else "no person"
        found[folder] = (_composed(person), label)
    return pd.DataFrame([found[name.rpartition("/")[0]] for name in names], columns=["subject", "label"])


def _composed(person: str) -> str:
    return unicodedata.normalize("NFC", person)  # a folder's name and a csv may write the same accent in two ways


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
