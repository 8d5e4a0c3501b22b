"""Faces that raters split between two expressions, and what their errors are, counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.error_analysis.two_labels import SPLIT, split_faces, split_facts
from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.proportions import wilson

NAMES = ("angry", "fear", "sad")


def scored(target: list[int], pred: list[int]) -> pd.DataFrame:
    ids = [f"f{row}" for row in range(len(target))]
    return predictions_table(ids, ["val"] * len(target), np.array(target), probs=np.eye(3)[pred], expressions=NAMES)


def test_split_faces_are_those_with_two_supported_expressions_one_of_them_the_label() -> None:
    predictions = scored([0, 0, 0, 0, 1], [1, 0, 2, 0, 0])
    votes = pd.DataFrame(
        {
            "face_id": predictions["face_id"],
            "votes_angry": [5, 9, 4, 2, 0],
            "votes_fear": [5, 1, 2, 4, 3],
            "votes_sad": [0, 0, 4, 4, 0],
            "votes_unknown": [0, 0, 0, 0, 7],
        }
    )
    split = split_faces(predictions, votes.iloc[::-1])
    assert split["face_id"].tolist() == ["f0", "f2"], "f1 is clear, f3 is split without its label, f4 has one expression"
    assert split["other"].tolist() == ["fear", "sad"]
    assert split["other_chosen"].tolist() == [True, True]
    assert split["share_other"].tolist() == [0.5, 0.4]
    assert SPLIT == 0.3


def test_facts_count_errors_that_are_the_raters_other_choice() -> None:
    target, pred = [0] * 10, [1, 1, 1, 2, 0, 1, 2, 2, 0, 0]
    predictions = scored(target, pred)
    even = np.arange(10) < 5
    faces = pd.DataFrame({"face_id": predictions["face_id"], "votes_angry": np.where(even, 5, 10), "votes_fear": np.where(even, 5, 0)})
    facts = split_facts(split_faces(predictions, faces), predictions)
    assert (facts["faces"], facts["errors"], facts["other_chosen"]) == (5, 4, 3)
    assert facts["other_share"] == 0.75
    assert facts["other_expected"] == pytest.approx(1 / 3), "of three errors on other angry faces one is fear"
    assert facts["error_rate"] == 0.8
    assert facts["error_rate_others"] == 0.6
    assert (facts["other_share_ci_low"], facts["other_share_ci_high"]) == wilson(3, 4)
    people = np.array(list("aabbcaabbc"))
    by_subject = split_facts(split_faces(predictions, faces), predictions.assign(subject=people))
    assert (by_subject["error_rate_ci_low"], by_subject["error_rate_ci_high"]) == cluster_proportion(np.array([1, 1, 1, 1, 0]), people[:5])


def test_faces_without_votes_are_never_split() -> None:
    predictions = scored([0, 1], [1, 1])
    faces = pd.DataFrame({"face_id": predictions["face_id"], "votes_angry": [0, 0], "votes_fear": [0, 0]})
    facts = split_facts(split_faces(predictions, faces), predictions)
    assert facts["faces"] == 0
    assert np.isnan(facts["other_share"])


def test_a_label_without_errors_elsewhere_expects_nothing() -> None:
    predictions = scored([0, 0], [1, 0])
    faces = pd.DataFrame({"face_id": predictions["face_id"], "votes_angry": [5, 9], "votes_fear": [5, 1]})
    assert np.isnan(split_facts(split_faces(predictions, faces), predictions)["other_expected"])
