"""Selective prediction: which confidence score ranks correct faces above misclassified ones, so that a model that abstains errs less.

Faces are accepted from the highest score on. The risk at a coverage is the error rate of the faces accepted so far; equal scores are accepted
together. AURC is the mean risk over coverages, and excess AURC what it exceeds that of a score that ranks every correct face first. Scores are
compared on the same faces, each with the largest probability, by a paired bootstrap of faces or subjects, p values Holm-corrected.

References:
    El-Yaniv & Wiener (2010), On the foundations of noise-free selective classification (risk and coverage).
    Geifman, Uziel & El-Yaniv (2019), Bias-reduced uncertainty estimation for deep neural classifiers, arXiv 1805.08206 (AURC, excess AURC).
    Geifman & El-Yaniv (2017), arXiv 1705.08500: `ferlab.evaluation.abstention` finds a threshold with a guarantee.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ferlab.evaluation.held_out import HeldOut
from ferlab.evaluation.paired import bootstrap_difference, percentile_bounds, unit_weights
from ferlab.evaluation.proportions import holm

RISKS = (0.05, 0.1)
DRAWS = 1000
FEWEST_WRONG = 5  # faces: with fewer a bootstrap does not see how often the model errs
BASELINE = "max_softmax"  # the score that others are compared with


class Curve(NamedTuple):
    """Faces accepted and misclassified from the highest score on, float64 (..., G) each, at each of G different scores."""

    accepted: np.ndarray
    wrong: np.ndarray

    def risk(self) -> np.ndarray:
        """Return the error rate of the accepted faces, (..., G); 0 where none is accepted."""
        return np.divide(self.wrong, self.accepted, out=np.zeros_like(self.accepted), where=self.accepted > 0)

    def aurc(self) -> np.ndarray:
        """Return the area under the risk-coverage curve, (...)."""
        steps = np.diff(self.accepted, axis=-1, prepend=0)
        return np.asarray((steps * self.risk()).sum(axis=-1) / self.accepted[..., -1])

    def excess(self) -> np.ndarray:
        """Return the AURC minus that of a score that ranks every correct face before every wrong one, (...); for unweighted faces."""
        n, wrong = self.accepted[..., -1], self.wrong[..., -1]
        ranks = np.arange(1, int(n.max()) + 1)
        best = np.maximum(0, ranks - (n - wrong)[..., None]) / ranks
        return np.asarray(self.aurc() - best.mean(axis=-1))

    def coverage_at(self, risk: float) -> np.ndarray:
        """Return the largest fraction of faces that are accepted at an error rate of at most `risk`, (...); 0 where there is none."""
        return np.asarray((self.accepted * (self.risk() <= risk)).max(axis=-1) / self.accepted[..., -1])


def confidence_scores(probs: np.ndarray) -> dict[str, np.ndarray]:
    """Return scores of probabilities (N, K), float64 (N,) each: `max_softmax`, `margin` over the second largest, and `entropy`, negated."""
    wide = np.asarray(probs, dtype=np.float64)
    ordered = np.sort(wide, axis=1)
    entropy = (wide * np.log(np.where(wide > 0, wide, 1))).sum(axis=1)
    return {BASELINE: ordered[:, -1], "margin": ordered[:, -1] - ordered[:, -2], "entropy": entropy}


def risk_coverage(scores: np.ndarray, wrong: np.ndarray, weights: np.ndarray | None = None) -> Curve:
    """Return the curve of (N,) scores; `weights`: how often each face counts, (..., N), once each by default.

    >>> float(risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([False, True, False, False])).aurc())
    0.2708333333333333
    """
    order = np.argsort(-scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.inf))
    counts = np.ones(len(scores)) if weights is None else weights
    counts = counts[..., order].astype(np.float64)
    groups = (np.add.reduceat(each, starts, axis=-1) if len(starts) < len(order) else each for each in (counts, counts * wrong[order]))
    return Curve(*(each.cumsum(axis=-1) for each in groups))


def score_selective(held: HeldOut, scaled: Mapping[str, np.ndarray], *, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """Return `split`, `n`, `wrong` and `by_subject` of the faces that judge, and `scores`, as `compare_scores`, of `scores_of`."""
    wrong = (held.judging["pred"] != held.judging["target"]).to_numpy()
    scores = compare_scores(scores_of(scaled), wrong, held.units, draws=draws, seed=seed)
    return {"split": held.judged, "n": len(wrong), "wrong": int(wrong.sum()), "by_subject": held.by_subject, "scores": scores}


def scores_of(scaled: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the scores of probabilities by scaling: those of `none`, and where there is one the largest after temperature scaling, `scaled`."""
    after = {"scaled": scaled["temperature"].max(axis=1).astype(np.float64)} if "temperature" in scaled else {}
    return confidence_scores(scaled["none"]) | after


