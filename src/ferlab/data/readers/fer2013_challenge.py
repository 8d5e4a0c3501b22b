"""PrivateTest's faces without labels, as Kaggle's challenge hands them out: test.csv, one column `pixels`.

They belong to no prepared dataset: the face table wants a label of every face, and what is not there cannot be trained, selected, normalised or
deduplicated on. They are read when predictions are handed in, and at no other time. So a test.csv beside fer2013.csv changes no result.

Copies of test.csv hold 3,589 rows, PrivateTest, or 7,178, PublicTest and PrivateTest one after the other. Which half is PublicTest is read off the
pixels of the labelled file. Ids go on where PublicTest ends in fer2013.csv: `fer2013/0032298` to `fer2013/0035886`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from ferlab.data.readers.fer2013 import SIDE, read
from ferlab.data.readers.fer2013_forms import find_source
from ferlab.data.readers.pixels import parse_pixels
from ferlab.data.readers.tables import stream_csv
from ferlab.expressions import FER2013_COUNTS
from ferlab.paths import InputError, check_plain_file

FILE, COLUMN, USAGE = "test.csv", "pixels", "PrivateTest"
COUNT = sum(FER2013_COUNTS[USAGE])
FIRST = sum(sum(FER2013_COUNTS[usage]) for usage in ("Training", "PublicTest"))  # row of PrivateTest's first face in fer2013.csv
OBTAIN = "test.csv of Kaggle's challenge (data/raw/README.md says where) lies beside FER2013"


@dataclass(frozen=True)
class Unlabelled:
    """Faces without labels.

    Attributes:
        images: uint8 (N, 48, 48).
        face_ids: N ids, in the order of the file.
    """

    images: np.ndarray
    face_ids: tuple[str, ...]


def read_unlabelled(raw: Path) -> Unlabelled:
    """Read the 3,589 faces of PrivateTest beside a FER2013 that has no labels for them.

    Args:
        raw: As for `ferlab.data.readers.fer2013.read`.

    Raises:
        InputError: No FER2013, no test.csv beside it, labels of PrivateTest in it, or a file that is not as expected: in one line with file, row and
            value.
    """
    source = find_source(raw)
    path = (source if source.is_dir() else source.parent) / FILE
    if not path.is_file():
        raise InputError(f"{path}: not found; expected {OBTAIN}, for the {COUNT:,} faces of {USAGE} without labels")
    check_plain_file(path, expected="Kaggle's csv of faces without labels")
    with path.open("rb") as stream:
        images = _read_faces(stream, str(path))
    labelled, faces = read(raw, votes=False)
    if (faces["usage"] == USAGE).any():
        raise InputError(f"{source} holds {USAGE} with its labels, so there is nothing to hand in; `ferlab evaluate` scores it. Remove {path}.")
    private = _without_public_test(images, labelled[(faces["usage"] == "PublicTest").to_numpy()], where=str(path))
    return Unlabelled(private, tuple(f"fer2013/{FIRST + row:07d}" for row in range(COUNT)))


def _read_faces(stream: BinaryIO, where: str) -> np.ndarray:
    """Return the faces of a csv with one column, (N, 48, 48)."""
    header = stream.readline(1 << 12).decode("utf-8-sig", errors="backslashreplace").rstrip("\r\n")
    if header.strip().strip('"').strip() != COLUMN:
        raise InputError(f"{where} has the columns {header[:80]!r}; expected one, {COLUMN}: faces without labels. Give Kaggle's own file.")
    images, row = [], 1
    for batch in stream_csv(stream, [COLUMN], where, kind=pa.binary(), options={"strings_can_be_null": False}):
        images.append(parse_pixels(batch[COLUMN], per_face=SIDE * SIDE, where=where, first_row=row))
        row += len(batch)
    if row - 1 not in (COUNT, 2 * COUNT):
        expected = f"expected {COUNT:,}, one per face of {USAGE}, or {2 * COUNT:,} with PublicTest"
        raise InputError(f"{where} has {row - 1:,} rows; {expected}. The file is cut or changed: get it again.")
    return np.concatenate(images).reshape(-1, SIDE, SIDE)


def _without_public_test(images: np.ndarray, public: np.ndarray, *, where: str) -> np.ndarray:
    """Return PrivateTest's faces; `public` are those of PublicTest, whose labels are known."""
    halves = [images[start : start + COUNT] for start in range(0, len(images), COUNT)]
    others = [half for half in halves if not np.array_equal(half, public)]
    if len(others) != 1:
        found = "no half is the PublicTest of the labelled file" if others else "they are PublicTest's"
        expected = f"expected {USAGE}, or PublicTest and {USAGE} in fer2013.csv's order"
        raise InputError(f"{where} has {len(images):,} rows, and {found}; {expected}. Give Kaggle's own file.")
    return others[0]
