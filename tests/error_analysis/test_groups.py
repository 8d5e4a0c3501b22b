"""Rates against hand counts and scikit-learn, tests against Cochran-Mantel-Haenszel and against planted and absent gaps on control faces."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from sklearn.metrics import balanced_accuracy_score
from statsmodels.stats.contingency_tables import StratifiedTable

from ferlab import control
from ferlab.error_analysis.groups import (
    compare_conditions,
    compare_expressions,
    group_rates,
    known_faces,
    permutation_p,
    permute,
    recalls_by_group,
)
from ferlab.error_analysis.planted_gaps import plant_gaps
from ferlab.error_analysis.slices import by_fifths, by_group
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.proportions import wilson
from ferlab.paths import InputError

NAMES = ("angry", "happy", "sad")
SEVEN = tuple("abcdefg")


def predicted(targets: np.ndarray, wrong: np.ndarray, *, names: tuple[str, ...] = NAMES) -> pd.DataFrame:
    """Return predictions that are wrong where told."""
    targets = np.asarray(targets)
    probs = np.full((len(targets), len(names)), 0.2 / (len(names) - 1))
    probs[np.arange(len(targets)), np.where(wrong, (targets + 1) % len(names), targets)] = 0.8
    return predictions_table([f"f{i}" for i in range(len(targets))], ["val"] * len(targets), targets, probs=probs, expressions=names)


def quick_p(groups: pd.Series, predictions: pd.DataFrame, *, subjects: np.ndarray | None = None, seed: int = 0) -> float:
    """Return the p of `compare_conditions` under few permutations, without its gaps."""
    faces, _ = known_faces("c", groups, predictions, subjects=subjects)
    return permutation_p(permute(np.random.default_rng(seed), faces, permutations=199)[0])


def counted(*groups: tuple[int, int]) -> tuple[pd.Series, pd.DataFrame]:
    """Return a condition of groups given by (faces, errors), of one expression, and the predictions."""
    numbers = np.repeat(np.arange(len(groups)), [n for n, _ in groups])
    wrong = np.concatenate([np.arange(n) < errors for n, errors in groups])
    return by_group(pd.Series(numbers)), predicted(np.zeros(len(wrong), int), wrong)


def test_rates_equal_the_hand_counted_ones() -> None:
    occluder = by_group(pd.Series(["bar", "none", "none", "bar", "hand", None]))
    predictions = predicted([0, 0, 1, 1, 0, 2], [True, False, True, True, False, True])
    table = group_rates({"occluder": occluder}, predictions).set_index("group")
    assert table.index.tolist() == ["none", "bar", "hand"]
    assert table["n"].tolist() == [2, 2, 1]
    assert table["errors"].tolist() == [1, 2, 0]
    assert table["error_rate"].tolist() == [0.5, 1.0, 0.0]
    # Of the five faces in a group, angry (3) has one error, happy (2) two.
    np.testing.assert_allclose(table["expected"], [(1 / 3 + 1) / 2, (1 / 3 + 1) / 2, 1 / 3])
    assert table["absent"].tolist() == [0, 0, 1]
    assert (table.loc["none", "ci_low"], table.loc["none", "ci_high"]) == wilson(1, 2)
    with pytest.raises(InputError, match="expected 4 faces in 'occluder', got 6"):
        group_rates({"occluder": occluder}, predictions[:4])


def test_balanced_accuracy_and_gaps_equal_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    codes, targets = rng.integers(0, 3, 400), rng.choice(3, 400, p=[0.7, 0.2, 0.1])
    predictions, slices = predicted(targets, rng.random(400) < 0.3 + 0.1 * codes), {"c": by_group(pd.Series(codes))}
    by_hand = [balanced_accuracy_score(targets[codes == g], predictions["pred"][codes == g]) for g in range(3)]
    rates, test = group_rates(slices, predictions), compare_conditions(slices, predictions).loc[0]
    np.testing.assert_allclose(rates["balanced_accuracy"], by_hand)
    assert (rates["balanced_accuracy_ci_low"] < rates["balanced_accuracy"]).all()
    assert (rates["balanced_accuracy"] < rates["balanced_accuracy_ci_high"]).all()
    assert test["gap"] == pytest.approx(np.ptp(rates["error_rate"]))
    assert test["ratio"] == pytest.approx(rates["error_rate"].min() / rates["error_rate"].max())
    assert test["balanced_gap"] == pytest.approx(np.ptp(by_hand))
    assert test["balanced_ratio"] == pytest.approx(min(by_hand) / max(by_hand))


def test_p_is_near_the_chi_square_test_where_groups_are_large() -> None:
    groups, predictions = counted((400, 120), (500, 130), (600, 190))
    errors = np.array([120, 130, 190])
    expected = chi2_contingency(np.stack([errors, [400, 500, 600] - errors]), correction=False).pvalue
    assert compare_conditions({"c": groups}, predictions).loc[0, "p"] == pytest.approx(expected, abs=0.02)


def test_p_is_near_the_cochran_mantel_haenszel_test() -> None:
    rng = np.random.default_rng(2)
    for shift in (0.0, 0.06):
        targets = rng.integers(0, 3, 900)
        codes = (rng.random(900) < np.array([0.2, 0.5, 0.8])[targets]).astype(int)
        wrong = rng.random(900) < np.array([0.1, 0.3, 0.5])[targets] + shift * codes
        strata = [[[np.sum(wrong[(targets == e) & (codes == g)] == w) for w in (0, 1)] for g in (0, 1)] for e in range(3)]
        expected = StratifiedTable([np.array(table) for table in strata]).test_null_odds(correction=True).pvalue
        found = compare_conditions({"c": by_group(pd.Series(codes))}, predicted(targets, wrong)).loc[0, "p"]
        assert found == pytest.approx(expected, abs=0.02)  # counts are discrete: with the correction for continuity


def test_groups_that_differ_in_their_expressions_alone_are_not_found() -> None:
    rng, rejected, raw = np.random.default_rng(3), 0, 0
    for _ in range(60):
        targets = rng.integers(0, 3, 300)
        codes = (rng.random(300) < np.array([0.1, 0.5, 0.9])[targets]).astype(int)
        wrong = rng.random(300) < np.array([0.05, 0.3, 0.6])[targets]
        rejected += quick_p(by_group(pd.Series(codes)), predicted(targets, wrong)) <= 0.05
        raw += chi2_contingency(pd.crosstab(codes, wrong)).pvalue <= 0.05
    assert rejected <= 8  # of 60, 3 expected
    assert raw > 56  # without expressions held constant


def test_p_is_corrected_by_holm() -> None:
    wrong = np.arange(400) % 4 == 0  # 100 errors, in the conditions' first groups 20, 42 and 45 of them
    slices = {}
    for name, errors in (("a", 20), ("b", 42), ("c", 45)):
        first = np.zeros(400, bool)
        first[np.flatnonzero(wrong)[:errors]] = first[np.flatnonzero(~wrong)[: 200 - errors]] = True
        slices[name] = by_group(pd.Series(first))
    tests = compare_conditions(slices, predicted(np.zeros(400, int), wrong))
    assert tests["condition"].tolist() == ["a", "b", "c"]
    first, second, third = tests["p"]
    assert first < second < third
    np.testing.assert_allclose(tests["p_holm"], [3 * first, 2 * second, max(third, 2 * second)])


def people(rng: np.random.Generator, persons: int = 12, faces: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Return the subject of each face and whether it is wrong: subjects differ much in how often."""
    subjects = np.repeat(np.arange(persons), faces)
    return subjects, rng.random(persons * faces) < rng.beta(0.5, 1, size=persons)[subjects]


