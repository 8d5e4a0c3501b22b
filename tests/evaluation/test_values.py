from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional import concordance_corrcoef

from ferlab.evaluation.values import concordance, score_values


def test_concordance_is_torchmetrics_with_variances_over_n() -> None:
    generator = np.random.default_rng(0)
    said, truth = generator.normal(size=2000), generator.normal(0.3, 1, 2000)
    said = 0.6 * truth + 0.4 * said
    assert concordance(said, truth) == pytest.approx(concordance_corrcoef(torch.from_numpy(said), torch.from_numpy(truth)).item(), abs=1e-3)


def test_only_agreement_counts() -> None:
    truth = np.arange(10.0)
    assert concordance(truth, truth) == 1
    assert concordance(np.full(10, 4.5), truth) == 0  # the mean of all, whatever its RMSE
    assert concordance(truth + 3, truth) == pytest.approx(2 * 8.25 / (2 * 8.25 + 9))  # they rise together and do not agree


def test_faces_without_truth_are_excluded_and_bounds_hold_the_number() -> None:
    generator = np.random.default_rng(1)
    truth = generator.uniform(0, 5, 200)
    faces = pd.DataFrame({"face_id": [f"f{n}" for n in range(200)], "intensity": np.where(np.arange(200) < 150, truth, np.nan)})
    rows = faces[["face_id"]].assign(value_intensity=truth + generator.normal(0, 1, 200)).iloc[::-1]
    score = score_values(rows, faces, resamples=300)["intensity"]  # type: ignore[index]
    assert score["n"] == 150
    assert score["rmse"] == pytest.approx(1, abs=0.15)
    assert score["ccc_ci_low"] < score["ccc"] < score["ccc_ci_high"]
    assert score["rmse_ci_low"] < score["rmse"] < score["rmse_ci_high"] < score["mean_rmse"]


def test_weights_count_faces_as_often_and_bounds_are_over_the_subjects_that_faces_name() -> None:
    generator = np.random.default_rng(2)
    truth, weights = generator.uniform(0, 5, 40), generator.integers(0, 4, 40)
    said = truth + generator.normal(0, 1, 40)
    assert concordance(said, truth, weights[None])[0] == pytest.approx(float(concordance(np.repeat(said, weights), np.repeat(truth, weights))))
    people = np.repeat(np.arange(8), 25)
    off = generator.normal(0, 1, 8)[people]  # all faces of a person are rated off alike
    faces = pd.DataFrame({"face_id": [f"f{n}" for n in range(200)], "intensity": generator.uniform(0, 5, 200), "subject": people.astype(str)})
    rows = faces[["face_id"]].assign(value_intensity=faces["intensity"] + off)
    by_subject = score_values(rows, faces, resamples=500)["intensity"]  # type: ignore[index]
    by_face = score_values(rows, faces.drop(columns="subject"), resamples=500)["intensity"]  # type: ignore[index]
    assert (by_subject["subjects"], "subjects" in by_face) == (8, False)
    assert by_subject["rmse_ci_high"] - by_subject["rmse_ci_low"] > 2 * (by_face["rmse_ci_high"] - by_face["rmse_ci_low"])


def test_a_net_that_says_no_value_has_none() -> None:
    assert score_values(pd.DataFrame({"face_id": ["f"]}), pd.DataFrame({"face_id": ["f"]})) is None


def test_shares_of_votes_are_scored_against_the_votes() -> None:
    votes = pd.DataFrame({"votes_happy": [10, 4, 0], "votes_sad": [0, 5, 0], "votes_unknown": [0, 1, 0]})
    faces = votes.assign(face_id=["a", "b", "c"], target=[0, 1, 1])
    rows = pd.DataFrame({"face_id": ["c", "b", "a"], "prob_happy": 0.5, "prob_sad": 0.5, "value_vote_share": [0.9, 0.5, 0.8]})
    score = score_values(rows, faces, resamples=100)["vote_share"]  # type: ignore[index]
    assert score["n"] == 2, "nobody voted on the third"
    assert score["rmse"] == pytest.approx(np.sqrt(0.2**2 / 2))
