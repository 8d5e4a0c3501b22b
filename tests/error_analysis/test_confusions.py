"""Rankings of confused pairs against scikit-learn's matrix and hand-counted cases."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from ferlab.error_analysis.confusions import most_confident_errors, rank_confusions
from ferlab.evaluation.predictions import predictions_table

PAIR_COLUMNS = ("target", "pred", "count", "support", "rate", "rate_ci_low", "rate_ci_high", "rank_by_count", "rank_by_rate")
NAMES = ("angry", "disgust", "fear")


def table_of(target: list[int], pred: list[int], top: float = 0.6) -> pd.DataFrame:
    probs = np.full((len(pred), 3), (1 - top) / 2)
    probs[np.arange(len(pred)), pred] = top
    ids = [f"set/{row:07d}" for row in range(len(pred))]
    return predictions_table(ids, ["val"] * len(pred), np.array(target), probs=probs, expressions=NAMES)


def test_rankings_by_count_and_by_rate_equal_the_hand_counted_ones() -> None:
    # angry -> fear 3 of 10, disgust -> angry 1 of 2, fear -> disgust 1 of 4: disgust leads by rate and not by count.
    target, pred = [0] * 10 + [1] * 2 + [2] * 4, [2] * 3 + [0] * 7 + [0, 1] + [1, 2, 2, 2]
    pairs = rank_confusions(table_of(target, pred))
    assert list(zip(pairs["target"], pairs["pred"], pairs["count"], pairs["support"], strict=True)) == [
        ("angry", "fear", 3, 10),
        ("disgust", "angry", 1, 2),
        ("fear", "disgust", 1, 4),
    ]
    assert pairs["rank_by_count"].tolist() == [1, 2, 3]
    assert pairs["rank_by_rate"].tolist() == [2, 1, 3]
    np.testing.assert_allclose(pairs["rate"], [0.3, 0.5, 0.25])
    # Wilson's 95 % interval of 3 of 10, from the textbook formula
    np.testing.assert_allclose(pairs.loc[0, ["rate_ci_low", "rate_ci_high"]].astype(float), [0.1078, 0.6032], atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(answers=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_counts_equal_the_confusion_matrix_of_scikit_learn(answers: list[tuple[int, int]]) -> None:
    target, pred = zip(*answers, strict=True)
    matrix = confusion_matrix(target, pred, labels=[0, 1, 2])
    pairs = rank_confusions(table_of(list(target), list(pred)))
    assert tuple(pairs.columns) == PAIR_COLUMNS
    counted = dict(zip(zip(pairs["target"], pairs["pred"], strict=True), pairs["count"], strict=True))
    assert counted == {(NAMES[t], NAMES[p]): matrix[t, p] for t in range(3) for p in range(3) if t != p and matrix[t, p]}
    assert pairs["count"].is_monotonic_decreasing


def test_order_of_rows_does_not_change_the_ranking() -> None:
    rng = np.random.default_rng(0)
    table = table_of(rng.integers(0, 3, 90).tolist(), rng.integers(0, 3, 90).tolist())
    pd.testing.assert_frame_equal(rank_confusions(table), rank_confusions(table.iloc[::-1]))


def test_net_without_errors_has_empty_rankings() -> None:
    table = table_of([0, 1, 2], [0, 1, 2])
    assert rank_confusions(table).empty
    assert tuple(rank_confusions(table).columns) == PAIR_COLUMNS
    assert most_confident_errors(table, most=5).empty


def test_surest_errors_come_first_and_right_answers_never() -> None:
    table = pd.concat([table_of([0, 1], [1, 1], 0.9), table_of([2, 2], [0, 1], 0.7)]).assign(face_id=["a", "b", "d", "c"])
    errors = most_confident_errors(table, most=2)
    assert errors["face_id"].tolist() == ["a", "c"]
    assert errors["pred"].tolist() == ["disgust", "disgust"]
    assert errors["prob_pred"].tolist() == pytest.approx([0.9, 0.7])
    assert errors["prob_target"].tolist() == pytest.approx([0.05, 0.15])
