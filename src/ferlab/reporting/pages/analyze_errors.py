"""Figures of what a model gets wrong: confused pairs, single faces with their answers, error rates of slices."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ferlab.reporting.faces import draw_face
from ferlab.reporting.style import COLOURS

COLUMNS = 6  # faces in a row of a gallery
PANELS = 4  # slices in a row


def plot_confused_pairs(pairs: pd.DataFrame, *, most: int = 12) -> Figure:
    """Draw the most frequent confused pairs: how many faces, and what share of the true expression.

    Args:
        pairs: From `ferlab.error_analysis.confusions.rank_confusions`.
        most: How many pairs to draw.
    """
    shown = pairs.head(most).iloc[::-1]
    places = np.arange(len(shown))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 0.36 * max(len(shown), 2) + 1.0), layout="constrained", sharey=True)
    if shown.empty:
        _say(left, "no errors")
        return figure
    colours = [COLOURS.get(name, "black") for name in shown["target"]]
    bars = left.barh(places, shown["count"], color=colours, height=0.7)
    left.bar_label(bars, padding=3, fontsize=9)
    left.set(yticks=places, yticklabels=[f"{r.target} called {r.pred}" for r in shown.itertuples()], xlabel="faces", title="how many")
    left.margins(x=0.12)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    for place, row, colour in zip(places, shown.itertuples(), colours, strict=True):
        right.plot([100 * row.rate_ci_low, 100 * row.rate_ci_high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        right.plot(100 * row.rate, place, "o", color=colour, markersize=6)
        right.annotate(f"of {row.support:,}", (100 * row.rate_ci_high, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9)
    right.set(xlabel="% of the faces of the true expression, 95 %", title="how often", xlim=(0, 118 * shown["rate_ci_high"].max()))
    for axis in (left, right):
        axis.grid(axis="y", visible=False)
    return figure


def plot_errors(images: np.ndarray, errors: pd.DataFrame) -> Figure:
    """Draw wrongly answered faces with the true and the predicted expression and their probabilities.

    Args:
        images: Faces, uint8 (n, H, W) or (n, H, W, 3).
        errors: From `ferlab.error_analysis.confusions.most_confident_errors`, in the same order.
    """
    captions = [f"{r.target} {100 * r.prob_target:.0f} %\ncalled {r.pred} {100 * r.prob_pred:.0f} %" for r in errors.itertuples()]
    return _plot_faces(images, captions, colours=[COLOURS.get(name, "black") for name in errors["target"]], nothing="no errors")


def plot_label_issues(images: np.ndarray, issues: pd.DataFrame) -> Figure:
    """Draw faces whose label is doubted, with the given label, the suggested one, and the raters' where known.

    Args:
        images: Faces, uint8 (n, H, W) or (n, H, W, 3).
        issues: From `ferlab.error_analysis.label_issues.doubtful_labels`, in the same order.
    """
    captions = [f"given {r.given}\nnet: {r.suggested} {100 * r.prob_suggested:.0f} %" for r in issues.itertuples()]
    if "raters_label" in issues:
        known = zip(captions, issues["raters_label"], issues["raters_share"], strict=True)
        captions = [f"{text}\nraters: {label} {100 * share:.0f} %" if share == share else f"{text}\nno votes" for text, label, share in known]
    return _plot_faces(images, captions, colours=[COLOURS.get(name, "black") for name in issues["given"]], nothing="no doubted label")


def plot_slices(table: pd.DataFrame, overall: float) -> Figure:
    """Draw the error rate of every group of every condition with its 95 % interval, over a line at the rate of all faces.

    Args:
        table: From `ferlab.error_analysis.slices.error_rates`.
        overall: Error rate of all faces, 0 to 1.
    """
    conditions = list(dict.fromkeys(table["condition"]))
    columns = min(PANELS, len(conditions))
    lines = -(-len(conditions) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(2.7 * columns + 0.5, 2.5 * lines), layout="constrained", sharey=True, squeeze=False)
    for axis in axes.flat[len(conditions) :]:
        axis.set_axis_off()
    for axis, condition in zip(axes.flat, conditions, strict=False):
        _draw_slice(axis, table[(table["condition"] == condition) & (table["n"] > 0)], overall)
        axis.set_title(condition)
    for axis in axes[:, 0]:
        axis.set_ylabel("error rate, %")
    axes[0, 0].set_ylim(0, min(103, 110 * table[["error_rate", "ci_high"]].max().max()))
    return figure


def _draw_slice(axis: Axes, rows: pd.DataFrame, overall: float) -> None:
    places = np.arange(len(rows))
    axis.axhline(100 * overall, color="#9A9A9A", linewidth=1, linestyle="--")
    spans = np.abs(100 * (rows[["ci_low", "ci_high"]].to_numpy() - rows[["error_rate"]].to_numpy())).T  # (2, groups)
    axis.errorbar(places, 100 * rows["error_rate"], yerr=spans, fmt="o", markersize=5, capsize=2, color="#0072B2")
    long = max(len(str(group)) for group in rows["group"]) > 3
    names = [f"{group}\n({n})" if not long else f"{group} ({n})" for group, n in zip(rows["group"], rows["n"], strict=True)]
    axis.set_xticks(places, names, fontsize=9, rotation=35 if long else 0, ha="right" if long else "center", rotation_mode="anchor" if long else None)
    for label in axis.get_xticklabels():
        label.set_parse_math(False)  # a subject may be called anything
    axis.set_xlim(-0.5, len(rows) - 0.5)
    axis.grid(axis="x", visible=False)


def _plot_faces(images: np.ndarray, captions: Sequence[str], *, colours: Sequence[str], nothing: str) -> Figure:
    columns = COLUMNS if len(captions) >= COLUMNS else max(1, len(captions))
    lines = max(1, -(-len(captions) // columns))
    height = 1.45 + 0.17 * max((caption.count("\n") + 1 for caption in captions), default=1)
    figure, axes = plt.subplots(lines, columns, figsize=(1.6 * columns, height * lines), layout="constrained", squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    if not captions:
        _say(axes[0, 0], nothing)
    for axis, image, caption, colour in zip(axes.flat, images, captions, colours, strict=False):
        draw_face(axis, image, title=caption, colour=colour)
    return figure


def _say(axis: Axes, text: str) -> None:
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=9, color="#4A4A4A")
