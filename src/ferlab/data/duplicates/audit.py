"""What a dataset holds that an accuracy should know: duplicates within and across usages and splits, labels that contradict each other on
them, blank faces.

`prepare` has found the pairs (`pairs`); here they are counted. A test face with a duplicate among the faces that train or select may be
recalled rather than recognised; `test_dedup` excludes it. Rows that preparation derived from others are in no count.

References:
    Barz and Denzler (2020), Do We Train on Test Data? Purging CIFAR of Near-Duplicates, arXiv 1902.00423.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.data.duplicates.pairs import KINDS
from ferlab.data.duplicates.planting import judge_found, planted_in
from ferlab.data.faces import has_duplicate_in, originals
from ferlab.data.store import Store
from ferlab.expressions import SPLITS

CHUNK = 2**25  # bytes of images read from the memory map at a time
Counts = dict[str, dict[str, dict[str, int]]]


def audit_set(store: Store, pairs: pd.DataFrame) -> dict[str, Any]:
    """Count a dataset's duplicates.

    Args:
        store: The prepared dataset.
        pairs: From `pairs.read_pairs`.

    Returns:
        A nested dict for a metrics file. `cross_usage.<A>.<B>` is how many faces of usage B have `exact_duplicates`, `mirrored_duplicates`
        or `near_duplicates` in A, `cross_split` the same for splits, `within_usage.<A>` how many faces of A have another in A. `groups` counts
        contents that more than one face has, `label_conflicts` those with more than one label; `near_*` the same for photographs
        (`duplicate_group`). `planted` holds what was found of copies that the face table names.
    """
    faces = originals(store.faces)
    contents, targets, test = pd.factorize(faces["content_hash"])[0], faces["target"], faces["split"] == "test"
    exact, *others = (reach(faces, pairs, kind=kind, by="split") for kind in KINDS)
    near = pairs["kind"] == "near"
    return {
        "faces": len(faces),
        "test_faces": int(test.sum()),
        "derived_rows_excluded": len(store.faces) - len(faces),
        "expressions": list(store.expressions),
        **_count_groups(contents, targets, prefix=""),
        **_count_groups(faces["duplicate_group"].to_numpy(), targets, prefix="near_"),
        **_squares(faces, pairs, by="usage"),
        **_squares(faces, pairs, by="split"),
        "test_no_exact_duplicates": int((test & ~exact[["train", "val"]].any(axis=1)).sum()),
        "test_dedup": int((test & ~has_duplicate_in(faces, ("train", "val"))).sum()),
        "near_pairs": int(near.sum()),
        "near_pairs_mirrored": int(pairs.loc[near, "mirrored"].sum()),
        **{f"{kind}_duplicates": int(found.any(axis=1).sum()) for kind, found in zip(KINDS[1:], others, strict=True)},
        "blank_faces": int(find_blank(store.images)[: len(faces)].sum()),
        "planted": find_planted(faces, pairs),
    }


def find_planted(faces: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any] | None:
    """Return recall and precision (`planting.judge_found`) on the copies that the table's `duplicate_of` names; None where it names none.

    Frames of one sequence are nearly one photograph: a pair of them counts neither for nor against.
    """
    planted = planted_in(faces)
    if planted is None or not len(planted):
        return None
    alike = pd.factorize(faces["sequence"])[0] if "sequence" in faces else None
    return judge_found(pairs[pairs["kind"] != "exact"], planted, pd.factorize(faces["content_hash"])[0], alike=alike)


def reach(faces: pd.DataFrame, pairs: pd.DataFrame, *, kind: str, by: str) -> pd.DataFrame:
    """Return whether each face (row) has a duplicate of one kind in each value of column `by`, bool.

    Args:
        faces: Face table of N rows.
        pairs: From `pairs.find_pairs`.
        kind: "exact", "mirrored" or "near". A face shares the mirrored and near-duplicates of its exact duplicates.
        by: "split" (columns train, val and test, whichever occur) or another column.
    """
    contents, values = pd.factorize(faces["content_hash"])[0], dict.fromkeys([*(SPLITS if by == "split" else ()), *faces[by]])
    there = {value: np.bincount(contents, weights=faces[by] == value) for value in values}  # faces per content
    if kind == "exact":
        found = {value: count[contents] > (faces[by] == value) for value, count in there.items()}
        return pd.DataFrame(found).reset_index(drop=True)
    ends = contents[pairs.loc[pairs["kind"] == kind, ["first", "second"]].to_numpy()].T  # (2, P)
    table = {}
    for value, count in there.items():
        reached = np.zeros(len(count), bool)
        for one, other in (ends, ends[::-1]):
            reached[one[count[other] > 0]] = True
        table[value] = reached[contents]
    return pd.DataFrame(table)


def _squares(faces: pd.DataFrame, pairs: pd.DataFrame, *, by: str) -> dict[str, Any]:
    """Return `cross_<by>` and `within_<by>`: faces of one value that have a duplicate of each kind in another value, and in their own."""
    tables = {f"{kind}_duplicates": reach(faces, pairs, kind=kind, by=by) for kind in KINDS}
    present = list(dict.fromkeys(faces[by]))
    values = [split for split in SPLITS if split in present] if by == "split" else present
    here = {value: (faces[by] == value).to_numpy() for value in values}
    square = {a: {b: {name: int(table[a][here[b]].sum()) for name, table in tables.items()} for b in values} for a in values}
    cross = {a: {b: counts for b, counts in row.items() if b != a} for a, row in square.items()} if len(values) > 1 else {}
    return {f"cross_{by}": cross, f"within_{by}": {value: square[value][value] for value in values}}


def _count_groups(groups: np.ndarray, targets: pd.Series, *, prefix: str) -> dict[str, int]:
    by_group = targets.groupby(groups).agg(["size", "nunique"])
    several = by_group[by_group["size"] > 1]
    conflicts = several[several["nunique"] > 1]
    return {
        f"{prefix}groups": len(several),
        f"faces_in_{prefix}groups": int(several["size"].sum()),
        f"largest_{prefix}group": int(by_group["size"].max()),
        f"{prefix}label_conflicts": len(conflicts),
        f"faces_in_{prefix}label_conflicts": int(conflicts["size"].sum()),
    }


def write_duplicates(path: Path, pairs: pd.DataFrame, faces: pd.DataFrame) -> None:
    """Write the pairs for readers as parquet: both faces' `face_id`, `usage`, `split` and `target`, then `kind`, `mirrored` and `score`."""
    columns = ["face_id", "usage", "split", "target"]
    ends = [faces[columns].iloc[pairs[end]].reset_index(drop=True).add_suffix(f"_{end}") for end in ("first", "second")]
    table = pd.concat([*ends, pairs[["kind", "mirrored", "score"]].reset_index(drop=True)], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None), path, compression="zstd")


