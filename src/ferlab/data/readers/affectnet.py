"""AffectNet, annotated by people: eight expressions, valence and arousal. Both layouts in which it was delivered are read.

Layout `csv` (to 2020): Manually_Annotated_Images/<folder>/<hash>.jpg of any size, training.csv (414,799 rows) and validation.csv with the box and 68
landmarks of each face in pixels. The published validation.csv has no header row; both forms are read. Layout `folders` (since 2021): train_set and
val_set, each with images/<N>.jpg of 224 x 224 and annotations/<N>_{exp,val,aro,lnd}.npy: one value, or 136 in lnd, as text or number.

There is no public test part: papers that report one mean `validation`. FERS (paper 000) trains on layout `folders` at 224 x 224 without cropping to
the box, so that its model tolerates background. This reader crops nothing.

Excluded, with the reason: codes 8 to 10 (none, uncertain, no face), contempt where seven classes are asked for, images that no csv names, and those
annotated by a model (Automatically_Annotated). Errors: an annotation without its image; in `folders` an image without one of its four annotations; a
repeated name; a code beyond 0 to 10; valence or arousal beyond [-1, 1] other than -2, which means "not annotated" and becomes NaN. A box that is
"NULL" or has no positive size becomes NaN. Whether a box lies inside its image is checked when it is prepared.

References:
    Mollahosseini, Hasani and Mahoor (2017), AffectNet: A Database for Facial Expression, Valence, and Arousal Computing in the Wild,
    arXiv 1708.03985.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from ferlab.data.readers.accounting import picture_names, say_unread
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.folder_names import match_part
from ferlab.data.readers.images import PictureFiles
from ferlab.data.readers.tables import BOX, face_table, name_row, parse_numbers, stream_csv
from ferlab.expressions import AFFECTNET_CODES, AFFECTNET_OTHER, CONTEMPT
from ferlab.paths import InputError

CSV_USAGES = {"training.csv": "train", "validation.csv": "validation"}
FOLDER_USAGES = {"train_set": "train", "val_set": "validation"}
KINDS = ("exp", "val", "aro", "lnd")
COLUMNS = (
    *("subDirectory_filePath", "face_x", "face_y", "face_width", "face_height"),
    *("facial_landmarks", "expression", "valence", "arousal"),
)
COORDINATES = 136  # x y of 68 landmarks
NOT_ANNOTATED = -2.0
AUTOMATIC = "automatically_annotated"  # beginning of the folders whose labels are a model's
UNLISTED, BY_A_MODEL = "no annotation", "annotated by a model, not by people"
LABELS = {**AFFECTNET_CODES, **{code: f"label {code} ({word})" for code, word in AFFECTNET_OTHER.items()}}
CODE, AFFECT = f"a code from 0 to {max(LABELS)}", "-1 to 1, or -2 where it is not annotated"
AGAIN = "Get the dataset again."


def read(
    raw: Path, *, classes: Literal[7, 8] = 8, layout: Literal["auto", "csv", "folders"] = "auto", landmarks: bool = False
) -> tuple[PictureFiles, pd.DataFrame]:
    """Read AffectNet without decoding an image.

    Args:
        raw: A folder or zip with one of the layouts anywhere below it.
        classes: 7 excludes contempt.
        layout: `auto`: the one that is there.
        landmarks: Whether to keep the column `landmarks`, float32 (136,) or None: 160 MB for the whole dataset.

    Returns:
        The images and their face table: usage train or validation ("" where no csv names an image), `valence` and `arousal` in [-1, 1] or NaN, in
        layout `csv` the box. Order: that of the csvs, or of the numbers N; train first.

    Raises:
        InputError: Naming the file or row that is not as expected.
    """
    delivery = Delivery(raw)
    rows = (_read_csvs if _find_layout(delivery, layout) == "csv" else _read_folders)(delivery, landmarks=landmarks)
    labels = [f"{CONTEMPT} excluded" if classes == 7 and label == CONTEMPT else label for label in rows.pop("label")]
    faces = face_table("affectnet", rows.pop("path"), labels, usage=rows.pop("usage"), ids=rows.pop("key"))
    return PictureFiles(delivery, faces["source_path"].tolist()), pd.concat([faces, rows], axis=1)


def _find_layout(delivery: Delivery, layout: str) -> str:
    found = set()
    for name in delivery.names:
        parts = name.rsplit("/", 3)
        if parts[-1].lower() in CSV_USAGES:
            found.add("csv")
        elif len(parts) > 2 and _folder_usage(parts[-3]) and parts[-2] in ("images", "annotations"):
            found.add("folders")
    if layout == "auto" and len(found) == 2:
        raise InputError(f"{delivery.root} holds AffectNet in both layouts; expected one. Set the option layout to csv or folders.")
    if not found or layout not in ("auto", *found):
        sought = {"csv": "training.csv or validation.csv", "folders": "train_set or val_set with images and annotations"}
        expected = " or ".join(sought.values()) if layout == "auto" else sought[layout]
        texts = [name for name in delivery.names if "labels" in name.split("/")[:-1] and name.endswith(".txt")]
        hint = f" {delivery.where(texts[0])} is a label in YOLO's form: set dataset: listed." if texts else say_unread(delivery)
        raise InputError(f"{delivery.root} holds no AffectNet; expected {expected} somewhere below it. See data/raw/README.md.{hint}")
    return found.pop() if layout == "auto" else layout


def _folder_usage(folder: str) -> str:
    """Return the usage of a part's folder in layout `folders`, "" for any other: train_set, Train, val_set and validation are known."""
    part = match_part(folder)
    return part if part in FOLDER_USAGES.values() else ""


