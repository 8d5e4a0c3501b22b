"""The deploy page's figure and sentences."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from ferlab.deployment import ReadFace
from ferlab.deployment.latency import summarise_latency
from ferlab.reporting.pages.deploy import export_sentence, int8_sentence, latency_sentence, plot_latency, plot_picture, plot_predictions


def test_the_figure_marks_the_budget() -> None:
    figure = plot_latency({"float32": np.linspace(2, 5, 50), "int8": np.linspace(1, 2, 50)}, budget_ms=100)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert any(list(line.get_xdata()) == [100, 100] for line in axes.lines)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "float32: median 3.50 ms, 95 % within 4.85 ms", "int8: median 1.50 ms, 95 % within 1.95 ms"
    ]  # fmt: skip
    assert any("budget: 100 ms" in text.get_text() for text in axes.texts)
    plt.close(figure)


def test_the_export_sentence_reports_whether_the_parity_is_within_the_tolerance() -> None:
    facts = {"parameters": 2_600_000, "bytes": {"float32": 9_800_000}, "parity": {"faces": 9, "max_abs_diff_millionths": 0.2, "label_agreement": 1.0}}
    told = export_sentence(facts, tolerance=1e-4)
    assert told.startswith("`model.onnx` holds 2.60 million parameters in **9.80 MB**. On 9 faces")
    assert "2.0e-07, within" in told
    facts["parity"]["max_abs_diff_millionths"] = 2e5
    assert "**beyond**" in export_sentence(facts, tolerance=1e-4)


def test_the_predictions_alt_text_names_each_label() -> None:
    probs = np.array([[0.9, 0.1], [0.25, 0.75]])
    shown = plot_predictions(np.zeros((2, 8, 8), np.uint8), probs, expressions=("happy", "sad"))
    assert shown["alt"].endswith("happy (90 %), sad (75 %).")
    assert len(shown["figure"].axes) == 4
    plt.close(shown["figure"])


def test_the_int8_sentence_gives_the_loss_with_its_interval() -> None:
    compared = {"n": 300, "difference": -0.01, "ci_low": -0.022, "ci_high": 0.004, "p_exact": 0.25, "label_agreement": 0.9875}
    facts = {"bytes": {"float32": 9_800_000, "int8": 2_450_000}, "compared": compared}
    told = int8_sentence(facts)
    assert "**2.45 MB**, 25 % of the float32 file" in told
    assert "On 300 faces its accuracy differs by -1.00 points [-2.20, 0.40], not significant at the 5 % level (McNemar, p = 0.250)" in told
    assert "98.8 % of the labels" in told
    assert "], significant at the 5 % level" in int8_sentence({**facts, "compared": {**compared, "p_exact": 0.01}})


def test_the_latency_sentence_reports_budget_and_ratio() -> None:
    slow, fast = (summarise_latency(np.full(20, value), budget_ms=2) for value in (3.0, 1.5))
    told = latency_sentence({"float32": slow, "int8": fast})
    assert "takes 3.00 ms (median)" in told
    assert "**beyond** the budget of 2 ms" in told
    assert told.endswith("0.50 times as long by the median.")
    other = latency_sentence({"float32": fast, "int8": slow})
    assert ", within the budget of 2 ms" in other
    assert other.endswith("on the machine that measured both it saves space and no time.")
    long = summarise_latency(np.full(20, 123.4), budget_ms=2)
    assert "takes 123 ms (median) and at most 123 ms" in latency_sentence({"float32": long, "int8": long})


def test_a_picture_shows_a_box_for_each_face_and_names_them() -> None:
    probs = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    faces = [ReadFace(box=(5 * n, -2, 20, 20), probs=row, expressions=("happy", "sad")) for n, row in enumerate(probs)]
    shown = plot_picture(np.zeros((40, 60, 3), np.uint8), faces)
    assert shown["alt"] == "The picture with 2 faces; from left to right: happy (90 %), sad (80 %)."
    assert [patch.get_xy() for patch in shown["figure"].axes[0].patches] == [(0, -2), (5, -2)]
    plt.close(shown["figure"])
    assert "no face found" in plot_picture(np.zeros((40, 60), np.uint8), [])["alt"]
    plt.close("all")
