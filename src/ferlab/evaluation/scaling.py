"""Whether a scaling of the probabilities, fitted on val, helps on test: metrics before and after, and paired differences.

The difference in NLL is a mean over faces. Chance adds more to the ECE of a calibrated model than to that of another: intervals of a difference
in ECE, plain or debiased, covered 69 to 94 % in simulation. So calibration is compared by the squared calibration error, whose debiased estimate
has no bias (91 to 99 %). Intervals are over faces, or over subjects where faces name them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ferlab.evaluation.calibration import ECE_BINS, confidence_bins, debias_squares, debiased_squared_error, log_losses, reliability_bins
from ferlab.evaluation.clusters import count_clusters
from ferlab.evaluation.comparison import difference_by_cluster
from ferlab.evaluation.held_out import HeldOut
from ferlab.evaluation.paired import bootstrap_difference, mean_difference, named_difference, unit_weights
from ferlab.evaluation.predictions import probs_of
from ferlab.evaluation.temperature import fit_temperature, scale, temperature_bounds
from ferlab.evaluation.vector_scaling import fit_by_class, scale_by_class

DRAWS = 1000  # behind a standard error
FEWEST_WRONG = 5  # faces: with fewer the temperature is undetermined


def why_unfitted(held: HeldOut) -> str:
    """Return why no scaling is fitted; "" where one is."""
    if held.reason:
        return held.reason
    wrong = int((held.fitting["pred"] != held.fitting["target"]).sum())
    return f"{wrong} of {len(held.fitting):,} val faces are wrong, too few to fit a temperature" if wrong < FEWEST_WRONG else ""


def scale_held_out(held: HeldOut) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the probabilities of the judging faces by scaling, (N, K) each, and what was fitted on the fitting faces.

    Returns:
        `none`, and where they are fitted `temperature` and `vector`; and `temperature` with bounds, `weights` and `biases` per class, or none.
    """
    probs = probs_of(held.judging)
    if why_unfitted(held):
        return {"none": probs}, {}
    targets, fitting = held.fitting["target"].to_numpy(), probs_of(held.fitting)
    temperature, (low, high) = fit_temperature(targets, fitting), temperature_bounds(targets, fitting)
    weights, biases = fit_by_class(targets, fitting)
    scaled = {"none": probs, "temperature": scale(probs, temperature), "vector": scale_by_class(probs, weights, biases)}
    fitted = {"temperature": temperature, "temperature_ci_low": low, "temperature_ci_high": high}
    return scaled, fitted | {"weights": weights.tolist(), "biases": biases.tolist()}


def compare_scalings(
    targets: np.ndarray, scaled: Mapping[str, np.ndarray], units: np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, dict[str, dict[str, float]]]:
    """Return `{scaling: {nll, squared_error, accuracy: paired difference}}` of every scaling, minus `none`: of the first two negative where it helps.

    Args:
        targets: (N,) int.
        scaled: From `scale_held_out`.
        units: (N,) what intervals are over.
        draws: Of the bootstrap behind the standard error of the squared error.
        seed: Of the draws.
    """
    correct = {name: (probs.argmax(axis=1) == targets).astype(np.float64) for name, probs in scaled.items()}
    losses = {name: log_losses(targets, probs) for name, probs in scaled.items()}
    errors = {name: debiased_squared_error(reliability_bins(targets, probs)) for name, probs in scaled.items()}
    drawn = _drawn_errors(targets, scaled, units, draws=draws, seed=seed)
    return {
        name: {
            "accuracy": _accuracy_difference(correct[name] - correct["none"], units),
            "nll": mean_difference(losses[name] - losses["none"], units),
            "squared_error": bootstrap_difference(errors[name] - errors["none"], drawn[name] - drawn["none"], units=units),
        }
        for name in scaled
        if name != "none"
    }


def _accuracy_difference(differences: np.ndarray, units: np.ndarray) -> dict[str, float]:
    """Return `difference`, its 95 % bounds and p of paired differences of hits, (N,) from -1 to 1."""
    mean = float(differences.mean())
    if count_clusters(units) < 2:
        return named_difference(mean, float("nan"), m=1)
    found = difference_by_cluster(differences, units)
    return {"difference": mean, "difference_ci_low": found["ci_low"], "difference_ci_high": found["ci_high"], "p": found["p"]}


def _drawn_errors(targets: np.ndarray, scaled: Mapping[str, np.ndarray], units: np.ndarray, *, draws: int, seed: int) -> dict[str, np.ndarray]:
    """Return the squared calibration error of each scaling under the same drawn weights of faces, (draws,)."""
    columns = {name: _bin_columns(targets, probs) for name, probs in scaled.items()}
    sums = [{name: weights @ each for name, each in columns.items()} for weights in unit_weights(units, draws=draws, seed=seed)]
    return {name: _debiased(np.concatenate([each[name] for each in sums]).astype(np.float64)) for name in scaled}


def _bin_columns(targets: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Return faces, hits and confidence of each face in the column of its bin, (N, 3 * bins) float32."""
    confidences, hits = probs.max(axis=1), probs.argmax(axis=1) == targets
    members = np.eye(ECE_BINS, dtype=np.float32)[confidence_bins(confidences)]
    return np.hstack([members, members * hits[:, None], members * confidences[:, None]]).astype(np.float32)


def _debiased(sums: np.ndarray) -> np.ndarray:
    """Return `debiased_squared_error` of drawn faces, (draws,), from the sums (draws, 3 * bins) of `_bin_columns`."""
    faces, hits, claimed = np.split(sums, 3, axis=1)
    held = np.maximum(faces, 1)
    return debias_squares(faces, hits / held, claimed / held)
