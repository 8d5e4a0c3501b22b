"""The deploy page's figure and sentences."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from ferlab.deployment.latency import summarise_latency
from ferlab.reporting.deployment import describe_latency, describe_parity, plot_answers, plot_latency


def test_the_figure_marks_the_budget() -> None:
    figure = plot_latency(np.linspace(2, 5, 50), budget_ms=100)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert any(list(line.get_xdata()) == [100, 100] for line in axes.lines)
    assert any("budget: 100 ms" in text.get_text() for text in axes.texts)
    plt.close(figure)


def test_sentences_say_whether_the_limits_hold() -> None:
    assert "keeps the budget of 100 ms" in describe_latency(summarise_latency(np.full(20, 3.0), budget_ms=100))
    assert "does not keep the budget of 2 ms" in describe_latency(summarise_latency(np.full(20, 3.0), budget_ms=2))
    near = describe_parity(faces=9, max_abs_diff=2e-7, label_agreement=1.0, tolerance=1e-4)
    assert "2.0e-07, within" in near
    assert "**beyond**" in describe_parity(faces=9, max_abs_diff=0.2, label_agreement=0.5, tolerance=1e-4)


def test_the_answers_alt_text_names_each_label() -> None:
    probs = np.array([[0.9, 0.1], [0.25, 0.75]])
    shown = plot_answers(np.zeros((2, 8, 8), np.uint8), probs, expressions=("happy", "sad"))
    assert shown["alt"].endswith("happy (90 %), sad (75 %).")
    assert len(shown["figure"].axes) == 4
    plt.close(shown["figure"])
