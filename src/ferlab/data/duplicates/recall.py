"""Does the search for duplicates find what is hidden on purpose, and nothing else?

Run with every audit, on two kinds of faces: control faces, where every pair that is no copy is known to be none, so that precision can be told;
and the set's own, where only recall can be, and the limit is the set's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ferlab.copies import KINDS
from ferlab.data.duplicates.audit import is_derived
from ferlab.data.duplicates.codes import fit_codes, thumbnails
from ferlab.data.duplicates.planting import judge_found, plant
from ferlab.data.duplicates.search import FEW, find_near_pairs, search_pairs
from ferlab.data.faces import hash_images

EACH = 25  # copies of each kind
OWN = 400  # faces of the set that copies are hidden among


def search_control(images: np.ndarray, faces: pd.DataFrame, *, each: int = EACH, seed: int = 0) -> dict[str, Any]:
    """Hide copies among faces that are all different pictures, and count what is found.

    Args:
        images: Control faces, uint8 (N, S, S), several hundred, of few subjects, without duplicates.
        faces: Their face table; frames of a `sequence` count neither for nor against.
        each: Copies of each of `KINDS`.
        seed: Of the choice and of what is done to the copies.

    Returns:
        As `planting.judge_found`, and `limit`.
    """
    planted_images, planted = plant(images, each=each, seed=seed)
    contents = _contents(planted_images)
    targets = faces["target"].to_numpy()
    found, limit = find_near_pairs(planted_images, contents, targets=np.concatenate([targets, targets[planted["origin"]]]), seed=seed)
    alike = pd.factorize(faces["sequence"])[0] if "sequence" in faces else np.full(len(images), -1)
    alike = np.concatenate([alike, alike[planted["origin"]]])
    return judge_found(found, planted, contents, alike=alike) | {"limit": limit}


def search_own(images: np.ndarray, faces: pd.DataFrame, *, limit: float, each: int = EACH, seed: int = 0) -> dict[str, Any]:
    """Hide copies among some of the set's own faces, and count how many are found at the set's own limit, by a search as wide as its own.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        faces: Face table of N rows.
        limit: The score from which the audit took pairs of this set.
        each: Copies of each of `KINDS`; fewer where the set is small.
        seed: Of the faces and the copies.

    Returns:
        `planted`, `found`, `recall` and `per_kind`, as `planting.judge_found` gives them.
    """
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(~is_derived(faces))
    rows = rows[np.unique(faces["content_hash"].to_numpy()[rows], return_index=True)[1]]
    rows = np.sort(rng.permutation(np.sort(rows))[:OWN])
    planted_images, planted = plant(thumbnails(images[rows]), each=min(each, len(rows) // len(KINDS)), seed=seed)
    contents = _contents(planted_images)
    firsts = np.unique(contents, return_index=True)[1]
    firsts.sort()
    different = planted_images[firsts]
    kept, _ = search_pairs(different, fit_codes(different, seed=seed), limit=limit, wide=len(images) <= FEW)
    found = pd.DataFrame({"first": firsts[kept["first"]], "second": firsts[kept["second"]]})
    judged = judge_found(found, planted, contents)
    return {key: judged[key] for key in ("planted", "found", "recall", "per_kind")} | {"limit": limit}


def _contents(images: np.ndarray) -> np.ndarray:
    return pd.factorize(pd.Series(hash_images(images)))[0]
