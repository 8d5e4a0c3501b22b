"""The threshold of a stated risk: bounds against SciPy, counts by hand, and the guarantee by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from ferlab.evaluation.abstention import Acceptance, find_threshold, judge_threshold, upper_bound


def drawn(n: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated confidences, uniform from 0.3 to 1, and whether each is right."""
    rng = np.random.default_rng(seed)
    confidences = rng.uniform(0.3, 1, n)
    return confidences, rng.random(n) < confidences


def test_the_bound_is_clopper_and_pearsons() -> None:
    assert upper_bound(7, 100, share=0.05) == pytest.approx(proportion_confint(7, 100, alpha=0.1, method="beta")[1])
    assert binom.cdf(7, 100, upper_bound(7, 100, share=0.05)) == pytest.approx(0.05)
    assert upper_bound(0, 0, share=0.05) == upper_bound(3, 3, share=0.05) == 1


def test_counts_on_other_faces_by_hand() -> None:
    confidences, correct = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array([True, False, True, True, False])
    found = judge_threshold(confidences, correct, threshold=0.7)
    assert (found["n"], found["accepted"], found["wrong"]) == (5, 3, 1)
    assert (found["coverage"], found["error_rate"]) == (pytest.approx(0.6), pytest.approx(1 / 3))
    assert (found["error_rate_ci_low"], found["error_rate_ci_high"]) == pytest.approx(proportion_confint(1, 3, method="wilson"))
    assert judge_threshold(confidences, correct, threshold=0.95)["error_rate"] is None
    assert judge_threshold(confidences, correct, threshold=np.array([1, 0, 1, 0, 1]))["accepted"] == 2


def test_new_faces_above_the_threshold_keep_the_risk_in_nineteen_of_twenty_draws() -> None:
    """The true error rate of confidences above t is (1 - t) / 2: at most 10 % means t of at least 0.8."""
    found = [find_threshold(*drawn(2000, seed=seed), risk=0.1) for seed in range(200)]
    thresholds = np.array([each.threshold for each in found if each])
    assert (thresholds < 0.8).sum() <= 200 * 0.05 + 3 * np.sqrt(200 * 0.05 * 0.95)
    assert len(thresholds) > 170, "a threshold exists, and is found in most draws"
    assert np.median(thresholds) < 0.89, "it must not be needlessly high"


def test_the_counts_are_those_of_the_stated_threshold() -> None:
    confidences, correct = drawn(500, seed=3)
    found = find_threshold(confidences, correct, risk=0.2)
    kept = confidences >= found.threshold
    assert (found.n, found.accepted, found.wrong) == (500, int(kept.sum()), int((kept & ~correct).sum()))
    assert found.wrong / found.accepted < found.upper <= 0.2
    assert found.threshold == round(found.threshold, 6)


def test_all_are_accepted_where_all_together_keep_the_risk() -> None:
    assert find_threshold(np.linspace(0.3, 1, 400), np.ones(400, bool), risk=0.1) == Acceptance(0.0, 400, 0, 400, pytest.approx(0.0119, abs=1e-4))


def test_no_threshold_where_none_keeps_the_risk() -> None:
    assert find_threshold(np.linspace(0.3, 1, 400), np.zeros(400, bool), risk=0.1) is None
    assert find_threshold(np.linspace(0.3, 1, 10), np.ones(10, bool), risk=0.1) is None, "ten faces prove nothing at 10 %"


def test_equal_confidences_are_accepted_together() -> None:
    confidences = np.repeat([0.9, 0.5], 200)
    correct = np.repeat([True, False], 200)
    assert find_threshold(confidences, correct, risk=0.1).accepted == 200