def test_conditions_of_whole_subjects_are_tested_over_subjects_and_others_within() -> None:
    found = {"faces": 0, "whole": 0, "within": 0, "person": 0}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        subjects, wrong = people(rng)
        predictions = predicted(rng.integers(0, 3, len(subjects)), wrong)
        skin, light, who = (by_group(pd.Series(of)) for of in (subjects % 2, rng.integers(0, 2, len(subjects)), subjects))
        found["faces"] += quick_p(skin, predictions) <= 0.05
        found["whole"] += quick_p(skin, predictions, subjects=subjects, seed=seed) <= 0.05
        found["within"] += quick_p(light, predictions, subjects=subjects, seed=seed) <= 0.05
        found["person"] += quick_p(who, predictions) <= 0.05
    tests = compare_conditions({"skin": skin, "light": light, "person": who}, predictions, subjects=subjects).set_index("condition")
    assert tests["permuted"].to_dict() == {"skin": "subjects", "light": "within subjects", "person": "faces"}
    assert tests.loc["person", "p"] < 0.01
    assert found["faces"] > 7  # nothing is there: one of 20 is expected
    assert max(found["whole"], found["within"]) <= 4
    assert found["person"] == 20  # persons do differ


def test_the_level_is_kept_where_groups_differ_in_expressions_within_subjects() -> None:
    rng, rejected = np.random.default_rng(9), 0
    subjects = np.repeat(np.arange(15), 20)
    for _ in range(100):
        targets = rng.integers(0, 3, 300)
        codes = (rng.random(300) < np.array([0.1, 0.5, 0.9])[targets]).astype(int)
        rates = np.clip(np.array([0.05, 0.3, 0.6])[targets] + rng.normal(0, 0.1, 15)[subjects], 0, 1)
        rejected += quick_p(by_group(pd.Series(codes)), predicted(targets, rng.random(300) < rates), subjects=subjects) <= 0.05
    assert 1 <= rejected <= 12  # of 100, 5 expected


