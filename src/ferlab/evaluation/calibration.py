"""What probabilities are worth: NLL, Brier score, reliability bins, ECE, debiased and classwise ECE, and their 95 % intervals.

NLL is a mean that a few misclassified faces decide; a bootstrap of faces covered 82 % on 60 faces at accuracy 0.98. `nll_bounds` draws the error
rate from its posterior, weighs correct and wrong faces by a Bayesian bootstrap, adds one face of either with the NLL that the model itself
expects, and includes Student's interval. Simulated coverage: 95 to 98 % from 20 faces, 92 to 99 % with 5. `brier_bounds` does the same.

The plain ECE estimate is comparable with published values and too large on few faces: a calibrated model shows 0.15 on 60 faces, 0.02 on 3,589.
`debiased_error` subtracts that bias. No bootstrap covers a true ECE near 0 (36 to 53 %). `ece_bounds` inverts a test: which true gaps, the observed
ones times a factor from 0 to 3, give such an estimate? The upper bound is at least the gap between mean confidence and Wilson's bounds of the
accuracy. Simulated coverage: 92 % or more from 20 to 3,589 faces, at a true ECE of 0 to 0.67.

References:
    Guo et al. (2017), On Calibration of Modern Neural Networks, arXiv 1706.04599 (reliability diagram, ECE).
    Nguyen & O'Connor (2015), Posterior calibration and exploratory analysis for NLP models, arXiv 1508.05154 (equal-mass bins).
    Kumar, Liang & Ma (2019), Verified uncertainty calibration, arXiv 1909.10155 (bias of the plain estimate; debiased estimates).
    Bröcker (2012), Estimating reliability and resolution of probability forecasts through decomposition of the empirical score.
    Kull et al. (2019), Beyond temperature scaling, arXiv 1910.12656 (classwise ECE).
    Brier (1950), Verification of forecasts expressed in terms of probability. Rubin (1981), The Bayesian bootstrap.
    Davison & Hinkley (1997), Bootstrap Methods and their Application, ch. 5.5 (inverting a bootstrap test).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import ndtr

from ferlab.evaluation.proportions import LEVEL, wilson

ECE_BINS = 15
SMALLEST_PROB = float(np.finfo(np.float32).tiny)  # a probability that underflowed to 0 costs 87.3 nats, not infinity
MASS = 0.97  # of the draws of the NLL, between its bounds
TAIL = 0.02  # of the ECEs under a true gap, on either side
CLASS_TAIL = 0.005  # of classwise ECEs: their many cells hold few faces, and the observed gaps much chance
FACTORS = np.array([*np.linspace(0, 1, 11), 1.2, 1.5, 2, 3])  # of the observed gaps; finer below the estimate
TESTED = 400  # samples per factor


def log_losses(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the negative log-likelihood of each face in nats, (N,) float64."""
    return -np.log(np.maximum(probs[np.arange(len(targets)), targets].astype(np.float64), SMALLEST_PROB))


def brier(targets: np.ndarray, probs: np.ndarray) -> float:
    """Return the mean squared distance of the probabilities from the one-hot targets, 0 (best) to 2."""
    return float(squared_distances(targets, probs).mean())


