"""The section on abstention of a run's page: risk and coverage of confidence scores, and prediction sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import COLOURS, REFERENCE
from ferlab.reporting.style import present, show
from ferlab.reporting.tables import MISSING, SPLIT_NAMES, captioned, cell, estimate, number, p_value
from ferlab.roles import listed

SCORES = {
    "max_softmax": "largest probability",
    "margin": "margin over the second",
    "entropy": "entropy",
    "scaled": "largest probability, temperature-scaled",
}
# Of each score, as expressions are not meant: colour and line.
LINES = {"max_softmax": ("#D55E00", "-"), "margin": ("#0072B2", "--"), "entropy": ("#009E73", "-."), "scaled": ("#CC79A7", ":")}
METHODS = {"lac": "LAC", "aps": "APS", "raps": "RAPS", "lac_by_class": "LAC, class-conditional"}


def plot_risk_coverage(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the error rate of accepted faces against their fraction; `curves` from `ferlab.evaluation.selective.curves_of`."""
    figure, axis = plt.subplots(figsize=(5.8, 4.0), layout="constrained")
    for name, table in curves.items():
        colour, line = LINES[name]
        axis.plot(100 * table["coverage"], 100 * table["risk"], color=colour, linestyle=line, linewidth=1.8, label=SCORES[name])
    whole = 100 * next(iter(curves.values()))["risk"].iloc[-1]
    axis.axhline(whole, color=REFERENCE, linewidth=1, linestyle=(0, (1, 3)), label="faces accepted at random")
    axis.set(xlabel="coverage: accepted faces, %", ylabel="risk: error rate of accepted faces, %", xlim=(0, 101), ylim=(0, None))
    axis.legend(loc="best", fontsize=9)
    return figure


def selective_sentence(selective: Mapping[str, Any]) -> str:
    """Say the coverage at each risk by the largest probability, and whether another score ranks faces better; from `score_selective`."""
    scores, n = selective["scores"], selective["n"]
    if not selective["wrong"]:
        return f"All {n:,} faces ({SPLIT_NAMES[selective['split']]}) are classified correctly: abstention has nothing to gain."
    first = scores["max_softmax"]
    at = [f"{estimate(first, f'coverage_at_{risk}')} of faces at a risk of {risk} %" for risk in ("5", "10")]
    told = f"By its largest probability the model can accept {' and '.join(at)} ({SPLIT_NAMES[selective['split']]}, {n:,} faces)."
    over = "subjects" if selective["by_subject"] else "faces"
    told += f" Intervals of this section are over {over}."
    if not any("p_holm" in each for each in scores.values()):
        return f"{told} {selective['wrong']} misclassified faces are too few to compare scores."
    others = {name: each for name, each in scores.items() if each.get("p_holm", 1.0) <= 0.05}
    better = [SCORES[name] for name, each in others.items() if each["difference"] < 0]
    worse = [SCORES[name] for name, each in others.items() if each["difference"] > 0]
    who = f"By AURC, {listed(better)} {_rank(better)}" if better else "No other score ranks"
    ending = f"; {listed(worse)} {_rank(worse)} them significantly worse" if worse else ""
    return f"{told} {who} faces significantly better (paired bootstrap of {over}, Holm, 5 %){ending}."


