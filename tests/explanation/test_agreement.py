"""Rank correlations between metrics: SciPy's, perfect and opposed metrics, and intervals that cover at their rate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau, spearmanr

from ferlab.explanation.agreement import agreement_over_faces, agreement_over_methods, mean_agreement

METHODS = list("abcde")


def table(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, columns=METHODS[: values.shape[1]])


def test_correlation_over_faces_is_the_mean_of_scipys_over_methods():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(20, 3)), rng.normal(size=(20, 3))
    found = agreement_over_faces({"x": table(first), "y": table(second)}, clusters=range(20)).iloc[0]
    assert found["correlation"] == pytest.approx(np.mean([spearmanr(first[:, c], second[:, c]).statistic for c in range(3)]))
    assert found["n"] == 20


def test_correlation_over_methods_is_scipys_tau_of_the_means():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(20, 5)), rng.normal(size=(20, 5))
    found = agreement_over_methods({"x": table(first), "y": table(second)}, clusters=range(20)).iloc[0]
    assert found["correlation"] == pytest.approx(kendalltau(first.mean(axis=0), second.mean(axis=0)).statistic)
    assert found["n"] == 5


def test_a_metric_agrees_with_itself_and_opposes_its_negative():
    values = np.random.default_rng(0).normal(size=(15, 4))
    pairs = agreement_over_faces({"x": table(values), "same": table(3 * values), "opposed": table(-values)}, clusters=range(15))
    np.testing.assert_allclose(pairs["correlation"], [1, -1, -1])
    assert mean_agreement(pairs) == pytest.approx({"pairs": 3, "mean": -1 / 3, "positive": 1, "negative": 2, "weak": 2})


def test_faces_and_methods_without_a_score_are_excluded_and_few_faces_give_nothing():
    values = np.random.default_rng(0).normal(size=(15, 3))
    holed = table(values.copy())
    holed.iloc[:3] = np.nan
    pairs = agreement_over_faces({"x": table(values), "y": holed, "few": table(values).iloc[:5]}, clusters=range(15))
    assert pairs[["first", "second", "n"]].to_numpy().tolist() == [["x", "y", 12]]
    assert agreement_over_methods({"x": table(values), "y": table(values)}, clusters=range(15)).empty


def test_the_order_of_faces_changes_no_correlation():
    rng = np.random.default_rng(0)
    first, second, order = table(rng.normal(size=(15, 3))), table(rng.normal(size=(15, 3))), rng.permutation(15)
    plain = agreement_over_faces({"x": first, "y": second}, clusters=range(15))
    permuted = agreement_over_faces({"x": first.iloc[order], "y": second}, clusters=range(15))
    assert plain.loc[0, "correlation"] == pytest.approx(permuted.loc[0, "correlation"])


@pytest.mark.parametrize("copies", [1, 3])
def test_intervals_cover_no_correlation_at_about_their_rate(copies):
    """Three faces of a subject that are the same tell no more than one; as independent faces their intervals would cover at 0.75."""
    covered, clusters = [], np.repeat(np.arange(20), copies)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x, y = (table(rng.normal(size=(20, 2))[clusters]) for _ in range(2))
        row = agreement_over_faces({"x": x, "y": y}, clusters=clusters, resamples=100).iloc[0]
        covered.append(row["correlation_ci_low"] <= 0 <= row["correlation_ci_high"])
    assert 0.9 <= np.mean(covered) <= 1
