"""The rank of the label among a model's probabilities: 1 where it is the prediction, K where it has the smallest probability.

References:
    cs231a, on misclassified live faces: "the correct class was either the second or third maximal score".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ferlab.evaluation.clusters import cluster_proportion, proportion_bounds
from ferlab.evaluation.intervals import named_bounds


def label_ranks(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the rank of the true class, (N,) int from 1 to K; ties go to the lower class id, as in argmax.

    >>> label_ranks(np.array([2, 0]), np.array([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2]]))
    array([2, 1])
    """
    order = np.argsort(-np.asarray(probs), axis=1, kind="stable")
    return np.asarray((order == np.asarray(targets)[:, None]).argmax(axis=1) + 1)


def score_ranks(targets: np.ndarray, probs: np.ndarray, *, expressions: tuple[str, ...], subjects: np.ndarray | None = None) -> dict[str, Any]:
    """Return `rank_mean` and `top2_accuracy` with 95 % bounds, `rank_counts` (faces of each rank), `close_rate` (rank 2 or
    3 among the misclassified) with bounds and, per class, `rank_mean`.

    Bounds are over subjects (N,) where they are given, else over faces; those of a mean rank are of the proportion (rank - 1) / (K - 1), NaN for
    fewer than two. None where a class has no faces.
    """
    ranks, k = label_ranks(targets, probs), probs.shape[1]
    units = np.arange(len(ranks)) if subjects is None else subjects
    low, high = proportion_bounds(ranks <= 2, subjects)
    wrong = ranks > 1
    close = proportion_bounds(ranks[wrong] <= 3, subjects, rows=wrong)
    return {
        **_mean(ranks, units, k=k),
        "rank_counts": {str(rank): int((ranks == rank).sum()) for rank in range(1, k + 1)},
        "top2_accuracy": float((ranks <= 2).mean()),
        "top2_accuracy_ci_low": low,
        "top2_accuracy_ci_high": high,
        "close_rate": float((ranks[wrong] <= 3).mean()) if wrong.any() else None,
        **named_bounds({"close_rate": close}),
        "per_class": {name: _mean(ranks[own := np.asarray(targets) == c], units[own], k=k) for c, name in enumerate(expressions)},
    }


def _mean(ranks: np.ndarray, units: np.ndarray, *, k: int) -> dict[str, float | None]:
    if not len(ranks):
        return dict.fromkeys(("rank_mean", "rank_mean_ci_low", "rank_mean_ci_high"))
    behind = (ranks - 1) / (k - 1)
    low, high = cluster_proportion(behind, units)
    return {"rank_mean": float(ranks.mean()), "rank_mean_ci_low": 1 + (k - 1) * low, "rank_mean_ci_high": 1 + (k - 1) * high}
