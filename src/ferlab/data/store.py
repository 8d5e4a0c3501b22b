"""The store of a prepared dataset: `images.npy` (uint8, memory-mapped) or shards beside `faces.parquet`, one row per image.

Images are appended one at a time, so that a dataset may be larger than memory and an interrupted preparation resumes. `excluded.parquet` names every
picture that the reader saw and the store does not hold, with the reason. The names of the expressions stand in the parquet schema's metadata. The
same faces give the same bytes: no pandas index, no times.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.data.faces import check_faces
from ferlab.data.shards import INDEX, ShardedImages
from ferlab.expressions import EXPRESSIONS, SPLITS
from ferlab.paths import InputError, first_line

IMAGES, FACES, EXCLUDED = "images.npy", "faces.parquet", "excluded.parquet"
EXCLUDED_COLUMNS = ("face_id", "source", "source_path", "usage", "reason")
METADATA = b"ferlab"  # the one key of the parquet metadata; several could be written in any order


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        images: Memory-mapped or sharded uint8, (N, H, W) or (N, H, W, 3); read only.
        faces: Face table of N rows with `split`.
        expressions: Names of the targets, in order.
        folder: Where it was opened; None if it was made in memory.
        preparation: See `ferlab.data.preparation.steps.prepared_as`; empty where that was not recorded.
    """

    images: np.ndarray | ShardedImages
    faces: pd.DataFrame
    expressions: tuple[str, ...]
    folder: Path | None = None
    preparation: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageRows:
    """Some rows of a store's images, read on access: a split can be processed in constant memory."""

    images: np.ndarray | ShardedImages
    rows: np.ndarray

    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return it as an array does."""
        return (len(self.rows), *self.images.shape[1:])

    @property
    def ndim(self) -> int:
        """Axes, 3 or 4."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Return images of the chosen rows: a row, a slice, rows or a mask."""
        return self.images[self.rows[key]]


def count_faces(faces: pd.DataFrame, by: str, *, expressions: Sequence[str] = EXPRESSIONS) -> pd.DataFrame:
    """Count faces per value of column `by` (rows; splits in order of use) and expression (columns). Empty cells are 0."""
    table = pd.crosstab(faces[by], faces["target"])
    rows = [split for split in SPLITS if split in table.index] if by == "split" else list(dict.fromkeys(faces[by]))
    table = table.reindex(index=rows, columns=range(len(expressions)), fill_value=0)
    return table.set_axis(list(expressions), axis=1).rename_axis(None, axis=1)


