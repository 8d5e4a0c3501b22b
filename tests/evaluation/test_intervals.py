from __future__ import annotations

import numpy as np
import pytest

from ferlab.evaluation.intervals import (
    cluster_intervals,
    cluster_weights,
    f1_bounds,
    mean_recall_bounds,
    metric_intervals,
    newcombe,
    percentile_bounds,
    reflected_bounds,
    stratified_weights,
    wilson,
)
from ferlab.evaluation.weighted_metrics import point_metrics
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError

K = len(EXPRESSIONS)
PRIVATE = np.array([491, 55, 528, 879, 594, 416, 626])


def draw(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw faces whose probabilities are true: the target is drawn from them, so the population's ECE is 0."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, K)) * 1.5
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = (rng.random((n, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(max=K - 1)
    return targets, probs.astype(np.float32)


def sharpen(targets: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    powers = probs**1.3
    return targets, (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


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
    with pytest.raises(InputError, match="both groups"):
        newcombe(0, 0, other_successes=1, other_n=2)


def test_every_metric_has_bounds_that_hold_it_in_the_right_order():
    targets, probs = draw(500, 0)
    bounds, metrics = metric_intervals(targets, probs, expressions=EXPRESSIONS, resamples=300), point_metrics(targets, probs)
    for key, value in metrics.items():
        assert bounds[f"{key}_ci_low"] <= value <= bounds[f"{key}_ci_high"], key
    assert set(bounds["per_class"]) == set(EXPRESSIONS)
    assert all(len(values) == 6 for values in bounds["per_class"].values())


def test_the_same_seed_gives_the_same_bounds_and_another_gives_others():
    targets, probs = draw(200, 1)
    first, again, other = (metric_intervals(targets, probs, expressions=EXPRESSIONS, resamples=200, seed=s) for s in (5, 5, 6))
    assert first == again
    assert first["macro_f1_ci_low"] != other["macro_f1_ci_low"]


def test_stratified_resamples_keep_the_class_counts():
    targets = np.repeat(np.arange(3), [5, 1, 20])
    weights = np.concatenate(list(stratified_weights(targets, resamples=50, seed=0)))
    assert weights.shape == (50, 26)
    for c, n in enumerate([5, 1, 20]):
        assert (weights[:, targets == c].sum(axis=1) == n).all()


def test_faces_of_one_subject_are_drawn_together():
    members = np.array([0, 0, 1, 2, 2, 2])
    weights = np.concatenate(list(cluster_weights(members, num_clusters=3, resamples=40, seed=0)))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_bounds_over_subjects_are_wider_where_subjects_differ():
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(12), 40)
    right = rng.random(480) < np.where(subjects % 2, 0.95, 0.3)
    targets = rng.integers(0, K, 480)
    probs = np.eye(K, dtype=np.float32)[np.where(right, targets, (targets + 1) % K)]
    by_subject = cluster_intervals(targets, probs, subjects, resamples=500)
    low, high = wilson(int(right.sum()), 480)
    assert by_subject["subjects"] == 12
    assert by_subject["accuracy_ci_high"] - by_subject["accuracy_ci_low"] > 2 * (high - low)
    with pytest.raises(InputError, match="at least two"):
        cluster_intervals(targets, probs, np.zeros(480), resamples=100)


def test_mean_recall_bounds_of_one_class_are_wilsons_and_absent_classes_do_not_count():
    assert mean_recall_bounds(np.array([7, 0]), np.array([10, 0])) == pytest.approx(wilson(7, 10))
    low, high = mean_recall_bounds(np.array([3, 50]), np.array([3, 100]))
    assert high > low
    assert low < 0.6  # three of three is no proof of 100 %


def test_f1_bounds_hold_f1_and_do_not_collapse_where_a_class_is_never_or_always_right():
    low, high = f1_bounds(40, 60, 70)
    assert low < 2 * 40 / (60 + 70) < high
    assert f1_bounds(0, 20, 5)[1] > 0.1
    assert f1_bounds(20, 20, 20)[0] < 0.95
    assert f1_bounds(20, 20, 20)[1] == pytest.approx(1)
    assert np.isnan(f1_bounds(0, 0, 0)).all()


def test_reflected_bounds_mirror_percentiles_and_never_fall_below_zero():
    values = np.linspace(0.1, 0.2, 1001)
    low, high = percentile_bounds(values)
    assert (low, high) == pytest.approx((0.1025, 0.1975))
    assert reflected_bounds(values, 0.15) == pytest.approx((0.1025, 0.1975))
    assert reflected_bounds(values, 0.05) == pytest.approx((0.0, 0.05))


def test_undefined_resamples_are_skipped_unless_they_are_most():
    assert percentile_bounds(np.array([np.nan, 1.0, 1.0])) == (1.0, 1.0)
    assert np.isnan(percentile_bounds(np.array([np.nan, np.nan, 1.0]))).all()


def test_too_few_resamples_are_refused():
    targets, probs = draw(30, 0)
    with pytest.raises(InputError, match="at least 100"):
        metric_intervals(targets, probs, expressions=EXPRESSIONS, resamples=10)


@pytest.mark.slow
def test_ninety_five_percent_bounds_hold_the_truth_about_that_often():
    """200 faces of an overconfident net, the truth from 200,000; percentiles would hold the ECE of .08 hardly ever."""
    truth = point_metrics(*sharpen(*draw(200_000, 12345)))
    held: dict[str, list[bool]] = {}
    for seed in range(120):
        targets, probs = sharpen(*draw(200, seed))
        bounds = metric_intervals(targets, probs, expressions=EXPRESSIONS, resamples=300, seed=seed)
        for key in truth:
            held.setdefault(key, []).append(bounds[f"{key}_ci_low"] <= truth[key] <= bounds[f"{key}_ci_high"])
    assert all(np.mean(hits) > 0.8 for hits in held.values()), {key: float(np.mean(hits)) for key, hits in held.items()}


def test_two_thousand_resamples_of_the_private_test_take_seconds():
    import time

    targets = np.repeat(np.arange(K), PRIVATE)
    probs = np.random.default_rng(0).dirichlet(np.ones(K), size=len(targets)).astype(np.float32)
    start = time.process_time()
    metric_intervals(targets, probs, expressions=EXPRESSIONS, resamples=2000)
    assert time.process_time() - start < 10  # about 0.3 measured; CPU seconds, because wall time swings
