from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from seeded_runs import table

from ferlab.evaluation.comparison import (
    compare_correctness,
    compare_pairs,
    detectable_difference,
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
