from __future__ import annotations

import numpy as np
import pytest

from ferlab.evaluation.clusters import (
    cluster_error,
    cluster_intervals,
    cluster_proportion,
    effective_faces,
    intervals_over,
    proportion_bounds,
)
from ferlab.evaluation.intervals import metric_intervals
from ferlab.evaluation.proportions import wilson
from ferlab.expressions import EXPRESSIONS

K = len(EXPRESSIONS)
KEYS = ("accuracy", "top3_accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc")


def answer(right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    targets = np.arange(len(right)) % K
    probs = np.eye(K)[np.where(right, targets, (targets + 1) % K)] * 0.9 + 0.1 / K
    return targets, probs.astype(np.float32)


def test_each_face_its_own_cluster_is_the_usual_standard_error():
    values = np.random.default_rng(0).random(50)
    assert cluster_error(values, np.arange(50)) == pytest.approx(values.std(ddof=1) / np.sqrt(50))
    # By hand: sums of deviations of three subjects with means .5, 1 and 0 over two faces each are 0, 1 and -1.
    assert cluster_error(np.array([0, 1, 1, 1, 0, 0]), np.repeat([0, 1, 2], 2)) == pytest.approx(np.sqrt(3 / 2 * 2) / 6)


def test_faces_that_agree_within_persons_count_as_persons():
    right = np.repeat([1, 0, 1, 1, 0, 1, 1, 1], 25)
    assert effective_faces(right, np.repeat(np.arange(8), 25)) < 8
    independent = np.random.default_rng(1).random(800) < 0.7
    assert 500 < effective_faces(independent, np.repeat(np.arange(80), 10)) <= 800


def test_bounds_over_subjects_are_wider_where_subjects_differ():
    rng = np.random.default_rng(0)
    subjects = np.repeat(np.arange(12), 40)
    right = rng.random(480) < np.where(subjects % 2, 0.95, 0.3)
    by_subject = cluster_intervals(*answer(right), subjects, resamples=300)
    low, high = wilson(int(right.sum()), 480)
    assert by_subject["subjects"] == 12
    assert 5 < by_subject["effective_faces"] < 20
    assert by_subject["accuracy_ci_high"] - by_subject["accuracy_ci_low"] > 2 * (high - low)
    assert by_subject["nll_ci_low"] < by_subject["nll_ci_high"]


@pytest.mark.parametrize("subjects", [2, 4, 10])
def test_few_subjects_all_right_are_no_proof_of_one(subjects: int):
    bounds = cluster_intervals(*answer(np.ones(70, dtype=bool)), np.arange(70) * subjects // 70, resamples=300)
    for key in KEYS:
        assert bounds[f"{key}_ci_low"] < wilson(subjects, subjects)[0] + 0.15, key
        assert bounds[f"{key}_ci_high"] == 1, key
    assert bounds["accuracy_ci_low"] == pytest.approx(wilson(subjects, subjects)[0])


def test_one_person_tells_nothing_of_others():
    assert np.isnan(cluster_proportion(np.ones(9), np.zeros(9))).all()


def test_shares_of_few_persons_cover_where_faces_of_a_person_resemble_each_other():
    """5 persons of 20 faces, correlation .1 within persons, accuracy .9: Wilson's over faces covers 79 %, redrawing persons 79 %."""
    rng, held = np.random.default_rng(0), 0
    persons = np.repeat(np.arange(5), 20)
    for _ in range(400):
        right = rng.random(100) < rng.beta(0.9 * 9, 0.1 * 9, size=5)[persons]
        low, high = cluster_proportion(right, persons)
        held += low <= 0.9 <= high
    assert held / 400 > 0.93


def test_a_proportion_is_bounded_over_subjects_where_faces_name_them_and_over_faces_elsewhere():
    right, persons = np.arange(40) % 4 > 0, np.repeat(["a", "b", "c", "d"], 10)
    assert proportion_bounds(right, None) == wilson(30, 40)
    assert proportion_bounds(right, persons) == cluster_proportion(right, persons) != wilson(30, 40)
    assert proportion_bounds(right[:1], None) == wilson(0, 1)
    assert np.isnan(proportion_bounds(right[:1], persons[:1])).all()


def test_bounds_of_classes_are_those_over_faces_where_every_face_is_a_subject_and_wider_where_subjects_differ():
    rng = np.random.default_rng(4)
    targets, persons = rng.integers(0, 3, 300), np.repeat(np.arange(15), 20)
    wrong = np.where(persons < 5, rng.random(300) < 0.9, rng.random(300) < 0.1)
    probs = np.eye(3)[np.where(wrong, (targets + 1) % 3, targets)] * 0.8 + 0.2 / 3
    names = ("a", "b", "c")
    over_faces = metric_intervals(targets, probs, expressions=names, resamples=100)
    alone, over_people = (intervals_over(targets, probs, subjects, expressions=names, resamples=100) for subjects in (np.arange(300), persons))
    assert over_people["subjects"] == 15
    for name in names:
        for key in ("precision", "recall", "f1"):
            low, high = (f"{key}_ci_{side}" for side in ("low", "high"))
            assert alone["per_class"][name][low] == pytest.approx(over_faces["per_class"][name][low])
            wide, narrow = (of["per_class"][name][high] - of["per_class"][name][low] for of in (over_people, over_faces))
            assert wide > 1.5 * narrow, (name, key)
    assert intervals_over(targets, probs, None, expressions=names, resamples=100) == over_faces
