"""Figures of one run's performance: confusions, per-class scores with intervals, reliability."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ferlab.reporting.style import COLOURS, SPLIT_COLOURS

COLOUR_MAP = "Blues"
KEYS = {"recall": "recall", "precision": "precision", "f1": "F1"}


def plot_confusions(confusions: pd.DataFrame) -> Figure:
    """Draw the confusion matrix, counts on the left, percent of each row on the right.

    Args:
        confusions: (K, K) counts, actual as rows, predicted as columns, expressions as names.
    """
    counts = confusions.to_numpy(dtype=float)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100 * counts, support, out=np.zeros_like(counts), where=support > 0)
    side = 0.62 * len(confusions) + 1.1
    figure, axes = plt.subplots(1, 2, figsize=(2 * side, side), layout="constrained", sharey=True)
    _draw_matrix(axes[0], counts, confusions, top=max(counts.max(), 1), text="{:,.0f}")
    _draw_matrix(axes[1], shares, confusions, top=100, text="{:.0f}")
    axes[0].set(title="faces", ylabel="actual", xlabel="predicted")
    axes[1].set(title="% of the actual class", ylabel="", xlabel="predicted")
    return figure


def plot_per_class(per_class: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw recall, precision and F1 of each expression as dots with 95 % intervals, expressions from most to fewest faces.

    Args:
        per_class: `{expression: {recall, recall_ci_low, recall_ci_high, ..., support}}`; undefined values are marked.
    """
    names = sorted(per_class, key=lambda name: per_class[name]["support"])
    figure, axes = plt.subplots(1, 3, figsize=(10, 0.42 * len(names) + 1.1), layout="constrained", sharex=True, sharey=True)
    for axis, (key, label) in zip(axes, KEYS.items()):
        for row, name in enumerate(names):
            _draw_dot(axis, row, per_class[name], key, colour=COLOURS[name])
        axis.set(title=label, xlim=(-3, 103), xlabel="%")
        axis.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(names)), [f"{name} ({per_class[name]['support']:,})" for name in names])
    return figure


def plot_reliability(bins: pd.DataFrame) -> Figure:
    """Draw accuracy against confidence (`bins` from `reliability_bins`), with the faces of each bin below."""
    filled = bins[bins["faces"] > 0]
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(5.6, 5.8), layout="constrained", sharex=True, height_ratios=[3, 1])
    top.plot([0, 100], [0, 100], color="#9A9A9A", linestyle="--", linewidth=1, label="perfectly calibrated")
    spans = np.abs(100 * (filled[["ci_low", "ci_high"]].to_numpy() - filled[["accuracy"]].to_numpy())).T  # (2, bins)
    top.errorbar(
        100 * filled["confidence"], 100 * filled["accuracy"], yerr=spans, fmt="o", markersize=5, capsize=2,
        color=SPLIT_COLOURS["test"], label="faces of a bin, 95 %",
    )  # fmt: skip
    top.set(ylabel="accuracy, %", ylim=(-3, 103), xlim=(-3, 103))
    top.legend(loc="lower right")
    widths = 100 * (bins["high"] - bins["low"])
    bars = bottom.bar(100 * bins["low"], bins["faces"], width=widths, align="edge", color=SPLIT_COLOURS["test"], edgecolor="white")
    bottom.bar_label(bars, [f"{n:,}" if n else "" for n in bins["faces"]], fontsize=8, padding=1)
    bottom.set(xlabel="confidence (largest probability), %", ylabel="faces", ylim=(0, 1.2 * bins["faces"].max()))
    return figure


def _draw_matrix(axis: Axes, values: np.ndarray, confusions: pd.DataFrame, *, top: float, text: str) -> None:
    labels = np.array([[text.format(v) for v in row] for row in values])
    sns.heatmap(
        values, ax=axis, annot=labels, fmt="", cmap=COLOUR_MAP, vmin=0, vmax=top, square=True, cbar=False, linewidths=1, linecolor="white",
        xticklabels=list(confusions.columns), yticklabels=list(confusions.index), annot_kws={"fontsize": 10},
    )  # fmt: skip
    for label, colour in zip(axis.texts, axis.collections[0].get_facecolors()):
        label.set_color(_readable_on(colour[:3]))
    axis.tick_params(axis="x", rotation=40, length=0)
    axis.tick_params(axis="y", rotation=0, length=0)
    plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor")


def _readable_on(colour: np.ndarray) -> str:
    """Return black or white, whichever stands out more (WCAG 2 contrast; seaborn's own choice falls to 3.2 on mid blue)."""
    linear = np.where(colour <= 0.03928, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ [0.2126, 0.7152, 0.0722] > 0.179 else "white"


def _draw_dot(axis: Axes, row: float, scores: Mapping[str, Any], key: str, *, colour: str) -> None:
    value, low, high = (scores.get(k) for k in (key, f"{key}_ci_low", f"{key}_ci_high"))
    if value is None or value != value:
        axis.text(2, row, "undefined", va="center", fontsize=9, color="#6B6B6B")
        return
    if low is not None and high is not None and low == low:
        axis.plot([100 * low, 100 * high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
    axis.plot(100 * value, row, "o", color=colour, markersize=6)
