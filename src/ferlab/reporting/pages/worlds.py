"""The page of the worlds: whether the models use the evidence they were meant to use, and which attribution methods find it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import REFERENCE
from ferlab.explanation.attribution_mass import relative_density
from ferlab.explanation.baselines import BASELINES
from ferlab.explanation.baselines import TITLES as BASELINE_TITLES
from ferlab.explanation.faithfulness import UNCHANGED
from ferlab.explanation.localisation import MEASURES, TITLES
from ferlab.explanation.methods import METHODS
from ferlab.explanation.ranking import BELIEVED, EVIDENCE, FEWEST, MOST_ZERO, NEEDS, NOT_BELIEVED, UNDECIDED, WIRED, mean_scores, on_the_line
from ferlab.reporting.faces import draw_face
from ferlab.reporting.maps import GREY, add_colour_bar, draw_map, top_density
from ferlab.reporting.tables import MISSING, captioned, cell, estimate, number, percent
from ferlab.roles import listed

NAMES: Mapping[str, str] = {name: method.title for name, method in METHODS.items()} | BASELINE_TITLES | {
    "truth": "deciding region", "": "none"
}  # fmt: skip
MODELS: Mapping[str, str] = {
    "one_region": "one region decides",
    "shortcut": "shortcut",
    "independent": "no shortcut",
    "null": "labels mean nothing",
    "wired": "hand-wired",
}
TOLD: Mapping[str, str] = {
    "region": "finds the deciding region",
    "null": "only where it decides",
    "mark": "finds the mark",
    "moved": "only where it decides",
    "effects": "agrees with interventions",
    "class": "follows the class",
    "wired": "hand-wired network",
}
SHORT: Mapping[str, str] = {
    "region": "deciding region",
    "null": "not under null labels",
    "mark": "planted mark",
    "moved": "not without shortcut",
    "effects": "interventions",
    "class": "explained class",
    "wired": "hand-wired",
}
SHADES: Mapping[str, str] = {BELIEVED: "#0072B2", NOT_BELIEVED: "#D55E00", UNDECIDED: "#6B6B6B"}
LABEL = "On control faces"

Row = Mapping[str, Any]


def models_table(facts: Mapping[str, Any], *, region: str, rho: float) -> pd.DataFrame:
    """Return one row per trained model: what decides its labels, and its accuracy, averaged over seeds."""
    means = {
        "one_region": f"the {region}; all else is independent of the label",
        "shortcut": f"the expression; in training a mark agrees with it in {percent(rho, digits=0)} of the faces, at test only by chance",
        "independent": "the expression; the mark is independent of it throughout",
        "null": "nothing: labels are independent of the faces",
    }
    rows = {}
    for name, what in means.items():
        own = [of["models"][name] for of in facts["seeds"].values()]
        train, test = (float(np.mean([of[f"{split}_accuracy"] for of in own])) for split in ("train", "test"))
        rows[MODELS[name]] = {"what decides the label": what, "train accuracy, %": number(train, percent=True),
                              "test accuracy, %": number(test, percent=True), "test faces": sum(of["n_test"] for of in own)}  # fmt: skip
    return captioned(pd.DataFrame.from_dict(rows, orient="index").rename_axis("model"), "Models of the worlds and their accuracy, mean over seeds")


def used_table(used: pd.DataFrame) -> pd.DataFrame:
    """Return which parts each model uses: predictions that flip and drop of the logit when a part is changed."""
    rows = [
        {
            "model": MODELS[row["model"]],
            "changed": "nothing but the sensor noise" if row["part"] == "nothing" else row["part"],
            "faces": row["n"],
            "prediction flips, %": cell(row, "flip"),
            "drop of the logit": cell(row, "effect", percent=False, digits=2),
            "used": MISSING if row["part"] == "nothing" else "yes" if row["used"] else "no",
        }
        for row in used.to_dict("records")
    ]
    return captioned(pd.DataFrame(rows).set_index("model"), "Change of predictions when one part of a face is changed")


def premise_sentence(used: pd.DataFrame, holds: Mapping[str, bool]) -> str:
    """Report whether the models use the evidence that the scores presuppose, and which scores are void."""
    flips = {(row["model"], row["part"]): row for row in used.to_dict("records")}
    region = next((part for model, part in flips if model == "one_region" and part not in ("elsewhere", "nothing")), "")
    told = []
    for model, part in (("one_region", region), ("shortcut", "mark")):
        if row := flips.get((model, part)):
            told.append(f"Swapping the {part} flips {estimate(row, 'flip')} of the predictions of the model “{MODELS[model]}”.")
    if row := flips.get(("independent", "mark")):
        told.append(f"Swapping the mark flips {estimate(row, 'flip')} of those of the model “{MODELS['independent']}”.")
    broken = [MODELS[name] for name, well in holds.items() if not well and name in MODELS]
    if not broken:
        return " ".join([*told, "The models use what they were meant to use, so a map can be right or wrong about it."])
    lost = [TOLD[name] for name in EVIDENCE if name in NEEDS and not holds[NEEDS[name]]]
    return " ".join([*told, f"**Not shown to use what it was meant to use: {listed(broken)}.** Void, and excluded from the ranking: {listed(lost)}."])


def ranking_sentence(ranking: Sequence[Row]) -> str:
    """Report which methods are believed, which are not and which are undecided."""
    by = {verdict: [NAMES[row["method"]] for row in ranking if row["verdict"] == verdict] for verdict in (BELIEVED, NOT_BELIEVED, UNDECIDED)}
    parts = [f"{listed(names)} {'is' if len(names) == 1 else 'are'} {verdict}" for verdict, names in by.items() if names]
    first = ranking[0]
    if np.isnan(first["score"]):
        return f"{LABEL} {'; '.join(parts)}: every piece of evidence that a score needs is void."
    best = f"The highest score is that of {NAMES[first['method']]}, {cell(first, 'score', percent=False, digits=2)}."
    return f"{LABEL} {'; '.join(parts)}. {best}"


def doubt_sentence(ranking: Sequence[Row], *, seeds: int) -> str:
    """Report which verdicts a few other faces could turn, and what their intervals do not cover."""
    near = {NAMES[row["method"]]: (row["verdict"], *(SHORT[name] for name in found)) for row in ranking for found in [on_the_line(row)] if found}
    told = "No verdict rests on an interval that ends next to 0."
    if near:
        verdicts = listed(f"{name} ({'; '.join(why)})" for name, why in near.items())
        told = f"**On the line, an interval that ends next to 0 decides: {verdicts}.**"
    return f"{told} The intervals are over subjects, of {'one training' if seeds == 1 else f'{seeds} trainings'} per world."


def criterion_sentence() -> str:
    """State when a method is believed."""
    return (
        f"Believed: all {len(EVIDENCE)} pieces of evidence support it, each on at least {FEWEST} faces, by the 95 % interval over subjects of a "
        f"difference on the same faces. Not believed: one contradicts it, or more than {percent(MOST_ZERO, digits=0)} of its maps are zero by "
        "the interval. The score is the mean of four values that are 0 for a map without information and 1 at best: Cohen's kappa of the highest "
        "pixels with the deciding region and with the mark, rank correlation with the effects of interventions, and whether the map follows the "
        "explained class."
    )


def plot_ranking(ranking: Sequence[Row], baselines: Mapping[str, Mapping[str, Row]]) -> Figure:
    """Draw the score of each method with its interval, coloured by verdict, beside the evidence: filled for, cross against, ring undecided."""
    places = np.arange(len(ranking))
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 0.36 * len(ranking) + 2.1), layout="constrained", sharey=True, width_ratios=[1.15, 1])
    for place, row in zip(places, ranking, strict=True):
        value, low, high = (row[f"score{end}"] for end in ("", "_ci_low", "_ci_high"))
        shade = SHADES[row["verdict"]]
        left.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=shade, capsize=3, markersize=6)
        for column, name in enumerate(EVIDENCE):
            _mark(right, column, place, state_of(row, name))
    best = max((np.mean([of["value"] for of in each.values()]) for each in baselines.values() if each), default=0.0)
    left.axvline(max(0.0, best), color=REFERENCE, linestyle="--", linewidth=1)
    left.annotate(" best baseline map", (max(0.0, best), -0.85), fontsize=9, color=GREY, ha="left")
    left.set_xlim(left=min(0.0, *(row["score_ci_low"] for row in ranking)) - 0.03)
    left.set(
        yticks=places, yticklabels=[NAMES[row["method"]] for row in ranking], ylim=(len(ranking) - 0.5, -1.2), xlabel="score (0: no information)"
    )
    for tick, row in zip(left.get_yticklabels(), ranking, strict=True):
        tick.set_color(SHADES[row["verdict"]])
        tick.set_fontweight("bold")
    right.set(xlim=(-0.6, len(EVIDENCE) - 0.4))
    right.set_xticks(range(len(EVIDENCE)), [SHORT[name] for name in EVIDENCE], rotation=38, ha="right", rotation_mode="anchor")
    right.grid(visible=False)
    right.tick_params(axis="y", length=0)
    verdicts = [plt.Line2D([], [], marker="o", color=shade, label=verdict) for verdict, shade in SHADES.items()]
    figure.legend(handles=verdicts, loc="outside upper center", ncols=3)
    return figure


def state_of(row: Row, name: str) -> str:
    """Return whether a piece of evidence is "for" or "against" a method, "open", or "void"."""
    if name in row["against"]:
        return "against"
    if name not in row["evidence"]:
        return "void"
    return "open" if name in row["missing"] else "for"


def _mark(axis: Any, x: float, y: float, state: str) -> None:
    style: dict[str, dict[str, Any]] = {
        "for": {"marker": "o", "color": SHADES[BELIEVED], "s": 60},
        "against": {"marker": "X", "color": SHADES[NOT_BELIEVED], "s": 70},
        "open": {"marker": "o", "facecolors": "none", "edgecolors": SHADES[UNDECIDED], "s": 55},
        "void": {"marker": "_", "color": "#C0C0C0", "s": 40},
    }
    axis.scatter([x], [y], **style[state])


def ranking_table(ranking: Sequence[Row], own: Mapping[str, Row]) -> pd.DataFrame:
    """Return the evidence on each method: how far it is ahead of what it must beat, with intervals, and how far of its class's mean map."""
    rows = {}
    for row in ranking:
        cells = {TOLD[name] if name != "moved" else "mark only where it decides": _ahead(row, name) for name in EVIDENCE}
        rows[f"{row['rank']}. {NAMES[row['method']]}"] = {
            "verdict": row["verdict"], "score": cell(row, "score", percent=False, digits=2), **cells,
            "ahead of its class's mean map": cell(own.get(row["method"], {}), "ahead", percent=False, digits=2),
            "zero maps, %": number(row["zero"], percent=True),
        }  # fmt: skip
    return captioned(pd.DataFrame.from_dict(rows, orient="index").rename_axis("method"), "Methods in order of their score, with the evidence on each")


