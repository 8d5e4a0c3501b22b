"""Faces and seeds on the comparison page: how far seeds lie apart, and what a new seed would reach on new faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.reporting.tables import MISSING, as_difference, captioned, cell, estimate, number, p_equals, p_value, percent

FACES, SEEDS, RUN = "#0072B2", "#E69F00", "#6B6B6B"
NEW = "new seed on new faces, %"
LARGER = {"faces": "faces", "seeds": "seeds", "open": "undecided", "unknown": MISSING}
TOLD = 3  # groups that a sentence names one by one
FEW = 3  # seeds, at most, whose variance is hardly estimated
WIDE = 1.5  # times the interval over faces
ALPHA = 0.05


def plot_doubt(doubt: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Draw the test accuracy of each group with its two intervals, and each run as a small mark, a row per group.

    Args:
        doubt: From `groups_with_doubt`.
        runs: From `table_of_runs`.
    """
    figure, axis = plt.subplots(figsize=(6.8, 0.5 * len(doubt) + 1.5), layout="constrained")
    for place, row in enumerate(doubt.to_dict("records")):
        if row["seeds"] > 1:
            axis.plot([100 * row["new_ci_low"], 100 * row["new_ci_high"]], [place, place], color=SEEDS, linewidth=2, solid_capstyle="butt")
        axis.plot([100 * row["faces_ci_low"], 100 * row["faces_ci_high"]], [place, place], color=FACES, linewidth=6, solid_capstyle="butt")
        axis.plot(100 * row["accuracy"], place, "o", color="white", markeredgecolor=FACES, markersize=7)
        values = runs.loc[(runs["set"] == row["set"]) & (runs["group"] == row["group"]), "test.accuracy"]
        axis.plot(100 * values, np.full(len(values), place + 0.28), "|", color=RUN, markersize=8, markeredgewidth=1.6)
    several = doubt["set"].nunique() > 1
    names = [f"{row.group} · {row.set}" if several else str(row.group) for row in doubt.itertuples()]
    axis.set_yticks(range(len(doubt)), names)
    axis.set_ylim(len(doubt) - 0.4, -0.6)
    axis.set_xlabel("accuracy, test, %")
    axis.grid(axis="y", visible=False)
    axis.plot([], [], color=FACES, linewidth=6, label="these seeds, new faces (95 %)")
    axis.plot([], [], color=SEEDS, linewidth=2, label="a new seed on new faces (95 %)")
    axis.plot([], [], "|", color=RUN, markersize=8, markeredgewidth=1.6, label="one run")
    figure.legend(loc="outside upper left", ncols=2, fontsize=9)
    return figure


def seeds_sentence(spread: pd.DataFrame) -> str:
    """Say the largest spread over seeds on test (`spread` from `spread_over_seeds`)."""
    several = spread[spread["seeds"] > 1]
    if several.empty:
        return "Every group has one seed: the spread over seeds is unknown."
    row = several.loc[several["test.accuracy_sd"].idxmax()]
    have = "has" if len(several) == 1 else "have"
    return (
        f"{len(several)} of {len(spread)} groups {have} more than one seed. The largest spread is that of {row['group']}: "
        f"{number(row['test.accuracy_mean'], percent=True)} ± {percent(row['test.accuracy_sd'])} over {row['seeds']} seeds."
    )


def doubt_sentence(doubt: pd.DataFrame) -> str:
    """Say which source of doubt is larger in each group, or in how many where there are many; nothing where every group has one seed."""
    several = doubt[doubt["seeds"] > 1].to_dict("records")
    if not several:
        return ""
    if len(several) <= TOLD:
        return " ".join(map(_group_sentence, several))
    counts = {kind: sum(row["larger"] == kind for row in several) for kind in ("faces", "seeds", "open")}
    few = sum(row["seeds"] <= FEW for row in several)
    told = (
        f"Faces are the larger source of doubt in {counts['faces']} of {len(several)} groups, seeds in {counts['seeds']}; "
        f"{counts['open']} are undecided."
    )
    return f"{told} {few} of them have two or three seeds, with which the spread over seeds is hardly estimated." if few else told


def _group_sentence(row: Mapping[str, Any]) -> str:
    faces = f"{row['n']:,} faces" if pd.isna(row["subjects"]) else f"{row['n']:,} faces of {row['subjects']:.0f} subjects"
    head = (
        f"{row['group']}: over samples of {faces} the accuracy of one run has a standard deviation of "
        f"{number(row['faces_sd'], percent=True)} points, over seeds {estimate(row, 'seeds_sd', unit='points')}."
    )
    larger = {
        "faces": "Faces are the larger source of doubt.",
        "seeds": "Seeds are the larger source of doubt.",
        "open": "Which source of doubt is larger is undecided.",
    }[row["larger"]]
    few = ""
    if row["seeds"] <= FEW:
        freedom = "1 degree" if row["seeds"] == 2 else "2 degrees"
        wide = row["new_ci_high"] - row["new_ci_low"] > WIDE * (row["faces_ci_high"] - row["faces_ci_low"])
        hence = ", hence the wide interval" if wide else ""
        few = f" With {row['seeds']} seeds ({freedom} of freedom) the spread over seeds is hardly estimated{hence}."
    return f"{head} {larger}{few} A new seed on new faces: {_new(row)} %, against {_faces(row)} % for these seeds."


