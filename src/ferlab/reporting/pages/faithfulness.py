"""The section of the explain page that judges the maps on the explained faces themselves: removal curves, scores, agreement, sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.explanation.agreement import FEWEST_METHODS, mean_agreement
from ferlab.explanation.baselines import BASELINES, RANDOM
from ferlab.explanation.baselines import TITLES as BASELINE_TITLES
from ferlab.explanation.faithfulness import GAINS, METRICS, SHOWN, UNCHANGED
from ferlab.explanation.methods import METHODS
from ferlab.reporting.style import readable_on, show
from ferlab.reporting.tables import MISSING, captioned, cell, number
from ferlab.roles import listed

TITLES: dict[str, str] = {name: method.title for name, method in METHODS.items()} | BASELINE_TITLES
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D1F")  # Okabe & Ito
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "*", "h")
GREY = "#4A4A4A"
SHORT = {
    "gain_blur": "gain, blur", "gain_mean": "gain, mean", "gain_noisy_linear": "gain, noisy linear", "infidelity": "infidelity",
    "max_sensitivity": "max-sensitivity", "sparseness": "sparseness", "randomised": "random weights", "other_class": "another class",
}  # fmt: skip
WEAK, STRONG = 0.3, 0.7  # mean rank correlations below and above which metrics are said to disagree, and to agree


def plot_removal(curves: pd.DataFrame) -> Figure:
    """Draw the mean deletion and insertion curves of each method, and of the random map in grey.

    Args:
        curves: From `mean_curves`.
    """
    figure, axes = plt.subplots(2, 1, figsize=(4.8, 5.8), layout="constrained", sharex=True, sharey=True)
    methods = [method for method in curves["method"].unique() if method not in BASELINES]
    for axis, metric, title in zip(axes, ("deletion", "insertion"), ("Deletion: low is better", "Insertion: high is better"), strict=True):
        for place, method in enumerate([*methods, RANDOM]):
            own = curves[(curves["metric"] == metric) & (curves["method"] == method)]
            style: dict[str, Any] = {"color": PALETTE[place % len(PALETTE)], "marker": MARKERS[place % len(MARKERS)], "markersize": 5}
            style |= {"linestyle": "-" if place < len(PALETTE) else "-."}
            style = {"color": GREY, "linestyle": "--"} if method == RANDOM else style
            axis.plot(100 * own["at"], 100 * own["value"], label=TITLES[method], **style)
        axis.set(title=title, ylabel="probability, %", xlim=(0, 100))
    axes[1].set(xlabel="pixels removed, or put in, %", ylim=(0, 105 * curves["value"].max()))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def removal_alt(curves: pd.DataFrame) -> str:
    """Describe the figure of `plot_removal`, with the probabilities after a tenth of the pixels."""
    tenth = curves[np.isclose(curves["at"], 0.1)].pivot(index="method", columns="metric", values="value")
    shown = [name for name in tenth.index if name in METHODS or name == RANDOM]
    pairs = {name: [number(tenth.loc[name, kind], percent=True) for kind in ("deletion", "insertion")] for name in shown}
    parts = "; ".join(f"{TITLES[name]} {' and '.join(pair)}" for name, pair in pairs.items())
    return f"Mean probability of the explained class in percent with a tenth of the pixels removed, and with a tenth alone put in: {parts}."


def scores_table(summary: pd.DataFrame) -> pd.DataFrame:
    """Return methods by metrics with intervals; "best" stands where the interval of the difference from every other method excludes 0."""
    columns: dict[str, dict[str, str]] = {}
    methods = [name for name in dict.fromkeys(summary["method"]) if name not in BASELINES]
    for metric in SHOWN:
        own = summary[summary["metric"] == metric].set_index("method")
        if not own.empty:
            columns[METRICS[metric].title] = {name: _score(own.loc[name].to_dict(), name) for name in own.index}
    table = pd.DataFrame(columns).reindex([*methods, *(name for name in BASELINES if name in set(summary["method"]))]).fillna(MISSING)
    table.index = pd.Index([TITLES[name] for name in table.index], name="method")
    return captioned(table, "Faithfulness, stability and sparseness of each method; arrows point to the better end")


def sample_sentence(judged: pd.DataFrame, *, clusters: Sequence[Any], source: str) -> str:
    """Report the judged faces, by which units intervals are formed, and for how many faces maps were computed again."""
    faces = judged["face_id"].nunique()
    again = judged[judged["metric"] == "max_sensitivity"].groupby("method", sort=False)["face_id"].nunique()
    most = int(again.max()) if len(again) else 0
    fewer = [f"{TITLES[name]} of {count}" for name, count in again.items() if count < most]
    groups = len(set(map(str, clusters)))
    units = f"{groups} subjects" if groups < faces else "faces"
    also = f" ({listed(fewer)})" if fewer else ""
    return (
        f"{faces} of the explained faces ({source}), spread over the predicted expressions, are judged; the maps of {most} of them{also} "
        f"are computed again for max-sensitivity and the two similarities. 95 % intervals are over {units}."
    )


def gain_sentence(summary: pd.DataFrame) -> str:
    """Report which methods order pixels better than a random map, under every imputation or some, and which are below maps that need no model."""
    gains = summary[summary["metric"].isin(GAINS)]
    count = gains["metric"].nunique()
    readings = {
        f"better than that of the random map under all {count} imputations": [],
        "better under some imputations only": [],
        "not distinguishable from it under any imputation": [],
        "worse under one imputation or more, and better under none": [],
    }  # fmt: skip
    better, partly, alike, worse = readings.values()
    for method in [name for name in gains["method"].unique() if name not in BASELINES]:
        own = gains[gains["method"] == method].set_index("metric")
        above, below = own["ahead_ci_low"] > 0, own["ahead_ci_high"] < 0
        text = f"{TITLES[method]} {cell(own.loc['gain_noisy_linear'].to_dict(), 'ahead', unit='points')}"
        if above.any() and not above.all():
            partly.append(f"{text}, better under {listed([SHORT[metric].removeprefix('gain, ') for metric in own.index[above]])}")
        else:
            (better if above.all() else worse if below.any() else alike).append(text)
    parts = [f"{reading}: {'; '.join(named)}" for reading, named in readings.items() if named]
    stated = "Differences of the gain are those under noisy linear imputation."
    return f"The order of pixels is {'. It is '.join(parts)}. {stated} {_control_sentence(gains)}"


def best_sentence(summary: pd.DataFrame) -> str:
    """Report which method is best by which metrics, and how many metrics decide nothing."""
    shown = summary[summary["metric"].isin([name for name in SHOWN if METRICS[name].better]) & ~summary["method"].isin(BASELINES)]
    if shown["method"].nunique() < 2:
        return ""
    total, decided = shown["metric"].nunique(), shown[shown["best"]]
    kept = "single intervals, not corrected for the number of metrics"
    if decided.empty:
        by = f"any of the {total} metrics with a direction" if total > 1 else "the one metric with a direction"
        return f"No method is best by {by}: an interval of a difference contains 0{' each time' if total > 1 else ''} ({kept})."
    parts = listed([f"{TITLES[method]} by {len(own)}" for method, own in decided.groupby("method", sort=False)])
    rest = total - decided["metric"].nunique()
    open_ = f"{rest} {'decides' if rest == 1 else 'decide'} nothing"
    return f"Best of {total} metrics with a direction, every interval of a difference above 0 ({kept}): {parts}; {open_}."


def sanity_sentence(summary: pd.DataFrame) -> str:
    """Report whether maps change when the weights are random."""
    own = summary[(summary["metric"] == "randomised") & ~summary["method"].isin(BASELINES)].to_dict("records")
    if not own:
        return ""
    kept = [row for row in own if row["value_ci_low"] > UNCHANGED]
    changed = [row for row in own if row["value_ci_high"] < UNCHANGED]
    values = listed([f"{TITLES[row['method']]} {cell(row, 'value', percent=False, digits=2)}" for row in own])
    text = f"Rank correlation of the maps before and after all weights are randomised: {values}."
    if kept:
        text += (
            f" **{_start(listed([TITLES[row['method']] for row in kept]))} {'shows' if len(kept) == 1 else 'show'} the face more than the model.**"
        )
    if len(changed) == len(own):
        return text + f" All intervals lie below {UNCHANGED}: the maps depend on the trained weights; edges of the face would not change at all."
    undecided = [TITLES[row["method"]] for row in own if row["value_ci_low"] <= UNCHANGED <= row["value_ci_high"]]
    contain = "interval of {} contains" if len(undecided) == 1 else "intervals of {} contain"
    return text + (f" The {contain.format(listed(undecided))} {UNCHANGED}, which decides nothing." if undecided else "")


def class_sentence(summary: pd.DataFrame) -> str:
    """Report the methods whose map of another class is nearly the same: what they show holds for no class in particular."""
    own = summary[(summary["metric"] == "other_class") & ~summary["method"].isin(BASELINES)].to_dict("records")
    alike = [f"{TITLES[row['method']]} {cell(row, 'value', percent=False, digits=2)}" for row in own if row["value_ci_low"] > UNCHANGED]
    if alike:
        return f"**Maps that are nearly the same for another class (rank correlation above {UNCHANGED}): {listed(alike)}.**"
    return f"No method's interval of the rank correlation with the map of another class lies above {UNCHANGED}." if own else ""


def plot_agreement(pairs: pd.DataFrame) -> Figure:
    """Draw the rank correlations between metrics as a heat map; those whose interval excludes 0 in bold type."""
    names = list(dict.fromkeys([*pairs["first"], *pairs["second"]]))
    side = len(names)
    figure, axis = plt.subplots(figsize=(1.05 + 0.72 * side, 0.75 + 0.5 * side), layout="constrained")
    values = np.full((side, side), np.nan)
    for row in pairs.to_dict("records"):
        y, x = names.index(row["second"]), names.index(row["first"])
        values[y, x] = row["correlation"]
        sure = row["correlation_ci_low"] > 0 or row["correlation_ci_high"] < 0
        colour = readable_on(plt.get_cmap("PuOr")((1 + row["correlation"]) / 2))
        text = {"ha": "center", "va": "center", "fontsize": 9, "color": colour, "fontweight": "bold" if sure else "normal"}
        axis.text(x, y, number(row["correlation"], digits=2), **text)
    axis.imshow(values, cmap="PuOr", vmin=-1, vmax=1, aspect="auto")
    labels = [SHORT[name] for name in names]
    axis.set(xticks=range(side - 1), yticks=range(1, side), xlim=(-0.5, side - 1.5), ylim=(side - 0.5, 0.5))
    axis.set_xticklabels(labels[:-1], rotation=30, ha="right", fontsize=9)
    axis.set_yticklabels(labels[1:], fontsize=9)
    axis.grid(visible=False)
    return figure


def show_agreement(pairs: pd.DataFrame, *, alt: str) -> None:
    """Display the heat map where there are correlations to show."""
    if len(pairs):
        show(plot_agreement(pairs), alt=f"Heat map of rank correlations between metrics. {alt}")


def agreement_sentence(over_faces: pd.DataFrame, over_methods: pd.DataFrame, *, methods: int) -> str:
    """Report how far the gains agree under different imputations, how far with the other metrics, and the ranks of methods where there are enough."""
    gains, others = _split_pairs(over_faces)
    if not others["pairs"]:
        return "Too few faces are judged for rank correlations between the metrics."
    intervals = f"{others['positive']} of {others['pairs']} intervals lie above 0, {others['negative']} below"
    text = f"Mean rank correlation over the faces of a method: {number(others['mean'], digits=2)} between different metrics ({intervals})"
    text += f", {number(gains['mean'], digits=2)} between the gains of different imputations. " if gains["pairs"] else ". "
    if others["mean"] <= STRONG and 2 * others["weak"] < others["pairs"]:
        text += f"Most intervals hold values above {STRONG}: the faces are too few to tell whether different metrics agree."
    elif others["mean"] < WEAK:
        text += "Different metrics disagree on which faces are explained well, so that none of them stands for the others."
    elif others["mean"] > STRONG:
        text += "Different metrics agree on which faces are explained well."
    else:
        text += "Different metrics agree in part on which faces are explained well."
    if len(over_methods):
        ranked = _split_pairs(over_methods)[1]
        return f"{text} Mean of Kendall's tau between different metrics over {methods} methods: {number(ranked['mean'], digits=2)}."
    return f"{text} For correlations over methods {methods} {'method is' if methods == 1 else 'methods are'} too few ({FEWEST_METHODS} are needed)."


def _split_pairs(pairs: pd.DataFrame) -> tuple[dict[str, float], dict[str, float]]:
    """Return `mean_agreement` of the pairs of gains, which share all but the imputation, and of all other pairs."""
    same = pairs["first"].isin(GAINS) & pairs["second"].isin(GAINS)
    return mean_agreement(pairs[same], strong=STRONG), mean_agreement(pairs[~same], strong=STRONG)


def _control_sentence(gains: pd.DataFrame) -> str:
    """Report the methods whose gain, averaged over imputations, is below that of a map without a model."""
    mean = gains.groupby("method", sort=False)["value"].mean()
    text = []
    for control in (name for name in BASELINES[1:] if name in mean):
        below = [TITLES[name] for name in mean.index if name not in BASELINES and mean[name] < mean[control]]
        text += [f"the {TITLES[control]} a higher one than {listed(below)}"] if below else []
    if not text:
        return "Each method has a higher mean gain than the maps that need no model."
    return f"Of the maps that need no model, {listed(text).replace('a higher one', 'has a higher mean gain', 1)}."


def _score(row: Mapping[str, Any], method: str) -> str:
    scale = 1 if row["metric"] in ("sparseness", "randomised", "other_class", "max_sensitivity") else 100
    scaled = {key: scale * row[key] for key in ("value", "value_ci_low", "value_ci_high")}
    text = cell(scaled, "value", percent=False, digits=2 if scale == 1 else 1)
    return f"{text} (best)" if row["best"] and method not in BASELINES else text


def _start(text: str) -> str:
    return text[0].upper() + text[1:]
