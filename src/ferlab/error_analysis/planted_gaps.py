"""Does the test of slices find what is there? Errors are drawn anew on the same faces, without a gap and with a known one, and tested again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferlab.error_analysis.groups import FEWEST, Faces, known_faces, permutation_p, permute

GAP = 0.2  # in error rate, planted into one group
DRAWS = 30  # data sets per condition, without the gap and with it
PERMUTATIONS = 199  # per test; p takes steps of 0.005
LEVEL = 0.05


def plant_gaps(
    slices: Mapping[str, pd.Series],
    predictions: pd.DataFrame,
    *,
    subjects: np.ndarray | None = None,
    gap: float = GAP,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how often the permutation test rejects at the 5 % level, uncorrected, where no gap was planted and where one was.

    The drawn errors keep the error rates of expressions, and with `subjects` those of subjects. The gap is added to the error rate of one group of
    FEWEST faces or more, another at random in each draw.

    Args:
        slices: From `face_slices`.
        predictions: Of one split, (N,) rows.
        subjects: (N,), two or more, or None.
        gap: Added to the error rate of one group.
        draws: Data sets per condition and kind.
        seed: Of all random numbers.

    Returns:
        `gap`, `tests` (of either kind), `level` (fraction rejected without a gap) and `power`: {condition: fraction in which the gap was found}, NaN
        for a condition without a group of FEWEST faces.
    """
    rng, rejected, power = np.random.default_rng(seed), [], {}
    for condition, groups in slices.items():
        faces, _ = known_faces(condition, groups, predictions, subjects=subjects)
        rates = _rates(faces)
        large = np.flatnonzero(np.bincount(faces.group) >= FEWEST)
        rejected += [_rejects(rng, faces, rates) for _ in range(draws)]
        planted = [rates + gap * (faces.group == rng.choice(large)) for _ in range(draws)] if len(large) else []
        power[condition] = float(np.mean([_rejects(rng, faces, each) for each in planted])) if planted else float("nan")
    return {"gap": gap, "tests": len(rejected), "level": float(np.mean(rejected)) if rejected else float("nan"), "power": power}


def _rates(faces: Faces) -> np.ndarray:
    """Return the error rate of each face: that of its expression, shifted by what its person's errors exceed it."""
    rates = faces.expected
    if faces.person is None:
        return rates
    person = np.unique(faces.person, return_inverse=True)[1]
    shift = np.bincount(person, weights=faces.wrong - rates) / np.bincount(person)
    return rates + shift[person]


def _rejects(rng: np.random.Generator, faces: Faces, rates: np.ndarray) -> bool:
    """Draw errors with these rates, clipped to [0, 1], and test them."""
    drawn = Faces(faces.group, faces.expression, faces.person, rng.random(len(rates)) < rates, faces.names)
    statistic, _ = permute(rng, drawn, permutations=PERMUTATIONS)
    return permutation_p(statistic) <= LEVEL
