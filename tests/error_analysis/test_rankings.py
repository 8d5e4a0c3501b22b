"""Precision at k by hand, its chance against simulation, and agreement of rankings whose overlap is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from ferlab.control.source import read
from ferlab.data.store import Store
from ferlab.error_analysis.label_truth import PLANTED, RATERS, RECORDED, labels_are_true, measured
from ferlab.error_analysis.planted import SHARE, control_sample, plant
from ferlab.error_analysis.rankings import BOTH, CONFIDENT_LEARNING, TRACIN, agreement, depths, doubt_scores, precision_at
from ferlab.evaluation.predictions import predictions_table
from ferlab.expressions import EXPRESSIONS


def test_precision_at_k_by_hand() -> None:
    wrong = np.array([True, False, True, False, False, False, False, False, False, True])
    scores = doubt_scores(np.array([0.1, 0.2, 0.05, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]), np.arange(10.0))
    table = precision_at(scores, wrong, ks=[2, 4]).set_index(["ranking", "k"])
    assert table.loc[(CONFIDENT_LEARNING, 2), "wrong"] == 2, "the two of lowest quality"
    assert table.loc[(CONFIDENT_LEARNING, 4), "precision"] == 0.75
    assert table.loc[(TRACIN, 2), "wrong"] == 1, "the one of highest influence"
    assert (table["base_rate"] == 0.3).all()
    low, high = proportion_confint(3, 4, method="wilson")
    assert tuple(table.loc[(CONFIDENT_LEARNING, 4), ["precision_ci_low", "precision_ci_high"]]) == pytest.approx((low, high))


def test_the_chance_of_a_precision_is_that_of_random_rankings() -> None:
    rng, wrong = np.random.default_rng(0), np.arange(40) < 8
    found = precision_at({"one": -np.arange(40.0)}, np.roll(wrong, 7), ks=[10]).iloc[0]  # rows 7 to 14: three of the first ten
    assert found["wrong"] == 3
    drawn = [wrong[rng.permutation(40)[:10]].sum() >= 3 for _ in range(4000)]
    assert found["p"] == pytest.approx(np.mean(drawn), abs=0.03)


def test_without_tracin_one_ranking_is_left() -> None:
    assert list(doubt_scores(np.ones(3), np.full(3, np.nan))) == [CONFIDENT_LEARNING]
    assert agreement({CONFIDENT_LEARNING: np.ones(3)}, k=2) == {}
    assert list(doubt_scores(np.ones(3), np.ones(3))) == [CONFIDENT_LEARNING, TRACIN, BOTH]


def test_agreement_of_equal_and_of_reversed_rankings() -> None:
    same = agreement({CONFIDENT_LEARNING: np.arange(100.0), TRACIN: np.arange(100.0) ** 2}, k=10)
    assert (same["rank_correlation"], same["overlap"], same["overlap_expected"]) == (pytest.approx(1), 10, 1)
    other = agreement({CONFIDENT_LEARNING: np.arange(100.0), TRACIN: -np.arange(100.0)}, k=10)
    assert (other["rank_correlation"], other["overlap"]) == (pytest.approx(-1), 0)


def test_depths_end_at_a_fifth_of_the_faces() -> None:
    assert depths(2100) == [10, 20, 50, 100, 200]
    assert depths(20) == [4]
    assert depths(3) == [1]


def store_of(faces: pd.DataFrame, images: np.ndarray) -> Store:
    return Store(images=images, faces=faces.assign(split="train"), expressions=EXPRESSIONS)


def test_planted_labels_are_found_better_than_by_a_random_ranking() -> None:
    images, faces = read(faces=400, subjects=40, seed=3)
    planted = plant(*control_sample(store_of(faces, images), np.arange(400)), folds=5, seed=0)
    wrong = (planted["target"] != planted["true_target"]).to_numpy()
    assert wrong.mean() == pytest.approx(SHARE)
    table = precision_at(doubt_scores(planted["label_quality"], planted["self_influence"]), wrong, ks=[40]).set_index("ranking")
    for ranking in (CONFIDENT_LEARNING, TRACIN):
        assert table.loc[ranking, "precision_ci_low"] > SHARE, ranking
    assert (planted["true_target"].to_numpy() == faces["target"].to_numpy()).all()


def test_other_datasets_are_measured_on_control_faces_that_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferlab.error_analysis.planted.FACES", 40)
    images, faces = read(faces=20, subjects=4)
    drawn, table = control_sample(store_of(faces.assign(source="fer2013"), images), np.arange(20))
    assert (len(drawn), len(table), set(table["source"])) == (40, 40, {"control"})
    assert len(control_sample(store_of(faces.assign(world="null"), images), np.arange(20))[1]) == 40, "labels that mean nothing are no truth"
    noisy = faces.assign(true_target=(faces["target"] + 1) % 7)
    own = control_sample(store_of(noisy, images), np.arange(20))[1]
    assert (own["target"] == noisy["true_target"]).all()
    some = noisy.assign(true_target=noisy["true_target"].where(np.arange(20) % 2 == 0))
    pictures, own = control_sample(store_of(some, images), np.arange(20))
    assert own["target"].tolist() == noisy["true_target"].tolist()[::2], "of the others the true label is not known"
    assert (pictures == images[::2]).all()
    monkeypatch.setattr("ferlab.error_analysis.planted.FACES", 5)
    few, table = control_sample(store_of(faces, images), np.arange(3, 20))
    assert table["face_id"].tolist() == faces["face_id"].iloc[[3, 7, 11, 15, 19]].tolist()
    assert (few == images[[3, 7, 11, 15, 19]]).all()
    assert labels_are_true(faces)
    assert not labels_are_true(noisy)
    assert not labels_are_true(faces.assign(source="fer2013"))


def test_truths_are_taken_where_a_dataset_has_them() -> None:
    n, rng = 60, np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(7), n)
    checked = predictions_table([str(row) for row in range(n)], ["train"] * n, np.zeros(n, int), probs=probs, expressions=EXPRESSIONS)
    checked = checked.assign(self_influence=rng.random(n))
    planted = pd.DataFrame({"target": [0, 1] * 30, "true_target": 0, "label_quality": rng.random(n), "self_influence": rng.random(n)})
    faces = pd.DataFrame({"target": 0, "votes_angry": [9] * 20 + [5] * 20 + [0] * 20, "votes_fear": [1] * 20 + [5] * 20 + [10] * 20})
    assert list(measured(checked, faces[["target"]], planted)) == [PLANTED]
    found = measured(checked, faces.assign(true_target=[0] * 50 + [2] * 10), planted)
    assert list(found) == [PLANTED, RECORDED, RATERS]
    assert found[PLANTED]["base_rate"].iloc[0] == 0.5
    assert found[RECORDED]["base_rate"].iloc[0] == pytest.approx(1 / 6)
    assert found[RATERS]["base_rate"].iloc[0] == 0.5, "ties are excluded: 20 of 40"
    assert found[RATERS]["n"].iloc[0] == 40
    agreeing = faces.assign(votes_fear=0, votes_angry=10)
    assert list(measured(checked, agreeing, planted)) == [PLANTED], "labels that are the raters' choice cannot be measured by it"
