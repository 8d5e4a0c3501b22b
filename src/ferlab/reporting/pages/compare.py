"""Figures over several runs, one panel per set, and of published rows beside ours, one panel per dataset.

Runs of different sets, and rows of different datasets, share no axis: their faces differ, and so does what an accuracy means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ferlab.reporting.tables import control_name

# Human level on FER2013, 65 +- 5 %: Goodfellow et al. (2013), arXiv 1307.0414. It says nothing of any other set.
HUMAN_LEVEL = {"fer2013": (0.60, 0.70)}
HUMAN_COLOUR, OURS, THEIRS = "#E69F00", "#0072B2", "#6B6B6B"
KINDS = {"human": ("D", HUMAN_COLOUR), "live": ("s", THEIRS)}  # marker and colour of published rows that are no model on a test split
PRECISION_RECALL = {"precision": (-0.2, "#56B4E9"), "recall": (0.2, "#0072B2")}
MARKERS = "osD^vP*X<>"
PANELS_AT_MOST = 6

PerClass = Mapping[str, Mapping[str, Any]]


def plot_accuracies(runs: pd.DataFrame, *, split: str = "test", datasets: Mapping[str, str]) -> Figure:
    """Draw the accuracy of each run with its 95 % interval: a panel per set, a row per run, human level where it applies.

    Open circles: these faces were not untouched by the run.

    Args:
        runs: Columns `run`, `set`, `<split>.accuracy` and its bounds, and `<split>.role`.
        split: "val", "test" or "test_dedup".
        datasets: Set -> dataset; human level is drawn for "fer2013" alone.
    """
    names = {f"{split}.accuracy": "value", f"{split}.accuracy_ci_low": "low", f"{split}.accuracy_ci_high": "high", "run": "label"}
    hollow = runs[f"{split.split('_')[0]}.role"] != "untouched"
    sets = dict(list(runs.rename(columns=names).assign(colour=OURS, hollow=hollow).groupby("set", sort=False)))
    figure, axes = _rows_of_panels([len(rows) for rows in sets.values()])
    for axis, (name, rows) in zip(axes, sets.items()):
        _draw_forest(axis, rows, human=HUMAN_LEVEL.get(datasets[name]))
        axis.set_title(f"{name}, {split.replace('_', ' ')}", pad=16)  # human level stands below it
        axis.set_xlabel("accuracy, %")
    return figure


def plot_published(ours: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Draw published accuracies beside ours, a panel per dataset with an axis of its own; open circles selected on the faces they report.

    Args:
        ours: Columns `label, set, dataset, split, value, low, high, hollow`.
        published: From `rows_beside`; humans are diamonds, live tries squares.
    """
    rows = _published_rows(ours, published)
    panels = dict(list(rows.groupby("panel", sort=False)))
    figure, axes = _rows_of_panels([len(part) for part in panels.values()])
    for axis, (name, part) in zip(axes, panels.items()):
        _draw_forest(axis, part, human=HUMAN_LEVEL.get(part["dataset"].iloc[0]))
        axis.set_title(name, pad=16)
        axis.set_xlabel("accuracy, %")
    return figure


