from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest

from ferlab.data.faces import describe_faces
from ferlab.evaluation import deduplicated
from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.deduplicated import accuracy_at_mix, compare_duplicates, mark_duplicates
from ferlab.evaluation.predictions import faces_in, predictions_table, probs_of
from ferlab.evaluation.proportions import newcombe, wilson
from ferlab.evaluation.scores import score_probs, score_run, score_tta, subjects_by_split, summarise
from ferlab.paths import InputError

NAMES = ("angry", "happy", "sad")


def run(n: int = 90) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Faces 0-29 train (not scored), 30-59 val, 60-89 test; test faces 60-71 have a duplicate in train, 72-74 one in val, 75-76 each other."""
    rng = np.random.default_rng(0)
    ids = [f"s/{i}" for i in range(n)]
    targets = rng.integers(0, 3, n)
    right = rng.random(n) < 0.6
    right[60:75] = True
    probs = np.full((n, 3), 0.1, dtype=np.float32)
    probs[np.arange(n), np.where(right, targets, (targets + 1) % 3)] = 0.8
    splits = ["train"] * 30 + ["val"] * 30 + ["test"] * 30
    groups = np.arange(n)
    groups[60:72], groups[72:75], groups[76] = np.arange(12), np.arange(30, 33), 75
    faces = pd.DataFrame({"face_id": ids, "split": splits, "duplicate_group": groups})
    return predictions_table(ids[30:], splits[30:], targets[30:], probs=probs[30:], expressions=NAMES), faces


def test_a_duplicate_in_train_or_in_val_marks_a_test_face():
    marked = mark_duplicates(*run())
    assert marked["duplicate"].tolist() == [True] * 15 + [False] * 15
    assert set(marked["split"]) == {"test"}


def test_the_difference_is_with_minus_without_duplicates_with_newcombes_bounds():
    marked = mark_duplicates(*run())
    compared = compare_duplicates(marked)
    hits = int((marked["pred"] == marked["target"])[~marked["duplicate"]].sum())
    expected = newcombe(15, 15, other_successes=hits, other_n=15)
    assert (compared["n_duplicates"], compared["n_dedup"], compared["accuracy_duplicates"]) == (15, 15, 1)
    assert compared["accuracy_dedup"] == pytest.approx(hits / 15)
    assert compared["difference"] == pytest.approx(expected["difference"])
    assert compared["difference_ci_low"] == pytest.approx(expected["ci_low"])


def test_without_duplicates_there_is_no_difference():
    predictions, faces = run()
    compared = compare_duplicates(mark_duplicates(predictions, faces.assign(duplicate_group=np.arange(90))))
    assert compared["n_duplicates"] == 0
    assert compared["difference"] is None


def test_a_test_face_that_the_dataset_does_not_hold_and_a_table_without_groups_are_refused():
    predictions, faces = run()
    with pytest.raises(InputError, match="s/89 is not in the prepared dataset"):
        mark_duplicates(predictions, faces.iloc[:89])
    with pytest.raises(InputError, match="no column 'duplicate_group'"):
        mark_duplicates(predictions, faces.drop(columns="duplicate_group"))


def test_accuracy_at_another_mix_by_hand():
    """Recalls 1/2 and 3/4; at a mix of 3 to 1 that is (3 / 2 + 3 / 4) / 4. Class 2 has no rows: its face is in no frequency."""
    rows = pd.DataFrame({"target": [0, 0, 1, 1, 1, 1], "pred": [0, 1, 1, 1, 1, 0]})
    found = accuracy_at_mix(rows, pd.Series([0, 0, 0, 1, 2]))
    assert found["accuracy_at_test_mix"] == pytest.approx(0.5625)
    half = [wilson(1, 2), wilson(3, 4)]
    below = np.sqrt((0.75 * (0.5 - half[0][0])) ** 2 + (0.25 * (0.75 - half[1][0])) ** 2)
    assert found["accuracy_at_test_mix_ci_low"] == pytest.approx(0.5625 - below)
    same = accuracy_at_mix(rows, rows["target"])
    assert same["accuracy_at_test_mix"] == pytest.approx(4 / 6)


def test_the_interval_at_another_mix_covers_the_truth(monkeypatch):
    """In 400 draws of unequal classes, as of FER2013's: 93 % or more."""
    monkeypatch.setattr(deduplicated, "wilson", cache(deduplicated.wilson))  # few counts, many times
    rng, sizes, recalls = np.random.default_rng(0), np.array([348, 29, 327, 827, 537, 191, 541]), np.array([0.6, 0.3, 0.4, 0.85, 0.6, 0.7, 0.65])
    mix = np.array([467, 56, 496, 895, 653, 415, 607])
    truth = float((mix / mix.sum()) @ recalls)
    targets, kinds = np.repeat(np.arange(7), sizes), pd.Series(np.repeat(np.arange(7), mix))
    covered = 0
    for _ in range(400):
        preds = np.where(rng.random(len(targets)) < recalls[targets], targets, (targets + 1) % 7)
        found = accuracy_at_mix(pd.DataFrame({"target": targets, "pred": preds}), kinds)
        covered += found["accuracy_at_test_mix_ci_low"] <= truth <= found["accuracy_at_test_mix_ci_high"]
    assert covered >= 0.93 * 400


