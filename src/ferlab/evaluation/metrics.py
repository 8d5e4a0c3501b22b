"""The metrics of scored faces, with torchmetrics.

| key | definition |
|---|---|
| accuracy | micro average |
| balanced_accuracy | mean recall over the classes that have faces |
| macro_f1 | mean F1 over the classes that have faces or were predicted |
| weighted_f1 | F1 weighted by faces per class |
| mcc | Matthews' correlation, multi-class; 0 where one class alone is present or predicted |
| nll | mean negative log-likelihood, nats |
| ece | expected calibration error, 15 equal bins, L1 |
| top3_accuracy | share of faces whose true class has one of the three largest probabilities |

Recall is undefined (None) without faces; precision and F1 without faces and predictions. Means skip what is undefined, as scikit-learn's
`balanced_accuracy_score` and `f1_score(average="macro")` do.

References:
    Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599 (ECE).
    Gorodkin (2004), Comparing two K-category assignments by a K-category correlation coefficient (MCC).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchmetrics.functional import classification as tm

from ferlab.evaluation.calibration import ECE_BINS, log_losses
from ferlab.evaluation.predictions import top3_hits


def compute_metrics(targets: np.ndarray, probs: np.ndarray, *, expressions: tuple[str, ...]) -> dict[str, Any]:
    """Return the metrics of scored faces.

    Args:
        targets: (N,) int, true class ids.
        probs: (N, K) float32, rows summing to 1.
        expressions: (K,) names.

    Returns:
        The keys above and `per_class: {expression: {precision, recall, f1, support}}`; undefined values are None.
    """
    k = len(expressions)
    # Copies: pandas hands out read-only arrays, which torch warns of.
    target, prob = torch.as_tensor(np.array(targets, dtype=np.int64)), torch.as_tensor(np.array(probs, dtype=np.float32))
    pred = prob.argmax(dim=1)
    per_class = _per_class(pred, target, expressions)
    f1, recall = ([values[key] for values in per_class.values() if values[key] is not None] for key in ("f1", "recall"))
    # Keep: torchmetrics puts a confidence of exactly 1 in a sixteenth bin of its own; one step below 1 it falls into the last.
    below_one = prob.clamp(max=float(np.nextafter(np.float32(1), np.float32(0))))
    return {
        "accuracy": tm.multiclass_accuracy(pred, target, num_classes=k, average="micro").item(),
        "balanced_accuracy": float(np.mean(recall)),
        "macro_f1": float(np.mean(f1)),
        "weighted_f1": tm.multiclass_f1_score(pred, target, num_classes=k, average="weighted").item(),
        "mcc": tm.multiclass_matthews_corrcoef(pred, target, num_classes=k).item(),
        "nll": float(log_losses(targets, probs).mean()),
        "ece": tm.multiclass_calibration_error(below_one, target, num_classes=k, n_bins=ECE_BINS, norm="l1").item(),
        "top3_accuracy": float(top3_hits(targets, probs).mean()),
        "per_class": per_class,
    }


def _per_class(pred: torch.Tensor, target: torch.Tensor, expressions: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    k = len(expressions)
    support, predicted = torch.bincount(target, minlength=k), torch.bincount(pred, minlength=k)
    seen = support + predicted > 0
    scores = {
        "precision": (tm.multiclass_precision(pred, target, num_classes=k, average="none"), seen),
        "recall": (tm.multiclass_recall(pred, target, num_classes=k, average="none"), support > 0),
        "f1": (tm.multiclass_f1_score(pred, target, num_classes=k, average="none"), seen),
    }
    return {
        name: {**{key: score[i].item() if defined[i] else None for key, (score, defined) in scores.items()}, "support": int(support[i])}
        for i, name in enumerate(expressions)
    }
