"""Prediction sets that hold the label at a stated rate: split conformal prediction by MAPIE, calibrated on val, measured on test.

LAC takes every class above one probability, and gives the smallest sets on average. APS and RAPS add classes in the order of their probabilities, up
to the one that passes the threshold: faces hard to classify get larger sets, and more labels are held than stated. RAPS penalises large sets; with
few classes nearly all get one size. All three hold the label of a new face at the stated rate over all faces, not within each class.

Class-conditional LAC has a threshold per class, and holds it within each (Vovk's Mondrian prediction): a class with too few val faces for a threshold
is in every set. The rates hold for faces exchangeable with val's; measured coverage on test shows how far they are.

References:
    Vovk, Gammerman & Shafer (2005), Algorithmic Learning in a Random World, ch. 4.5 (class-conditional prediction).
    Sadinle, Lei & Wasserman (2019), Least ambiguous set-valued classifiers, arXiv 1609.00451 (LAC, class-conditional coverage).
    Romano, Sesia & Candès (2020), Classification with valid and adaptive coverage, arXiv 2006.02544 (APS).
    Angelopoulos et al. (2021), Uncertainty sets for image classifiers using conformal prediction, arXiv 2009.14193 (RAPS).
"""

from __future__ import annotations

import warnings
from math import ceil
from typing import Any

import numpy as np
from mapie.classification import SplitConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin

from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.held_out import HeldOut
from ferlab.evaluation.intervals import named_bounds
from ferlab.evaluation.predictions import expressions_of, probs_of

COVERAGE = 0.9  # stated rate at which sets hold the label
METHODS = ("lac", "aps", "raps")
BY_CLASS = "lac_by_class"


class _Given(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose features are its probabilities: MAPIE scores an estimator, here the predictions are made."""

    def __init__(self, classes: int) -> None:
        self.classes_ = np.arange(classes)

    def fit(self, x: np.ndarray, y: np.ndarray) -> _Given:
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return x

    def predict(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(x.argmax(axis=1))


def conformal_sets(targets: np.ndarray, probs: np.ndarray, new: np.ndarray, *, method: str, coverage: float = COVERAGE) -> np.ndarray:
    """Return prediction sets, bool (M, K), of new faces.

    Args:
        targets: (N,) int, of the faces that calibrate; their order decides which tenth of them RAPS is regularised on.
        probs: (N, K) float, of the same.
        new: (M, K) float, of others.
        method: One of `METHODS`, or `BY_CLASS`.
        coverage: Rate at which a set shall hold the label.
    """
    if method == BY_CLASS:
        return np.asarray(new >= 1 - class_quantiles(targets, probs, coverage=coverage))
    model = SplitConformalClassifier(_Given(probs.shape[1]), confidence_level=coverage, conformity_score=method, prefit=True, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="WARNING: your conformalization dataset has less labels")  # pages report faces per class
        sets = model.conformalize(_normalised(probs), targets).predict_set(_normalised(new))[1]
    return np.asarray(sets[:, :, 0], dtype=bool)


def class_quantiles(targets: np.ndarray, probs: np.ndarray, *, coverage: float = COVERAGE) -> np.ndarray:
    """Return per class the conformal quantile of 1 - p of its faces, (K,); infinite for a class with fewer than coverage / (1 - coverage) faces."""
    quantiles = np.full(probs.shape[1], np.inf)
    for c in range(probs.shape[1]):
        scores = np.sort(1 - probs[targets == c, c].astype(np.float64))
        rank = ceil((len(scores) + 1) * coverage - 1e-9)
        if rank <= len(scores):
            quantiles[c] = scores[rank - 1]
    return quantiles


def compare_sets(held: HeldOut, *, coverage: float = COVERAGE) -> dict[str, dict[str, Any]]:
    """Return `{method: scores}` of the judging faces, calibrated on the fitting ones; see `score_sets`.

    All are missing where nothing is held out, or val has fewer than 1 / (1 - coverage) faces. APS and RAPS are where val has two expressions or one:
    MAPIE has LAC alone for them. RAPS is where a class has a single val face, or a tenth of val has fewer than that: MAPIE regularises it on a tenth.

    Args:
        held: From `hold_out`.
        coverage: Stated rate.
    """
    targets, probs, expressions = held.fitting["target"].to_numpy(), probs_of(held.fitting), expressions_of(held.fitting)
    if held.reason or len(targets) * (1 - coverage) < 1 - 1e-9:
        return {}
    counts, tenth = np.unique(targets, return_counts=True)[1], -(-len(targets) // 10)
    several = len(counts) > 2
    offered = {"aps": several, "raps": several and counts.min() > 1 and tenth * (1 - coverage) > 1 - 1e-9}
    methods = [method for method in (*METHODS, BY_CLASS) if offered.get(method, True)]
    labels = held.judging["target"].to_numpy()
    found = {}
    for method in methods:
        sets = conformal_sets(targets, probs, probs_of(held.judging), method=method, coverage=coverage)
        found[method] = score_sets(sets, labels, expressions=expressions, units=held.units)
    return found


def score_sets(sets: np.ndarray, targets: np.ndarray, *, expressions: tuple[str, ...], units: np.ndarray | None = None) -> dict[str, Any]:
    """Return what prediction sets are worth.

    Args:
        sets: (N, K) bool.
        targets: (N,) int.
        expressions: (K,) names.
        units: (N,) what intervals are over; faces by default.

    Returns:
        `n`, `coverage` with 95 % bounds, `size_mean`, `single` (fraction of sets with one class) and `empty`; `per_class: {expression: {n, coverage,
        bounds}}`, None without faces.
    """
    faces = np.arange(len(sets))
    held, sizes, units = sets[faces, targets], sets.sum(axis=1), faces if units is None else units
    per_class = {}
    for c, name in enumerate(expressions):
        of = targets == c
        per_class[name] = {"n": int(of.sum()), **_coverage(held[of], units[of])}
    shape = {"size_mean": float(sizes.mean()), "single": float((sizes == 1).mean()), "empty": float((sizes == 0).mean())}
    return {"n": len(sets), **_coverage(held, units), **shape, "per_class": per_class}


def _coverage(held: np.ndarray, units: np.ndarray) -> dict[str, float | None]:
    if not len(held):
        return dict.fromkeys(("coverage", "coverage_ci_low", "coverage_ci_high"))
    return {"coverage": float(held.mean()), **named_bounds({"coverage": cluster_proportion(held, units)})}


def _normalised(probs: np.ndarray) -> np.ndarray:
    """Return probabilities as float64 whose rows sum to 1 to its precision, as MAPIE expects."""
    wide = probs.astype(np.float64)
    return np.asarray(wide / wide.sum(axis=1, keepdims=True))
