"""What a set holds that an accuracy should know: byte-identical faces, within and across usages and splits; labels that
contradict each other on them; mirrored copies; blank faces.

A byte twin of a face is another face with the same decoded pixels. A test face with a twin among the faces that fit or select
is remembered, not recognised; metrics on `test_clean` leave it out.

References:
    Barz and Denzler (2020), Do We Train on Test Data? Purging CIFAR of Near-Duplicates, arXiv 1902.00423.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.data.faces import hash_images
from ferlab.data.store import Store
from ferlab.expressions import SPLITS

CHUNK = 4096  # images read from the memory map at a time


def find_twins(faces: pd.DataFrame) -> pd.DataFrame:
    """Group faces by content.

    Args:
        faces: Face table with `split`.

    Returns:
        The twins table, one row per face in store order: `face_id`, `content_hash`, `group` (number of the content, by first
        appearance), `group_size` (1 for a face without a twin), `twin_in_train`, `twin_in_val` (another face there has the same
        content), `label_conflict` (the group's faces have different targets).
    """
    group = pd.factorize(faces["content_hash"])[0]
    by_group = faces.assign(group=group).groupby("group")
    table = pd.DataFrame(
        {
            "face_id": faces["face_id"],
            "content_hash": faces["content_hash"],
            "group": group.astype(np.int64),
            "group_size": by_group["target"].transform("size").to_numpy(np.int64),
        }
    )
    for split in ("train", "val"):
        here = (faces["split"] == split).to_numpy()
        others = np.bincount(group, weights=here)[group] - here  # a face is not its own twin
        table[f"twin_in_{split}"] = others > 0
    table["label_conflict"] = by_group["target"].transform("nunique").to_numpy() > 1
    return table.reset_index(drop=True)


def write_twins(path: Path, twins: pd.DataFrame) -> None:
    """Write the twins table as parquet; the same table gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(twins, preserve_index=False).replace_schema_metadata(None), path, compression="zstd")


def audit_set(store: Store) -> dict[str, Any]:
    """Count what `find_twins`, `find_blank` and `find_mirrored` find.

    Returns:
        A nested dict for a metrics file. `cross_usage.<A>.<B>.byte_twins` is how many faces of usage B have a byte twin in A,
        `cross_split` the same for splits, `within_usage.<A>.byte_twins` how many faces of A have another in A. `groups` counts
        contents that more than one face has, `label_conflicts` those of them with more than one label.
    """
    faces = store.faces
    twins = find_twins(faces)
    several = twins[twins["group_size"] > 1]
    conflicts = several[several["label_conflict"]]
    return {
        "faces": len(faces),
        "expressions": list(store.expressions),
        "groups": int(several["group"].nunique()),
        "faces_in_groups": len(several),
        "largest_group": int(twins["group_size"].max()),
        "label_conflicts": int(conflicts["group"].nunique()),
        "faces_in_label_conflicts": len(conflicts),
        "cross_usage": cross_twins(faces, "usage"),
        "within_usage": within_twins(faces, "usage"),
        "cross_split": cross_twins(faces, "split"),
        "within_split": within_twins(faces, "split"),
        "test_clean": int(((faces["split"] == "test").to_numpy() & ~twins["twin_in_train"] & ~twins["twin_in_val"]).sum()),
        "mirrored_twins": int(find_mirrored(store.images, faces["content_hash"]).sum()),
        "blank_faces": int(find_blank(store.images).sum()),
        "near_twins": None,  # not looked for yet: the same picture cropped, scaled or compressed anew
    }


def cross_twins(faces: pd.DataFrame, by: str) -> dict[str, dict[str, dict[str, int]]]:
    """Return {A: {B: {"byte_twins": how many faces of B have a byte twin in A}}} for all ordered pairs of values of column `by`."""
    values = _values(faces, by)
    hashes = {value: faces.loc[faces[by] == value, "content_hash"] for value in values}
    counts: dict[str, dict[str, dict[str, int]]] = {value: {} for value in values} if len(values) > 1 else {}
    for first, second in permutations(values, 2):
        counts[first][second] = {"byte_twins": int(hashes[second].isin(hashes[first]).sum())}
    return counts


def within_twins(faces: pd.DataFrame, by: str) -> dict[str, dict[str, int]]:
    """Return {A: {"byte_twins": how many faces of A have a byte twin in A}} for all values of column `by`."""
    hashes = {value: faces.loc[faces[by] == value, "content_hash"] for value in _values(faces, by)}
    return {value: {"byte_twins": int(of.duplicated(keep=False).sum())} for value, of in hashes.items()}


def pair_twins(faces: pd.DataFrame, twins: pd.DataFrame, *, which: str, most: int) -> pd.DataFrame:
    """Choose pairs of twins to look at, one pair per group.

    Args:
        faces: Face table with `split`.
        twins: Its twins table.
        which: "crossing", two faces of different splits, those whose labels differ first; or "conflict", two faces of different
            labels, large groups first.
        most: At most so many pairs.

    Returns:
        One row per pair: `group`, `first` and `second` (rows of `faces`).
    """
    key = {"crossing": "split", "conflict": "target"}[which]
    several = twins[twins["group_size"] > 1].sort_values(["label_conflict", "group_size", "group"], ascending=[False, False, True], kind="stable")
    pairs = []
    for group, members in several.groupby("group", sort=False):
        rows = members.index.to_numpy()
        values = faces[key].to_numpy()[rows]
        others = np.flatnonzero(values != values[0])
        if len(others):
            pairs.append({"group": int(group), "first": int(rows[0]), "second": int(rows[others[0]])})
        if len(pairs) == most:
            break
    return pd.DataFrame(pairs, columns=["group", "first", "second"])


def find_blank(images: np.ndarray) -> np.ndarray:
    """Return which of (N, H, W) or (N, H, W, 3) show nothing: all pixels alike. Bool (N,)."""
    blank = np.empty(len(images), dtype=bool)
    for start in range(0, len(images), CHUNK):
        flat = images[start : start + CHUNK].reshape(len(images[start : start + CHUNK]), -1)
        blank[start : start + CHUNK] = (flat == flat[:, :1]).all(axis=1)
    return blank


def find_mirrored(images: np.ndarray, hashes: pd.Series) -> np.ndarray:
    """Return which faces are the byte-exact mirror image of another face. A face that is its own mirror image does not count.

    Args:
        images: (N, H, W) or (N, H, W, 3).
        hashes: `content_hash` of each, (N,).

    Returns:
        Bool, (N,).
    """
    mirrored = pd.Series([value for start in range(0, len(images), CHUNK) for value in hash_images(images[start : start + CHUNK, :, ::-1])])
    own = hashes.reset_index(drop=True)
    return (mirrored.isin(own) & (mirrored != own)).to_numpy()


def _values(faces: pd.DataFrame, by: str) -> list[str]:
    present = list(dict.fromkeys(faces[by]))
    return [split for split in SPLITS if split in present] if by == "split" else present
