"""Kept predictions: counts survive float16 exactly, NLL nearly; a table that is none is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.deduplicated import KINDS
from ferlab.evaluation.kept import differences, keep, read_kept, rescore, write_kept
from ferlab.evaluation.predictions import predictions_table, probs_of
from ferlab.evaluation.scores import score_run
from ferlab.paths import InputError

NAMES = ("angry", "happy", "sad")


@pytest.fixture
def predictions() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(3), size=300)
    return predictions_table(
        [f"f/{i}" for i in range(300)], ["val"] * 100 + ["test"] * 200, rng.integers(0, 3, 300), probs=probs, expressions=NAMES
    )


@pytest.fixture
def duplicates(predictions) -> pd.DataFrame:
    marked = np.random.default_rng(1).random(300)
    columns = {"duplicate_in_train": marked < 0.1, "duplicate_in_val": False, "near_duplicate_in_train": marked < 0.3, "near_duplicate_in_val": False}
    return pd.DataFrame({"face_id": predictions["face_id"], **columns})


def test_kept_predictions_give_the_metrics_of_the_full_ones(predictions, duplicates, tmp_path):
    write_kept(tmp_path / "run.parquet", keep(predictions, duplicates))
    recomputed = rescore(read_kept(tmp_path / "run.parquet"))
    scores = score_run(predictions, duplicates, resamples=100)
    assert differences(scores, recomputed) == {}
    assert recomputed["n"] == scores["n"]
    for split in ("val", "test", "test_dedup"):  # counts, to the face
        assert recomputed[split]["accuracy"] == pytest.approx(scores[split]["accuracy"], abs=1e-9)


def test_a_wrong_number_is_told_with_both_values(predictions, duplicates, tmp_path):
    write_kept(tmp_path / "run.parquet", keep(predictions, duplicates))
    scores = score_run(predictions, duplicates, resamples=100)
    scores["test"]["accuracy"] += 0.01
    (key, (theirs, ours)), = differences(scores, rescore(read_kept(tmp_path / "run.parquet"))).items()
    assert (key, theirs - ours) == ("test.accuracy", pytest.approx(0.01))


def test_a_face_that_float16_would_tie_keeps_its_prediction(duplicates, predictions):
    probs = np.array([[0.4, 0.40001, 0.19999]] * 300)  # equal as float16: the first would win
    table = predictions_table(predictions["face_id"], predictions["split"], np.zeros(300, int), probs=probs, expressions=NAMES)
    kept = keep(table, duplicates)
    assert (probs_of(kept).argmax(axis=1) == 1).all()
    assert np.abs(probs_of(kept) - probs).max() < 5e-4


def test_a_test_face_is_marked_and_a_val_face_is_not(predictions, duplicates):
    kept = keep(predictions, duplicates).set_index("face_id")
    assert not kept.loc[kept["split"] == "val", list(KINDS)].any(axis=None)
    expected = duplicates.set_index("face_id")["near_duplicate_in_train"][kept.index[kept["split"] == "test"]]
    assert kept.loc[expected.index, "near_duplicate"].tolist() == expected.tolist()


def test_a_kept_face_takes_few_bytes_and_equal_tables_equal_bytes(predictions, duplicates, tmp_path):
    for name in ("a", "b"):
        write_kept(tmp_path / f"{name}.parquet", keep(predictions, duplicates))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert keep(predictions, duplicates)["prob_angry"].dtype == np.float16


def test_what_is_no_kept_table_is_named(predictions, tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"x\.parquet: no kept predictions"):
        read_kept(tmp_path / "x.parquet")
    predictions.to_parquet(tmp_path / "y.parquet")
    with pytest.raises(InputError, match=r"y\.parquet: expected the columns of kept predictions, missing duplicate, near_duplicate"):
        read_kept(tmp_path / "y.parquet")