def squared_distances(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return (N,): the squared distance of each face's probabilities from its one-hot target, 0 to 2."""
    return ((probs - np.eye(probs.shape[1])[targets]) ** 2).sum(axis=1)


def confidence_bins(confidences: np.ndarray) -> np.ndarray:
    """Return the ECE bin of each confidence, (N,) int in 0..14; bins are [a, b), the last [a, 1]."""
    return np.digitize(confidences.astype(np.float32), np.linspace(0, 1, ECE_BINS + 1, dtype=np.float32)[1:-1])


def reliability_bins(targets: np.ndarray, probs: np.ndarray, *, equal_mass: bool = False) -> pd.DataFrame:
    """Return one row per bin of confidence (the largest probability): 15 of equal width, or of equally many faces (ties may part).

    Columns: `faces`, `confidence` (mean), `accuracy`, `ci_low, ci_high` (Wilson), `low, high` (bounds of the bin, of equal mass: the extreme
    confidences); NaN in empty bins.
    """
    confidences, hits = probs.max(axis=1).astype(np.float64), probs.argmax(axis=1) == targets
    bins = _mass_bins(confidences) if equal_mass else confidence_bins(confidences)
    faces, grouped = np.arange(ECE_BINS), pd.DataFrame({"confidence": confidences, "accuracy": hits.astype(np.float64)}).groupby(bins)
    table = grouped.mean().reindex(faces)
    table.insert(0, "faces", grouped.size().reindex(faces, fill_value=0))
    table[["ci_low", "ci_high"]] = [wilson(round(n * share) if n else 0, n) for n, share in zip(table["faces"], table["accuracy"])]
    if equal_mass:
        return table.assign(low=grouped["confidence"].min(), high=grouped["confidence"].max())
    return table.assign(low=faces / ECE_BINS, high=(faces + 1) / ECE_BINS)


def calibration_error(bins: pd.DataFrame) -> float:
    """Return the ECE: the mean gap between accuracy and confidence over bins, weighted by faces."""
    return float((bins["faces"] * (bins["accuracy"] - bins["confidence"]).abs()).sum() / bins["faces"].sum())


def debiased_error(bins: pd.DataFrame) -> float:
    """Return the ECE without the part that chance adds, at least 0; see `debias`."""
    filled = bins[bins["faces"] > 0]
    return float(debias(*(filled[column].to_numpy(dtype=np.float64) for column in ("faces", "accuracy", "confidence"))))


def debias(faces: np.ndarray, accuracy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Return debiased ECEs, (...), at least 0, from faces, accuracy and mean confidence of bins, float64 (..., bins); those of empty bins may be any.

    Chance makes the expected gap of a bin that of a folded normal distribution; the excess of that expectation over the observed gap is subtracted
    from the latter (Kumar et al., 2019). The variance of a bin's accuracy is Bröcker's, acc (1 - acc) / (n - 1), for one face conf (1 - conf).
    """
    gaps, spread = np.abs(accuracy - confidence), np.sqrt(_variances(faces, accuracy, confidence))
    ratio = np.divide(gaps, spread, out=np.full(np.shape(gaps), np.inf), where=spread > 0)
    expected = spread * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + gaps * (1 - 2 * ndtr(-ratio))
    return np.asarray(np.maximum(0, (faces * (2 * gaps - expected)).sum(axis=-1) / faces.sum(axis=-1)))


def debiased_squared_error(bins: pd.DataFrame) -> float:
    """Return the mean squared gap between accuracy and confidence over bins, without bias; see `debias_squares`."""
    filled = bins[bins["faces"] > 0]
    return float(debias_squares(*(filled[column].to_numpy(dtype=np.float64) for column in ("faces", "accuracy", "confidence"))))


def debias_squares(faces: np.ndarray, accuracy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Return unbiased squared calibration errors, (...), which chance may make negative (Kumar et al., 2019); arguments as for `debias`."""
    return np.asarray((faces * ((accuracy - confidence) ** 2 - _variances(faces, accuracy, confidence))).sum(axis=-1) / faces.sum(axis=-1))


def classwise_errors(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return the ECE of the probability of each class against the rate of the class, (K,), in 15 equal bins; their mean is the classwise ECE."""
    _, claimed, hits = _class_cells(targets, probs)
    return np.abs(hits - claimed).sum(axis=1) / len(targets)


def ece_if_calibrated(probs: np.ndarray, *, draws: int = 500, seed: int = 0) -> dict[str, float]:
    """Return the ECE of a calibrated model with these confidences: `mean` over draws of correct and wrong, and `high`, the 95 % quantile.

    An ECE below `high` is no evidence of miscalibration.
    """
    confidences = probs.max(axis=1).astype(np.float64)
    members = np.eye(ECE_BINS)[confidence_bins(confidences)]  # (N, bins)
    expected, rng = confidences @ members, np.random.default_rng(seed)
    drawn = [np.abs((rng.random(len(confidences)) < confidences) @ members - expected).sum() / len(confidences) for _ in range(draws)]
    return {"mean": float(np.mean(drawn)), "high": float(np.quantile(drawn, 0.95))}


def nll_bounds(targets: np.ndarray, probs: np.ndarray, *, draws: int, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the NLL in nats; (nan, nan) for fewer than two faces."""
    return _loss_bounds(-np.log(np.maximum(probs.astype(np.float64), SMALLEST_PROB)), targets, probs, draws=draws, seed=seed)


def brier_bounds(targets: np.ndarray, probs: np.ndarray, *, draws: int, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the Brier score; (nan, nan) for fewer than two faces."""
    wide = probs.astype(np.float64)
    low, high = _loss_bounds((wide**2).sum(axis=1, keepdims=True) - 2 * wide + 1, targets, probs, draws=draws, seed=seed)
    return low, min(high, 2.0)


def ece_bounds(targets: np.ndarray, probs: np.ndarray, *, equal_mass: bool = False, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the ECE on 15 equal bins, or on bins of equally many faces."""
    confidences, correct = probs.max(axis=1).astype(np.float64), probs.argmax(axis=1) == targets
    bins = _mass_bins(confidences) if equal_mass else confidence_bins(confidences)
    faces, claimed, hits = (np.bincount(bins, weights=w, minlength=ECE_BINS) for w in (None, confidences, correct))
    n = len(targets)
    estimate, low, high = _invert(faces, claimed, hits, n=n, seed=seed)
    open_gap = max(abs(claimed.sum() / n - bound) for bound in wilson(int(hits.sum()), n))
    return min(low, estimate), float(min(1.0, max(high, open_gap, estimate)))


def classwise_bounds(targets: np.ndarray, probs: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of the classwise ECE: the same inversion over all classes and bins. Simulated coverage: 87 to 100 %."""
    faces, claimed, hits = (cells.ravel() for cells in _class_cells(targets, probs))
    estimate, low, high = _invert(faces, claimed, hits, n=probs.size, seed=seed, tail=CLASS_TAIL)
    return min(low, estimate), min(1.0, max(high, estimate))


def _invert(faces: np.ndarray, claimed: np.ndarray, hits: np.ndarray, *, n: int, seed: int, tail: float = TAIL) -> tuple[float, float, float]:
    """Return the summed gap of cells per face, and the bounds of the true one; `faces`, sum of probabilities and hits of each cell, (cells,)."""
    filled = faces > 0
    means = np.divide(claimed, faces, out=np.zeros(len(faces)), where=filled)
    gaps = np.divide(hits - claimed, faces, out=np.zeros(len(faces)), where=filled)
    estimate = float(np.abs(hits - claimed).sum() / n)
    rates = np.clip(means + FACTORS[:, None] * gaps, 0, 1)  # (factors, cells)
    true = (faces * np.abs(rates - means)).sum(axis=1) / n
    drawn = np.random.default_rng(seed).binomial(faces.astype(np.int64), rates[:, None], size=(len(FACTORS), TESTED, len(faces)))
    # Monotone in the factor but for the noise of the draws; a hair wide, so that equal sums in another order still count as equal.
    least, most = np.maximum.accumulate(np.quantile(np.abs(claimed - drawn).sum(axis=2) / n, [tail, 1 - tail], axis=1), axis=1)
    low = 0.0 if estimate <= most[0] + 1e-9 else float(np.interp(estimate - 1e-9, most, true))
    return estimate, low, float(np.interp(estimate, least, true))


def _loss_bounds(losses: np.ndarray, targets: np.ndarray, probs: np.ndarray, *, draws: int, seed: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean loss, at least 0; `losses` (N, K): what each face costs under each label."""
    n, rng = len(targets), np.random.default_rng(seed)
    if n < 2:
        return float("nan"), float("nan")
    preds, own = probs.argmax(axis=1), losses[np.arange(n), targets]
    correct = preds == targets
    others = np.where(np.arange(probs.shape[1]) == preds[:, None], 0, probs)
    if_wrong = (others * losses).sum(axis=1) / np.maximum(others.sum(axis=1), SMALLEST_PROB)
    error_rates = rng.beta((~correct).sum() + 0.5, correct.sum() + 0.5, size=draws)
    means = [_weighted_means(rng, own[correct], losses.min(axis=1).mean(), draws), _weighted_means(rng, own[~correct], if_wrong.mean(), draws)]
    low, high = np.quantile((1 - error_rates) * means[0] + error_rates * means[1], [(1 - MASS) / 2, (1 + MASS) / 2])
    centre, half = own.mean(), stats.t.ppf((1 + LEVEL) / 2, n - 1) * own.std(ddof=1) / np.sqrt(n)
    return max(0.0, float(min(low, centre - half))), float(max(high, centre + half))


def _variances(faces: np.ndarray, accuracy: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Return the variance of the accuracy of each bin."""
    found = np.where(faces > 1, accuracy * (1 - accuracy) / np.maximum(faces - 1, 1), confidence * (1 - confidence))
    return np.maximum(found, 0)


def _class_cells(targets: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return faces, summed probability and faces of the class in each bin of the probability of each class, (K, bins) each."""
    k = probs.shape[1]
    cells = (confidence_bins(probs.astype(np.float64)) + ECE_BINS * np.arange(k)).ravel()
    labels = np.eye(k)[targets].ravel()
    weights = (None, probs.astype(np.float64).ravel(), labels)
    faces, claimed, hits = (np.bincount(cells, weights=w, minlength=k * ECE_BINS).reshape(k, ECE_BINS) for w in weights)
    return faces, claimed, hits


def _mass_bins(confidences: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence, (N,) int in 0..14, of equally many faces each; ties may part."""
    ranks = np.argsort(np.argsort(confidences, kind="stable"), kind="stable")
    return ranks * ECE_BINS // max(len(ranks), 1)


def _weighted_means(rng: np.random.Generator, losses: np.ndarray, expected: float, draws: int) -> np.ndarray:
    """Return (draws,) means of the losses and one expected loss under random weights (a Bayesian bootstrap)."""
    values = np.append(losses, expected)
    sums = np.zeros((2, draws))
    for part in np.array_split(values, -(-len(values) * draws // 4_000_000)):  # 32 MB of weights at once
        weights = rng.standard_exponential((draws, len(part)))
        sums += weights @ part, weights.sum(axis=1)
    return sums[0] / sums[1]
