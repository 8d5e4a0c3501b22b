"""Scores of prompted sessions, against scipy, hand-computed cases and enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from session_tables import answers, hits

from ferlab.evaluation.proportions import wilson
from ferlab.expressions import EXPRESSIONS
from ferlab.live.session import scores
from ferlab.live.session.files import attempts_table


def together(*tables: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True)


def test_a_session_is_scored_as_by_hand() -> None:
    table = answers(("happy", "happy"), ("sad", "angry"), ("fear", None), ("fear", "fear"), ("angry", "neutral"))
    found = scores.score_attempts(table)
    assert (found["n"], found["correct"], found["no_face"], found["people"], found["sessions"]) == (4, 2, 1, 1, 1)
    assert found["accuracy"] == 0.5
    assert (found["accuracy_ci_low"], found["accuracy_ci_high"]) == wilson(2, 4)
    assert found["mean_rank"] == (1 + 2 + 1 + 2) / 4  # where it was wrong, the prompt had the second largest probability
    assert found["chance_rank"] == 4.0
    assert found["top3_accuracy"] == 1.0
    assert found["chance"] == pytest.approx(1 / 7)
    assert found["p_chance"] == pytest.approx(stats.binomtest(2, 4, 1 / 7, alternative="greater").pvalue)
    assert math.isnan(found["accuracy_people_low"])


def test_ranks_count_from_the_largest_probability() -> None:
    table = answers(("happy", "sad"))
    assert list(table["rank"]) == [2.0]
    assert list(hits(1, 2)["rank"]) == [1.0, 2.0]


@given(correct=st.integers(0, 12), n=st.integers(1, 12), classes=st.integers(2, 8))
@settings(deadline=None, max_examples=40)
def test_guessers_tail_is_the_binomials_where_chances_are_equal(correct: int, n: int, classes: int) -> None:
    expected = stats.binomtest(min(correct, n), n, 1 / classes, alternative="greater").pvalue
    assert scores.at_least(min(correct, n), np.full(n, 1 / classes)) == pytest.approx(expected)


def test_guessers_tail_with_unequal_chances_is_what_enumeration_gives() -> None:
    chances = np.array([1 / 7, 1 / 8, 1 / 2, 1 / 3])
    outcomes = itertools.product((0, 1), repeat=4)
    expected = sum(np.prod(np.where(outcome, chances, 1 - chances)) for outcome in outcomes if sum(outcome) >= 2)
    assert scores.at_least(2, chances) == pytest.approx(expected)


def test_order_test_sees_that_one_prediction_for_all_is_no_skill() -> None:
    prompts = list(EXPRESSIONS) * 3
    always = scores.score_attempts(answers(*((prompt, "happy") for prompt in prompts)))
    assert always["p_order"] == 1.0  # every order has three correct
    skilled = scores.score_attempts(hits(12, 21))
    assert skilled["p_order"] < 0.001
    few = scores.score_attempts(answers(("happy", "happy"), ("sad", "sad")))
    assert few["p_order"] == pytest.approx(0.5, abs=0.03)  # two orders are possible, one of them agrees


@pytest.mark.parametrize(("a", "b"), [((12, 20), (5, 20)), ((28, 50), (9, 21)), ((0, 5), (5, 5)), ((3, 3), (3, 3))])
def test_one_stratum_is_fishers_test(a: tuple[int, int], b: tuple[int, int]) -> None:
    expected = stats.fisher_exact([[a[0], a[1] - a[0]], [b[0], b[1] - b[0]]]).pvalue
    assert scores.exact_p([(*a, *b)]) == pytest.approx(expected)


def test_strata_are_compared_each_with_itself() -> None:
    strata = [(4, 5, 1, 5), (3, 4, 2, 6)]
    by_hand: dict[int, float] = {}
    for first in range(6):  # all tables with these margins: 5 of 10 correct, and 5 of 10
        for second in range(6):
            chance = stats.hypergeom.pmf(first, 10, 5, 5) * stats.hypergeom.pmf(second, 10, 4, 5)
            by_hand[first + second] = by_hand.get(first + second, 0.0) + chance
    expected = sum(chance for chance in by_hand.values() if chance <= by_hand[7] * (1 + 1e-9))
    assert scores.exact_p(strata) == pytest.approx(expected)


def test_conditions_are_compared_within_people() -> None:
    """One is always right and acts more, one is always wrong and remembers more: no condition is better for either of them."""
    able = [hits(18, 18, person="p-2222", session="a"), hits(6, 6, person="p-2222", session="b", condition="remembered")]
    unable = [hits(0, 6, person="p-3333", session="c"), hits(0, 18, person="p-3333", session="d", condition="remembered")]
    table = together(*able, *unable)
    assert scores.compare_groups(table, "condition")["p_exact"].item() < 0.01
    within = scores.compare_groups(table, "condition", within="person").iloc[0]
    assert within["p_exact"] == pytest.approx(1.0)
    assert (within["first"], within["second"]) == ("acted", "remembered")


def test_people_are_compared() -> None:
    two = together(hits(12, 20, person="p-2222"), hits(5, 20, person="p-3333"))
    assert scores.compare_people(two) == pytest.approx(stats.fisher_exact([[12, 8], [5, 15]]).pvalue)
    three = together(two, hits(12, 20, person="p-4444"))
    counts = [[12, 5, 12], [8, 15, 8]]
    assert scores.compare_people(three) == pytest.approx(stats.fisher_exact(counts).pvalue, abs=0.03)
    assert math.isnan(scores.compare_people(hits(3, 9)))
    table = scores.compare_groups(three, "person")
    assert len(table) == 3
    assert (table["p_holm"] >= table["p_exact"]).all()
    assert table["p_holm"].max() > table["p_exact"].max() - 1e-12


def test_detectable_numbers_have_the_power_that_is_stated() -> None:
    accuracy = scores.detectable_accuracy(21, 1 / 7)
    needed = next(count for count in range(22) if stats.binom.sf(count - 1, 21, 1 / 7) <= 0.05)
    assert stats.binom.sf(needed - 1, 21, accuracy) == pytest.approx(0.8, abs=1e-6)
    assert math.isnan(scores.detectable_accuracy(1, 1 / 7))
    difference = scores.detectable_difference(21, 20, 8 / 20)
    assert _power(21, 20, 0.4 + difference, 0.4) >= 0.8 > _power(21, 20, 0.4 + difference - 0.02, 0.4)
    assert difference == pytest.approx(0.45, abs=0.05)  # so little do 21 and 20 prompts tell apart
    assert math.isnan(scores.detectable_difference(2, 2, 0.5))


def _power(n: int, other_n: int, accuracy: float, other_accuracy: float) -> float:
    """Enumerate all outcomes with scipy's Fisher test."""
    power = 0.0
    for a, b in itertools.product(range(n + 1), range(other_n + 1)):
        if stats.fisher_exact([[a, n - a], [b, other_n - b]]).pvalue <= 0.05:
            power += stats.binom.pmf(a, n, accuracy) * stats.binom.pmf(b, other_n, other_accuracy)
    return power


