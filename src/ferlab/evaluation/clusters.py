"""Intervals where faces are not independent: many faces of one person, frames of one sequence.

Faces of one person resemble each other, so n of them weigh less than n. How much less is measured: the variance of a mean over clusters
(linearised) against that of as many independent faces gives an effective number of faces, cut by Student's factor for few clusters; where all
faces agree nothing can be measured, and every cluster counts as one face. Shares then get Wilson's interval on that number, metrics of the
confusion matrix the posterior of counts scaled to it (one number, that of the accuracy, for all of them).

Covered at accuracy .6 to .97 with 20 faces a person and correlations within persons of 0 to .4: 92 to 100 % with 2 to 5 persons, 88 to 98 % with
10, 86 to 97 % with 20; redrawing persons covered 24 to 54 % with 2 and 47 to 87 % with 5. Few persons make wide intervals: that is what is known.

References:
    Kish (1965), Survey Sampling (design effect). Korn & Graubard (1998), Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data (effective sample size, cut for the degrees of freedom).
    Obuchowski (1998), On the comparison of correlated proportions for clustered data.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from ferlab.evaluation.confusion_posterior import KEYS, confusion_bounds
from ferlab.evaluation.intervals import RESAMPLES
from ferlab.evaluation.proportions import LEVEL, wilson
from ferlab.evaluation.weighted_metrics import count_confusions, point_metrics
from ferlab.paths import InputError


def cluster_intervals(
    targets: np.ndarray, probs: np.ndarray, clusters: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Return the 95 % bounds of the scalar metrics, ECE apart, for faces of subjects not met before.

    Args:
        targets: (N,) int.
        probs: (N, K) float.
        clusters: (N,) the subject of each face.
        resamples: Confusion matrices drawn.
        seed: Of the draws.

    Returns:
        `subjects` (how many), `effective_faces` (as many independent faces would tell as much of the accuracy) and `<key>_ci_low`, `<key>_ci_high`.

    Raises:
        InputError: With fewer than two clusters.
    """
    preds, metrics = probs.argmax(axis=1), point_metrics(targets, probs)
    top3 = (np.argsort(-probs, axis=1, kind="stable")[:, :3] == targets[:, None]).any(axis=1)
    right, subjects = preds == targets, count_clusters(clusters)
    if subjects < 2:
        raise InputError(f"Intervals over subjects need at least two, got {subjects}; report the intervals over faces")
    effective = effective_faces(right, clusters)
    losses = -np.log(np.maximum(probs[np.arange(len(targets)), targets].astype(np.float64), np.finfo(np.float32).tiny))
    half = student(subjects - 1) * cluster_error(losses, clusters)
    confusions = count_confusions(targets, preds, num_classes=probs.shape[1]) * (effective / len(targets))
    bounds = confusion_bounds(confusions, draws=resamples, seed=seed)
    bounds |= {
        "accuracy": cluster_proportion(right, clusters),
        "top3_accuracy": cluster_proportion(top3, clusters),
        "nll": (max(0.0, metrics["nll"] - half), metrics["nll"] + half),
    }
    named = {f"{key}_ci_{side}": bound for key in ("accuracy", "top3_accuracy", "nll", *KEYS) for side, bound in zip(("low", "high"), bounds[key])}
    return {"subjects": subjects, "effective_faces": effective, **named}


def cluster_proportion(hits: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a share of faces over clusters not met before; (nan, nan) with fewer than two clusters.

    Args:
        hits: (N,) bool, or shares from 0 to 1.
        clusters: (N,) the cluster of each face.
    """
    if count_clusters(clusters) < 2:
        return float("nan"), float("nan")
    share, effective = float(np.mean(hits)), effective_faces(hits, clusters)
    low, high = wilson(share * effective, effective)
    return min(low, share), max(high, share)


def effective_faces(hits: np.ndarray, clusters: np.ndarray) -> float:
    """Return how many independent faces would tell as much of a share, at most N.

    Args:
        hits: (N,) bool, or shares from 0 to 1.
        clusters: (N,) the cluster of each face, two or more.

    >>> effective_faces(np.ones(40), np.repeat(["a", "b", "c", "d"], 10))
    4.0
    """
    share, subjects = float(np.mean(hits)), count_clusters(clusters)
    error = cluster_error(hits, clusters)
    if error == 0:
        return float(subjects)
    few = (student() / student(subjects - 1)) ** 2
    return min(share * (1 - share) / error**2, len(hits)) * few


def cluster_error(values: np.ndarray, clusters: np.ndarray) -> float:
    """Return the standard error of the mean of (N,) values over two or more clusters; 0 where no cluster differs from the mean."""
    sums = _sums(np.asarray(values, dtype=np.float64) - np.mean(values), clusters)
    m = len(sums)
    error = float(np.sqrt(m / (m - 1) * (sums**2).sum()) / len(values))
    return error if error > 1e-12 else 0.0


def count_clusters(clusters: np.ndarray) -> int:
    """Return how many different clusters there are."""
    return len(np.unique(np.asarray(clusters).astype(str)))


def student(freedom: float = np.inf) -> float:
    """Return the factor of a two-sided 95 % interval: Student's, the normal one without degrees of freedom."""
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def _sums(values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    members = np.unique(np.asarray(clusters).astype(str), return_inverse=True)[1]
    return np.bincount(members, weights=values)
