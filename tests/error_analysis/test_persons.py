"""Errors by subject against SciPy and statsmodels; the overdispersion test holds its level, and finds subjects that differ."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint, proportions_chisquare

from ferlab.error_analysis.persons import FEWEST, overdispersion, rates_by_subject
from ferlab.evaluation.predictions import predictions_table

NAMES = ("angry", "fear", "sad")


def errors_of(wrong: np.ndarray, target: np.ndarray) -> pd.DataFrame:
    """Predictions with these errors, each the next expression."""
    pred = np.where(wrong, (target + 1) % 3, target)
    ids = [str(row) for row in range(len(wrong))]
    return predictions_table(ids, ["val"] * len(wrong), target, probs=np.eye(3)[pred], expressions=NAMES)


def sample(rates: np.ndarray, *, each: int = 20, seed: int = 0, expressions: int = 3) -> tuple[pd.DataFrame, np.ndarray]:
    """Faces of subjects with the given error rates."""
    rng = np.random.default_rng(seed)
    subjects = np.repeat([f"p{place:02d}" for place in range(len(rates))], each)
    target = rng.integers(0, expressions, len(subjects))
    return errors_of(rng.random(len(subjects)) < np.repeat(rates, each), target), subjects


def test_chi_square_of_faces_of_one_expression_is_that_of_scipy_and_statsmodels() -> None:
    predictions, subjects = sample(np.linspace(0.1, 0.6, 8), expressions=1)
    wrong = (predictions["target"] != predictions["pred"]).to_numpy()
    table = pd.crosstab(subjects, wrong)
    found = overdispersion(predictions, subjects)
    assert found["chi2"] == pytest.approx(stats.chi2_contingency(table, correction=False).statistic)
    assert found["chi2"] == pytest.approx(proportions_chisquare(table[True].to_numpy(), table.sum(axis=1).to_numpy())[0])
    assert (found["subjects"], found["df"], found["dispersion"]) == (8, 7, pytest.approx(found["chi2"] / 7))


def test_intraclass_correlation_is_that_of_the_analysis_of_variance() -> None:
    predictions, subjects = sample(np.linspace(0.1, 0.6, 8))
    wrong = (predictions["target"] != predictions["pred"]).to_numpy().astype(float)
    f = stats.f_oneway(*(wrong[subjects == subject] for subject in np.unique(subjects))).statistic
    found = overdispersion(predictions, subjects)
    assert found["icc"] == pytest.approx((f - 1) / (f - 1 + 20))
    assert found["icc_ci_low"] <= found["icc"] <= found["icc_ci_high"]


def test_the_test_holds_its_level_and_finds_subjects_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferlab.error_analysis.persons.DRAWS", 199)
    same = [overdispersion(*sample(np.full(12, 0.3), seed=seed))["p"] <= 0.05 for seed in range(120)]
    assert 1 <= sum(same) <= 13, "5 % of 120 are six"
    unequal = np.resize([0.1, 0.5], 12)
    assert sum(overdispersion(*sample(unequal, seed=seed))["p"] <= 0.05 for seed in range(10)) >= 9


def test_a_subjects_mix_of_expressions_is_no_difference_between_subjects() -> None:
    rng = np.random.default_rng(0)
    subjects, target = np.repeat(["a", "b"], 300), np.repeat([0, 1], 300)
    target = np.where(rng.random(600) < 0.2, 1 - target, target)  # a shows mostly angry, b mostly fear, which is hard
    predictions = errors_of(rng.random(600) < np.where(target == 1, 0.6, 0.1), target)
    found = overdispersion(predictions, subjects)
    table = pd.crosstab(subjects, predictions["target"] != predictions["pred"])
    assert stats.chi2_contingency(table).pvalue < 1e-6, "the rates differ"
    assert found["p"] > 0.05, "but not within expressions"


def test_rates_by_subject_by_hand() -> None:
    target, subjects = np.array([0, 0, 0, 1, 0, 1, 1, 1]), np.array(["a"] * 4 + ["b"] * 4)
    wrong = np.array([True, True, True, False, False, True, False, False])
    rates = rates_by_subject(errors_of(wrong, target), subjects)
    assert rates["subject"].tolist() == ["a", "b"], "highest rate first"
    first = rates.iloc[0]
    assert (first["n"], first["errors"], first["error_rate"], first["most_frequent"], first["missed"]) == (4, 3, 0.75, "angry as fear", "angry")
    assert (first["error_rate_ci_low"], first["error_rate_ci_high"]) == pytest.approx(proportion_confint(3, 4, method="wilson"))
    assert first["expected"] == pytest.approx(3 * 3 / 4 + 1 / 4), "three angry faces at 3 of 4, one of fear at 1 of 4"
    assert rates["missed"].tolist()[1] == "", f"fewer than {FEWEST} faces of an expression do not count"
    hypergeometric = 2 * (4 * 4 + 1 * 1) / 70  # of 4 errors 3 or more, or 1 or fewer, are among these 4 of 8 faces
    assert rates["p_holm"].tolist() == pytest.approx([min(1.0, 2 * hypergeometric)] * 2)


def test_nothing_is_compared_without_errors() -> None:
    predictions, subjects = sample(np.zeros(4))
    found = overdispersion(predictions, subjects)
    assert np.isnan([found["p"], found["icc"], found["chi2"]]).all()
    assert (rates_by_subject(predictions, subjects)["most_frequent"] == "").all()
