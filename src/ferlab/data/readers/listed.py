"""Pictures beside a list of file and label: a csv with or without a header, a .lst separated by blanks, or a text file per picture (YOLO).

    train_labels.csv        image,label                                              RAF-DB on Kaggle
    label.lst               angry_1.jpg 0 28 113 226 141 22.9 6                      ExpW: file, face, box, confidence, label; no header
    metadata.csv            file_name,label                                          image folders on the Hugging Face Hub
    train/images/1.jpg      train/labels/1.txt: `3 0.5 0.5 1.0 1.0`                  YOLO: class and box; data.yaml or classes.txt names the classes

Columns are named in the options, or numbered from 1 where there is no header; the usual names of both are known. A file is found by the path in the
list, below any leading folder, and by its name alone where the delivery has none of that path's folders. Labels are expressions or what the option
`labels` maps to them; bare numbers are never guessed. In YOLO's form each box is a face of its own, its centre and size fractions of the picture's.
Excluded, with the reason: other labels, pictures that no list names, pictures without a text or with an empty one. Errors: a row or text without its
picture, a repeated face, an empty subject, a word near to an expression, an unknown part or class.

References:
    Zhang, Luo, Loy and Tang (2018), From Facial Expression Recognition to Interpersonal Relation Prediction (ExpW), IJCV; its label.lst.
    Ultralytics' YOLO documentation, "Object detection datasets overview"; AffectNet in this form is on Kaggle and Roboflow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml

from ferlab.data.readers.accounting import picture_names, say_unread
from ferlab.data.readers.archives import ending
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.folder_names import match_expression, match_part, near_expression, part_of, read_label, settle_part
from ferlab.data.readers.images import PictureFiles, decode_picture
from ferlab.data.readers.tables import BOX, face_table, name_row, parse_numbers, read_cells
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.paths import InputError

KNOWN: dict[str, tuple[str, ...]] = {  # usual names of columns, in small letters
    "file": ("file", "file_name", "filename", "image", "image_name", "image_path", "img", "img_path", "path", "pth", "name", "subdirectory_filepath"),
    "label": ("label", "labels", "expression", "expression_label", "emotion", "class", "target", "category"),
    "part": ("usage", "split", "part", "partition", "subset", "set"),
}
LISTS = (".csv", ".tsv", ".lst")
IMAGES, LABELS = "images", "labels"
CLASS_NAMES = ("classes.txt", "obj.names", "labels.txt")
WHOLE = (0.5, 0.5, 1.0, 1.0)  # a box around the whole picture
MOST_YAML = 1 << 16  # bytes that are read of it
AGAIN = "Get the dataset again."
Column = str | int | None


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
    box_form: Literal["corners", "size"] = "size",
    labels: Mapping[str | int, str | None] | None = None,
) -> tuple[PictureFiles, pd.DataFrame]:
    """Read pictures and the lists that label them.

    Args:
        raw: A folder or archive that holds both.
        name: Name of the dataset: `source`, and the beginning of every `face_id`.
        tables: The lists, by name or path; None: the only one, or one for each part (train_labels.csv, test_labels.csv).
        file: Column of the file's name or path; its header, or its number from 1 in a list without one. None: one of `KNOWN`. Likewise:
        label: Column of the expression.
        part: Column of train, validation or test; without it, the list's name or the picture's folder states the part.
        subject: Column of the person.
        face: Column that distinguishes several faces of one picture.
        box: Four columns of the face's box in pixels.
        box_form: "size": x, y, width, height; "corners": left, top, right, bottom.
        labels: Meaning of words or codes of the list: {word: expression, or null to exclude it}.

    Returns:
        Pictures, one for each row of the lists, and a face table in the order of the lists; with columns for them, `subject` and the box.

    Raises:
        InputError: See the module's text; it names the row.
    """
    if len(box) not in (0, 4):
        raise InputError(f"The option box of listed is {list(box)}; expected four columns. Mend the option.")
    delivery = Delivery(raw)
    pictures = picture_names(delivery, expected="them beside their list.")
    chosen = {"file": file, "label": label, "part": part, "subject": subject, "face": face}
    if tables is None and (texts := _find_texts(delivery, pictures)):
        rows = _read_texts(delivery, texts)
    else:
        found = _find_tables(delivery, [tables] if isinstance(tables, str) else tables)
        rows = pd.concat([_read_table(delivery, table, pictures, chosen, box, box_form) for table in found], ignore_index=True)
    meaning = _label(rows, {str(word): expression for word, expression in (labels or {}).items()})
    paths, marks = rows.pop("source_path").tolist(), rows.pop("mark")
    where, usage = rows.pop("where"), _settle_usages(rows.pop("usage"))
    columns = rows.drop(columns="word").to_dict("series")
    faces = face_table(name, paths, meaning, usage=usage, ids=[path + mark for path, mark in zip(paths, marks, strict=True)], **columns)
    if faces["face_id"].duplicated().any():
        row = int(faces["face_id"].duplicated().to_numpy().argmax())
        way = "Remove one row, or name the column that distinguishes faces of one picture in options, face: ..."
        raise InputError(f"{where.iloc[row]}: {paths[row]!r} is listed a second time; expected every face once. {way}.")
    return PictureFiles(delivery, paths), faces


def _settle_usages(parts: pd.Series) -> list[str]:
    present = set(parts)
    settled = {part: settle_part(part, present) or "all" for part in present}
    official = {"PublicTest", "PrivateTest"} & present
    return ["Training" if official and settled[part] == "train" else settled[part] for part in parts]


def _label(rows: pd.DataFrame, chosen: dict[str, str | None]) -> list[str]:
    """Return the expression of each row, or why it is excluded."""
    words = dict(zip(rows["word"].iloc[::-1], rows["where"].iloc[::-1]))  # the first place of each
    codes = sorted({word for word in words if _code(word).isdecimal() and _code(word) not in chosen}, key=lambda word: (len(word), word))
    if codes:
        written = ", ".join(f'"{_code(code)}": ...' for code in codes[:10])
        way = f"State their meaning in options, labels: {{{written}}}; codes differ between datasets"
        raise InputError(f"{words[codes[0]]}: the label is the number {codes[0]}; expected an expression's name. {way}.")
    meaning = {word: _meaning(word, chosen, words[word]) for word in dict.fromkeys(rows["word"])}
    return [meaning[word] for word in rows["word"]]


def _meaning(word: str, chosen: dict[str, str | None], where: str) -> str:
    key = _code(word)
    if key not in chosen:
        way = f"expected an expression. State its meaning in options, labels: {{{key!r}: {near_expression(key) or '...'}}}; null excludes it."
        return read_label(word, where=where, way=way)
    if chosen[key] is None:
        return f"label {key!r} excluded"
    expression = match_expression(str(chosen[key]))
    if expression is None:
        raise InputError(f"The option labels maps {key!r} to {chosen[key]!r}; expected {', '.join(ALL_EXPRESSIONS)}, or null. Mend the option.")
    return expression


def _code(word: str) -> str:
    """Return a label as options write it: a number without a table's fraction, "3.0" as "3"."""
    return word.removesuffix(".0") if word.removesuffix(".0").isdecimal() else word


