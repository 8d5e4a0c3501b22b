"""FunnyBirds' scores on hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from ferlab.explanation.part_scores import completeness, contrastivity, correctness, part_mass


def test_correctness_is_spearmans():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mass, effects = rng.integers(0, 4, 5), rng.normal(size=5)
        names = "abcde"
        if np.ptp(mass):
            expected = spearmanr(mass, effects).statistic
            assert correctness(dict(zip(names, mass, strict=True)), dict(zip(names, effects, strict=True))) == pytest.approx(expected)


def test_a_map_that_orders_nothing_has_no_correctness_and_equal_effects_no_order():
    assert correctness({"a": 0.5, "b": 0.5}, {"a": 1.0, "b": 0.0}) == 0
    assert np.isnan(correctness({"a": 0.9, "b": 0.1}, {"a": 1.0, "b": 1.0}))


def test_mass_is_shared_between_parts():
    masks = {"a": np.array([[True, False, False]]), "b": np.array([[False, True, False]])}
    assert part_mass(np.array([[3.0, 1.0, 9.0]]), masks) == {"a": 0.75, "b": 0.25}
    assert part_mass(np.array([[-3.0, 0.0, 9.0]]), masks) == {"a": 0.0, "b": 0.0}


WHOLE, MOUTH, BROWS, NONE = frozenset({"mouth", "brows"}), frozenset({"mouth"}), frozenset({"brows"}), frozenset()
PREDICTED = {WHOLE: 3, MOUTH: 3, BROWS: 6, NONE: 6}  # the mouth alone decides


def test_completeness_of_the_map_that_is_right_is_one():
    assert completeness({"mouth": 1.0, "brows": 0.0}, predicted=PREDICTED, irrelevant=BROWS) == 1


def test_completeness_of_the_map_that_marks_everything_loses_distractibility():
    """Preserved and deleted at every threshold, but the irrelevant part is spared at none of 0.1 to 0.4."""
    assert completeness({"mouth": 0.5, "brows": 0.5}, predicted=PREDICTED, irrelevant=BROWS) == pytest.approx(0.5)


def test_completeness_of_the_wrong_part_is_zero():
    assert completeness({"mouth": 0.0, "brows": 1.0}, predicted=PREDICTED, irrelevant=BROWS) == 0


def test_contrastivity_needs_a_map_that_moves_with_the_class():
    same = {"upper": 0.5, "lower": 0.5}
    assert contrastivity(same, same) == 0
    assert contrastivity({"upper": 0.2, "lower": 0.8}, {"upper": 0.7, "lower": 0.3}) == -1
