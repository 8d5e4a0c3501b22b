from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.control.source import read
from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.sequences import average_frames, flicker_rate, frames_in_order, score_sequences, smooth_frames

NAMES = ("sad", "happy")


def rows(*happy: float, targets: list[int] | None = None) -> pd.DataFrame:
    """Predictions of so many faces, by the probability of happy."""
    probs = np.stack([1 - np.array(happy), np.array(happy)], axis=1)
    ids = [f"f{i}" for i in range(len(happy))]
    return predictions_table(ids, ["test"] * len(ids), np.array(targets or [1] * len(ids)), probs=probs, expressions=NAMES)


def faces(sequences: list[str | None], frames: list[int] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"face_id": [f"f{i}" for i in range(len(sequences))], "sequence": sequences, "frame": frames or range(len(sequences))})


def test_a_sequence_is_predicted_by_the_mean_probabilities_of_its_frames():
    # Two of three frames say sad, but barely: the mean says happy.
    means = average_frames(frames_in_order(rows(0.45, 0.45, 0.9, 0.2), faces(["b", "b", "b", "a"])))
    assert means.index.tolist() == ["b", "a"]
    np.testing.assert_allclose(means["prob_happy"], [0.6, 0.2], atol=1e-6)


def test_still_faces_among_sequences_are_excluded_and_the_apex_is_the_target():
    scores = score_sequences(rows(0.9, 0.9, 0.1, targets=[0, 1, 0]), faces(["a", "a", None]))
    assert (scores["sequences"], scores["frames"], scores["accuracy"]) == (1, 2, 1)


def test_frames_are_ordered_by_their_number_not_by_their_row():
    shuffled = faces(["a", "a", "a"], frames=[2, 0, 1])
    assert score_sequences(rows(0.1, 0.1, 0.1, targets=[0, 1, 1]), shuffled)["accuracy"] == 1
    assert frames_in_order(rows(0.1, 0.5, 0.7), shuffled)["face_id"].tolist() == ["f1", "f2", "f0"]


def test_an_exponential_average_starts_with_the_first_frame_of_each_sequence():
    smoothed = smooth_frames(frames_in_order(rows(1.0, 0.0, 0.0, 0.0), faces(["a", "a", "a", "b"])), alpha=0.25)
    np.testing.assert_allclose(smoothed[:, 1], [1, 0.75, 0.5625, 0], atol=1e-6)


def test_no_later_frame_changes_a_prediction():
    before, after = (smooth_frames(frames_in_order(rows(0.9, 0.2, last), faces(["a"] * 3))) for last in (0.4, 0.99))
    np.testing.assert_array_equal(before[:2], after[:2])


def test_flicker_counts_changes_within_sequences_only():
    preds, names = np.array([0, 1, 1, 0, 0, 1]), np.array(list("aaabbb"))
    assert flicker_rate(preds, names) == 2 / 4
    assert np.isnan(flicker_rate(np.array([0, 1]), np.array(["a", "b"])))


def test_scores_of_sequences_by_hand():
    scores = score_sequences(rows(0.9, 0.4, 0.9, 0.1, 0.1, targets=[1, 1, 1, 0, 1]), faces(["a", "a", "a", "b", "b"]))
    assert (scores["sequences"], scores["frames"], scores["mixed"]) == (2, 5, 1)
    assert (scores["accuracy"], scores["frame_accuracy"]) == (0.5, 0.6)
    # 0.9, 0.75, 0.795: the dip is bridged.
    assert (scores["flicker"], scores["smoothed_flicker"]) == (2 / 3, 0)
    assert scores["accuracy_ci_low"] < 0.1 < 0.9 < scores["accuracy_ci_high"]


def test_frames_are_bounded_over_their_persons_or_sequences_and_not_as_faces():
    happy = [0.9] * 30 + [0.1] * 10
    table = faces([name for name in "abcd" for _ in range(10)], frames=list(range(10)) * 4)
    by_sequence = score_sequences(rows(*happy), table)
    low, high = cluster_proportion(np.array(happy) > 0.5, table["sequence"].to_numpy())
    assert (by_sequence["frame_accuracy_ci_low"], by_sequence["frame_accuracy_ci_high"]) == (low, high)
    assert low < wilson(30, 40)[0] - 0.2
    people = table.assign(subject=["p"] * 20 + ["q"] * 20)
    by_person = score_sequences(rows(*happy), people)
    assert by_person["frame_accuracy_ci_low"] < by_sequence["frame_accuracy_ci_low"]
    assert by_person["accuracy_ci_low"] < wilson(3, 4)[0]
    assert np.isnan(score_sequences(rows(*happy[:10]), table[:10])["frame_accuracy_ci_low"])


def test_a_set_without_sequences_has_no_such_scores():
    assert score_sequences(rows(0.9), faces([None])) is None
    assert score_sequences(rows(0.9), faces([None]).drop(columns="sequence")) is None


def test_frames_of_control_faces_are_averaged_by_their_sequence():
    _, table = read(faces=24, subjects=6, frames=4, size=48)
    happy = np.linspace(0.1, 0.9, len(table))
    predictions = predictions_table(
        table["face_id"], ["test"] * len(table), table["target"].to_numpy() % 2, probs=np.stack([1 - happy, happy], axis=1), expressions=NAMES
    )
    scores = score_sequences(predictions, table)
    assert (scores["sequences"], scores["frames"], scores["mixed"]) == (6, 24, 0)
