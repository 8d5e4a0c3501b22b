"""Prediction sets against MAPIE, by hand, and their coverage by simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from held_out_faces import NAMES, held_out
from mapie.metrics.classification import classification_coverage_score, classification_mean_width_score

from ferlab.evaluation.conformal import BY_CLASS, METHODS, class_quantiles, compare_sets, conformal_sets, score_sets
from ferlab.evaluation.predictions import probs_of


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet([2, 1, 1, 0.3], n)
    return (rng.random(n)[:, None] > probs.cumsum(axis=1)).sum(axis=1).clip(max=3), probs.astype(np.float32)


def test_lac_by_hand() -> None:
    """Of nine faces of a class the 90 % quantile is the largest score, 1 - 0.2; of nineteen faces the eighteenth."""
    nine = np.array([[0.9 - i * 0.0875, 0.1 + i * 0.0875] for i in range(9)])
    assert class_quantiles(np.zeros(9, int), nine)[0] == pytest.approx(0.8)
    assert np.isinf(class_quantiles(np.zeros(8, int), nine[:8])[0])
    nineteen = np.array([[0.95 - i * 0.05, 0.05 + i * 0.05] for i in range(19)])
    sets = conformal_sets(np.zeros(19, int), nineteen, np.array([[0.91, 0.09], [0.5, 0.5]]), method="lac", coverage=0.9)
    assert sets.tolist() == [[True, False], [True, True]], "the eighteenth has 0.1"


def test_a_class_with_too_few_faces_is_in_every_set() -> None:
    targets, probs = drawn(60)
    targets = np.where(targets == 3, 0, targets)
    targets[:8] = 3
    assert np.isinf(class_quantiles(targets, probs)[3])
    assert conformal_sets(targets, probs, probs, method=BY_CLASS)[:, 3].all()


def test_the_threshold_of_a_class_is_mapies_of_its_faces_alone() -> None:
    targets, probs = drawn(400)
    new = drawn(200, 1)[1]
    by_class = conformal_sets(targets, probs, new, method=BY_CLASS)
    for c in range(3):
        alone = conformal_sets(targets[targets == c], probs[targets == c], new, method="lac")
        np.testing.assert_array_equal(by_class[:, c], alone[:, c])


@pytest.mark.parametrize("method", [*METHODS, BY_CLASS])
def test_coverage_and_size_are_mapies_and_reach_the_stated_rate(method) -> None:
    targets, probs = drawn(3000)
    labels, new = drawn(6000, 1)
    sets = conformal_sets(targets, probs, new, method=method)
    found = score_sets(sets, labels, expressions=NAMES)
    assert found["coverage"] == pytest.approx(classification_coverage_score(labels, sets[:, :, None])[0])
    assert found["size_mean"] == pytest.approx(classification_mean_width_score(sets[:, :, None])[0])
    assert found["coverage_ci_high"] > 0.9
    if method == BY_CLASS:
        assert all(values["coverage_ci_high"] > 0.88 for values in found["per_class"].values())


def test_class_conditional_sets_mend_the_class_that_lac_neglects() -> None:
    targets, probs = drawn(3000)
    labels, new = drawn(6000, 1)
    rare = {method: score_sets(conformal_sets(targets, probs, new, method=method), labels, expressions=NAMES)["per_class"]["neutral"]["coverage"]
            for method in ("lac", BY_CLASS)}  # fmt: skip
    assert rare["lac"] < 0.8 < 0.87 < rare[BY_CLASS]


def test_scores_of_sets_by_hand() -> None:
    sets = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]], bool)
    found = score_sets(sets, np.array([0, 0, 1, 1]), expressions=NAMES)
    assert (found["coverage"], found["size_mean"], found["single"], found["empty"]) == (0.5, 1.75, 0.25, 0.25)
    assert (found["per_class"]["angry"]["coverage"], found["per_class"]["sad"]["coverage"]) == (0.5, None)
    by_person = score_sets(sets, np.array([0, 0, 1, 1]), expressions=NAMES, units=np.array(["a", "a", "b", "b"]))
    assert by_person["coverage_ci_high"] > found["coverage_ci_high"]


def test_every_method_is_compared_on_test_and_raps_needs_two_faces_of_each_class() -> None:
    held = held_out(300)
    assert list(compare_sets(held)) == [*METHODS, BY_CLASS]
    found = compare_sets(held)["lac"]
    direct = conformal_sets(held.fitting["target"].to_numpy(), probs_of(held.fitting), probs_of(held.judging), method="lac")
    assert found == score_sets(direct, held.judging["target"].to_numpy(), expressions=NAMES)
    one = held.fitting.assign(target=held.fitting["target"].replace(3, 0))
    one.loc[0, "target"] = 3
    assert "raps" not in compare_sets(replace(held, fitting=one))
    assert compare_sets(replace(held, fitting=one[:9])) == {}, "nine faces have no 90 % quantile"
    sizes = {n: "raps" in compare_sets(replace(held, fitting=held.fitting[:n])) for n in (89, 90, 91, 99, 100)}
    assert sizes == {89: False, 90: False, 91: True, 99: True, 100: True}


@pytest.mark.parametrize("classes", [[1, 3], [2]])
def test_a_set_of_two_expressions_has_the_methods_that_hold_for_two(classes) -> None:
    held = held_out(300)
    few = held.fitting[held.fitting["target"].isin(classes)]
    assert list(compare_sets(replace(held, fitting=few))) == ["lac", BY_CLASS]


@pytest.mark.slow
def test_sets_hold_the_label_at_the_stated_rate_over_draws_of_val() -> None:
    """With 60 val faces the threshold is the 55th of their scores: LAC holds the label of 55 new faces of 61 on average; APS holds more."""
    labels, new = drawn(10_000, 99)
    found = {method: [] for method in ("lac", "aps", BY_CLASS)}
    for seed in range(200):
        targets, probs = drawn(60, seed)
        for method, rates in found.items():
            rates.append(conformal_sets(targets, probs, new, method=method)[np.arange(10_000), labels].mean())
    assert np.mean(found["lac"]) == pytest.approx(55 / 61, abs=0.012)
    assert np.mean(found["aps"]) > 55 / 61
    assert np.mean(found[BY_CLASS]) > 0.89
