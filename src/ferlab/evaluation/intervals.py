"""How sure the numbers are: 95 % intervals of all metrics of one set of faces.

| metric | interval |
|---|---|
| accuracy, top-3, recall, precision | Wilson's (`shares`) |
| F1 of a class | Wilson's, of the share that F1 is a function of (`shares`) |
| balanced accuracy, macro F1, weighted F1, MCC | posterior of the confusion matrix (`confusion_posterior`) |
| NLL, ECE | `probability_bounds` |

Where faces come from few subjects, `clusters` gives the intervals for other people. Each was chosen by simulated coverage, and
tests/evaluation/test_coverage.py holds it: 93 % or more for macro F1, weighted F1 and MCC in every case of a grid, from 1 face to 3,589, from a
useless model to a nearly perfect one. An estimate lies within its bounds, bounds lie within the metric's range and apart from each
other; NaN stands where an interval is undefined. Intervals speak of faces drawn anew, not of training again: seeds are compare's business.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ferlab.evaluation.confusion_posterior import confusion_bounds
from ferlab.evaluation.probability_bounds import ece_bounds, nll_bounds
from ferlab.evaluation.proportions import f1_bounds, wilson
from ferlab.evaluation.weighted_metrics import count_confusions
from ferlab.paths import InputError

RESAMPLES = 2000


def metric_intervals(
    targets: np.ndarray, probs: np.ndarray, *, expressions: tuple[str, ...], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Return the 95 % bounds of every metric, keyed `<key>_ci_low` and `<key>_ci_high`.

    Args:
        targets: (N,) int, true class ids.
        probs: (N, K) float, rows summing to 1.
        expressions: (K,) names.
        resamples: Random draws behind each bound that needs them.
        seed: Of the draws; the same seed gives the same bounds.

    Returns:
        Flat bounds and `per_class: {expression: bounds of precision, recall and f1}`; undefined bounds are NaN.

    Raises:
        InputError: With fewer than 100 resamples.
    """
    if resamples < 100:
        raise InputError(f"Expected at least 100 random draws (2,000 to report), got {resamples}")
    preds = probs.argmax(axis=1)
    confusions = count_confusions(targets, preds, num_classes=len(expressions))
    top3 = (np.argsort(-probs, axis=1, kind="stable")[:, :3] == targets[:, None]).any(axis=1)
    bounds = {
        "accuracy": wilson(int((preds == targets).sum()), len(targets)),
        "top3_accuracy": wilson(int(top3.sum()), len(targets)),
        **confusion_bounds(confusions, draws=resamples, seed=seed),
        "nll": nll_bounds(targets, probs, draws=resamples, seed=seed),
        "ece": ece_bounds(targets, probs, seed=seed),
    }
    flat = {key: bound for name, pair in bounds.items() for key, bound in _named(name, pair).items()}
    return {**flat, "per_class": _per_class_bounds(confusions, expressions)}


def _per_class_bounds(confusions: np.ndarray, expressions: tuple[str, ...]) -> dict[str, dict[str, float]]:
    hits, support, predicted = np.diagonal(confusions), confusions.sum(axis=1), confusions.sum(axis=0)
    return {
        name: {
            **_named("precision", wilson(int(hits[i]), int(predicted[i]))),
            **_named("recall", wilson(int(hits[i]), int(support[i]))),
            **_named("f1", f1_bounds(int(hits[i]), int(support[i]), int(predicted[i]))),
        }
        for i, name in enumerate(expressions)
    }


def _named(key: str, bounds: tuple[float, float]) -> dict[str, float]:
    return {f"{key}_ci_low": bounds[0], f"{key}_ci_high": bounds[1]}
