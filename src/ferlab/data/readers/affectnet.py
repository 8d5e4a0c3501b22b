"""AffectNet as people annotated it: eight expressions, valence and arousal, in either layout it was delivered in.

Layout `csv` (to 2020): Manually_Annotated_Images/<folder>/<hash>.jpg of any size, training.csv (414,799 rows) and validation.csv, with the
face's box and 68 landmarks in pixels of the picture. The published validation.csv has no header row; both forms are read. Layout `folders` (since
2021): train_set and val_set, each images/<N>.jpg of 224 x 224 and annotations/<N>_{exp,val,aro,lnd}.npy: one value, or 136 in lnd, as text or number.

There is no public test part: papers that name one mean `validation`. FERS (paper 000) trains on layout `folders` at 224 x 224 and on purpose does
not crop to the box at 128 x 128, so that its model bears what stands around a face. This reader crops nothing.

Stay in the table as left out: codes 8-10 (none, uncertain, no face), contempt where seven classes are asked for, pictures that no csv names, and
those that a model annotated (Automatically_Annotated). Errors: an annotation without its image; in `folders` an image without one of its four
annotations; a name twice; codes beyond 0-10; valence or arousal beyond [-1, 1] other than -2, which says "not annotated" and becomes NaN. A box
that is "NULL" or has no positive size becomes NaN. Whether a box lies inside its picture shows once that is decoded: preparation checks it.

References:
    Mollahosseini, Hasani and Mahoor (2017), AffectNet: A Database for Facial Expression, Valence, and Arousal Computing in the Wild,
    arXiv 1708.03985.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names, say_unread
from ferlab.data.readers.affectnet_csv import (
    AGAIN,
    BY_A_NET,
    COORDINATES,
    CSV_USAGES,
    FOLDER_USAGES,
    NOT_ANNOTATED,
    UNLISTED,
    folder_usage,
    read_csvs,
)
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.images import PictureFiles
from ferlab.expressions import AFFECTNET_CODES, AFFECTNET_OTHER, ALL_EXPRESSIONS, CONTEMPT
from ferlab.paths import InputError

# Faces per class in layout `folders`, in the order of ALL_EXPRESSIONS, as the published training codes that weigh classes have them. train adds up to
# the 287,651 of paper 000, and both parts to its 134,915 happy and 4,250 contempt. Some deliveries of val_set lack one face of its 4,000.
AFFECTNET_COUNTS: dict[str, tuple[int, ...]] = {
    "train": (24882, 3803, 6378, 134415, 25459, 14090, 74874, 3750),
    "validation": (500, 500, 500, 500, 500, 500, 500, 500),
}

LAYOUTS = ("auto", "csv", "folders")
KINDS = ("exp", "val", "aro", "lnd")
EXCLUDED = {
    UNLISTED: "no annotation",
    BY_A_NET: "annotated by a model, not by people",
    **{code: f"label {code} ({word})" for code, word in AFFECTNET_OTHER.items()},
}


def read(raw: Path, *, classes: int = 8, layout: str = "auto", landmarks: bool = False) -> tuple[PictureFiles, pd.DataFrame]:
    """Read AffectNet without decoding a picture.

    Args:
        raw: A folder or zip with one of the layouts anywhere below it.
        classes: 8, or 7 to leave out contempt.
        layout: `csv`, `folders`, or `auto`: the one that is there.
        landmarks: Whether the table has the column `landmarks`, 136 coordinates a face: 160 MB for the whole set.

    Returns:
        The pictures and their face table: usage train or validation ("" where no csv names a picture), `valence` and `arousal` in [-1, 1] or NaN, in
        layout `csv` the box, where asked for `landmarks`, and `excluded`. Order: that of the csvs, or of the numbers N; train first.

    Raises:
        InputError: Naming the file or row that is not as expected.
    """
    if classes not in (7, 8):
        raise InputError(f"The option classes of affectnet is {classes!r}; expected 8, or 7 to leave out contempt.")
    if layout not in LAYOUTS:
        raise InputError(f"The option layout of affectnet is {layout!r}; expected one of {', '.join(LAYOUTS)}.")
    delivery = Delivery(raw)
    read_layout = read_csvs if _find_layout(delivery, layout) == "csv" else _read_folders
    faces = read_layout(delivery, landmarks=landmarks)
    codes = faces.pop("code").tolist()
    places = {code: ALL_EXPRESSIONS.index(expression) for code, expression in AFFECTNET_CODES.items()}
    faces.insert(1, "source", "affectnet")
    faces["target"] = np.array([places.get(code, -1) for code in codes], dtype=np.int64)
    faces["excluded"] = [EXCLUDED.get(code, "") for code in codes]
    if classes == 7:
        contempt = faces["target"] == ALL_EXPRESSIONS.index(CONTEMPT)
        faces.loc[contempt, "target"] = -1
        faces.loc[contempt, "excluded"] = "contempt left out"
    return PictureFiles(delivery, faces["source_path"].tolist()), faces


def _find_layout(delivery: Delivery, layout: str) -> str:
    found = set()
    for name in delivery.names:
        parts = name.rsplit("/", 3)
        if parts[-1].lower() in CSV_USAGES:
            found.add("csv")
        elif len(parts) > 2 and folder_usage(parts[-3]) and parts[-2] in ("images", "annotations"):
            found.add("folders")
    if layout == "auto" and len(found) == 2:
        raise InputError(f"{delivery.root} holds AffectNet in both layouts; expected one. Set the option layout to csv or folders.")
    if not found or layout not in ("auto", *found):
        sought = {"csv": "training.csv or validation.csv", "folders": "train_set or val_set with images and annotations"}
        expected = " or ".join(sought.values()) if layout == "auto" else sought[layout]
        raise InputError(
            f"{delivery.root} holds no AffectNet; expected {expected} somewhere below it. See data/raw/README.md.{_say_other_form(delivery)}"
        )
    return found.pop() if layout == "auto" else layout


def _say_other_form(delivery: Delivery) -> str:
    """Say what lies there instead: YOLO's form, other copies, archives that are not opened."""
    texts = [name for name in delivery.names if "labels" in name.split("/")[:-1] and name.endswith(".txt")]
    yolo = f" {delivery.where(texts[0])} is a label in YOLO's form: set dataset: listed." if texts else ""
    return yolo or say_unread(delivery)