def test_a_planted_difference_is_found_within_and_between_subjects() -> None:
    rng = np.random.default_rng(0)
    subjects, light = np.repeat(np.arange(20), 20), rng.integers(0, 2, 400)
    wrong = rng.random(400) < 0.1 + 0.25 * light + 0.3 * (subjects % 2)
    slices = {"light": by_group(pd.Series(light)), "skin": by_group(pd.Series(subjects % 2))}
    tests = compare_conditions(slices, predicted(rng.integers(0, 3, 400), wrong), subjects=subjects)
    assert (tests["p_holm"] < 0.01).all()


def test_rates_of_few_subjects_are_bounded_by_subject() -> None:
    subjects, wrong = people(np.random.default_rng(1), persons=4)
    slices = {"who": by_group(pd.Series(np.where(subjects == 0, "first", "other")))}
    predictions = predicted(np.arange(len(wrong)) % 3, wrong)
    by_face, by_subject = group_rates(slices, predictions), group_rates(slices, predictions, subjects=subjects)
    assert by_subject.loc[0, ["ci_low", "ci_high"]].isna().all()  # of one person
    assert by_subject["small"].tolist() == [True, False]
    assert by_subject.loc[1, "ci_high"] - by_subject.loc[1, "ci_low"] > by_face.loc[1, "ci_high"] - by_face.loc[1, "ci_low"]


def test_groups_of_a_few_faces_are_called_too_small_and_take_no_part_in_the_gap() -> None:
    groups, predictions = counted((200, 40), (300, 75), (3, 3))
    slices = {"c": groups}
    assert group_rates(slices, predictions)["small"].tolist() == [False, False, True]
    test = compare_conditions(slices, predictions).loc[0]
    assert (test["groups"], test["excluded"]) == (3, 1)
    assert test["gap"] == pytest.approx(75 / 300 - 40 / 200)  # not 80 points
    only = compare_conditions({"c": counted((4, 1), (5, 2))[0]}, counted((4, 1), (5, 2))[1]).loc[0]
    assert np.isnan(only["gap"])
    assert np.isnan(only["gap_95"])


def test_the_detectable_difference_is_found_in_four_of_five_draws() -> None:
    rng, found = np.random.default_rng(4), 0
    codes = (np.arange(400) < 100).astype(int)
    slices, targets = {"c": by_group(pd.Series(codes))}, rng.integers(0, 3, 400)
    detectable = group_rates(slices, predicted(targets, rng.random(400) < 0.3)).loc[1, "detectable"]
    for _ in range(150):
        found += quick_p(slices["c"], predicted(targets, rng.random(400) < 0.3 + detectable * (codes - 0.25))) <= 0.05
    assert 0.72 <= found / 150 <= 0.9


