from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from ferlab.evaluation.calibration import calibration_error, log_losses, reliability_bins
from ferlab.evaluation.confusion_posterior import KEYS, confusion_metrics, draw_confusions, mean_bounds
from ferlab.evaluation.intervals import metric_intervals
from ferlab.evaluation.predictions import count_confusions, top3_hits
from ferlab.evaluation.proportions import f1_bounds, holm, newcombe, wilson
from ferlab.expressions import EXPRESSIONS

K = len(EXPRESSIONS)


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw faces whose probabilities are true: the target is drawn from them, so the population's ECE is 0."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, K)) * 1.5
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (rng.random((n, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(max=K - 1)
    return targets, probs.astype(np.float32)


def test_holm_is_that_of_statsmodels_to_the_bit(monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels calls it in every correction
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 40):
        p = rng.random(size) ** 3
        np.testing.assert_array_equal(holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_array_equal(holm([0.04, 0.01, 0.01]), multipletests([0.04, 0.01, 0.01], method="holm")[1])
    assert holm([]).shape == (0,)


def test_wilson_agrees_with_newcombes_printed_examples():
    # Newcombe (1998), Statistics in Medicine 17:857, table I: 81/263, 15/148, 0/20, 1/29.
    for (hits, n), bounds in {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611), (1, 29): (0.0061, 0.1718)}.items():
        assert wilson(hits, n) == pytest.approx(bounds, abs=5e-5)
    assert np.isnan(wilson(0, 0)).all()


def test_newcombe_agrees_with_the_printed_example():
    # Newcombe (1998), Statistics in Medicine 17:873, table II, method 10: 56/70 - 48/80.
    gap = newcombe(56, 70, other_successes=48, other_n=80)
    assert gap["difference"] == pytest.approx(0.2)
    assert (gap["ci_low"], gap["ci_high"]) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def point_metrics(targets: np.ndarray, probs: np.ndarray) -> dict[str, float]:
    """Return the estimates in float64."""
    found = confusion_metrics(count_confusions(targets, probs.argmax(axis=1), num_classes=K)[None].astype(float))
    calibrated = {"nll": log_losses(targets, probs).mean(), "ece": calibration_error(reliability_bins(targets, probs))}
    return {key: found[key][0] for key in ("accuracy", *KEYS)} | calibrated | {"top3_accuracy": top3_hits(targets, probs).mean()}


def test_every_metric_has_bounds_that_hold_it_in_the_right_order():
    targets, probs = draw(500, 0)
    bounds, metrics = metric_intervals(targets, probs, expressions=EXPRESSIONS, resamples=300), point_metrics(targets, probs)
    for key, value in metrics.items():
        assert bounds[f"{key}_ci_low"] <= value <= bounds[f"{key}_ci_high"], key
    assert set(bounds["per_class"]) == set(EXPRESSIONS)
    assert all(len(values) == 6 for values in bounds["per_class"].values())


def perfect(n: int, *, classes: int = K) -> tuple[np.ndarray, np.ndarray]:
    targets = np.arange(n) % classes
    return targets, (np.eye(K) * 0.94 + 0.06 / K).astype(np.float32)[targets]


def test_seventy_of_seventy_right_are_no_proof_of_one():
    bounds = metric_intervals(*perfect(70), expressions=EXPRESSIONS, resamples=500)
    for key in ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc"):
        assert 0.85 < bounds[f"{key}_ci_low"] < 0.99, key
        assert bounds[f"{key}_ci_high"] == 1, key
    assert bounds["ece_ci_low"] == 0  # a calibrated model is right 70 times of 70 in 2.5 % of draws


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("right", [True, False])
def test_a_few_faces_bound_little_and_never_exactly(n: int, *, right: bool):
    targets, probs = perfect(n)
    targets = targets if right else (targets + 1) % K
    bounds, metrics = metric_intervals(targets, probs, expressions=EXPRESSIONS, resamples=300), point_metrics(targets, probs)
    for key, value in metrics.items():
        low, high = bounds[f"{key}_ci_low"], bounds[f"{key}_ci_high"]
        if n == 1 and key in ("mcc", "nll"):  # a correlation of one class, the spread of one loss
            assert np.isnan([low, high]).all(), key
            continue
        assert low <= value <= high, key
        assert high - low > 0.2, key
        if key != "nll":
            assert low >= -1, key
            assert high <= 1, key


def test_classes_that_are_absent_take_no_part():
    targets, probs = perfect(40, classes=2)
    bounds = metric_intervals(targets, probs, expressions=EXPRESSIONS, resamples=500)
    assert bounds["macro_f1_ci_low"] > 0.75
    assert np.isnan(bounds["per_class"]["sad"]["recall_ci_low"])


def test_the_same_seed_gives_the_same_bounds_and_another_gives_others():
    targets, probs = draw(200, 1)
    first, again, other = (metric_intervals(targets, probs, expressions=EXPRESSIONS, resamples=200, seed=s) for s in (5, 5, 6))
    assert first == again
    assert first["macro_f1_ci_low"] != other["macro_f1_ci_low"]


def test_bounds_of_a_mean_of_one_are_its_own_and_of_equal_ones_shrink_by_the_root():
    assert mean_bounds(np.array([0.7]), [wilson(7, 10)]) == pytest.approx(wilson(7, 10))
    low, high = mean_bounds(np.full(4, 0.5), [(0.3, 0.7)] * 4)
    assert (low, high) == pytest.approx((0.4, 0.6))


def test_drawn_confusions_are_of_as_many_faces_and_surround_the_counts():
    counts = np.array([[80, 15, 5], [10, 30, 0], [0, 0, 0]])
    drawn = draw_confusions(counts, draws=4000, rng=np.random.default_rng(0))
    np.testing.assert_allclose(drawn.sum(axis=(1, 2)), 140, rtol=1e-9)
    assert (drawn[:, 2] == 0).all()
    assert drawn[:, 1].sum(axis=1).std() == pytest.approx(np.sqrt(140 * 40 / 140 * 100 / 140), rel=0.1)
    np.testing.assert_allclose(drawn.mean(axis=0), counts, atol=2)
    # As for any share: the spread of a row's hits is about that of a binomial.
    recalls = drawn[:, 0, 0] / drawn[:, 0].sum(axis=1)
    assert recalls.std() == pytest.approx(np.sqrt(0.8 * 0.2 / 100), rel=0.15)


def test_f1_bounds_hold_f1_and_do_not_collapse_where_a_class_is_never_or_always_right():
    low, high = f1_bounds(40, 60, 70)
    assert low < 2 * 40 / (60 + 70) < high
    assert f1_bounds(0, 20, 5)[1] > 0.1
    assert f1_bounds(20, 20, 20)[0] < 0.95
    assert f1_bounds(20, 20, 20)[1] == pytest.approx(1)
    assert np.isnan(f1_bounds(0, 0, 0)).all()
