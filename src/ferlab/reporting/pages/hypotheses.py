"""The section of the explain page that tests hypotheses on regions: cs230's figure 8 redone, effects, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import COLOURS, INKS, PAGE_INK
from ferlab.explanation.attribution_mass import relative_density
from ferlab.explanation.hypotheses import CS230, FAILS, HOLDS, OPEN, TRUTH
from ferlab.explanation.methods import METHODS
from ferlab.explanation.ranking import NOT_BELIEVED
from ferlab.reporting.faces import draw_face
from ferlab.reporting.maps import GREY, add_colour_bar, draw_map, top_density, write_in
from ferlab.reporting.tables import captioned, cell, p_value, percent
from ferlab.roles import listed

FIGURE_8 = ("disgust", "happy", "surprise")  # cs230's
ABREAST = 2  # faces of an expression; more could not be seen on a phone
MAIN = "occlusion"  # cs230's method
SHOWN_RATIO = (0.2, 12.0)  # of the axis; bounds beyond it are cut
VERDICT_MARKS = {HOLDS: "o", FAILS: "X", OPEN: "o"}


def plot_figure8(
    images: np.ndarray, *, maps: np.ndarray, faces: pd.DataFrame, probs: np.ndarray, expressions: Sequence[str], named: Sequence[str] = FIGURE_8
) -> Figure:
    """Draw the occlusion maps of correctly classified faces of cs230's three expressions, each beside its face; those nearest to median confidence.

    Args:
        images: Faces, uint8 (N, H, W) or (N, H, W, 3).
        maps: Their maps (N, H, W).
        faces: Their face table.
        probs: Probabilities (N, K).
        expressions: Names of the classes.
        named: The expressions to show.
    """
    density = relative_density(maps)
    chosen = {name: nearest_to_median(faces, probs, expressions.index(name)) for name in named if name in expressions}
    top = top_density({MAIN: density}, [row for rows in chosen.values() for row in rows])
    figure, axes = plt.subplots(len(chosen), 2 * ABREAST, figsize=(2.5 * ABREAST + 0.8, 1.4 * len(chosen) + 0.2), layout="constrained", squeeze=False)
    for line, (name, rows) in zip(axes, chosen.items(), strict=True):
        for axis in line:
            axis.set_axis_off()
        for place, row in enumerate(rows):
            draw_face(line[2 * place], images[row], title=f"{name} {percent(probs[row].max(), digits=0)}", colour=INKS.get(name, PAGE_INK))
            draw_map(line[2 * place + 1], images[row], density[row], top=top)
        if not rows:
            write_in(line[0], f"no correctly\nclassified\n{name} face")
    add_colour_bar(figure, axes, top)
    return figure


def nearest_to_median(faces: pd.DataFrame, probs: np.ndarray, expression: int, *, most: int = ABREAST) -> list[int]:
    """Return the rows of the correctly classified faces of a class whose confidence is nearest to their median, one of a photograph, ascending."""
    rows = np.flatnonzero((faces["target"] == expression).to_numpy() & (probs.argmax(axis=1) == expression))
    if not len(rows):
        return []
    confidence = probs[rows].max(axis=1)
    nearest = rows[np.argsort(np.abs(confidence - np.median(confidence)), kind="stable")]
    alike = faces["duplicate_group"].iloc[nearest].duplicated().to_numpy()
    return sorted(nearest[~alike][:most].tolist())


def plot_hypotheses(tested: pd.DataFrame) -> Figure:
    """Draw both effects of every hypothesis by the main method with 95 % intervals; filled where it holds, a cross where it does not.

    Args:
        tested: From `judge_hypotheses`.
    """
    own = tested[tested["method"] == MAIN].reset_index(drop=True)
    figure, axes = plt.subplots(2, 1, figsize=(4.8, 0.54 * len(own) + 1.7), layout="constrained", sharey=True)
    for key, axis, scale in (("ratio", axes[0], 1.0), ("difference", axes[1], 100.0)):
        for place, row in own.iterrows():
            colour = COLOURS.get(row["expression"], "black")
            values = scale * np.array([row[key], row[f"{key}_ci_low"], row[f"{key}_ci_high"]], dtype=float)
            values = np.clip(values, *SHOWN_RATIO) if key == "ratio" else values
            face = "white" if row["verdict"] == OPEN else colour
            axis.hlines(place, values[1], values[2], color=colour, linewidth=1.6)
            axis.plot(values[0], place, VERDICT_MARKS[row["verdict"]], color=colour, markerfacecolor=face, markersize=7)
        axis.axvline(1.0 if key == "ratio" else 0.0, color=GREY, linewidth=0.9)
        axis.grid(axis="y", visible=False)
    ticks = [0.25, 0.5, 1, 2, 4, 8]
    axes[0].set(xscale="log", xlim=SHOWN_RATIO, xticks=ticks, xticklabels=[f"{tick:g}" for tick in ticks], xlabel="density ratio")
    axes[0].minorticks_off()
    axes[1].set(xlabel="difference from other expressions, points")
    labels = [f"{row['expression']}: {_short(row['regions'])}" for row in own.to_dict("records")]
    axes[0].set(yticks=range(len(own)), yticklabels=labels, ylim=(len(own) - 0.4, -0.6))  # and of the other, which shares them
    kinds = ((HOLDS, "o", GREY), (FAILS, "X", GREY), (OPEN, "o", "white"))
    handles = [plt.Line2D([], [], linestyle="", marker=mark, color=GREY, markerfacecolor=face, label=verdict) for verdict, mark, face in kinds]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def hypotheses_table(tested: pd.DataFrame, *, believed: Mapping[str, str]) -> pd.DataFrame:
    """Return effects and corrected p of the main method, the verdict of each method, and on control faces that of the ground-truth pixels.

    Args:
        tested: From `judge_hypotheses`.
        believed: Per method the verdict of the worlds; one that is not believed is marked in its heading.
    """
    own = tested[tested["method"] == MAIN]
    rows = own.to_dict("records")
    columns: dict[str, list[Any]] = {
        "expected regions": [_short(row["regions"]) for row in rows],
        "source": list(own["sources"]),
        "faces": list(own["n"]),
        "density ratio": [cell(row, "ratio", percent=False, digits=2) for row in rows],
        "difference, points": [cell(row, "difference") for row in rows],
        "Holm p": [p_value(float(np.max([row["ratio_p_holm"], row["difference_p_holm"]]))) for row in rows],
    }
    others = [method for method in tested["method"].unique() if method not in (MAIN, TRUTH)]
    for method in (MAIN, *others):
        doubt = " (not believed)" if believed.get(method) == NOT_BELIEVED else ""
        columns[f"{METHODS[method].title}{doubt}"] = list(tested.loc[tested["method"] == method, "verdict"])
    if TRUTH in set(tested["method"]):
        columns["drawn action units"] = truth_verdicts(tested)
    table = pd.DataFrame(columns, index=pd.Index(list(own["expression"]), name="expression"))
    return captioned(table, f"Expected regions of each expression: effects in {METHODS[MAIN].title} maps, and the verdict of each method")


def truth_verdicts(tested: pd.DataFrame) -> list[str]:
    """Return what the ground-truth pixels of control faces say of each hypothesis: supported, contradicted, open, or none known."""
    words = {HOLDS: "supported", FAILS: "contradicted", OPEN: "open"}
    rows = tested[tested["method"] == TRUTH]
    return [words[verdict] if n else "none known" for verdict, n in zip(rows["verdict"], rows["n"], strict=True)]


def hypotheses_sentence(tested: pd.DataFrame, *, believed: Mapping[str, str], source: str) -> str:
    """Report the verdicts of the main method on cs230's findings and on the others, and what other methods and the truth make of them.

    Args:
        tested: From `judge_hypotheses`.
        believed: Per method the verdict of the worlds.
        source: Names the faces.
    """
    own = tested[tested["method"] == MAIN]
    cs230 = own["sources"].str.contains(CS230)
    findings = _counted(own[cs230], "cs230's {} findings")
    text = [f"**By {METHODS[MAIN].title} on {source}, {findings}.**"]
    if (~cs230).any():
        told = _counted(own[~cs230], "the other {} hypotheses")
        text.append(f"{told[0].upper()}{told[1:]}.")
    firm = [method for method in tested["method"].unique() if method != TRUTH and believed.get(method) != NOT_BELIEVED]
    if len(firm) > 1:
        alike = tested[tested["method"].isin(firm)].groupby(["expression", "regions"])["verdict"].nunique() == 1
        names = listed([METHODS[method].title for method in firm])
        text.append(f"{names[0].upper()}{names[1:]} have the same verdict on {int(alike.sum())} of {len(alike)} hypotheses.")
    ruled_out = [METHODS[method].title for method in tested["method"].unique() if believed.get(method) == NOT_BELIEVED]
    if ruled_out:
        text.append(f"12_worlds does not believe {listed(ruled_out)}, whose verdicts decide nothing.")
    return " ".join([*text, *_truth_sentence(tested)])


def _truth_sentence(tested: pd.DataFrame) -> list[str]:
    """Report on control faces whether verdicts agree with the drawn action units; nothing on other faces."""
    if TRUTH not in set(tested["method"]):
        return []
    truth, own = np.array(truth_verdicts(tested)), tested.loc[tested["method"] == MAIN, "verdict"].to_numpy()
    supported, contradicted = truth == "supported", truth == "contradicted"
    agree = int(((own == HOLDS) & supported).sum() + ((own == FAILS) & contradicted).sum())
    oppose = int(((own == FAILS) & supported).sum() + ((own == HOLDS) & contradicted).sum())
    return [
        f"On these control faces the drawn action units support {int(supported.sum())} of the hypotheses and contradict {int(contradicted.sum())}; "
        f"occlusion agrees with them on {agree} and opposes them on {oppose}."
    ]


def _counted(rows: pd.DataFrame, what: str) -> str:
    """Return how many hypotheses have which verdict, those that hold or do not hold by name; `what` names them around their number."""
    parts, whole = [], what.format(len(rows))
    if len(rows) > 1 and (rows["verdict"] == OPEN).all():
        return f"none of {whole} can be told"
    for verdict, one, many in ((HOLDS, "holds", "hold"), (FAILS, "does not hold", "do not hold"), (OPEN, "cannot be told", "cannot be told")):
        own = rows[rows["verdict"] == verdict].to_dict("records")
        if own:
            named = "; ".join(f"{row['expression']}: {_short(row['regions'])}" for row in own)
            parts.append(f"{len(own)} {one if len(own) == 1 else many}{f' ({named})' if verdict != OPEN else ''}")
    return f"of {whole} {listed(parts) if parts else 'none can be tested'}"


def _short(regions: str) -> str:
    """Return regions as a reader meets them: all but one as that."""
    named = regions.split(", ")
    left = [region for region in ("brows", "eyes", "nose", "mouth", "rest") if region not in named]
    return f"all but the {left[0]}" if len(left) == 1 else regions
