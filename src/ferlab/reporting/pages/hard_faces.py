"""Errors by subject, and errors on faces that raters split between two expressions, on the page of errors."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import INKS, PAGE_INK, REFERENCE
from ferlab.error_analysis.persons import FEWEST
from ferlab.reporting.faces import draw_face
from ferlab.reporting.tables import captioned, cell, estimate, number, p_equals, p_value, percent

SHOWN, WORST, FACES, COLUMNS = 40, 3, 6, 6  # subjects in the figure, of whom faces are shown, of each; faces in a row
LEVEL = 0.05
NEITHER = "The dataset names no subjects and holds no raters' votes."


def plot_subjects(rates: pd.DataFrame, *, overall: float) -> Figure:
    """Draw the error rate of each subject with its 95 % interval, highest first, and what its expressions let expect; the rest is cut beyond SHOWN.

    Args:
        rates: From `rates_by_subject`.
        overall: Error rate of all faces.
    """
    shown = rates.head(SHOWN)
    figure, axis = plt.subplots(figsize=(max(4.5, 0.24 * len(shown) + 1.2), 3.2), layout="constrained")
    places = np.arange(len(shown))
    spans = np.abs(100 * (shown[["error_rate_ci_low", "error_rate_ci_high"]].to_numpy() - shown[["error_rate"]].to_numpy())).T
    axis.axhline(100 * overall, color=REFERENCE, linewidth=1, linestyle="--")
    axis.errorbar(places, 100 * shown["error_rate"], yerr=spans, fmt="o", markersize=5, capsize=2, color="#0072B2", label="error rate, 95 %")
    expected = 100 * shown["expected"] / shown["n"]
    axis.plot(places, expected, "_", color="#D55E00", markersize=11, markeredgewidth=2, label="expected by its expressions")
    axis.set_xticks(places, shown["subject"], rotation=90, fontsize=9)
    for label in axis.get_xticklabels():
        label.set_parse_math(False)  # names of subjects may hold dollars
    axis.set(ylabel="error rate, %", xlim=(-0.6, len(shown) - 0.4), ylim=(0, min(103.0, 110 * shown["error_rate_ci_high"].max())))
    axis.grid(axis="x", visible=False)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def worst_faces(rates: pd.DataFrame, predictions: pd.DataFrame, subjects: np.ndarray) -> pd.DataFrame:
    """Return the errors shown of the subjects with the highest rates: `row` of `predictions`, `subject`, ids `target` and `pred`; at most FACES of
    each subject, its expressions in turn.
    """
    wrong = predictions["target"] != predictions["pred"]
    table = predictions[["target", "pred"]].assign(row=np.arange(len(predictions)), subject=subjects)[wrong]
    rows = []
    for subject in rates["subject"].head(WORST):
        own = table[table["subject"] == subject]
        turn = own.groupby("target").cumcount()
        rows.append(own.assign(turn=turn).sort_values(["turn", "target"], kind="stable").head(FACES))
    return pd.concat(rows).drop(columns="turn").reset_index(drop=True)


def plot_worst(images: np.ndarray, errors: pd.DataFrame, *, names: tuple[str, ...]) -> Figure:
    """Draw errors of the subjects with the highest rates, a row each.

    Args:
        images: uint8 (n, H, W) or (n, H, W, 3).
        errors: From `worst_faces`, in the same order.
        names: (K,) expressions.
    """
    people = list(dict.fromkeys(errors["subject"]))
    figure, axes = plt.subplots(len(people), FACES, figsize=(1.35 * FACES + 0.7, 1.75 * len(people)), squeeze=False)
    figure.subplots_adjust(left=0.1, right=0.99, top=0.9, bottom=0.01, wspace=0.06, hspace=0.32)
    for axis in axes.flat:
        axis.set_axis_off()
    for line, subject in zip(axes, people, strict=True):
        places = np.flatnonzero(errors["subject"] == subject)
        for axis, place in zip(line, places, strict=False):
            row = errors.iloc[place]
            title = f"{names[row['target']]}\nas {names[row['pred']]}"
            draw_face(axis, images[place], title=title, colour=INKS.get(names[row["target"]], PAGE_INK))
        line[0].text(-0.1, 0.5, subject, transform=line[0].transAxes, ha="right", va="center", fontsize=9, parse_math=False)
    return figure


def subjects_table(rates: pd.DataFrame) -> pd.DataFrame:
    """Return the subjects with the highest error rates, and all that miss a whole expression (from `rates_by_subject`)."""
    shown = rates[(np.arange(len(rates)) < WORST) | (rates["missed"] != "")].head(10)
    table = pd.DataFrame(
        {
            "faces": shown["n"].to_numpy(),
            "errors": shown["errors"].to_numpy(),
            "error rate, %": [cell(row, "error_rate") for row in shown.to_dict("records")],
            "expected errors": [number(value) for value in shown["expected"]],
            "Holm p": [p_value(p) for p in shown["p_holm"]],
            "most frequent error": shown["most_frequent"].replace("", "none").to_numpy(),
            "expressions missed": shown["missed"].replace("", "none").to_numpy(),
        },
        index=pd.Index(shown["subject"], name="subject"),
    )
    return captioned(table, "Subjects with the highest error rates, or an expression of which every face is an error")


def subjects_sentence(rates: pd.DataFrame, spread: Mapping[str, float]) -> str:
    """Say whether subjects differ in their error rates more than chance lets expect.

    Args:
        rates: From `rates_by_subject`.
        spread: From `overdispersion`.
    """
    said = f"Error rates of {len(rates)} subjects run from {percent(rates['error_rate'].min())} to {percent(rates['error_rate'].max())}."
    if spread["p"] != spread["p"]:
        return f"{said} There is nothing to compare: all faces are errors, or none is."
    tested = (
        f"chi-square {number(spread['chi2'])} at {spread['df']:.0f} degrees of freedom, a dispersion of {number(spread['dispersion'], digits=2)} "
        f"(binomial: 1); p {p_equals(spread['p'])} by permutation within expressions"
    )
    if spread["p"] < LEVEL:
        verdict = f"They differ significantly at the 5 % level ({tested})"
    else:
        verdict = f"They do not differ significantly at the 5 % level ({tested})"
    bounds = f"[{number(spread['icc_ci_low'], digits=2)}, {number(spread['icc_ci_high'], digits=2)}]"
    outlying = rates[rates["p_holm"] < LEVEL]
    named = f" Against all others: {', '.join(outlying['subject'])} (Fisher's exact test, Holm)." if len(outlying) else ""
    missed = rates[rates["missed"] != ""]
    many = f"{len(missed)} of {len(rates)} subjects {'has' if len(missed) == 1 else 'have'}"
    whole = f" {many} an expression of which every face, of {FEWEST} or more, is an error." if len(missed) else ""
    return f"{said} {verdict}. The intraclass correlation of errors is {number(spread['icc'], digits=2)} {bounds}.{named}{whole}"


def plot_split(images: np.ndarray, split: pd.DataFrame) -> Figure:
    """Draw faces that raters split between two expressions, each with both and the prediction.

    Args:
        images: uint8 (n, H, W) or (n, H, W, 3), n >= 1.
        split: From `split_faces`, in the same order.
    """
    lines = -(-len(split) // COLUMNS)
    figure, axes = plt.subplots(lines, COLUMNS, figsize=(1.6 * COLUMNS, 2.0 * lines), layout="constrained", squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, image, row in zip(axes.flat, images, split.itertuples(), strict=False):
        title = f"{row.target} {100 * row.share_target:.0f} %\n{row.other} {100 * row.share_other:.0f} %\npredicted {row.pred}"
        draw_face(axis, image, title=title, colour=INKS.get(row.target, PAGE_INK))
    return figure


def split_sentence(facts: Mapping[str, float]) -> str:
    """Say what errors on split faces are (from `split_facts`)."""
    if not facts["faces"]:
        return "On none of these faces are the raters split between the label and one other expression."
    said = (
        f"Raters are split between the label and one other expression on {facts['faces']:,.0f} faces: their error rate is "
        f"{estimate(facts, 'error_rate')}, that of all other faces {percent(facts['error_rate_others'])}."
    )
    if not facts["errors"]:
        return said
    found = f"{facts['other_chosen']:,.0f} predict the raters' other choice: {estimate(facts, 'other_share')}"
    said += f" Of {facts['errors']:,.0f} errors on them, {found}"
    if facts["other_expected"] != facts["other_expected"]:
        return f"{said}."
    said += f"; errors on other faces with the same labels would do so in {percent(facts['other_expected'])}"
    if facts["other_share_ci_low"] > facts["other_expected"]:
        return f"{said}: these errors are more often the raters' choice."
    if facts["other_share_ci_high"] < facts["other_expected"]:
        return f"{said}: these errors are less often the raters' choice."
    return f"{said}, which the interval does not exclude."
