"""The pairs of faces that are one photograph, and the groups that they form.

`prepare` finds them once, before faces are divided, and keeps them beside the faces; the audit reads them. A pair is listed once, with the
first kind that applies:

| kind | the two faces |
|---|---|
| exact | have the same decoded pixels; each further face of a content is paired with its first |
| mirrored | have the same pixels, one mirrored |
| near | correlate above the dataset's limit once aligned, in the orientation with the higher correlation (`search`) |

Faces connected by pairs, however many, form one `duplicate_group`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.data.duplicates.codes import thumbnails
from ferlab.data.duplicates.search import find_near_pairs, group_pairs
from ferlab.data.faces import hash_images
from ferlab.data.store import METADATA
from ferlab.paths import InputError

PAIRS = "duplicate_pairs.parquet"  # beside faces.parquet
KINDS = ("exact", "mirrored", "near")
CHUNK = 512  # images read at a time


def find_pairs(images: Iterable[np.ndarray], faces: pd.DataFrame, *, seed: int = 0) -> tuple[pd.DataFrame, float]:
    """Find the duplicates among faces.

    Args:
        images: uint8 (H, W) or (H, W, 3) each, in the order of the table; read once.
        faces: Their face table, with `content_hash` and `target`.
        seed: Of the sample that the search fits its codes to.

    Returns:
        One row per pair, ordered by rows: `first` < `second` (row numbers), `kind` (of KINDS), `mirrored` (one of the two is), `score`
        (correlation once aligned; 1 for exact and mirrored pairs); and the limit, the score from which pairs are near-duplicates.
    """
    small, mirrored = _read(images)
    hashes = faces["content_hash"].to_numpy()
    contents = pd.factorize(hashes)[0]
    near, limit = find_near_pairs(small, contents, targets=faces["target"].to_numpy(), seed=seed)
    found = {"exact": _exact_pairs(contents), "mirrored": _mirrored_pairs(hashes, mirrored).assign(mirrored=True), "near": near}
    pairs = pd.concat([table.assign(kind=kind) for kind, table in found.items()], ignore_index=True)
    pairs = pairs.fillna({"mirrored": False, "score": 1.0}).astype({"first": np.int64, "second": np.int64, "mirrored": bool, "score": float})
    rank = pairs["kind"].map(KINDS.index)
    pairs = pairs.assign(rank=rank, far=-pairs["score"]).sort_values(["first", "second", "rank", "far", "mirrored"], ignore_index=True)
    return pairs.drop_duplicates(["first", "second"], ignore_index=True)[["first", "second", "kind", "mirrored", "score"]], limit


def group_faces(pairs: pd.DataFrame, count: int) -> np.ndarray:
    """Return the `duplicate_group` of `count` faces, int64 (N,), numbered by first appearance; a face in no pair is a group of one."""
    return group_pairs(pairs, np.arange(count))


def keep_faces(pairs: pd.DataFrame, kept: np.ndarray, hashes: pd.Series) -> pd.DataFrame:
    """Return the pairs among some of the faces, by their new rows; those of a face that is dropped pass to the first one kept of its content.

    Args:
        pairs: From `find_pairs`.
        kept: Which of the N faces are kept, bool (N,).
        hashes: Their `content_hash` (N,).
    """
    own, contents = np.cumsum(kept) - 1, pd.factorize(hashes)[0]
    heirs = pd.Series(own[kept]).groupby(contents[kept]).min().reindex(contents, fill_value=-1).to_numpy()
    ends = np.sort(np.where(kept, own, heirs)[pairs[["first", "second"]].to_numpy()], axis=1)
    among = pairs.assign(first=ends[:, 0], second=ends[:, 1])[(ends[:, 0] >= 0) & (ends[:, 0] < ends[:, 1])]
    return among.sort_values(["first", "second"], ignore_index=True)


def write_pairs(folder: Path, pairs: pd.DataFrame, *, limit: float) -> None:
    """Write the pairs beside the faces of a prepared dataset; the same pairs give the same bytes."""
    table = pa.Table.from_pandas(pairs, preserve_index=False).replace_schema_metadata({METADATA: json.dumps({"limit": limit}).encode()})
    pq.write_table(table, folder / PAIRS, compression="zstd")


def read_pairs(folder: Path) -> tuple[pd.DataFrame, float]:
    """Return what `find_pairs` found in a prepared dataset.

    Raises:
        InputError: If the folder holds no readable pairs.
    """
    try:
        table = pq.read_table(folder / PAIRS)
        limit = float(json.loads(table.schema.metadata[METADATA])["limit"])
    except (OSError, pa.ArrowException, TypeError, KeyError, ValueError):
        raise InputError(f"{folder / PAIRS} is missing or damaged; expected the dataset's duplicate pairs. Run the stage prepare again.") from None
    return table.replace_schema_metadata(None).to_pandas(), limit


def _read(images: Iterable[np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Return thumbnails, uint8 (N, 48, 48), and the content hash of every mirrored image."""
    small, mirrored = [], []
    for part in _chunks(images):
        small.append(thumbnails(part))
        mirrored += hash_images(part[:, :, ::-1])
    return np.concatenate(small), mirrored


def _chunks(images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    each = iter(images)
    while part := list(islice(each, CHUNK)):
        yield np.stack(part)


def _exact_pairs(contents: np.ndarray) -> pd.DataFrame:
    firsts = np.unique(contents, return_index=True)[1][contents]
    second = np.flatnonzero(firsts < np.arange(len(contents)))
    return pd.DataFrame({"first": firsts[second], "second": second})


def _mirrored_pairs(hashes: np.ndarray, mirrored: list[str]) -> pd.DataFrame:
    """The pairs of contents (their first faces) of which one is the other mirrored; a face that is its own mirror image is in none."""
    place = pd.Series(np.arange(len(hashes)), index=hashes)
    place = place[~place.index.duplicated()]
    other = place.reindex(np.asarray(mirrored)[place.to_numpy()]).to_numpy()
    later = other > place.to_numpy()  # each pair once; NaN is no pair
    return pd.DataFrame({"first": place.to_numpy()[later], "second": other[later].astype(np.int64)})
