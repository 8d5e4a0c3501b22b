from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, ttest_rel
from seeded_runs import table

from ferlab.evaluation.comparison import (
    compare_correctness,
    compare_pairs,
    detectable_difference,
    difference_by_cluster,
    paired_difference_bounds,
    spread_over_seeds,
)
from ferlab.paths import InputError


def outcome(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


def test_mcnemar_is_the_binomial_test_of_the_discordant_faces():
    compared = compare_correctness(*outcome(50, 15, 4, 31))
    assert compared["p_exact"] == pytest.approx(binomtest(4, 19, 0.5).pvalue)
    assert compared["difference"] == pytest.approx(0.11)
    assert (compared["only_a"], compared["only_b"], compared["n"]) == (15, 4, 100)


def test_mid_p_of_the_printed_example():
    # Fagerland, Lydersen & Laake (2013), table 1 (airway hyper-responsiveness): 1, 1, 7, 12; exact .0703, mid-p .0391.
    compared = compare_correctness(*outcome(1, 1, 7, 12))
    assert compared["p_exact"] == pytest.approx(0.0703, abs=5e-5)
    assert compared["p_mid"] == pytest.approx(0.0391, abs=5e-5)


def test_equal_runs_differ_by_nothing():
    compared = compare_correctness(*outcome(30, 0, 0, 10))
    assert (compared["difference"], compared["p_exact"], compared["p_mid"]) == (0, 1, 1)
    assert compare_correctness(*outcome(30, 6, 6, 10))["p_mid"] == 1
    low, high = paired_difference_bounds(0, 0, 40)
    assert low == pytest.approx(-high)


def test_detectable_differences_at_the_size_of_the_private_test():
    found = [round(100 * detectable_difference(share, 3589), 2) for share in (0.05, 0.1, 0.15, 0.2)]
    assert found == [1.05, 1.48, 1.81, 2.09]


def test_more_tests_need_larger_differences():
    one, many = (detectable_difference(0.1, 3589, tests=tests) for tests in (1, 36))
    # z of .05/36, two-sided, is 3.197 (normal table), of .05 1.960; of 80 % power .842.
    assert many / one == pytest.approx((3.197 + 0.842) / (1.960 + 0.842), rel=1e-3)
    pairs = compare_pairs({"a": table(1), "b": table(2), "c": table(3)})
    row = pairs.iloc[0]
    assert row["detectable"] == pytest.approx(detectable_difference((row["only_a"] + row["only_b"] + 1) / (row["n"] + 2), row["n"], tests=3))
    assert detectable_difference(1.0, 1) == 1


@pytest.mark.parametrize("n", [1, 3, 60])
def test_a_run_that_is_always_right_where_the_other_is_wrong_bounds_no_exact_one(n: int):
    low, high = paired_difference_bounds(n, 0, n)
    assert low < 1 == high
    assert paired_difference_bounds(0, n, n) == pytest.approx((-1, -low))


def test_faces_of_one_person_count_as_persons():
    rng = np.random.default_rng(3)
    persons = np.repeat(np.arange(8), 25)
    b = rng.random(200) < 0.6
    a = np.where(np.isin(persons, [0, 1]), True, b)  # better on two persons, the same on the others
    by_face, by_person = compare_correctness(a, b), compare_correctness(a, b, subjects=persons)
    assert by_face["p_exact"] < 1e-4
    assert by_person["p_subjects"] > 0.05
    # Equal persons: the paired t test of their accuracies.
    means = [pd.Series(x.astype(float)).groupby(persons).mean() for x in (a, b)]
    expected = ttest_rel(*means)
    assert by_person["p_subjects"] == pytest.approx(expected.pvalue)
    assert (by_person["ci_low"], by_person["ci_high"]) == pytest.approx(tuple(expected.confidence_interval()))
    assert by_person["detectable"] > 2 * by_face["detectable"]
    assert np.isnan(by_face["p_subjects"])


def test_pairs_of_tables_that_name_subjects_are_tested_by_subject():
    tables = {name: table(seed).assign(subject=lambda rows: [f"p{i % 5}" for i in range(len(rows))]) for name, seed in (("a", 1), ("b", 2))}
    row = compare_pairs(tables).iloc[0]
    assert row["subjects"] == 5
    assert row["p_holm"] == row["p_subjects"]


def test_where_all_persons_differ_alike_a_sign_test_decides():
    told = difference_by_cluster(np.ones(12), np.repeat(np.arange(4), 3))
    assert told["p"] == pytest.approx(2 / 2**4)
    assert told["ci_low"] < 1 == told["ci_high"]
    nothing = difference_by_cluster(np.zeros(12), np.repeat(np.arange(4), 3))
    assert nothing["p"] == 1
    assert nothing["ci_low"] < 0 < nothing["ci_high"]


def test_holm_multiplies_the_smallest_p_by_the_number_of_pairs():
    pairs = compare_pairs({"a": table(1, skill=2, n=200), "b": table(2, skill=1, n=200), "c": table(3, skill=0, n=200)})
    assert len(pairs) == 3
    smallest = pairs["p_exact"].idxmin()
    assert pairs.loc[smallest, "p_holm"] == pytest.approx(min(1, 3 * pairs.loc[smallest, "p_exact"]))
    assert (pairs["p_holm"] >= pairs["p_exact"]).all()
    # Step down by hand: the k-th smallest of three times (3, 2, 1), never falling.
    by_hand = np.minimum(1, np.maximum.accumulate(np.sort(pairs["p_exact"]) * [3, 2, 1]))
    np.testing.assert_allclose(np.sort(pairs["p_holm"]), by_hand)


def test_one_run_makes_no_pair():
    assert compare_pairs({"a": table(1)}).empty


def test_runs_on_other_faces_are_not_compared():
    with pytest.raises(InputError, match="not scored on the same test faces"):
        compare_pairs({"a": table(1), "b": table(2, prefix="g")})


def test_spread_is_over_the_seeds_of_a_group_within_a_set():
    runs = pd.DataFrame(
        {"set": ["x", "x", "x", "y"], "group": ["g", "g", "h", "g"], "test.accuracy": [0.6, 0.7, 0.5, 0.9]}
    )
    spread = spread_over_seeds(runs, ["test.accuracy"])
    assert spread[["set", "group", "seeds"]].values.tolist() == [["x", "g", 2], ["x", "h", 1], ["y", "g", 1]]
    assert spread["test.accuracy_mean"].tolist() == pytest.approx([0.65, 0.5, 0.9])
    assert spread["test.accuracy_sd"].iloc[0] == pytest.approx(np.sqrt(0.005))
    assert spread["test.accuracy_sd"].iloc[1:].isna().all()
    trained = spread_over_seeds(runs.assign(**{"test.role": ["trained", "untouched", "trained", "selected_on"]}), ["test.accuracy"])
    assert trained["test.accuracy_mean"].fillna(-1).tolist() == [0.7, -1, 0.9]


def test_clusters_that_all_differ_alike_are_bounded_as_one_face_each():
    found = difference_by_cluster(np.ones(12), np.repeat(np.arange(4), 3))
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((0.1677, 1.0), abs=1e-4)  # (4.5 - 0.5) / 6, less 1.96 sqrt(5 - 16 / 6) / 6
    assert found["p"] == 2 * 0.5**4  # a sign test
