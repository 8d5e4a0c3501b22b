"""The comparison page: runs in one panel per set, published rows beside ours in one panel per dataset, and the tables of an ablation.

Runs of different sets share no axis: accuracies on different faces do not compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from ferlab.colours import SPLIT_COLOURS
from ferlab.reporting.tables import as_difference, captioned, cell, control_name, estimate, number, over_units, p_equals, p_value, percent
from ferlab.roles import listed

# Human accuracy on FER2013, 65 +- 5 %: Goodfellow et al. (2013), arXiv 1307.0414.
HUMAN_LEVEL = {"fer2013": (0.60, 0.70)}
HUMAN_COLOUR, OURS, THEIRS = "#E69F00", "#0072B2", "#6B6B6B"
KINDS = {"human": ("D", HUMAN_COLOUR), "live": ("s", THEIRS)}  # marker and colour of published rows that are not a model on a test split
PRECISION_RECALL = {"precision": (-0.2, "#56B4E9"), "recall": (0.2, "#0072B2")}
MARKERS = "osD^vP*X<>"
PANELS_AT_MOST = 6
ALPHA = 0.05

PerClass = Mapping[str, Mapping[str, Any]]


def plot_accuracies(runs: pd.DataFrame, *, datasets: Mapping[str, str]) -> Figure:
    """Draw the test accuracy of each run with its 95 % interval: a panel per set, a row per run; open circles selected on test.

    `datasets`: set -> dataset; human accuracy is drawn for "fer2013" alone.
    """
    names = {"test.accuracy": "value", "test.accuracy_ci_low": "low", "test.accuracy_ci_high": "high", "run": "label"}
    drawn = {"colour": OURS, "hollow": runs["test.role"] != "untouched", "panel": runs["set"] + ", test", "dataset": runs["set"].map(datasets)}
    return _plot_forest(runs.rename(columns=names).assign(**drawn))


def plot_published(ours: pd.DataFrame, published: pd.DataFrame) -> Figure:
    """Draw published accuracies beside ours, a panel per dataset with an axis of its own; open circles selected on the faces they report.

    `ours` from `ours_beside_published`, `published` from `rows_beside`; humans are diamonds, live trials squares.
    """
    theirs = published.rename(columns={"system": "label", "accuracy": "value", "ci_low": "low", "ci_high": "high"}).assign(
        colour=THEIRS, marker="o", hollow=published["selected_on"] == "test", panel=published["dataset"]
    )
    for kind, (marker, colour) in KINDS.items():
        theirs.loc[published["kind"] == kind, ["marker", "colour"]] = marker, colour
    theirs = theirs.sort_values(["dataset", "value"], ascending=False, kind="stable")
    drawn = [control_name(name) for name in ours["dataset"]]  # of control faces a panel per set, which its options define
    panels = [name if kind is None else f"{kind}: {of}" for name, kind, of in zip(ours["dataset"], drawn, ours["set"], strict=True)]
    mine = ours.assign(label="ours: " + ours["label"], colour=OURS, panel=panels)
    rows = pd.concat([mine.assign(marker="o"), theirs], ignore_index=True)
    return _plot_forest(rows.assign(label=rows["label"] + " · " + rows["split"]))


def plot_class_lines(per_class: Mapping[str, PerClass], *, sets: Mapping[str, Sequence[str]]) -> Figure:
    """Draw the F1 of each expression, one line per run, a panel per set (`sets`: set -> its runs)."""
    figure, axes = plt.subplots(len(sets), 1, figsize=(9, 3.4 * len(sets) + 0.4), layout="constrained", squeeze=False)
    for axis, (name, runs) in zip(axes[:, 0], sets.items()):
        _draw_lines(axis, {run: per_class[run] for run in runs})
        axis.set(title=name, ylabel="F1, %")
    return figure


def plot_precision_recall(per_class: Mapping[str, PerClass]) -> Figure:
    """Draw precision beside recall for each expression, one panel per run (the first six runs)."""
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


def plot_sweeps(sweep: pd.DataFrame) -> Figure:
    """Draw accuracy along each factor whose levels are numbers, a panel per factor and a line per split with 95 % intervals.

    Args:
        sweep: From `ferlab.evaluation.ablations.sweeps`, with rows.
    """
    curves = list(sweep.groupby(["factor", "else"], sort=False))
    figure, axes = plt.subplots(1, len(curves), figsize=(max(5.0, 4.2 * len(curves)), 3.4), layout="constrained", sharey=True, squeeze=False)
    for axis, ((factor, others), rows) in zip(axes[0], curves):
        levels = sorted(rows["level"].unique())
        for split, line in rows.groupby("split", sort=False):
            values = 100 * line[["accuracy", "ci_low", "ci_high"]].to_numpy().T
            bars = np.clip([values[0] - values[1], values[2] - values[0]], 0, None)
            places = [levels.index(level) for level in line["level"]]
            axis.errorbar(places, values[0], yerr=bars, marker="o", markersize=4, capsize=2, color=SPLIT_COLOURS[str(split)], label=split)
        axis.set(title=str(others), xlabel=str(factor), xticks=range(len(levels)), xticklabels=[f"{level:g}" for level in levels])
    axes[0, 0].set_ylabel("accuracy, %")
    axes[0, -1].legend()
    return figure


def sweeps_sentence(sweep: pd.DataFrame, gaps: pd.DataFrame) -> str:
    """Say for each sweep at which level val (else test) is highest, and by how much more train exceeds test at its last level than at its first.

    Args:
        sweep: From `ferlab.evaluation.ablations.sweeps`.
        gaps: From `ferlab.evaluation.ablations.overfitting`.
    """
    told = []
    for gap in gaps.to_dict("records"):
        rows = sweep[(sweep["factor"] == gap["factor"]) & (sweep["else"] == gap["else"])]
        shown = rows[rows["split"] == ("val" if (rows["split"] == "val").any() else "test")]
        best = shown.loc[shown["accuracy"].idxmax()].rename({"ci_low": "accuracy_ci_low", "ci_high": "accuracy_ci_high"}).to_dict()
        along = f"Along {gap['factor']}{gap['else'] and ' (' + gap['else'] + ')'}"
        ends = f"{number(gap['gap_first'], percent=True)} points at {gap['first']:g} and {number(gap['gap_last'], percent=True)} at {gap['last']:g}"
        change = estimate({"change": gap["change"], "change_ci_low": gap["ci_low"], "change_ci_high": gap["ci_high"]}, "change", unit="points")
        top = f"{along}, {best['split']} accuracy is highest at {best['level']:g}, {estimate(best, 'accuracy')}"
        told.append(f"{top}; train accuracy exceeds that of test by {ends}, a change of {change}.")
    return " ".join([*told, "Train accuracy is of augmented faces, while training, in the kept epoch."] if told else [])


def runs_sentence(runs: pd.DataFrame, datasets: Mapping[str, str]) -> str:
    """Say the highest test accuracy of each set."""
    told = []
    for name, rows in runs.groupby("set", sort=False):
        top = rows[rows["test.accuracy"] == rows["test.accuracy"].max()]
        scores = {str(key).removeprefix("test."): value for key, value in top.iloc[0].items()}
        value = f"{estimate(scores, 'accuracy')} ({over_units(scores)})"
        faces = (control_name(datasets[str(name)]) or datasets[str(name)]).replace("control faces, drawn", "control faces")
        what = f"Highest test accuracy among {len(rows)} runs" if len(rows) > 1 else "Test accuracy of the one run"
        told.append(f"{what} on {name} ({faces}): {listed(top['run'])}, {value}.")
    if len(runs) > len(told):
        told.append("Choosing a run by this number would be selecting on test.")
    return " ".join(told)


def pairs_sentence(pairs: pd.DataFrame, *, named: bool = False) -> str:
    """Say which tests form Holm's family (`named`: by params or factors), how many pairs differ at the 5 % level, and the largest difference."""
    if pairs.empty:
        return "No contrast names two runs of one dataset." if named else "Fewer than two runs share a dataset: no pair to compare."
    counts = " and ".join(f"{n} on {name}" for name, n in pairs.groupby("set", sort=False).size().items())
    family = "counts the contrasts that params name" if named else "counts all pairs, since params name no contrasts (`compare.contrasts`)"
    head = f"Holm's correction {family}: {counts}. {int((pairs['p_holm'] < ALPHA).sum())} of {len(pairs)} pairs differ at the 5 % level after it."
    row = pairs.loc[pairs["difference"].abs().idxmax()]
    if row["difference"] == 0:
        return f"{head} No two runs differ in accuracy."
    by_subject = pd.notna(row.get("p_subjects"))
    first, second = (row["run_a"], row["run_b"]) if row["difference"] >= 0 else (row["run_b"], row["run_a"])
    detectable = "" if pd.isna(row["detectable"]) else f"; {number(row['detectable'], percent=True)} points are detectable with 80 % power"
    return (
        f"{head} The largest difference: {first} over {second} by {number(abs(row['difference']), percent=True)} points on {row['n']:,} faces "
        f"(p{' by subject' if by_subject else ''} {p_equals(row['p_subjects' if by_subject else 'p_exact'])}, Holm {p_equals(row['p_holm'])})"
        f"{detectable}."
    )


