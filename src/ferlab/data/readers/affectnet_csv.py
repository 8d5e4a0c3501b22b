"""AffectNet's layout of 2017 to 2020: pictures in numbered folders, and training.csv and validation.csv that annotate them by name.

What the rows mean, what stays as left out and what is an error stands in `ferlab.data.readers.affectnet`.
"""

from __future__ import annotations

import csv
import re
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.readers.accounting import picture_names
from ferlab.data.readers.delivery import Delivery
from ferlab.data.readers.folder_names import match_part
from ferlab.data.readers.pixels import name_row
from ferlab.expressions import AFFECTNET_OTHER
from ferlab.paths import InputError

CSV_USAGES = {"training.csv": "train", "validation.csv": "validation"}
FOLDER_USAGES = {"train_set": "train", "val_set": "validation"}  # the other layout's
BOX = {"face_x": "box_x", "face_y": "box_y", "face_width": "box_w", "face_height": "box_h"}
COLUMNS = ("subDirectory_filePath", *BOX, "facial_landmarks", "expression", "valence", "arousal")
COORDINATES = 136  # x y of 68 landmarks
NOT_ANNOTATED = -2.0
AUTOMATIC = "automatically_annotated"  # how the folders begin whose labels are a model's
UNLISTED, BY_A_NET = -1, -2  # in the place of a code
AGAIN = "Get the dataset again."


def read_csvs(delivery: Delivery, *, landmarks: bool) -> pd.DataFrame:
    """Read the rows of both csvs, each with its picture, then the pictures that no csv names.

    Args:
        delivery: Holds one csv or both, and the pictures.
        landmarks: Whether to split the landmarks: float32 (136,) a row, or None.

    Returns:
        Columns `face_id`, `usage`, `code` (int64, `UNLISTED` or `BY_A_NET` where there is none), `valence`, `arousal`, the box, `landmarks` and
        `source_path`; numbers that are not there are NaN.

    Raises:
        InputError: Naming the file and row that is not as expected.
    """
    pictures, by_a_net = _index_pictures(delivery)
    files = {usage: _find_csv(delivery, file) for file, usage in CSV_USAGES.items()}
    rows = pd.concat([_read_csv(delivery, name, usage=usage, landmarks=landmarks) for usage, name in files.items() if name], ignore_index=True)
    repeated = rows["key"].duplicated()
    rows["source_path"] = rows["key"].map(pictures)
    wrong = (repeated | rows["source_path"].isna()).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        usage, key = rows["usage"].iloc[row], rows["key"].iloc[row]
        place = name_row(delivery.where(str(files[usage])), int((rows["usage"].iloc[: row + 1] == usage).sum()))
        if repeated.iloc[row]:
            raise InputError(f"{place}: {key!r} is annotated twice; expected every image once. Remove one of the rows.")
        raise InputError(f"{place}: the image {key!r} is missing; expected it below Manually_Annotated_Images. Unpack all parts of the archive.")
    named = set(rows["key"])
    unlisted = {key: name for key, name in pictures.items() if key not in named}
    rows = pd.concat([rows, *_rows_without_annotation(rows, unlisted, code=UNLISTED)], ignore_index=True)
    rows = pd.concat([rows, *_rows_without_annotation(rows, {f"automatic/{name}": name for name in by_a_net}, code=BY_A_NET)], ignore_index=True)
    rows.insert(0, "face_id", "affectnet/" + rows.pop("key"))
    return rows


def folder_usage(folder: str) -> str:
    """Return the usage that a folder of the other layout holds, "" for any other: train_set, Train, val_set and validation are known."""
    part = match_part(folder)
    return part if part in FOLDER_USAGES.values() else ""


def _rows_without_annotation(like: pd.DataFrame, names: dict[str, str], *, code: int) -> list[pd.DataFrame]:
    if not names:
        return []
    columns: dict[str, Any] = {column: np.nan for column in like.columns}
    columns |= {"key": list(names), "source_path": list(names.values()), "usage": "", "code": code}
    if "landmarks" in columns:
        columns["landmarks"] = pd.Series([None] * len(names), dtype=object)
    return [pd.DataFrame(columns)]


def _index_pictures(delivery: Delivery) -> tuple[dict[str, str], list[str]]:
    """Pictures by <folder>/<file>, as the csvs name them; and those that a model annotated."""
    pictures: dict[str, str] = {}
    by_a_net = []
    for name in picture_names(delivery):
        parts = name.rsplit("/", 3)
        if len(parts) > 2 and folder_usage(parts[-3]) and parts[-2] == "images":
            continue  # of the other layout, which was not asked for
        if name.lower().startswith(AUTOMATIC) or f"/{AUTOMATIC}" in name.lower():
            by_a_net.append(name)
            continue
        key = "/".join(parts[-2:])
        if key in pictures:
            raise InputError(f"{delivery.where(name)} and {delivery.where(pictures[key])} are both {key!r}; expected every image once. Remove one.")
        pictures[key] = name
    return pictures, by_a_net


def _find_csv(delivery: Delivery, file: str) -> str | None:
    found = [name for name in delivery.names if name.rsplit("/", 1)[-1].lower() == file]
    if len(found) > 1:
        raise InputError(f"{delivery.where(found[0])} and {delivery.where(found[1])} are both there; expected one {file}. Remove one.")
    return found[0] if found else None


