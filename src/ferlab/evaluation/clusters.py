"""Intervals where faces are not independent: many faces of one person, frames of one sequence.

The linearised variance of a mean over clusters, against that of independent faces, gives an effective number of faces, reduced by Student's
factor for few clusters; without any variance every cluster counts as one face. Proportions get Wilson's interval on that number, metrics of the
confusion matrix the posterior of counts scaled to it (by the accuracy's effective number), the F1 of a class that of the proportion behind it.

Simulated coverage at accuracy 0.6 to 0.97 with 20 faces a person and correlations within persons of 0 to 0.4: 92 to 100 % with 2 to 5 persons, 88 to
98 % with 10, 86 to 97 % with 20; a bootstrap of persons: 24 to 54 % with 2, 47 to 87 % with 5.

References:
    Kish (1965), Survey Sampling (design effect). Korn & Graubard (1998), Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data (effective sample size, reduced for the degrees of freedom).
    Obuchowski (1998), On the comparison of correlated proportions for clustered data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from ferlab.evaluation.calibration import log_losses
from ferlab.evaluation.confusion_posterior import KEYS, confusion_bounds
from ferlab.evaluation.intervals import RESAMPLES, ece_bounds, metric_intervals, named_bounds
from ferlab.evaluation.predictions import count_confusions, top3_hits
from ferlab.evaluation.proportions import LEVEL, wilson

OVER_FACES = ("ece", "ece_equal_mass", "ece_classwise", "accuracy_at_test_mix")  # metrics whose bounds always take faces as independent


def intervals_over(
    targets: np.ndarray,
    probs: np.ndarray,
    subjects: np.ndarray | None,
    *,
    expressions: tuple[str, ...],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Return `metric_intervals` of the same arguments, over subjects (N,) where they are given: all bounds but those of the ECE are for new subjects.

    Then `subjects` and `effective_faces` stand beside them, as of `cluster_intervals`; a class has no bounds where one subject shows it.
    """
    if subjects is None:
        return metric_intervals(targets, probs, expressions=expressions, resamples=resamples, seed=seed)
    found = cluster_intervals(targets, probs, subjects, resamples=resamples, seed=seed)
    preds = probs.argmax(axis=1)
    per_class = {name: _class_bounds(targets == c, preds == c, subjects) for c, name in enumerate(expressions)}
    return {**named_bounds({"ece": ece_bounds(targets, probs, seed=seed)}), **found, "per_class": per_class}


def _class_bounds(own: np.ndarray, predicted: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Return the bounds of precision, recall and F1 of one class; F1 = 2 J / (1 + J), as in `f1_bounds`.

    Simulated coverage with 10 to 30 persons of 20 faces, errors of a person correlated or not: 95 to 98 %.
    """
    hits, either = own & predicted, own | predicted
    low, high = cluster_proportion(hits[either], clusters[either])
    bounds = {"precision": cluster_proportion(hits[predicted], clusters[predicted]), "recall": cluster_proportion(hits[own], clusters[own])}
    return named_bounds({**bounds, "f1": (2 * low / (1 + low), 2 * high / (1 + high))})


def cluster_intervals(
    targets: np.ndarray, probs: np.ndarray, clusters: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Return `subjects` (how many), `effective_faces` (of the accuracy) and the 95 % bounds of the scalar metrics, ECE apart, for new subjects.

    Arguments as for `metric_intervals`; `clusters` (N,) is the subject of each face, two or more.
    """
    preds, subjects = probs.argmax(axis=1), count_clusters(clusters)
    correct = preds == targets
    effective = effective_faces(correct, clusters)
    confusions = count_confusions(targets, preds, num_classes=probs.shape[1]) * (effective / len(targets))
    drawn = confusion_bounds(confusions, draws=resamples, seed=seed)
    bounds = {
        "accuracy": cluster_proportion(correct, clusters),
        "top3_accuracy": cluster_proportion(top3_hits(targets, probs), clusters),
        "nll": mean_bounds(log_losses(targets, probs), clusters, least=0.0),
        **{key: drawn[key] for key in KEYS},
    }
    return {"subjects": subjects, "effective_faces": effective, **named_bounds(bounds)}


def cluster_proportion(hits: np.ndarray, clusters: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean of `hits`, (N,) bool or fractions, for new clusters; (nan, nan) with fewer than two.

    Where every cluster is one face that is hit or not, it is Wilson's.
    """
    subjects = count_clusters(clusters)
    if subjects < 2:
        return float("nan"), float("nan")
    if subjects == len(hits) and np.isin(hits, (0, 1)).all():
        return wilson(float(np.sum(hits)), len(hits))
    mean, effective = float(np.mean(hits)), effective_faces(hits, clusters)
    low, high = wilson(mean * effective, effective)
    return min(low, mean), max(high, mean)


def proportion_bounds(hits: np.ndarray, subjects: np.ndarray | None, *, rows: Any = slice(None)) -> tuple[float, float]:
    """Return the 95 % interval of the mean of (N,) hits: over subjects, or Wilson's over faces where the faces name none.

    `rows` selects the subjects of the hits, where `subjects` are those of more faces.

    >>> [round(bound, 3) for bound in proportion_bounds(np.array([True]), None)]
    [0.207, 1.0]
    """
    return wilson(float(np.sum(hits)), len(hits)) if subjects is None else cluster_proportion(hits, subjects[rows])


def effective_faces(hits: np.ndarray, clusters: np.ndarray) -> float:
    """Return the number of independent faces that estimate a proportion as precisely, at most N; `hits` as in `cluster_proportion`.

    >>> effective_faces(np.ones(40), np.repeat(["a", "b", "c", "d"], 10))
    4.0
    """
    mean, subjects = float(np.mean(hits)), count_clusters(clusters)
    error = cluster_error(hits, clusters)
    if error == 0:
        return float(subjects)
    few = (student() / student(subjects - 1)) ** 2
    return min(mean * (1 - mean) / error**2, len(hits)) * few


def mean_bounds(values: np.ndarray, clusters: np.ndarray, *, least: float = -np.inf, most: float = np.inf) -> tuple[float, float]:
    """Return Student's 95 % interval of the mean of (N,) values, from `least` to `most`, over clusters; (nan, nan) with fewer than two."""
    subjects, mean = count_clusters(clusters), float(np.mean(values))
    if subjects < 2:
        return float("nan"), float("nan")
    half = float(student(subjects - 1) * cluster_error(values, clusters))
    return max(mean - half, least), min(mean + half, most)


def cluster_error(values: np.ndarray, clusters: np.ndarray) -> float:
    """Return the standard error of the mean of (N,) values over two or more clusters; 0 where no cluster differs from the mean."""
    members = np.unique(np.asarray(clusters).astype(str), return_inverse=True)[1]
    sums = np.bincount(members, weights=np.asarray(values, dtype=np.float64) - np.mean(values))
    error = float(np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(values))
    return error if error > 1e-12 else 0.0


def count_clusters(clusters: np.ndarray) -> int:
    """Return how many different clusters there are."""
    return len(np.unique(np.asarray(clusters).astype(str)))


def student(freedom: float = np.inf) -> float:
    """Return the factor of a two-sided 95 % interval: Student's, the normal one without degrees of freedom."""
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))