def _read_folders(delivery: Delivery, *, landmarks: bool) -> pd.DataFrame:
    pictures = _pair_files(delivery)
    columns: dict[str, Any] = {
        "face_id": [f"affectnet/{part}/{stem}" for part, stem, _ in pictures],
        "usage": [folder_usage(part) for part, *_ in pictures],
        "source_path": [name for *_, name in pictures],
    }
    known = (*AFFECTNET_CODES, *AFFECTNET_OTHER)
    codes = _read_values(delivery, _annotations(pictures, "exp"), right=lambda values: np.isin(values, known), expected="a code from 0 to 10")
    columns["code"] = codes.astype(np.int64)
    for column, kind in (("valence", "val"), ("arousal", "aro")):
        values = _read_values(delivery, _annotations(pictures, kind), right=_in_range, expected="-1 to 1, or -2 where it is not annotated")
        columns[column] = np.where(values == NOT_ANNOTATED, np.nan, values)
    if landmarks:
        columns["landmarks"] = [_read_landmarks(delivery, name) for name in _annotations(pictures, "lnd")]
    return pd.DataFrame(columns)


def _in_range(values: np.ndarray) -> np.ndarray:
    return (np.abs(values) <= 1) | (values == NOT_ANNOTATED)


def _pair_files(delivery: Delivery) -> list[tuple[str, str, str]]:
    """Pictures as (train_set or val_set, stem, name), train first, by number; each with its four annotations."""
    pictures, annotations = _list_parts(delivery)
    pictures.sort(key=lambda picture: (folder_usage(picture[0]), picture[0], _by_number(picture[1])))
    for (*key, name), (*before, other) in zip(pictures[1:], pictures):
        if key == before:
            raise InputError(f"{delivery.where(other)} and {delivery.where(name)} are both {'/'.join(key)}; expected every image once. Remove one.")
    expected = [name for kind in KINDS for name in _annotations(pictures, kind)]
    missing = next((name for name in expected if name not in annotations), None)
    if missing is not None:
        raise InputError(f"{delivery.where(missing)} is missing, but its image is there; expected {', '.join(KINDS)} for every image. {AGAIN}")
    orphans = annotations.difference(expected)
    if orphans:
        raise InputError(f"{delivery.where(min(orphans))} has no image; expected its number .jpg in the folder images beside. {AGAIN}")
    if not pictures:
        raise InputError(f"{delivery.root}: the folders images of train_set and val_set are empty; expected pictures. {AGAIN}")
    return pictures


