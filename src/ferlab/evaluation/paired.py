"""Intervals over faces or subjects: paired differences on the same faces, and statistics of weighted faces by a bootstrap of them.

A unit is a subject, or a face where faces name no subjects. A mean has the linearised standard error over units, other statistics that of a
bootstrap of units; both get Student's factor for their number, and the bootstrap's the factor sqrt(m / (m - 1)) that it lacks for m units.

References:
    Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 6 (standard errors).
    Field & Welsh (2007), Bootstrapping clustered data (units are drawn with all of their faces).
    Hesterberg (2015), What teachers should know about the bootstrap, arXiv 1411.5279 (expanded percentile intervals).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats

from ferlab.evaluation.clusters import cluster_error, count_clusters, student

CELLS = 2_000_000  # weights held at once


def unit_weights(units: np.ndarray, *, draws: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield how often each face is drawn, (draws at a time, N) float32, where units are drawn with replacement, each with all of its faces.

    Draws follow the sorted names of the units, not the order of the faces.
    """
    names, members = np.unique(units, return_inverse=True)
    rng, m, step = np.random.default_rng(seed), len(names), max(1, CELLS // len(units))
    for start in range(0, draws, step):
        count = min(step, draws - start)
        drawn = rng.integers(0, m, (count, m)) + m * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * m).reshape(count, m)[:, members].astype(np.float32)


def mean_difference(differences: np.ndarray, units: np.ndarray) -> dict[str, float]:
    """Return `difference`, its 95 % bounds and `p` (Student's t over units) of the mean of paired differences, (N,), of any range.

    Differences of accuracies have bounds where no face differs too: `ferlab.evaluation.comparison.difference_by_cluster`.
    """
    m = count_clusters(units)
    return named_difference(float(np.mean(differences)), cluster_error(differences, units) if m > 1 else float("nan"), m=m)


def bootstrap_difference(difference: float, draws: np.ndarray, *, units: np.ndarray) -> dict[str, float]:
    """Return the same of a difference of other statistics, from its values under `unit_weights`, (draws,)."""
    m = count_clusters(units)
    return named_difference(difference, float(draws.std(ddof=1)) * np.sqrt(m / (m - 1)) if m > 1 else float("nan"), m=m)


def named_difference(difference: float, error: float, *, m: int) -> dict[str, float]:
    """Return `difference`, `difference_ci_low`, `difference_ci_high` and `p` from a standard error over m units; NaN for fewer than two.

    Where no unit differs from the others, p is that of a sign test, and the bounds are NaN: nothing tells how far another unit would differ.
    """
    if m < 2:
        return {"difference": difference} | dict.fromkeys(("difference_ci_low", "difference_ci_high", "p"), float("nan"))
    half = float(student(m - 1) * error) if error else float("nan")
    p = 1.0 if difference == 0 else min(1.0, 2 * 0.5**m) if error == 0 else float(2 * stats.t.sf(abs(difference) / error, m - 1))
    return {"difference": difference, "difference_ci_low": difference - half, "difference_ci_high": difference + half, "p": p}


def percentile_bounds(estimate: float, draws: np.ndarray, *, units: np.ndarray) -> tuple[float, float]:
    """Return the expanded percentile interval of a statistic; it holds the estimate. (nan, nan) for fewer than two units."""
    m = count_clusters(units)
    if m < 2:
        return float("nan"), float("nan")
    tail = stats.norm.cdf(-student(m - 1) * np.sqrt(m / (m - 1)))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return min(float(low), estimate), max(float(high), estimate)
