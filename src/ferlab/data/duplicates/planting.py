"""Copies planted among faces, and the recall and precision of a search for them.

References:
    Barz and Denzler (2020), Do We Train on Test Data? Purging CIFAR of Near-Duplicates, arXiv 1902.00423.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ferlab.copies import KINDS, alter


def plant(images: np.ndarray, *, kinds: Sequence[str] = KINDS, each: int, seed: int = 0) -> tuple[np.ndarray, pd.DataFrame]:
    """Append altered copies of some faces to them.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        kinds: Of copies, from `KINDS`.
        each: Copies of every kind; no face is copied twice.
        seed: Of the choice and the alterations.

    Returns:
        The faces followed by their copies, and a table with one row per copy: `origin` and `copy` (rows of the faces), `kind`.

    Raises:
        ValueError: If there are fewer faces than copies.
    """
    if each * len(kinds) > len(images):
        raise ValueError(f"Expected at least {each * len(kinds)} faces for {each} copies of {len(kinds)} kinds, got {len(images)}")
    rng = np.random.default_rng(seed)
    origins = rng.permutation(len(images))[: each * len(kinds)]
    named = np.repeat(np.array(kinds, dtype=object), each)
    copies = [alter(images[origin], kind, rng) for origin, kind in zip(origins, named, strict=True)]
    return np.concatenate([images, copies]), pd.DataFrame({"origin": origins, "copy": len(images) + np.arange(len(origins)), "kind": named})


def judge_found(found: pd.DataFrame, planted: pd.DataFrame, contents: np.ndarray, *, alike: np.ndarray | None = None) -> dict[str, Any]:
    """Compute recall and precision of a search on planted copies.

    Args:
        found: Pairs of contents found: `first`, `second`, rows of the faces. Byte-identical faces count as found.
        planted: `origin`, `copy`, `kind`, from `plant`.
        contents: Number of each face's content, (N,).
        alike: Number of each face's sequence, (N,), -1 for none: a pair of frames of one sequence is neither right nor wrong.

    Returns:
        `planted`, `found`, `recall`, `false_pairs`, `precision`, and `per_kind.<kind>.{planted, found, recall}`. A pair is right if both faces
        come from the same original; a ratio of nothing is None.
    """
    origin = np.arange(len(contents))
    origin[planted["copy"]] = planted["origin"]
    first, second = found["first"].to_numpy(np.int64), found["second"].to_numpy(np.int64)
    a, b, root = contents[first], contents[second], contents[origin]  # root: the content that a face was copied from, else its own
    right = (root[first] == root[second]) | (a == root[second]) | (root[first] == b)
    wrong = ~right if alike is None else ~right & ((alike[first] != alike[second]) | (alike[first] < 0))
    source, copy = contents[planted["origin"]], contents[planted["copy"]]
    hit = (source == copy) | np.isin(_key(source, copy), _key(a, b))
    correct, false = int(right.sum()) + int((source == copy).sum()), int(wrong.sum())  # identical copies are right pairs that no search lists
    per_kind = {kind: _recall(hits) for kind, hits in pd.Series(hit).groupby(planted["kind"].to_numpy(), sort=False)}
    precision = correct / (correct + false) if correct + false else None
    return _recall(hit) | {"false_pairs": false, "precision": precision, "per_kind": per_kind}


def planted_in(faces: pd.DataFrame) -> pd.DataFrame | None:
    """Return the copies that a face table names (columns `duplicate_of`, perhaps `duplicate_kind`) as `plant` does; None without the column."""
    if "duplicate_of" not in faces:
        return None
    rows = pd.Series(np.arange(len(faces)), index=faces["face_id"])
    origins = rows.reindex(faces["duplicate_of"]).to_numpy()  # none for a face that is no copy, or whose original the split's rules excluded
    copies = np.flatnonzero(~np.isnan(origins))
    kinds = faces["duplicate_kind"].to_numpy()[copies] if "duplicate_kind" in faces else "exact"
    return pd.DataFrame({"origin": origins[copies].astype(np.int64), "copy": copies, "kind": kinds})


def _key(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.minimum(a, b) * 2**32 + np.maximum(a, b)


def _recall(hits: np.ndarray) -> dict[str, int | float | None]:
    return {"planted": len(hits), "found": int(hits.sum()), "recall": float(hits.mean()) if len(hits) else None}