def _ahead(row: Row, name: str) -> str:
    return cell(row["evidence"][name], "ahead", percent=False, digits=2) if name in row["evidence"] else "void"


def baselines_sentence(baselines: Mapping[str, Mapping[str, Row]]) -> str:
    """Report the best baseline map of each component of the score."""
    told = []
    for part in ("region", "mark", "effects"):
        best = max((name for name in baselines if part in baselines[name]), key=lambda name: baselines[name][part]["value"], default="")
        if best:
            told.append(f"{SHORT[part]}: {NAMES[best]}, {cell(baselines[best][part], 'value', percent=False, digits=2)}")
    return f"The baseline to beat, {'; '.join(told)}." if told else ""


def own_face_sentence(own: Mapping[str, Row]) -> str:
    """Report which methods are ahead of the mean map of the other faces of the class."""
    ahead = [NAMES[name] for name, row in own.items() if row["ahead_ci_low"] > 0]
    what = "the mean map of the other faces of its class, in rank correlation with this face's interventions"
    if not ahead:
        return f"No method is ahead of {what}: the maps are evidence about a class, not about what is special to one face."
    return f"Ahead of {what}: {listed(ahead)}. Maps of the other methods are evidence about a class, not about what is special to one face."


def plot_strip(examples: Mapping[str, np.ndarray], ranking: Sequence[Row], *, most: int = 6) -> Figure:
    """Draw one face per world with its ground-truth pixels and maps: the first and last methods of the ranking."""
    order = [row["method"] for row in ranking]
    shown = order if len(order) <= most else [*order[: most // 2], *order[-(most - most // 2) :]]
    lines = [("one_region", "one_region"), ("one_region", "null"), ("shortcut", "shortcut"), ("shortcut", "independent"), ("wired", "wired")]
    lines = [line for line in lines if f"{line[0]}/{line[1]}/{shown[0]}" in examples]
    density = {line: {name: relative_density(examples[f"{line[0]}/{line[1]}/{name}"]) for name in shown} for line in lines}
    top = top_density({f"{line}{name}": each for line, of in density.items() for name, each in of.items()}, [0])
    figure, axes = plt.subplots(
        len(lines), 2 + len(shown), figsize=(1.2 * (2 + len(shown)) + 0.9, 1.35 * len(lines) + 0.4), layout="constrained", squeeze=False
    )
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
    for cells, (test, model) in zip(axes, lines, strict=True):
        image, mask = examples[f"{test}/image"][0], examples[f"{test}/mask"][0]
        draw_face(cells[0], image)
        decides = model not in ("null", "independent")
        draw_face(cells[1], np.where(mask, image, image // 4) if decides else image // 4)
        for axis, name in zip(cells[2:], shown, strict=True):
            draw_map(axis, image, density[test, model][name][0], top=top)
            axis.set_axis_off()
        cells[0].axis("on")
        cells[0].set(xticks=[], yticks=[])
        cells[0].set_ylabel(_wrapped(MODELS[model]), fontsize=9)
    for axis, name in zip(axes[0], ["face", "evidence", *(NAMES[name] for name in shown)], strict=True):
        axis.set_title(_wrapped(name), fontsize=9, fontweight="normal", color=GREY)
    add_colour_bar(figure, axes, top)
    return figure


def _wrapped(text: str) -> str:
    return text.replace(" ", "\n")


def false_alarm_sentence(ranking: Sequence[Row], scores: pd.DataFrame) -> str:
    """Report how strongly maps of the null model point at the region that decides nothing there."""
    null = mean_scores(scores, ("kappa",), test="one_region", model="null")["kappa"]
    levels = {row["method"]: float(null[row["method"]]) for row in ranking if row["method"] in null.index}
    if not levels:
        return ""
    most, least = max(levels, key=lambda name: levels[name]), min(levels, key=lambda name: levels[name])
    return (
        "False alarms: where the labels mean nothing, kappa on the same region lies between "
        f"{number(levels[least], digits=2)} ({NAMES[least]}) and {number(levels[most], digits=2)} ({NAMES[most]}); 0 is no alarm."
    )


def randomised_labels_sentence(alike: Mapping[str, Row]) -> str:
    """Report which methods' maps stay the same when the model was trained on meaningless labels; argument of `unchanged_by_labels`."""
    if not alike:
        return ""
    order = sorted(alike, key=lambda name: alike[name]["value"])
    bounds = [f"{cell(alike[name], 'value', percent=False, digits=2)} ({NAMES[name]})" for name in (order[0], order[-1])]
    text = f"Randomised labels: the rank correlation of a face's maps by these two models is {' to '.join(dict.fromkeys(bounds))}."
    same = [NAMES[name] for name in order if alike[name]["value_ci_low"] > UNCHANGED]
    if same:
        return f"{text} **Above {UNCHANGED}, so that they show the face more than what was learned: {listed(same)}.**"
    unsure = [NAMES[name] for name in order if alike[name]["value_ci_high"] >= UNCHANGED]
    if unsure:
        return f"{text} No interval lies above {UNCHANGED}, and all but that of {listed(unsure)} below it."
    return f"{text} All intervals lie below {UNCHANGED}: the maps depend on what was learned."


def measures_table(scores: pd.DataFrame, ranking: Sequence[Row], *, test: str, model: str, what: str) -> pd.DataFrame:
    """Return the measures of localisation in one world, of `ends` of the ranking and the best baseline; `what` is to be found."""
    means = mean_scores(scores, MEASURES, test=test, model=model).rename(columns=TITLES)
    return captioned(_against_baseline(means, ranking), f"Measures of localisation of {what}")


def parts_table(scores: pd.DataFrame, ranking: Sequence[Row]) -> pd.DataFrame:
    """Return FunnyBirds' three dimensions, correctness under each model, completeness and contrastivity, of `ends` and the best baseline."""
    columns = {
        "correctness, shortcut": ("shortcut", "shortcut", "correctness"),
        "correctness, no shortcut": ("shortcut", "independent", "correctness"),
        "completeness": ("shortcut", "independent", "completeness"),
        "contrastivity": ("chimera", "independent", "contrastivity"),
    }
    found = {title: mean_scores(scores, (measure,), test=test, model=model)[measure] for title, (test, model, measure) in columns.items()}
    return captioned(_against_baseline(pd.DataFrame(found), ranking), "Correctness, completeness and contrastivity by single parts of the face")


def ends(ranking: Sequence[Row], *, first: int = 3, last: int = 2) -> list[str]:
    """Return the first and last methods of the ranking."""
    order = [row["method"] for row in ranking]
    return order if len(order) <= first + last else [*order[:first], *order[-last:]]


def _against_baseline(means: pd.DataFrame, ranking: Sequence[Row]) -> pd.DataFrame:
    """Print means (a row per method and baseline) of `ends`, and per column the highest of the baselines."""
    shown = means.reindex(ends(ranking)).rename(index=NAMES)
    shown.loc["best baseline map"] = means.reindex(list(BASELINES)).max()
    return shown.map(lambda value: number(value, digits=2)).rename_axis(index="method", columns=None)


def wired_sentence(ranking: Sequence[Row]) -> str:
    """Report which methods fail on the hand-wired network."""
    fails = [NAMES[row["method"]] for row in ranking if "wired" in row["evidence"] and not row["evidence"]["wired"]["ahead_ci_low"] > 0]
    if not fails:
        return f"On the hand-wired network every method finds the patch: its kappa is above {number(WIRED)}."
    return f"On the hand-wired network {listed(fails)} {'does' if len(fails) == 1 else 'do'} not find the patch: kappa is not above {number(WIRED)}."


def roar_text(facts: Mapping[str, Any]) -> str:
    """Explain the table of `roar_table`, or say that ROAR was not run."""
    if not any(of["roar"] for of in facts["seeds"].values()):
        return "ROAR (retraining without the highest pixels) is off in this study: `worlds.roar` names no method. Study `worlds` runs it."
    return (
        "ROAR: the pixels that a method ranks highest are replaced by grey in every face, and the model is trained again. The table gives "
        "the accuracy on test, it and its bounds averaged over seeds; lower is better for the method. Random order and the true order frame it."
    )


def roar_table(facts: Mapping[str, Any]) -> pd.DataFrame:
    """Return the accuracy after retraining by method and fraction of removed pixels, averaged over seeds; empty where ROAR is off."""
    rows = pd.DataFrame([row for of in facts["seeds"].values() for row in of["roar"]])
    if rows.empty:
        return rows
    mean = rows.groupby(["method", "fraction"], sort=False)[["accuracy", "accuracy_ci_low", "accuracy_ci_high"]].mean().reset_index()
    mean["cell"] = [cell(row, "accuracy") for row in mean.to_dict("records")]
    wide = mean.pivot(index="method", columns="fraction", values="cell").loc[list(dict.fromkeys(rows["method"]))]
    table = wide.rename(index=NAMES, columns=lambda fraction: f"{percent(fraction, digits=0)} removed, accuracy %").rename_axis(columns=None)
    return captioned(table, "Test accuracy after the most attributed pixels are removed and the model is retrained")
