"""Faces as image files in folders: train/<expression>/<image>, test/<expression>/<image> (the Kaggle copy by msambare).

Such a copy's test folder is PublicTest and PrivateTest together. Where every file name begins with its usage, as in
`PublicTest_123.png`, the usage is taken from there; where one does not, train is Training, test is PublicTest, and which
faces were PrivateTest is lost. Where the number after the usage is the face's row in fer2013.csv (from 0), faces come in
that order and have the same `face_id` as from the csv; else in the order of their paths, which are then their ids.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ferlab.data.fer2013_reshuffled import refuse_reshuffled
from ferlab.data.pictures import decode_picture
from ferlab.expressions import EXPRESSIONS, FER2013_COUNTS, USAGES
from ferlab.paths import InputError

FOLDERS: dict[str, tuple[str, ...]] = {"train": ("Training",), "test": ("PublicTest", "PrivateTest")}
NAMED = re.compile(rf"({'|'.join(USAGES)})_(\d+)")


def read_face_folders(folder: Path, *, side: int) -> tuple[np.ndarray, pd.DataFrame, np.ndarray | None]:
    """Read all faces below `folder`/train and `folder`/test.

    Args:
        folder: Holds `train` and `test`, each with one folder per expression.
        side: Height and width that every image must have.

    Returns:
        Images uint8 (N, side, side); a face table without `split` and `content_hash`; and each face's row in fer2013.csv, or
        None if the file names do not tell.

    Raises:
        InputError: Naming the folder or image that is not as expected; if the folder is the reshuffled copy of FER2013.
    """
    refuse_reshuffled(folder)
    paths = [path for part in FOLDERS for path in _list_images(folder / part)]
    named = [NAMED.fullmatch(path.stem) for path in paths]
    if all(named):
        usages = [_check_usage(match[1], path) for match, path in zip(named, paths, strict=True) if match]
    else:
        usages = [FOLDERS[path.parent.parent.name][0] for path in paths]
    rows = _csv_rows([int(match[2]) for match in named if match], usages)
    relative = [path.relative_to(folder).as_posix() for path in paths]
    faces = pd.DataFrame(
        {
            "face_id": [f"fer2013/{name.rsplit('.', 1)[0]}" for name in relative] if rows is None else [f"fer2013/{row:07d}" for row in rows],
            "source": "fer2013",
            "source_path": relative,
            "usage": usages,
            "target": np.array([EXPRESSIONS.index(path.parent.name) for path in paths], dtype=np.int64),
        }
    )
    order = np.arange(len(paths)) if rows is None else np.argsort(rows)
    images = np.stack([read_face(paths[place], side=side) for place in order])
    return images, faces.iloc[order].reset_index(drop=True), None if rows is None else rows[order]


def read_face(path: Path, *, side: int) -> np.ndarray:
    """Decode one face to uint8 (side, side) grey.

    Raises:
        InputError: If it is no image, cut, of another size, or one that `pictures` refuses.
    """
    try:
        picture = decode_picture(path.read_bytes(), where=str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); expected an image. Remove it or get the folder again.") from None
    height, width = picture.shape[:2]
    if (height, width) != (side, side):
        raise InputError(f"{path} is {width} x {height}; expected a face of {side} x {side}. Remove it or get the folder again.")
    return picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))


def _list_images(part: Path) -> list[Path]:
    if not part.is_dir():
        raise InputError(f"{part} is missing; expected the folders train and test, each with one folder per expression. Get the dataset again.")
    classes = sorted(path for path in part.iterdir() if not path.name.startswith("."))
    for path in classes:
        if path.name not in EXPRESSIONS or not path.is_dir():
            near = difflib.get_close_matches(path.name.lower(), EXPRESSIONS, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"{path} is no expression's folder{hint}; expected folders {', '.join(EXPRESSIONS)}. Rename or remove it.")
    if not classes:
        raise InputError(f"{part} is empty; expected folders {', '.join(EXPRESSIONS)}. Get the dataset again.")
    return [image for folder in classes for image in _images_of(folder)]


def _images_of(folder: Path) -> list[Path]:
    images = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if not images:
        raise InputError(f"{folder} is empty; expected at least one image of that expression. Remove the folder or get the dataset again.")
    return images


def _check_usage(usage: str, path: Path) -> str:
    part = path.parent.parent.name
    if usage not in FOLDERS[part]:
        raise InputError(f"{path} is named {usage} but lies in {part}; expected {' or '.join(FOLDERS[part])}. Move it or get the dataset again.")
    return usage


def _csv_rows(numbers: list[int], usages: list[str]) -> np.ndarray | None:
    """Return the numbers as rows of fer2013.csv, if they can be: each once, none past the end, usages one after the other."""
    if len(numbers) != len(usages) or len(set(numbers)) != len(numbers):
        return None
    rows = np.array(numbers)
    if rows.max() >= sum(sum(counts) for counts in FER2013_COUNTS.values()):
        return None
    place = np.array([USAGES.index(usage) for usage in usages])
    return rows if (np.diff(place[np.argsort(rows)]) >= 0).all() else None
