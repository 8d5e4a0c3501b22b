"""What probabilities are worth on a set of faces, and how scalings fitted on val change it on test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.calibration import (
    brier,
    brier_bounds,
    calibration_error,
    classwise_bounds,
    classwise_errors,
    debiased_error,
    debiased_squared_error,
    ece_bounds,
    ece_if_calibrated,
    log_losses,
    nll_bounds,
    reliability_bins,
    squared_distances,
)
from ferlab.evaluation.clusters import mean_bounds, proportion_bounds
from ferlab.evaluation.held_out import HeldOut
from ferlab.evaluation.intervals import RESAMPLES, named_bounds
from ferlab.evaluation.scaling import compare_scalings, why_unfitted


def score_calibration(
    targets: np.ndarray, probs: np.ndarray, *, subjects: np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float]:
    """Return what probabilities are worth beside `nll` and `ece`, with 95 % bounds over faces; of the Brier score over subjects (N,) where given.

    Returns:
        `ece_equal_mass`, `ece_classwise` and `brier` with bounds; `ece_debiased` (the bounds of `ece` are for it too), `squared_error_debiased`,
        and `ece_if_calibrated` with its 95 % quantile, `ece_if_calibrated_high`.
    """
    bins, chance = reliability_bins(targets, probs), ece_if_calibrated(probs, seed=seed)
    bounds = {
        "ece_equal_mass": ece_bounds(targets, probs, equal_mass=True, seed=seed),
        "ece_classwise": classwise_bounds(targets, probs, seed=seed),
        "brier": (
            brier_bounds(targets, probs, draws=resamples, seed=seed)
            if subjects is None
            else mean_bounds(squared_distances(targets, probs), subjects, least=0.0, most=2.0)
        ),
    }
    return {
        "ece_equal_mass": calibration_error(reliability_bins(targets, probs, equal_mass=True)),
        "ece_classwise": float(classwise_errors(targets, probs).mean()),
        "ece_debiased": debiased_error(bins),
        "squared_error_debiased": debiased_squared_error(bins),
        "ece_if_calibrated": chance["mean"],
        "ece_if_calibrated_high": chance["high"],
        "brier": brier(targets, probs),
        **named_bounds(bounds),
    }


def score_scalings(
    held: HeldOut, scaled: Mapping[str, np.ndarray], fitted: Mapping[str, Any], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """Return how scalings change the probabilities of the faces that judge.

    Args:
        held: From `hold_out`.
        scaled: Probabilities by scaling, from `scale_held_out`.
        fitted: Its parameters, from the same.
        resamples: Random draws behind the bounds.
        seed: Of the draws.

    Returns:
        `split` and `n` of the judging faces, `by_subject`, `fitted_n` and `reason` (why nothing is fitted, or ""); what was fitted; `scores:
        {scaling: {accuracy, nll, ece, ...}}`, bounds of ECEs over faces, the others over subjects where they are known; and `differences` from
        `none`, as `compare_scalings`.
    """
    targets, reason = held.judging["target"].to_numpy(), why_unfitted(held)
    subjects = held.units if held.by_subject else None
    scores = {}
    for name, probs in scaled.items():
        hits, losses = probs.argmax(axis=1) == targets, log_losses(targets, probs)
        bounds = {
            "accuracy": proportion_bounds(hits, subjects),
            "nll": nll_bounds(targets, probs, draws=resamples, seed=seed) if subjects is None else mean_bounds(losses, subjects, least=0.0),
            "ece": ece_bounds(targets, probs, seed=seed),
        }
        scores[name] = {
            "accuracy": float(hits.mean()),
            "nll": float(losses.mean()),
            "ece": calibration_error(reliability_bins(targets, probs)),
            **named_bounds(bounds),
            **score_calibration(targets, probs, subjects=subjects, resamples=resamples, seed=seed),
        }
    differences = compare_scalings(targets, scaled, held.units, seed=seed)
    judged = {"split": held.judged, "n": len(targets), "by_subject": held.by_subject}
    return {**judged, "fitted_n": 0 if reason else len(held.fitting), "reason": reason, **fitted, "scores": scores, "differences": differences}


def bins_by_scaling(held: HeldOut, scaled: Mapping[str, np.ndarray]) -> dict[str, pd.DataFrame]:
    """Return the reliability bins of the faces that judge, by scaling."""
    return {name: reliability_bins(held.judging["target"].to_numpy(), probs) for name, probs in scaled.items()}
