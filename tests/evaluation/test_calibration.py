from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import foldnorm
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from ferlab.evaluation.calibration import (
    ECE_BINS,
    brier,
    brier_bounds,
    calibration_error,
    classwise_bounds,
    classwise_errors,
    debiased_error,
    debiased_squared_error,
    ece_bounds,
    ece_if_calibrated,
    reliability_bins,
)
from ferlab.evaluation.calibration_scores import score_calibration
from ferlab.evaluation.metrics import compute_metrics


def draw(n: int = 1500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(4) * 0.6, size=n).astype(np.float32)
    return rng.integers(0, 4, n), probs


def test_bins_agree_with_scikit_learn():
    targets, probs = draw()
    bins = reliability_bins(targets, probs)
    filled = bins[bins["faces"] > 0]
    accuracy, confidence = calibration_curve(probs.argmax(axis=1) == targets, probs.max(axis=1), n_bins=ECE_BINS)
    np.testing.assert_allclose(filled["accuracy"], accuracy)
    np.testing.assert_allclose(filled["confidence"], confidence, rtol=1e-6)


def test_the_error_of_the_bins_is_the_ece():
    targets, probs = draw()
    expected = compute_metrics(targets, probs, expressions=tuple("abcd"))["ece"]
    assert calibration_error(reliability_bins(targets, probs)) == pytest.approx(expected, abs=1e-6)


def test_no_face_is_lost_and_empty_bins_stay():
    targets, probs = draw(40)
    bins = reliability_bins(targets, probs)
    assert len(bins) == ECE_BINS
    assert bins["faces"].sum() == 40
    assert bins.loc[bins["faces"] == 0, "accuracy"].isna().all()


def test_equal_mass_bins_hold_equal_numbers_of_faces():
    targets, probs = draw(1500)
    bins = reliability_bins(targets, probs, equal_mass=True)
    assert bins["faces"].tolist() == [100] * ECE_BINS
    assert (bins["high"].to_numpy()[:-1] <= bins["low"].to_numpy()[1:]).all()


def test_brier_is_twice_scikit_learns_for_two_classes():
    probs = np.array([[0.8, 0.2], [0.3, 0.7]], dtype=np.float64)
    assert brier(np.array([0, 0]), probs) == pytest.approx(2 * brier_score_loss([0, 0], probs[:, 1], labels=[0, 1]))
    assert brier(np.array([0, 0]), probs) == pytest.approx((0.04 + 0.04 + 0.49 + 0.49) / 2)


def test_chance_makes_an_ece_that_shrinks_with_faces():
    few, many = ece_if_calibrated(draw(100)[1]), ece_if_calibrated(draw(10_000)[1])
    assert few["mean"] > 5 * many["mean"]
    assert few["mean"] < few["high"]
    assert ece_if_calibrated(np.eye(4, dtype=np.float32))["mean"] == 0


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def sharpened(n: int, *, sharpness: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return faces whose labels follow softmax(z), and probabilities softmax(sharpness * z)."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, 5))
    true = softmax(logits).cumsum(axis=1)
    return (rng.random(n)[:, None] > true).sum(axis=1).clip(max=4), softmax(sharpness * logits)


def test_classwise_errors_are_those_of_scikit_learns_curve_of_each_class():
    targets, probs = draw()
    for c, error in enumerate(classwise_errors(targets, probs)):
        rates, means = calibration_curve(targets == c, probs[:, c].astype(np.float64), n_bins=ECE_BINS)
        faces = np.bincount(np.minimum((probs[:, c] * ECE_BINS).astype(int), ECE_BINS - 1), minlength=ECE_BINS)
        assert error == pytest.approx((faces[faces > 0] * np.abs(rates - means)).sum() / len(targets), abs=1e-6)


def test_debiased_errors_by_hand():
    """One bin of 11 faces, 5 right, at confidence 0.7: the variance of the accuracy is 5/11 * 6/11 / 10."""
    bins = reliability_bins(np.repeat([0, 1], [5, 6]), np.tile(np.float32([0.7, 0.3]), (11, 1)))
    gap, variance = 0.7 - 5 / 11, 5 / 11 * 6 / 11 / 10
    assert debiased_squared_error(bins) == pytest.approx(gap**2 - variance, abs=1e-6)
    folded = foldnorm(gap / variance**0.5, scale=variance**0.5).mean()
    assert debiased_error(bins) == pytest.approx(2 * gap - folded, abs=1e-6)


@pytest.mark.parametrize("sharpness", [1.0, 1.6])
def test_debiased_errors_do_not_grow_on_few_faces(sharpness):
    """The plain ECE of 200 faces is too large by 0.02 to 0.08; the debiased one by less, the squared one by nothing."""
    truth = sharpened(200_000, sharpness=sharpness, seed=1)
    bins = [reliability_bins(*sharpened(200, sharpness=sharpness, seed=seed)) for seed in range(60)]
    exact = reliability_bins(*truth)
    squared = np.array([debiased_squared_error(each) for each in bins])
    assert squared.mean() == pytest.approx(debiased_squared_error(exact), abs=3 * squared.std() / 60**0.5)
    plain, debiased = (np.mean([error(each) for each in bins]) - error(exact) for error in (calibration_error, debiased_error))
    assert abs(debiased) < 0.75 * plain


def test_the_order_of_rows_changes_nothing():
    targets, probs = draw(300)
    order = np.random.default_rng(1).permutation(300)
    one, other = (score_calibration(targets[rows], probs[rows], resamples=200) for rows in (np.arange(300), order))
    drawn = ("ece_if_calibrated", "ece_if_calibrated_high", "brier_ci_low", "brier_ci_high")
    assert {key: other[key] for key in other if key not in drawn} == pytest.approx({key: one[key] for key in one if key not in drawn}, abs=1e-9)
    assert all(abs(other[key] - one[key]) < 0.01 for key in drawn)


@pytest.mark.slow
@pytest.mark.parametrize("sharpness", [1.0, 0.7, 2.0])
def test_intervals_of_brier_equal_mass_and_classwise_ece_hold_the_truth(sharpness):
    truth = sharpened(400_000, sharpness=sharpness, seed=1)
    score = brier(*truth)
    ece, classwise = (0.0, 0.0) if sharpness == 1 else (calibration_error(reliability_bins(*truth)), classwise_errors(*truth).mean())
    held = []
    for seed in range(60):
        faces = sharpened(300, sharpness=sharpness, seed=100 + seed)
        found = (brier_bounds(*faces, draws=300, seed=seed), ece_bounds(*faces, equal_mass=True, seed=seed), classwise_bounds(*faces, seed=seed))
        held.append([low <= true <= high for true, (low, high) in zip((score, ece, classwise), found, strict=True)])
    assert (np.mean(held, axis=0) >= [0.9, 0.9, 0.85]).all(), np.mean(held, axis=0)