def _list_parts(delivery: Delivery) -> tuple[list[tuple[str, str, str]], set[str]]:
    """Return the pictures, as `_pair_files` has them, and the names of the annotations, in the order of the files."""
    pictures: list[tuple[str, str, str]] = []
    annotations: set[str] = set()
    readable = set(picture_names(delivery))
    for name in delivery.names:
        parts = name.rsplit("/", 3)
        if len(parts) < 3 or parts[-2] not in ("images", "annotations"):
            continue
        if not folder_usage(parts[-3]):
            found = f"{delivery.where(name)} lies in a part {parts[-3]!r}"
            raise InputError(f"{found}; expected {' and '.join(FOLDER_USAGES)} alone. Rename or move that folder.")
        if parts[-2] == "images" and name in readable:
            pictures.append((parts[-3], parts[-1].rpartition(".")[0], name))
        elif parts[-2] == "annotations" and name.endswith(".npy"):
            annotations.add(name)
    return pictures, annotations


def _by_number(stem: str) -> tuple[bool, int, str]:
    number = stem.isascii() and stem.isdigit() and len(stem) < 18
    return not number, int(stem) if number else 0, stem


def _annotations(pictures: Sequence[tuple[str, str, str]], kind: str) -> list[str]:
    return [f"{name.rsplit('/', 2)[0]}/annotations/{stem}_{kind}.npy" for _, stem, name in pictures]


def _read_values(delivery: Delivery, names: list[str], *, right: Callable[[np.ndarray], np.ndarray], expected: str) -> np.ndarray:
    """One number from each of N .npy files, float64 (N,)."""
    values = np.empty(len(names))
    for row, name in enumerate(names):
        found = _read_npy(delivery, name, size=1)
        try:
            values[row] = float(found.item())
        except Exception:  # noqa: BLE001 - a text of code points that are none is a SystemError
            raise InputError(f"{delivery.where(name)} holds {_shown(found)}; expected {expected}. {AGAIN}") from None
    wrong = ~right(values)
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"{delivery.where(names[row])} holds {values[row]:g}; expected {expected}. {AGAIN}")
    return values


def _shown(value: np.ndarray) -> str:
    try:
        return repr(value.item())[:60]
    except Exception:  # noqa: BLE001 - as where it is read
        return f"a value of type {value.dtype}"


def _read_landmarks(delivery: Delivery, name: str) -> np.ndarray:
    values = _read_npy(delivery, name, size=COORDINATES)
    try:
        landmarks = values.astype(np.float32)
    except (ValueError, TypeError):
        landmarks = np.array([np.nan])
    if not np.isfinite(landmarks).all():
        raise InputError(f"{delivery.where(name)} holds landmarks that are no numbers; expected {COORDINATES} numbers, x y x y ... {AGAIN}")
    return landmarks


def _read_npy(delivery: Delivery, name: str, *, size: int) -> np.ndarray:
    """The values of a .npy file in one row (size,); never a pickle."""
    data = delivery.read(name)
    try:
        start = 10 + data[8] + 256 * data[9]
        kind, shape = _parse_header(data[:start])
        if math.prod(shape) != size:
            raise InputError(f"{delivery.where(name)} holds an array of shape {shape}; expected {size} value{'s' * (size > 1)}. {AGAIN}")
        return np.frombuffer(data, kind, count=size, offset=start)  # refuses pickled objects
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - numpy evaluates the header: a cut one raises errors of the tokenizer, of the memory, of types
        raise InputError(f"{delivery.where(name)} is cut, damaged or a pickle; expected a .npy file of numbers or text. {AGAIN}") from None


@lru_cache(maxsize=1024)
def _parse_header(header: bytes) -> tuple[np.dtype, tuple[int, ...]]:
    """Type and shape from a .npy header. Keep: the same few headers stand in a million files, and np.load parses each anew."""
    stream = io.BytesIO(header)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("Expected version 1.0, which holds all but very long headers")
    shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    return kind, shape
