"""Near-duplicates: the same picture moved, turned, scaled, relit, compressed again or mirrored.

Codes find the pairs that might be (`face_codes`), alignment scores them (`registration`). Owns the score from which a pair is one picture, and
the groups that such pairs form. Two pictures of one person are no near-duplicates, even of one expression; neighbouring frames of a film are.

How alike two different pictures are depends on the set: photographs gathered from the web hardly resemble each other, frames of one person
in one room do. So a duplicate must stand out from what the set's faces reach without being one, within fixed bounds. That is measured on pairs of
different expressions: a copy has the expression of its original, so no number of copies raises the limit. (Measured on a face's most alike
other face of any expression, the limit of a set augmented before its split rises to its bound, and hides the copies.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from ferlab.data.duplicates.codes import SHIFTS, CodeSpace, find_candidates, find_nearest, fit_codes, thumbnails
from ferlab.data.duplicates.registration import BATCH, compare_pairs

LEAST, MOST = 0.90, 0.99  # bounds of the score from which a pair is one picture
# How many times as far as the crowd, in Fisher's z (the inverse hyperbolic tangent of a correlation): twice, and a twentieth more because
# faces of one expression are that much more alike than those of different ones (control faces: 3 to 7 %).
DENSITY_RATIO = 2.1
WIDER = 3.0  # how many times as far apart (squared) codes are still looked at where that costs little or much is to be found
FEW, COPIED = 5000, 0.25  # faces up to which it costs little; share of faces with a duplicate from which a set was probably augmented before its split
ASKED, NEIGHBOURS = 300, 5  # faces that the crowd is measured on, and how many of the closest others each is laid over


def find_near_pairs(images: np.ndarray, contents: np.ndarray, *, targets: np.ndarray, seed: int = 0) -> tuple[pd.DataFrame, float]:
    """Find near-duplicates over all pairs of faces.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), may be a memory map; read once.
        contents: Number of each face's content (N,), as `group` of the duplicates table; of byte-identical faces one is looked at. A face of -1
            is left out.
        targets: Expression of each face (N,), whole numbers; pairs of different expressions tell the limit.
        seed: Of the faces that the search learns its weights from.

    Returns:
        One row per pair of contents and orientation, in order: `first` < `second` (the first face of each content), `mirrored`, `score`; and
        the score from which pairs were taken.
    """
    numbers, rows = np.unique(contents, return_index=True)
    rows = np.sort(rows[numbers >= 0])
    faces = thumbnails(images)
    faces = faces if len(rows) == len(faces) else faces[rows]
    space = fit_codes(faces, seed=seed) if len(faces) > 1 else None
    limit = choose_limit(measure_crowd(faces, space, targets=np.asarray(targets)[rows], seed=seed)) if space else LEAST
    found, kept = search_pairs(faces, space, limit=limit, wide=len(faces) <= FEW)
    if len(faces) > FEW and len(np.union1d(found["first"], found["second"])) >= COPIED * len(faces):
        found, kept = search_pairs(faces, space, limit=limit, wide=True)
    pairs = {"first": rows[found["first"]], "second": rows[found["second"]], "mirrored": found["mirrored"], "score": kept.round(4).astype(float)}
    return pd.DataFrame(pairs), limit


def search_pairs(faces: np.ndarray, space: CodeSpace | None, *, limit: float, wide: bool) -> tuple[np.ndarray, np.ndarray]:
    """Find the pairs of faces that reach a score once aligned.

    Args:
        faces: Thumbnails of different contents, uint8 (N, 48, 48).
        space: From `face_codes.fit_codes`; None where there are no faces to compare.
        limit: The score.
        wide: Whether to look at codes `WIDER` times as far apart, as of copies turned by ten degrees or zoomed by a tenth. On 30,000 faces that
            aligns a million pairs.

    Returns:
        The pairs, structured as of `face_codes.find_candidates`, and their scores, float32.
    """
    candidates = find_candidates(faces, replace(space, limit=WIDER * space.limit) if space and wide else space)
    score = score_candidates(faces, candidates)
    return candidates[score >= limit], score[score >= limit]


def score_candidates(faces: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Align every candidate pair and return its correlation, float32 (P,).

    Args:
        faces: Thumbnails, uint8 (N, 48, 48).
        candidates: From `face_codes.find_candidates`.
    """
    shifts, score = np.array(SHIFTS, np.float32), np.empty(len(candidates), np.float32)
    with threadpool_limits(1):
        for start in range(0, len(candidates), BATCH):
            part = candidates[start : start + BATCH]
            first, second = faces[part["first"]], faces[part["second"]]
            first[part["mirrored"]] = first[part["mirrored"], :, ::-1]
            score[start : start + BATCH] = compare_pairs(first, second, shifts=shifts[part["shift"]])
    return score


def measure_crowd(faces: np.ndarray, space: CodeSpace, *, targets: np.ndarray, seed: int = 0) -> float:
    """Return how alike the median face's most alike face of another expression is: a correlation, once aligned.

    Args:
        faces: Thumbnails of different contents, uint8 (N, 48, 48), at least 2.
        space: From `face_codes.fit_codes`.
        targets: Expression of each face (N,). Where all have one, the most alike of all others counts, and copies do raise it.
        seed: Of the faces that are asked.
    """
    labels = targets if len(np.unique(targets)) > 1 else None
    asked = np.sort(np.random.default_rng(seed).permutation(len(faces))[:ASKED])
    nearest = find_nearest(faces, space, rows=asked, most=NEIGHBOURS, labels=labels)
    score = score_candidates(faces, nearest.ravel()).reshape(nearest.shape)
    return float(np.median(score.max(axis=1)))


def choose_limit(crowd: float) -> float:
    """Return the score from which a pair is one picture, in a set whose median face reaches `crowd` without being one."""
    return float(np.clip(np.tanh(DENSITY_RATIO * np.arctanh(np.clip(crowd, 0, MOST))), LEAST, MOST).round(4))


def group_pairs(pairs: pd.DataFrame, contents: np.ndarray) -> np.ndarray:
    """Number the groups of faces that are one picture: byte-identical, or connected by pairs, however many links long.

    Args:
        pairs: `first` and `second`, rows of the faces.
        contents: Number of each face's content, (N,), from 0.

    Returns:
        Group of each face, int64 (N,), numbered by first appearance.
    """
    n = int(contents.max(initial=-1)) + 1
    links = (np.ones(len(pairs), np.int8), (contents[pairs["first"].to_numpy()], contents[pairs["second"].to_numpy()]))
    labels = connected_components(coo_array(links, shape=(n, n)), directed=False)[1]
    return pd.factorize(labels[contents])[0].astype(np.int64)


def pick_pairs(pairs: pd.DataFrame, faces: pd.DataFrame, *, most: int, seed: int = 0) -> pd.DataFrame:
    """Choose pairs to look at, at random, those between splits first; a face is in one of them at most."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    split = faces["split"].to_numpy()
    shuffled = pairs.iloc[order]
    crossing = split[shuffled["first"]] != split[shuffled["second"]]
    shuffled = shuffled.iloc[np.argsort(~crossing, kind="stable")]
    return shuffled[~shuffled["first"].duplicated() & ~shuffled["second"].duplicated()].head(most).reset_index(drop=True)
