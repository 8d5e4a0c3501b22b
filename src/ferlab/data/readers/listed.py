"""Pictures beside a list of file and label: a csv with or without a header, a .lst parted by blanks, or YOLO's text file for each picture.

    train_labels.csv        image,label                                              RAF-DB on Kaggle
    label.lst               angry_1.jpg 0 28 113 226 141 22.9 6                      ExpW: file, face, box, confidence, label; no header
    metadata.csv            file_name,label                                          image folders on the Hugging Face Hub
    images/1.jpg            labels/1.txt, data.yaml                                  YOLO's form, see `listed_yolo`

Columns are named in the options, or counted from 1 where there is no header; the usual names of both are known. A file is looked for as the list
writes it, below any leading folder. Labels are an expression's words or what the option `labels` says of them; bare numbers are never guessed at.
Left out, with the reason: labels that are none of ours, and pictures that no list names. Errors: a row without its picture, a file listed twice, a
word near to an expression's, a part that is none.

References:
    Zhang, Luo, Loy and Tang (2018), From Facial Expression Recognition to Interpersonal Relation Prediction (ExpW), IJCV; its label.lst.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names, say_unread
from ferlab.data.readers.archives import ending
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.folder_names import match_expression, match_part, near_expression, part_of, settle_part
from ferlab.data.readers.images import PictureFiles
from ferlab.data.readers.listed_yolo import find_label_files, read_label_files
from ferlab.data.readers.pixels import name_row
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

KNOWN: dict[str, tuple[str, ...]] = {  # what lists call their columns, in small letters
    "file": ("file", "file_name", "filename", "image", "image_name", "image_path", "img", "img_path", "path", "pth", "name", "subdirectory_filepath"),
    "label": ("label", "labels", "expression", "expression_label", "emotion", "class", "target", "category"),
    "part": ("usage", "split", "part", "partition", "subset", "set"),
}
FORMS = ("corners", "size")
LISTS = (".csv", ".tsv", ".lst")
BOX = ("box_x", "box_y", "box_w", "box_h")
Column = str | int | None


@dataclass(frozen=True)
class _Columns:
    """Where the cells of a row stand, from 0; None: nowhere."""

    file: int
    label: int
    part: int | None
    subject: int | None
    face: int | None
    box: tuple[int, ...]


def read(
    raw: Path,
    *,
    name: str = "listed",
    tables: str | Sequence[str] | None = None,
    file: Column = None,
    label: Column = None,
    part: Column = None,
    subject: Column = None,
    face: Column = None,
    box: Sequence[str | int] = (),
    box_form: str = "size",
    labels: Mapping[str | int, str | None] | None = None,
) -> tuple[PictureFiles, pd.DataFrame]:
    """Read pictures and the lists that label them.

    Args:
        raw: A folder or archive that holds both.
        name: What to call the dataset: `source`, and the beginning of every `face_id`.
        tables: The lists, by name or path; None: the only one, or one for each part (train_labels.csv, test_labels.csv).
        file: Column of the file's name or path; its header, or its number from 1 in a list without one. None: one of `KNOWN`. Likewise:
        label: Column of the expression.
        part: Column of train, validation or test; without it, the list's name tells the part, or the picture's folder.
        subject: Column of the person.
        face: Column that tells several faces of one picture apart.
        box: Four columns of the face's box in pixels.
        box_form: "size": x, y, width, height; "corners": left, top, right, bottom.
        labels: What words or codes of the list mean: {word: expression, or null to leave it out}.

    Returns:
        Pictures, one for each row of the lists, and a face table without `split` and `content_hash`, in the order of the lists: `usage`, where there
        are columns for them `subject` and the box.

    Raises:
        InputError: See the module's text; in one line that names the row.
    """
    if box_form not in FORMS or len(box) not in (0, 4):
        raise InputError(f"The options box and box_form of listed are {list(box)} and {box_form!r}; expected four columns, and {' or '.join(FORMS)}.")
    delivery = Delivery(raw)
    pictures = picture_names(delivery)
    if not pictures:
        raise InputError(f"{raw} holds no pictures; expected them beside their list.{say_unread(delivery)}")
    chosen = {"file": file, "label": label, "part": part, "subject": subject, "face": face}
    if tables is None and find_label_files(delivery, pictures):
        rows = read_label_files(delivery, pictures)
    else:
        found = _find_tables(delivery, [tables] if isinstance(tables, str) else tables)
        rows = pd.concat([_read_table(delivery, table, pictures, chosen, box, box_form) for table in found], ignore_index=True)
    _settle_usages(rows)
    _label(rows, {str(word): expression for word, expression in (labels or {}).items()})
    rows["face_id"] = [f"{name}/{path}{mark}" for path, mark in zip(rows["source_path"], rows.pop("mark"), strict=True)]
    _check_once(rows)
    return PictureFiles(delivery, rows["source_path"].tolist()), rows.drop(columns=["word", "where"]).assign(source=name)


def _find_tables(delivery: Delivery, tables: Sequence[str] | None) -> list[str]:
    lists = delivery.select(lambda path: ending(path.name) in LISTS)
    if tables is None:
        parts = [match_part(PurePosixPath(name).stem) for name in lists]
        if len(lists) == 1 or (lists and None not in parts and len(set(parts)) == len(parts)):
            return lists
        have = f"holds the lists {', '.join(lists[:6])}" if lists else "holds no list of labels (.csv, .tsv, .lst)"
        raise InputError(f"{delivery.root} {have}; expected one, or one for each part. Name it in options, tables: [...].{say_unread(delivery)}")
    found = []
    for table in tables:
        names = [name for name in delivery.names if name == table or name.endswith(f"/{table}")]
        if len(names) != 1:
            have = f"holds {len(names)} files {table}" if names else f"holds no {table}"
            raise InputError(f"{delivery.root} {have}; expected one. Mend the option tables: {', '.join(lists[:6]) or 'no .csv'} lie there.")
        found.append(names[0])
    return found


def _read_table(
    delivery: Delivery, table: str, pictures: list[str], chosen: Mapping[str, Column], box: Sequence[str | int], form: str
) -> pd.DataFrame:
    where = delivery.where(table)
    cells = _read_cells(delivery.read(table), where)
    columns, header = _find_columns(cells[0], chosen, box, where)
    own_part = match_part(PurePosixPath(table).stem)
    find, rows = _Finder(pictures), []
    for number, row in enumerate(cells[header:], start=1):
        place = name_row(where, number) if header else f"{where}, line {number}"
        if len(row) != len(cells[0]):
            raise InputError(f"{place}: {len(row)} cells; expected {len(cells[0])}, one per column. Mend the row.")
        usage = own_part if columns.part is None else match_part(row[columns.part])
        if columns.part is not None and usage is None:
            raise InputError(f"{place}: the part is {row[columns.part]!r}; expected train, validation or test. Mend it, or set no `part`.")
        path = find.one(row[columns.file], usage, place)
        cell = {"subject": columns.subject, "mark": columns.face}
        texts = {key: row[column] for key, column in cell.items() if column is not None}
        texts["mark"] = f"#{texts['mark']}" if texts.get("mark") else ""
        values = _read_box([row[column] for column in columns.box], form, place)
        usage = usage or part_of(PurePosixPath(path).parent)
        rows.append({"source_path": path, "usage": usage, "word": row[columns.label], "where": place, **texts, **values})
    if not rows:
        raise InputError(f"{where} has a header and no rows; expected a row for each picture. Get the list again.")
    return pd.DataFrame(rows)


def _read_cells(data: bytes, where: str) -> list[list[str]]:
    """Return the rows of a list as texts without blanks around; what parts them is told by the first."""
    try:
        text = data.decode("utf-8-sig")
        first = text.lstrip("\r\n").split("\n", 1)[0]
        parted = next((mark for mark in ("\t", ";", ",") if mark in first), None)
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=parted, strict=True) if parted else map(str.split, text.splitlines())
        rows = list(lines)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where} cannot be read as a list in UTF-8 ({error}); expected file and label in every row. Save it again.") from None
    cells = [[cell.strip() for cell in row] for row in rows if any(row)]
    if not cells:
        raise InputError(f"{where} is empty; expected a row for each picture. Get the list again.")
    return cells


def _find_columns(first: list[str], chosen: Mapping[str, Column], box: Sequence[str | int], where: str) -> tuple[_Columns, int]:
    """Return the columns, and how many rows the header has: none where columns are numbers."""
    header = not any(isinstance(column, int) for column in (*chosen.values(), *box))
    small = [cell.lower() for cell in first]

    def place(column: Column, option: str) -> int | None:
        if isinstance(column, int) and 1 <= column <= len(first):
            return column - 1
        if column in first:
            return first.index(str(column))
        if column is not None:
            raise InputError(f"{where} has no column {column!r} (option {option}); it begins with {', '.join(first)[:120]!r}. Mend the option.")
        return next((small.index(known) for known in KNOWN.get(option, ()) if header and known in small), None)

    found = {option: place(column, option) for option, column in chosen.items()}
    for option in ("file", "label"):
        if found[option] is None:
            way = f"Name it in options, {option}: ..., or by its number from 1 if the list has no header"
            raise InputError(f"{where} begins with {', '.join(first)[:120]!r}, and which column is the {option} is not told. {way}.")
    return _Columns(**found, box=tuple(place(column, "box") or 0 for column in box)), int(header)  # type: ignore[arg-type]


class _Finder:
    """Finds pictures as lists write them: their path from any leading folder, or their name alone, with or without its ending."""

    def __init__(self, pictures: Sequence[str]) -> None:
        self.by_name: dict[str, list[str]] = defaultdict(list)
        for path in pictures:
            base = path.rpartition("/")[2]
            for key in {base, base.rpartition(".")[0]}:
                self.by_name[key].append(path)

    def one(self, written: str, usage: str | None, place: str) -> str:
        """Return the picture that a list means; of several of that name the one in a folder of the part."""
        path = str(PurePosixPath(written.replace("\\", "/"))).lstrip("/")
        found = self.by_name.get(path.rpartition("/")[2], [])
        exact = [name for name in found if f"/{name}".endswith(f"/{path}") or f"/{name}".rpartition(".")[0].endswith(f"/{path}")]
        found = exact or found
        if len(found) > 1 and usage:
            found = [name for name in found if part_of(PurePosixPath(name).parent) == usage] or found
        if len(found) != 1:
            have = f"may be {' or '.join(map(repr, found[:2]))}" if found else "is no picture here"
            raise InputError(f"{place}: {written[:120]!r} {have}; expected one picture for every row. Get the pictures again, or mend the row.")
        return found[0]


def _read_box(texts: list[str], form: str, place: str) -> dict[str, float]:
    if not texts:
        return {}
    try:
        x, y, width, height = (float(text) for text in texts)
    except ValueError:
        x = y = width = height = np.nan
    if form == "corners":
        width, height = width - x, height - y
    if not np.isfinite([x, y, width, height]).all() or width <= 0 or height <= 0:
        raise InputError(f"{place}: the box is {', '.join(texts)[:80]}; expected four numbers, {form} (option box_form). Mend the row or the option.")
    return dict(zip(BOX, (x, y, width, height), strict=True))


def _settle_usages(rows: pd.DataFrame) -> None:
    """Write the usages as the vocabulary has them."""
    present = set(rows["usage"])
    official = {"PublicTest", "PrivateTest"} & present
    settled = {part: settle_part(part, present) or "all" for part in present}
    rows["usage"] = ["Training" if official and settled[part] == "train" else settled[part] for part in rows["usage"]]


def _label(rows: pd.DataFrame, chosen: dict[str, str | None]) -> None:
    """Add `target` and `excluded` by the words of the list."""
    meaning: dict[str, tuple[int, str]] = {}
    codes = sorted({word for word in rows["word"] if _code(word).isdecimal() and _code(word) not in chosen}, key=lambda word: (len(word), word))
    if codes:
        written = ", ".join(f'"{_code(code)}": ...' for code in codes[:10])
        place = rows["where"].iloc[rows["word"].tolist().index(codes[0])]
        way = f"Say what they mean in options, labels: {{{written}}}; codes differ between datasets"
        raise InputError(f"{place}: the label is the number {codes[0]}; expected an expression's name. {way}.")
    for word, place in zip(rows["word"], rows["where"], strict=True):
        if word not in meaning:
            meaning[word] = _meaning(word, chosen, place)
    rows["target"] = np.array([meaning[word][0] for word in rows["word"]], dtype=np.int64)
    rows["excluded"] = pd.Series([meaning[word][1] for word in rows["word"]], index=rows.index, dtype="str")


def _meaning(word: str, chosen: dict[str, str | None], place: str) -> tuple[int, str]:
    key = _code(word)
    expression = match_expression(str(chosen[key])) if chosen.get(key) else match_expression(word)
    if chosen.get(key) and expression is None:
        raise InputError(f"The option labels says {chosen[key]!r} of {key!r}; expected {', '.join(ALL_EXPRESSIONS)}, or null. Mend the option.")
    if key in chosen and chosen[key] is None:
        return -1, f"label {key!r} left out"
    if expression is None and (near := near_expression(word)):
        raise InputError(f"{place}: {word!r} is no expression (did you mean {near!r}?). Say so in options, labels: {{{key!r}: {near}}}, or null.")
    if expression is None:
        return -1, f"label {word!r} is none of ours" if word else "no label"
    return ALL_EXPRESSIONS.index(expression), ""


def _code(word: str) -> str:
    """Return a label as options write it: a number without the fraction that a table of numbers has given it, "3.0" as "3"."""
    return word.removesuffix(".0") if word.removesuffix(".0").isdecimal() else word


def _check_once(rows: pd.DataFrame) -> None:
    twice: Any = rows["face_id"].duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        way = "Remove one row, or name the column that tells faces of one picture apart in options, face: ..."
        raise InputError(f"{rows['where'].iloc[row]}: {rows['source_path'].iloc[row]!r} is listed a second time; expected every face once. {way}.")
