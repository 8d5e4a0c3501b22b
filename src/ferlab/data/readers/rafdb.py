"""RAF-DB, its basic part: 12,271 train and 3,068 test faces from the web, seven expressions, with gender, race and age group.

basic/EmoLabel/list_patition_label.txt (so spelled) has a line `train_00001.jpg 5` a face; the name begins with the usage. Pictures are
basic/Image/aligned/train_00001_aligned.jpg of 100 x 100, or basic/Image/original/train_00001.jpg of any size. A part `compound` beside is not read.

Attributes, where the folder basic/Annotation is there: manual/train_00001_manu_attri.txt holds five lines `x<TAB or blank>y` (eyes, nose, corners of
the mouth), then gender, race and age group as a number each; boundingbox/train_00001_boundingbox.txt holds left, top, right and bottom. Both are in
pixels of the original picture, so a table of aligned faces has neither. The dataset is given by letter only, so this layout is not its readme's but
the one on which public readers agree (several; of the box, two). Not confirmed, and not read: auto/train_00001_auto_attri.txt (37 landmarks by a
program), and the votes of about 40 raters. A face without a file of attributes has "" in their columns, None and NaN.

Errors: a line without its image or an image without its line, a repeated name, codes other than 1-7, lines and files of another form.

References:
    Li, Deng and Du (2017), Reliable Crowdsourcing and Deep Locality-Preserving Learning for Expression Recognition in the Wild, CVPR; whdeng.cn/RAF.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names, say_unread
from ferlab.data.readers.archives import ending
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.images import PictureFiles
from ferlab.data.readers.tables import BOX, face_table, parse_numbers
from ferlab.expressions import RAFDB_CODES
from ferlab.paths import InputError

LISTS = ("list_patition_label.txt", "list_partition_label.txt")
FACES = {"aligned": "_aligned", "original": ""}  # folder: what its file names add
LINE = re.compile(r"((train|test)_[^/\\]+)\.(?:jpg|jpeg|png)[ \t]+(-?[0-9]{1,9})", re.IGNORECASE)
ATTRIBUTES: dict[str, tuple[str, ...]] = {  # in the order of the file's last three lines
    "gender": ("male", "female", "unsure"),
    "race": ("Caucasian", "African-American", "Asian"),
    "age_group": ("0-3", "4-19", "20-39", "40-69", "70+"),
}
MANUAL, CORNERS = "_manu_attri.txt", "_boundingbox.txt"
LANDMARKS = 5
AGAIN = "Get the dataset again."


def read(raw: Path, *, faces: Literal["aligned", "original"] = "aligned") -> tuple[PictureFiles, pd.DataFrame]:
    """Read RAF-DB's basic part without decoding a picture.

    Args:
        raw: A folder or zip with EmoLabel, Image and perhaps Annotation somewhere below it.
        faces: `aligned` (100 x 100) or `original`.

    Returns:
        The pictures and their face table in the order of the list: usage train or test; where there are annotations `gender`, `race` and `age_group`
        (words, "" where not known), and for original faces `landmarks` (float32 (10,): x y of five) and the box in pixels.

    Raises:
        InputError: Naming the file or line that is not as expected.
    """
    delivery = Delivery(raw)
    listed = _find_list(delivery)
    basic = listed.rpartition("/")[0].rpartition("/")[0]  # the folder above EmoLabel
    below = [name for name in delivery.names if (not basic or name.startswith(f"{basic}/")) and not _of_compound(name)]
    codes = _read_list(delivery, listed)
    readable = set(picture_names(delivery)).intersection(below)
    endings = [FACES[faces] + kind for kind in {ending(name) for name in readable}]
    pictures = _index(delivery, sorted(readable), folder=faces, endings=endings)
    for number, stem in enumerate(codes, start=1):
        if stem not in pictures:
            expected = f"{stem}{FACES[faces]}.jpg in a folder {faces}"
            raise InputError(f"{delivery.where(listed)}, line {number}: its image is missing; expected {expected}. {AGAIN}")
    if other := next((name for stem, name in pictures.items() if stem not in codes), ""):
        raise InputError(f"{delivery.where(other)} has no line in {delivery.where(listed)}; expected one for every image. {AGAIN}")
    others = [folder for folder in FACES if folder != faces]
    delivery.taken.update(name for name in readable if f"/{name}".lower().split("/")[-2] in others)  # the same faces in the other form
    paths = [pictures[stem] for stem in codes]
    labels, usages = [RAFDB_CODES[code] for code in codes.values()], [stem.partition("_")[0].lower() for stem in codes]
    annotations = _read_annotations(delivery, below, list(codes), faces=faces)
    return PictureFiles(delivery, paths), face_table("rafdb", paths, labels, usage=usages, ids=list(codes), **annotations)


def _find_list(delivery: Delivery) -> str:
    found = [name for name in delivery.names if name.rsplit("/", 1)[-1].lower() in LISTS and not _of_compound(name)]
    if not found:
        expected = f"expected basic/EmoLabel/{LISTS[0]} somewhere below it"
        raise InputError(
            f"{delivery.root} holds no RAF-DB; {expected}. {_say_other_form(delivery) or 'See data/raw/README.md.' + say_unread(delivery)}"
        )
    if len(found) > 1:
        raise InputError(f"{delivery.where(found[0])} and {delivery.where(found[1])} are both there; expected one list of labels. Remove one.")
    return found[0]


def _say_other_form(delivery: Delivery) -> str:
    """Return how to read copies with other names: class folders 1 to 7, or a csv that lists the pictures; "" for none of these."""
    codes = ", ".join(f'"{code}": {expression}' for code, expression in RAFDB_CODES.items())
    numbered = {part for name in delivery.names for part in name.split("/")[:-1]} >= {str(code) for code in RAFDB_CODES}
    if numbered:
        return f"It has folders {min(RAFDB_CODES)} to {max(RAFDB_CODES)}: set dataset: class_folders, options: {{name: rafdb, labels: {{{codes}}}}}."
    lists = [name for name in delivery.names if name.lower().endswith(".csv")]
    return f"If {lists[0]} lists pictures: set dataset: listed, options: {{name: rafdb, labels: {{{codes}}}}}." if lists else ""


def _of_compound(name: str) -> bool:
    return "compound" in name.lower().split("/")


def _read_list(delivery: Delivery, name: str) -> dict[str, int]:
    """Return the codes by stem, `train_00001`, in the order of the list."""
    codes: dict[str, int] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(_lines(delivery, name), start=1):
        place = f"{delivery.where(name)}, line {number}"
        match = LINE.fullmatch(line)
        if match is None:
            raise InputError(f"{place}: {line[:60]!r}; expected a name and a code as in 'train_00001.jpg 5'. {AGAIN}")
        stem, code = match[1], int(match[3])
        if code not in RAFDB_CODES:
            raise InputError(f"{place}: the code is {code}; expected {min(RAFDB_CODES)} to {max(RAFDB_CODES)}, the basic expressions. {AGAIN}")
        if stem in codes:
            raise InputError(f"{place}: {stem!r} stands in line {lines[stem]} already; expected every face once. Remove one of the lines.")
        codes[stem], lines[stem] = code, number
    if not codes:
        raise InputError(f"{delivery.where(name)} is empty; expected a line a face. {AGAIN}")
    return codes


def _index(delivery: Delivery, names: list[str], *, folder: str, endings: list[str]) -> dict[str, str]:
    """Return the files in folders of that name, by what precedes the ending."""
    keys = []
    for name in names:
        parts = name.rsplit("/", 2)
        end = next((end for end in endings if parts[-1].lower().endswith(end)), None)
        if len(parts) > 1 and parts[-2].lower() == folder and end is not None:
            keys.append((parts[-1][: len(parts[-1]) - len(end)], name))
    return delivery.index(keys)


def _read_annotations(delivery: Delivery, names: list[str], stems: list[str], *, faces: str) -> dict[str, Any]:
    """Return the columns from the folder Annotation; none where it is not there."""
    files = _index(delivery, names, folder="manual", endings=[MANUAL])
    boxes = _index(delivery, names, folder="boundingbox", endings=[CORNERS]) if faces == "original" else {}
    known = set(stems)
    for stem, name in [*files.items(), *boxes.items()]:
        if stem not in known:
            raise InputError(f"{delivery.where(name)} is of a face that no line lists; expected {LISTS[0]} to list it. {AGAIN}")
    columns: dict[str, Any] = {}
    if files:
        words, points = zip(*(_read_manual(delivery, files.get(stem)) for stem in stems))
        columns = dict(zip(ATTRIBUTES, zip(*words)))
        if faces == "original":
            columns["landmarks"] = pd.Series(points, dtype=object)
    if boxes:
        corners = np.array([_read_box(delivery, boxes.get(stem)) for stem in stems])
        columns |= dict(zip(BOX, [*corners[:, :2].T, *(corners[:, 2:] - corners[:, :2]).T]))
    return columns


def _read_manual(delivery: Delivery, name: str | None) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Return gender, race and age group, and the landmarks (10,); ("", "", "") and None where there is no file."""
    if name is None:
        return ("",) * len(ATTRIBUTES), None
    lines = _lines(delivery, name)
    if len(lines) != LANDMARKS + len(ATTRIBUTES):
        raise InputError(f"{delivery.where(name)} has {len(lines)} lines; expected {LANDMARKS} landmarks and {', '.join(ATTRIBUTES)}. {AGAIN}")
    points = np.array([_numbers(delivery, name, number, line, count=2) for number, line in enumerate(lines[:LANDMARKS], start=1)], dtype=np.float32)
    words = []
    for number, (line, (attribute, known)) in enumerate(zip(lines[LANDMARKS:], ATTRIBUTES.items()), start=LANDMARKS + 1):
        code = line.strip()
        if not code.isascii() or not code.isdigit() or len(code) > 9 or int(code) >= len(known):
            raise InputError(f"{delivery.where(name)}, line {number}: {attribute} is {code[:20]!r}; expected 0 to {len(known) - 1}. {AGAIN}")
        words.append(known[int(code)])
    return tuple(words), points.ravel()


def _read_box(delivery: Delivery, name: str | None) -> list[float]:
    """Return left, top, right, bottom; NaN where there is no file."""
    if name is None:
        return [np.nan] * 4
    left, top, right, bottom = _numbers(delivery, name, 1, " ".join(_lines(delivery, name)), count=4)
    if right <= left or bottom <= top:
        raise InputError(f"{delivery.where(name)}: {left:g} {top:g} {right:g} {bottom:g} is no box; expected left, top, right, bottom. {AGAIN}")
    return [left, top, right, bottom]


def _numbers(delivery: Delivery, name: str, number: int, line: str, *, count: int) -> list[float]:
    values = parse_numbers(line.split(), count=count)
    if values is None:
        raise InputError(f"{delivery.where(name)}, line {number}: {line[:60]!r}; expected {count} numbers. {AGAIN}")
    return values.tolist()


def _lines(delivery: Delivery, name: str) -> list[str]:
    """Return a text's lines without blank ones at its end."""
    return [line.rstrip() for line in delivery.text(name).rstrip().splitlines()]
