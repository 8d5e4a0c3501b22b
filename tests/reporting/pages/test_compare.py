from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.ablations import COLUMNS, overfitting
from ferlab.evaluation.ensembles import ENSEMBLE, WEIGHTED
from ferlab.evaluation.published import read_published, rows_beside
from ferlab.reporting.pages.compare import (
    effects_sentence,
    ensembles_sentence,
    factors_tables,
    hardest_sentence,
    human_level_note,
    pairs_sentence,
    plot_accuracies,
    plot_class_lines,
    plot_precision_recall,
    plot_published,
    plot_sweeps,
    runs_sentence,
    sweeps_sentence,
)

PUBLISHED = Path(__file__).parents[3] / "conf" / "published"
NAMES = ("angry", "happy", "sad")
OURS = {"label": "a", "value": 0.7, "low": 0.68, "high": 0.72, "hollow": False}
BOUNDED = {"accuracy": 0.6, "accuracy_ci_low": 0.55, "accuracy_ci_high": 0.65}


def runs() -> pd.DataFrame:
    rows = [("a", "real", 0.66, "untouched"), ("b", "real", 0.7, "selected_on"), ("c", "drawn", 0.9, "untouched")]
    return pd.DataFrame(
        [
            {"run": r, "set": s, "test.role": role, "test.accuracy": v, "test.accuracy_ci_low": v - 0.02, "test.accuracy_ci_high": v + 0.02}
            for r, s, v, role in rows
        ]
    )


def scores(f1: float | None = 0.5) -> dict:
    return {name: {"f1": f1, "precision": 0.4, "recall": 0.6} for name in NAMES}


def bands(axis) -> int:
    return sum(text.get_text() == "human accuracy" for text in axis.texts)


def test_every_set_has_a_panel_and_human_level_stands_on_fer2013_alone():
    top, bottom = plot_accuracies(runs(), datasets={"real": "fer2013", "drawn": "control"}).axes
    assert [label.get_text() for label in top.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in bottom.get_yticklabels()] == ["c"]
    assert (bands(top), bands(bottom)) == (1, 0)
    assert (len(top.patches), len(bottom.patches)) == (1, 0)
    assert not top.get_shared_x_axes().joined(top, bottom)
    dots = [line for line in top.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() == "white" for line in dots] == [False, True]  # the run whose epoch was selected on test


def test_the_note_says_whether_human_level_applies():
    assert "65 ± 5 %" in human_level_note({"x": "fer2013"})
    assert "No human accuracy" in human_level_note({"x": "control"})


def test_published_rows_stand_below_ours_with_set_and_split_and_selection_on_test_is_hollow():
    ours = pd.DataFrame([OURS | {"set": "real", "dataset": "fer2013", "split": "PublicTest"}])
    theirs = rows_beside(read_published(PUBLISHED), datasets=["fer2013"], papers=["cs230"])
    axis = plot_published(ours, theirs).axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels[0] == "ours: a · PublicTest"
    assert len(labels) == (theirs["dataset"] == "fer2013").sum() + 1
    dots = {label: line for label, line in zip(labels, (x for x in axis.lines if x.get_marker() in "oDs"), strict=True)}
    assert dots["Ensemble of seven · PrivateTest"].get_markerfacecolor() == "white"
    assert dots["Baseline · PrivateTest"].get_markerfacecolor() != "white"
    assert dots["Human level · a sample of the set"].get_marker() == "D"
    assert bands(axis) == 1


def test_no_axis_holds_two_datasets_and_what_selected_on_test_is_hollow_for_ours_too():
    drawn = OURS | {"dataset": "control", "split": "test"}
    ours = pd.DataFrame([drawn | {"set": "drawn", "hollow": True}, drawn | {"set": "b"}])
    theirs = rows_beside(read_published(PUBLISHED), datasets=["control"], papers=["cs230", "cs231a", "fers"])
    axes = {axis.get_title(): axis for axis in plot_published(ours, theirs).axes}
    assert set(axes) == {"control faces, drawn: drawn", "control faces, drawn: b", *theirs["dataset"]}
    assert len(axes["webcam"].get_yticklabels()) == 3  # 4 of 20, 8 of 20, 28 of 50
    assert "Human agreement · annotated twice" in [label.get_text() for label in axes["affectnet"].get_yticklabels()]
    assert axes["control faces, drawn: drawn"].lines[-1].get_markerfacecolor() == "white"
    assert not any(a.get_shared_x_axes().joined(a, b) for a in axes.values() for b in axes.values() if a is not b)


