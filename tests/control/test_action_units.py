from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferlab.control.action_units import (
    ACTION_UNIT_REGIONS,
    ACTION_UNITS,
    CIRCUMPLEX,
    COMBINATIONS,
    NAMES,
    REGIONS,
    affect,
    amplitude,
    draw_units,
    lopsided,
    regions_of,
)
from ferlab.expressions import EXPRESSIONS

# Lucey et al. (2010), Table 1: what a coder must see before an expression label is valid.
MUST_SHOW = {"angry": {23, 24}, "disgust": {9, 10}, "fear": {1, 2, 4}, "happy": {12}, "sad": {1, 4, 15}, "surprise": {1, 2, 5}}


def drawn(expression: str, number: int) -> set[int]:
    return set(draw_units(expression, habits=np.random.default_rng(number), chance=np.random.default_rng(number + 1)))


def test_every_expression_has_a_combination_and_every_unit_a_region() -> None:
    assert tuple(COMBINATIONS) == NAMES == (*EXPRESSIONS, "contempt")
    assert set(ACTION_UNIT_REGIONS) == set(ACTION_UNITS)
    assert {region for regions in ACTION_UNIT_REGIONS.values() for region in regions} == set(REGIONS)


@given(st.sampled_from(sorted(MUST_SHOW)), st.integers(0, 10_000))
def test_combinations_meet_the_validity_rules_of_ck_plus(expression: str, number: int) -> None:
    units = drawn(expression, number)
    if expression in {"angry", "disgust"}:  # one of the two is enough
        assert units & MUST_SHOW[expression]
    else:
        assert units >= MUST_SHOW[expression]


def test_fear_parts_the_lips_or_drops_the_jaw_but_not_both() -> None:
    seen = {frozenset(drawn("fear", number) & {25, 26}) for number in range(40)}
    assert seen == {frozenset({25}), frozenset({26})}


def test_habits_of_a_subject_do_not_change_with_the_face() -> None:
    faces = {draw_units("happy", habits=np.random.default_rng(3), chance=np.random.default_rng(face)) for face in range(20)}
    assert len(faces) == 1


def test_contempt_is_one_corner_pulled_and_dimpled_on_the_side_of_the_subjects_habit() -> None:
    seen = {draw_units("contempt", habits=np.random.default_rng(subject), chance=np.random.default_rng(0)) for subject in range(30)}
    assert seen == {("12R", "14R"), ("12L", "14L")}


def test_a_unit_of_one_side_counts_for_what_it_adds_to_that_of_both() -> None:
    assert lopsided({}, 12) == (0.0, 0.0)
    assert lopsided({"14R": 0.5}, 14) == (0.5, 0.0)  # the person's right is the picture's left
    assert lopsided({12: 0.75, "12L": 1.0, "12R": 0.5}, 12) == (0.0, 0.25)


def test_valence_and_arousal_grow_from_neutral_to_the_published_place() -> None:
    assert set(CIRCUMPLEX) == set(NAMES)
    assert affect("happy", 5.0) == (0.81, 0.51)  # Russell and Mehrabian (1977)
    assert affect("sad", 2.5) == pytest.approx((-0.315, -0.135))
    assert affect("neutral", 0.0) == affect("fear", 0.0) == (0.0, 0.0)
    quadrant = {name: (np.sign(valence), np.sign(arousal)) for name, (valence, arousal) in CIRCUMPLEX.items()}
    assert quadrant["happy"] == quadrant["surprise"] == (1, 1)
    assert quadrant["sad"] == (-1, -1)
    assert quadrant["angry"] == quadrant["fear"] == quadrant["disgust"] == quadrant["contempt"] == (-1, 1)


def test_neutral_has_no_action_units_and_no_carrying_region() -> None:
    assert drawn("neutral", 0) == set()
    assert regions_of({}) == ()


def test_regions_of_a_smile_are_cheeks_eyes_and_mouth_but_not_brows() -> None:
    assert regions_of({6: 0.3, 12: 1.0}) == ("eyes", "cheeks", "mouth")
    assert regions_of({12: 1.0, 4: 0.0}) == ("cheeks", "mouth")


@pytest.mark.parametrize(("intensity", "low", "high"), [(0.0, 0.0, 0.0), (1.0, 0.10, 0.20), (4.0, 0.70, 0.85), (5.0, 1.0, 1.0)])
def test_intensity_one_is_a_sixth_of_the_movement_and_five_all_of_it(intensity: float, low: float, high: float) -> None:
    assert low <= amplitude(intensity) <= high