# Lists


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
            raise InputError(f"{delivery.root} {have}; expected one of its lists: {', '.join(lists[:6]) or 'there is none'}. Mend the option tables.")
        found.append(names[0])
    return found


def _read_table(
    delivery: Delivery, table: str, pictures: list[str], chosen: Mapping[str, Column], box: Sequence[str | int], form: str
) -> pd.DataFrame:
    where = delivery.where(table)
    cells = read_cells(delivery.read(table), where, delimiter=None)
    if not cells:
        raise InputError(f"{where} is empty; expected a row for each picture. Get the list again.")
    header = int(not any(isinstance(column, int) for column in (*chosen.values(), *box)))
    places = _find_columns(cells[0], chosen, where, header=bool(header))
    corners = [_find_column(cells[0], column, "box", where, header=bool(header)) or 0 for column in box]
    own_part, index, rows = match_part(PurePosixPath(table).stem), _index_pictures(delivery, pictures), []
    for number, row in enumerate(cells[header:], start=1):
        place = name_row(where, number) if header else f"{where}, line {number}"
        if len(row) != len(cells[0]):
            raise InputError(f"{place}: {len(row)} cells; expected {len(cells[0])}, one per column. Mend the row.")
        of = {option: row[at] for option, at in places.items() if at is not None}
        if of.get("subject") == "":
            raise InputError(f"{place}: the subject is empty; expected a person for every face. Mend the row, or set no `subject`.")
        usage = match_part(of["part"]) if "part" in of else own_part
        if "part" in of and usage is None:
            raise InputError(f"{place}: the part is {of['part']!r}; expected train, validation or test. Mend it, or set no `part`.")
        path = index.find(of["file"], usage, place)
        found = {"source_path": path, "usage": usage or part_of(PurePosixPath(path).parent), "word": of["label"], "where": place}
        found |= {"mark": f"#{of['face']}" if "face" in of else ""} | ({"subject": of["subject"]} if "subject" in of else {})
        rows.append(found | _read_box([row[at] for at in corners], form, place))
    if not rows:
        raise InputError(f"{where} has a header and no rows; expected a row for each picture. Get the list again.")
    return pd.DataFrame(rows)


