"""What a set holds that an accuracy should know: byte-identical faces, mirrored and near copies, within and across usages and splits;
labels that contradict each other on them; blank faces.

A exact duplicate of a face is another face with the same decoded pixels, a mirrored duplicate has them from right to left, a near-duplicate is the same picture
changed a little (`near_duplicates`). A test face with a duplicate among the faces that fit or select is remembered, not recognised; metrics on
`test_dedup` leave exact duplicates out. Rows that preparation derived from others (column `derived_from`) are copies on purpose: they are left out
of every count.

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

from ferlab.data.duplicates.planting import judge_found, planted_in
from ferlab.data.duplicates.search import find_near_pairs, group_pairs
from ferlab.data.faces import hash_images
from ferlab.data.store import Store
from ferlab.expressions import SPLITS

CHUNK = 2**25  # bytes of images read from the memory map at a time
Counts = dict[str, dict[str, dict[str, int]]]


def number_contents(faces: pd.DataFrame) -> np.ndarray:
    """Number the content of every face by first appearance, int64 (N,): equal for exact duplicates; of its own for a row derived from another."""
    derived = is_derived(faces)
    return pd.factorize(faces["content_hash"].where(~derived, faces["face_id"]))[0].astype(np.int64)


def is_derived(faces: pd.DataFrame) -> np.ndarray:
    """Return which rows preparation made from another face, bool (N,)."""
    return (faces["derived_from"].fillna("") != "").to_numpy() if "derived_from" in faces else np.zeros(len(faces), bool)


def find_pairs(store: Store, *, small: np.ndarray | None = None, seed: int = 0) -> tuple[pd.DataFrame, float]:
    """Find the pairs of different contents that are one picture, over all pairs of the set.

    Args:
        store: The set.
        small: Its `face_codes.thumbnails`, where they are at hand: large pictures are then read once less.
        seed: Of the faces that the search learns its weights from.

    Returns:
        One row per pair and orientation: `first` < `second` (the first face of each content), `mirrored`, `score` (correlation once aligned),
        `exact` (the byte-exact mirror image); and the score from which pairs were taken.
    """
    contents = np.where(is_derived(store.faces), -1, number_contents(store.faces))
    targets = store.faces["target"].to_numpy()
    near, limit = find_near_pairs(store.images if small is None else small, contents, targets=targets, seed=seed)
    exact = _mirrored_pairs(store.images, store.faces["content_hash"], contents).assign(mirrored=True, score=1.0, exact=True)
    pairs = pd.concat([exact, near.assign(exact=False)], ignore_index=True) if len(exact) else near.assign(exact=False)
    pairs = pairs.drop_duplicates(["first", "second", "mirrored"]).sort_values(["first", "second", "mirrored"], ignore_index=True)
    return pairs, limit


def find_duplicates(faces: pd.DataFrame, pairs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Group faces by content, and by picture.

    Args:
        faces: Face table with `split`.
        pairs: Near and mirrored duplicates, from `find_pairs`; None: exact duplicates only.

    Returns:
        The duplicates table, one row per face in store order: `face_id`, `content_hash`, `group` (number of the content, by first
        appearance), `group_size` (1 for a face without a duplicate), `duplicate_in_train`, `duplicate_in_val` (another face there has the same
        content), `label_conflict` (the group's faces have different targets). With `pairs` also `near_group`, `near_group_size`,
        `near_duplicate_in_train`, `near_duplicate_in_val`, `near_label_conflict`, the same for faces that are one picture, exact duplicates among them; and
        `mirrored_in_train`, `mirrored_in_val` (a face there is a mirrored duplicate, exact or near).
    """
    contents = number_contents(faces)
    table = {"face_id": faces["face_id"].to_numpy(), "content_hash": faces["content_hash"].to_numpy()}
    table |= _group_columns(faces, contents, prefix="")
    if pairs is not None:
        near = _group_columns(faces, group_pairs(pairs, contents), prefix="near_")
        mirrored = _reach(faces, pairs[pairs["mirrored"]], by="split")
        table |= near | {f"mirrored_in_{split}": mirrored[split].to_numpy() for split in ("train", "val")}
    return pd.DataFrame(table)


