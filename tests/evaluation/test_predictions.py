from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.predictions import (
    check_predictions,
    confusion_table,
    expressions_of,
    faces_in,
    named_pairs,
    predictions_table,
    probs_of,
    read_predictions,
    write_predictions,
)
from ferlab.paths import InputError

NAMES = ("angry", "happy", "sad")


def small_table() -> pd.DataFrame:
    probs = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2]], dtype=np.float32)
    return predictions_table(["a", "b", "c", "d"], ["val", "val", "test", "test"], np.array([0, 2, 2, 1]), probs=probs, expressions=NAMES)


def test_columns_are_the_contract_and_a_tie_goes_to_the_first_class():
    table = small_table()
    assert list(table.columns) == ["face_id", "split", "target", "pred", "prob_angry", "prob_happy", "prob_sad"]
    assert table["pred"].tolist() == [0, 1, 2, 0]
    assert expressions_of(table) == NAMES
    assert probs_of(table).dtype == np.float32


def test_what_is_written_is_read_back_and_equal_tables_give_equal_bytes(tmp_path):
    table = small_table()
    write_predictions(tmp_path / "one.parquet", table)
    write_predictions(tmp_path / "two.parquet", small_table())
    pd.testing.assert_frame_equal(read_predictions(tmp_path / "one.parquet"), table)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


@pytest.mark.parametrize(
    ("column", "row", "value", "said"),
    [
        ("prob_angry", 1, np.nan, "not a number"),
        ("prob_angry", 1, 0.9, "do not sum to 1"),
        ("face_id", 1, "a", "repeated"),
        ("split", 1, "dev", "split is none of"),
        ("target", 1, 3, "target is not in 0..2"),
        ("pred", 1, 0, "pred is not the largest"),
    ],
)
def test_a_broken_row_is_named(column, row, value, said):
    table = small_table()
    table.loc[row, column] = value
    with pytest.raises(InputError, match=said):
        check_predictions(table)


def test_negative_probabilities_are_refused_even_if_they_sum_to_one():
    table = small_table()
    table.loc[0, ["prob_angry", "prob_happy", "prob_sad"]] = [1.2, -0.3, 0.1]
    with pytest.raises(InputError, match="from 0 to 1"):
        check_predictions(table)


def test_missing_files_columns_splits_and_rows_are_told(tmp_path):
    with pytest.raises(InputError, match="run the evaluate stage"):
        read_predictions(tmp_path / "none.parquet")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not readable"):
        read_predictions(tmp_path / "cut.parquet")
    with pytest.raises(InputError, match="missing pred"):
        check_predictions(small_table().drop(columns="pred"))
    with pytest.raises(InputError, match="no rows"):
        check_predictions(small_table().iloc[:0])
    with pytest.raises(InputError, match="no face of the train split"):
        faces_in(small_table(), "train")


def test_shapes_that_do_not_fit_are_told():
    with pytest.raises(InputError, match=r"shape \(1, 3\)"):
        predictions_table(["a"], ["val"], np.array([0]), probs=np.ones((1, 2)) / 2, expressions=NAMES)


def test_confusions_by_name_count_every_face_once():
    table = small_table()
    confusions = confusion_table(table)
    assert confusions.to_numpy().sum() == 4
    assert confusions.loc["sad", "happy"] == 1
    assert confusions.loc["happy", "angry"] == 1
    pairs = named_pairs(table)
    assert pairs.columns.tolist() == ["actual", "predicted"]
    assert pairs.iloc[1].tolist() == ["sad", "happy"]
