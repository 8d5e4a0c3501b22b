"""The metrics of one set of scored faces, with torchmetrics.

| key | what |
|---|---|
| accuracy | share of faces named right (micro average) |
| balanced_accuracy | mean recall over the classes that have faces (macro average) |
| macro_f1 | mean F1 over the classes that have faces or were predicted |
| weighted_f1 | F1 weighted by faces per class |
| mcc | Matthews' correlation, multi-class; 0 where one class alone is present or predicted |
| nll | mean negative log-likelihood of the true class, nats |
| ece | expected calibration error, 15 equal bins of confidence, L1; the plain estimate, too large on few faces (see `probability_bounds`) |
| top3_accuracy | share of faces whose true class is among the three largest probabilities |

Classes absent from a split (a deduplicated test split can lose one): recall is undefined (None) without faces; precision and F1 are undefined
without faces and predictions, and 0 where only one of the two is there. Means skip what is undefined. That is scikit-learn's
`balanced_accuracy_score` and `f1_score(average="macro")`; torchmetrics alone would count a class that was predicted but has no faces as recall 0.

References:
    Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599 (ECE).
    Gorodkin (2004), Comparing two K-category assignments by a K-category correlation coefficient (MCC).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_f1_score,
    multiclass_matthews_corrcoef,
    multiclass_precision,
    multiclass_recall,
)

from ferlab.evaluation.weighted_metrics import ECE_BINS, SMALLEST_PROB


def compute_metrics(targets: np.ndarray, probs: np.ndarray, *, expressions: tuple[str, ...]) -> dict[str, Any]:
    """Return the metrics of scored faces, as plain floats.

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
    f1 = [values["f1"] for values in per_class.values() if values["f1"] is not None]
    recall = [values["recall"] for values in per_class.values() if values["recall"] is not None]
    return {
        "accuracy": multiclass_accuracy(pred, target, num_classes=k, average="micro").item(),
        "balanced_accuracy": float(np.mean(recall)),
        "macro_f1": float(np.mean(f1)),
        "weighted_f1": multiclass_f1_score(pred, target, num_classes=k, average="weighted").item(),
        "mcc": multiclass_matthews_corrcoef(pred, target, num_classes=k).item(),
        "nll": _nll(prob, target),
        "ece": _ece(prob, target),
        "top3_accuracy": multiclass_accuracy(_unshared(prob), target, num_classes=k, average="micro", top_k=min(3, k)).item(),
        "per_class": per_class,
    }


def _per_class(pred: torch.Tensor, target: torch.Tensor, expressions: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    k = len(expressions)
    scores = {
        "precision": multiclass_precision(pred, target, num_classes=k, average="none"),
        "recall": multiclass_recall(pred, target, num_classes=k, average="none"),
        "f1": multiclass_f1_score(pred, target, num_classes=k, average="none"),
    }
    support, predicted = torch.bincount(target, minlength=k), torch.bincount(pred, minlength=k)
    defined = {"precision": support + predicted > 0, "recall": support > 0, "f1": support + predicted > 0}
    return {
        name: {
            **{key: score[i].item() if defined[key][i] else None for key, score in scores.items()},
            "support": int(support[i]),
        }
        for i, name in enumerate(expressions)
    }


def _nll(prob: torch.Tensor, target: torch.Tensor) -> float:
    true_prob = prob.gather(1, target[:, None]).double().clamp(min=SMALLEST_PROB)
    return -true_prob.log().mean().item()


def _ece(prob: torch.Tensor, target: torch.Tensor) -> float:
    # Keep: torchmetrics puts a confidence of exactly 1 in a sixteenth bin of its own; one step below 1 it falls into the last.
    below_one = prob.clamp(max=float(np.nextafter(np.float32(1), np.float32(0))))
    return multiclass_calibration_error(below_one, target, num_classes=prob.shape[1], n_bins=ECE_BINS, norm="l1").item()


def _unshared(prob: torch.Tensor) -> torch.Tensor:
    """Return (N, K) ranks in place of probabilities: ties broken by the lower class id, where torch's topk breaks them as it likes."""
    order = torch.argsort(prob, dim=1, descending=True, stable=True)
    ranks = torch.argsort(order, dim=1)
    return (prob.shape[1] - ranks).float() / prob.shape[1]