def write_duplicates(path: Path, duplicates: pd.DataFrame) -> None:
    """Write the duplicates table as parquet; the same table gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(duplicates, preserve_index=False).replace_schema_metadata(None), path, compression="zstd")


def audit_set(store: Store, pairs: pd.DataFrame | None = None) -> dict[str, Any]:
    """Count what `find_duplicates`, `find_pairs` and `find_blank` find.

    Args:
        store: The set.
        pairs: From `find_pairs`; None: they are looked for.

    Returns:
        A nested dict for a metrics file. `cross_usage.<A>.<B>` is how many faces of usage B have a `exact_duplicates`, `mirrored_duplicates` (exact) or
        `near_duplicates` (not byte-identical, nor exactly mirrored) in A, `cross_split` the same for splits, `within_usage.<A>` how many faces of
        A have another in A. `groups` counts contents that more than one face has, `label_conflicts` those of them with more than one label;
        `near_*` the same for pictures. `planted` holds what was found of copies the set says were planted.
    """
    pairs = find_pairs(store)[0] if pairs is None else pairs
    derived = is_derived(store.faces)
    whole = find_duplicates(store.faces, pairs)
    faces, duplicates = store.faces[~derived], whole[~derived]
    marks = {"mirrored_duplicates": pairs[pairs["exact"]], "near_duplicates": pairs[~pairs["exact"]]}
    reached = {name: _reach(store.faces, of).any(axis=1).to_numpy() for name, of in marks.items()}
    test = (faces["split"] == "test").to_numpy()
    return {
        "faces": len(faces),
        "derived_rows_excluded": int(derived.sum()),
        "expressions": list(store.expressions),
        **_count_groups(duplicates, prefix=""),
        **_count_groups(duplicates, prefix="near_"),
        **{f"{kind}_{by}": count(store.faces, pairs, by=by) for by in ("usage", "split") for kind, count in _COUNTS.items()},
        "test_dedup": int((test & ~duplicates["duplicate_in_train"] & ~duplicates["duplicate_in_val"]).sum()),
        "test_dedup_of_near": int((test & ~duplicates["near_duplicate_in_train"] & ~duplicates["near_duplicate_in_val"]).sum()),
        "near_pairs": int((~pairs["exact"]).sum()),
        "near_pairs_mirrored": int((pairs["mirrored"] & ~pairs["exact"]).sum()),
        **{name: int(faces_with.sum()) for name, faces_with in reached.items()},
        "blank_faces": int((find_blank(store.images) & ~derived).sum()),
        "planted": find_planted(store.faces, pairs),
    }


def find_planted(faces: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any] | None:
    """Return recall and precision (`planting.judge_found`) on the copies that the table's `duplicate_of` names; None where it names none.

    Frames of one sequence are nearly one picture: a pair of them counts neither for nor against.
    """
    planted = planted_in(faces)
    if planted is None or not len(planted):
        return None
    alike = pd.factorize(faces["sequence"])[0] if "sequence" in faces else None
    return judge_found(pairs, planted, number_contents(faces), alike=alike)


def cross_duplicates(faces: pd.DataFrame, pairs: pd.DataFrame, *, by: str) -> Counts:
    """Return {A: {B: {"exact_duplicates": how many faces of B have one in A, "mirrored_duplicates": .., "near_duplicates": ..}}} for all ordered pairs of values."""
    values, tables = _duplicate_tables(faces, pairs, by)
    if len(values) == 1:
        return {}
    return {a: {b: _count_duplicates(faces, tables, by=by, duplicate_in=a, of=b) for b in values if b != a} for a in values}


def within_duplicates(faces: pd.DataFrame, pairs: pd.DataFrame, *, by: str) -> dict[str, dict[str, int]]:
    """Return {A: {"exact_duplicates": how many faces of A have another one in A, ...}} for all values of column `by`."""
    values, tables = _duplicate_tables(faces, pairs, by)
    return {a: _count_duplicates(faces, tables, by=by, duplicate_in=a, of=a) for a in values}


_COUNTS = {"cross": cross_duplicates, "within": within_duplicates}


def _count_duplicates(faces: pd.DataFrame, tables: dict[str, pd.DataFrame], *, by: str, duplicate_in: str, of: str) -> dict[str, int]:
    here = (faces[by] == of).to_numpy() & ~is_derived(faces)
    return {name: int((table[duplicate_in].to_numpy() & here).sum()) for name, table in tables.items()}


def _duplicate_tables(faces: pd.DataFrame, pairs: pd.DataFrame, by: str) -> tuple[list[str], dict[str, pd.DataFrame]]:
    """For each kind of duplicate, whether each face (row) has one in each value of `by` (column)."""
    values = _values(faces[~is_derived(faces)], by)
    near = {"mirrored_duplicates": pairs[pairs["exact"]], "near_duplicates": pairs[~pairs["exact"]]}
    tables = {name: _reach(faces, of, by=by) for name, of in near.items()}
    return values, {"exact_duplicates": _others(faces, number_contents(faces), by=by), **tables}


def _others(faces: pd.DataFrame, groups: np.ndarray, *, by: str) -> pd.DataFrame:
    """Whether another face of each face's group stands in each value of `by`."""
    there = {value: (faces[by] == value).to_numpy() for value in dict.fromkeys(faces[by])}
    return pd.DataFrame({value: np.bincount(groups, weights=here)[groups] - here > 0 for value, here in there.items()})


