"""Near twins: the same picture moved, turned, scaled, relit, compressed again or mirrored.

Codes find the pairs that might be (`face_codes`), alignment confirms them (`registration`). Owns the thresholds, and the groups that confirmed
pairs form. Two pictures of one person are no near twins, even of one expression; neighbouring frames of a film are.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from ferlab.data.face_codes import SHIFTS, find_candidates, fit_codes, thumbnails
from ferlab.data.registration import BATCH, compare_pairs

SCORE = 0.95  # correlation of the aligned, band-passed faces
WORST = 0.6  # worst cell of 8 x 8 pixels of 48, see `registration.compare_pairs`


def find_near_pairs(images: np.ndarray, contents: np.ndarray, *, seed: int = 0) -> pd.DataFrame:
    """Find near twins over all pairs of faces.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), may be a memory map; read once.
        contents: Number of each face's content (N,), as `group` of the twins table; of byte-identical faces one is looked at.
        seed: Of the faces that the search learns its weights from.

    Returns:
        One row per pair of contents and orientation, in order: `first` < `second` (the first face of each content), `mirrored`, `score`.
    """
    rows = np.unique(contents, return_index=True)[1]
    rows.sort()
    faces = thumbnails(images)
    faces = faces if len(rows) == len(faces) else faces[rows]
    return judge_candidates(faces, find_candidates(faces, fit_codes(faces, seed=seed))).assign(
        first=lambda pairs: rows[pairs["first"]], second=lambda pairs: rows[pairs["second"]]
    )


def judge_candidates(faces: np.ndarray, candidates: np.ndarray) -> pd.DataFrame:
    """Align every candidate pair and keep those that are one picture: `first`, `second`, `mirrored`, `score`."""
    score, worst = score_candidates(faces, candidates)
    kept = (score >= SCORE) & (worst <= WORST)
    found = candidates[kept]
    return pd.DataFrame({"first": found["first"], "second": found["second"], "mirrored": found["mirrored"], "score": score[kept].round(4)})


def score_candidates(faces: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return correlation and worst cell of candidate pairs, (P,) each, as `registration.compare_pairs` defines them."""
    shifts = np.array(SHIFTS, np.float32)
    score, worst = np.empty(len(candidates), np.float32), np.empty(len(candidates), np.float32)
    with threadpool_limits(1):
        for start in range(0, len(candidates), BATCH):
            part = candidates[start : start + BATCH]
            first, second = faces[part["first"]], faces[part["second"]]
            first[part["mirrored"]] = first[part["mirrored"], :, ::-1]
            score[start : start + BATCH], worst[start : start + BATCH] = compare_pairs(first, second, shifts=shifts[part["shift"]])
    return score, worst


def group_pairs(pairs: pd.DataFrame, contents: np.ndarray) -> np.ndarray:
    """Number the groups of faces that are one picture: byte-identical, or connected by pairs, however many links long.

    Args:
        pairs: `first` and `second`, rows of the faces.
        contents: Number of each face's content, (N,).

    Returns:
        Group of each face, int64 (N,), numbered by first appearance.
    """
    n = int(contents.max(initial=-1)) + 1
    links = (np.ones(len(pairs), np.int8), (contents[pairs["first"].to_numpy()], contents[pairs["second"].to_numpy()]))
    labels = connected_components(coo_array(links, shape=(n, n)), directed=False)[1]
    return pd.factorize(labels[contents])[0].astype(np.int64)