def pick_pairs(pairs: pd.DataFrame, faces: pd.DataFrame, *, which: str, most: int, seed: int = 0) -> pd.DataFrame:
    """Choose pairs to look at; a face is in one of them at most.

    Args:
        pairs: From `pairs.find_pairs`.
        faces: Their face table, with `split`.
        which: "crossing", exact duplicates in different splits, those whose labels differ first; "conflict", exact duplicates whose labels
            differ; "near", mirrored and near-duplicates, those in different splits first.
        most: At most so many pairs.
        seed: Of their order, which is random within these.
    """
    crossing, differing = (faces[key].to_numpy()[pairs[["first", "second"]]] for key in ("split", "target"))
    crossing, differing = crossing[:, 0] != crossing[:, 1], differing[:, 0] != differing[:, 1]
    exact = (pairs["kind"] == "exact").to_numpy()
    taken, first = {"crossing": (exact & crossing, differing), "conflict": (exact & differing, crossing), "near": (~exact, crossing)}[which]
    order = np.random.default_rng(seed).permutation(np.flatnonzero(taken))
    chosen = pairs.iloc[order[np.argsort(~first[order], kind="stable")]]
    shown: set[int] = set()
    free = []
    for ends in map(set, chosen[["first", "second"]].to_numpy().tolist()):
        free.append(shown.isdisjoint(ends))
        shown |= ends if free[-1] else set()
    return chosen[np.array(free, dtype=bool)].head(most).reset_index(drop=True)


def find_blank(images: np.ndarray) -> np.ndarray:
    """Return which images (N, H, W) or (N, H, W, 3) are blank, every pixel alike; bool (N,)."""
    blank, rows = np.empty(len(images), dtype=bool), max(1, CHUNK // max(1, images[:1].nbytes))
    for start in range(0, len(images), rows):
        flat = images[start : start + rows].reshape(len(images[start : start + rows]), -1)
        blank[start : start + rows] = (flat == flat[:, :1]).all(axis=1)
    return blank
