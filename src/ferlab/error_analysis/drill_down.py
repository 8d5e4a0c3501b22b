"""The worst cells of the confusion matrix, by count and by rate: their numbers, and which of their faces are shown and explained."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.evaluation.clusters import proportion_bounds
from ferlab.evaluation.intervals import named_bounds
from ferlab.evaluation.predictions import expressions_of, probs_of, subjects_of

SHOWN = 3  # faces in a row
NEAR = 0.05  # between the probabilities of two expressions, a near tie
FEWEST = 3  # errors of a pair that leads by rate alone


def worst_pairs(pairs: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (target, pred) of the pair that leads by count, and after it the one that leads by rate where that has other expressions and at least
    FEWEST faces; none without errors.

    Args:
        pairs: From `rank_confusions`.
    """
    found: list[tuple[str, str]] = []
    for by in ("count", "rate"):
        leaders = pairs[pairs[f"rank_by_{by}"] == 1]
        for row in leaders.itertuples():
            known = {frozenset(pair) for pair in found}
            if frozenset((row.target, row.pred)) not in known and (by == "count" or row.count >= FEWEST):
                found.append((row.target, row.pred))
    return found


def pair_facts(predictions: pd.DataFrame, target: str, pred: str) -> dict[str, float]:
    """Return the numbers of one confused pair; 95 % intervals are over the subjects that the table names, else over faces.

    Returns:
        `count`, `support` and `rate` with its interval; over its errors the means `confidence` (probability of the prediction) and `margin` (that
        less the probability of the label), how many have a margin below NEAR (`near_ties`) or the label as second most probable expression
        (`second_correct`), and `second_rate` of the latter with its interval; `confidence_correct` (mean over the correctly classified faces of the
        label, NaN without any); `count_back`, how many faces of `pred` are predicted as `target`.
    """
    names, probs = list(expressions_of(predictions)), probs_of(predictions).astype(np.float64)
    true, guess = predictions["target"].to_numpy(), predictions["pred"].to_numpy()
    t, g = names.index(target), names.index(pred)
    own, correct = (true == t) & (guess == g), (true == t) & (guess == t)
    second = np.argsort(-probs[own], axis=1, kind="stable")[:, 1] == t
    count, support, subjects = int(own.sum()), int((true == t).sum()), subjects_of(predictions)
    rates = {"rate": (own[true == t], true == t), "second_rate": (second, own)}
    bounds = {key: proportion_bounds(hits, subjects, rows=of) for key, (hits, of) in rates.items()}
    return {
        "count": count,
        "support": support,
        "rate": count / support,
        **named_bounds(bounds),
        "confidence": float(probs[own, g].mean()),
        "margin": float((probs[own, g] - probs[own, t]).mean()),
        "near_ties": int((probs[own, g] - probs[own, t] < NEAR).sum()),
        "second_correct": int(second.sum()),
        "second_rate": float(second.mean()),
        "confidence_correct": float(probs[correct, t].mean()) if correct.any() else float("nan"),
        "count_back": int(((true == g) & (guess == t)).sum()),
    }


def pair_rows(predictions: pd.DataFrame, target: str, pred: str) -> dict[str, list[int]]:
    """Return which faces of a pair are shown, rows of `predictions` by the name of their kind; kinds without faces are missing.

    Both directions have their most confident errors and their typical ones, of median confidence among the rest; beside them stand correctly
    classified faces of median confidence. At most SHOWN faces of each kind.
    """
    names, probs = list(expressions_of(predictions)), probs_of(predictions)
    true, guess = predictions["target"].to_numpy(), predictions["pred"].to_numpy()
    confidence = probs[np.arange(len(probs)), guess]
    kinds: dict[str, list[int]] = {}
    for one, other in ((target, pred), (pred, target)):
        o, p = names.index(one), names.index(other)
        errors = np.flatnonzero((true == o) & (guess == p))
        errors = errors[np.argsort(-confidence[errors], kind="stable")]
        most = errors[: SHOWN if len(errors) > SHOWN else len(errors) // 2]
        kinds[f"{one} as {other}, typical"] = _middle(errors[len(most) :], confidence)
        kinds[f"{one} as {other}, most confident"] = most.tolist()
        kinds[f"{one}, correct"] = _middle(np.flatnonzero((true == o) & (guess == o)), confidence)
    return {kind: rows for kind, rows in kinds.items() if rows}


def explained_rows(predictions: pd.DataFrame, pairs: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of `predictions` and class ids (M,) to explain: the first face of every kind, for both classes of its pair."""
    names, chosen = list(expressions_of(predictions)), []
    for pair in pairs:
        for rows in pair_rows(predictions, *pair).values():
            chosen += [(rows[0], names.index(name)) for name in pair]
    once = np.array(list(dict.fromkeys(chosen)), dtype=np.int64).reshape(-1, 2)
    return once[:, 0], once[:, 1]


def _middle(rows: np.ndarray, values: np.ndarray) -> list[int]:
    """Return the rows around the median of their values, nearest first."""
    if not len(rows):
        return []
    away = np.abs(values[rows] - np.median(values[rows]))
    return rows[np.argsort(away, kind="stable")[:SHOWN]].tolist()