def _find_columns(first: list[str], chosen: Mapping[str, Column], where: str, *, header: bool) -> dict[str, int | None]:
    found = {option: _find_column(first, column, option, where, header=header) for option, column in chosen.items()}
    for option in ("file", "label"):
        if found[option] is None:
            way = f"Name it in options, {option}: ..., or by its number from 1 if the list has no header"
            raise InputError(f"{where} begins with {', '.join(first)[:120]!r}; expected a column of the {option}. {way}.")
    return found


def _find_column(first: list[str], column: Column, option: str, where: str, *, header: bool) -> int | None:
    """Return the place of a column, from 0; None where it is neither chosen nor known by its name."""
    if isinstance(column, int) and 1 <= column <= len(first):
        return column - 1
    if column in first:
        return first.index(str(column))
    if column is not None:
        raise InputError(f"{where} has no column {column!r} (option {option}); it begins with {', '.join(first)[:120]!r}. Mend the option.")
    small = [cell.lower() for cell in first]
    return next((small.index(known) for known in KNOWN.get(option, ()) if header and known in small), None)


@dataclass(frozen=True)
class _Index:
    """The pictures by their names with and without the ending, the folders of the delivery in small letters, and the parts that they state."""

    by_name: Mapping[str, list[str]]
    folders: frozenset[str]
    parts: frozenset[str]

    def find(self, written: str, usage: str | None, place: str) -> str:
        """Return the picture that a list names, by the longest common end of both paths; of several the one in a folder of the part.

        A picture elsewhere than in a folder of the row that the delivery has, or in a folder of another part, is not the one that is meant.
        """
        path = PurePosixPath(written.replace("\\", "/"))
        above = _folders(path)
        named = self.by_name.get(path.name, [])
        common = {name: _common_end(above, _folders(PurePosixPath(name))) for name in named}
        found = [name for name in named if common[name] == max(common.values())]
        parts = {name: part_of(PurePosixPath(name).parent) for name in found} if usage else {}
        if usage and usage in parts.values():
            found = [name for name in found if parts[name] == usage]
        elif usage in self.parts and part_of(path.parent) is None:
            found = [name for name in found if parts[name] is None]
        found = [name for name in found if not self._lies_elsewhere(above[: len(above) - common[name]], name)]
        if len(found) != 1:
            other = f" ({named[0]!r} lies in another folder)" if named else ""
            have = f"may be {' or '.join(map(repr, found[:2]))}" if found else f"is no picture here{other}"
            raise InputError(f"{place}: {written[:120]!r} {have}; expected one picture for every row. Get the pictures again, or mend the row.")
        return found[0]

    def _lies_elsewhere(self, apart: list[str], name: str) -> bool:
        return bool(self.folders.intersection(apart).difference(_folders(PurePosixPath(name))))


def _index_pictures(delivery: Delivery, pictures: Sequence[str]) -> _Index:
    by_name: dict[str, list[str]] = defaultdict(list)
    for path in pictures:
        base = path.rpartition("/")[2]
        for key in {base, base.rpartition(".")[0]}:
            by_name[key].append(path)
    folders = {name.rpartition("/")[0] for name in delivery.names}
    return _Index(
        by_name,
        frozenset(folder for path in folders for folder in path.casefold().split("/")),
        frozenset(filter(None, (part_of(PurePosixPath(path)) for path in {name.rpartition("/")[0] for name in pictures}))),
    )


def _folders(path: PurePosixPath) -> list[str]:
    return [folder.casefold() for folder in path.parent.parts]


def _common_end(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(reversed(one), reversed(other), strict=False)))


def _read_box(texts: list[str], form: str, place: str) -> dict[str, float]:
    if not texts:
        return {}
    box = parse_numbers(texts, count=4)
    if box is not None and form == "corners":
        box[2:] -= box[:2]
    if box is None or (box[2:] <= 0).any():
        raise InputError(f"{place}: the box is {', '.join(texts)[:80]}; expected four numbers, {form} (option box_form). Mend the row or the option.")
    return dict(zip(BOX, box.tolist(), strict=True))


# Text files in YOLO's form


