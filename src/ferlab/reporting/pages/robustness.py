"""The page of one run's robustness: figures of corrupted faces, of accuracy under each condition and of curves, and what they show in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ferlab.colours import SPLIT_COLOURS
from ferlab.evaluation.robustness import CLEAN, FEWEST, Outcomes, mean_with_bounds
from ferlab.reporting.faces import draw_face
from ferlab.reporting.tables import MISSING, captioned, cell, estimate, number, p_value, percent
from ferlab.roles import Exposure, listed

LEVEL = 0.05
LINE, GREY = SPLIT_COLOURS["val"], "#6B6B6B"
CURVES = {
    "shift": ("shift, % of the side", 100.0, 0.0),
    "rotation": ("rotation, degrees", 1.0, 0.0),
    "scale": ("scale", 1.0, 1.0),
    "resolution": ("resolution, pixels", 1.0, None),
}  # axis, factor, and the level of the unchanged face; None: the side of the faces
GAP = 2  # pixels between pictures of a strip


def in_words(name: str) -> str:
    """Return a condition as a reader meets it.

    >>> in_words("gaussian_noise"), in_words("jpeg")
    ('Gaussian noise', 'JPEG')
    """
    return {"jpeg": "JPEG", "gaussian_noise": "Gaussian noise"}.get(name, name.replace("_", " "))


def plot_strips(strips: Mapping[str, Sequence[np.ndarray]], *, columns: int = 2) -> Figure:
    """Draw one strip of pictures per condition, conditions down the columns.

    Args:
        strips: Condition -> its pictures, uint8 (H, W) or (H, W, 3), the same number of each.
        columns: Of strips.
    """
    rows, longest = -(-len(strips) // columns), max(map(len, strips.values()))
    figure, axes = plt.subplots(rows, columns, figsize=(columns * (0.4 * longest + 0.95), 0.46 * rows), layout="constrained", squeeze=False)
    for axis in axes.T.ravel():
        axis.set_axis_off()
    for axis, (name, pictures) in zip(axes.T.ravel(), strips.items(), strict=False):
        axis.set_axis_on()
        draw_face(axis, _strip(pictures))
        axis.set_ylabel(in_words(name).replace(" ", "\n"), rotation=0, ha="right", va="center", fontsize=10)
    return figure


def _strip(pictures: Sequence[np.ndarray]) -> np.ndarray:
    first = pictures[0]
    gap = np.full((first.shape[0], max(GAP, first.shape[1] // 24), *first.shape[2:]), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], axis=1)


def sample_sentence(found: Outcomes, *, split: str, source: str, seen: Exposure) -> str:
    """Report which faces are perturbed, their accuracy unchanged, and what the split was to the run."""
    correct, role = estimate(mean_with_bounds("accuracy", found.clean, found.clusters), "accuracy"), seen.role(split)
    over = "faces" if found.subjects is None else f"{len(np.unique(found.subjects))} subjects"
    told = f"{len(found.hits):,} {split} faces ({source}), stratified by expression; unchanged, {correct} are classified correctly. "
    told += f"Intervals and tests are over {over}. "
    if role == "trained":
        return told + f"**The model was trained on {split}:** accuracies are training scores, and drops may differ on new faces."
    if role == "selected_on":
        return told + f"{split.capitalize()} selected the epoch: accuracies are optimistically biased."
    return told + f"The run neither trained nor selected on {split}."


def plot_corruptions(found: Outcomes) -> Figure:
    """Draw the accuracy under each corruption at each severity, in percent; corruptions from the least to the most harmful."""
    names = sorted(found.named("corruption"), key=lambda name: -float(found.of([name]).mean()))
    severities = [int(severity) for severity in found.hits[names[0]].columns]
    clean = 100 * float(found.clean.mean())
    values = np.array([[clean, *(100 * found.hits[name].to_numpy().mean(axis=0))] for name in names])
    figure, axis = plt.subplots(figsize=(5.6, 0.34 * len(names) + 0.9), layout="constrained")
    ticks = {"xticklabels": ["unchanged", *severities], "yticklabels": [in_words(name) for name in names]}
    sns.heatmap(values, ax=axis, annot=True, fmt=".0f", cmap="Blues", vmin=0, vmax=150, cbar=False, linewidths=1, linecolor="white", **ticks)
    plt.setp(axis.texts, color="black")  # the darkest cell is mid blue
    axis.tick_params(length=0, axis="both", labelrotation=0)
    axis.set(xlabel="severity", title="accuracy, %")
    return figure


def corruption_sentence(errors: pd.DataFrame) -> str:
    """Report the mean error under corruption and the corruptions that raise it most and least, from `corruption_table`."""
    mean, each = errors.iloc[-1].to_dict(), errors.iloc[:-1].sort_values("rise", ascending=False)
    most, least = each.iloc[0].to_dict(), each.iloc[-1].to_dict()
    found = int(((each["p_holm"] < LEVEL) & (each["rise"] > 0)).sum())
    return (
        f"Over {len(each)} corruptions at five severities, the mean error is {estimate(mean, 'error')}, "
        f"{estimate(mean, 'rise', unit='points')} above that of the unchanged faces. {found} of {len(each)} corruptions raise it significantly "
        f"(paired, Holm, 5 % level). The largest rise: {in_words(most['condition'])}, {estimate(most, 'rise', unit='points')}; the smallest: "
        f"{in_words(least['condition'])}, {estimate(least, 'rise', unit='points')}."
    )


def corruptions_table(errors: pd.DataFrame) -> pd.DataFrame:
    """Return one row per corruption: error and rise with intervals, Holm p; the most harmful first, the mean last."""
    ordered = pd.concat([errors.iloc[:-1].sort_values("rise", ascending=False), errors.iloc[-1:]])
    rows = [
        {
            "corruption": in_words(row["condition"]),
            "error, %": cell(row, "error"),
            "rise, points": cell(row, "rise"),
            "Holm p": p_value(row["p_holm"]),
        }
        for row in ordered.to_dict("records")
    ]
    table = pd.DataFrame(rows).set_index("corruption")
    return captioned(table, "Error under each corruption, mean over severities, and its rise over unchanged faces")


def severity_sentence(severities: pd.DataFrame, *, classes: int) -> str:
    """Report the accuracy at each end of the severities, and the expression with the lowest recall at the last."""
    first, last = severities.iloc[1].to_dict(), severities.iloc[-1].to_dict()
    told = f"At severity 1 the accuracy over all corruptions is {estimate(first, 'accuracy')}, at severity 5 {estimate(last, 'accuracy')}."
    if last["accuracy_ci_low"] <= 1 / classes:
        told += f" That is not significantly above the {percent(1 / classes)} of random predictions."
    if last["worst"]:
        told += f" The lowest recall at severity 5: {last['worst']}, {percent(last['worst_recall'])}."
    return told


def severities_table(severities: pd.DataFrame) -> pd.DataFrame:
    """Return one row per severity: accuracy with interval, and the expression with the lowest recall."""
    rows = [
        {
            "severity": "unchanged" if row["severity"] == 0 else str(row["severity"]),
            "accuracy, %": cell(row, "accuracy"),
            "lowest recall, %": f"{row['worst']} {number(row['worst_recall'], percent=True)}" if row["worst"] else MISSING,
        }
        for row in severities.to_dict("records")
    ]
    return captioned(pd.DataFrame(rows).set_index("severity"), "Accuracy at each severity, mean over corruptions")


def plot_occlusions(occlusions: pd.DataFrame) -> Figure:
    """Draw the drop in accuracy of each occlusion with its paired 95 % interval; from `compare_conditions`."""
    ordered = occlusions.sort_values("drop", ascending=True)
    figure, axis = plt.subplots(figsize=(5.6, 0.34 * len(ordered) + 0.9), layout="constrained")
    spans = 100 * np.abs(ordered[["drop_ci_low", "drop_ci_high"]].sub(ordered["drop"], axis=0).to_numpy().T)
    axis.axvline(0, color=GREY, linewidth=1)
    axis.errorbar(100 * ordered["drop"], range(len(ordered)), xerr=spans, fmt="o", color=LINE, markersize=6, capsize=3)
    axis.set_yticks(range(len(ordered)), [in_words(name) for name in ordered["condition"]])
    axis.grid(axis="y", visible=False)
    axis.set(xlabel="drop in accuracy, points")
    return figure


def occlusion_sentence(occlusions: pd.DataFrame) -> str:
    """Report the occlusions that cost accuracy significantly, most first, and those that do not."""
    ordered = occlusions.sort_values("drop", ascending=False)
    costly = (ordered["p_holm"] < LEVEL) & (ordered["drop"] > 0)
    told = [f"{in_words(row['condition'])} {estimate(row, 'drop', unit='points')}" for row in ordered[costly].to_dict("records")]
    rest = [in_words(name) for name in ordered.loc[~costly, "condition"]]
    said = f"Significant drops (paired, Holm, 5 % level): {'; '.join(told)}." if told else "No occlusion costs accuracy significantly."
    return f"{said} Not significant: {listed(rest)}." if rest and told else said


def occlusions_table(occlusions: pd.DataFrame, drops: pd.DataFrame) -> pd.DataFrame:
    """Return one row per occlusion: the drop in accuracy with its interval, and that in the recall of each expression.

    `*`: significant; a dash: fewer than `FEWEST` faces.

    Args:
        occlusions: From `compare_conditions`.
        drops: From `drops_by_expression`.
    """
    rows = []
    for row in occlusions.sort_values("drop", ascending=False).to_dict("records"):
        own = drops[drops["condition"] == row["condition"]].to_dict("records")
        marks = {each["expression"]: _drop_cell(each) for each in own}
        rows.append({"occlusion": in_words(row["condition"]), "all faces, points": cell(row, "drop"), **marks})
    table = pd.DataFrame(rows).set_index("occlusion")
    return captioned(table, "Drop in accuracy, and in the recall of each expression, under each occlusion, points; *: significant")


def _drop_cell(drop: Mapping[str, Any]) -> str:
    return number(drop["drop"], percent=True) + "*" * (drop["p_holm"] < LEVEL) if drop["n"] >= FEWEST else MISSING


def plot_curves(displacements: pd.DataFrame, found: Outcomes, *, side: int) -> Figure:
    """Draw the accuracy against shift, rotation, scale and resolution, with 95 % bands; the unchanged faces are an open circle.

    Args:
        displacements: From `compare_conditions`.
        found: Their outcomes.
        side: Of the faces, in pixels.
    """
    unchanged_faces = mean_with_bounds("accuracy", found.clean, found.clusters)
    clean = 100 * unchanged_faces["accuracy"]
    figure, axes = plt.subplots(2, 2, figsize=(7.4, 5.4), layout="constrained", sharey=True)
    for axis, (name, (label, factor, unchanged)) in zip(axes.ravel(), CURVES.items(), strict=True):
        own = displacements[displacements["condition"] == name]
        at, level = factor * own["severity"].to_numpy(), side if unchanged is None else factor * unchanged
        x = np.append(at, level)
        y = np.append(100 * own["accuracy"].to_numpy(), clean)
        order = np.argsort(x)
        axis.plot(x[order], y[order], color=LINE, linewidth=2)
        axis.plot(at, 100 * own["accuracy"], "o", color=LINE, markersize=5)
        axis.plot(level, clean, "o", markerfacecolor="white", color=LINE, markersize=7)
        low, high = (np.append(own[f"accuracy_ci_{end}"], unchanged_faces[f"accuracy_ci_{end}"])[order] for end in ("low", "high"))
        axis.fill_between(x[order], 100 * low, 100 * high, color=LINE, alpha=0.2, linewidth=0)
        axis.set(xlabel=label, ylim=(0, 102))
        if name == "resolution":
            axis.set_xscale("log", base=2)
            axis.set_xticks(x[order], [f"{value:.0f}" for value in x[order]])
            axis.minorticks_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("accuracy, %")
    return figure


def curves_sentence(displacements: pd.DataFrame) -> str:
    """Report per displacement the least level that costs accuracy significantly."""
    told = []
    for name, (_, factor, unchanged) in CURVES.items():
        own = displacements[(displacements["condition"] == name) & (displacements["p_holm"] < LEVEL) & (displacements["drop"] > 0)]
        unit = {"shift": " % of the side", "rotation": " degrees", "scale": "", "resolution": " pixels"}[name]
        if own.empty:
            told.append(f"{name}: none of the levels")
            continue
        distance = (own["severity"] / unchanged).map(np.log).abs() if name == "scale" else own["severity"] * (-1 if unchanged is None else 1)
        row = own.loc[distance.idxmin()].to_dict()
        told.append(f"{name} {factor * row['severity']:g}{unit} ({estimate(row, 'drop', unit='points')})")
    return f"The smallest change that costs accuracy significantly (paired, Holm, 5 % level): {'; '.join(told)}."


def transfer_sentence(transfer: pd.DataFrame, facts: Mapping[str, Mapping[str, Any]], *, own: str) -> str:
    """Report the drop from the run's own dataset to each other one; that none is asked for, where there is none."""
    if transfer.empty:
        return "`robustness.sets` names no other prepared dataset."
    told = []
    for row in transfer.to_dict("records"):
        name, of = row["compared"], facts[row["compared"]]
        if row["drop_ci_low"] > 0:
            verdict = "significantly less than"
        else:
            verdict = "significantly more than" if row["drop_ci_high"] < 0 else "not significantly different from"
        said = f"On **{name}** the accuracy is {estimate(row, 'accuracy')} (n = {row['n']:,}), {verdict} the {estimate(row, 'own')} on {own}"
        said += f": a drop of {estimate(row, 'drop', unit='points')}. Both are scored on {listed(of['expressions'])}"
        said += f"; {of['duplicates']} faces are training faces or duplicates of one and are excluded" if of["duplicates"] else ""
        said += f"; {of['own_duplicates']} faces of {own} have a duplicate among training faces and are excluded" if of["own_duplicates"] else ""
        said += f"; {of['lacking']} faces of other expressions are excluded" if of["lacking"] else ""
        told.append(
            said
            + ("." if of["prepared_alike"] else f". The two were prepared differently, which is part of the drop: see the pages of {own} and {name}.")
        )
    return " ".join(told)


