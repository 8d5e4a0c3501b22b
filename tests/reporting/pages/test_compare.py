from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.ablations import COLUMNS
from ferlab.evaluation.published import read_published, rows_beside
from ferlab.reporting.pages.compare import (
    effects_sentence,
    factors_tables,
    human_level_note,
    plot_accuracies,
    plot_class_lines,
    plot_precision_recall,
    plot_published,
)

PUBLISHED = Path(__file__).parents[3] / "conf" / "published"
NAMES = ("angry", "happy", "sad")
OURS = {"label": "a", "value": 0.7, "low": 0.68, "high": 0.72, "hollow": False}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


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


def test_what_holds_over_faces_is_asked_of_seeds_apart():
    over = effects_sentence(effects())  # t = .12 / (.01 / sqrt 2) = 17 with 1 df: p = .037
    assert over.endswith("Over seeds (t tests, uncorrected) 1 of the 1 with several seeds are significant.")
    assert "uncorrected) 0 of the 1" in effects_sentence(effects().assign(seed_sd=0.05))  # t = 3.4: p = .18
    assert effects_sentence(effects().assign(seeds=1, seed_sd=float("nan"))).endswith("With one seed each, the spread over seeds is unknown.")


def test_without_factors_there_is_a_sentence_and_no_table():
    assert factors_tables(COMBINATIONS.iloc[:0], effects().iloc[:0]) == []
    assert effects_sentence(effects().iloc[:0]).startswith("No two runs")
