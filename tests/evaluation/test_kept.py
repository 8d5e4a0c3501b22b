"""Kept predictions: counts survive float16 exactly, NLL nearly; a table that is none is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

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
def faces(predictions) -> pd.DataFrame:
    """A third of the test faces have a duplicate in train."""
    test, groups = np.flatnonzero(predictions["split"] == "test"), np.arange(300)
    trains = pd.DataFrame({"face_id": [f"t/{i}" for i in range(60)], "split": "train", "duplicate_group": test[:60]})
    return pd.concat([predictions[["face_id", "split"]].assign(duplicate_group=groups), trains], ignore_index=True)


def test_kept_predictions_give_the_metrics_of_the_full_ones(predictions, faces, tmp_path):
    write_kept(tmp_path / "run.parquet", keep(predictions, faces))
    recomputed = rescore(read_kept(tmp_path / "run.parquet"))
    scores = score_run(predictions, faces, resamples=100)
    assert differences(scores, recomputed) == {}
    assert recomputed["n"] == scores["n"]
    for split in ("val", "test", "test_dedup"):  # counts, to the face
        assert recomputed[split]["accuracy"] == pytest.approx(scores[split]["accuracy"], abs=1e-9)


def test_a_wrong_number_is_told_with_both_values(predictions, faces, tmp_path):
    write_kept(tmp_path / "run.parquet", keep(predictions, faces))
    scores = score_run(predictions, faces, resamples=100)
    scores["test"]["accuracy"] += 0.01
    (key, (theirs, ours)), = differences(scores, rescore(read_kept(tmp_path / "run.parquet"))).items()
    assert (key, theirs - ours) == ("test.accuracy", pytest.approx(0.01))


def test_a_face_that_float16_would_tie_keeps_its_prediction(faces, predictions):
    probs = np.array([[0.4, 0.40001, 0.19999]] * 300)  # equal as float16: the first would win
    table = predictions_table(predictions["face_id"], predictions["split"], np.zeros(300, int), probs=probs, expressions=NAMES)
    kept = keep(table, faces)
    assert (probs_of(kept).argmax(axis=1) == 1).all()
    assert np.abs(probs_of(kept) - probs).max() < 5e-4


def test_a_test_face_is_marked_and_a_val_face_is_not(predictions, faces):
    kept = keep(predictions, faces).set_index("face_id")
    assert not kept.loc[kept["split"] == "val", "duplicate"].any()
    assert kept.loc[kept["split"] == "test", "duplicate"].tolist() == [True] * 60 + [False] * 140


def test_a_kept_face_takes_few_bytes_and_equal_tables_equal_bytes(predictions, faces, tmp_path):
    for name in ("a", "b"):
        write_kept(tmp_path / f"{name}.parquet", keep(predictions, faces))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert keep(predictions, faces)["prob_angry"].dtype == np.float16


def test_what_is_no_kept_table_is_named(predictions, tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"x\.parquet: no kept predictions"):
        read_kept(tmp_path / "x.parquet")
    predictions.to_parquet(tmp_path / "y.parquet")
    with pytest.raises(InputError, match=r"y\.parquet: expected the columns of kept predictions, missing duplicate"):
        read_kept(tmp_path / "y.parquet")
