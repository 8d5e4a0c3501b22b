"""The deploy page's figure and sentences."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from ferlab.deployment import ReadFace
from ferlab.deployment.latency import summarise_latency
from ferlab.reporting.pages.deploy import (
    abstention_table,
    abstention_text,
    calibration_text,
    export_sentence,
    int8_sentence,
    latency_sentence,
    plot_latency,
    plot_picture,
    plot_predictions,
    precision_table,
)


def test_the_figure_marks_the_budget() -> None:
    figure = plot_latency({"float32": np.linspace(2, 5, 50), "int8": np.linspace(1, 2, 50)}, budget_ms=100)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert any(list(line.get_xdata()) == [100, 100] for line in axes.lines)
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == [
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


def confidence() -> dict:
    judged = {"n": 200, "accepted": 80, "wrong": 4, "coverage": 0.4, "coverage_ci_low": 0.33, "coverage_ci_high": 0.47}
    judged |= {"error_rate": 0.05, "error_rate_ci_low": 0.02, "error_rate_ci_high": 0.12}
    rows = [{"risk": 0.05, "level": 0.95, "threshold": None, "found": None, "judged": None}]
    rows += [{"risk": 0.1, "level": 0.95, "threshold": 0.82, "found": {"n": 300, "accepted": 130, "wrong": 5, "upper": 0.094}, "judged": judged}]
    ece = {"ece": 0.05, "ece_ci_low": 0.01, "ece_ci_high": 0.08, "nll": 0.9}
    words = {"fitted_on": "300 faces (jaffe, val)", "judged_on": "200 faces (jaffe, test)", "risk": 0.1, "abstention": rows}
    numbers = {"temperature": 1.25, "temperature_ci_low": 1.1, "temperature_ci_high": 1.4}
    numbers["calibration"] = {"before": ece, "after": {**ece, "nll": 0.85}}
    precision = {"happy": {"right": 30, "n": 40, "ci_low": 0.6, "ci_high": 0.86, "confused_with": "neutral", "confused": 7}}
    precision["sad"] = {"right": 0, "n": 0, "ci_low": None, "ci_high": None, "confused_with": "", "confused": 0}
    return {**words, **numbers, "precision": precision}


def test_the_calibration_text_gives_temperature_and_ece_before_and_after() -> None:
    told = calibration_text(confidence())
    assert told.startswith("The temperature is **1.25 [1.10, 1.40]**, fitted on 300 faces (jaffe, val). On 200 faces (jaffe, test)")
    assert "the ECE is 5.0 % [1.0, 8.0] before scaling" in told
    assert "the NLL 0.900 and 0.850" in told
    assert calibration_text({"fitted_on": "2 faces are wrong"}) == "**No temperature is fitted**: 2 faces are wrong."


def test_the_abstention_text_says_whether_the_risk_is_kept_on_other_faces() -> None:
    card = confidence()
    assert "accepts 80 of 200 and keeps the risk" in abstention_text(card)
    card["abstention"][1]["judged"]["error_rate"] = 0.11
    assert "and **misses** the risk" in abstention_text(card)
    card["abstention"][1]["judged"] |= {"accepted": 0, "error_rate": None}
    assert abstention_text(card).endswith("no face of the table was accepted, so whether it keeps the risk is not measured.")
    card["abstention"][1]["judged"] = None
    assert "is not measured" in abstention_text(card)
    assert abstention_text({**card, "risk": 0.05}) == "No threshold keeps a risk of 5 %: the model never abstains."
    assert abstention_text({"fitted_on": "2 faces are wrong"}) == ""


def test_the_confidence_tables_hold_a_row_for_each_risk_and_each_expression() -> None:
    table = abstention_table(confidence())
    assert table.loc["10"].tolist() == ["82.0", "40.0 [33.0, 47.0]", "5.0 [2.0, 12.0]"]
    assert table.loc["5"].tolist() == ["–", "–", "–"]
    assert precision_table(confidence()).loc["happy"].tolist() == [40, "75.0 [60.0, 86.0]", "neutral (7)"]
    assert precision_table(confidence()).loc["sad"].tolist() == [0, "–", "–"]
    assert abstention_table({}) is None
    assert precision_table({}) is None