def _reach(faces: pd.DataFrame, pairs: pd.DataFrame, *, by: str = "split") -> pd.DataFrame:
    """Whether each face's content is paired with the content of a face in each value of `by`."""
    contents = number_contents(faces)
    first, second = (contents[pairs[end].to_numpy(np.int64)] for end in ("first", "second"))
    table = {}
    for value in dict.fromkeys([*(SPLITS if by == "split" else ()), *faces[by]]):
        present = np.zeros(contents.max(initial=-1) + 1, bool)
        present[contents[(faces[by] == value).to_numpy()]] = True
        reached = np.zeros_like(present)
        reached[first[present[second]]] = True
        reached[second[present[first]]] = True
        table[value] = reached[contents]
    return pd.DataFrame(table)


def _group_columns(faces: pd.DataFrame, groups: np.ndarray, *, prefix: str) -> dict[str, np.ndarray]:
    by_group = faces["target"].reset_index(drop=True).groupby(groups)
    others = _others(faces, groups, by="split").reindex(columns=list(SPLITS), fill_value=False)
    return {
        f"{prefix}group": groups,
        f"{prefix}group_size": np.bincount(groups)[groups].astype(np.int64),
        f"{prefix}duplicate_in_train": others["train"].to_numpy(),
        f"{prefix}duplicate_in_val": others["val"].to_numpy(),
        f"{prefix}label_conflict": by_group.transform("nunique").to_numpy() > 1,
    }


def _count_groups(duplicates: pd.DataFrame, *, prefix: str) -> dict[str, int]:
    several = duplicates[duplicates[f"{prefix}group_size"] > 1]
    conflicts = several[several[f"{prefix}label_conflict"]]
    return {
        f"{prefix}groups": int(several[f"{prefix}group"].nunique()),
        f"faces_in_{prefix}groups": len(several),
        f"largest_{prefix}group": int(duplicates[f"{prefix}group_size"].max()),
        f"{prefix}label_conflicts": int(conflicts[f"{prefix}group"].nunique()),
        f"faces_in_{prefix}label_conflicts": len(conflicts),
    }


def pair_duplicates(faces: pd.DataFrame, duplicates: pd.DataFrame, *, which: str, most: int) -> pd.DataFrame:
    """Choose pairs of duplicates to look at, one pair per group.

    Args:
        faces: Face table with `split`.
        duplicates: Its duplicates table.
        which: "crossing", two faces of different splits, those whose labels differ first; or "conflict", two faces of different
            labels, large groups first.
        most: At most so many pairs.

    Returns:
        One row per pair: `group`, `first` and `second` (rows of `faces`).
    """
    key = {"crossing": "split", "conflict": "target"}[which]
    several = duplicates[duplicates["group_size"] > 1].sort_values(["label_conflict", "group_size", "group"], ascending=[False, False, True], kind="stable")
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
    for part in _chunks(images):
        flat = images[part].reshape(len(images[part]), -1)
        blank[part] = (flat == flat[:, :1]).all(axis=1)
    return blank


def find_mirrored(images: np.ndarray, hashes: pd.Series) -> np.ndarray:
    """Return which faces are the byte-exact mirror image of another face. A face that is its own mirror image does not count.

    Args:
        images: (N, H, W) or (N, H, W, 3).
        hashes: `content_hash` of each, (N,).

    Returns:
        Bool, (N,).
    """
    mirrored, own = _mirrored_hashes(images), hashes.reset_index(drop=True)
    return (mirrored.isin(own) & (mirrored != own)).to_numpy()


def _mirrored_pairs(images: np.ndarray, hashes: pd.Series, contents: np.ndarray) -> pd.DataFrame:
    """The pairs of contents (their first faces, not of -1) of which one is the other mirrored: `first` < `second`."""
    numbers, rows = np.unique(contents, return_index=True)
    rows = np.sort(rows[numbers >= 0])
    place = pd.Series(rows, index=hashes.to_numpy()[rows])
    other = place.reindex(_mirrored_hashes(images).to_numpy()[rows])
    later = (other.to_numpy() > rows) & other.notna().to_numpy()  # the pair once; a face that is its own mirror image not at all
    return pd.DataFrame({"first": rows[later], "second": other.to_numpy()[later].astype(np.int64)})


def _mirrored_hashes(images: np.ndarray) -> pd.Series:
    return pd.Series([value for part in _chunks(images) for value in hash_images(images[part, :, ::-1])])


def _chunks(images: np.ndarray) -> list[slice]:
    rows = max(1, CHUNK // max(1, images[:1].nbytes))
    return [slice(start, start + rows) for start in range(0, len(images), rows)]


def _values(faces: pd.DataFrame, by: str) -> list[str]:
    present = list(dict.fromkeys(faces[by]))
    return [split for split in SPLITS if split in present] if by == "split" else present
