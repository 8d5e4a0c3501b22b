"""Which faces fit and which judge."""

from __future__ import annotations

import pandas as pd
from held_out_faces import SEEN, face_table, predictions

from ferlab.evaluation.held_out import TRAINED, hold_out
from ferlab.roles import Exposure


def with_trained(faces: pd.DataFrame, groups: list[int]) -> pd.DataFrame:
    trained = pd.DataFrame({"face_id": [f"t{group}" for group in groups], "split": "train", "duplicate_group": groups})
    return pd.concat([faces, trained], ignore_index=True)


def test_faces_with_duplicates_among_those_seen_neither_fit_nor_judge() -> None:
    faces = with_trained(face_table(10), [3, 15])
    faces.loc[17, "duplicate_group"] = 4  # test/17 has a duplicate in val
    held = hold_out(predictions(10), faces, SEEN)
    assert set(held.fitting["face_id"]) == {f"x/{i:05d}" for i in range(10) if i != 3}, "a duplicate in test does not exclude a val face"
    assert set(held.judging["face_id"]) == {f"x/{i:05d}" for i in range(10, 20) if i not in (15, 17)}
    assert (held.reason, held.judged, held.by_subject) == ("", "test_dedup", False)
    assert held.units.tolist() == held.judging["face_id"].tolist()


def test_a_model_that_was_trained_on_val_has_nothing_that_fits() -> None:
    held = hold_out(predictions(10), face_table(10), Exposure(("train", "val")))
    assert (len(held.fitting), len(held.judging), held.reason) == (0, 10, TRAINED)


def test_reasons_where_no_face_is_left() -> None:
    every = with_trained(face_table(2), [0, 1])
    assert hold_out(predictions(2), every, SEEN).reason == "every val face has a duplicate among those trained on"
    every = hold_out(predictions(2), with_trained(face_table(2), [2, 3]), SEEN)
    assert (every.reason, len(every.judging), every.judged) == ("every test face has a duplicate in train or val", 2, "test")


def test_units_are_subjects_where_faces_name_them_and_rows_stand_in_the_order_of_ids() -> None:
    table = predictions(20).sample(frac=1, random_state=1)
    held = hold_out(table, face_table(20, subjects=4), SEEN)
    assert held.by_subject
    assert held.judging["face_id"].is_monotonic_increasing
    assert held.units.tolist() == [f"p{i % 4}" for i in range(20, 40)]