def transfers_table(transfer: pd.DataFrame, *, own: str) -> pd.DataFrame | None:
    """Return one row per other dataset; None where there is none."""
    if transfer.empty:
        return None
    rows = [
        {
            "dataset": row["compared"],
            "faces": f"{row['n']:,}",
            "accuracy, %": cell(row, "accuracy"),
            f"accuracy on {own}, %": cell(row, "own"),
            "drop, points": cell(row, "drop"),
            "balanced accuracy, %": number(row["balanced_accuracy"], percent=True),
            f"balanced accuracy on {own}, %": number(row["balanced_own"], percent=True),
        }
        for row in transfer.to_dict("records")
    ]
    return captioned(pd.DataFrame(rows).set_index("dataset"), "Accuracy on other datasets, without retraining")


def summarise(
    found: Outcomes,
    errors: pd.DataFrame,
    severities: pd.DataFrame,
    *,
    occlusions: pd.DataFrame,
    drops: pd.DataFrame,
    displacements: pd.DataFrame,
    transfer: pd.DataFrame,
) -> dict[str, Any]:
    """Return the numbers of `reports/metrics/robustness/<run>.json`, nested by name, since DVC drops lists."""
    accuracy = {name: found.hits[name].mean() for name in found.named("corruption")}
    curves = {name: {f"{row['severity']:g}": row for row in _records(rows)} for name, rows in displacements.groupby("condition", sort=False)}
    return {
        "n": len(found.hits),
        "clean_accuracy": float(found.hits[CLEAN].to_numpy().mean()),
        "corruptions": {row.pop("condition"): row for row in errors.to_dict("records")},
        "accuracy_by_corruption": {name: {str(int(level)): float(value) for level, value in of.items()} for name, of in accuracy.items()},
        "severities": {str(row["severity"]): row for row in severities.to_dict("records")},
        "occlusions": {
            row["condition"]: {**row, "by_expression": {each["expression"]: each for each in _records(drops[drops["condition"] == row["condition"]])}}
            for row in occlusions.to_dict("records")
        },
        "displacements": curves,
        "other_sets": {row["compared"]: row for row in transfer.to_dict("records")},
    }


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return rows.drop(columns="condition").to_dict("records")