def ensembles_sentence(scores: Mapping[str, Mapping[str, Mapping[str, Any]]], pairs: pd.DataFrame) -> str:
    """Say the accuracy of each set's ensembles (from `score_ensembles`), their differences from the members (`pairs` from `compare_ensembles`)
    and that of fitted weights from equal ones.
    """
    if not scores:
        return "No dataset has two runs: there is no ensemble."
    told = []
    for name, kinds in scores.items():
        of_set = pairs[pairs["set"] == name]
        told += [_ensemble_sentence(name, kind, of, pairs=of_set[of_set["run_a"] == kind]) for kind, of in kinds.items()]
    return " ".join(told)


def _ensemble_sentence(name: str, kind: str, scores: Mapping[str, Any], *, pairs: pd.DataFrame) -> str:
    equal = pairs[pairs["run_b"] == "ensemble"]  # with equal weights, against which fitted ones are tested
    members = pairs.drop(index=equal.index)
    gains = " to ".join(dict.fromkeys(number(gain, percent=True) for gain in (members["difference"].min(), members["difference"].max())))
    better = int(((members["p_holm"] < ALPHA) & (members["difference"] > 0)).sum())
    told = (
        f"On {name} the {kind} of {len(members)} runs reaches {estimate(scores['test'], 'accuracy')} on test, {gains} points from its members, "
        f"and is significantly better than {better} of them (5 % level, Holm)."
    )
    for row in map(as_difference, equal.to_dict("records")):
        told += f" Fitted weights against equal ones: {estimate(row, 'difference', unit='points')}, Holm p {p_equals(row['p_holm'])}."
    return told


