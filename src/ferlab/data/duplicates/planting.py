"""Copies planted on purpose, and how many of them a search found: recall and precision where the truth is known."""

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
        kinds: Of copies, each a key of `KINDS`.
        each: Copies of every kind; each is of another face.
        seed: Of the choice and of what is done.

    Returns:
        The faces with their copies behind them, and a table with one row per copy: `origin` and `copy` (rows of the faces), `kind`.

    Raises:
        ValueError: If there are fewer faces than copies.
    """
    if each * len(kinds) > len(images):
        raise ValueError(f"Expected at least {each * len(kinds)} faces for {each} copies of {len(kinds)} kinds, got {len(images)}")
    rng = np.random.default_rng(seed)
    origins = rng.permutation(len(images))[: each * len(kinds)]
    named = np.repeat(np.array(kinds, dtype=object), each)
    copies = [alter(images[origin], kind, rng) for origin, kind in zip(origins, named, strict=True)]
    planted = pd.DataFrame({"origin": origins, "copy": len(images) + np.arange(len(origins)), "kind": named})
    return np.concatenate([images, np.stack(copies)]), planted


def judge_found(found: pd.DataFrame, planted: pd.DataFrame, contents: np.ndarray, *, alike: np.ndarray | None = None) -> dict[str, Any]:
    """Count which planted copies were found, and how many of the pairs found are none.

    Args:
        found: Pairs of contents found: `first`, `second`, rows of the faces. Byte-identical faces are found without being listed.
        planted: `origin`, `copy`, `kind`, as `plant` gives it.
        contents: Number of each face's content, (N,).
        alike: A number per face (N,), -1 for none: faces that share it are frames of one sequence, and a pair of them is neither right nor wrong.

    Returns:
        `planted`, `found`, `recall`, `false_pairs`, `precision`, and `per_kind.<kind>.{planted, found, recall}`. A pair is right if both faces
        come from the same original; a ratio of nothing is None.
    """
    origin = np.arange(len(contents))
    origin[planted["copy"]] = planted["origin"]
    root = contents[origin]  # the content a face was copied from, its own if it is no copy
    first, second = found["first"].to_numpy(np.int64), found["second"].to_numpy(np.int64)
    right = (root[first] == root[second]) | (contents[first] == root[second]) | (root[first] == contents[second])
    neither = np.zeros(len(found), bool) if alike is None else ~right & (alike[first] == alike[second]) & (alike[first] >= 0)
    pairs = {tuple(sorted(pair)) for pair in zip(contents[first].tolist(), contents[second].tolist(), strict=True)}
    copies = list(zip(contents[planted["origin"]].tolist(), contents[planted["copy"]].tolist(), strict=True))
    hit = np.array([a == b or tuple(sorted((a, b))) in pairs for a, b in copies], bool)
    kinds = planted["kind"].to_numpy()
    per_kind = {kind: _share(int(hit[kinds == kind].sum()), int((kinds == kind).sum())) for kind in dict.fromkeys(kinds)}
    wrong = int((~right & ~neither).sum())
    correct = int(right.sum()) + sum(a == b for a, b in copies)  # byte-identical copies are right pairs, though nobody lists them
    return _share(int(hit.sum()), len(hit)) | {
        "false_pairs": wrong,
        "precision": correct / (correct + wrong) if correct + wrong else None,
        "per_kind": per_kind,
    }


def planted_in(faces: pd.DataFrame) -> pd.DataFrame | None:
    """Return the copies a face table says were planted in it (columns `duplicate_of`, and `duplicate_kind` where it has one), as `plant` does; else None."""
    if "duplicate_of" not in faces:
        return None
    rows = pd.Series(np.arange(len(faces)), index=faces["face_id"].to_numpy())
    copies = np.flatnonzero((faces["duplicate_of"].fillna("") != "").to_numpy())
    origins = rows.reindex(faces["duplicate_of"].to_numpy()[copies])
    known = origins.notna().to_numpy()  # an original may have been left out by the split's rules
    kinds = faces["duplicate_kind"].to_numpy()[copies] if "duplicate_kind" in faces else np.full(len(copies), "exact", dtype=object)
    return pd.DataFrame({"origin": origins.to_numpy()[known].astype(np.int64), "copy": copies[known], "kind": kinds[known]})


def _share(found: int, planted: int) -> dict[str, int | float | None]:
    return {"planted": planted, "found": found, "recall": found / planted if planted else None}
