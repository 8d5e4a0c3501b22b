"""Building a store picture by picture, in constant memory; an interrupted preparation resumes.

Each picture leaves one line in `records.jsonl`: its row, and the hash of its face or the reason why it has none. Images are written before their
lines; after a kill both are cut back to the images whose hash is that of their line, since a power cut leaves blank pages and damaged lines. The
finished bytes are the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from ferlab.data.faces import content_hash
from ferlab.data.readers.images import Pictures
from ferlab.data.shards import ShardFiles
from ferlab.data.store import ImageFile
from ferlab.paths import InputError, report_progress

RECORDS = "records.jsonl"
AT_ONCE = 64  # pictures between two writes to disk

Step = Callable[[int, np.ndarray], tuple[np.ndarray, Mapping[str, Any]]]  # row, picture -> face, what is worth keeping about it


class NotAFace(ValueError):
    """Raised by a step to exclude a picture; the message is the reason, in a few words."""


ImageWriter = ImageFile | ShardFiles


def prepare_pictures(
    pictures: Pictures, names: pd.Series, step: Step, *, writer: ImageWriter, work: Path, skip_unreadable: bool = False
) -> pd.DataFrame:
    """Take every picture through `step` and append its face.

    Args:
        pictures: N pictures.
        names: Of each in an error (N).
        step: Called with a row and its picture; returns the face, uint8 (H, W) or (H, W, 3), and what to record about it, or raises `NotAFace`.
        writer: Receives the faces.
        work: Folder of the records; an interrupted call resumes there.
        skip_unreadable: Exclude a picture that cannot be decoded or prepared, instead of stopping.

    Returns:
        One row per picture: `content_hash` ("" if excluded), `reason` ("" if not), and what the step recorded.

    Raises:
        InputError: If a picture cannot be decoded or prepared, or faces have different shapes.
    """
    work.mkdir(parents=True, exist_ok=True)
    path = work / RECORDS
    done = _resume(path, writer)
    with path.open("a") as lines:
        for start in range(done, len(pictures), AT_ONCE):
            stop = min(start + AT_ONCE, len(pictures))
            new = [_prepare_one(row, pictures, names, step, writer, skip_unreadable=skip_unreadable) for row in range(start, stop)]
            writer.flush()
            lines.writelines(json.dumps(record) + "\n" for record in new)
            lines.flush()
            report_progress(done=stop, total=len(pictures), note=f"{writer.count:,} faces")
    return _table(path)


def append_images(images: Iterable[np.ndarray], writer: ImageWriter) -> Iterator[str]:
    """Append images of the writer's shape and yield the content hash of each."""
    for image in images:
        _check_shape(image, writer, where="a derived face")
        writer.append(image)
        yield content_hash(image)


def _prepare_one(row: int, pictures: Pictures, names: pd.Series, step: Step, writer: ImageWriter, *, skip_unreadable: bool) -> dict[str, Any]:
    try:
        picture = pictures[row]
    except InputError as error:
        if not skip_unreadable:
            raise InputError(f"{error} Or exclude such pictures: `unreadable: exclude`.") from None
        return {"content_hash": "", "reason": f"unreadable: {error.reason or error}"}
    try:
        face, found = step(row, picture)
    except NotAFace as reason:
        return {"content_hash": "", "reason": str(reason)}
    except (InputError, cv2.error, MemoryError) as error:  # a box outside its picture, landmarks in one place, a sliver that OpenCV cannot resize
        told = f"cannot be prepared: {' '.join(str(error).split()) or type(error).__name__}"
        if not skip_unreadable:
            raise InputError(f"{names.iloc[row]} {told} Or exclude such pictures: `unreadable: exclude`.") from None
        return {"content_hash": "", "reason": told}
    _check_shape(face, writer, where=str(names.iloc[row]))
    writer.append(face)
    return {"content_hash": content_hash(face), "reason": "", "shape": face.shape, **found}


def _check_shape(face: np.ndarray, writer: ImageWriter, *, where: str) -> None:
    if writer.shape is not None and tuple(face.shape) != tuple(writer.shape):
        found = f"{where!r} gives a face of {_size(face.shape)}, those before it {_size(writer.shape)}"
        raise InputError(f"{found}; expected one size and colour. Set `size` and `colour` of the dataset in params.yaml.")


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}, {'grey' if len(shape) == 2 else 'colour'}"


def _records(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield each record and where it ends in the file, up to the first line that is none: a kill may have cut the last, a power cut any."""
    end = 0
    with path.open("rb") as lines:
        for line in lines:
            record = _read_record(line)
            if record is None:
                return
            end += len(line)
            yield record, end


def _read_record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
        if isinstance(record, dict) and isinstance(record["reason"], str) and (not record["content_hash"] or tuple(map(int, record["shape"]))):
            return record
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    return None


def _resume(path: Path, writer: ImageWriter) -> int:
    """Cut records and images back to what both hold and agree on, and return how many records are left."""
    path.touch()
    hashes, shape = [], None
    for record, _ in _records(path):
        if record["content_hash"]:
            shape = shape or tuple(record["shape"])
            hashes.append(record["content_hash"])
    found = writer.resume(len(hashes), shape)
    whole = sum(1 for _ in takewhile(lambda pair: content_hash(pair[0]) == pair[1], zip(writer.kept(), hashes, strict=False)))
    if whole < found:
        told = f"{found - whole:,} of {found:,} faces that were kept do not have the pixels that were recorded, as after a power cut"
        report_progress(say=f"{told}; they are prepared again")
    safe = writer.resume(whole, shape)
    number = end = seen = 0
    for record, after in _records(path):
        seen += bool(record["content_hash"])
        if seen > safe:
            break
        number, end = number + 1, after
    os.truncate(path, end)
    return number


def _table(path: Path) -> pd.DataFrame:
    """Return the records as a table, column by column: a dict for each of 300,000 would take a third of a gigabyte."""
    columns: dict[str, list[Any]] = {}
    for row, (record, _) in enumerate(_records(path)):
        for name, value in record.items():
            column = columns.setdefault(name, [])
            column += [np.nan] * (row - len(column))
            column.append(value)
    rows = max(map(len, columns.values()), default=0)
    return pd.DataFrame({name: values + [np.nan] * (rows - len(values)) for name, values in columns.items() if name != "shape"})
