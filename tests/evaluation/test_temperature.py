"""Temperature scaling against scikit-learn, by hand, and on simulated models of known miscalibration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression

from ferlab.evaluation import temperature as module
from ferlab.evaluation.temperature import HIGHEST, LOWEST, fit_temperature, folds_of, scale, temperature_bounds


def simulated(n: int, *, temperature: float, seed: int = 0, k: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Return targets drawn from softmax(logits), and softmax(logits * temperature): what undoes it is that temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, k))
    true = softmax(logits, axis=1)
    targets = (rng.random(n)[:, None] > true.cumsum(axis=1)).sum(axis=1).clip(max=k - 1)
    return targets, softmax(logits * temperature, axis=1).astype(np.float32)


def test_scaling_is_the_softmax_of_divided_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (50, 7))
    for temperature in (0.3, 1.0, 2.5):
        np.testing.assert_allclose(scale(softmax(logits, axis=1), temperature), softmax(logits / temperature, axis=1), atol=1e-7)


def test_scaling_by_hand() -> None:
    np.testing.assert_allclose(scale(np.array([[0.8, 0.2]]), 2.0), [[2 / 3, 1 / 3]], atol=1e-7)  # the root of 4 is 2
    np.testing.assert_allclose(scale(np.array([[0.5, 0.5, 0.0]]), 3.0), [[0.5, 0.5, 0.0]], atol=1e-7)
    assert scale(np.zeros((0, 7), np.float32), 2.0).shape == (0, 7)


@settings(max_examples=200, deadline=None)
@given(arrays(np.float32, (4, 5), elements=st.floats(0, 1, width=32)), st.floats(LOWEST, HIGHEST))
def test_no_temperature_changes_a_prediction(weights, temperature) -> None:
    probs = (weights + np.float32(1e-6)) / (weights + np.float32(1e-6)).sum(axis=1, keepdims=True)
    scaled = scale(probs, temperature)
    np.testing.assert_array_equal(scaled.argmax(axis=1), probs.argmax(axis=1))
    np.testing.assert_allclose(scaled.sum(axis=1), 1, atol=1e-5)


def test_a_near_tie_keeps_its_order() -> None:
    second = np.nextafter(np.float32(0.3), np.float32(1))
    assert scale(np.array([[0.3, second, 0.4 - 0.05, 0.05 - 1e-8]], np.float32), 20.0).argmax() == 2
    assert scale(np.array([[0.3, second, 0.2, 0.2]], np.float32), 20.0).argmax() == 1


def test_the_fit_is_the_logistic_regression_without_intercept() -> None:
    """With two classes, 1/T is the coefficient of a logistic regression on the difference of the log-probabilities."""
    targets, probs = simulated(4000, temperature=1.8, k=2)
    odds = np.log(probs[:, 1].astype(float) / probs[:, 0])
    fitted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(odds[:, None], targets)
    assert fit_temperature(targets, probs) == pytest.approx(1 / fitted.coef_[0, 0], rel=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_fit_finds_the_temperature_that_spoilt_a_model(temperature) -> None:
    targets, probs = simulated(20_000, temperature=temperature)
    assert fit_temperature(targets, probs) == pytest.approx(temperature, rel=0.03)


def test_the_interval_covers_the_true_temperature() -> None:
    covered = 0
    for seed in range(100):
        low, high = temperature_bounds(*simulated(200, temperature=1.5, seed=seed))
        covered += low <= 1.5 <= high
    assert 88 <= covered <= 100


def test_the_fit_lies_at_a_bound_where_all_faces_are_right_or_wrong() -> None:
    probs = np.array([[0.6, 0.4], [0.3, 0.7]])
    assert fit_temperature(np.array([0, 1]), probs) == pytest.approx(LOWEST, rel=1e-3)
    assert fit_temperature(np.array([1, 0]), probs) == pytest.approx(HIGHEST, rel=1e-3)
    assert temperature_bounds(np.array([0, 1]), probs)[0] == LOWEST


def test_folds_are_equal_in_size() -> None:
    assert np.bincount(folds_of(30, folds=3)).tolist() == [10, 10, 10]


def test_the_likelihood_drops_by_half_the_quantile_of_chi_squared() -> None:
    assert pytest.approx(chi2.ppf(0.95, 1) / 2, abs=1e-6) == module.LIKELIHOOD_DROP
