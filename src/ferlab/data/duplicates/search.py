"""Near-duplicates: one photograph shifted, rotated, scaled, relit, compressed again or mirrored.

`codes` proposes pairs, `registration` scores them. This module owns the score from which a pair is a near-duplicate, and the groups that such
pairs form. Two photographs of one person are no near-duplicates, even with one expression; neighbouring frames of a film are.

How similar two different photographs are depends on the dataset: frames of one person in one room resemble each other more than photographs
from the web. So the limit lies above a reference, within fixed bounds: the correlation of a face with the most similar face of another
expression. A copy has the expression of its original, so copies do not raise it. (Over faces of any expression, the reference of a dataset
that was augmented before its split rises to the upper bound, and hides the copies.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from ferlab.data.duplicates.codes import PAIR, SHIFTS, CodeSpace, build_index, find_candidates, find_nearest, fit_codes, thumbnails
from ferlab.data.duplicates.registration import compare_pairs

LEAST, MOST = 0.90, 0.99  # bounds of the limit
# Factor on the reference in Fisher's z (the inverse hyperbolic tangent of a correlation): 2, and 5 % because faces of one expression are that
# much more similar than faces of different ones (control faces: 3 to 7 %).
FACTOR = 2.1
WIDER = 3.0  # factor on the squared distance of codes in a wide search, which finds copies rotated by ten degrees or zoomed by a tenth
FEW, COPIED = 5000, 0.25  # a wide search is for at most so many faces, or where this fraction has a near-duplicate: augmented
ASKED, NEIGHBOURS = 300, 5  # faces that the reference is measured on, and how many of the nearest others each is compared with
BATCH = 512


def find_near_pairs(
    images: np.ndarray, contents: np.ndarray, *, targets: np.ndarray, limit: float | None = None, wide: bool | None = None, seed: int = 0
) -> tuple[pd.DataFrame, float]:
    """Find near-duplicates among all pairs of faces.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), may be a memory map.
        contents: Number of each face's content (N,); one of several byte-identical faces is compared. A face of -1 is excluded.
        targets: Expression of each face (N,); pairs of different expressions set the limit.
        limit: Score from which a pair is a near-duplicate; None: from the reference.
        wide: Whether more distant codes are compared; None: as `FEW` and `COPIED` say.
        seed: Of the samples that the codes and the reference are measured on.

    Returns:
        One row per pair of contents, in order: `first` < `second` (the first face of each content), `mirrored` (the orientation with the higher
        score), `score`; and the limit.
    """
    numbers, rows = np.unique(contents, return_index=True)
    rows = np.sort(rows[numbers >= 0])
    faces = thumbnails(images)
    faces = faces if len(rows) == len(faces) else faces[rows]
    if len(faces) < 2:
        return pd.DataFrame({"first": rows[:0], "second": rows[:0], "mirrored": np.zeros(0, bool), "score": np.zeros(0)}), limit or LEAST
    space = fit_codes(faces, seed=seed)
    limit = limit or choose_limit(measure_reference(faces, space, targets=np.asarray(targets)[rows], seed=seed))
    pairs = search_pairs(faces, space, limit=limit, wide=len(faces) <= FEW if wide is None else wide)
    if wide is None and len(faces) > FEW and len(np.unique(pairs[PAIR[:2]])) >= COPIED * len(faces):
        pairs = search_pairs(faces, space, limit=limit, wide=True)
    pairs = pairs.sort_values("score", ascending=False, kind="stable").drop_duplicates(PAIR[:2]).sort_values(PAIR[:2], ignore_index=True)
    return pairs.assign(first=rows[pairs["first"]], second=rows[pairs["second"]]), limit


def search_pairs(faces: np.ndarray, space: CodeSpace, *, limit: float, wide: bool) -> pd.DataFrame:
    """Return the pairs of thumbnails uint8 (N, 48, 48) whose score reaches the limit: `first` < `second`, `mirrored`, `score`, in order."""
    pairs = find_candidates(faces, replace(space, limit=WIDER * space.limit) if wide else space)
    pairs["score"] = score_pairs(faces, pairs)
    return pairs.loc[pairs["score"] >= limit, [*PAIR, "score"]].round(4)


def score_pairs(faces: np.ndarray, pairs: pd.DataFrame) -> np.ndarray:
    """Align candidate pairs (`codes.find_candidates`) of thumbnails uint8 (N, 48, 48) and return their correlation, (P,)."""
    score = np.empty(len(pairs))
    with threadpool_limits(1):
        for start in range(0, len(pairs), BATCH):
            part = pairs.iloc[start : start + BATCH]
            first, mirrored = faces[part["first"]], part["mirrored"].to_numpy()
            first[mirrored] = first[mirrored, :, ::-1]
            score[start : start + BATCH] = compare_pairs(first, faces[part["second"]], shifts=SHIFTS[part["shift"]])
    return score


def measure_reference(faces: np.ndarray, space: CodeSpace, *, targets: np.ndarray, seed: int = 0) -> float:
    """Return the median correlation of a face with the most similar face of another expression, once aligned.

    Args:
        faces: Thumbnails of different contents, uint8 (N, 48, 48), at least 2.
        space: From `fit_codes`.
        targets: Expression of each face (N,). If there is only one, all other faces count, and copies do raise the reference.
        seed: Of the sample of faces.
    """
    sample, one = np.sort(np.random.default_rng(seed).permutation(len(faces))[:ASKED]), (targets == targets[0]).all()
    nearest = []
    with threadpool_limits(1):
        index = build_index(faces, space, exact=True)
        for rows in (sample[targets[sample] == target] for target in np.unique(targets[sample])):
            others = None if one else targets != targets[rows[0]]
            nearest.append(find_nearest(index, space.encode(faces[rows])[: len(SHIFTS)], rows, most=NEIGHBOURS, among=others))
    pairs = pd.concat(nearest)
    return float(pairs.assign(score=score_pairs(faces, pairs)).groupby("first")["score"].max().median())


def choose_limit(reference: float) -> float:
    """Return the score from which a pair is a near-duplicate, given the reference."""
    return float(np.clip(np.tanh(FACTOR * np.arctanh(np.clip(reference, 0, MOST))), LEAST, MOST).round(4))


def group_pairs(pairs: pd.DataFrame, contents: np.ndarray) -> np.ndarray:
    """Number the groups of faces that are one photograph: byte-identical, or connected by a chain of pairs.

    Args:
        pairs: `first` and `second`, rows of the faces.
        contents: Number of each face's content, (N,), from 0.

    Returns:
        Group of each face, int64 (N,), numbered by first appearance.
    """
    n = int(contents.max(initial=-1)) + 1
    links = coo_array((np.ones(len(pairs), np.int8), contents[pairs[["first", "second"]].to_numpy().T]), shape=(n, n))
    return pd.factorize(connected_components(links, directed=False)[1][contents])[0].astype(np.int64)