def weigh_classes(counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the class weights N / (K n_c), float64, of K expressions that occur with n_c faces; 0 for one without faces.

    >>> weigh_classes([3, 1, 0, 2]).round(2).tolist()
    [0.67, 2.0, 0.0, 1.0]
    """
    faces = np.asarray(counts, np.float64)
    return np.divide(faces.sum(), np.count_nonzero(faces) * faces, out=np.zeros(len(faces)), where=faces > 0)


class ImageFile:
    """Appends uint8 images of one shape to an .npy file, byte for byte as `np.save`; after an interruption it resumes after the last whole image."""

    HEADER = 128  # bytes; numpy pads so that a longer first axis fits

    def __init__(self, path: Path) -> None:
        """Open or make `path`; `resume` must come before `append`."""
        self.path, self.count, self.shape = path, 0, None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "r+b" if path.is_file() else "w+b")  # noqa: SIM115 - closed by finish or on leaving the block

    def __enter__(self) -> ImageFile:
        """Use it as a block, which closes the file."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file; without `finish`, it can be resumed."""
        self._file.close()

    def resume(self, count: int, shape: tuple[int, ...] | None) -> int:
        """Keep the first `count` images of `shape`, or as many as are there, cut the rest away, and return how many are kept."""
        size = self.path.stat().st_size
        each = int(np.prod(shape)) if shape else 1
        self.count = min(count, max(size - self.HEADER, 0) // each) if shape else 0
        self.shape = shape if self.count else None
        self._file.truncate(self.HEADER + self.count * each if self.count else 0)
        self._file.seek(0, 2)
        if not self.count:
            self._file.write(b"\0" * self.HEADER)
        return self.count

    def kept(self) -> Iterator[np.ndarray]:
        """Yield the images that `resume` has kept and those appended since, in order; append when all are read."""
        self._file.seek(self.HEADER)
        for _ in range(self.count):
            yield np.frombuffer(self._file.read(int(np.prod(self.shape or ()))), dtype=np.uint8).reshape(self.shape or ())

    def append(self, image: np.ndarray) -> None:
        """Add one image, uint8 (H, W) or (H, W, 3), of the shape of those before it."""
        if self.shape is None:
            self.shape = image.shape
        self._file.write(np.ascontiguousarray(image).data)
        self.count += 1

    def flush(self) -> None:
        """Hand appended images to the operating system: they survive a kill of this process."""
        self._file.flush()

    def finish(self) -> None:
        """Write the header with the number of images, and close the file."""
        header = io.BytesIO()
        shape = (self.count, *(self.shape or ()))
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        if len(header.getvalue()) != self.HEADER:
            raise AssertionError(f"numpy's header of {shape} has {len(header.getvalue())} bytes, not {self.HEADER}")
        self._file.seek(0)
        self._file.write(header.getvalue())
        self._file.close()


def write_store(folder: Path, images: np.ndarray, faces: pd.DataFrame, *, expressions: Sequence[str] = EXPRESSIONS) -> None:
    """Write a store of images in memory; a store in `folder` is overwritten.

    Args:
        folder: Made if missing.
        images: uint8, (N, H, W) or (N, H, W, 3).
        faces: Face table of N rows in the same order, with `split`.
        expressions: Names of the targets.

    Raises:
        InputError: If images, table and names do not agree.
    """
    _check_images(images, len(faces))
    _check_table(faces, expressions)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX).unlink(missing_ok=True)
    np.save(folder / IMAGES, np.ascontiguousarray(images), allow_pickle=False)
    write_faces(folder, faces, expressions=expressions)


def write_faces(
    folder: Path,
    faces: pd.DataFrame,
    *,
    expressions: Sequence[str] = EXPRESSIONS,
    excluded: pd.DataFrame | None = None,
    preparation: Mapping[str, Any] | None = None,
) -> None:
    """Write the tables of a store whose images lie in `folder`.

    Args:
        folder: The store's.
        faces: Face table in the order of the images, with `split`.
        expressions: Names of the targets.
        excluded: Pictures that are not in the store: `face_id`, `source`, `source_path`, `usage`, `reason`.
        preparation: See `Store`.

    Raises:
        InputError: If the table is no face table with `split`, or has more expressions than names.
    """
    _check_table(faces, expressions)
    # Keep: pandas' own metadata names library versions, which would change the bytes without a change of faces.
    stated = {"expressions": list(expressions), **({"preparation": dict(preparation)} if preparation else {})}
    metadata = {METADATA: json.dumps(stated).encode()}
    table = pa.Table.from_pandas(faces, preserve_index=False).replace_schema_metadata(metadata)
    pq.write_table(table, folder / FACES, compression="zstd")
    if excluded is not None:
        pq.write_table(pa.Table.from_pandas(excluded, preserve_index=False).replace_schema_metadata(None), folder / EXCLUDED, compression="zstd")


def read_excluded(folder: Path) -> pd.DataFrame:
    """Return the pictures that a store does not hold, with the reason of each; empty where none was excluded."""
    path = folder / EXCLUDED
    return pq.read_table(path).to_pandas() if path.is_file() else pd.DataFrame(columns=list(EXCLUDED_COLUMNS), dtype="str")


def open_store(folder: Path) -> Store:
    """Open a store without reading its images into memory.

    Raises:
        InputError: If the folder holds no store, or its two files do not belong together.
    """
    sharded = (folder / INDEX).is_file()
    for name in (INDEX if sharded else IMAGES, FACES):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing; expected a prepared dataset. Run the stage prepare first (dvc repro prepare).")
    try:
        images = ShardedImages(folder) if sharded else np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        table = pq.read_table(folder / FACES)
    except InputError:
        raise
    except (ValueError, EOFError, OSError, pa.ArrowException) as error:
        raise InputError(f"{folder} cannot be read as a prepared dataset ({first_line(error)}). Run the stage prepare again.") from None
    stated = (table.schema.metadata or {}).get(METADATA)
    if stated is None:
        raise InputError(f"{folder / FACES} does not name its expressions; expected the table of the stage prepare. Run the stage prepare again.")
    faces = table.replace_schema_metadata(None).to_pandas()
    _check_images(images, len(faces))
    known = json.loads(stated)
    expressions, preparation = tuple(known["expressions"]), known.get("preparation", {})
    return Store(images=images, faces=check_faces(faces), expressions=expressions, folder=folder, preparation=preparation)


def _check_table(faces: pd.DataFrame, expressions: Sequence[str]) -> None:
    check_faces(faces)
    if "split" not in faces:
        raise InputError("The face table has no column 'split'; expected one. Call assign_splits first.")
    highest = int(faces["target"].max())
    if highest >= len(expressions):
        raise InputError(f"A face has target {highest}; expected 0 to {len(expressions) - 1}, for {', '.join(expressions)}.")


def _check_images(images: np.ndarray | ShardedImages, rows: int) -> None:
    grey_or_rgb = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)
    if images.dtype != np.uint8 or not grey_or_rgb:
        raise InputError(f"Expected images as uint8 (N, H, W) or (N, H, W, 3), got {images.dtype} {images.shape}.")
    if len(images) != rows:
        raise InputError(f"Expected one image per row of the face table, got {len(images)} images for {rows} rows.")

