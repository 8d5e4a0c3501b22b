"""Do probabilities mean what they say? Reliability bins, and a Brier score.

References:
    Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599 (reliability diagram, ECE).
    Nguyen & O'Connor (2015), Posterior calibration and exploratory analysis for NLP models, arXiv 1508.05154 (equal-mass bins).
    Brier (1950), Verification of forecasts expressed in terms of probability.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.weighted_metrics import ECE_BINS, confidence_bins


def reliability_bins(targets: np.ndarray, probs: np.ndarray, *, equal_mass: bool = False) -> pd.DataFrame:
    """Return one row per bin of confidence (the largest probability), empty bins included.

    Args:
        targets: (N,) int, true class ids.
        probs: (N, K) float.
        equal_mass: Bins of as many faces each (ties in confidence may part), instead of 15 bins of equal width.

    Returns:
        Columns `low, high` (bounds of the bin), `faces`, `confidence` (mean), `accuracy`, `ci_low, ci_high` (Wilson, 95 %); means of
        empty bins are NaN.
    """
    confidences = probs.max(axis=1).astype(np.float64)
    correct = probs.argmax(axis=1) == targets
    bins = _mass_bins(confidences) if equal_mass else confidence_bins(confidences)
    faces = np.bincount(bins, minlength=ECE_BINS)
    hits = np.bincount(bins, weights=correct, minlength=ECE_BINS)
    with np.errstate(invalid="ignore"):  # an empty bin has no mean
        table = pd.DataFrame(
            {
                "faces": faces,
                "confidence": np.bincount(bins, weights=confidences, minlength=ECE_BINS) / faces,
                "accuracy": hits / faces,
            }
        )
    table[["ci_low", "ci_high"]] = [wilson(int(h), int(n)) for h, n in zip(hits, faces)]
    low, high = _mass_edges(confidences, bins) if equal_mass else (np.arange(ECE_BINS) / ECE_BINS, np.arange(1, ECE_BINS + 1) / ECE_BINS)
    table.insert(0, "low", low)
    table.insert(1, "high", high)
    return table


def calibration_error(bins: pd.DataFrame) -> float:
    """Return the mean gap between accuracy and confidence over bins, weighted by faces: ECE."""
    return float((bins["faces"] * (bins["accuracy"] - bins["confidence"]).abs()).sum() / bins["faces"].sum())


def ece_if_calibrated(probs: np.ndarray, *, draws: int = 500, seed: int = 0) -> dict[str, float]:
    """Return the ECE that these confidences would show if they were true: what chance alone makes of so many faces.

    Few faces give an ECE well above 0 even to a perfectly calibrated model; an ECE below `high` is no evidence against calibration.

    Args:
        probs: (N, K) float.
        draws: How often right and wrong are drawn from the confidences.
        seed: Of the draws.

    Returns:
        `mean` of the drawn ECEs and `high`, their 95 % quantile.
    """
    confidences = probs.max(axis=1).astype(np.float64)
    members = np.eye(ECE_BINS)[confidence_bins(confidences)]  # (N, bins)
    expected, rng = confidences @ members, np.random.default_rng(seed)
    drawn = [np.abs((rng.random(len(confidences)) < confidences) @ members - expected).sum() / len(confidences) for _ in range(draws)]
    return {"mean": float(np.mean(drawn)), "high": float(np.quantile(drawn, 0.95))}


def brier(targets: np.ndarray, probs: np.ndarray) -> float:
    """Return the mean squared distance of the probabilities from the one-hot truth, 0 (best) to 2."""
    truth = np.eye(probs.shape[1])[targets]
    return float(((probs - truth) ** 2).sum(axis=1).mean())


def _mass_bins(confidences: np.ndarray) -> np.ndarray:
    ranks = np.empty(len(confidences), dtype=np.int64)
    ranks[np.argsort(confidences, kind="stable")] = np.arange(len(confidences))
    return ranks * ECE_BINS // max(len(confidences), 1)


def _mass_edges(confidences: np.ndarray, bins: np.ndarray) -> tuple[list[float], list[float]]:
    inside = [confidences[bins == b] for b in range(ECE_BINS)]
    return [float(c.min()) if len(c) else np.nan for c in inside], [float(c.max()) if len(c) else np.nan for c in inside]