def _published_rows(ours: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return ours and theirs as rows of the forest, with their `panel`: the dataset, and of control faces the set, since options make them."""
    theirs = published.rename(columns={"system": "label", "accuracy": "value", "ci_low": "low", "ci_high": "high"}).assign(
        colour=THEIRS, hollow=published["selected_on"] == "test"
    )
    for kind, (marker, colour) in KINDS.items():
        theirs.loc[published["kind"] == kind, ["marker", "colour"]] = marker, colour
    theirs = theirs.sort_values(["dataset", "value"], ascending=False, kind="stable").assign(panel=lambda rows: rows["dataset"])
    drawn = [control_name(name) for name in ours["dataset"]]
    panels = [name if kind is None else f"{kind}: {of}" for name, kind, of in zip(ours["dataset"], drawn, ours["set"], strict=True)]
    mine = ours.assign(label="ours: " + ours["label"], colour=OURS, panel=panels)
    rows = pd.concat([mine, theirs], ignore_index=True).fillna({"marker": "o"})
    return rows.assign(label=rows["label"] + " · " + rows["split"])


def plot_class_lines(per_class: Mapping[str, PerClass], *, sets: Mapping[str, Sequence[str]], key: str = "f1") -> Figure:
    """Draw one line per run over the expressions, a panel per set.

    Args:
        per_class: Run -> expression -> scores.
        sets: Set -> its runs.
        key: "f1", "recall" or "precision".
    """
    figure, axes = plt.subplots(len(sets), 1, figsize=(9, 3.4 * len(sets) + 0.4), layout="constrained", squeeze=False)
    for axis, (name, runs) in zip(axes[:, 0], sets.items()):
        _draw_lines(axis, {run: per_class[run] for run in runs}, key=key)
        axis.set(title=name, ylabel=f"{'F1' if key == 'f1' else key}, %")
    return figure


def plot_precision_recall(per_class: Mapping[str, PerClass]) -> Figure:
    """Draw precision beside recall for each expression, one panel per run (the first six runs).

    Args:
        per_class: Run -> expression -> scores.
    """
    shown = list(per_class.items())[:PANELS_AT_MOST]
    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5.2 * columns, 2.6 * rows + 0.4), layout="constrained", sharey=True, squeeze=False)
    for axis, (run, scores) in zip(axes.flat, shown):
        _draw_bars(axis, scores)
        axis.set_title(run)
    for axis in list(axes.flat)[len(shown) :]:
        axis.set_axis_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("%")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure


def human_level_note(datasets: Mapping[str, str]) -> str:
    """Say whether a human level applies to these sets."""
    known = sorted({dataset for dataset in datasets.values() if dataset in HUMAN_LEVEL})
    if known:
        low, high = HUMAN_LEVEL[known[0]]
        return f"The band is the human level on FER2013, {50 * (low + high):.0f} ± {50 * (high - low):.0f} % (Goodfellow et al., 2013)."
    return "No human level is drawn: 65 ± 5 % was measured on FER2013 and does not apply to these faces."


def _rows_of_panels(rows: Sequence[int]) -> tuple[Figure, list[Axes]]:
    """Return a figure with one panel below the other, each as high as its rows need, each with an axis of its own."""
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(8.8, 0.32 * sum(rows) + 1.0 * len(rows) + 0.5), layout="constrained", squeeze=False,
        height_ratios=[n + 1 for n in rows],
    )  # fmt: skip
    return figure, list(axes[:, 0])


def _draw_forest(axis: Axes, rows: pd.DataFrame, *, human: tuple[float, float] | None) -> None:
    axis.set_ylim(len(rows) - 0.4, -0.6)
    if human:
        axis.axvspan(100 * human[0], 100 * human[1], color=HUMAN_COLOUR, alpha=0.15, linewidth=0)
        axis.text(50 * sum(human), -0.6, "human level", ha="center", va="bottom", fontsize=9, color="#7A5200")
    for place, row in enumerate(rows.to_dict("records")):
        if row["low"] == row["low"]:
            axis.plot([100 * row["low"], 100 * row["high"]], [place, place], color=row["colour"], linewidth=2, solid_capstyle="butt")
        face = "white" if row.get("hollow") else row["colour"]
        axis.plot(100 * row["value"], place, row.get("marker", "o"), color=row["colour"], markerfacecolor=face, markersize=6)
    axis.set_yticks(range(len(rows)), list(rows["label"]))
    axis.grid(axis="y", visible=False)


def _draw_lines(axis: Axes, per_class: Mapping[str, PerClass], *, key: str) -> None:
    names = list(next(iter(per_class.values())))
    colours = plt.colormaps["viridis"](np.linspace(0, 0.85, max(len(per_class), 2)))
    for place, (run, scores) in enumerate(per_class.items()):
        values = [np.nan if scores[name][key] is None else 100 * scores[name][key] for name in names]
        axis.plot(range(len(names)), values, marker=MARKERS[place % len(MARKERS)], markersize=5, color=colours[place], label=run)
    axis.set_xticks(range(len(names)), names)
    axis.set_ylim(-3, 103)
    axis.grid(axis="x", visible=False)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_bars(axis: Axes, scores: PerClass) -> None:
    places = np.arange(len(scores))
    for key, (offset, colour) in PRECISION_RECALL.items():
        values = [0 if values[key] is None else 100 * values[key] for values in scores.values()]
        axis.bar(places + offset, values, width=0.38, color=colour, label=key)
    axis.set_xticks(places, list(scores), rotation=40, ha="right", rotation_mode="anchor")
    axis.set_ylim(0, 103)
    axis.grid(axis="x", visible=False)
