from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from ferlab.evaluation.calibration import ECE_BINS, brier, calibration_error, ece_if_calibrated, reliability_bins
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
