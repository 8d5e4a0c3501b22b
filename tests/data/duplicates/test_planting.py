"""Planted copies differ as their kind says, and are counted right."""

import numpy as np
import pandas as pd
import pytest

from ferlab.control import read
from ferlab.copies import KINDS
from ferlab.data.duplicates.planting import judge_found, plant, planted_in
from ferlab.data.duplicates.recall import search_control, search_own


@pytest.fixture(scope="module")
def faces():
    return read(faces=120, subjects=10, size=48, seed=2)


def test_copies_stand_behind_the_faces_each_of_another(faces):
    images, planted = plant(faces[0], each=10, seed=3)
    assert len(images) == 190
    assert planted["copy"].tolist() == list(range(120, 190))
    assert planted["origin"].is_unique
    np.testing.assert_array_equal(images[planted["copy"][0]], images[planted["origin"][0]])
    with pytest.raises(ValueError, match="at least 140 faces"):
        plant(faces[0], each=20)


def test_recall_and_precision_by_hand():
    planted = pd.DataFrame({"origin": [0, 1, 2, 0], "copy": [4, 5, 6, 7], "kind": ["exact", "jpeg", "jpeg", "jpeg"]})
    contents = np.array([0, 1, 2, 3, 0, 4, 5, 6])  # face 4 is 0 byte for byte
    # 1-5: right. 0-7: right. 3-5: wrong. 5-7: wrong. The copy 6 of 2 is missed.
    found = pd.DataFrame({"first": [1, 0, 3, 5], "second": [5, 7, 5, 7]})
    judged = judge_found(found, planted, contents)
    assert (judged["planted"], judged["found"], judged["recall"], judged["false_pairs"]) == (4, 3, 0.75, 2)
    assert judged["precision"] == pytest.approx(3 / 5)  # the exact duplicate counts as a right pair
    assert judged["per_kind"]["exact"]["recall"] == 1
    assert judged["per_kind"]["jpeg"] == {"planted": 3, "found": 2, "recall": pytest.approx(2 / 3)}
    frames = judge_found(found, planted, contents, alike=np.array([-1, -1, -1, 9, -1, 9, -1, -1]))
    assert frames["false_pairs"] == 1  # 3 and 5 are frames of one sequence


def test_two_copies_of_one_original_are_a_right_pair():
    planted = pd.DataFrame({"origin": [0, 0], "copy": [1, 2], "kind": "jpeg"})
    assert judge_found(pd.DataFrame({"first": [1], "second": [2]}), planted, np.arange(3))["false_pairs"] == 0


def test_copies_are_read_from_the_table_of_a_set():
    copies = {"duplicate_of": ["", "a", "gone", "b"], "duplicate_kind": ["", "jpeg", "exact", "mirrored"]}
    table = pd.DataFrame({"face_id": ["a", "b", "c", "d"], **copies})
    planted = planted_in(table)
    assert planted[["origin", "copy", "kind"]].to_numpy().tolist() == [[0, 1, "jpeg"], [1, 3, "mirrored"]]
    assert planted_in(table.drop(columns="duplicate_kind"))["kind"].tolist() == ["exact", "exact"]
    assert planted_in(table[["face_id"]]) is None


def test_the_search_is_tested_on_control_faces_and_on_the_sets_own(faces):
    images, table = faces
    judged = search_control(images, table, each=10)
    assert set(judged["per_kind"]) == set(KINDS)
    assert min(of["recall"] for kind, of in judged["per_kind"].items() if kind != "combined") == 1
    assert judged["precision"] >= 0.98
    own = search_own(images, table.assign(content_hash=[str(n) for n in range(len(table))]), limit=0.98, each=10)
    assert own["planted"] == 70
    assert "precision" not in own
