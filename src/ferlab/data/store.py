"""The store of a prepared set: `images.npy` (uint8, memory-mapped) beside `faces.parquet`, one row per image.

The names of the expressions stand in the parquet schema's metadata. Same faces, same bytes: no pandas index, no times.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.data.faces import check_faces
from ferlab.expressions import EXPRESSIONS, SPLITS
from ferlab.paths import InputError

IMAGES, FACES = "images.npy", "faces.parquet"
METADATA = b"ferlab"  # the one key of the parquet metadata; several could be written in any order


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        images: Memory-mapped uint8, (N, H, W) or (N, H, W, 3); read only.
        faces: Face table of N rows with `split`.
        expressions: Names that `target` counts, in order.
    """

    images: np.ndarray
    faces: pd.DataFrame
    expressions: tuple[str, ...]

    def counts(self) -> pd.DataFrame:
        """Return faces per split (rows, in order of use) and expression (columns, in order of `target`)."""
        return count_faces(self.faces, "split", expressions=self.expressions)


def count_faces(faces: pd.DataFrame, by: str, *, expressions: Sequence[str] = EXPRESSIONS) -> pd.DataFrame:
    """Count faces per value of column `by` (rows; splits in order of use) and expression (columns). Empty cells are 0."""
    table = pd.crosstab(faces[by], faces["target"])
    rows = [split for split in SPLITS if split in table.index] if by == "split" else list(dict.fromkeys(faces[by]))
    table = table.reindex(index=rows, columns=range(len(expressions)), fill_value=0)
    return table.set_axis(list(expressions), axis=1).rename_axis(None, axis=1)


def write_store(folder: Path, images: np.ndarray, faces: pd.DataFrame, *, expressions: Sequence[str] = EXPRESSIONS) -> None:
    """Write a store; the same faces give the same bytes.

    Args:
        folder: Made if missing; a store in it is overwritten.
        images: uint8, (N, H, W) or (N, H, W, 3).
        faces: Face table of N rows in the same order, with `split`.
        expressions: Names that `target` counts.

    Raises:
        InputError: If images, table and names do not fit each other.
    """
    _check_images(images, len(faces))
    check_faces(faces)
    if "split" not in faces:
        raise InputError("The face table has no column 'split'; expected one. Call assign_splits before write_store.")
    highest = int(faces["target"].max())
    if highest >= len(expressions):
        raise InputError(f"A face has target {highest}; expected 0 to {len(expressions) - 1}, for {', '.join(expressions)}.")
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / IMAGES, np.ascontiguousarray(images), allow_pickle=False)
    table = pa.Table.from_pandas(faces, preserve_index=False)
    # Keep: pandas' own metadata names library versions, which would change the bytes without a change of faces.
    metadata = {METADATA: json.dumps({"expressions": list(expressions)}).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), folder / FACES, compression="zstd")


def open_store(folder: Path) -> Store:
    """Open a store without reading its images into memory.

    Raises:
        InputError: If the folder holds no store, or its two files do not belong together.
    """
    for name in (IMAGES, FACES):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing; expected a prepared set. Run the stage prepare first (dvc repro prepare).")
    try:
        images = np.load(folder / IMAGES, mmap_mode="r", allow_pickle=False)
        table = pq.read_table(folder / FACES)
    except (ValueError, EOFError, OSError, pa.ArrowException) as error:
        raise InputError(f"{folder} cannot be read as a prepared set ({_first_line(error)}). Run the stage prepare again.") from None
    stated = (table.schema.metadata or {}).get(METADATA)
    if stated is None:
        raise InputError(f"{folder / FACES} does not name its expressions; expected a table written by write_store. Run the stage prepare again.")
    faces = table.replace_schema_metadata(None).to_pandas()
    _check_images(images, len(faces))
    return Store(images=images, faces=check_faces(faces), expressions=tuple(json.loads(stated)["expressions"]))


def _check_images(images: np.ndarray, rows: int) -> None:
    grey_or_rgb = images.ndim == 3 or (images.ndim == 4 and images.shape[-1] == 3)
    if images.dtype != np.uint8 or not grey_or_rgb:
        raise InputError(f"Expected images as uint8 (N, H, W) or (N, H, W, 3), got {images.dtype} {images.shape}.")
    if len(images) != rows:
        raise InputError(f"Expected one image per row of the face table, got {len(images)} images for {rows} rows.")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
