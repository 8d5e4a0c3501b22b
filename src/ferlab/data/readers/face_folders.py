"""Faces as image files in folders: train/<expression>/<image>, test/<expression>/<image> (the Kaggle copy by msambare), lying or in an archive.

Such a copy's test folder is PublicTest and PrivateTest together, unless there are folders of these names. Where every file name begins with its
usage, as in `PublicTest_123.png`, the usage is taken from there; where one does not, train is Training, test is PublicTest, and which faces were
PrivateTest is lost. Where the number after the usage is the face's row in fer2013.csv (from 0), faces come in that order and have the same
`face_id` as from the csv; else in the order of their paths, which are then their ids. Every file is read, or named in an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ferlab.data.readers.delivery import Delivery, check_name, is_helper
from ferlab.data.readers.fer2013_reshuffled import refuse_reshuffled
from ferlab.data.readers.folder_names import match_expression, match_part, near_expression
from ferlab.data.readers.images import decode_picture
from ferlab.expressions import EXPRESSIONS, FER2013_COUNTS, USAGES
from ferlab.paths import InputError

FOLDERS: dict[str, tuple[str, ...]] = {  # by the part that a folder's name tells, in order
    "train": ("Training",),
    "test": ("PublicTest", "PrivateTest"),
    "PublicTest": ("PublicTest",),
    "PrivateTest": ("PrivateTest",),
}
NAMED = re.compile(rf"({'|'.join(USAGES)})_(\d{{1,9}})")
OTHERWISE = "or set dataset: class_folders, which reads any size and spelling"


@dataclass(frozen=True)
class _Faces:
    """The image files of a copy: paths below it as part, expression and file, and how to name and read one."""

    paths: list[tuple[str, str, str]]
    where: Callable[[str], str]
    read: Callable[[str], bytes]


def read_face_folders(
    folder: Path, *, side: int, delivery: Delivery | None = None, below: str = ""
) -> tuple[np.ndarray, pd.DataFrame, np.ndarray | None]:
    """Read all faces in the folders of the parts.

    Args:
        folder: Holds `train` and `test`, in any known spelling, each with one folder per expression.
        side: Height and width that every image must have.
        delivery: An archive that holds them in place of the folder.
        below: The folder in the archive that holds them, "" or with a slash at its end.

    Returns:
        Images uint8 (N, side, side); a face table without `split` and `content_hash`; and each face's row in fer2013.csv, or
        None if the file names do not tell.

    Raises:
        InputError: Naming the folder or image that is not as expected; if the folder is the reshuffled copy of FER2013.
    """
    found = _list_folder(folder) if delivery is None else _list_delivery(delivery, below)
    named = [NAMED.fullmatch(file.rpartition(".")[0]) for *_, file in found.paths]
    if all(named):
        usages = [_check_usage(match[1], path, found) for match, path in zip(named, found.paths, strict=True) if match]
    else:
        usages = [FOLDERS[match_part(part) or ""][0] for part, *_ in found.paths]
    rows = _csv_rows([int(match[2]) for match in named if match], usages)
    relative = ["/".join(path) for path in found.paths]
    faces = pd.DataFrame(
        {
            "face_id": [f"fer2013/{name.rsplit('.', 1)[0]}" for name in relative] if rows is None else [f"fer2013/{row:07d}" for row in rows],
            "source": "fer2013",
            "source_path": relative,
            "usage": usages,
            "target": np.array([EXPRESSIONS.index(expression) for _, expression, _ in found.paths], dtype=np.int64),
        }
    )
    order = np.arange(len(relative)) if rows is None else np.argsort(rows)
    images = np.stack([decode_face(found.read(relative[place]), side=side, where=found.where(relative[place])) for place in order])
    return images, faces.iloc[order].reset_index(drop=True), None if rows is None else rows[order]


def read_face(path: Path, *, side: int) -> np.ndarray:
    """Decode one face in a file; see `decode_face`."""
    try:
        return decode_face(path.read_bytes(), side=side, where=str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); expected an image. Remove it or get the folder again.") from None


def decode_face(data: bytes, *, side: int, where: str) -> np.ndarray:
    """Decode one face to uint8 (side, side) grey.

    Raises:
        InputError: If it is no image, cut, of another size, or one that `pictures` refuses.
    """
    picture = decode_picture(data, where=where)
    height, width = picture.shape[:2]
    if (height, width) != (side, side):
        raise InputError(f"{where} is {width} x {height}; expected a face of {side} x {side}. Remove it or get the folder again, {OTHERWISE}.")
    return picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))


def _list_folder(folder: Path) -> _Faces:
    refuse_reshuffled(folder)
    parts = _order_parts([path.name for path in _children(folder) if path.is_dir() and match_part(path.name)], str(folder))
    paths = []
    for part in parts:
        classes = _children(folder / part)
        for path in classes:
            _check_class(path.name, str(path), plain=not path.is_dir())
        if not classes:
            raise InputError(f"{folder / part} is empty; expected folders {', '.join(EXPRESSIONS)}. Get the dataset again.")
        for path in classes:
            images = _children(path)
            if not images:
                raise InputError(f"{path} is empty; expected at least one image of that expression. Remove the folder or get the dataset again.")
            paths += [(part, path.name, image.name) for image in images]

    def read(name: str) -> bytes:
        try:
            if not (folder / name).is_file() and not (folder / name).is_dir():
                raise InputError(f"{folder / name} is no plain file, or a link to nothing; expected an image. Remove it or get the folder again.")
            return (folder / name).read_bytes()
        except OSError as error:
            raise InputError(f"{folder / name} cannot be read ({error.strerror}); expected an image. Remove it or get the folder again.") from None

    return _Faces(paths, lambda name: str(folder / name), read)


def _list_delivery(delivery: Delivery, below: str) -> _Faces:
    inside = [name.removeprefix(below).split("/") for name in delivery.names if name.startswith(below)]
    parts = _order_parts(sorted({path[0] for path in inside if len(path) > 1 and match_part(path[0])}), delivery.where(below))
    paths: list[tuple[str, str, str]] = []
    for part in parts:
        for path in sorted(path for path in inside if path[0] == part and len(path) > 1):
            where = delivery.where(below + "/".join(path))
            _check_class(path[1], where, plain=len(path) == 2)
            if len(path) != 3:
                raise InputError(f"{where} lies too deep; expected {part}/<expression>/<image>. Move it, {OTHERWISE}.")
            paths.append((part, path[1], path[2]))
    return _Faces(paths, lambda name: delivery.where(below + name), lambda name: delivery.read(below + name))


def _children(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if not is_helper(path.name))
    for path in paths:
        check_name(path.name, folder)
    return paths


def _order_parts(parts: Sequence[str], where: str) -> list[str]:
    """Return the folders of the parts in order: train, and test or the two that it is made of."""
    by_part: dict[str, list[str]] = {}
    for name in parts:
        by_part.setdefault(match_part(name) or "", []).append(name)
    twice = next((names for names in by_part.values() if len(names) > 1), None)
    if twice:
        raise InputError(f"{where} holds both {twice[0]!r} and {twice[1]!r}; expected one folder for each part. Remove or rename one.")
    others = [name for part, names in by_part.items() if part not in FOLDERS for name in names]
    needed = ("train", "test") if "PublicTest" not in by_part else ("train",)
    missing = next((part for part in needed if part not in by_part), None)
    if missing or others:
        lies = f" ({', '.join(map(repr, others))} lies there, which is no part of FER2013)" if others else ""
        found = f"{where}/{missing} is missing{lies}" if missing else f"{where} holds {', '.join(map(repr, others))}, which is no part of FER2013"
        expected = "expected the folders train and test, each with one folder per expression"
        raise InputError(f"{found}; {expected}. Get the dataset again, {OTHERWISE}.")
    return [by_part[part][0] for part in FOLDERS if part in by_part]


def _check_class(name: str, where: str, *, plain: bool) -> None:
    if name in EXPRESSIONS and not plain:
        return
    near = match_expression(name) or near_expression(name)
    hint = f" (did you mean {near!r}?)" if near else ""
    raise InputError(f"{where} is no expression's folder{hint}; expected folders {', '.join(EXPRESSIONS)}. Rename or remove it, {OTHERWISE}.")


def _check_usage(usage: str, path: tuple[str, str, str], found: _Faces) -> str:
    part = path[0]
    allowed = FOLDERS[match_part(part) or ""]
    if usage not in allowed:
        where = found.where("/".join(path))
        raise InputError(f"{where} is named {usage} but lies in {part}; expected {' or '.join(allowed)}. Move it or get the dataset again.")
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
