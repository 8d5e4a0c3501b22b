"""Figures, tables and sentences of slices hold the measured numbers, and say where a group is too small to show anything."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.error_analysis.groups import compare_conditions, group_rates, recalls_by_group
from ferlab.error_analysis.slices import by_group
from ferlab.evaluation.predictions import predictions_table
from ferlab.reporting.pages import slices as page

NAN = float("nan")
TEST = {
    "condition": "light", "groups": 3, "permuted": "faces", "lowest": 0.1, "highest": 0.3, "gap": 0.2, "gap_95": 0.15, "ratio": 1 / 3,
    "balanced_gap": 0.18, "balanced_ratio": 0.8, "excluded": 0, "p": 0.001, "p_holm": 0.002,
}  # fmt: skip
PLANTED = {"gap": 0.2, "tests": 360, "level": 0.047, "power": {"light": 0.66, "skin": 0.3, "person": NAN}}
RATE = {"condition": "light", "group": "low", "n": 90, "subjects": NAN, "detectable": 0.12, "small": False}
CELL = {
    "condition": "light", "expression": "sad", "n": 40, "lowest_group": "low", "lowest": 0.2, "highest_group": "high", "highest": 0.9, "p": 0.001,
    "p_holm": 0.01,
}  # fmt: skip


def predictions(n: int = 60) -> pd.DataFrame:
    targets = np.arange(n) % 2
    preds = np.where(np.arange(n) % 3 == 0, 1 - targets, targets)
    return predictions_table([str(i) for i in range(n)], ["val"] * n, targets, probs=np.eye(2)[preds] * 0.8 + 0.1, expressions=("angry", "sad"))


def test_slices_are_drawn_at_their_rates_and_expected_rates() -> None:
    slices = {"glasses": by_group(pd.Series(np.arange(60) < 30)), "who": by_group(pd.Series(np.arange(60) // 6))}
    rates, tests = group_rates(slices, predictions()), compare_conditions(slices, predictions())
    figure = page.plot_slices(rates, tests)
    axes = {axis.get_title(): axis for axis in figure.axes}
    of = rates[rates["condition"] == "glasses"]
    axis = axes["glasses"]
    np.testing.assert_allclose(axis.lines[0].get_ydata(orig=False), 100 * of["expected"])
    np.testing.assert_allclose(axis.containers[0].lines[0].get_ydata(orig=False), 100 * of["error_rate"])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["no\n(30)", "yes\n(30)"]
    assert axes["who"].get_xlabel() == "10 groups, by rate"
    assert np.all(np.diff(axes["who"].containers[0].lines[0].get_ydata(orig=False)) >= 0)


def test_the_conditions_of_the_smallest_p_are_drawn() -> None:
    slices = {f"c{i}": by_group(pd.Series(np.random.default_rng(i).integers(0, 2, 60))) for i in range(10)}
    tests = compare_conditions(slices, predictions())
    figure = page.plot_slices(group_rates(slices, predictions()), tests)
    assert [axis.get_title() for axis in figure.axes if axis.get_title()] == list(tests["condition"][:6])
    assert page.plot_slices(group_rates({"c": slices["c0"]}, predictions()), tests[:0]) is not None


def test_recalls_are_drawn_per_expression_and_group() -> None:
    recalls = recalls_by_group({"c": by_group(pd.Series(np.arange(60) < 20))}, "c", predictions())
    figure = page.plot_recalls(recalls, "light")
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["angry", "sad"]
    drawn = np.concatenate([container.lines[0].get_ydata(orig=False) for container in axis.containers])
    np.testing.assert_allclose(drawn, 100 * recalls["recall"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["no (40)", "yes (20)"]
    many = page.plot_recalls(recalls_by_group({"c": by_group(pd.Series(np.arange(60) // 3))}, "c", predictions()), "person")
    assert not many.legends
    assert many.axes[0].get_title() == "person: 20 groups"


def test_slices_sentence_names_what_differs() -> None:
    tests = pd.DataFrame([TEST, TEST | {"condition": "skin", "p_holm": 0.4}])
    said = page.slices_sentence(tests)
    assert said.startswith("Error rates differ at the 5 % level in 1 of 2 conditions (permutation tests with expressions held constant, Holm): light")
    assert said.endswith("(10.0 to 30.0 %, Holm p = 0.002).")
    assert "In none of 1 conditions" in page.slices_sentence(tests[1:])
    assert page.slices_sentence(tests[:0]) == "No condition of these faces is known."
    unknown = page.slices_sentence(pd.DataFrame([TEST | {"lowest": NAN, "highest": NAN}]))
    assert unknown.endswith("light (Holm p = 0.002).")


def test_small_groups_are_named_with_their_size() -> None:
    rates = pd.DataFrame(
        [RATE, RATE | {"group": "high", "n": 20, "detectable": 0.4}, RATE | {"condition": "skin", "group": "2", "n": 7, "subjects": 1, "small": True}]
    )
    said = page.small_sentence(rates)
    assert "12.0 points (light low, n = 90) to 40.0 points (light high, n = 20)." in said
    assert said.endswith("n too small to show any difference in 1 of 3 groups: skin 2 (n = 7, 1 subject).")
    assert "too small" not in page.small_sentence(rates[:2])
    assert page.small_sentence(rates[2:]).startswith("n too small")
    many = pd.concat([rates[2:]] * 14)
    assert page.small_sentence(many).endswith("and 2 more.")
    assert page.small_sentence(rates[:0]) == ""


def test_expressions_sentence_names_cells_and_their_ends() -> None:
    cells = pd.DataFrame([CELL, CELL | {"expression": "fear", "lowest": NAN}, CELL | {"expression": "happy", "p_holm": 0.3}])
    said = page.expressions_sentence(cells)
    assert "in 2 of 3 combinations of condition and expression" in said
    assert "sad by light (20.0 % in low, 90.0 % in high, Holm p = 0.010); fear by light (Holm p = 0.010)." in said
    assert "the smallest p: " in page.expressions_sentence(pd.concat([cells[:1]] * 5))
    assert page.expressions_sentence(cells[2:]).startswith("In none of 1 combinations")
    assert page.expressions_sentence(cells[:0]) == "No expression has faces in two groups of a condition."


def test_planted_sentence_says_whether_the_level_is_kept() -> None:
    said = page.planted_sentence(PLANTED)
    assert "in 4.7 % of 360 draws, as a test at that level should" in said
    assert said.endswith("planted into one group is found in 30 % of draws (skin) to 66 % (light).")
    assert "its p values are too small here" in page.planted_sentence(PLANTED | {"level": 0.12})
    assert "in 1.0 % of 360 draws, fewer than a test at that level may: it is conservative here" in page.planted_sentence(PLANTED | {"level": 0.01})
    assert page.planted_sentence(PLANTED | {"power": {"person": NAN}}) == ""
    assert page.planted_sentence(PLANTED | {"power": {"light": 1.0, "skin": 1.0}}).endswith("found in 100 % of draws, under every condition.")


def test_the_table_holds_gaps_and_the_power() -> None:
    tests = pd.DataFrame([TEST, TEST | {"condition": "person", "lowest": NAN, "highest": NAN, "p_holm": 0.0001}])
    table = page.slices_table(tests, PLANTED)
    shown = table.loc["light", ["errors, %", "gap, points", "gap by permutation, 95 %", "Holm p"]]
    assert shown.tolist() == ["10.0 to 30.0", "20.0", "15.0", "0.002"]
    assert table["20 points planted, found in %"].tolist() == ["66", "–"]
    assert table.loc["person", ["Holm p", "errors, %", "permuted"]].tolist() == ["< 0.001", "–", "faces"]