def _find_texts(delivery: Delivery, pictures: Sequence[str]) -> dict[str, str | None]:
    """Return the text file of every picture in a folder `images`, None where it has none; empty if there are no such texts."""
    texts = {name for name in delivery.names if name.endswith(".txt") and LABELS in name.split("/")[:-1]}
    found: dict[str, str | None] = {}
    for picture in pictures:
        folders = picture.split("/")[:-1]
        if IMAGES in folders:  # `labels` stands in place of the last folder `images`
            folders[len(folders) - 1 - folders[::-1].index(IMAGES)] = LABELS
            text = "/".join([*folders, f"{PurePosixPath(picture).stem}.txt"])
            found[picture] = text if text in texts else None
    if not any(found.values()):
        return {}
    orphans = [name for name in sorted(texts.difference(filter(None, found.values()))) if name.rpartition("/")[2].lower() not in CLASS_NAMES]
    if orphans:
        raise InputError(f"{delivery.where(orphans[0])} has no picture; expected one of its name in the folder {IMAGES} beside. {AGAIN}")
    return found


def _read_texts(delivery: Delivery, texts: Mapping[str, str | None]) -> pd.DataFrame:
    """Return a row for each face; boxes in pixels, unless every box is all of its picture."""
    names = _read_names(delivery)
    rows: list[dict[str, Any]] = []
    for picture, text in texts.items():
        faces = _read_text(delivery, text, names) if text else []
        for number, (word, box, where) in enumerate(faces or [("", None, delivery.where(picture))], start=1):
            mark = f"#{number}" if len(faces) > 1 else ""
            found = {"source_path": picture, "usage": part_of(PurePosixPath(picture).parent), "word": word, "where": where}
            rows.append({**found, "mark": mark, "box": box})
    table = pd.DataFrame(rows)
    boxes = table.pop("box")
    if not all(box is None or box == WHOLE for box in boxes):
        table[list(BOX)] = [_in_pixels(delivery, picture, box) for picture, box in zip(table["source_path"], boxes, strict=True)]
    return table


def _read_text(delivery: Delivery, name: str, names: dict[int, str]) -> list[tuple[str, tuple[float, ...], str]]:
    """Return class, box and place of each face in a text."""
    faces = []
    for number, line in enumerate(delivery.text(name).splitlines(), start=1):
        where, words = f"{delivery.where(name)}, line {number}", line.split()
        if not words:
            continue
        values = parse_numbers(words, count=len(words))
        right = values is not None and len(words) in (5, 6) and words[0].isdecimal() and len(words[0]) < 10
        if not right or not ((values[1:] >= 0) & (values[1:] <= 1)).all():
            raise InputError(f"{where}: {line.strip()[:60]!r}; expected a class and four fractions of the picture, as '3 0.5 0.5 1.0 1.0'. {AGAIN}")
        if names and int(words[0]) not in names:
            raise InputError(f"{where}: the class {words[0]} has no name; expected {min(names)} to {max(names)}. Mend the file of names.")
        faces.append((names.get(int(words[0]), words[0]), tuple(values[1:5].tolist()), where))
    return faces


def _in_pixels(delivery: Delivery, picture: str, box: tuple[float, ...] | None) -> tuple[float, ...]:
    """Return a box in pixels of the upright picture; NaN where that cannot be read, which preparing it reports."""
    try:
        height, width = decode_picture(delivery.read(picture), where=delivery.where(picture)).shape[:2] if box else (0, 0)
    except InputError:
        box = None
    if box is None:
        return (np.nan,) * 4
    x, y, w, h = box
    return (x - w / 2) * width, (y - h / 2) * height, w * width, h * height


def _read_names(delivery: Delivery) -> dict[int, str]:
    """Return the names of the classes by number, from data.yaml or a list; empty where no file names them."""
    for name in delivery.names:
        base = name.rpartition("/")[2].lower()
        if base in ("data.yaml", "data.yml", "dataset.yaml"):
            return _names_in_yaml(delivery, name)
        if base in CLASS_NAMES:
            return {number: line.strip() for number, line in enumerate(delivery.text(name).split("\n")) if line.strip()}
    return {}


def _names_in_yaml(delivery: Delivery, name: str) -> dict[int, str]:
    try:
        names = yaml.safe_load(delivery.read(name)[:MOST_YAML])["names"]
        found = dict(enumerate(names)) if isinstance(names, list) else {int(number): word for number, word in names.items()}
    except (yaml.YAMLError, RecursionError, KeyError, TypeError, ValueError, AttributeError):
        found = {}
    if not found or not all(isinstance(word, str) for word in found.values()):
        raise InputError(f"{delivery.where(name)} names no classes; expected names: [Anger, Contempt, ...]. Mend it, or remove it and set labels.")
    return found
