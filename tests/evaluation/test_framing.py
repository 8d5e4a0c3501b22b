"""The frame's numbers against hand-counted ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation import framing
from ferlab.evaluation.predictions import predictions_table
from ferlab.origins import Origin

NAMES = ("happy", "sad", "fear", "angry")


def predicted(preds, targets, *, second=None, subjects=None) -> pd.DataFrame:
    """A table whose most probable class is `preds`, and whose next one is `second`."""
    probs = np.full((len(preds), 4), 0.05)
    probs[np.arange(len(preds)), preds] = 0.6
    if second is not None:
        probs[np.arange(len(preds)), second] += 0.2
    probs /= probs.sum(axis=1, keepdims=True)
    table = predictions_table([f"f{n}" for n in range(len(preds))], ["test"] * len(preds), np.array(targets), probs=probs, expressions=NAMES)
    return table if subjects is None else table.assign(subject=subjects)


TARGETS = [0] * 20 + [1] * 20
GOOD, BAD = predicted(TARGETS, TARGETS), predicted([0] * 40, TARGETS)


def test_one_table_of_all_is_taken_apart_into_what_was_scored() -> None:
    contempt = predicted(TARGETS, TARGETS).rename(columns={"prob_angry": "prob_contempt"})
    long = pd.concat([GOOD.assign(model="a", set="x"), BAD.assign(model="b", set="x"), contempt.assign(model="a", set="y")], ignore_index=True)
    tables = framing.tables_of(long)
    assert {name: list(of) for name, of in tables.items()} == {"x": ["a", "b"], "y": ["a"]}
    pd.testing.assert_frame_equal(tables["x"]["b"], BAD, check_dtype=False)
    assert "prob_angry" not in tables["y"]["a"]


def test_better_and_worse_are_marked_against_the_first_row_and_equal_models_are_not() -> None:
    pairs = framing.compare_to_first({"x": {"bad": BAD, "good": GOOD, "same": BAD}, "y": {"good": GOOD, "bad": BAD}})
    told = {(row["set"], row["run_a"], row["run_b"]): (row["difference"], row["verdict"]) for row in pairs.to_dict("records")}
    expected = {("x", "good", "bad"): (0.5, "better"), ("x", "same", "bad"): (0.0, ""), ("y", "bad", "good"): (-0.5, "worse")}
    assert told == expected


def test_holms_family_is_the_tests_of_a_set() -> None:
    few = predicted([0] * 20 + [1] * 6 + [0] * 14, TARGETS)  # 6 of 40 more than BAD: exact p = 2 / 2**6 = 0.031
    assert framing.compare_to_first({"x": {"bad": BAD, "few": few}})["verdict"].tolist() == ["better"]
    pairs = framing.compare_to_first({"x": {"bad": BAD, "few": few, "same": BAD}})
    assert pairs["p_holm"].tolist() == pytest.approx([0.0625, 1.0])
    assert pairs["verdict"].tolist() == ["", ""]


def test_top_1_and_top_3_accuracy_are_counted_and_bounded_over_people() -> None:
    rows = predicted([0] * 40, TARGETS, second=[1] * 40, subjects=np.repeat(["p1", "p2", "p3", "p4"], 10))
    alone = framing.score_models({"m": rows.drop(columns="subject")})["m"]
    over = framing.score_models({"m": rows})["m"]
    assert (alone["accuracy"], alone["top3_accuracy"], alone["n"], alone["people"], over["people"]) == (0.5, 1.0, 40, None, 4)
    assert over["accuracy_ci_high"] - over["accuracy_ci_low"] > 1.5 * (alone["accuracy_ci_high"] - alone["accuracy_ci_low"])
    assert alone["per_class"]["happy"]["recall"] == 1.0
    assert alone["per_class"]["sad"]["support"] == 20


def test_correct_faces_are_counted_by_person_and_expression() -> None:
    who = np.array((["ann"] * 15 + ["ben"] * 5) * 2)
    table = framing.by_person({"bad": BAD.assign(subject=who), "good": GOOD.assign(subject=who)})
    row = table.set_index(["subject", "expression"]).loc[("ben", "sad")]
    assert (row["faces"], row["bad"], row["good"]) == (5, 0, 5)
    shown = framing.summed_people(table, "bad")
    assert shown.loc["ann", "happy"] == "15/15"
    assert shown.loc["all", "all"] == "20/40"
    few = framing.summed_people(table, "bad", shown=["ben"])
    assert few.index.tolist() == ["ben", "all 2 people"]
    assert few.loc["all 2 people"].tolist() == shown.loc["all"].tolist()  # of all people, not of the shown
    assert framing.by_person({"bad": BAD}) is None


def test_the_summary_is_nested_by_name_and_holds_roles_counts_and_tests() -> None:
    tables = {"x": {"a": BAD, "b": GOOD}}
    scores = {name: framing.score_models(models) for name, models in tables.items()}
    origins = {"a": Origin("A", None), "b": Origin("B", {"fer2013": ("Training",)})}
    known = {"roles": {"x": {"a": "unknown", "b": "untouched"}}, "found": {"x": {"pictures": 41, "not_found": 1}}}
    summary = framing.summarise_frame(scores, framing.compare_to_first(tables), origins=origins, people={"x": None}, **known)
    of = summary["sets"]["x"]
    assert (of["not_found"], of["models"]["a"]["role"], of["models"]["b"]["accuracy"]) == (1, "unknown", 1.0)
    assert of["against_first"]["b"]["verdict"] == "better"
    assert summary["models"]["a"]["trained_on"] is None
    assert summary["models"]["b"]["trained_on"] == {"fer2013": "Training"}


def test_a_wrong_class_order_is_suspected_and_a_weak_model_is_not() -> None:
    rotated = predicted([(target + 1) % 4 for target in [0, 1, 2, 3] * 25], [0, 1, 2, 3] * 25)
    found = framing.order_suspicion(rotated)
    assert (found["accuracy"], found["best"]) == (0.0, 1.0)
    assert found["order"] == ["angry", "happy", "sad", "fear"]  # the card's happy is the graph's angry
    draws = np.random.default_rng(0).integers(0, 4, 200)
    assert framing.order_suspicion(predicted(draws, [0, 1, 2, 3] * 50)) is None
    assert framing.order_suspicion(GOOD) is None
