from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation import runs as runs_module
from ferlab.evaluation.comparison import spread_over_seeds
from ferlab.evaluation.ensembles import ENSEMBLE, WEIGHTED, ensembles_per_set
from ferlab.evaluation.predictions import predictions_table
from ferlab.evaluation.runs import (
    compare_ensembles,
    compare_within_sets,
    ours_beside_published,
    pairs_by_name,
    per_class_of,
    read_runs,
    runs_by_set,
    score_ensembles,
    summarise_comparison,
    table_of_runs,
    with_ensembles_across_sets,
)
from ferlab.evaluation.tasks import Task
from ferlab.paths import InputError

NAMES = ("angry", "happy", "sad")
RUNS = {
    "a0": {"data": "x", "group": "a", "seed": 0, "model": "m"},
    "a1": {"data": "x", "group": "a", "seed": 1, "model": "m"},
    "b": {"data": "y", "group": "b", "seed": 0, "model": "m"},
}


def table(seed: int, source: str) -> pd.DataFrame:
    targets = np.random.default_rng(9).integers(0, 3, 80)
    logits = np.random.default_rng(seed).normal(size=(80, 3))
    logits[np.arange(80), targets] += 1
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return predictions_table([f"{source}/{i}" for i in range(80)], ["val"] * 40 + ["test"] * 40, targets, probs=probs, expressions=NAMES)


PREDICTIONS = {"a0": table(0, "x"), "a1": table(1, "x"), "b": table(2, "y")}


def test_runs_of_different_sets_are_never_paired():
    sets = runs_by_set(RUNS)
    assert sets == {"x": ["a0", "a1"], "y": ["b"]}
    pairs = compare_within_sets(PREDICTIONS, sets)
    assert pairs[["set", "run_a", "run_b"]].values.tolist() == [["x", "a0", "a1"]]
    assert set(pairs_by_name(pairs)["a0"]["a1"]) >= {"difference", "p_exact", "p_holm", "n"}


def test_only_named_contrasts_are_tested_and_corrected_for():
    predictions = {name: table(seed, "x") for seed, name in enumerate(("a0", "a1", "a2"))}
    every = compare_within_sets(predictions, {"x": list(predictions)})
    named = compare_within_sets(predictions, {"x": list(predictions)}, contrasts=[("a2", "a0")])
    assert len(every) == 3
    assert named[["run_a", "run_b"]].values.tolist() == [["a2", "a0"]]
    assert named["p_holm"].iloc[0] == named["p_exact"].iloc[0]
    assert named["detectable"].iloc[0] < every["detectable"].iloc[1]
    assert compare_within_sets(predictions, {"y": ["a1"]}, contrasts=[("a2", "a0")]).empty


def test_sets_of_one_run_make_no_pairs_and_no_ensemble():
    assert compare_within_sets(PREDICTIONS, {"y": ["b"]}).empty
    assert compare_within_sets({}, {}).empty
    assert ensembles_per_set(PREDICTIONS, {"y": ["b"]}, {}) == {}


def test_an_ensemble_is_scored_and_set_against_each_member():
    members = runs_by_set(RUNS, chosen=["a0", "a1"])
    ensembles = ensembles_per_set(PREDICTIONS, members, {})
    scores = score_ensembles(ensembles, resamples=100)
    assert set(scores) == {"x"}
    of_test = scores["x"][ENSEMBLE]["test"]
    assert of_test["accuracy_ci_low"] <= of_test["accuracy"]
    assert of_test["n"] == 40
    pairs = compare_ensembles(ensembles, PREDICTIONS, members)
    assert pairs[["run_a", "run_b"]].values.tolist() == [["ensemble", "a0"], ["ensemble", "a1"]]


def test_runs_of_sets_with_the_same_scored_faces_vote_together_beside_those_of_each_set():
    same = {split: Task("fer2013", split, n=40, digest="0a") for split in ("val", "test")}
    other = {**same, "val": Task("fer2013", "val", n=40, digest="0b")}
    members, tasks = with_ensembles_across_sets({"x": ["a0"], "y": ["b"], "z": ["c"]}, {"x": same, "y": same, "z": other})
    assert members == {"x": ["a0"], "y": ["b"], "z": ["c"], "x and y": ["a0", "b"]}
    assert tasks["x and y"] == same
    ensembles = ensembles_per_set({"a0": table(0, "x"), "b": table(2, "x")}, {"x": ["a0"], "x and y": ["a0", "b"]}, {})
    assert list(ensembles) == ["x and y"]