def doubt_table(doubt: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of each group with either interval, and the standard deviations behind them."""
    rows = doubt.to_dict("records")
    table = pd.DataFrame(
        {
            "dataset": [row["set"] for row in rows],
            "seeds": [row["seeds"] for row in rows],
            "accuracy of these seeds, test, %": [f"{number(row['accuracy'], percent=True)} {_faces(row)}" for row in rows],
            NEW: [_new(row) for row in rows],
            "sd over faces, points": [number(row["faces_sd"], percent=True) for row in rows],
            "sd over seeds, points": [cell(row, "seeds_sd") for row in rows],
            "larger source": [LARGER[row["larger"]] for row in rows],
        },
        index=pd.Index([row["group"] for row in rows], name="group"),
    )
    return captioned(table, "Accuracy of each group on other faces with these seeds, and with a new seed")


def with_new_seeds(table: pd.DataFrame, runs: pd.DataFrame, doubt: pd.DataFrame) -> pd.DataFrame:
    """Return the table of runs (from `runs_table`) with the interval of each run's group for a new seed beside that over faces.

    Without a group of several seeds it is returned as it is.
    """
    if not (doubt["seeds"] > 1).any():
        return table
    known = {(row["set"], row["group"]): _new(row) for row in doubt.to_dict("records")}
    cells = {row["run"]: known[row["set"], row["group"]] for row in runs.to_dict("records")}
    joined = table.copy()
    joined.insert(1, NEW, [cells[run] for run in table.index])
    return joined


def groups_table(spread: pd.DataFrame, keys: Mapping[str, str]) -> pd.DataFrame:
    """Return mean ± standard deviation over the seeds of each group.

    Args:
        spread: From `spread_over_seeds`.
        keys: Column stem -> name for a reader, e.g. {"test.accuracy": "accuracy, test, %"}.
    """
    table = spread[["group", "set", "seeds"]].rename(columns={"set": "dataset"})
    for key, name in keys.items():
        pairs = zip(spread[f"{key}_mean"], spread[f"{key}_sd"])
        table[name] = [_mean_and_spread(mean, sd) for mean, sd in pairs]
    return captioned(table.set_index("group"), "Mean ± standard deviation over the seeds of each group")


def recipes_sentence(differences: pd.DataFrame) -> str:
    """Say how many pairs of recipes differ for new faces and new seeds (`differences` from `differences_with_doubt`), and the largest difference."""
    if differences.empty:
        return "No two groups of one dataset have two or more seeds each: recipes cannot be compared over seeds."
    found = int((differences["p_holm"] < ALPHA).sum())
    row = differences.loc[differences["difference"].abs().idxmax()]
    largest = estimate(as_difference(row.to_dict()), "difference", unit="points")
    over = number(row["faces_low"], percent=True), number(row["faces_high"], percent=True)
    return (
        f"{found} of {len(differences)} pairs of recipes differ at the 5 % level for new faces and new seeds (Holm). The largest difference: "
        f"{row['group_a']} − {row['group_b']}, {largest}, Holm p {p_equals(row['p_holm'])}; over faces alone [{over[0]}, {over[1]}]."
    )


def recipes_table(differences: pd.DataFrame) -> pd.DataFrame:
    """Return the differences of recipes (from `differences_with_doubt`), in percentage points."""
    rows = differences.to_dict("records")
    table = pd.DataFrame(
        {
            "dataset": [row["set"] for row in rows],
            "seeds": [f"{row['seeds_a']} / {row['seeds_b']}" for row in rows],
            "difference, new faces and seeds, points": [cell(as_difference(row), "difference") for row in rows],
            "over faces alone": [_bounds(row, "faces_low", "faces_high") for row in rows],
            "p": [p_value(row["p"]) for row in rows],
            "Holm p": [p_value(row["p_holm"]) for row in rows],
        },
        index=pd.Index([f"{row['group_a']} − {row['group_b']}" for row in rows], name="recipes"),
    )
    return captioned(table, "Differences in test accuracy between recipes")


def _faces(row: Mapping[str, Any]) -> str:
    return _bounds(row, "faces_ci_low", "faces_ci_high")


def _new(row: Mapping[str, Any]) -> str:
    return _bounds(row, "new_ci_low", "new_ci_high")


def _bounds(row: Mapping[str, Any], *keys: str) -> str:
    low, high = (number(row[key], percent=True) for key in keys)
    return MISSING if MISSING in (low, high) else f"[{low}, {high}]"


def _mean_and_spread(mean: float, sd: float) -> str:
    value, spread = number(mean, percent=True), number(sd, percent=True)
    return value if spread == MISSING else f"{value} ± {spread}"