def curves_of(held: HeldOut, scaled: Mapping[str, np.ndarray]) -> dict[str, pd.DataFrame]:
    """Return the risk-coverage curve of each score on the faces that judge."""
    wrong = (held.judging["pred"] != held.judging["target"]).to_numpy()
    return {name: curve_table(scores, wrong) for name, scores in scores_of(scaled).items()}


def compare_scores(
    scores: Mapping[str, np.ndarray], wrong: np.ndarray, units: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Return per score `aurc`, `excess_aurc`, `coverage_at_5`, `coverage_at_10` with 95 % bounds, and the paired difference from the baseline.

    Args:
        scores: Name -> (N,) score of each face; the first is the baseline.
        wrong: (N,) bool, whether the prediction is.
        units: (N,) what intervals are over.
        draws: Of the bootstrap.
        seed: Of the draws.

    Returns:
        `{score: values}`; of others than the baseline also `difference` (of AURC, negative where better) with bounds, `p` and `p_holm`. Bounds
        and p are None where fewer than five faces are wrong.
    """
    found: dict[str, dict[str, Any]] = {name: _values(risk_coverage(each, wrong)) for name, each in scores.items()}
    if wrong.sum() >= FEWEST_WRONG:
        _add_bounds(found, scores, wrong=wrong, units=units, drawn=unit_weights(units, draws=draws, seed=seed))
    return found


def curve_table(scores: np.ndarray, wrong: np.ndarray) -> pd.DataFrame:
    """Return the risk-coverage curve as `coverage` and `risk`, a row for each different score."""
    curve = risk_coverage(scores, wrong)
    return pd.DataFrame({"coverage": curve.accepted / len(scores), "risk": curve.risk()})


def _values(curve: Curve) -> dict[str, Any]:
    at = {f"coverage_at_{100 * risk:g}": float(curve.coverage_at(risk)) for risk in RISKS}
    return {"aurc": float(curve.aurc()), "excess_aurc": float(curve.excess()), **at}


def _add_bounds(found: dict[str, dict[str, Any]], scores: Mapping[str, np.ndarray], *, wrong: np.ndarray, units: np.ndarray, drawn: Any) -> None:
    names = list(scores)
    parts: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in names}
    for weights in drawn:
        for name in names:
            curve = risk_coverage(scores[name], wrong, weights)
            parts[name].append({"aurc": curve.aurc()} | {f"coverage_at_{100 * risk:g}": curve.coverage_at(risk) for risk in RISKS})
    draws = {name: {key: np.concatenate([part[key] for part in each]) for key in each[0]} for name, each in parts.items()}
    for name in names:
        for key, values in draws[name].items():
            low, high = percentile_bounds(found[name][key], values, units=units) if np.ptp(values) else (np.nan, np.nan)
            found[name] |= {f"{key}_ci_low": low, f"{key}_ci_high": high}
    baseline, others = names[0], names[1:]
    for name in others:
        difference = found[name]["aurc"] - found[baseline]["aurc"]
        found[name] |= bootstrap_difference(difference, draws[name]["aurc"] - draws[baseline]["aurc"], units=units)
    corrected = holm([found[name]["p"] for name in others])
    for name, p in zip(others, corrected, strict=True):
        found[name]["p_holm"] = float(p)
