from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.published import read_published, rows_beside
from ferlab.reporting.comparison import human_level_note, plot_accuracies, plot_class_lines, plot_precision_recall, plot_published

PUBLISHED = Path(__file__).parents[2] / "conf" / "published"
NAMES = ("angry", "happy", "sad")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def runs() -> pd.DataFrame:
    rows = [("a", "real", 0.66), ("b", "real", 0.7), ("c", "drawn", 0.9)]
    return pd.DataFrame(
        [
            {"run": r, "set": s, "test.accuracy": v, "test.accuracy_ci_low": v - 0.02, "test.accuracy_ci_high": v + 0.02}
            for r, s, v in rows
        ]
    )


def scores(f1: float | None = 0.5) -> dict:
    return {name: {"f1": f1, "precision": 0.4, "recall": 0.6} for name in NAMES}


def bands(axis) -> int:
    return sum(text.get_text() == "human level" for text in axis.texts)


def test_every_set_has_a_panel_and_human_level_stands_on_fer2013_alone():
    top, bottom = plot_accuracies(runs(), datasets={"real": "fer2013", "drawn": "control"}).axes
    assert [label.get_text() for label in top.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in bottom.get_yticklabels()] == ["c"]
    assert (bands(top), bands(bottom)) == (1, 0)
    assert (len(top.patches), len(bottom.patches)) == (1, 0)
    assert top.get_xlim() == bottom.get_xlim()


def test_the_note_says_whether_human_level_applies():
    assert "65 ± 5 %" in human_level_note({"x": "fer2013"})
    assert "does not apply" in human_level_note({"x": "control"})


def test_published_rows_stand_below_ours_with_set_and_split_and_selection_on_test_is_hollow():
    ours = pd.DataFrame([{"label": "a", "dataset": "fer2013", "split": "PublicTest", "value": 0.7, "low": 0.68, "high": 0.72}])
    theirs = rows_beside(read_published(PUBLISHED), datasets=["fer2013"], papers=["cs230"])
    axis = plot_published(ours, theirs).axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels[0] == "ours: a · fer2013 PublicTest"
    assert len(labels) == len(theirs) + 1
    dots = {label: line for label, line in zip(labels, (x for x in axis.lines if x.get_marker() == "o"), strict=True)}
    assert dots["Ensemble of seven · fer2013 PrivateTest"].get_markerfacecolor() == "white"
    assert dots["Baseline · fer2013 PrivateTest"].get_markerfacecolor() != "white"
    assert bands(axis) == 1


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