def test_tallies_add_up_and_keep_the_fixed_order() -> None:
    table = together(hits(9, 21), answers(("fear", None), ("sad", None)))
    by_prompt = scores.tally(table, "prompt")
    assert list(by_prompt.index) == list(EXPRESSIONS)
    assert by_prompt["correct"].sum() == 9
    assert by_prompt["n"].sum() == 21
    assert by_prompt.loc["fear", "no_face"] == 1
    assert (by_prompt.loc["angry", "accuracy_ci_low"], by_prompt.loc["angry", "accuracy_ci_high"]) == wilson(2, 3)
    counts = scores.count_predictions(table)
    assert counts.shape == (7, 7)
    assert np.trace(counts.to_numpy()) == 9
    assert list(counts.sum(axis=1)) == [3] * 7


def test_models_with_eight_classes_have_another_chance() -> None:
    from session_tables import TIME, facts, peaked

    from ferlab.expressions import ALL_EXPRESSIONS
    from ferlab.live.session.prompting import Attempt

    attempt = Attempt(1, "contempt", peaked("contempt", expressions=ALL_EXPRESSIONS), 3)
    table = attempts_table(facts(expressions=ALL_EXPRESSIONS), [attempt], [TIME])
    assert scores.score_attempts(table)["chance"] == pytest.approx(1 / 8)
    assert scores.score_attempts(together(table, hits(1, 1)))["chance"] == pytest.approx((1 / 7 + 1 / 8) / 2)
    assert scores.expressions_in(table) == ALL_EXPRESSIONS


def test_a_session_without_any_face_has_no_accuracy() -> None:
    found = scores.score_attempts(answers(("happy", None), ("sad", None)))
    assert (found["n"], found["no_face"]) == (0, 2)
    assert all(math.isnan(found[key]) for key in ("accuracy", "p_chance", "p_order", "mean_rank", "detectable"))
    assert scores.compare_groups(answers(("happy", None)), "condition").empty


@pytest.mark.parametrize(("correct", "n"), [(4, 10), (7, 11), (8, 11), (5, 12)])
def test_outcomes_that_are_as_rare_count_though_rounding_differs(correct: int, n: int) -> None:
    expected = stats.fisher_exact([[correct, n - correct], [n - correct, correct]]).pvalue
    assert scores.exact_p([(correct, n, n - correct, n)]) == pytest.approx(expected)
