"""Abstention: the confidence below which a model should not predict, so that the error rate of the faces it accepts stays below a stated risk.

With the stated probability the error rate of new faces above the threshold is below the risk, as in Geifman & El-Yaniv's selection with guaranteed
risk. The bound of an error rate is Clopper & Pearson's. It is not monotone in the coverage (few accepted faces prove little), so a binary search
misses thresholds that hold; instead coverages are tested in fixed sequences: from each of six starts towards more faces, to the first that fails,
at a sixth of the level.

References:
    Geifman & El-Yaniv (2017), Selective Classification for Deep Neural Networks, arXiv 1705.08500.
    Angelopoulos et al. (2021), Learn then Test, arXiv 2110.01052 (risk control by fixed sequences of tests from several starts).
    Clopper & Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the binomial.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np

from ferlab.evaluation.proportions import wilson

LEVEL = 0.95  # probability that the risk holds
STARTS = (3, 6, 12, 25, 50, 100)  # coverages in percent where a sequence of tests begins
STEP = 1e6  # thresholds have six decimals, as cards do


@dataclass(frozen=True)
class Acceptance:
    """A threshold and the faces that it was found on.

    Attributes:
        threshold: Faces of at least this confidence are accepted; 0 accepts all.
        accepted: Faces.
        wrong: Of those.
        n: Faces in all.
        upper: Upper bound of the error rate of accepted faces, at the level of the search.
    """

    threshold: float
    accepted: int
    wrong: int
    n: int
    upper: float


def find_threshold(confidences: np.ndarray, correct: np.ndarray, *, risk: float, level: float = LEVEL) -> Acceptance | None:
    """Return the acceptance of most faces whose bounded error rate is at most `risk`; None if there is none.

    Args:
        confidences: (N,) in [0, 1], of held-out faces; N at least 1.
        correct: (N,) bool.
        risk: Error rate among accepted faces, in (0, 1).
        level: Probability of the guarantee.
    """
    ordered = np.sort(confidences.astype(np.float64))[::-1]
    accepts = [_accept(confidences, correct, threshold=_threshold(ordered, percent), share=(1 - level) / len(STARTS)) for percent in range(1, 101)]
    holds = np.array([found.upper <= risk for found in accepts])
    reached = [start + int(np.argmin(np.append(holds[start - 1 :], False))) - 1 for start in STARTS]  # the last percent before the first that fails
    percents = [percent for percent, start in zip(reached, STARTS, strict=True) if percent >= start]
    return accepts[max(percents) - 1] if percents else None


def _threshold(ordered: np.ndarray, percent: int) -> float:
    """Return the confidence that accepts about `percent` of faces; 0 for all."""
    return 0.0 if percent == 100 else floor(ordered[max(percent * len(ordered) // 100, 1) - 1] * STEP) / STEP


def judge_threshold(confidences: np.ndarray, correct: np.ndarray, *, threshold: float | np.ndarray) -> dict[str, Any]:
    """Return what a threshold does on other faces than it was found on.

    Args:
        confidences: (N,).
        correct: (N,) bool.
        threshold: One, or one for each face.

    Returns:
        `n`, `accepted`, `wrong` (of the accepted), `coverage` and `error_rate`, the last two with Wilson's bounds; None where no face is accepted.
    """
    kept = confidences.astype(np.float64) >= threshold
    n, accepted, wrong = len(kept), int(kept.sum()), int((kept & ~correct).sum())
    values: dict[str, Any] = {"n": n, "accepted": accepted, "wrong": wrong}
    for key, part, whole in (("coverage", accepted, n), ("error_rate", wrong, accepted)):
        low, high = wilson(part, whole)
        values |= {key: part / whole, f"{key}_ci_low": low, f"{key}_ci_high": high} if whole else {key: None}
    return values


def upper_bound(wrong: int, n: int, *, share: float) -> float:
    """Return Clopper & Pearson's upper bound of an error rate, exceeded with probability at most `share`; 1 for no faces.

    >>> round(upper_bound(0, 59, share=0.05), 3)
    0.05
    """
    from scipy.stats import beta

    return 1.0 if wrong >= n else float(beta.ppf(1 - share, wrong + 1, n - wrong))


def _accept(confidences: np.ndarray, correct: np.ndarray, *, threshold: float, share: float) -> Acceptance:
    kept = confidences.astype(np.float64) >= threshold
    accepted, wrong = int(kept.sum()), int((kept & ~correct).sum())
    return Acceptance(threshold, accepted, wrong, n=len(kept), upper=upper_bound(wrong, accepted, share=share))
