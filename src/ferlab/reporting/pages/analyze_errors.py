"""The page of errors: confused pairs, confident errors, label issues and error rates of slices, as figures, tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ferlab.error_analysis.label_issues import count_agreement
from ferlab.evaluation.proportions import wilson
from ferlab.reporting.faces import draw_face
from ferlab.reporting.style import COLOURS
from ferlab.reporting.tables import cell, control_name, estimate, number, p_equals, p_value, percent
from ferlab.roles import Role

COLUMNS = 6  # faces in a row of a gallery
PANELS = 4  # slices in a row
LEVEL = 0.05


def plot_confused_pairs(pairs: pd.DataFrame, *, most: int = 12) -> Figure:
    """Draw the `most` most frequent confused pairs (from `rank_confusions`): faces, and percent of the true expression."""
    shown = pairs.head(most).iloc[::-1]
    places = np.arange(len(shown))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 0.36 * max(len(shown), 2) + 1.0), layout="constrained", sharey=True)
    if shown.empty:
        _note(left, "no errors")
        return figure
    colours = [COLOURS.get(name, "black") for name in shown["target"]]
    bars = left.barh(places, shown["count"], color=colours, height=0.7)
    left.bar_label(bars, padding=3, fontsize=9)
    left.set(yticks=places, yticklabels=[f"{r.target} as {r.pred}" for r in shown.itertuples()], xlabel="faces", title="by count")
    left.margins(x=0.12)
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    for place, row, colour in zip(places, shown.itertuples(), colours, strict=True):
        right.plot([100 * row.rate_ci_low, 100 * row.rate_ci_high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        right.plot(100 * row.rate, place, "o", color=colour, markersize=6)
        right.annotate(f"of {row.support:,}", (100 * row.rate_ci_high, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9)
    right.set(xlabel="% of the faces of the true expression, 95 %", title="by rate", xlim=(0, 118 * shown["rate_ci_high"].max()))
    for axis in (left, right):
        axis.grid(axis="y", visible=False)
    return figure


def plot_errors(images: np.ndarray, errors: pd.DataFrame) -> Figure:
    """Draw misclassified faces with label, prediction and their probabilities.

    Args:
        images: uint8 (n, H, W) or (n, H, W, 3).
        errors: From `most_confident_errors`, in the same order.
    """
    captions = [f"{r.target} {100 * r.prob_target:.0f} %\nas {r.pred} {100 * r.prob_pred:.0f} %" for r in errors.itertuples()]
    return _plot_faces(images, captions, colours=[COLOURS.get(name, "black") for name in errors["target"]], nothing="no errors")


def plot_label_issues(images: np.ndarray, issues: pd.DataFrame) -> Figure:
    """Draw faces with a label issue: the given label, the suggested one, and the raters' where known.

    Args:
        images: uint8 (n, H, W) or (n, H, W, 3).
        issues: From `rank_label_issues`, in the same order.
    """
    captions = [f"given {r.given}\nmodel: {r.suggested} {100 * r.prob_suggested:.0f} %" for r in issues.itertuples()]
    if "raters_label" in issues:
        known = zip(captions, issues["raters_label"], issues["raters_share"], strict=True)
        captions = [f"{text}\nraters: {label} {100 * share:.0f} %" if share == share else f"{text}\nno votes" for text, label, share in known]
    return _plot_faces(images, captions, colours=[COLOURS.get(name, "black") for name in issues["given"]], nothing="no label issue")


def plot_slices(table: pd.DataFrame, overall: float) -> Figure:
    """Draw the error rate of every group (from `error_rates`) with its 95 % interval, and a line at the rate of all faces (`overall`, 0 to 1)."""
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


def source_of(faces: pd.DataFrame) -> str:
    """Return dataset and usage of a face table."""
    names = " and ".join(dict.fromkeys(faces["source"]))
    usage = " and ".join(dict.fromkeys(faces["usage"]))
    return control_name(names) or f"{names}, {usage}"


def errors_sentence(predictions: pd.DataFrame, *, run: str, split: str, source: str) -> str:
    """Say the error rate."""
    wrong, n = int((predictions["target"] != predictions["pred"]).sum()), len(predictions)
    low, high = wilson(wrong, n)
    rate = estimate({"error": wrong / n, "error_ci_low": low, "error_ci_high": high}, "error")
    return f"**{run}** misclassifies {wrong:,} of {n:,} {split} faces ({source}): {rate}. Brackets hold 95 % intervals."


def pairs_table(pairs: pd.DataFrame, *, most: int = 10) -> pd.DataFrame:
    """Return the `most` most frequent confused pairs (from `rank_confusions`)."""
    shown = pairs.head(most)
    rates = [cell(row, "rate") for row in shown.to_dict("records")]
    table = shown.assign(pair=shown["target"] + " as " + shown["pred"], percent=rates).set_index("pair")
    names = {"count": "faces", "support": "of", "percent": "% of the true expression"}
    return table[[*names, "rank_by_count", "rank_by_rate"]].rename(columns=names | {"rank_by_count": "rank by count", "rank_by_rate": "rank by rate"})


def pairs_sentence(pairs: pd.DataFrame) -> str:
    """Say which pair leads by count, and which by rate."""
    if pairs.empty:
        return "No prediction differs from its label."
    first = pairs.iloc[0]
    often = pairs.loc[pairs["rank_by_rate"].idxmin()]
    share = percent(first["count"] / pairs["count"].sum())
    same = (first["target"], first["pred"]) == (often["target"], often["pred"])
    by_rate = (
        "It leads by rate too" if same else f"By rate {often['target']} as {often['pred']} leads, {estimate(often, 'rate')} of {often['support']}"
    )
    return (
        f"Most frequent: {first['target']} as {first['pred']}, {_many(first['count'], 'face')}, {estimate(first, 'rate')} of {first['support']} "
        f"and {share} of all errors. {by_rate}."
    )


def confident_sentence(errors: pd.DataFrame) -> str:
    """Say the probabilities of the errors shown, and the most frequent pair among them."""
    if errors.empty:
        return "No prediction differs from its label."
    top, last = errors.iloc[0], errors.iloc[-1]
    pairs = (errors["target"] + " as " + errors["pred"]).value_counts()
    if len(errors) == 1:
        return f"One error, {top['target']} as {top['pred']}, with probability {percent(top['prob_pred'])}."
    return (
        f"The {len(errors)} most confident errors, from {percent(top['prob_pred'])} ({top['target']} as {top['pred']}) down to "
        f"{percent(last['prob_pred'])}. Most frequent among them: {pairs.index[0]}, {_many(int(pairs.iloc[0]), 'time')}."
    )


def issues_sentence(issues: pd.DataFrame, *, n: int, role: Role) -> str:
    """Say how many of `n` faces have a label issue, by the `role` of their split whether out-of-sample, and with which label raters agree."""
    sample = "in-sample probabilities, which can hide label issues," if role == "trained" else "out-of-sample probabilities"
    said = f"Confident learning on {sample} finds {len(issues)} label issues among {n:,} faces ({percent(len(issues) / n)})."
    agreement = count_agreement(issues)
    if not agreement:
        return f"{said} The dataset has no raters' votes."
    return (
        f"{said} The raters' first choice agrees with the given label on {agreement['given']} of them, with the model on {agreement['suggested']}, "
        f"and with neither on {agreement['neither']}."
    )


def issues_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Return label issues per given expression (from `issues_per_class`)."""
    shares = [number(share, percent=True) for share in counts["share"]]
    names = {"issues": "label issues", "share": "label issues, %", "most_suggested": "most often suggested"}
    return counts.assign(share=shares).rename(columns=names).set_index("expression")


