from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.experts import compare_experts, decide_pair, is_asked
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.runs import runs_by_set, without_experts
from ferlab.reporting.pages.experts import experts_sentence, experts_tables

NAMES = ("happy", "sad", "neutral")
RUNS = {"net": {"data": "a", "train": {"expressions": []}}, "expert": {"data": "a", "train": {"expressions": ["sad", "neutral"]}}}
NOT_VAL = {"net": ("train",), "expert": ("train",)}


def test_an_expert_divides_the_probability_of_its_pair_where_both_lead() -> None:
    probs = np.array([[0.1, 0.6, 0.3], [0.5, 0.1, 0.4], [0.2, 0.4, 0.4]])
    expert = np.array([[0.9, 0.02, 0.08], [0.0, 0.9, 0.1], [0.0, 0.0, 0.0]])
    assert is_asked(probs, pair=(2, 1)).tolist() == [True, False, True]
    expected = [[0.1, 0.9 * 0.2, 0.9 * 0.8], [0.5, 0.1, 0.4], [0.2, 0.4, 0.4]]  # an expert that knows neither divides by half
    np.testing.assert_allclose(decide_pair(probs, expert, pair=(1, 2)), expected, atol=1e-9)


def tables(gain: int, *, n: int = 400) -> dict[str, pd.DataFrame]:
    """A run that confuses sad and neutral half of the time, and an expert that corrects `gain` faces of each split."""
    ids, splits = [f"f{i}" for i in range(n)], np.where(np.arange(n) < n // 2, "val", "test")
    targets = 1 + np.arange(n) % 2
    wrong = np.arange(n) % 4 < 2
    leads = np.where(wrong, 3 - targets, targets)
    probs = np.full((n, 3), 0.0)
    probs[:, 1:] = 0.4
    probs[np.arange(n), leads] = 0.6
    place = np.arange(n) % (n // 2)
    corrected = np.where(wrong & (place < 2 * gain), targets, leads)
    expert = np.eye(3)[corrected]
    return {
        name: predictions_table(ids, splits, targets, probs=table, expressions=NAMES) for name, table in (("net", probs), ("expert", expert))
    }


@pytest.mark.parametrize(("gain", "kept"), [(30, True), (2, False)])
def test_what_an_expert_changes_is_counted_and_kept_only_where_val_says_so(gain: int, kept: bool) -> None:
    found = compare_experts(tables(gain), RUNS, [("net", "expert")], trained_on=NOT_VAL)
    assert found["split"].tolist() == ["val", "test"]
    assert found["asked"].tolist() == found["n"].tolist() == [200, 200]
    assert found["changed"].tolist() == [gain, gain]
    assert (found["accuracy"] - found["accuracy_before"]).tolist() == pytest.approx([gain / 200] * 2) == found["difference"].tolist()
    assert found["kept"].tolist() == [kept, kept]
    assert ("It is kept" in experts_sentence(found)) == kept
    assert f"expert decides between sad and neutral for 200 of 200 test faces of net; {gain} predictions change" in experts_sentence(found)
    assert len(experts_tables(found)[0]) == 2


def test_a_run_that_was_trained_on_val_leaves_nothing_to_decide_on() -> None:
    found = compare_experts(tables(30), RUNS, [("net", "expert")], trained_on={name: ("train", "val") for name in RUNS})
    assert found["split"].tolist() == ["test"]
    assert found["kept"].tolist() == [None]
    assert "No split is left to decide" in experts_sentence(found)


def test_without_experts_the_page_has_nothing_on_them() -> None:
    found = compare_experts(tables(1), RUNS, [], trained_on=NOT_VAL)
    assert experts_sentence(found) == ""
    assert experts_tables(found) == []


def test_experts_stand_in_no_comparison_and_in_an_ensemble_only_where_named() -> None:
    assert list(without_experts(RUNS)) == ["net"]
    assert runs_by_set(RUNS) == {"a": ["net"]}
    assert runs_by_set(RUNS, ["net", "expert"]) == {"a": ["net", "expert"]}
