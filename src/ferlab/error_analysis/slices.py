"""Error rates of groups of faces under each condition, with intervals and permutation tests.

References:
    Pech-Pacheco et al. (2000), Diatom autofocusing in brightfield microscopy: variance of the Laplacian as sharpness.
    Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.ndimage import laplace
from statsmodels.stats.multitest import multipletests

from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.proportions import wilson
from ferlab.paths import InputError

GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601 luma
GROUPS: tuple[str, ...] = ("occluder", "glasses", "skin", "gender", "race")  # columns of a face table that name groups
BINS = 5
PERMUTATIONS = 10_000


def image_qualities(images: np.ndarray) -> pd.DataFrame:
    """Return `brightness` (mean, 0 to 255), `contrast` (standard deviation) and `sharpness` (variance of the Laplacian, which noise raises too) of
    faces, uint8 (N, H, W) or (N, H, W, 3) RGB.
    """
    rows = []
    for image in images:  # one at a time: a store may be larger than memory
        grey = image @ np.array(GREY_WEIGHTS) if image.ndim == 3 else image.astype(np.float64)
        rows.append((grey.mean(), grey.std(), laplace(grey, mode="nearest").var()))
    return pd.DataFrame(rows, columns=["brightness", "contrast", "sharpness"])


def face_slices(images: np.ndarray, faces: pd.DataFrame) -> dict[str, pd.Series]:
    """Return per condition an ordered categorical (N,): fifths of `brightness`, `contrast` and `sharpness`, and where the face table has them
    `intensity` (rounded, 0 is neutral), `head turn` (fifths of the absolute yaw) and the columns in GROUPS.
    """
    qualities = image_qualities(images)
    slices = {name: by_fifths(qualities[name]) for name in qualities.columns}
    if "intensity" in faces:
        slices["intensity"] = by_group(faces["intensity"].round().astype(int))
    if "yaw" in faces:
        slices["head turn"] = by_fifths(faces["yaw"].abs())
    return slices | {name: by_group(faces[name]) for name in GROUPS if name in faces and faces[name].nunique() > 1}


def by_fifths(values: pd.Series) -> pd.Series:
    """Cut values (N,) into fifths of equal size, named by their range; fewer where many values are equal."""
    numbers = values.to_numpy(dtype=np.float64)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)))
    decimals = 0 if edges[-1] >= 20 else 1
    ranges = pairwise(edges) if len(edges) > 1 else [(edges[0], edges[0])]
    names = [f"{low:.{decimals}f}-{high:.{decimals}f}" for low, high in ranges]
    if len(set(names)) < len(names):  # ranges that rounding makes equal
        names = [f"{name} ({place})" for place, name in enumerate(names, 1)]
    return pd.Series(pd.Categorical.from_codes(np.searchsorted(edges[1:-1], numbers), categories=names, ordered=True))


def by_group(values: pd.Series) -> pd.Series:
    """Name groups by their value; "none" first, numbers in order."""
    if values.dtype == bool:
        values = values.map({False: "no", True: "yes"})
    levels = sorted(values.dropna().unique(), key=lambda value: (value != "none", value))
    named = {value: str(value) for value in levels}
    return pd.Series(pd.Categorical(values.map(named), categories=list(named.values()), ordered=True))


def error_rates(slices: Mapping[str, pd.Series], wrong: np.ndarray, *, subjects: np.ndarray | None = None) -> pd.DataFrame:
    """Return one row per group: `condition, group, n, errors, error_rate, ci_low, ci_high` (Wilson, 95 %).

    With `subjects` (N,) bounds count by subject; NaN for a group of one.

    Raises:
        InputError: If a condition has another number of faces.
    """
    rows = []
    for condition, groups in slices.items():
        if len(groups) != len(wrong):
            raise InputError(f"error_rates: expected {len(wrong)} faces in {condition!r}, got {len(groups)}")
        for group in groups.cat.categories:
            inside = (groups == group).to_numpy()
            n, errors = int(inside.sum()), int(wrong[inside].sum())
            low, high = wilson(errors, n) if subjects is None or not n else cluster_proportion(wrong[inside], subjects[inside])
            rows.append((condition, group, n, errors, errors / n if n else np.nan, low, high))
    return pd.DataFrame(rows, columns=["condition", "group", "n", "errors", "error_rate", "ci_low", "ci_high"])


def compare_conditions(slices: Mapping[str, pd.Series], wrong: np.ndarray, *, subjects: np.ndarray | None = None, seed: int = 0) -> pd.DataFrame:
    """Test per condition whether error rates differ between its groups: permutation tests of the chi-square statistic, exact for small groups.

    Where subjects are named, a condition that changes within subjects (light, head turn) permutes each subject's errors among that subject's
    faces; one that is constant within subjects (skin) permutes whole subjects.

    Returns:
        One row per condition, smallest p first: `condition, groups, lowest, highest` (error rates), `p` and `p_holm`.
    """
    rng, rows = np.random.default_rng(seed), []
    person = np.zeros(len(wrong), int) if subjects is None else np.unique(subjects, return_inverse=True)[1]
    for condition, groups in slices.items():
        known = groups.notna().to_numpy()
        levels, group = np.unique(groups[known].cat.codes, return_inverse=True)
        faces, errors = np.zeros((2, person.max() + 1, len(levels)))
        np.add.at(faces, (person[known], group), 1)
        np.add.at(errors, (person[known], group), wrong[known])
        permute = _permute_subjects if ((faces > 0).sum(axis=1) <= 1).all() else _permute_within
        sizes, permuted = permute(rng, faces, errors)  # the observed errors first
        expected = sizes * permuted.sum(axis=1, keepdims=True) / sizes.sum(axis=1, keepdims=True)
        statistic = ((permuted - expected) ** 2 / np.maximum(sizes, 1)).sum(axis=1)  # chi-square up to a common factor
        rates = errors.sum(axis=0) / faces.sum(axis=0)
        rows.append((condition, len(levels), rates.min(), rates.max(), float((statistic >= statistic[0] * (1 - 1e-12)).mean())))
    tests = pd.DataFrame(rows, columns=["condition", "groups", "lowest", "highest", "p"])
    tests["p_holm"] = multipletests(tests["p"], method="holm")[1] if len(tests) else tests["p"]
    return tests.sort_values("p", kind="stable").reset_index(drop=True)


def _permute_within(rng: np.random.Generator, faces: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sizes (1, G) and errors (1 + PERMUTATIONS, G) of groups, each subject's errors permuted among the subject's faces (S, G)."""
    permuted = np.zeros((PERMUTATIONS, faces.shape[1]), dtype=np.int64)
    for sizes, wrong in zip(faces.astype(np.int64), errors.sum(axis=1).astype(np.int64), strict=True):
        permuted += rng.multivariate_hypergeometric(sizes, wrong, size=PERMUTATIONS, method="marginals")
    return faces.sum(axis=0, keepdims=True), np.vstack([errors.sum(axis=0), permuted])


def _permute_subjects(rng: np.random.Generator, faces: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sizes and errors (1 + PERMUTATIONS, G) of groups, whole subjects of (S, G) permuted among as many places per group."""
    places = (faces > 0)[faces.sum(axis=1) > 0].astype(np.float64)  # (subjects, G), one place each
    totals = np.stack([faces, errors]).sum(axis=2)[:, faces.sum(axis=1) > 0]
    orders = np.vstack([np.arange(len(places)), rng.permuted(np.tile(np.arange(len(places)), (PERMUTATIONS, 1)), axis=1)])
    return totals[0][orders] @ places, totals[1][orders] @ places
