"""The deploy page's figure and sentences."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from ferlab.deployment import ReadFace
from ferlab.deployment.latency import summarise_latency
from ferlab.reporting.pages.deploy import (
    describe_int8,
    describe_latency,
    describe_parity,
    describe_ratio,
    plot_answers,
    plot_latency,
    plot_picture,
)


def test_the_figure_marks_the_budget() -> None:
    figure = plot_latency({"float32": np.linspace(2, 5, 50), "int8": np.linspace(1, 2, 50)}, budget_ms=100)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert any(list(line.get_xdata()) == [100, 100] for line in axes.lines)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "float32: median 3.5 ms, 95 % within 4.8 ms", "int8: median 1.5 ms, 95 % within 1.9 ms"
    ]  # fmt: skip
    assert any("budget: 100 ms" in text.get_text() for text in axes.texts)
    plt.close(figure)


def test_sentences_say_whether_the_limits_hold() -> None:
    assert "keeps the budget of 100 ms" in describe_latency(summarise_latency(np.full(20, 3.0), budget_ms=100))
    assert "does not keep the budget of 2 ms" in describe_latency(summarise_latency(np.full(20, 3.0), budget_ms=2))
    near = describe_parity({"faces": 9, "max_abs_diff_millionths": 0.2, "label_agreement": 1.0}, tolerance=1e-4)
    assert "2.0e-07, within" in near
    assert "**beyond**" in describe_parity({"faces": 9, "max_abs_diff_millionths": 2e5, "label_agreement": 0.5}, tolerance=1e-4)


def test_the_answers_alt_text_names_each_label() -> None:
    probs = np.array([[0.9, 0.1], [0.25, 0.75]])
    shown = plot_answers(np.zeros((2, 8, 8), np.uint8), probs, expressions=("happy", "sad"))
    assert shown["alt"].endswith("happy (90 %), sad (75 %).")
    assert len(shown["figure"].axes) == 4
    plt.close(shown["figure"])


def test_the_int8_sentence_gives_the_loss_with_its_interval() -> None:
    compared = {"n": 300, "difference": -0.01, "ci_low": -0.022, "ci_high": 0.004, "p_exact": 0.25, "label_agreement": 0.9875}
    told = describe_int8({"float32": 9_800_000, "int8": 2_450_000}, compared)
    assert "**2.45 MB**, 25 % of the float32 file" in told
    assert "On 300 faces its accuracy differs by **-1.00 points** [-2.20, +0.40], not significant at the 5 % level" in told
    assert "98.8 % of the labels" in told
    clear = describe_int8({"float32": 4, "int8": 1}, {**compared, "p_exact": 0.01})
    assert "], significant at the 5 % level" in clear


def test_the_ratio_sentence_says_which_file_is_faster() -> None:
    slow, fast = ({"p50_ms": value} for value in (2.0, 1.0))
    assert "**0.5 times** as long as the float32 file by the median." in describe_ratio({"float32": slow, "int8": fast})
    assert "saves space and no time" in describe_ratio({"float32": fast, "int8": slow})


def test_a_picture_shows_a_box_for_each_face_and_names_them() -> None:
    probs = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    faces = [ReadFace(box=(5 * n, -2, 20, 20), probs=row, expressions=("happy", "sad")) for n, row in enumerate(probs)]
    shown = plot_picture(np.zeros((40, 60, 3), np.uint8), faces)
    assert shown["alt"] == "The picture with 2 faces; from left to right: happy (90 %), sad (80 %)."
    assert [patch.get_xy() for patch in shown["figure"].axes[0].patches] == [(0, -2), (5, -2)]
    plt.close(shown["figure"])
    assert "no face found" in plot_picture(np.zeros((40, 60), np.uint8), [])["alt"]
    plt.close("all")
