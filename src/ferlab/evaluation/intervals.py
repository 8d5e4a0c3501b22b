"""95 % intervals of all metrics of a sample of faces.

| metric | interval |
|---|---|
| accuracy, top-3 accuracy, recall, precision | Wilson (`proportions`) |
| F1 of a class | Wilson, of the proportion that F1 is a function of (`proportions`) |
| balanced accuracy, macro F1, weighted F1, MCC | posterior of the confusion matrix (`confusion_posterior`) |
| NLL, ECE | `calibration` |

`clusters` gives the intervals for new people. Each interval was chosen by simulated coverage (tests/evaluation/test_coverage.py). Bounds lie within
the metric's range and hold the estimate; NaN where undefined. They are about new faces, not about new training runs: seeds are compared elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ferlab.evaluation.calibration import ece_bounds, nll_bounds
from ferlab.evaluation.confusion_posterior import confusion_bounds
from ferlab.evaluation.predictions import count_confusions, top3_hits
from ferlab.evaluation.proportions import f1_bounds, wilson

RESAMPLES = 2000


def metric_intervals(
    targets: np.ndarray, probs: np.ndarray, *, expressions: tuple[str, ...], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Return the bounds of every metric, `<key>_ci_low` and `<key>_ci_high`, and `per_class: {expression: bounds of precision, recall and f1}`.

    Args:
        targets: (N,) int, true class ids.
        probs: (N, K) float, rows summing to 1.
        expressions: (K,) names.
        resamples: Random draws behind each bound that needs them.
        seed: Of the draws.
    """
    n, confusions = len(targets), count_confusions(targets, probs.argmax(axis=1), num_classes=len(expressions))
    bounds = {
        "accuracy": wilson(int(np.trace(confusions)), n),
        "top3_accuracy": wilson(int(top3_hits(targets, probs).sum()), n),
        **confusion_bounds(confusions, draws=resamples, seed=seed),
        "nll": nll_bounds(targets, probs, draws=resamples, seed=seed),
        "ece": ece_bounds(targets, probs, seed=seed),
    }
    hits, support, predicted = (counts.tolist() for counts in (np.diagonal(confusions), confusions.sum(axis=1), confusions.sum(axis=0)))
    per_class = {
        name: named_bounds({"precision": wilson(hit, claimed), "recall": wilson(hit, true), "f1": f1_bounds(hit, true, claimed)})
        for name, hit, true, claimed in zip(expressions, hits, support, predicted, strict=True)
    }
    return {**named_bounds(bounds), "per_class": per_class}


def named_bounds(bounds: dict[str, tuple[float, float]]) -> dict[str, float]:
    """Return pairs of bounds flat, as `<key>_ci_low` and `<key>_ci_high`."""
    return {f"{key}_ci_{side}": bound for key, pair in bounds.items() for side, bound in zip(("low", "high"), pair, strict=True)}
