from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from seeded_runs import NAMES, table

from ferlab.evaluation.ensembles import WEIGHTED, ensembles_per_set, fit_weights, least_nll, soft_voting, weights_per_set
from ferlab.evaluation.predictions import faces_in, predictions_table, probs_of
from ferlab.evaluation.runs import score_rows
from ferlab.paths import InputError

MEMBERS = {"x": ["a", "b"]}
TRAINED_ON = {"a": {"trained_on": ["train"]}, "b": {"trained_on": ["train"]}}


def test_a_soft_voting_averages_probabilities():
    one, two = table(1), table(2)
    voted = soft_voting({"one": one, "two": two})
    np.testing.assert_allclose(probs_of(voted), (probs_of(one) + probs_of(two)) / 2, rtol=1e-6)
    np.testing.assert_array_equal(voted["pred"], probs_of(voted).argmax(axis=1))
    weighted = soft_voting({"one": one, "two": two}, {"one": 3, "two": 1})
    np.testing.assert_allclose(probs_of(weighted), (3 * probs_of(one) + probs_of(two)) / 4, rtol=1e-5)


def test_a_vote_of_one_run_with_itself_or_with_weightless_ones_is_that_run():
    pd.testing.assert_frame_equal(soft_voting({"a": table(1), "b": table(1)}), table(1))
    pd.testing.assert_frame_equal(soft_voting({"a": table(1), "b": table(2)}, {"a": 1, "b": 0}), table(1))


def test_bounds_of_an_ensemble_are_over_the_subjects_of_its_members():
    of_few = table(1).assign(subject=[f"p{i % 6}" for i in range(60)])
    voted = soft_voting({"a": of_few, "b": of_few})
    pd.testing.assert_frame_equal(voted[list(of_few)], of_few)
    alone, both = (score_rows(faces_in(each, "test"), resamples=20) for each in (of_few, voted))
    assert [both[f"accuracy_ci_{end}"] for end in ("low", "high")] == [alone[f"accuracy_ci_{end}"] for end in ("low", "high")]


@pytest.mark.parametrize("weights", [{"a": 1}, {"a": 1, "b": -1}, {"a": 0, "b": 0}, {"a": 1, "b": float("nan")}])
def test_weights_are_complete_and_not_negative(weights):
    with pytest.raises(InputError, match="one weight of 0 or more per member"):
        soft_voting({"a": table(1), "b": table(2)}, weights)


def test_members_of_other_faces_do_not_vote_together():
    with pytest.raises(InputError, match="runs of one set only"):
        soft_voting({"a": table(1), "b": table(2, n=40)})
    with pytest.raises(InputError, match="not scored on the same val faces"):
        fit_weights({"a": table(1), "b": table(2, prefix="g")})


def test_fitted_weights_by_hand():
    # Two faces in three only a knows (.8 against .2), one in three only b: -2/3 log(.2 + .6 w) - 1/3 log(.8 - .6 w) is least at w = 7/9.
    truths = np.array([[0.8, 0.2], [0.8, 0.2], [0.2, 0.8]])
    np.testing.assert_allclose(least_nll(truths), [7 / 9, 2 / 9], atol=1e-6)
    np.testing.assert_allclose(least_nll(truths[:, [0, 0]]), [0.5, 0.5])


def test_fitted_weights_are_the_best_of_a_fine_grid():
    truths = np.random.default_rng(0).beta([2.0, 3.0, 1.0], [1.0, 1.0, 1.5], size=(400, 3))
    grid = np.array([[i, j, 40 - i - j] for i in range(41) for j in range(41 - i)]) / 40
    best = (-np.log(truths @ grid.T)).mean(axis=0)
    fitted = least_nll(truths)
    assert -np.log(truths @ fitted).mean() <= best.min()
    np.testing.assert_allclose(fitted, grid[best.argmin()], atol=0.04)
    assert fitted.sum() == pytest.approx(1)


def test_a_member_that_knows_nothing_gets_no_weight():
    blind = table(1, n=600).assign(**{f"prob_{name}": np.float32(1 / 3) for name in NAMES}, pred=0)
    assert fit_weights({"a": table(1, n=600, skill=3.0), "blind": blind})["blind"] < 0.05


def spoilt(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    """The same run with the answers to one split turned into others."""
    rows = (predictions["split"] == split).to_numpy()
    probs = probs_of(predictions).copy()
    probs[rows] = np.roll(probs[rows], 1, axis=1)
    return predictions_table(
        predictions["face_id"], predictions["split"], predictions["target"].to_numpy(), probs=probs, expressions=NAMES
    )


def test_test_faces_cannot_influence_the_weights():
    tables = {"a": table(1), "b": table(2)}
    weights = fit_weights(tables)
    assert 0.1 < weights["a"] < 0.9
    assert fit_weights({"a": tables["a"], "b": spoilt(tables["b"], "test")}) == weights
    assert fit_weights({name: rows[rows["split"] == "val"] for name, rows in tables.items()}) == weights
    assert fit_weights({"a": tables["a"], "b": spoilt(tables["b"], "val")}) != weights


def test_weights_are_fitted_where_params_ask_and_shown_beside_equal_ones():
    predictions = {"a": table(1), "b": table(2, skill=3.0)}
    assert weights_per_set(predictions, MEMBERS, TRAINED_ON, how="equal") == {}
    assert list(ensembles_per_set(predictions, MEMBERS, {})["x"]) == ["ensemble"]
    weights = weights_per_set(predictions, MEMBERS, TRAINED_ON)
    assert weights["x"]["b"] > weights["x"]["a"]
    votes = ensembles_per_set(predictions, MEMBERS, weights)["x"]
    assert list(votes) == ["ensemble", WEIGHTED]
    pd.testing.assert_frame_equal(votes[WEIGHTED], soft_voting(predictions, weights["x"]))
    assert weights_per_set(predictions, {"x": ["a"]}, TRAINED_ON) == {}


def test_runs_that_learnt_val_cannot_be_weighed_on_it():
    seen = TRAINED_ON | {"b": {"trained_on": ["train", "val"]}}
    with pytest.raises(InputError, match="fitted: b was trained on val or selected on test") as told:
        weights_per_set({"a": table(1), "b": table(2)}, MEMBERS, seen)
    assert "\n" not in str(told.value)
    assert "refit: false" in str(told.value)
    assert weights_per_set({"a": table(1), "b": table(2)}, MEMBERS, seen, how="equal") == {}
    with pytest.raises(InputError, match="fitted: a was trained on val or selected on test"):
        weights_per_set({"a": table(1), "b": table(2)}, MEMBERS, TRAINED_ON | {"a": {"trained_on": ["train"], "selected_on": ["test"]}})
