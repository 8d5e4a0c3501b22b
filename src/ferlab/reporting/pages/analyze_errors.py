"""The page of errors: confused pairs, confident errors and label issues, as figures, tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ferlab.colours import COLOURS, INKS, PAGE_INK
from ferlab.error_analysis.label_issues import count_agreement
from ferlab.evaluation.clusters import count_clusters, proportion_bounds
from ferlab.evaluation.predictions import subjects_of
from ferlab.reporting.faces import draw_face
from ferlab.reporting.tables import captioned, control_name, estimate, number, over_units, percent
from ferlab.roles import Role

COLUMNS = 6  # faces in a row of a gallery
FALSE_ALARMS = "These control faces carry the label they were drawn with: every one of these issues is a false alarm."


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
    ends = np.fmax(shown["rate_ci_high"], shown["rate"])  # an expression that one subject shows has no interval
    for place, row, colour, end in zip(places, shown.itertuples(), colours, ends, strict=True):
        right.plot([100 * row.rate_ci_low, 100 * row.rate_ci_high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        right.plot(100 * row.rate, place, "o", color=colour, markersize=6)
        right.annotate(f"of {row.support:,}", (100 * end, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9)
    right.set(xlabel="% of the faces of the true expression, 95 %", title="by rate", xlim=(0, 118 * ends.max()))
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
    return _plot_faces(images, captions, colours=[INKS.get(name, PAGE_INK) for name in errors["target"]], nothing="no errors")


def plot_label_issues(images: np.ndarray, issues: pd.DataFrame, *, notes: Sequence[str] = ()) -> Figure:
    """Draw faces with a label issue: the given label, the suggested one, and the raters' where known.

    Args:
        images: uint8 (n, H, W) or (n, H, W, 3).
        issues: From `rank_label_issues`, in the same order.
        notes: Below the caption of each, (n,).
    """
    captions = [f"given {r.given}\nmodel: {r.suggested} {100 * r.prob_suggested:.0f} %" for r in issues.itertuples()]
    if "raters_label" in issues:
        known = zip(captions, issues["raters_label"], issues["raters_share"], strict=True)
        captions = [f"{text}\nraters: {label} {100 * share:.0f} %" if share == share else f"{text}\nno votes" for text, label, share in known]
    captions = [f"{text}\n{note}" if note else text for text, note in zip_longest(captions, notes, fillvalue="")]
    return _plot_faces(images, captions, colours=[INKS.get(name, PAGE_INK) for name in issues["given"]], nothing="no label issue")


def source_of(faces: pd.DataFrame) -> str:
    """Return dataset and usage of a face table."""
    names = " and ".join(dict.fromkeys(faces["source"]))
    usage = " and ".join(dict.fromkeys(faces["usage"]))
    return control_name(names) or f"{names}, {usage}"


def errors_sentence(predictions: pd.DataFrame, *, run: str, split: str, source: str) -> str:
    """Say the error rate."""
    wrong, subjects = (predictions["target"] != predictions["pred"]).to_numpy(), subjects_of(predictions)
    low, high = proportion_bounds(wrong, subjects)
    rate = estimate({"error": wrong.mean(), "error_ci_low": low, "error_ci_high": high}, "error")
    over = over_units({"subjects": None if subjects is None else count_clusters(subjects)})
    told = f"**{run}** misclassifies {wrong.sum():,} of {len(wrong):,} {split} faces ({source}): {rate}."
    return f"{told} Brackets hold 95 % intervals {over}, unless stated."


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


def issues_sentence(issues: pd.DataFrame, *, n: int, role: Role, true_labels: bool = False) -> str:
    """Say how many of `n` faces have a label issue, by the `role` of their split whose probabilities these are, and with which label raters agree,
    or that all are false alarms where every label is known to be that of the face (`true_labels`).
    """
    sample = "cross-validated probabilities, as the run was trained on these faces," if role == "trained" else "out-of-sample probabilities"
    said = f"Confident learning on {sample} finds {len(issues)} label issues among {n:,} faces ({percent(len(issues) / n)})."
    agreement = count_agreement(issues)
    if true_labels and len(issues):
        return f"{said} **{FALSE_ALARMS}**"
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
    return captioned(counts.assign(share=shares).rename(columns=names).set_index("expression"), "Label issues of each expression")


def write_tables(tables: Mapping[str, tuple[Path, pd.DataFrame | None]]) -> None:
    """Write tables as csv, six decimals, each to its path; what the dataset does not have is written without rows."""
    for path, table in tables.values():
        (pd.DataFrame(columns=["face_id"]) if table is None else table).to_csv(path, index=False, float_format="%.6f")


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


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
