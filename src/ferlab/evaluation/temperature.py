"""Temperature scaling: one parameter that brings confidences in line with accuracies and changes no prediction.

Only faces that the model was not trained on may fit it; `ferlab.roles` decides which those are.

References:
    Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599.
    Pawitan (2001), In All Likelihood, ch. 2.6 (intervals from the likelihood ratio).
"""

from __future__ import annotations

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0  # temperatures searched
FOLDS = 10
LIKELIHOOD_DROP = 1.920729  # half the 95 % quantile of chi-squared with one degree of freedom
SMALLEST_PROB = float(np.finfo(np.float32).tiny)  # as in `calibration`, which needs pandas


def scale(probs: np.ndarray, temperature: float) -> np.ndarray:
    """Return softmax(logits / T) from probabilities alone: p^(1/T), renormalised; the largest of a row stays the largest.

    Args:
        probs: (N, K) float, rows summing to 1.
        temperature: Above 1 lowers confidences, below 1 raises them.

    Returns:
        (N, K) float32, rows summing to 1.
    """
    if probs.size == 0:
        return np.asarray(probs, dtype=np.float32)
    wide = np.clip(probs, 0, None).astype(np.float64)
    powers = (wide / wide.max(axis=1, keepdims=True)) ** (1 / temperature)
    scaled = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    best = probs.argmax(axis=1)
    rows = np.flatnonzero(scaled.argmax(axis=1) != best)  # rounding to float32 made a tie
    scaled[rows, best[rows]] = np.nextafter(scaled[rows].max(axis=1), np.float32(2))
    return scaled


def fit_temperature(targets: np.ndarray, probs: np.ndarray) -> float:
    """Return the temperature that minimises the NLL of held-out faces, within `LOWEST` and `HIGHEST`.

    The NLL is convex in 1/T, so the minimum is the only one. It lies at a bound where all faces are classified correctly, or wrongly.

    Args:
        targets: (N,) int, N at least 1.
        probs: (N, K) float, rows summing to 1.
    """
    from scipy.optimize import minimize_scalar  # Keep: scaling, as `ferlab predict` does, starts no SciPy

    bounds = (np.log(LOWEST), np.log(HIGHEST))
    found = minimize_scalar(lambda log: _nll(targets, probs, np.exp(log)), bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return float(np.exp(found.x))


def temperature_bounds(targets: np.ndarray, probs: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the temperature from the likelihood ratio; `LOWEST` or `HIGHEST` where a side is open."""
    from scipy.optimize import brentq

    best, n = fit_temperature(targets, probs), len(targets)
    least = n * _nll(targets, probs, best) + LIKELIHOOD_DROP

    def excess(temperature: float) -> float:
        return n * _nll(targets, probs, temperature) - least

    low = LOWEST if excess(LOWEST) <= 0 else brentq(excess, LOWEST, best)
    high = HIGHEST if excess(HIGHEST) <= 0 else brentq(excess, best, HIGHEST)
    return float(low), float(high)


def folds_of(n: int, *, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """Return the fold of each of n faces, (n,) int: equal in size, at random."""
    return np.random.default_rng(seed).permutation(n) % folds


def _nll(targets: np.ndarray, probs: np.ndarray, temperature: float) -> float:
    logs = np.log(np.maximum(probs.astype(np.float64), SMALLEST_PROB)) / temperature
    logs -= logs.max(axis=1, keepdims=True)
    return float((np.log(np.exp(logs).sum(axis=1)) - logs[np.arange(len(targets)), targets]).mean())
