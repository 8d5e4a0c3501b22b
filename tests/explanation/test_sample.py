"""The sample holds what it promises and does not depend on other classes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlab.explanation.sample import sample_faces, typical_pairs


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(1, 80), faces_per_class=st.integers(1, 6))
def test_sample_has_the_stated_number_of_right_and_wrong_faces(seed: int, n: int, faces_per_class: int) -> None:
    rng = np.random.default_rng(seed)
    target, pred = rng.integers(0, 4, n), rng.integers(0, 4, n)
    rows = sample_faces(target, pred, faces_per_class=faces_per_class, wrong_per_class=2, seed=seed)
    assert (np.diff(rows) > 0).all()
    for c in range(4):
        right, wrong = (target == c) & (pred == c), (target == c) & (pred != c)
        assert right[rows].sum() == min(faces_per_class, right.sum())
        assert wrong[rows].sum() == min(2, wrong.sum())


def test_sample_changes_with_the_seed_and_only_with_it() -> None:
    target = np.repeat(np.arange(3), 50)
    first = sample_faces(target, target, faces_per_class=5, seed=0)
    assert first.tolist() == sample_faces(target, target, faces_per_class=5, seed=0).tolist()
    assert first.tolist() != sample_faces(target, target, faces_per_class=5, seed=1).tolist()
    fewer = sample_faces(target[:100], target[:100], faces_per_class=5, seed=0)
    assert fewer.tolist() == first[first < 100].tolist()


def test_typical_pair_has_the_median_probability_and_says_none_where_there_is_no_face() -> None:
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    assert typical_pairs(np.array([0, 0, 0, 0]), probs, num_classes=2) == [(2, 3), (None, None)]
