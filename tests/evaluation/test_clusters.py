from __future__ import annotations

import numpy as np
import pytest

from ferlab.evaluation.clusters import cluster_error, cluster_intervals, cluster_proportion, effective_faces
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
