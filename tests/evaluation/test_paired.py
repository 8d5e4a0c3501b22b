"""Differences and bootstrap intervals over faces and subjects."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap, ttest_rel

from ferlab.evaluation.paired import bootstrap_difference, mean_difference, percentile_bounds, unit_weights


def faces(n: int) -> np.ndarray:
    return np.array([f"f{i:04d}" for i in range(n)])


def test_over_faces_the_mean_difference_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.3, 1, 80), rng.normal(0, 1, 80)
    found, expected = mean_difference(a - b, faces(80)), ttest_rel(a, b)
    assert (found["difference"], found["p"]) == pytest.approx((np.mean(a - b), expected.pvalue))
    assert (found["difference_ci_low"], found["difference_ci_high"]) == pytest.approx(tuple(expected.confidence_interval()))


def test_subjects_are_drawn_with_all_of_their_faces_as_often_as_there_are_subjects() -> None:
    units = np.array(["b", "a", "b", "c", "a", "b"])
    weights = np.concatenate(list(unit_weights(units, draws=500)))
    assert weights.shape == (500, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert weights.mean() == pytest.approx(1, abs=0.05)


def test_draws_follow_units_and_not_rows(monkeypatch) -> None:
    units, order = np.repeat(faces(10), 2), np.random.default_rng(1).permutation(20)
    one = np.concatenate(list(unit_weights(units, draws=30)))
    np.testing.assert_array_equal(np.concatenate(list(unit_weights(units[order], draws=30))), one[:, order])
    monkeypatch.setattr("ferlab.evaluation.paired.CELLS", 100)
    np.testing.assert_array_equal(np.concatenate(list(unit_weights(units, draws=30))), one)


def test_standard_error_and_percentiles_are_scipys() -> None:
    values = np.random.default_rng(2).exponential(size=400)
    drawn = np.concatenate([weights @ values for weights in unit_weights(faces(400), draws=4000)]) / 400
    reference = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0))
    found = bootstrap_difference(float(values.mean()), drawn, units=faces(400))
    half = (found["difference_ci_high"] - found["difference_ci_low"]) / 2
    assert half == pytest.approx(1.966 * reference.standard_error, rel=0.06)
    assert percentile_bounds(float(values.mean()), drawn, units=faces(400)) == pytest.approx(tuple(reference.confidence_interval), abs=0.01)


def test_few_subjects_widen_the_interval_and_one_has_none() -> None:
    drawn = np.random.default_rng(3).normal(size=2000)
    wide, narrow = (np.ptp(percentile_bounds(0.0, drawn, units=faces(m))) for m in (5, 500))
    assert wide > 1.3 * narrow
    assert np.isnan(percentile_bounds(0.0, drawn, units=np.repeat("a", 9))).all()
    assert np.isnan(mean_difference(drawn[:9], np.repeat("a", 9))["p"])


def test_equal_statistics_are_no_difference_and_equal_units_a_sign_test() -> None:
    equal, alike = (mean_difference(values, faces(9)) for values in (np.zeros(9), np.ones(9)))
    assert (equal["difference"], equal["p"]) == (0, 1)
    assert (alike["difference"], alike["p"]) == (1, pytest.approx(2 * 0.5**9))
    for found in (equal, alike):
        assert np.isnan([found["difference_ci_low"], found["difference_ci_high"]]).all(), "no spread gives no interval, rather than one without width"