def hardest_sentence(per_class: Mapping[str, PerClass]) -> str:
    """Say for each run which expression has the lowest F1."""
    known = {run: {name: v["f1"] for name, v in scores.items() if v["f1"] is not None} for run, scores in per_class.items()}
    return f"Lowest F1 on test per run: {', '.join(f'{run}: {_lowest(values)}' for run, values in known.items())}."


def _lowest(values: Mapping[str, float]) -> str:
    if not values:
        return "undefined"
    least = min(values.values())
    names = [name for name in values if values[name] == least]
    return f"{'all alike' if 1 < len(names) == len(values) else listed(names)} ({percent(least)})"


def human_level_note(datasets: Mapping[str, str]) -> str:
    """Say whether the human accuracy applies to these sets."""
    known = sorted({dataset for dataset in datasets.values() if dataset in HUMAN_LEVEL})
    if known:
        low, high = HUMAN_LEVEL[known[0]]
        return f"The band is the human accuracy on FER2013, {50 * (low + high):.0f} ± {50 * (high - low):.0f} % (Goodfellow et al., 2013)."
    return "No human accuracy is drawn: 65 ± 5 % was measured on FER2013."


def comparability_note(rows: pd.DataFrame, ours: pd.DataFrame) -> str:
    """Say how many published rows share the dataset and split of ours, and how many selected on the faces they report."""
    if rows.empty:
        return "No published row belongs to these runs."
    names = " and ".join(sorted(set(ours["dataset"])))
    same_set = rows["dataset"].isin(ours["dataset"])
    pairs = set(zip(ours["dataset"], ours["split"], strict=True))
    same_split = sum(pair in pairs for pair in zip(rows["dataset"], rows["split"], strict=True))
    told = (
        f"{int(same_set.sum())} of {len(rows)} published rows were measured on the dataset of ours ({names}), {same_split} on the same split; "
        "only those compare with ours."
        if same_set.any()
        else f"None of the {len(rows)} published rows was measured on our faces ({names}), so none compares with ours."
    )
    open_circles = int((rows["selected_on"] == "test").sum()) + int(ours["hollow"].sum())
    return f"{told} Open circles ({open_circles}) selected an epoch or members on the faces they report." if open_circles else told