def slices_table(tests: pd.DataFrame) -> pd.DataFrame:
    """Return the tests of all conditions (from `compare_conditions`)."""
    return pd.DataFrame(
        {
            "groups": tests["groups"].to_numpy(),
            "lowest error, %": [number(value, percent=True) for value in tests["lowest"]],
            "highest error, %": [number(value, percent=True) for value in tests["highest"]],
            "p": [p_value(p) for p in tests["p"]],
            "Holm p": [p_value(p) for p in tests["p_holm"]],
        },
        index=pd.Index(tests["condition"], name="condition"),
    )


def slices_sentence(tests: pd.DataFrame) -> str:
    """Say under which conditions error rates differ at the 5 % level."""
    if tests.empty:
        return "No condition of these faces is known."
    found = tests[tests["p_holm"] < LEVEL]
    if found.empty:
        return f"In none of {len(tests)} conditions do error rates differ at the 5 % level (permutation tests, Holm)."
    named = "; ".join(
        f"{row.condition} ({number(row.lowest, percent=True)} to {percent(row.highest)}, Holm p {p_equals(row.p_holm)})"
        for row in found.itertuples()
    )
    return f"Error rates differ at the 5 % level in {len(found)} of {len(tests)} conditions (permutation tests, Holm): {named}."


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _draw_slice(axis: Axes, rows: pd.DataFrame, overall: float) -> None:
    places = np.arange(len(rows))
    axis.axhline(100 * overall, color="#9A9A9A", linewidth=1, linestyle="--")
    spans = np.abs(100 * (rows[["ci_low", "ci_high"]].to_numpy() - rows[["error_rate"]].to_numpy())).T  # (2, groups)
    axis.errorbar(places, 100 * rows["error_rate"], yerr=spans, fmt="o", markersize=5, capsize=2, color="#0072B2")
    long = max(len(str(group)) for group in rows["group"]) > 3
    names = [f"{group}\n({n})" if not long else f"{group} ({n})" for group, n in zip(rows["group"], rows["n"], strict=True)]
    axis.set_xticks(places, names, fontsize=9, rotation=35 if long else 0, ha="right" if long else "center", rotation_mode="anchor" if long else None)
    for label in axis.get_xticklabels():
        label.set_parse_math(False)  # names of subjects may hold dollars
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
        _note(axes[0, 0], nothing)
    for axis, image, caption, colour in zip(axes.flat, images, captions, colours, strict=False):
        draw_face(axis, image, title=caption, colour=colour)
    return figure


def _note(axis: Axes, text: str) -> None:
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=9, color="#4A4A4A")