def selective_table(selective: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per confidence score: AURC, excess AURC, coverage at 5 and 10 % risk, and the paired difference in AURC."""
    rows = [
        {
            "score": SCORES[name],
            "AURC, %": cell(each, "aurc", digits=2),
            "excess AURC, %": number(each["excess_aurc"], percent=True, digits=2),
            "coverage at 5 % risk, %": cell(each, "coverage_at_5"),
            "coverage at 10 % risk, %": cell(each, "coverage_at_10"),
            "difference in AURC, points": cell(each, "difference", digits=2),
            "Holm p": p_value(each["p_holm"]) if "p_holm" in each else MISSING,
        }
        for name, each in selective["scores"].items()
    ]
    table = pd.DataFrame(rows).set_index("score")
    return captioned(table, f"Confidence scores as selectors of faces, on {SPLIT_NAMES[selective['split']]} (n = {selective['n']:,})")


def plot_sets(sets: Mapping[str, Mapping[str, Any]], coverage: float) -> Figure:
    """Draw how often sets hold the label of each expression, with 95 % intervals: LAC beside class-conditional LAC.

    Args:
        sets: From `ferlab.evaluation.conformal.compare_sets`.
        coverage: The stated rate.
    """
    names = [name for name, values in sets["lac"]["per_class"].items() if values["n"]]
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 0.36 * len(names) + 1.2), layout="constrained", sharex=True, sharey=True)
    for axis, method in zip(axes, ("lac", "lac_by_class")):
        axis.axvline(100 * coverage, color="#6B6B6B", linestyle="--", linewidth=1)
        for row, name in enumerate(reversed(names)):
            values = sets[method]["per_class"][name]
            low, high = values["coverage_ci_low"], values["coverage_ci_high"]
            if low == low:
                axis.plot([100 * low, 100 * high], [row, row], color=COLOURS[name], linewidth=2, solid_capstyle="butt")
            axis.plot(100 * values["coverage"], row, "o", color=COLOURS[name], markersize=6)
        axis.set(title=METHODS[method], xlim=(-3, 103), xlabel="sets that hold the label, %")
        axis.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(names)), [f"{name} ({sets['lac']['per_class'][name]['n']:,})" for name in reversed(names)])
    return figure


def show_sets(sets: Mapping[str, Mapping[str, Any]], coverage: float, *, reading: str) -> None:
    """Display the coverage of each expression, where there are sets, and their sentence."""
    if sets:
        show(plot_sets(sets, coverage), alt=f"How often prediction sets hold the label, per expression, with 95 % intervals. {reading}")
    present(reading)


def sets_sentence(sets: Mapping[str, Mapping[str, Any]], coverage: float, *, reason: str) -> str:
    """Say whether LAC's sets hold the label as often as stated, over all faces and within each class; why there are none, by `reason`."""
    if not sets:
        return f"No prediction sets: {reason or 'val has too few faces for their quantile'}."
    whole, stated = sets["lac"], f"{100 * coverage:g} %"
    met = f"the interval {'holds' if whole['coverage_ci_low'] <= coverage <= whole['coverage_ci_high'] else 'excludes'} the stated {stated}"
    held = f"LAC's sets hold the label of {estimate(whole, 'coverage')} of {whole['n']:,} faces"
    said = f"{held} with {whole['size_mean']:.2f} classes on average; {met}."
    short = _short(whole, coverage)
    if not short:
        return f"{said} In no class does the interval lie below it."
    again = _short(sets["lac_by_class"], coverage)
    rest = f"it still lies below in {listed(again)}" if again else "it lies below in none"
    low = min(short, key=lambda name: whole["per_class"][name]["coverage"])
    lowest = f", lowest in {low}" if len(short) > 1 else ""
    return (
        f"{said} The interval lies below it in {listed(short)}{lowest}: {estimate(whole['per_class'][low], 'coverage')} of "
        f"{whole['per_class'][low]['n']:,} faces. With class-conditional thresholds {rest}, at {sets['lac_by_class']['size_mean']:.2f} classes."
    )


def sets_table(sets: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame | None:
    """Return one row per method: measured coverage, lowest coverage of a class, mean size, sets of one class and empty sets; None without sets."""
    rows = []
    for method, found in sets.items():
        per_class = {name: values for name, values in found["per_class"].items() if values["n"]}
        low = min(per_class, key=lambda name: per_class[name]["coverage"])
        rows.append(
            {
                "sets": METHODS[method],
                "coverage, %": cell(found, "coverage"),
                "lowest class, %": f"{low} {cell(per_class[low], 'coverage')}",
                "classes a set": f"{found['size_mean']:.2f}",
                "one class, %": number(found["single"], percent=True),
                "empty, %": number(found["empty"], percent=True),
            }
        )
    return captioned(pd.DataFrame(rows).set_index("sets"), "Measured coverage and size of the prediction sets of each method") if rows else None


def _rank(names: list[str]) -> str:
    return "ranks" if len(names) == 1 else "rank"


def _short(found: Mapping[str, Any], coverage: float) -> list[str]:
    """Return the classes whose interval of the coverage lies below the stated rate."""
    return [name for name, values in found["per_class"].items() if values["n"] and values["coverage_ci_high"] < coverage]