def test_fitted_weights_are_set_against_members_and_equal_weights_in_one_family_of_tests():
    members = {"x": ["a0", "a1"]}
    ensembles = ensembles_per_set(PREDICTIONS, members, {"x": {"a0": 0.8, "a1": 0.2}})
    pairs = compare_ensembles(ensembles, PREDICTIONS, members)
    assert pairs[pairs["run_a"] == WEIGHTED]["run_b"].tolist() == ["a0", "a1", ENSEMBLE]
    assert len(pairs) == 5
    assert pairs["p_holm"].min() == pytest.approx(min(1, 5 * pairs["p_exact"].min()))


def test_the_table_of_runs_keeps_their_order_and_marks_what_is_missing():
    scores = {"accuracy": 0.5, "accuracy_ci_low": 0.4, "accuracy_ci_high": 0.6}
    rows = table_of_runs(RUNS, {name: {"val": scores, "test": scores, "test_dedup": None} for name in RUNS})
    assert rows["run"].tolist() == ["a0", "a1", "b"]
    assert rows["val.accuracy"].tolist() == [0.5] * 3
    assert rows["test_dedup.accuracy"].isna().all()


def described(dataset: str, usage: str) -> dict:
    scores = {"accuracy": 0.5, "accuracy_ci_low": 0.4, "accuracy_ci_high": 0.6, "per_class": {name: {"f1": 0.1} for name in sorted(NAMES)}}
    return {"dataset": dataset, "usage": {"test": usage}, "val": scores, "test": scores}


METRICS = {"a0": described("fer2013", "PublicTest"), "a1": described("fer2013", "PublicTest"), "b": described("control", "Training")}


def test_ours_carry_set_and_split_and_an_ensemble_those_of_its_members():
    ours = ours_beside_published(table_of_runs(RUNS, METRICS), METRICS, {"x": dict.fromkeys((ENSEMBLE, WEIGHTED), METRICS["a0"])}, runs_by_set(RUNS))
    assert ours["label"].tolist() == ["a0", "a1", "b", "ensemble of x", "fitted ensemble of x"]
    assert ours["split"].tolist() == ["PublicTest", "PublicTest", "test", "PublicTest", "PublicTest"]


def test_expressions_come_in_the_order_of_the_set_not_of_the_alphabet():
    names = ("sad", "angry", "happy")
    renamed = {run: rows.set_axis([*rows.columns[:4], *(f"prob_{n}" for n in names)], axis=1) for run, rows in PREDICTIONS.items()}
    assert list(per_class_of(METRICS, renamed)["a0"]) == list(names)


def test_the_metrics_file_nests_by_set_and_run_and_holds_no_lists():
    rows = table_of_runs(RUNS, METRICS)
    sets = runs_by_set(RUNS)
    weights = {"x": {"a0": 0.8, "a1": 0.2}}
    ensembles = ensembles_per_set(PREDICTIONS, sets, weights)
    summary = summarise_comparison(
        rows,
        spread_over_seeds(rows, ["test.accuracy"]),
        compare_within_sets(PREDICTIONS, sets),
        scores=score_ensembles(ensembles, resamples=100),
        ensemble_pairs=compare_ensembles(ensembles, PREDICTIONS, sets),
        weights=weights,
        effects=pd.DataFrame(),
    )
    assert summary["runs"]["a0"]["test"]["accuracy"] == 0.5
    assert "test_dedup" not in summary["runs"]["a0"]
    assert summary["groups"]["x"]["a"]["seeds"] == 2
    assert summary["groups"]["x"]["a"]["test_accuracy_mean"] == 0.5
    assert set(summary["groups"]["x"]["a"]) == {"seeds", "test_accuracy_mean", "test_accuracy_sd"}
    assert not {"run_a", "run_b"} & set(summary["pairs"]["a0"]["a1"])
    assert set(summary["pairs"]) == {"a0"}
    assert set(summary["ensemble_pairs"]["x"]) == {"a0", "a1"}
    assert set(summary["ensembles"]["x"]) == {"val", "test"}
    assert summary["fitted_ensembles"]["x"]["weights"] == weights["x"]
    assert set(summary["fitted_ensemble_pairs"]["x"]) == {"a0", "a1", "ensemble"}


def test_a_run_that_was_not_evaluated_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(runs_module, "artefact", lambda stage, what, name: tmp_path / f"{name}.{what}")
    with pytest.raises(InputError, match="run the evaluate stage"):
        read_runs(["a0"])