@pytest.mark.parametrize("paper", ["resemotenet", "fersys"])
def test_a_paper_without_humans_and_live_trials_stands_beside_control_faces(paper):
    """Their rows are all of one kind, and no anchor is of control faces."""
    theirs = rows_beside(read_published(PUBLISHED), datasets=["control:fer2013"], papers=[paper])
    assert set(theirs["kind"]) == {"model"}
    axes = plot_published(pd.DataFrame([OURS | {"set": "a", "dataset": "control:fer2013", "split": "test"}]), theirs).axes
    assert sum(line.get_marker() == "o" for axis in axes for line in axis.lines) == len(theirs) + 1


def test_lines_are_one_per_run_in_the_panel_of_its_set():
    figure = plot_class_lines({"a": scores(), "b": scores(None), "c": scores(0.9)}, sets={"real": ["a", "b"], "drawn": ["c"]})
    real, drawn = figure.axes
    assert [line.get_label() for line in real.lines] == ["a", "b"]
    assert np.isnan(real.lines[1].get_ydata()).all()
    np.testing.assert_allclose(drawn.lines[0].get_ydata(), 90)
    assert [label.get_text() for label in drawn.get_xticklabels()] == list(NAMES)


def test_bars_show_precision_beside_recall_and_at_most_six_runs():
    axes = plot_precision_recall({f"run{i}": scores() for i in range(9)}).axes
    assert len(axes) == 6
    assert [bar.get_height() for bar in axes[0].patches] == [40] * 3 + [60] * 3


def effects(p_holm: float = 0.01) -> pd.DataFrame:
    row = {"factor": "class weights", "from": "off", "to": "on", "else": "network five", "seeds": 2, "n": 400, "difference": 0.12}
    row |= {"ci_low": 0.05, "ci_high": 0.19, "seed_sd": 0.01, "p": 0.001}
    return pd.DataFrame([{**row, "split": split, "p_holm": p_holm} for split in ("val", "test")], columns=list(COLUMNS))


COMBINATIONS = pd.DataFrame(
    [{"class weights": w, "network": "five", "seeds": 1, "n": 400, "accuracy": a, "ci_low": a - 0.05, "ci_high": a + 0.05, "seed_sd": float("nan")}
     for w, a in (("off", 0.6), ("on", 0.72))]
)  # fmt: skip


def test_combinations_and_changes_stand_in_two_tables():
    first, second = factors_tables(COMBINATIONS, effects())
    assert first.iloc[1].tolist() == ["on", "five", 1, "72.0 [67.0, 77.0]", ""]
    assert second.iloc[0].tolist()[:4] == ["class weights: off to on", "network five", "val", 2]
    assert second.loc[0, "difference, points"] == "12.0 [5.0, 19.0]"
    assert second.loc[0, "over seeds"] == "± 1.0"


def test_only_significant_changes_are_told_and_val_decides():
    assert "class weights from off to on (network five) by +12.0 points" in effects_sentence(effects())
    assert "on val" in effects_sentence(effects())
    assert effects_sentence(effects(0.2)).startswith("None of 1 changes is significant on val over faces")
    assert "on val over 30 subjects at the" in effects_sentence(effects().assign(subjects=30.0))


def test_what_holds_over_faces_is_asked_of_seeds_apart():
    over = effects_sentence(effects())  # t = .12 / (.01 / sqrt 2) = 17 with 1 df: p = .037
    assert over.endswith("Over seeds (t tests, uncorrected) 1 of the 1 with several seeds are significant.")
    assert "uncorrected) 0 of the 1" in effects_sentence(effects().assign(seed_sd=0.05))  # t = 3.4: p = .18
    assert effects_sentence(effects().assign(seeds=1, seed_sd=float("nan"))).endswith("With one seed each, the spread over seeds is unknown.")


def test_without_factors_there_is_a_sentence_and_no_table():
    assert factors_tables(COMBINATIONS.iloc[:0], effects().iloc[:0]) == []
    assert effects_sentence(effects().iloc[:0]).startswith("No two runs")


def pairs() -> pd.DataFrame:
    rows = [("a", "b", -0.05, 0.0004, 0.0008), ("a", "c", 0.01, 0.4, 0.4)]
    columns = ["run_a", "run_b", "difference", "p_exact", "p_holm"]
    return pd.DataFrame(rows, columns=columns).assign(n=3589, detectable=0.015, set="x")


