"""Two probes of a set that need no net: can the nearest picture name the expression, and which pictures resemble no face.

The nearest neighbour in pixels knows nothing of faces. On photographs of different people it beats the commonest expression a little; where it
comes near a model, or above 40 % on seven expressions, test faces have neighbouring frames or copies among the training faces.

References:
    Cover and Hart (1967), Nearest Neighbor Pattern Classification.
    Turk and Pentland (1991), Eigenfaces for Recognition (distance from face space).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from ferlab.data.duplicates.audit import is_derived
from ferlab.data.duplicates.codes import thumbnails

SIDE = 24  # pixels of a face for both probes
ASKED, KNOWN = 4000, 60_000  # at most so many test faces are asked about, so many training faces known
SAMPLE, AXES = 4000, 60  # faces that face space is fitted to, and its dimensions
FLAT, FEW = 6.0, 12  # a picture of a smaller standard deviation, or of fewer grey values, is nearly blank
BLOCK = 256


def probe_nearest(images: np.ndarray, faces: pd.DataFrame, duplicates: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Name the expression of test faces by the most alike training face.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        faces: Face table of N rows with `split`.
        duplicates: Its duplicates table, with near-duplicates.
        seed: Of the faces that are asked about and known, where there are more than `ASKED` and `KNOWN`.

    Returns:
        `known`, `majority` (accuracy of always answering the commonest expression of train), and for `all`, `without_duplicates` (test faces without
        a near-duplicate in train) and, where faces have subjects, `other_subjects` (neighbours of the same subject passed over): `n`, `accuracy`,
        `accuracy_ci_low`, `accuracy_ci_high` (Wilson, 95 %). A group without faces has None for its accuracy.
    """
    rng = np.random.default_rng(seed)
    split = faces["split"].to_numpy()
    known = _at_most(np.flatnonzero((split == "train") & ~is_derived(faces)), KNOWN, rng)
    asked = _at_most(np.flatnonzero(split == "test"), ASKED, rng)
    target = faces["target"].to_numpy()
    subject = pd.factorize(faces["subject"])[0] if "subject" in faces else None
    nearest, other = _nearest(small_faces(images, asked), small_faces(images, known), _same(subject, asked, known))
    right = target[known[nearest]] == target[asked]
    parted = ~duplicates["near_duplicate_in_train"].to_numpy()[asked]
    majority = np.bincount(target[known]).argmax()
    result = {"known": len(known), "majority": float((target[asked] == majority).mean())}
    result |= {"all": _accuracy(right), "without_duplicates": _accuracy(right[parted])}
    return result | ({"other_subjects": _accuracy(target[known[other]] == target[asked])} if subject is not None else {})


def find_unlike(images: np.ndarray, *, seed: int = 0) -> pd.DataFrame:
    """Rank pictures by how little they resemble the set's own faces.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        seed: Of the faces that face space is fitted to.

    Returns:
        One row per picture, in order of the images: `unlike` (0 to 2: the share of the picture that `AXES` eigenfaces leave unexplained, plus half
        of 1 minus its correlation with the mean face), `nearly_blank`.
    """
    rng = np.random.default_rng(seed)
    small = small_faces(images, np.arange(len(images)))
    sample = small[_at_most(np.arange(len(small)), SAMPLE, rng)]
    mean = sample.mean(axis=0)
    with threadpool_limits(1):
        _, _, axes = np.linalg.svd(sample - mean, full_matrices=False)
        axes = axes[:AXES]
        unlike = np.empty(len(small), np.float32)
        for start in range(0, len(small), BLOCK):
            part = small[start : start + BLOCK]
            rest = (part - mean) - ((part - mean) @ axes.T) @ axes
            likeness = part @ (mean / (np.linalg.norm(mean) + 1e-6))
            unlike[start : start + BLOCK] = (rest**2).sum(axis=1) + (1 - likeness) / 2
    return pd.DataFrame({"unlike": unlike.round(4), "nearly_blank": find_nearly_blank(images)})


def find_nearly_blank(images: np.ndarray) -> np.ndarray:
    """Return which pictures show next to nothing: a standard deviation below 6 grey levels, or fewer than 12 of them. Bool (N,)."""
    faces = thumbnails(images)
    blank = np.empty(len(faces), bool)
    for start in range(0, len(faces), BLOCK):
        flat = faces[start : start + BLOCK].reshape(-1, faces.shape[1] * faces.shape[2])
        values = (np.diff(np.sort(flat, axis=1), axis=1) > 0).sum(axis=1) + 1
        blank[start : start + BLOCK] = (flat.std(axis=1) < FLAT) | (values < FEW)
    return blank


def small_faces(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return rows of the images as grey 24 x 24, mean 0 and length 1, float32 (R, 576)."""
    small = np.empty((len(rows), SIDE * SIDE), np.float32)
    for start in range(0, len(rows), BLOCK):
        part = thumbnails(images[rows[start : start + BLOCK]])
        small[start : start + BLOCK] = [cv2.resize(face, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel() for face in part]
    small -= small.mean(axis=1, keepdims=True)
    return small / (np.linalg.norm(small, axis=1, keepdims=True) + 1e-3)


def _nearest(asked: np.ndarray, known: np.ndarray, same: list[np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the most alike known face of each asked one, and the most alike of another subject."""
    nearest, other = np.empty(len(asked), np.int64), np.empty(len(asked), np.int64)
    with threadpool_limits(1):
        for start in range(0, len(asked), BLOCK):
            scores = asked[start : start + BLOCK] @ known.T
            nearest[start : start + BLOCK] = scores.argmax(axis=1)
            for row in range(len(scores)) if same is not None else ():
                scores[row, same[start + row]] = -2
            other[start : start + BLOCK] = scores.argmax(axis=1)
    return nearest, other


def _same(subject: np.ndarray | None, asked: np.ndarray, known: np.ndarray) -> list[np.ndarray] | None:
    if subject is None:
        return None
    places = pd.Series(np.arange(len(known))).groupby(subject[known]).indices
    none = np.empty(0, np.int64)
    return [places.get(who, none) if who >= 0 else none for who in subject[asked]]


def _accuracy(right: np.ndarray) -> dict[str, Any]:
    # Keep: statsmodels costs a second to import.
    from statsmodels.stats.proportion import proportion_confint

    if not len(right):
        return {"n": 0, "accuracy": None, "accuracy_ci_low": None, "accuracy_ci_high": None}
    low, high = proportion_confint(int(right.sum()), len(right), method="wilson")
    return {"n": len(right), "accuracy": float(right.mean()), "accuracy_ci_low": float(low), "accuracy_ci_high": float(high)}


def _at_most(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