def _read_csv(delivery: Delivery, name: str, *, usage: str, landmarks: bool) -> pd.DataFrame:
    import pyarrow as pa

    where = delivery.where(name)
    texts = _read_texts(delivery.read(name), where, landmarks=landmarks)
    codes = _numbers(texts, "expression", where, pa.int64())
    _refuse((codes < 0) | (codes > max(AFFECTNET_OTHER)), texts, "expression", where, f"a code from 0 to {max(AFFECTNET_OTHER)}")
    columns: dict[str, Any] = {"key": texts["subDirectory_filePath"].to_pandas(), "usage": usage, "code": codes}
    for column in ("valence", "arousal"):
        values = _numbers(texts, column, where, pa.float64())
        absent = values == NOT_ANNOTATED
        _refuse(~(absent | (np.abs(values) <= 1)), texts, column, where, "-1 to 1, or -2 where it is not annotated")
        columns[column] = np.where(absent, np.nan, values)
    box = np.stack([_numbers(texts, column, where, pa.float64(), optional=True) for column in BOX])
    box[:, ~(np.isfinite(box).all(axis=0) & (box[2] > 0) & (box[3] > 0))] = np.nan
    columns |= dict(zip(BOX.values(), box))
    if landmarks:
        columns["landmarks"] = _landmark_rows(texts["facial_landmarks"], where)
    return pd.DataFrame(columns)


def _read_texts(data: bytes, where: str, *, landmarks: bool) -> Any:
    """Return a csv's columns as a pyarrow table of texts, null where a cell is blank or NULL."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    kept = [column for column in COLUMNS if landmarks or column != "facial_landmarks"]
    convert = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(kept, pa.string()), include_columns=kept, null_values=["", "NULL"], strings_can_be_null=True
    )
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    header = _has_header(data, where)
    for threads in (True, False):  # only one thread counts the rows, for the error
        reading = arrow_csv.ReadOptions(column_names=list(COLUMNS), skip_rows=int(header), use_threads=threads)
        try:
            texts = arrow_csv.read_csv(pa.BufferReader(data), read_options=reading, parse_options=parse, convert_options=convert)
        except pa.ArrowInvalid as error:
            found = re.search(r"(?:Row #(\d+): )?Expected \d+ columns, got (\d+)", str(error))
            if found is None or found[1]:
                said = f": {found[2]} cells" if found else f" cannot be read as csv ({str(error).splitlines()[0][:80]})"
                place = name_row(where, int(found[1]) - int(header)) if found else where
                raise InputError(f"{place}{said}; expected {len(COLUMNS)} cells a row. {AGAIN}") from None
        else:
            break
    keys = texts["subDirectory_filePath"]
    if keys.null_count:
        raise InputError(f"{name_row(where, keys.is_null().index(True).as_py() + 1)}: names no image; expected <folder>/<file>. {AGAIN}")
    return texts


def _has_header(data: bytes, where: str) -> bool:
    first = next(csv.reader([data.lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", "replace")]), [])
    cells = tuple(cell.strip() for cell in first)
    if cells != COLUMNS and (len(cells) != len(COLUMNS) or not cells[COLUMNS.index("expression")].isdigit()):
        raise InputError(f"{where} begins with {','.join(cells)[:80]!r}; expected the columns {','.join(COLUMNS)}. {AGAIN}")
    return cells == COLUMNS


def _numbers(texts: Any, column: str, where: str, kind: Any, *, optional: bool = False) -> np.ndarray:
    """A column of texts as numbers; NaN where a cell is null and may be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.utf8_trim_whitespace(texts[column])
    if not optional:
        _refuse(values.is_null().to_numpy(), texts, column, where, "a number")
    try:
        return values.cast(kind).to_numpy().copy()
    except pa.ArrowInvalid:
        wrong = np.array([text is not None and not _is_number(text, kind) for text in values.to_pylist()])
        _refuse(wrong, texts, column, where, "a whole number" if kind == pa.int64() else "a number")
        raise


def _is_number(text: str, kind: Any) -> bool:
    import pyarrow as pa

    try:
        return bool(np.isfinite(pa.scalar(text).cast(kind).as_py()))
    except pa.ArrowInvalid:
        return False


def _refuse(wrong: np.ndarray, texts: Any, column: str, where: str, expected: str) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        place, found = name_row(where, row + 1), texts[column][row].as_py()
        raise InputError(f"{place}: {column} is {'empty' if found is None else repr(found)}; expected {expected}. Correct it, or get the file again.")


def _landmark_rows(texts: Any, where: str) -> list[np.ndarray | None]:
    """Split "x;y;x;y;..." to float32 (136,) a row; None where a cell is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rows: list[np.ndarray | None] = []
    for chunk in texts.chunks:  # a chunk is about a megabyte of the file: the texts of all coordinates at once would be gigabytes
        parts = pc.split_pattern(chunk, ";")
        lengths = pc.fill_null(pc.list_value_length(parts), COORDINATES).to_numpy()
        try:
            numbers = parts.flatten().cast(pa.float32()).to_numpy()
        except pa.ArrowInvalid:
            numbers = np.array([np.nan])
        if not (lengths == COORDINATES).all() or not np.isfinite(numbers).all():
            _refuse_landmarks(chunk.to_pylist(), where, first=len(rows) + 1)
        shared = iter(numbers.reshape(-1, COORDINATES))
        rows.extend(next(shared) if there else None for there in chunk.is_valid().to_pylist())
    return rows


def _refuse_landmarks(texts: list[str | None], where: str, *, first: int) -> None:
    import pyarrow as pa

    for row, text in enumerate(texts, start=first):
        numbers = [] if text is None else text.split(";")
        wrong = next((number for number in numbers if not _is_number(number, pa.float32())), None)
        if text is not None and (len(numbers) != COORDINATES or wrong is not None):
            found = f"{len(numbers)} landmark coordinates" if wrong is None else f"the landmark coordinate {wrong!r}"
            raise InputError(f"{name_row(where, row)}: {found}; expected {COORDINATES} numbers, x;y;x;y;... Correct it, or get the file again.")