def test_the_widest_gap_names_the_better_run_first():
    told = pairs_sentence(pairs())
    assert told.startswith("Holm's correction counts all pairs, since params name no contrasts (`compare.contrasts`): 2 on x. 1 of 2")
    assert told.endswith("; 1.5 points are detectable with 80 % power.")
    assert pairs_sentence(pairs(), named=True).startswith("Holm's correction counts the contrasts that params name: 2 on x. 1 of 2")
    assert "(p by subject = 0.020, Holm < 0.001)" in pairs_sentence(pairs().assign(p_subjects=0.02, detectable=float("nan")))
    assert "b over a by 5.0 points on 3,589 faces (p < 0.001, Holm < 0.001)" in told
    assert "no pair" in pairs_sentence(pairs().iloc[:0])


def test_the_hardest_expression_of_each_run_skips_what_is_undefined():
    per_class = {"a": {"f1": 0.9}, "b": {"f1": None}, "c": {"f1": 0.1}}
    assert hardest_sentence({"run": per_class}) == "Lowest F1 on test per run: run: c (10.0 %)."


def test_votes_and_runs_are_told_per_set():
    told = ensembles_sentence({"x": {"ensemble": {"test": BOUNDED}}}, pairs().assign(run_a="ensemble"))
    assert "On x the ensemble of 2 runs reaches 60.0 % [55.0, 65.0] on test, -5.0 to 1.0 points from its members, and" in told
    assert "significantly better than 0 of them" in told
    assert "Fitted" not in told
    assert "there is no ensemble" in ensembles_sentence({}, pairs().iloc[:0])
    rows = pd.DataFrame([{"run": "a", "set": "x", **{f"test.{key}": value for key, value in BOUNDED.items()}}])
    assert "on x (control faces): a, 60.0 % [55.0, 65.0]" in runs_sentence(rows, {"x": "control"})


def test_fitted_weights_are_told_against_equal_ones():
    rows = pd.concat([pairs().assign(run_a=kind) for kind in (ENSEMBLE, WEIGHTED)], ignore_index=True)
    against_equal = {"set": "x", "run_a": WEIGHTED, "run_b": ENSEMBLE, "difference": 0.003, "ci_low": -0.004, "ci_high": 0.01, "p_holm": 0.5}
    rows = pd.concat([rows, pd.DataFrame([against_equal])], ignore_index=True)
    votes = {"x": {kind: {"test": BOUNDED} for kind in (ENSEMBLE, WEIGHTED)}}
    told = ensembles_sentence(votes, rows)
    assert "On x the fitted ensemble of 2 runs reaches 60.0" in told
    assert "Fitted weights against equal ones: 0.3 points [-0.4, 1.0], Holm p = 0.500." in told


def test_without_two_runs_on_a_dataset_there_is_nothing_to_pair() -> None:
    assert pairs_sentence(pd.DataFrame()) == "Fewer than two runs share a dataset: no pair to compare."
    assert pairs_sentence(pd.DataFrame(), named=True) == "No contrast names two runs of one dataset."
    assert ensembles_sentence({}, pd.DataFrame()) == "No dataset has two runs: there is no ensemble."


def swept(**curves: list[float]) -> pd.DataFrame:
    """A sweep over stages 3, 4 and 5 of 1,000 faces each: accuracies per split."""
    rows = [
        {"factor": "stages", "else": "network CNN", "level": level, "split": split, "seeds": 1, "n": 1000, "accuracy": value}
        for split, values in curves.items()
        for level, value in zip((3.0, 4.0, 5.0), values, strict=True)
    ]
    return pd.DataFrame(rows).assign(ci_low=lambda table: table["accuracy"] - 0.03, ci_high=lambda table: table["accuracy"] + 0.03)


def test_a_sweep_says_its_best_level_on_val_and_whether_larger_ones_overfit():
    sweep = swept(train=[0.6, 0.7, 0.8], val=[0.55, 0.58, 0.57], test=[0.56, 0.55, 0.52])
    told = sweeps_sentence(sweep, overfitting(sweep))
    assert "Along stages (network CNN), val accuracy is highest at 4, 58.0 % [55.0, 61.0]; train accuracy exceeds that of test by" in told
    assert "by 4.0 points at 3 and 28.0 at 5, a change of 24.0 points [18.1, 29.9]." in told  # 1.96 sqrt(.2400 + .2464 + .1600 + .2496)/sqrt(1000)
    assert sweeps_sentence(sweep.iloc[:0], overfitting(sweep.iloc[:0])) == ""


def test_a_sweep_is_drawn_with_a_line_per_split_and_a_tick_per_level():
    figure = plot_sweeps(swept(train=[0.6, 0.7, 0.8], test=[0.56, 0.55, 0.52]))
    (axis,) = figure.axes
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["3", "4", "5"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["train", "test"]
    assert (axis.get_xlabel(), axis.get_title()) == ("stages", "network CNN")
