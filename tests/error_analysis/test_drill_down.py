"""The worst cells of a confusion matrix: their leaders, their numbers by hand, and which faces are shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.error_analysis.confusions import rank_confusions
from ferlab.error_analysis.drill_down import SHOWN, explained_rows, pair_facts, pair_rows, worst_pairs
from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.proportions import wilson

NAMES = ("angry", "fear", "sad")


def table_of(rows: list[tuple[int, list[float]]]) -> pd.DataFrame:
    target, probs = zip(*rows, strict=True)
    return predictions_table([f"f{row}" for row in range(len(rows))], ["val"] * len(rows), np.array(target), probs=np.array(probs), expressions=NAMES)


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Angry as fear with rising confidence, five times; fear as angry once; correct faces of both; one sad face."""
    errors = [(0, [0.45 - step / 100, 0.5 + step / 100, 0.05]) for step in (0, 10, 20, 30)] + [(0, [0.05, 0.6, 0.35])]
    return table_of([*errors, (1, [0.7, 0.2, 0.1]), *[(0, [0.8, 0.1, 0.1])] * 3, *[(1, [0.1, 0.9, 0.0])] * 2, (2, [0.0, 0.1, 0.9])])


def test_leaders_by_count_and_by_rate_each_once() -> None:
    one, two, three = [0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.0, 0.1, 0.9]
    rows = [(0, two)] * 6 + [(0, one)] * 14 + [(2, one)] * 3 + [(2, three)] * 2
    assert worst_pairs(rank_confusions(table_of(rows))) == [("angry", "fear"), ("sad", "angry")]
    assert worst_pairs(rank_confusions(table_of([*rows[:-5], (2, one), (2, one)]))) == [("angry", "fear")], "two of two faces lead no ranking"
    assert worst_pairs(rank_confusions(table_of([(0, two)] * 6 + [(0, one)] * 6 + [(1, one)] * 4))) == [("angry", "fear")], "one pair, two ways"
    assert worst_pairs(rank_confusions(table_of([(0, one)]))) == []


def test_numbers_of_a_pair_by_hand(predictions: pd.DataFrame) -> None:
    facts = pair_facts(predictions, "angry", "fear")
    assert (facts["count"], facts["support"], facts["rate"], facts["count_back"]) == (5, 8, 5 / 8, 1)
    assert facts["confidence"] == pytest.approx(np.mean([0.5, 0.6, 0.7, 0.8, 0.6]))
    assert facts["margin"] == pytest.approx(np.mean([0.05, 0.25, 0.45, 0.65, 0.55]))
    assert facts["near_ties"] == 0, "0.05 is not below it"
    assert pair_facts(table_of([(0, [0.45, 0.49, 0.06])]), "angry", "fear")["near_ties"] == 1
    assert facts["second_correct"] == 4, "the last error has sad second"
    assert facts["second_rate"] == 4 / 5
    assert (facts["rate_ci_low"], facts["second_rate_ci_low"]) == (wilson(5, 8)[0], wilson(4, 5)[0])
    assert facts["confidence_correct"] == pytest.approx(0.8)
    assert np.isnan(pair_facts(predictions[:6].assign(), "angry", "fear")["confidence_correct"])


def test_rates_of_a_pair_are_bounded_over_subjects_where_the_table_names_them(predictions: pd.DataFrame) -> None:
    people = np.array(list("aabbcabcabca"))[: len(predictions)]
    facts = pair_facts(predictions.assign(subject=people), "angry", "fear")
    angry, errors = (predictions["target"] == 0).to_numpy(), slice(0, 5)
    right = ((predictions["pred"] == 1) & angry).to_numpy()
    assert (facts["rate_ci_low"], facts["rate_ci_high"]) == cluster_proportion(right[angry], people[angry])
    assert facts["second_rate_ci_high"] == cluster_proportion(np.array([1, 1, 1, 1, 0]), people[errors])[1]
    pairs = rank_confusions(predictions.assign(subject=people)).set_index(["target", "pred"])
    assert pairs.loc[("angry", "fear"), "rate_ci_low"] == facts["rate_ci_low"] != wilson(5, 8)[0]


def test_faces_shown_are_typical_and_most_confident_of_both_directions(predictions: pd.DataFrame) -> None:
    kinds = pair_rows(predictions, "angry", "fear")
    assert kinds["angry as fear, most confident"] == [3, 2, 1], "0.8, 0.7, 0.6"
    assert set(kinds["angry as fear, typical"]) == {4, 0}
    assert kinds["fear as angry, typical"] == [5]
    assert "fear as angry, most confident" not in kinds, "one error is typical"
    assert kinds["angry, correct"] == [6, 7, 8]
    assert kinds["fear, correct"] == [9, 10]
    assert max(map(len, kinds.values())) <= SHOWN


def test_the_first_face_of_each_kind_is_explained_for_both_expressions(predictions: pd.DataFrame) -> None:
    rows, classes = explained_rows(predictions, [("angry", "fear")])
    firsts = [kind[0] for kind in pair_rows(predictions, "angry", "fear").values()]
    assert list(zip(rows.tolist(), classes.tolist(), strict=True)) == [(row, name) for row in firsts for name in (0, 1)]
    assert [len(part) for part in explained_rows(predictions, [])] == [0, 0]