def test_a_run_is_scored_on_val_test_and_deduplicated_test():
    scores = score_run(*run(), resamples=100)
    assert scores["n"] == {"val": 30, "test": 30, "test_dedup": 15}
    assert scores["test_dedup"]["accuracy"] == pytest.approx(scores["duplicates"]["accuracy_dedup"])
    for split in ("val", "test", "test_dedup"):
        assert {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "nll", "ece", "top3_accuracy"} <= set(scores[split])
        assert scores[split]["accuracy_ci_low"] <= scores[split]["accuracy"] <= scores[split]["accuracy_ci_high"]
        assert {"precision", "recall", "f1", "support", "recall_ci_low", "f1_ci_high"} <= set(scores[split]["per_class"]["sad"])
        assert ("accuracy_at_test_mix" in scores[split]) == (split == "test_dedup")
    summary = summarise(scores)
    assert set(summary) == {"val", "test", "test_dedup"}
    assert set(summary["test"]) == {"accuracy", "accuracy_ci_low", "accuracy_ci_high", "balanced_accuracy", "macro_f1", "nll", "ece"}


def test_another_view_is_scored_on_the_same_faces():
    predictions, _ = run()
    certain = np.eye(3, dtype=np.float32)[predictions["target"]]
    assert score_probs(predictions, certain)["accuracy"] == 1
    by_tta = score_tta(predictions, {"none": certain, "flip": probs_of(predictions)})
    assert by_tta["tta_none"]["test"]["accuracy"] == 1
    assert by_tta["tta_flip"]["val"]["accuracy"] < 1


def test_where_faces_come_from_is_told_by_split():
    faces = pd.DataFrame({"source": "fer2013", "split": ["val", "test", "test"], "usage": ["Training", "PublicTest", "PublicTest"]})
    assert describe_faces(faces) == {"dataset": "fer2013", "usage": {"val": "Training", "test": "PublicTest"}}


def test_bounds_are_over_subjects_where_faces_name_some_and_over_faces_elsewhere():
    predictions, faces = run()
    people = np.array([f"p{i % 6}" for i in range(len(faces))])
    scores, alone = score_run(predictions, faces.assign(subject=people), resamples=100), score_run(predictions, faces, resamples=100)
    test = faces_in(predictions, "test")
    hits, subjects = (test["pred"] == test["target"]).to_numpy(), pd.Series(people, faces["face_id"])[test["face_id"]].to_numpy()
    assert (scores["test"]["accuracy_ci_low"], scores["test"]["accuracy_ci_high"]) == cluster_proportion(hits, subjects)
    sad = (test["target"] == NAMES.index("sad")).to_numpy()
    assert scores["test"]["per_class"]["sad"]["recall_ci_high"] == cluster_proportion(hits[sad], subjects[sad])[1]
    assert scores["test"]["ece_ci_high"] == alone["test"]["ece_ci_high"]
    by_split = subjects_by_split(scores)
    assert (by_split["test"]["subjects"], by_split["test"]["accuracy_ci_low"]) == (6, scores["test"]["accuracy_ci_low"])
    assert "ece_ci_low" not in by_split["test"]
    for other in (faces, faces.assign(subject="one")):
        scores = score_run(predictions, other, resamples=100)
        assert scores["test"]["accuracy_ci_low"] == wilson(hits.sum(), len(hits))[0]
        assert subjects_by_split(scores) == {"val": None, "test": None, "test_dedup": None}
