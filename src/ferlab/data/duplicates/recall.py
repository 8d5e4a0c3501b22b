"""Recall and precision of the duplicate search on planted copies, measured with every audit.

Control faces are all different, so precision is known too. Among the dataset's own faces other pairs may be duplicates: only recall is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ferlab.copies import KINDS
from ferlab.data.duplicates.codes import thumbnails
from ferlab.data.duplicates.planting import judge_found, plant
from ferlab.data.duplicates.search import FEW, find_near_pairs
from ferlab.data.faces import hash_images, is_derived

EACH, OWN = 25, 400  # copies of each kind; faces of the dataset that copies are planted among


def search_control(images: np.ndarray, faces: pd.DataFrame, *, each: int = EACH, seed: int = 0) -> dict[str, Any]:
    """Return `planting.judge_found` and `limit` of a search among control faces, uint8 (N, S, S), several hundred without duplicates.

    Args:
        images: Of few subjects.
        faces: Their face table; a pair of frames of one `sequence` is neither right nor wrong.
        each: Copies of each of `KINDS`.
        seed: Of the choice and the alterations.
    """
    alike = pd.factorize(faces["sequence"])[0] if "sequence" in faces else np.full(len(images), -1)
    return _search_planted(images, faces["target"].to_numpy(), alike=alike, each=each, seed=seed)


def search_own(images: np.ndarray, faces: pd.DataFrame, *, limit: float, each: int = EACH, seed: int = 0) -> dict[str, Any]:
    """Return `planted`, `found`, `recall`, `per_kind` and `limit` of a search among some faces of a dataset, at the dataset's limit.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        faces: Face table of N rows.
        limit: Score from which the dataset's pairs are near-duplicates.
        each: Copies of each of `KINDS`; fewer of a small dataset.
        seed: Of the faces and the alterations.
    """
    rows = np.flatnonzero(~is_derived(faces) & ~faces["content_hash"].duplicated().to_numpy())
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:OWN])
    each, targets = min(each, len(rows) // len(KINDS)), faces["target"].to_numpy()[rows]
    judged = _search_planted(thumbnails(images[rows]), targets, each=each, seed=seed, limit=limit, wide=len(images) <= FEW)
    return {key: value for key, value in judged.items() if key not in ("false_pairs", "precision")}


def _search_planted(
    images: np.ndarray, targets: np.ndarray, *, each: int, seed: int, alike: np.ndarray | None = None, **options: Any
) -> dict[str, Any]:
    planted_images, planted = plant(images, each=each, seed=seed)
    rows = np.concatenate([np.arange(len(images)), planted["origin"]])
    contents = pd.factorize(pd.Series(hash_images(planted_images)))[0]
    found, limit = find_near_pairs(planted_images, contents, targets=targets[rows], seed=seed, **options)
    return judge_found(found, planted, contents, alike=None if alike is None else alike[rows]) | {"limit": limit}
