"""Slices on the page of errors: error rates of groups of faces under each condition, as figures, tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ferlab.reporting.tables import MISSING, captioned, number, p_equals, p_value, percent

PANELS, ROWS = 2, 3  # conditions drawn, those of the smallest p
NAMED = 8  # groups of a panel that have names; more are drawn in order of their rate
LISTED = 12  # groups of a figure that has a legend
TOLD = 3  # combinations of condition and expression in a sentence
LEVEL = 0.05
UNIT = {"faces": "faces", "within subjects": "within subjects", "subjects": "subjects"}


def plot_slices(rates: pd.DataFrame, tests: pd.DataFrame) -> Figure:
    """Draw the error rate of every group with its 95 % interval, and a dash at the rate that its expressions alone let expect.

    Args:
        rates: From `group_rates`.
        tests: From `compare_conditions`; the conditions of the smallest p are drawn, at most PANELS times ROWS.
    """
    conditions = list(tests["condition"])[: PANELS * ROWS]
    columns = max(1, min(PANELS, len(conditions)))
    lines = max(1, -(-len(conditions) // columns))
    figure, axes = plt.subplots(lines, columns, figsize=(2.9 * columns + 0.5, 2.6 * lines), layout="constrained", sharey=True, squeeze=False)
    for axis in axes.flat[len(conditions) :]:
        axis.set_axis_off()
    drawn = rates[rates["condition"].isin(conditions)]
    for axis, condition in zip(axes.flat, conditions, strict=False):
        _draw_slice(axis, drawn[drawn["condition"] == condition])
        axis.set_title(condition)
    for axis in axes[:, 0]:
        axis.set_ylabel("error rate, %")
    if len(drawn):
        axes[0, 0].set_ylim(0, min(103, max(5, 110 * drawn[["error_rate", "ci_high", "expected"]].max().max())))
    return figure


def plot_recalls(recalls: pd.DataFrame, condition: str) -> Figure:
    """Draw the recall of each expression in each group of one condition (from `recalls_by_group`) with its 95 % interval."""
    expressions, groups = list(dict.fromkeys(recalls["expression"])), list(dict.fromkeys(recalls["group"]))
    figure, axis = plt.subplots(figsize=(6.6, 4.2), layout="constrained")
    colours = plt.colormaps["viridis"](np.linspace(0, 0.9, max(len(groups), 2)))
    for place, (group, colour) in enumerate(zip(groups, colours, strict=False)):
        rows = recalls[recalls["group"] == group]
        offsets = np.arange(len(rows)) + 0.7 * ((place + 0.5) / len(groups) - 0.5)
        spans = np.abs(100 * (rows[["ci_low", "ci_high"]].to_numpy() - rows[["recall"]].to_numpy())).T
        label = f"{group} ({rows['n'].sum():,})"
        axis.errorbar(offsets, 100 * rows["recall"], yerr=spans, fmt="o", markersize=4, capsize=0, color=colour, label=label)
    axis.set_xticks(range(len(expressions)), expressions)
    axis.set(xlim=(-0.5, len(expressions) - 0.5), ylim=(-3, 103), ylabel="recall, %")
    axis.set_title(condition if len(groups) <= LISTED else f"{condition}: {len(groups)} groups")
    axis.grid(axis="x", visible=False)
    if len(groups) <= LISTED:
        figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure


def slices_table(tests: pd.DataFrame, planted: Mapping[str, Any]) -> pd.DataFrame:
    """Return the tests of all conditions (from `compare_conditions`), and how often each found the planted gap (from `plant_gaps`)."""
    rows = tests.to_dict("records")
    table = pd.DataFrame(
        {
            "errors, %": [_ends(row["lowest"], row["highest"]).removesuffix(" %, ") or MISSING for row in rows],
            "gap, points": [number(row["gap"], percent=True) for row in rows],
            "gap by permutation, 95 %": [number(row["gap_95"], percent=True) for row in rows],
            "Holm p": [p_value(row["p_holm"]) for row in rows],
            f"{100 * planted['gap']:.0f} points planted, found in %": [_whole(planted["power"].get(row["condition"], np.nan)) for row in rows],
            "permuted": [UNIT[row["permuted"]] for row in rows],
        },
        index=pd.Index([row["condition"] for row in rows], name="condition"),
    )
    return captioned(table, "Permutation tests of groups under each condition, and planted gaps that they found")


def slices_sentence(tests: pd.DataFrame) -> str:
    """Say under which conditions error rates differ at the 5 % level."""
    if tests.empty:
        return "No condition of these faces is known."
    found = tests[tests["p_holm"] < LEVEL]
    how = "(permutation tests with expressions held constant, Holm)"
    if found.empty:
        return f"In none of {len(tests)} conditions do error rates differ at the 5 % level {how}."
    named = "; ".join(f"{row.condition} ({_ends(row.lowest, row.highest)}Holm p {p_equals(row.p_holm)})" for row in found.itertuples())
    return f"Error rates differ at the 5 % level in {len(found)} of {len(tests)} conditions {how}: {named}."


def small_sentence(rates: pd.DataFrame) -> str:
    """Say which groups are too small to show any difference, and what the others can show (from `group_rates`); "" without groups."""
    if rates.empty:
        return ""
    small, large = rates[rates["small"]], rates[~rates["small"] & rates["detectable"].notna()]
    told = []
    if len(large):
        best, worst = large.loc[large["detectable"].idxmin()], large.loc[large["detectable"].idxmax()]
        detected = [_detected(row) for row in (best, worst)]
        either = detected[0] if len(large) == 1 else f"{detected[0]} to {detected[1]}"
        told.append(f"The smallest difference of a group from all other faces that is detectable with 80 % power after Holm's correction: {either}.")
    if len(small):
        shown = [f"{row.condition} {row.group} (n = {row.n}{_persons(row.subjects)})" for row in small.head(12).itertuples()]
        more = f" and {len(small) - 12} more" if len(small) > 12 else ""
        told.append(f"n too small to show any difference in {len(small)} of {len(rates)} groups: {', '.join(shown)}{more}.")
    return " ".join(told)


def expressions_sentence(cells: pd.DataFrame) -> str:
    """Say for which combinations of condition and expression recall differs (from `compare_expressions`)."""
    if cells.empty:
        return "No expression has faces in two groups of a condition."
    found = cells[cells["p_holm"] < LEVEL]
    head = f"of {len(cells)} combinations of condition and expression"
    if found.empty:
        return f"In none {head} does recall differ at the 5 % level between groups (permutation tests, Holm)."
    named = "; ".join(map(_cell, found.head(TOLD).to_dict("records")))
    first = "the smallest p: " if len(found) > TOLD else ""
    return f"Recall differs at the 5 % level between groups in {len(found)} {head} (permutation tests, Holm): {first}{named}."


def planted_sentence(planted: Mapping[str, Any]) -> str:
    """Say how the test does on errors drawn anew with a known gap (from `plant_gaps`), and where a gap would be missed."""
    power = {name: value for name, value in planted["power"].items() if value == value}
    if not power:
        return ""
    level, worst, best = planted["level"], min(power, key=power.__getitem__), max(power, key=power.__getitem__)
    error = 2 * (LEVEL * (1 - LEVEL) / planted["tests"]) ** 0.5
    held = "as a test at that level should"
    if level > LEVEL + error:
        held = "more than a test at that level should: its p values are too small here"
    elif level < LEVEL - error:
        held = "fewer than a test at that level may: it is conservative here"
    ends = [f"{_whole(power[worst])} % of draws ({worst})", f"{_whole(power[best])} % ({best})"]
    either = " to ".join(ends) if power[worst] < power[best] else f"{_whole(power[best])} % of draws, under every condition"
    return (
        f"Checked with errors drawn anew on these faces: without a gap the test rejects at the 5 % level in {percent(level)} of "
        f"{planted['tests']} draws, {held}; a gap of {100 * planted['gap']:.0f} points planted into one group is found in {either}."
    )


def _cell(row: Mapping[str, Any]) -> str:
    head = f"{row['expression']} by {row['condition']}"
    if row["lowest"] != row["lowest"]:
        return f"{head} (Holm p {p_equals(row['p_holm'])})"
    return (
        f"{head} ({percent(row['lowest'])} in {row['lowest_group']}, {percent(row['highest'])} in {row['highest_group']}, "
        f"Holm p {p_equals(row['p_holm'])})"
    )


def _ends(lowest: float, highest: float) -> str:
    return "" if lowest != lowest else f"{number(lowest, percent=True)} to {percent(highest)}, "


def _detected(row: pd.Series) -> str:
    return f"{number(row['detectable'], percent=True)} points ({row['condition']} {row['group']}, n = {row['n']:,})"


def _persons(subjects: float) -> str:
    return "" if subjects != subjects else f", {subjects:.0f} subject{'' if subjects == 1 else 's'}"


def _whole(value: float) -> str:
    return MISSING if value != value else f"{100 * value:.0f}"


def _draw_slice(axis: Axes, rows: pd.DataFrame) -> None:
    many = len(rows) > NAMED
    rows = rows.sort_values("error_rate", kind="stable") if many else rows
    places = np.arange(len(rows))
    spans = np.abs(100 * (rows[["ci_low", "ci_high"]].to_numpy() - rows[["error_rate"]].to_numpy())).T  # (2, groups)
    axis.plot(places, 100 * rows["expected"], "_", color="#6B6B6B", markersize=7 if many else 16, markeredgewidth=2)
    axis.errorbar(places, 100 * rows["error_rate"], yerr=spans, fmt="o", markersize=3 if many else 5, capsize=0 if many else 2, color="#0072B2")
    if many:
        axis.set_xticks([])
        axis.set_xlabel(f"{len(rows)} groups, by rate", fontsize=9)
    else:
        long = max(len(str(group)) for group in rows["group"]) > 3
        names = [f"{group} ({n})" if long else f"{group}\n({n})" for group, n in zip(rows["group"], rows["n"], strict=True)]
        turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if long else {}
        axis.set_xticks(places, names, fontsize=9, **turned)
    for label in axis.get_xticklabels():
        label.set_parse_math(False)  # names of subjects may hold dollars
    axis.set_xlim(-0.5, len(rows) - 0.5)
    axis.grid(axis="x", visible=False)