def _is_affect(values: np.ndarray) -> np.ndarray:
    return (np.abs(values) <= 1) | (values == NOT_ANNOTATED)


# Layout csv


def _read_csvs(delivery: Delivery, *, landmarks: bool) -> pd.DataFrame:
    """Return the rows of both csvs, each with its image, then the images that no csv names: `key`, `path`, `usage`, `label`, ..."""
    images, by_a_model = _index_images(delivery)
    named: set[str] = set()
    tables = []
    for file, usage in CSV_USAGES.items():
        found = [name for name in delivery.names if name.rsplit("/", 1)[-1].lower() == file]
        if len(found) > 1:
            raise InputError(f"{delivery.where(found[0])} and {delivery.where(found[1])} are both there; expected one {file}. Remove one.")
        tables += [_read_csv(delivery, name, images=images, named=named, landmarks=landmarks).assign(usage=usage) for name in found]
    others = [(key, name, UNLISTED) for key, name in images.items() if key not in named]
    others += [(f"automatic/{name}", name, BY_A_MODEL) for name in by_a_model]
    if others:
        tables.append(pd.DataFrame(others, columns=["key", "path", "label"]).assign(usage="", **({"landmarks": None} if landmarks else {})))
    return pd.concat(tables, ignore_index=True)


def _index_images(delivery: Delivery) -> tuple[dict[str, str], list[str]]:
    """Return the images by <folder>/<file>, as the csvs name them; and those annotated by a model."""
    keys, by_a_model = [], []
    for name in picture_names(delivery):
        parts = name.rsplit("/", 3)
        if len(parts) > 2 and _folder_usage(parts[-3]) and parts[-2] == "images":
            continue  # of the other layout, which was not asked for
        if name.lower().startswith(AUTOMATIC) or f"/{AUTOMATIC}" in name.lower():
            by_a_model.append(name)
        else:
            keys.append(("/".join(parts[-2:]), name))
    return delivery.index(keys), by_a_model


def _read_csv(delivery: Delivery, name: str, *, images: dict[str, str], named: set[str], landmarks: bool) -> pd.DataFrame:
    where, data = delivery.where(name), delivery.read(name)
    stream = io.BytesIO(data)
    if _has_header(data, where):
        stream.readline()
    kept = [column for column in COLUMNS if landmarks or column != "facial_landmarks"]
    convert = {"include_columns": kept, "null_values": ["", "NULL"], "strings_can_be_null": True}
    parts, first = [], 1
    for batch in stream_csv(stream, COLUMNS, where, kind=pa.string(), newlines=True, options=convert):
        parts.append(_read_rows(batch.to_pandas(), where, first, images=images, named=named))
        first += len(batch)
    if not parts:
        raise InputError(f"{where} has a header and no rows; expected a row for each image. {AGAIN}")
    return pd.concat(parts, ignore_index=True)


