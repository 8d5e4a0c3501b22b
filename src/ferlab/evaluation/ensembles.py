"""Soft-voting ensembles: the mean probabilities of several runs, with equal weights or weights fitted on val. Without torch.

Fitted weights minimise the ensemble's NLL on val, a convex loss; greedy selection (Caruana et al.) follows accuracy, which is noisy on few
thousand faces. Weights are rounded to thousandths, as a page prints them. Their val scores are in-sample: only test shows what they are worth.

References:
    Caruana, Niculescu-Mizil, Crew & Ksikes (2004), Ensemble selection from libraries of models.
    Breiman (1996), Stacked regressions (non-negative weights from held-out predictions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import softmax

from ferlab.evaluation.comparison import correctness
from ferlab.evaluation.predictions import expressions_of, faces_in, predictions_table, probs_of
from ferlab.paths import InputError
from ferlab.roles import planned, recorded

ENSEMBLE, WEIGHTED = "ensemble", "fitted ensemble"  # members of equal weight, and of weights fitted on val
LEAST = 1e-12  # a member's probability of the true class; keeps the loss finite where all members predict 0
DIGITS = 3

Members = Mapping[str, Sequence[str]]  # set -> runs
Weights = Mapping[str, Mapping[str, float]]  # set -> run -> weight


def soft_voting(tables: Mapping[str, pd.DataFrame], weights: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return the predictions table of an ensemble: the mean of its members' probabilities, weighted by `weights` (None: equally).

    Raises:
        InputError: If the members were not scored on the same faces, or a weight is missing or negative.
    """
    for split in next(iter(tables.values()))["split"].unique() if tables else ():
        correctness(tables, split)
    probs, first = mean_probs({name: probs_of(table) for name, table in tables.items()}, weights), next(iter(tables.values()))
    known = {"expressions": expressions_of(first), "subjects": first.get("subject")}
    return predictions_table(first["face_id"], first["split"], first["target"].to_numpy(), probs=probs, **known)


def mean_probs(probs: Mapping[str, np.ndarray], weights: Mapping[str, float] | None = None) -> np.ndarray:
    """Return the mean of the members' probabilities, (N, K) each, weighted by `weights` (None: equally), float64 (N, K).

    Raises:
        InputError: If a weight is missing or negative.
    """
    given = dict.fromkeys(probs, 1.0) if weights is None else dict(weights)
    total = sum(given.values())
    if set(given) != set(probs) or not (min(given.values(), default=-1) >= 0 and 0 < total < np.inf):
        raise InputError(f"expected one weight of 0 or more per member ({', '.join(probs)}), not all 0, got {given}")
    return np.asarray(sum(given[name] / total * member.astype(np.float64) for name, member in probs.items()))


def ensembles_per_set(predictions: Mapping[str, pd.DataFrame], members: Members, weights: Weights) -> dict[str, dict[str, pd.DataFrame]]:
    """Return the ensembles of each set that has two members or more: `ENSEMBLE`, and `WEIGHTED` where weights are given."""
    found = {}
    for name, runs in members.items():
        if len(runs) > 1:
            tables = {run: predictions[run] for run in runs}
            found[name] = {ENSEMBLE: soft_voting(tables)} | ({WEIGHTED: soft_voting(tables, weights[name])} if name in weights else {})
    return found


def weights_per_set(
    predictions: Mapping[str, pd.DataFrame], members: Members, metrics: Mapping[str, Mapping[str, Any]], *, how: str = "fitted"
) -> dict[str, dict[str, float]]:
    """Return the weights of each set's members, fitted on val; empty where params ask for "equal" ones (`how`).

    Raises:
        InputError: If a member was trained on val, so that its predictions there are in-sample, or selected on test.
    """
    ensembles = {name: runs for name, runs in members.items() if len(runs) > 1} if how == "fitted" else {}
    wanted = planned("val", refit=False)
    seen = [run for runs in ensembles.values() for run in runs if recorded(metrics[run]).beyond(wanted)]
    if seen:
        raise InputError(
            f"compare.weights: fitted: {', '.join(seen)} was trained on val or selected on test, so its weight cannot be fitted on val; give "
            "`select: val` and `refit: false` to these runs and train them again, leave them out of compare.ensemble, or set compare.weights: equal"
        )
    return {name: fit_weights({run: predictions[run] for run in runs}) for name, runs in ensembles.items()}


def fit_weights(tables: Mapping[str, pd.DataFrame]) -> dict[str, float]:
    """Return the weights with the least NLL on val, per member, 0 to 1, summing to 1 but for rounding. Only the rows of val are read.

    Raises:
        InputError: If there are no faces of val, or the members were not scored on the same ones.
    """
    correctness(tables, "val")
    held_out = [faces_in(table, "val") for table in tables.values()]
    truths = np.stack([probs_of(rows)[np.arange(len(rows)), rows["target"]] for rows in held_out], axis=1)  # (N, members)
    return {name: round(float(weight), DIGITS) for name, weight in zip(tables, least_nll(truths.astype(np.float64)), strict=True)}


def least_nll(truths: np.ndarray) -> np.ndarray:
    """Return the weights (M,), not negative and summing to 1, that minimise the mean of -log(truths @ weights).

    `truths`, float64 (N, M), are the members' probabilities of each face's true class.
    """
    truths = np.maximum(truths, LEAST)

    def loss(scores: np.ndarray) -> tuple[float, np.ndarray]:
        weights = softmax(scores)
        mixed = truths @ weights
        slopes = -(truths / mixed[:, None]).mean(axis=0)  # by weight
        return float(-np.log(mixed).mean()), weights * (slopes - weights @ slopes)  # by score

    found = minimize(loss, np.zeros(truths.shape[1]), jac=True, method="L-BFGS-B", options={"ftol": 1e-13, "gtol": 1e-8, "maxiter": 2000})
    return np.asarray(softmax(found.x))
