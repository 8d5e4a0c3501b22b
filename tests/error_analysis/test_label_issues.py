"""Planted label errors are found, raters' votes are read rightly, and cleanlab's own score is the one reported."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.error_analysis.label_issues import (
    count_agreement,
    issues_per_class,
    out_of_sample,
    rank_label_issues,
    with_votes,
)
from ferlab.evaluation.predictions import predictions_table
from ferlab.paths import InputError

NAMES = ("angry", "disgust", "fear")
LABEL_COLUMNS = ("face_id", "given", "suggested", "label_quality", "prob_suggested")
VOTE_COLUMNS = ("raters_label", "raters_share", "raters_agree_with")


def planted(n: int = 300, wrong: int = 15, *, sure: float = 0.9) -> tuple[pd.DataFrame, np.ndarray]:
    """Predictions of a model that knows the truth, and the rows whose given label was changed."""
    rng = np.random.default_rng(0)
    truth = np.arange(n) % 3
    changed = rng.choice(n, wrong, replace=False)
    given = truth.copy()
    given[changed] = (truth[changed] + 1) % 3
    probs = np.full((n, 3), (1 - sure) / 2) + rng.uniform(-0.02, 0.02, (n, 3))
    probs[np.arange(n), truth] = sure
    probs /= probs.sum(axis=1, keepdims=True)
    ids = [f"set/{row:07d}" for row in range(n)]
    return predictions_table(ids, ["val"] * n, given, probs=probs, expressions=NAMES), np.sort(changed)


def test_planted_label_errors_are_found_and_no_others() -> None:
    predictions, changed = planted()
    issues = rank_label_issues(predictions, role="untouched")
    assert sorted(issues["face_id"]) == predictions["face_id"].iloc[changed].tolist()
    assert tuple(issues.columns) == LABEL_COLUMNS
    assert issues["label_quality"].is_monotonic_increasing


def test_quality_is_the_probability_of_the_given_label() -> None:
    predictions, _ = planted()
    for row in rank_label_issues(predictions, role="untouched").itertuples():
        face = predictions.set_index("face_id").loc[row.face_id]
        assert row.label_quality == pytest.approx(face[f"prob_{row.given}"])
        assert row.prob_suggested == pytest.approx(face[f"prob_{row.suggested}"])


def test_faultless_labels_give_an_empty_table() -> None:
    predictions, _ = planted(wrong=0)
    issues = rank_label_issues(predictions, role="untouched")
    assert issues.empty
    assert tuple(issues.columns) == LABEL_COLUMNS


def test_split_without_a_class_is_no_problem() -> None:
    predictions, _ = planted()
    issues = rank_label_issues(predictions[predictions["target"] != 1], role="untouched")
    assert set(issues["given"]) <= {"angry", "fear"}
    counts = issues_per_class(issues, predictions[predictions["target"] != 1]).set_index("expression")
    assert counts.loc["disgust", "faces"] == 0
    assert np.isnan(counts.loc["disgust", "share"])


def test_an_expression_that_no_label_bears_is_never_suggested() -> None:
    full, changed = planted()
    probs = np.column_stack([0.45 * full[[f"prob_{name}" for name in NAMES]].to_numpy(), np.full(len(full), 0.55)])
    predictions = predictions_table(full["face_id"], full["split"], full["target"].to_numpy(), probs=probs, expressions=(*NAMES, "neutral"))
    assert (predictions["pred"] == 3).all()  # the model says neutral to all, and no face is given as neutral
    issues = rank_label_issues(predictions, role="untouched")
    assert sorted(issues["face_id"]) == full["face_id"].iloc[changed].tolist()
    assert issues["suggested"].tolist() == rank_label_issues(full, role="untouched")["suggested"].tolist()


@pytest.mark.parametrize("given", [[0], [1, 1, 1], [0, 1], [0, 2, 2, 2]])
def test_splits_of_few_faces_or_one_class_give_a_table(given: list[int]) -> None:
    probs = np.full((len(given), 3), [1.0, 0.0, 0.0])
    predictions = predictions_table([f"set/{n}" for n in range(len(given))], ["val"] * len(given), np.array(given), probs=probs, expressions=NAMES)
    assert tuple(rank_label_issues(predictions, role="untouched").columns) == LABEL_COLUMNS


def test_raters_are_read_by_hand() -> None:
    issues = pd.DataFrame({"face_id": ["b", "a", "c", "d"], "given": ["angry"] * 4, "suggested": ["fear"] * 4})
    faces = pd.DataFrame(
        {
            "face_id": ["a", "b", "c", "d", "e"],
            "votes_angry": [8, 1, 5, 0, 9],
            "votes_fear": [2, 6, 5, 0, 1],
            "votes_contempt": [0, 3, 0, 10, 0],
        }
    )
    voted = with_votes(issues, faces)
    assert voted["raters_label"].tolist() == ["fear", "angry", "tie", "contempt"]
    assert voted["raters_share"].tolist() == pytest.approx([0.6, 0.8, 0.5, 1.0])
    assert voted["raters_agree_with"].tolist() == ["suggested", "given", "neither", "neither"]
    assert count_agreement(voted) == {"given": 1, "suggested": 1, "neither": 2}


def test_face_without_votes_has_no_share() -> None:
    issues = pd.DataFrame({"face_id": ["a"], "given": ["angry"], "suggested": ["fear"]})
    voted = with_votes(issues, pd.DataFrame({"face_id": ["a"], "votes_angry": [0], "votes_fear": [0]}))
    assert voted["raters_share"].isna().all()
    assert voted["raters_agree_with"].tolist() == ["neither"]


def test_votes_stand_beside_issues_only_where_the_set_has_them() -> None:
    predictions, _ = planted()
    faces = predictions[["face_id"]].assign(votes_angry=3, votes_fear=7)
    assert tuple(rank_label_issues(predictions, faces, role="untouched").columns) == LABEL_COLUMNS + VOTE_COLUMNS
    assert tuple(rank_label_issues(predictions, faces[["face_id"]], role="untouched").columns) == LABEL_COLUMNS
    assert tuple(rank_label_issues(planted(wrong=0)[0], faces, role="untouched").columns) == LABEL_COLUMNS + VOTE_COLUMNS
    assert count_agreement(rank_label_issues(predictions, role="untouched")) == {}


def test_issues_per_class_count_the_given_label() -> None:
    predictions, _ = planted()
    issues = rank_label_issues(predictions, role="untouched")
    counts = issues_per_class(issues, predictions)
    assert counts["issues"].sum() == len(issues)
    assert counts["faces"].sum() == len(predictions)
    assert counts["expression"].tolist() == list(NAMES)


def test_in_sample_probabilities_are_refused_and_cross_validated_ones_taken() -> None:
    predictions, changed = planted()
    with pytest.raises(InputError, match="the model was trained on these 300 faces; expected out-of-sample probabilities"):
        rank_label_issues(predictions, role="trained")
    checked = pd.concat([predictions.assign(fold=0), predictions.assign(fold=1, split="train", face_id=predictions["face_id"] + "b")])
    scored = out_of_sample(predictions, checked, role="trained")
    assert scored["fold"].unique().tolist() == [0], "the same split, by models that were not trained on it"
    assert sorted(rank_label_issues(scored, role="trained")["face_id"]) == predictions["face_id"].iloc[changed].tolist()
    assert out_of_sample(predictions, checked, role="selected_on") is predictions
