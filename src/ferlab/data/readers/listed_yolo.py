"""Labels in YOLO's form: images/<name>.jpg, labels/<name>.txt with a line `class x y width height` a face, and the names of the classes.

    [train | valid | test]/images/ffhq_1.png      train/labels/ffhq_1.txt: `3 0.5 0.5 1.0 1.0`
    data.yaml                                      names: [Anger, Contempt, ...]; or classes.txt, a name a line

Centre and size of a box are shares of the picture's width and height. A face with a box becomes a row of its own, with the box in pixels. Left out,
with the reason: pictures without a text file, and those whose text is empty. Errors: a text without its picture, a line of another form, a class
that has no name. Where no file names the classes they stay numbers, which the option `labels` of `listed` names.

References:
    Ultralytics' YOLO documentation, "Object detection datasets overview"; AffectNet in this form is on Kaggle and Roboflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import yaml

from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.folder_names import part_of
from ferlab.data.readers.images import decode_picture
from ferlab.paths import InputError

IMAGES, LABELS = "images", "labels"
NAMES = ("classes.txt", "obj.names", "labels.txt")
WHOLE = (0.5, 0.5, 1.0, 1.0)  # a box around all of the picture; where all are, none need be cut out
MOST_YAML = 1 << 16  # bytes that are read of it
AGAIN = "Get the dataset again."


def find_label_files(delivery: Delivery, pictures: Sequence[str]) -> dict[str, str | None]:
    """Return the text file of every picture in a folder `images`, None where it has none; empty if there are no such texts at all."""
    texts = {name for name in delivery.names if name.endswith(".txt") and LABELS in name.split("/")[:-1]}
    found = {picture: _text_of(picture) for picture in pictures if IMAGES in picture.split("/")[:-1]}
    return {picture: text if text in texts else None for picture, text in found.items()} if texts.intersection(found.values()) else {}


def read_label_files(delivery: Delivery, pictures: Sequence[str]) -> pd.DataFrame:
    """Read the faces of pictures in this form.

    Returns:
        One row a face: `source_path`, `usage` (as `folder_names.part_of`), `word` (the name of its class, or its number), `where` for an error,
        `mark` ("#2" for the second of a picture), and its box in pixels, unless every box is all of its picture.

    Raises:
        InputError: Naming the file and line.
    """
    texts = find_label_files(delivery, pictures)
    known = {text for text in texts.values() if text}
    orphans = [name for name in delivery.names if name.endswith(".txt") and LABELS in name.split("/")[:-1] and name not in known]
    orphans = [name for name in orphans if name.rpartition("/")[2].lower() not in NAMES]
    if orphans:
        raise InputError(f"{delivery.where(orphans[0])} has no picture; expected one of its name in the folder {IMAGES} beside. {AGAIN}")
    names = _read_names(delivery)
    rows: list[dict[str, Any]] = []
    for picture, text in texts.items():
        part = {"source_path": picture, "usage": part_of(PurePosixPath(picture).parent)}
        faces = _read_text(delivery, text, names) if text else []
        for number, (word, box, where) in enumerate(faces, start=1):
            mark = f"#{number}" if len(faces) > 1 else ""
            rows.append({**part, "word": word, "where": where, "mark": mark, "box": box})
        if not faces:
            rows.append({**part, "word": "", "where": delivery.where(picture), "mark": "", "box": None})
    return _add_boxes(pd.DataFrame(rows), delivery)


def _text_of(picture: str) -> str:
    """Return where the text of a picture lies: in `labels` in place of its last folder `images`, with the ending .txt."""
    folders = picture.split("/")[:-1]
    place = len(folders) - 1 - folders[::-1].index(IMAGES)
    folders[place] = LABELS
    return "/".join([*folders, f"{PurePosixPath(picture).stem}.txt"])


def _read_text(delivery: Delivery, name: str, names: dict[int, str]) -> list[tuple[str, tuple[float, ...], str]]:
    faces = []
    for number, line in enumerate(delivery.read(name).decode("utf-8-sig", errors="replace").splitlines(), start=1):
        where, words = f"{delivery.where(name)}, line {number}", line.split()
        if not words:
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            values = []
        if len(values) not in (5, 6) or not words[0].isdecimal() or len(words[0]) > 9 or not all(0 <= value <= 1 for value in values[1:]):
            raise InputError(f"{where}: {line.strip()[:60]!r}; expected a class and four shares of the picture, as '3 0.5 0.5 1.0 1.0'. {AGAIN}")
        if names and int(words[0]) not in names:
            raise InputError(f"{where}: the class {words[0]} has no name; expected {min(names)} to {max(names)}. Mend the file of names.")
        faces.append((names.get(int(words[0]), words[0]), tuple(values[1:5]), where))
    return faces


def _add_boxes(rows: pd.DataFrame, delivery: Delivery) -> pd.DataFrame:
    """Put boxes in pixels in place of shares."""
    boxes = rows.pop("box")
    if all(box is None or box == WHOLE for box in boxes):
        return rows
    pixels = [_in_pixels(delivery, picture, box) for picture, box in zip(rows["source_path"], boxes, strict=True)]
    return pd.concat([rows, pd.DataFrame(pixels, columns=["box_x", "box_y", "box_w", "box_h"])], axis=1)


def _in_pixels(delivery: Delivery, picture: str, box: tuple[float, ...] | None) -> tuple[float, ...]:
    """Return a box in pixels of the upright picture; none where that cannot be read: preparing it says so."""
    if box is None:
        return (np.nan,) * 4
    try:
        height, width = decode_picture(delivery.read(picture), where=delivery.where(picture)).shape[:2]
    except InputError:
        return (np.nan,) * 4
    x, y, w, h = box
    return (x - w / 2) * width, (y - h / 2) * height, w * width, h * height


def _read_names(delivery: Delivery) -> dict[int, str]:
    """Return the names of the classes by number, from data.yaml or a list; empty where no file names them."""
    for name in delivery.names:
        base = name.rpartition("/")[2].lower()
        if base in ("data.yaml", "data.yml", "dataset.yaml"):
            return _names_in_yaml(delivery, name)
        if base in NAMES:
            lines = delivery.read(name).decode("utf-8-sig", errors="replace").split("\n")
            return {number: line.strip() for number, line in enumerate(lines) if line.strip()}
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
