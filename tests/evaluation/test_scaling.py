"""Scalings against known truths, and whether they help."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from held_out_faces import held_out

from ferlab.evaluation.calibration import debiased_squared_error, log_losses, reliability_bins
from ferlab.evaluation.comparison import paired_difference_bounds
from ferlab.evaluation.predictions import probs_of
from ferlab.evaluation.scaling import compare_scalings, scale_held_out, why_unfitted
from ferlab.evaluation.temperature import fit_temperature, scale
from ferlab.evaluation.vector_scaling import PRIOR, fit_by_class, scale_by_class


def drawn(n: int, weights, biases, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels that follow the scaling of probabilities by known weights and biases, and these probabilities."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(4), n).astype(np.float32)
    true = scale_by_class(probs, np.array(weights), np.array(biases)).astype(np.float64)
    return (rng.random(n)[:, None] > true.cumsum(axis=1)).sum(axis=1).clip(max=3), probs


def test_known_weights_and_biases_are_found() -> None:
    weights, biases = [0.5, 1.0, 1.5, 0.8], [0.5, -0.5, 0.3, -0.3]
    found = fit_by_class(*drawn(20_000, weights, biases))
    np.testing.assert_allclose(found[0], weights, atol=0.1)
    np.testing.assert_allclose(found[1] - found[1].mean(), biases, atol=0.1)


def test_the_fit_meets_the_conditions_of_the_optimum() -> None:
    """Without the prior the mean probability of each class is its frequency; the prior moves it by bias / (n * prior variance)."""
    targets, probs = drawn(500, [0.5, 1.0, 1.5, 0.8], [1.0, -1.0, 0.0, 0.0])
    weights, biases = fit_by_class(targets, probs)
    scaled = scale_by_class(probs, weights, biases).astype(np.float64)
    np.testing.assert_allclose(scaled.sum(axis=0) - np.bincount(targets, minlength=4), -biases / PRIOR**2, atol=1e-2)
    at = log_losses(targets, scaled).mean()
    for step in (np.array([0.2, 0, 0, 0]), np.array([0, 0, -0.2, 0])):
        assert log_losses(targets, scale_by_class(probs, weights + step, biases)).mean() > at
        assert log_losses(targets, scale_by_class(probs, weights, biases + step)).mean() > at


def test_equal_weights_are_a_temperature_and_a_class_without_faces_stays_bounded() -> None:
    targets, probs = drawn(300, [1, 1, 1, 1], [0, 0, 0, 0])
    np.testing.assert_allclose(scale_by_class(probs, np.full(4, 0.5), np.zeros(4)), scale(probs, 2.0), atol=1e-6)
    weights, biases = fit_by_class(np.where(targets == 3, 0, targets), probs)
    assert biases[3] == biases.min() > -6
    assert np.ptp(weights) < 3
    assert scale_by_class(np.zeros((0, 4), np.float32), weights, biases).shape == (0, 4)
    certain = scale_by_class(np.eye(4, dtype=np.float32), weights, biases)
    np.testing.assert_allclose(certain.sum(axis=1), 1, atol=1e-6)


def test_val_alone_fits_and_an_underconfident_model_is_helped_on_test() -> None:
    held = held_out(900, temperature=0.5)
    scaled, fitted = scale_held_out(held)
    assert fitted["temperature"] == pytest.approx(fit_temperature(held.fitting["target"].to_numpy(), probs_of(held.fitting)))
    np.testing.assert_array_equal(scaled["temperature"], scale(probs_of(held.judging), fitted["temperature"]))
    found = compare_scalings(held.judging["target"].to_numpy(), scaled, held.units)
    for name in ("temperature", "vector"):
        assert found[name]["nll"]["difference_ci_high"] < 0
        assert found[name]["squared_error"]["difference_ci_high"] < 0
    unlabelled = held.judging.assign(target=0)
    again = scale_held_out(replace(held, judging=unlabelled))
    assert again[1] == fitted, "test labels fit nothing"


def test_few_wrong_faces_fit_nothing() -> None:
    held = held_out(60, spread=60.0)
    assert "too few to fit a temperature" in why_unfitted(held)
    assert list(scale_held_out(held)[0]) == ["none"]


def test_differences_are_those_of_the_metrics_in_any_order_of_rows() -> None:
    held = held_out(300, temperature=0.6, subjects=12)
    targets, (scaled, _) = held.judging["target"].to_numpy(), scale_held_out(held)
    found = compare_scalings(targets, scaled, held.units, draws=200)
    nll, squared = ({name: measure(targets, probs) for name, probs in scaled.items()} for measure in (
        lambda t, p: log_losses(t, p).mean(), lambda t, p: debiased_squared_error(reliability_bins(t, p))))  # fmt: skip
    assert found["temperature"]["nll"]["difference"] == pytest.approx(nll["temperature"] - nll["none"])
    assert found["vector"]["squared_error"]["difference"] == pytest.approx(squared["vector"] - squared["none"])
    order = np.random.default_rng(0).permutation(300)
    moved = compare_scalings(targets[order], {name: probs[order] for name, probs in scaled.items()}, held.units[order], draws=200)
    for name, keys in found.items():
        for key, values in keys.items():
            assert moved[name][key] == pytest.approx(values, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.5, 0.8])
def test_intervals_of_the_differences_hold_the_truth(temperature) -> None:
    """An interval of the difference in ECE covers 69 to 94 %."""

    def differences(targets, probs, units):
        return compare_scalings(targets, {"none": probs, "exact": scale(probs, temperature)}, units, draws=200)["exact"]

    whole = held_out(200_000, temperature=temperature).judging
    targets, probs = whole["target"].to_numpy(), probs_of(whole)
    nll = float((log_losses(targets, scale(probs, temperature)) - log_losses(targets, probs)).mean())
    truth = {"nll": nll, "squared_error": -debiased_squared_error(reliability_bins(targets, probs))}
    held = []
    for seed in range(1, 81):
        part = held_out(400, temperature=temperature, seed=seed)
        found = differences(part.judging["target"].to_numpy(), probs_of(part.judging), part.units)
        held.append([found[key]["difference_ci_low"] <= true <= found[key]["difference_ci_high"] for key, true in truth.items()])
    assert (np.mean(held, axis=0) >= 0.89).all(), np.mean(held, axis=0)


def test_where_a_scaling_changes_no_prediction_the_difference_in_accuracy_has_the_width_of_its_faces() -> None:
    rng = np.random.default_rng(0)
    targets, probs = rng.integers(0, 4, 50), rng.dirichlet(np.ones(4), 50)
    for units, width in ((np.arange(50), 50), (np.repeat(np.arange(5), 10), 5)):
        found = compare_scalings(targets, {"none": probs, "vector": probs.copy()}, units, draws=20)["vector"]
        low, high = paired_difference_bounds(0, 0, width)
        assert (found["accuracy"]["difference_ci_low"], found["accuracy"]["difference_ci_high"]) == (low, high)
        assert np.isnan(found["nll"]["difference_ci_low"])
    assert np.isnan(compare_scalings(targets, {"none": probs, "vector": probs}, np.zeros(50), draws=20)["vector"]["accuracy"]["p"])
