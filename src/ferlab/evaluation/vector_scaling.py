"""Vector scaling: a weight and a bias per class, fitted to log probabilities; unlike a temperature it can change predictions.

Fitted on log probabilities, since predictions are means over test-time augmentations, this is Dirichlet calibration with a diagonal matrix. A weak
prior keeps the weights near each other and the biases near 0, so that a class with few faces, or none, does not leave them undetermined.

References:
    Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599 (vector scaling).
    Kull et al. (2019), Beyond temperature scaling, arXiv 1910.12656 (log probabilities, regularisation).
"""

from __future__ import annotations

import numpy as np

from ferlab.evaluation.temperature import SMALLEST_PROB

LOWEST, HIGHEST = 0.05, 20.0  # of a weight, as of a temperature
LARGEST_BIAS = 20.0  # nats
PRIOR = 1.0  # standard deviation of weights around their mean, and of biases around 0


def scale_by_class(probs: np.ndarray, weights: np.ndarray, biases: np.ndarray) -> np.ndarray:
    """Return softmax(weights * log p + biases), (N, K) float32, rows summing to 1.

    Args:
        probs: (N, K) float, rows summing to 1.
        weights: (K,) positive.
        biases: (K,) in nats.
    """
    logits = _logs(probs) * np.asarray(weights) + np.asarray(biases)
    if not len(logits):
        return logits.astype(np.float32)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def fit_by_class(targets: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return weights and biases, (K,) float64 each, of least NLL on held-out faces under the prior; the objective is convex.

    Args:
        targets: (N,) int, N at least 1.
        probs: (N, K) float, rows summing to 1.
    """
    from scipy.optimize import minimize  # Keep: scaling, as a predictor does, starts no SciPy

    logs, (n, k) = _logs(probs), probs.shape
    labels = np.eye(k)[targets]

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        weights, biases = values[:k], values[k:]
        logits = logs * weights + biases
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        sums = powers.sum(axis=1, keepdims=True)
        off = weights - weights.mean()
        penalty = ((off**2).sum() + (biases**2).sum()) / (2 * PRIOR**2)
        residual = powers / sums - labels  # (N, K)
        slope = np.concatenate([(residual * logs).sum(axis=0) + off / PRIOR**2, residual.sum(axis=0) + biases / PRIOR**2])
        return float((np.log(sums[:, 0]) - (logits * labels).sum(axis=1)).sum() + penalty) / n, slope / n

    start, bounds = np.repeat([1.0, 0.0], k), [(LOWEST, HIGHEST)] * k + [(-LARGEST_BIAS, LARGEST_BIAS)] * k
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000})
    return found.x[:k], found.x[k:]


def _logs(probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probs, dtype=np.float64), SMALLEST_PROB))
