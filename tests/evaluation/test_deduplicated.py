from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.data.faces import describe_faces
from ferlab.evaluation.deduplicated import compare_duplicates, mark_duplicates
from ferlab.evaluation.predictions import predictions_table, probs_of
from ferlab.evaluation.proportions import newcombe
from ferlab.evaluation.scores import score_probs, score_run, score_subjects, score_tta, summarise
from ferlab.paths import InputError

NAMES = ("angry", "happy", "sad")


def run(n: int = 90) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Faces 0-29 train (not scored), 30-59 val, 60-89 test; test faces 60-69 have a duplicate in train, 70-71 one in val, 72-74 a near one in train."""
    rng = np.random.default_rng(0)
    ids = [f"s/{i}" for i in range(n)]
    targets = rng.integers(0, 3, n)
    right = rng.random(n) < 0.6
    right[60:72] = True
    probs = np.full((n, 3), 0.1, dtype=np.float32)
    probs[np.arange(n), np.where(right, targets, (targets + 1) % 3)] = 0.8
    splits = ["train"] * 30 + ["val"] * 30 + ["test"] * 30
    duplicates = pd.DataFrame({"face_id": ids, "duplicate_in_train": False, "duplicate_in_val": False})
    duplicates.loc[60:69, "duplicate_in_train"] = True
    duplicates.loc[70:71, "duplicate_in_val"] = True
    duplicates["near_duplicate_in_train"], duplicates["near_duplicate_in_val"] = duplicates["duplicate_in_train"], duplicates["duplicate_in_val"]
    duplicates.loc[72:74, "near_duplicate_in_train"] = True
    return predictions_table(ids[30:], splits[30:], targets[30:], probs=probs[30:], expressions=NAMES), duplicates


def test_a_duplicate_in_train_or_in_val_marks_a_test_face():
    marked = mark_duplicates(*run())
    assert marked["duplicate"].sum() == 12
    assert set(marked["split"]) == {"test"}


def test_the_difference_is_duplicates_minus_clean_with_newcombes_bounds():
    marked = mark_duplicates(*run())
    compared = compare_duplicates(marked)
    hits = int((marked["pred"] == marked["target"])[~marked["duplicate"]].sum())
    expected = newcombe(12, 12, other_successes=hits, other_n=18)
    assert compared["accuracy_duplicates"] == 1
    assert compared["difference"] == pytest.approx(expected["difference"])
    assert compared["difference_ci_low"] == pytest.approx(expected["ci_low"])


def test_a_near_duplicate_is_told_apart_and_counts_exact_duplicates_in():
    marked = mark_duplicates(*run())
    assert (marked["near_duplicate"].sum(), (marked["near_duplicate"] & ~marked["duplicate"]).sum()) == (15, 3)
    compared = compare_duplicates(marked, "near_duplicate")
    clean = marked[~marked["near_duplicate"]]
    assert (compared["n_duplicates"], compared["n_dedup"]) == (15, 15)
    assert compared["accuracy_dedup"] == pytest.approx((clean["pred"] == clean["target"]).mean())


def test_without_duplicates_there_is_no_difference():
    predictions, duplicates = run()
    compared = compare_duplicates(mark_duplicates(predictions, duplicates.assign(duplicate_in_train=False, duplicate_in_val=False)))
    assert compared["n_duplicates"] == 0
    assert compared["difference"] is None


def test_a_test_face_that_the_audit_does_not_know_is_told():
    predictions, duplicates = run()
    with pytest.raises(InputError, match="s/89 is not in the duplicates table"):
        mark_duplicates(predictions, duplicates.iloc[:89])
    with pytest.raises(InputError, match="named twice"):
        mark_duplicates(predictions, pd.concat([duplicates, duplicates.iloc[:1]]))


def test_a_run_is_scored_on_val_test_and_clean_test():
    scores = score_run(*run(), resamples=100)
    assert scores["n"] == {"val": 30, "test": 30, "test_dedup": 18}
    assert scores["test_dedup"]["accuracy"] == pytest.approx(scores["duplicates"]["accuracy_dedup"])
    assert scores["near_duplicates"]["n_duplicates"] == 15
    for split in ("val", "test", "test_dedup"):
        assert {"accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "nll", "ece", "top3_accuracy"} <= set(scores[split])
        assert scores[split]["accuracy_ci_low"] <= scores[split]["accuracy"] <= scores[split]["accuracy_ci_high"]
        assert {"precision", "recall", "f1", "support", "recall_ci_low", "f1_ci_high"} <= set(scores[split]["per_class"]["sad"])
    summary = summarise(scores)
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


def test_subjects_are_redrawn_only_where_there_are_some():
    predictions, _ = run()
    faces = pd.DataFrame({"face_id": predictions["face_id"], "subject": [f"p{i % 6}" for i in range(60)]})
    assert score_subjects(predictions, faces, resamples=100)["subjects"] == 6
    assert score_subjects(predictions, faces.drop(columns="subject"), resamples=100) is None
    assert score_subjects(predictions, faces.assign(subject="one"), resamples=100) is None