def factors_tables(by_factors: pd.DataFrame, effects: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the table of combinations (from `table_by_factors`) and that of changes (from `factor_effects`), each only where it has rows."""
    return [table for table in (_combinations(by_factors), _changes(effects)) if len(table)]


def effects_sentence(effects: pd.DataFrame) -> str:
    """Say which changes are significant on val (on test without val), or that no run names factors."""
    if effects.empty:
        return "No two runs of this study with a seed and faces in common differ in one factor (`runs.<run>.factors`)."
    split = "val" if (effects["split"] == "val").any() else "test"
    rows = effects[effects["split"] == split]
    kept = rows[rows["p_holm"] < ALPHA]
    over = over_units(rows.iloc[0].to_dict())
    if kept.empty:
        return f"None of {len(rows)} changes is significant on {split} {over} at the 5 % level (paired tests, Holm)."
    told = [
        f"{row['factor']} from {row['from']} to {row['to']}{row['else'] and ' (' + row['else'] + ')'} by {100 * row['difference']:+.1f} points"
        for row in kept.to_dict("records")
    ]
    head = f"Significant on {split} {over} at the 5 % level (paired tests, Holm) are {len(kept)} of {len(rows)} changes: {'; '.join(told)}."
    return f"{head} {_over_seeds(kept)}"


def _over_seeds(kept: pd.DataFrame) -> str:
    """Say how many of the changes are significant over seeds, by a t test of the differences per seed."""
    several = kept[kept["seeds"] > 1]
    if several.empty:
        return "With one seed each, the spread over seeds is unknown."
    error = several["seed_sd"] / several["seeds"] ** 0.5
    p = 2 * stats.t.sf(several["difference"].abs() / error, several["seeds"] - 1)
    return f"Over seeds (t tests, uncorrected) {int((p < ALPHA).sum())} of the {len(several)} with several seeds are significant."


def _combinations(table: pd.DataFrame) -> pd.DataFrame:
    measured = ("seeds", "n", "accuracy", "accuracy_ci_low", "accuracy_ci_high", "seed_sd")
    rows = table.rename(columns={"ci_low": "accuracy_ci_low", "ci_high": "accuracy_ci_high"}).to_dict("records")
    table = pd.DataFrame(
        {
            **{name: value for name, value in row.items() if name not in measured},
            "seeds": row["seeds"],
            "accuracy, test, %": cell(row, "accuracy"),
            "over seeds": _spread(row["seed_sd"]),
        }
        for row in rows
    )
    return captioned(table, "Test accuracy of each combination of factors")


def _changes(effects: pd.DataFrame) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "change": f"{row['factor']}: {row['from']} to {row['to']}",
            "all else": row["else"],
            "on": row["split"],
            "seeds": row["seeds"],
            "faces": row["n"],
            "difference, points": cell(row, "difference"),
            "over seeds": _spread(row["seed_sd"]),
            "p": p_value(row["p"]),
            "Holm p": p_value(row["p_holm"]),
            "detectable, points": number(row["detectable"], percent=True),
        }
        for row in map(as_difference, effects.to_dict("records"))
    )
    return captioned(table, "Paired differences in accuracy where one factor changes")


def _spread(sd: float) -> str:
    return "" if sd != sd else f"± {number(sd, percent=True)}"


def _plot_forest(rows: pd.DataFrame) -> Figure:
    """Draw rows in panels (`panel`, `dataset`) one below the other, each as high as its rows need and with an axis of its own."""
    panels = dict(list(rows.groupby("panel", sort=False)))
    heights = [len(part) + 1 for part in panels.values()]
    size = (8.8, 0.32 * len(rows) + 1.0 * len(panels) + 0.5)
    figure, axes = plt.subplots(len(panels), 1, figsize=size, layout="constrained", squeeze=False, height_ratios=heights)
    for axis, (name, part) in zip(axes[:, 0], panels.items(), strict=True):
        _draw_forest(axis, part, human=HUMAN_LEVEL.get(part["dataset"].iloc[0]))
        axis.set_title(name, pad=16)  # the label of the human accuracy is below it
        axis.set_xlabel("accuracy, %")
    return figure


def _draw_forest(axis: Axes, rows: pd.DataFrame, *, human: tuple[float, float] | None) -> None:
    axis.set_ylim(len(rows) - 0.4, -0.6)
    if human:
        axis.axvspan(100 * human[0], 100 * human[1], color=HUMAN_COLOUR, alpha=0.15, linewidth=0)
        axis.text(50 * sum(human), -0.6, "human accuracy", ha="center", va="bottom", fontsize=9, color="#7A5200")
    for place, row in enumerate(rows.to_dict("records")):
        if row["low"] == row["low"]:
            axis.plot([100 * row["low"], 100 * row["high"]], [place, place], color=row["colour"], linewidth=2, solid_capstyle="butt")
        face = "white" if row.get("hollow") else row["colour"]
        axis.plot(100 * row["value"], place, row.get("marker", "o"), color=row["colour"], markerfacecolor=face, markersize=6)
    axis.set_yticks(range(len(rows)), list(rows["label"]))
    axis.grid(axis="y", visible=False)


def _draw_lines(axis: Axes, per_class: Mapping[str, PerClass]) -> None:
    names = list(next(iter(per_class.values())))
    colours = plt.colormaps["viridis"](np.linspace(0, 0.85, max(len(per_class), 2)))
    for place, (run, scores) in enumerate(per_class.items()):
        values = [np.nan if scores[name]["f1"] is None else 100 * scores[name]["f1"] for name in names]
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