def _has_header(data: bytes, where: str) -> bool:
    first = next(csv.reader([data.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", "replace")]), [])
    cells = tuple(cell.strip() for cell in first)
    if cells != COLUMNS and (len(cells) != len(COLUMNS) or not cells[COLUMNS.index("expression")].isdigit()):
        raise InputError(f"{where} begins with {','.join(cells)[:80]!r}; expected the columns {','.join(COLUMNS)}. {AGAIN}")
    return cells == COLUMNS


def _read_rows(texts: pd.DataFrame, where: str, first: int, *, images: dict[str, str], named: set[str]) -> pd.DataFrame:
    """Return the rows of a part of a csv, the first of which has the number `first`; their images are added to `named`."""

    def numbers(column: str, right: Callable[[np.ndarray], np.ndarray], expected: str) -> np.ndarray:
        values = pd.to_numeric(texts[column].str.strip(), errors="coerce").to_numpy(np.float64, na_value=np.nan)
        refuse(~right(values), column, expected)
        return values

    def refuse(wrong: np.ndarray, column: str, expected: str) -> None:
        if wrong.any():
            row = int(wrong.argmax())
            found = "empty" if pd.isna(texts[column].iloc[row]) else repr(texts[column].iloc[row])
            raise InputError(f"{name_row(where, first + row)}: {column} is {found}; expected {expected}. Correct it, or get the file again.")

    keys = texts[COLUMNS[0]]
    refuse(keys.isna().to_numpy(), COLUMNS[0], "the image, <folder>/<file>")
    names = keys.tolist()  # Keep: a Series' map and isin index all images anew for each part
    columns: dict[str, Any] = {"key": keys, "path": [images.get(name) for name in names]}
    columns["label"] = pd.Series(numbers("expression", lambda codes: np.isin(codes, list(LABELS)), CODE)).map(LABELS).to_numpy()
    for column in ("valence", "arousal"):
        values = numbers(column, _is_affect, AFFECT)
        columns[column] = np.where(values == NOT_ANNOTATED, np.nan, values)
    box = np.stack([numbers(column, lambda values, c=column: ~np.isnan(values) | texts[c].isna().to_numpy(), "a number") for column in COLUMNS[1:5]])
    box[:, ~(np.isfinite(box).all(axis=0) & (box[2] > 0) & (box[3] > 0))] = np.nan
    columns |= dict(zip(BOX, box))
    if "facial_landmarks" in texts:
        points = [_split_landmarks(text, name_row(where, row)) for row, text in enumerate(texts["facial_landmarks"], start=first)]
        columns["landmarks"] = pd.Series(points, dtype=object)
    refuse(keys.duplicated().to_numpy() | [name in named for name in names], COLUMNS[0], "every image once, but this one is annotated twice")
    missing = np.array([path is None for path in columns["path"]])
    refuse(missing, COLUMNS[0], "an image below Manually_Annotated_Images, but it is missing (unpack all archives)")
    named.update(names)
    return pd.DataFrame(columns)


def _split_landmarks(text: str | None, place: str) -> np.ndarray | None:
    """Return "x;y;x;y;..." as float32 (136,), None for an empty cell."""
    if not isinstance(text, str):
        return None
    numbers = text.split(";")
    points = parse_numbers(numbers, count=COORDINATES)
    if points is None:
        finite = np.isfinite(pd.to_numeric(pd.Series(numbers), errors="coerce"))
        wrong = next((number for number, right in zip(numbers, finite) if not right), None)
        found = f"{len(numbers)} landmark coordinates" if wrong is None else f"the landmark coordinate {wrong!r}"
        raise InputError(f"{place}: {found}; expected {COORDINATES} numbers, x;y;x;y;... Correct it, or get the file again.")
    return points.astype(np.float32)


# Layout folders


def _read_folders(delivery: Delivery, *, landmarks: bool) -> pd.DataFrame:
    images = _pair_files(delivery)
    annotations = {kind: _annotations(images, kind) for kind in KINDS}
    columns: dict[str, Any] = {
        "key": [f"{part}/{stem}" for part, stem, _ in images],
        "path": [name for *_, name in images],
        "usage": [_folder_usage(part) for part, *_ in images],
    }
    codes = _read_values(delivery, annotations["exp"], right=lambda values: np.isin(values, list(LABELS)), expected=CODE)
    columns["label"] = [LABELS[code] for code in codes.astype(int).tolist()]
    for column, kind in (("valence", "val"), ("arousal", "aro")):
        values = _read_values(delivery, annotations[kind], right=_is_affect, expected=AFFECT)
        columns[column] = np.where(values == NOT_ANNOTATED, np.nan, values)
    if landmarks:
        columns["landmarks"] = [_read_landmarks(delivery, name) for name in annotations["lnd"]]
    return pd.DataFrame(columns)


def _pair_files(delivery: Delivery) -> list[tuple[str, str, str]]:
    """Return the images as (train_set or val_set, stem, name), train first, by number; each with its four annotations."""
    keys: list[tuple[tuple[str, str], str]] = []
    annotations: set[str] = set()
    readable = set(picture_names(delivery))
    for name in delivery.names:
        parts = name.rsplit("/", 3)
        if len(parts) < 3 or parts[-2] not in ("images", "annotations"):
            continue
        if not _folder_usage(parts[-3]):
            found = f"{delivery.where(name)} lies in a part {parts[-3]!r}"
            raise InputError(f"{found}; expected {' and '.join(FOLDER_USAGES)} alone. Rename or move that folder.")
        if parts[-2] == "images" and name in readable:
            keys.append(((parts[-3], parts[-1].rpartition(".")[0]), name))
        elif parts[-2] == "annotations" and name.endswith(".npy"):
            annotations.add(name)
    images = sorted(((*key, name) for key, name in delivery.index(keys).items()), key=_by_number)
    expected = [name for kind in KINDS for name in _annotations(images, kind)]
    if missing := next((name for name in expected if name not in annotations), ""):
        raise InputError(f"{delivery.where(missing)} is missing, but its image is there; expected {', '.join(KINDS)} for every image. {AGAIN}")
    if orphans := annotations.difference(expected):
        raise InputError(f"{delivery.where(min(orphans))} has no image; expected its number .jpg in the folder images beside. {AGAIN}")
    if not images:
        raise InputError(f"{delivery.root}: the folders images of train_set and val_set are empty; expected images. {AGAIN}")
    return images


def _by_number(image: tuple[str, str, str]) -> tuple[Any, ...]:
    part, stem, _ = image
    number = stem.isascii() and stem.isdigit() and len(stem) < 18
    return _folder_usage(part), part, not number, int(stem) if number else 0, stem


def _annotations(images: Iterable[tuple[str, str, str]], kind: str) -> list[str]:
    return [f"{name.rsplit('/', 2)[0]}/annotations/{stem}_{kind}.npy" for _, stem, name in images]


def _read_values(delivery: Delivery, names: Sequence[str], *, right: Callable[[np.ndarray], np.ndarray], expected: str) -> np.ndarray:
    """Return one number of each of N .npy files, float64 (N,)."""
    values = np.empty(len(names))
    for row, name in enumerate(names):
        found = _read_npy(delivery, name, size=1)
        try:
            values[row] = float(found.item())
        except Exception:  # noqa: BLE001 - a text of invalid code points is a SystemError
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
    """Return the values of a .npy file, (size,); never a pickle."""
    data = delivery.read(name)
    try:
        start = 10 + data[8] + 256 * data[9]
        kind, shape = _parse_header(data[:start])
        if math.prod(shape) == size:
            return np.frombuffer(data, kind, count=size, offset=start)  # refuses pickled objects
    except Exception:  # noqa: BLE001 - numpy evaluates the header: a cut one raises errors of the tokenizer, of the memory, of types
        raise InputError(f"{delivery.where(name)} is cut, damaged or a pickle; expected a .npy file of numbers or text. {AGAIN}") from None
    raise InputError(f"{delivery.where(name)} holds an array of shape {shape}; expected {size} value{'s' * (size > 1)}. {AGAIN}")


@lru_cache(maxsize=1024)
def _parse_header(header: bytes) -> tuple[np.dtype, tuple[int, ...]]:
    """Return type and shape of a .npy header. Keep: a million files share a few headers, and np.load parses each anew."""
    stream = io.BytesIO(header)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("Expected version 1.0, which holds all but very long headers")
    shape, _, kind = np.lib.format.read_array_header_1_0(stream)
    return kind, shape