def test_a_gap_of_one_expression_is_found_there_and_cancels_over_all() -> None:
    rng = np.random.default_rng(5)
    targets, codes = np.arange(600) % 3, rng.integers(0, 2, 600)
    rates = np.array([[0.1, 0.4], [0.4, 0.1], [0.25, 0.25]])  # angry, happy, sad in either group
    predictions, slices = predicted(targets, rng.random(600) < rates[targets, codes]), {"light": by_group(pd.Series(codes))}
    cells = compare_expressions(slices, predictions).set_index("expression")
    assert (cells.loc[["angry", "happy"], "p_holm"] < 0.01).all()
    assert cells.loc["sad", "p_holm"] > 0.05
    assert compare_conditions(slices, predictions).loc[0, "p"] > 0.05
    assert cells.loc["angry", ["lowest_group", "highest_group"]].tolist() == ["1", "0"]  # recall
    recalls = recalls_by_group(slices, "light", predictions).set_index(["group", "expression"])
    assert recalls.loc[("1", "angry"), "recall"] == cells.loc["angry", "lowest"]
    assert recalls["n"].sum() == 600
    who = {"person": by_group(pd.Series(targets // 2 + codes))}
    bounds = recalls_by_group(who, "person", predictions, subjects=(targets // 2 + codes).astype(str))[["n", "ci_low"]]
    assert bounds.loc[bounds["n"] > 0, "ci_low"].notna().all()  # of one person: over that person's faces


def drawn(seed: int) -> tuple[dict[str, pd.Series], np.ndarray, np.ndarray, pd.DataFrame]:
    """Return conditions, targets and subjects of drawn control faces, and their table."""
    _, faces = control.read(faces=600, subjects=40, seed=seed, pictures=False, skin=[1, 6], glasses=0.4)
    slices = {name: by_group(faces[name]) for name in ("skin", "occluder", "glasses")} | {"light": by_fifths(faces["light"].abs())}
    return slices, faces["target"].to_numpy(), faces["subject"].to_numpy(dtype=str), faces


def test_gaps_planted_on_control_faces_are_found_and_none_is_where_none_was_planted() -> None:
    rng, draws = np.random.default_rng(6), 25
    planted = {"skin": 0.25, "occluder": 0.3, "light": 0.2}
    found, rejected = dict.fromkeys(planted, 0), 0
    slices, targets, subjects, faces = drawn(0)
    inside = {
        "skin": (faces["skin"] == 6).to_numpy(),
        "occluder": (faces["occluder"] != "none").to_numpy(),
        "light": (faces["light"].abs() > faces["light"].abs().quantile(0.8)).to_numpy(),
    }
    who = np.unique(subjects, return_inverse=True)[1]
    for _ in range(draws):
        rates = np.linspace(0.05, 0.35, 7)[targets] + rng.normal(0, 0.05, 40)[who]
        none = predicted(targets, rng.random(600) < rates, names=SEVEN)
        rejected += sum(quick_p(groups, none, subjects=subjects) <= 0.05 for groups in slices.values())
        for name, gap in planted.items():
            wrong = rng.random(600) < rates + gap * inside[name]
            found[name] += quick_p(slices[name], predicted(targets, wrong, names=SEVEN), subjects=subjects) <= 0.05
    assert rejected / (draws * len(slices)) <= 0.12  # 5 % expected
    assert min(found.values()) >= 0.85 * draws, found


def test_planting_reports_the_level_and_a_power_that_grows_with_the_gap() -> None:
    slices, targets, subjects, _ = drawn(1)
    predictions = predicted(targets, np.random.default_rng(7).random(600) < 0.2, names=SEVEN)
    small, large = (plant_gaps(slices, predictions, subjects=subjects, gap=gap, draws=25) for gap in (0.02, 0.4))
    assert small["tests"] == 25 * len(slices)
    assert small["level"] <= 0.09
    assert np.mean(list(small["power"].values())) < 0.35
    assert min(large["power"].values()) > 0.8
    tiny = plant_gaps({"c": by_group(pd.Series([0, 1] * 5))}, predicted(np.zeros(10, int), np.arange(10) < 3))
    assert np.isnan(tiny["power"]["c"])
