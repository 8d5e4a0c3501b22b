from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ferlab.error_analysis import frame_leak
from ferlab.error_analysis.frame_leak import NEUTRAL, SPLITS, compare_splits, divide, draw_sequences, leak_row, predict_under_both, siblings_in_train

SETTINGS = {"draws": 2, "subjects": 8, "sequences": 14, "frames": 5, "size": 24, "seed": 0}


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, pd.DataFrame]:
    return draw_sequences(subjects=12, sequences=24, frames=9, size=24, seed=0)


def test_the_first_two_frames_are_neutral_and_the_last_third_shows_the_expression(drawn):
    images, faces = drawn
    assert images.shape == (len(faces), 24, 24)
    assert len(faces) == 24 * 5
    for _, frames in faces.groupby("sequence"):
        assert frames["frame"].tolist() == [0, 1, 6, 7, 8]
        assert (frames["target"].iloc[:2] == NEUTRAL).all()
        assert frames["target"].iloc[2:].nunique() == 1
    assert faces.loc[faces["frame"] >= 6, "target"].nunique() == 7


def test_both_splits_train_as_many_frames_and_never_test_frames(drawn):
    _, faces = drawn
    rows = divide(faces, seed=0)
    assert len(rows["by_subject"]) == len(rows["random_frames"])
    tested = faces.iloc[rows["tested"]]
    for split in SPLITS:
        assert not set(rows[split]) & set(rows["tested"])
    assert not set(faces["subject"].iloc[rows["by_subject"]]) & set(tested["subject"])
    assert siblings_in_train(faces, rows, "by_subject") == 0
    assert siblings_in_train(faces, rows, "random_frames") > 0.5
    assert tested.groupby("sequence").size().unique().tolist() == [2]  # half of five, rounded down


def leak_table(random_hits: list[int], subject_hits: list[int]) -> pd.DataFrame:
    """Five draws of four subjects, whose names are the same in every draw."""
    n = len(random_hits)
    draws, subjects = np.arange(n) // (n // 5), [f"s{number % 4}" for number in range(n)]
    values = {"draw": draws, "face_id": range(n), "subject": subjects, "sequence": subjects, "frame": 0, "target": 1}
    return pd.DataFrame({**values, "random_frames": random_hits, "by_subject": subject_hits})


def test_the_difference_is_paired_and_its_interval_is_over_draws():
    rng = np.random.default_rng(0)
    a, b = (rng.random(80) < 0.8).astype(int), (rng.random(80) < 0.5).astype(int)
    found = compare_splits(leak_table(a.tolist(), b.tolist()))
    by_draw = (a - b).reshape(5, 16).mean(axis=1)
    reference = stats.ttest_1samp(by_draw, 0)
    assert found["by_draw"] == pytest.approx(by_draw)
    assert found["difference"] == pytest.approx(by_draw.mean())
    assert found["p"] == pytest.approx(reference.pvalue, rel=1e-6)
    assert (found["ci_low"], found["ci_high"]) == pytest.approx(tuple(reference.confidence_interval()))
    assert (found["n"], found["draws"], found["subjects"]) == (80, 5, 20)
    assert found["random_frames_ci_low"] < a.mean() < found["random_frames_ci_high"]


@pytest.mark.parametrize(
    ("random_hits", "subject_hits", "verdict"),
    [
        ([1, 1, 1, 0] * 9 + [1] * 4, [0, 1, 0, 0] * 10, "does not hold"),
        ([1, 1, 1, 0] * 10, [0, 1, 0, 0] * 10, "cannot be told"),  # five draws without any spread: p = 0.0625 of a sign test
        ([1, 0] * 20, [1, 0] * 20, "cannot be told"),
        ([0, 1, 0, 0] * 10, [1] * 40, "cannot be told"),
    ],
)
def test_the_row_follows_from_the_numbers(random_hits, subject_hits, verdict):
    row = leak_row(leak_table(random_hits, subject_hits), {"siblings": {"random_frames": 0.9}})
    assert set(row) == {"paper", "claim", "check", "verdict", "evidence"}
    assert row["verdict"] == verdict
    assert "5 draws, in all 40 test frames of 20 subjects" in row["evidence"]


def test_frames_of_the_tested_sequences_in_train_are_worth_accuracy_on_pictures_without_any_expression():
    rng = np.random.default_rng(0)
    sequences = np.repeat(np.arange(40), 4)
    pictures = rng.integers(0, 256, (40, 48, 48), dtype=np.uint8)[sequences]  # noise, the same in all frames of a sequence
    targets = rng.integers(0, 7, 40)[sequences]
    rows = {"tested": np.arange(0, 80, 4), "random_frames": np.arange(1, 80, 4), "by_subject": np.arange(80, 160, 4)}
    preds = predict_under_both(pictures, targets, rows)
    assert (preds["random_frames"] == targets[rows["tested"]]).all()
    assert (preds["by_subject"] == targets[rows["tested"]]).mean() < 0.5


def test_both_predictions_of_every_draw_and_the_sizes_are_written_and_come_again(tmp_path, monkeypatch):
    monkeypatch.setattr("ferlab.evaluation.claims.measure_models", lambda: {"model": {"parameters": 1}})
    for name in ("a", "b"):
        frame_leak._measure(tmp_path / name / "leak.parquet", tmp_path / f"{name}.json", settings=SETTINGS)
    assert (tmp_path / "a" / "leak.parquet").read_bytes() == (tmp_path / "b" / "leak.parquet").read_bytes()
    leak, facts = pd.read_parquet(tmp_path / "a" / "leak.parquet"), json.loads((tmp_path / "a.json").read_text())
    assert leak.groupby("draw").size().index.tolist() == [0, 1]
    assert leak[list(SPLITS)].isin(range(7)).all(axis=None)
    assert facts["train"] > 0
    assert facts["siblings"]["by_subject"] == 0 < facts["siblings"]["random_frames"]
    assert facts["sizes"] == {"model": {"parameters": 1}}
