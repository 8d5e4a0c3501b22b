"""All metrics in numpy alone, of faces that may have weights, or of many confusion matrices at once.

Every metric here is a function of sums over faces. With weights of one it gives the plain metrics, which notebooks without torch use for
ensembles; `metrics` computes the same with torchmetrics, and a test holds the two equal. `confusion_metrics` takes matrices of
fractions, as they are drawn from a posterior.

Classes without faces: see `metrics`. ECE: 15 equal bins, the last closed, as in Guo et al. (2017), arXiv 1706.04599.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

ECE_BINS = 15
# The smallest normal float32: a probability that underflowed to 0 costs 87.3 nats, not infinity.
SMALLEST_PROB = float(np.finfo(np.float32).tiny)

SCALARS = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "nll", "ece", "top3_accuracy")


def weighted_metrics(targets: np.ndarray, probs: np.ndarray, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return every metric under every weighting.

    Args:
        targets: (N,) int, true class ids.
        probs: (N, K) float, rows summing to 1.
        weights: (R, N) float, how often each face counts; None for one weighting of ones.

    Returns:
        The keys of SCALARS, each (R,) float64; `precision`, `recall`, `f1` and `support`, each (R, K). Undefined values are NaN.
    """
    weights = np.ones((1, len(targets))) if weights is None else weights
    k = probs.shape[1]
    terms = np.concatenate([_confusion_terms(targets, probs), _bin_terms(targets, probs), _face_terms(targets, probs)], axis=1)
    sums = weights.astype(np.float64) @ terms  # (R, F)
    confusions = sums[:, : k * k].reshape(-1, k, k)  # rows: actual, columns: predicted
    bins = sums[:, k * k : k * k + 2 * ECE_BINS].reshape(-1, 2, ECE_BINS)
    total = weights.sum(axis=1)
    metrics = confusion_metrics(confusions)
    metrics["ece"] = np.abs(bins[:, 0] - bins[:, 1]).sum(axis=1) / total
    metrics["nll"] = sums[:, -2] / total
    metrics["top3_accuracy"] = sums[:, -1] / total
    return metrics


def point_metrics(targets: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """Return the scalar metrics of one set of faces as plain floats."""
    metrics = weighted_metrics(targets, probs)
    return {key: float(metrics[key][0]) for key in SCALARS}


def confusion_metrics(confusions: np.ndarray) -> dict[str, np.ndarray]:
    """Return the metrics that a confusion matrix decides.

    Args:
        confusions: (R, K, K) weights of faces, rows actual, columns predicted.

    References:
        Gorodkin (2004), Comparing two K-category assignments by a K-category correlation coefficient (multi-class MCC).
    """
    hits = np.diagonal(confusions, axis1=1, axis2=2)  # (R, K)
    support, predicted, total = confusions.sum(axis=2), confusions.sum(axis=1), confusions.sum(axis=(1, 2))
    present, seen = support > 0, (support > 0) | (predicted > 0)
    recall = _ratio(hits, support, defined=present)
    precision = _ratio(hits, predicted, defined=seen)
    f1 = _ratio(2 * hits, support + predicted, defined=seen)
    correct = hits.sum(axis=1)
    covariance = correct * total - (support * predicted).sum(axis=1)
    spread = (total**2 - (predicted**2).sum(axis=1)) * (total**2 - (support**2).sum(axis=1))
    spread[spread < 1e-12 * total**4] = 0  # where there is none, rounding leaves fractional weights a hair beside 0
    return {
        "accuracy": correct / total,
        "balanced_accuracy": np.nanmean(recall, axis=1),
        "macro_f1": np.nanmean(f1, axis=1),
        "weighted_f1": np.nansum(f1 * support, axis=1) / total,
        # One class predicted, or one present: the coefficient is 0 by convention (as scikit-learn has it).
        "mcc": _ratio(covariance, np.sqrt(spread), defined=True),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "support": support,
    }


def count_confusions(targets: np.ndarray, preds: np.ndarray, *, num_classes: int) -> np.ndarray:
    """Return the confusion matrix, (K, K) int64: rows actual, columns predicted."""
    cells = np.asarray(targets, dtype=np.int64) * num_classes + np.asarray(preds, dtype=np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def confidence_bins(confidences: np.ndarray) -> np.ndarray:
    """Return the ECE bin of each confidence, (N,) int in 0..14; bins are [a, b), the last [a, 1]."""
    inner = np.linspace(0, 1, ECE_BINS + 1, dtype=np.float32)[1:-1]
    return np.digitize(np.asarray(confidences, dtype=np.float32), inner, right=False)


def _ratio(top: np.ndarray, bottom: np.ndarray, *, defined: np.ndarray | bool) -> np.ndarray:
    """Return top / bottom, 0 where the bottom is 0 though the class is defined, NaN where it is not."""
    ratio = np.divide(top, bottom, out=np.zeros_like(top, dtype=np.float64), where=bottom > 0)
    return np.where(defined, ratio, np.nan)


def _confusion_terms(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return (N, K * K): 1 in the cell of the face's actual and predicted class."""
    k = probs.shape[1]
    terms = np.zeros((len(targets), k * k))
    terms[np.arange(len(targets)), np.asarray(targets) * k + probs.argmax(axis=1)] = 1
    return terms


def _bin_terms(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return (N, 2 * ECE_BINS): in the face's bin its confidence, then whether it is right."""
    rows, bins = np.arange(len(targets)), confidence_bins(probs.max(axis=1))
    terms = np.zeros((len(targets), 2, ECE_BINS))
    terms[rows, 0, bins] = probs.max(axis=1)
    terms[rows, 1, bins] = probs.argmax(axis=1) == targets
    return terms.reshape(len(targets), -1)


def _face_terms(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return (N, 2): negative log-likelihood in nats, and whether the true class is among the three largest probabilities."""
    true_probs = probs[np.arange(len(targets)), targets].astype(np.float64)
    nll = -np.log(np.maximum(true_probs, SMALLEST_PROB))
    order = np.argsort(-probs, axis=1, kind="stable")[:, :3]  # ties: the lower class id first, as argmax has it
    return np.stack([nll, (order == np.asarray(targets)[:, None]).any(axis=1)], axis=1)


def named_per_class(metrics: Mapping[str, np.ndarray], expressions: tuple[str, ...]) -> dict[str, dict[str, float | int | None]]:
    """Return `{expression: {precision, recall, f1, support}}` of the first weighting; undefined values are None."""
    return {
        name: {
            **{key: _defined(metrics[key][0, i]) for key in ("precision", "recall", "f1")},
            "support": int(metrics["support"][0, i]),
        }
        for i, name in enumerate(expressions)
    }


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
