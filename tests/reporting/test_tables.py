from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.comparison import compare_correctness, compare_pairs
from ferlab.evaluation.ensembles import ENSEMBLE, WEIGHTED
from ferlab.evaluation.published import read_published
from ferlab.reporting.tables import (
    PRETRAINED_ON,
    cell,
    control_name,
    ensembles_table,
    estimate,
    machine_table,
    markdown_page,
    markdown_table,
    number,
    p_value,
    pairs_table,
    percent,
    published_table,
    runs_table,
)

PUBLISHED = Path(__file__).parents[2] / "conf" / "published"


def scores(value: float = 0.621) -> dict:
    keys = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "nll", "ece", "top3_accuracy")
    return {k: v for key in keys for k, v in ((key, value), (f"{key}_ci_low", value - 0.016), (f"{key}_ci_high", value + 0.016))}


def test_a_cell_holds_value_and_interval_in_percent():
    assert cell(scores(), "accuracy") == "62.1 [60.5, 63.7]"
    assert cell(scores(), "mcc", percent=False, digits=3) == "0.621 [0.605, 0.637]"


def test_what_is_undefined_is_a_dash_and_a_value_without_bounds_stands_alone():
    assert cell({"f1": None}, "f1") == "–"
    assert cell({"f1": 0.0, "f1_ci_low": None, "f1_ci_high": float("nan")}, "f1") == "0.0"
    assert number(float("nan")) == "–"


def test_a_unit_follows_the_value_and_zero_has_no_sign():
    assert (percent(0.8), percent(None)) == ("80.0 %", "–")
    assert estimate(scores(), "accuracy") == "62.1 % [60.5, 63.7]"
    assert estimate({"gain": -0.0001, "gain_ci_low": -0.02, "gain_ci_high": 0.02}, "gain", unit="points") == "0.0 points [-2.0, 2.0]"


def test_p_values_are_never_zero():
    assert (p_value(1e-9), p_value(0.0312), p_value(1.0), p_value(float("nan"))) == ("< 0.001", "0.031", "1.000", "–")


def run_rows() -> pd.DataFrame:
    rows = []
    for i, name in enumerate(("a", "b")):
        row = {"run": name, "set": "x", "group": "g", "seed": i, "model": "m", "selected_on": "val", "pretrained_on": ""}
        for split in ("val", "test", "test_dedup"):
            row |= {f"{split}.{key}": value for key, value in scores(0.6 + 0.1 * i).items()}
        rows.append(row)
    return pd.DataFrame(rows)


def test_runs_are_shown_with_intervals():
    fewer = run_rows().assign(**{"test_dedup.macro_f1": 0.5})
    assert runs_table(fewer).loc["b", "accuracy, test, deduplicated, %"] == "70.0 [68.4, 71.6]"
    assert runs_table(run_rows()).columns[0] == "accuracy, test, %"  # what is looked for is in sight on a narrow page
    assert "macro F1, test, deduplicated, %" in runs_table(fewer)
    assert not [name for name in runs_table(run_rows()) if "deduplicated" in name]  # the same as of test
    marked = runs_table(run_rows().assign(**{"val.role": ["trained", "selected_on"], "test.role": ["untouched", "selected_on"]}))
    assert marked["accuracy, val, %"].str.endswith(" (trained on)").tolist() == [True, False]
    assert marked["accuracy, test, %"].str.endswith(" (selected on)").tolist() == [False, True]


def test_each_run_with_pretrained_weights_names_their_data():
    assert PRETRAINED_ON not in runs_table(run_rows())
    assert runs_table(run_rows().assign(pretrained_on=["", "many faces"]))[PRETRAINED_ON].tolist() == ["", "many faces"]


def test_no_pairs_make_an_empty_table_with_its_columns():
    table = pairs_table(compare_pairs({}).assign(set=pd.Series(dtype=str)))
    assert table.empty
    assert "Holm p" in table


def test_p_by_subject_is_shown_where_subjects_are_named():
    rng = np.random.default_rng(0)
    right = [rng.random(60) < share for share in (0.9, 0.6)]
    persons = np.repeat(np.arange(6), 10)
    for subjects, shown in ((None, False), (persons, True)):
        row = {"set": "x", "run_a": "a", "run_b": "b", "p_holm": 0.2, **compare_correctness(*right, subjects=subjects)}
        assert ("p by subject" in pairs_table(pd.DataFrame([row]))) == shown


def test_ensembles_stand_side_by_side_with_their_weights():
    votes = {"x": {kind: {"val": scores(), "test": scores()} for kind in (ENSEMBLE, WEIGHTED)}}
    table = ensembles_table(votes, {"x": ["a", "b"]}, {"x": {"a": 0.625, "b": 0.0}})
    assert table["members"].tolist() == ["a, b", "a 0.625, b 0.000"]
    assert table["accuracy, test, %"].tolist() == ["62.1 [60.5, 63.7]"] * 2
    assert ensembles_table({}, {}).empty


def test_published_rows_keep_split_and_n():
    table = published_table(read_published(PUBLISHED))
    assert table.loc["Five-layer model", ["split", "n", "accuracy, %"]].tolist() == ["PrivateTest", "3,589", "66.3 [64.8, 67.8]"]
    assert table.loc["Human agreement", "n"] == "–"


def test_markdown_escapes_bars_and_holds_every_cell():
    table = pd.DataFrame({"a|b": ["1|2"], "c": [np.float64(0.5)]}, index=pd.Index(["x"], name="run"))
    assert markdown_table(table).splitlines() == ["| run | a\\|b | c |", "| --- | --- | --- |", "| x | 1\\|2 | 0.5 |"]
    page = markdown_page("Results", {"One": markdown_table(table)})
    assert page.startswith("# Results\n\n## One\n\n| run")
    assert page.endswith("|\n")


def test_the_machine_is_told_without_time_or_path():
    table = machine_table()
    assert table.equals(machine_table())
    assert not any("/" in str(value) for value in table[""])
    assert {"Python", "torch", "cores"} <= set(table.index)


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ("control", "control faces, drawn"),
        ("control:ckplus and control:jaffe", "control faces, drawn in the layout of ckplus and jaffe"),
        ("fer2013 and control:jaffe", None),
        ("controls", None),
    ],
)
def test_control_faces_are_named_so_whatever_their_files_are_like(dataset, name):
    assert control_name(dataset) == name
