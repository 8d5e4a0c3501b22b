"""Two probes of a dataset that need no model: does the nearest image predict the expression, and which images resemble no face.

The nearest neighbour in pixels is a baseline without any model of a face. On photographs of different people it beats the commonest
expression a little; above 40 % on seven expressions, test faces have neighbouring frames or duplicates among the training faces.

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

from ferlab.data.duplicates.codes import thumbnails
from ferlab.data.faces import has_duplicate_in, is_derived

SIDE = 24  # pixels of a face for both probes
ASKED, KNOWN = 4000, 60_000  # at most so many test faces are classified, from at most so many training faces
SAMPLE, AXES = 4000, 60  # faces that face space is fitted to, and its dimensions
FLAT, FEW = 6.0, 12  # an image of a smaller standard deviation, or of fewer grey values, is nearly blank
BLOCK = 256


def probe_nearest(images: np.ndarray, faces: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Classify test faces by the nearest training face in pixels.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        faces: Face table of N rows with `split` and `duplicate_group`.
        seed: Of the sample, where there are more than `ASKED` test or `KNOWN` training faces.

    Returns:
        `known` (training faces), `majority` (accuracy of the commonest expression of train), and for `all`, `dedup` (test faces without
        a duplicate in train) and, where faces have subjects, `other_subjects` (neighbours of the same subject excluded): `n`, `accuracy`,
        `accuracy_ci_low`, `accuracy_ci_high` (Wilson, 95 %). A group without faces has None for its accuracy.
    """
    rng = np.random.default_rng(seed)
    split, target = faces["split"].to_numpy(), faces["target"].to_numpy()
    known = _at_most(np.flatnonzero((split == "train") & ~is_derived(faces)), KNOWN, rng)
    asked = _at_most(np.flatnonzero(split == "test"), ASKED, rng)
    subject = pd.factorize(faces["subject"])[0] if "subject" in faces else np.full(len(faces), -1)
    nearest, other = _nearest(small_faces(images, asked), small_faces(images, known), subjects=(subject[asked], subject[known]))
    correct = target[known[nearest]] == target[asked]
    majority = np.bincount(target[known]).argmax()
    result = {"known": len(known), "majority": float((target[asked] == majority).mean())}
    result |= {"all": _accuracy(correct), "dedup": _accuracy(correct[~has_duplicate_in(faces, ("train",))[asked]])}
    return result | ({"other_subjects": _accuracy(target[known[other]] == target[asked])} if "subject" in faces else {})


def find_unlike(images: np.ndarray, *, seed: int = 0) -> pd.DataFrame:
    """Rank images by how little they resemble the dataset's own faces.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        seed: Of the faces that face space is fitted to.

    Returns:
        One row per image, in their order: `unlike` (0 to 2: the fraction of the image that `AXES` eigenfaces leave unexplained, plus half of 1
        minus its correlation with the mean face), `nearly_blank`.
    """
    # Keep: scikit-learn costs a second to import.
    from sklearn.decomposition import PCA

    small = small_faces(images, np.arange(len(images)))
    sample = small[_at_most(np.arange(len(small)), SAMPLE, np.random.default_rng(seed))]
    unlike = np.empty(len(small), np.float32)
    with threadpool_limits(1):
        space = PCA(n_components=min(AXES, *sample.shape), svd_solver="covariance_eigh").fit(sample)
        mean = space.mean_ / (np.linalg.norm(space.mean_) + 1e-6)
        for start in range(0, len(small), BLOCK):
            part = small[start : start + BLOCK]
            rest = part - space.inverse_transform(space.transform(part))
            unlike[start : start + BLOCK] = (rest**2).sum(axis=1) + (1 - part @ mean) / 2
    return pd.DataFrame({"unlike": unlike.round(4), "nearly_blank": find_nearly_blank(images)})


def find_nearly_blank(images: np.ndarray) -> np.ndarray:
    """Return which images are nearly blank: a standard deviation below 6 grey levels, or fewer than 12 of them. Bool (N,)."""
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


def _nearest(asked: np.ndarray, known: np.ndarray, *, subjects: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest known face of each asked one, and the nearest of another subject (-1: of an unknown one)."""
    from sklearn.metrics import pairwise_distances_chunked

    def reduce(distances: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
        own = subjects[0][start : start + len(distances), None]
        others = np.where((own == subjects[1]) & (own >= 0), np.inf, distances)
        return distances.argmin(axis=1), others.argmin(axis=1)

    with threadpool_limits(1):
        chunks = list(pairwise_distances_chunked(asked, known, reduce_func=reduce, working_memory=64))
    nearest, other = zip(*chunks, strict=True) if chunks else ((np.empty(0, int),), (np.empty(0, int),))
    return np.concatenate(nearest), np.concatenate(other)


def _accuracy(correct: np.ndarray) -> dict[str, Any]:
    # Keep: statsmodels costs a second to import.
    from statsmodels.stats.proportion import proportion_confint

    if not len(correct):
        return {"n": 0, "accuracy": None, "accuracy_ci_low": None, "accuracy_ci_high": None}
    low, high = proportion_confint(int(correct.sum()), len(correct), method="wilson")
    return {"n": len(correct), "accuracy": float(correct.mean()), "accuracy_ci_low": float(low), "accuracy_ci_high": float(high)}


def _at_most(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))
