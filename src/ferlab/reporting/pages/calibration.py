"""The section on calibration of a run's page: reliability before and after a scaling, its metrics, and whether it helps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ferlab.colours import REFERENCE, SPLIT_COLOURS
from ferlab.reporting.tables import SPLIT_NAMES, captioned, cell, estimate, number, p_equals, percent
from ferlab.roles import listed

SCALINGS = {"none": "none", "temperature": "temperature scaling", "vector": "vector scaling"}
# How each metric is written: its name for a reader, whether in percent, and digits.
METRICS: dict[str, tuple[str, bool, int]] = {
    "accuracy": ("accuracy, %", True, 1),
    "nll": ("NLL, nats", False, 3),
    "brier": ("Brier score", False, 3),
    "ece": ("ECE, %", True, 1),
    "ece_debiased": ("ECE, debiased, %", True, 1),
    "ece_equal_mass": ("ECE, equal mass, %", True, 1),
    "ece_classwise": ("ECE, classwise, %", True, 1),
}
SQUARED = 1e4  # squared fractions in squared percentage points


def plot_reliability(bins: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw accuracy against confidence with the faces of each bin below, side by side for no scaling and for temperature scaling.

    Args:
        bins: `none` and perhaps others, from `ferlab.evaluation.calibration.reliability_bins`.
    """
    shown = {name: bins[name] for name in ("none", "temperature") if name in bins}
    figure, axes = plt.subplots(
        2, len(shown), figsize=(1.4 + 3.9 * len(shown), 5.4), layout="constrained", sharex=True, sharey="row", height_ratios=[3, 1], squeeze=False
    )
    for (name, table), (top, bottom) in zip(shown.items(), axes.T):
        _draw_bins(top, bottom, table)
        top.set_title("after temperature scaling" if name == "temperature" else "as predicted", fontsize=11)
    axes[0, 0].set_ylabel("accuracy, %")
    axes[1, 0].set(ylabel="faces", ylim=(0, 1.25 * max(table["faces"].max() for table in shown.values())))
    axes[0, -1].legend(loc="lower right")
    return figure


def confidence_sentence(bins: pd.DataFrame) -> str:
    """Say whether the mean confidence is above or below the accuracy, to a tenth of a point; `bins` from `reliability_bins`."""
    confidence, accuracy = (float((bins["faces"] * bins[c]).sum() / bins["faces"].sum()) for c in ("confidence", "accuracy"))
    gap = round(100 * (confidence - accuracy), 1)
    word = f": {'over' if gap > 0 else 'under'}confident" if gap else ""
    return f"Mean confidence is {percent(confidence)}, accuracy {percent(accuracy)}{word}."


def calibration_sentence(scores: Mapping[str, Any]) -> str:
    """Say the ECE, and whether it exceeds that of a calibrated model on as many faces."""
    high = scores["ece_if_calibrated_high"]
    verdict = "miscalibrated at the 5 % level" if scores["ece"] > high else "no evidence of miscalibration"
    return (
        f"The ECE is {estimate(scores, 'ece')} (15 bins; interval over faces). A calibrated model with these confidences would show "
        f"{percent(scores['ece_if_calibrated'])} on as many faces, and at most {percent(high)} in 95 % of draws: {verdict}."
    )


def faces_sentence(calibrated: Mapping[str, Any]) -> str:
    """Say which faces judge and which fitted the scalings, or why none is fitted; `calibrated` from `score_scalings`."""
    judged = f"{SPLIT_NAMES[calibrated['split']]} ({calibrated['n']:,} faces)"
    if calibrated["reason"]:
        return f"On {judged}. No scaling is fitted: {calibrated['reason']}."
    return f"Scalings are fitted on {calibrated['fitted_n']:,} val faces without duplicates in train, and judged on {judged}."


def scaling_text(calibrated: Mapping[str, Any]) -> str:
    """Say of each scaling what it changes, and whether the interval of the paired difference excludes 0; "" where none is fitted.

    Args:
        calibrated: From `ferlab.evaluation.calibration_scores.score_scalings`.
    """
    told = [_scaling_sentence(name, each, calibrated) for name, each in calibrated["differences"].items()]
    over = "Intervals are over subjects, those of the ECEs over faces" if calibrated["by_subject"] else "Intervals are over faces"
    return " ".join([*told, f"{over}; differences are paired."]) if told else ""


def scaling_table(calibrated: Mapping[str, Any]) -> pd.DataFrame:
    """Return one row per metric, one column per scaling."""
    rows = {
        heading: {SCALINGS[name]: cell(scores, key, percent=in_percent, digits=digits) for name, scores in calibrated["scores"].items()}
        for key, (heading, in_percent, digits) in METRICS.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")
    return captioned(table, f"Accuracy and calibration without and with scaling, on {SPLIT_NAMES[calibrated['split']]} (n = {calibrated['n']:,})")


def _scaling_sentence(name: str, differences: Mapping[str, Mapping[str, float]], calibrated: Mapping[str, Any]) -> str:
    fitted = f" (T = {cell(calibrated, 'temperature', percent=False, digits=2)})" if name == "temperature" else ""
    nll, squared = differences["nll"], differences["squared_error"]
    parts = [
        f"the NLL by {_difference(nll, digits=3)} nats ({_verdict(nll)})",
        f"the debiased squared calibration error by {_difference(squared, scale=SQUARED, digits=1)} squared points ({_verdict(squared)})",
    ]
    if name != "temperature":
        accuracy = differences["accuracy"]
        parts.append(f"accuracy by {estimate(accuracy, 'difference', unit='points')} ({_verdict(accuracy, up='higher', down='lower')})")
    return f"**{SCALINGS[name].capitalize()}**{fitted} changes {listed(parts)}."


def _difference(found: Mapping[str, float], *, digits: int, scale: float = 1) -> str:
    return cell({key: scale * value for key, value in found.items()}, "difference", percent=False, digits=digits)


def _verdict(found: Mapping[str, float], *, up: str = "worse", down: str = "better") -> str:
    """Return what a difference amounts to by its interval, with its p value."""
    if found["p"] != found["p"]:
        return "no interval, as there are fewer than two units"
    if found["difference_ci_low"] != found["difference_ci_low"]:
        return "no face differs" if found["difference"] == 0 else f"no face differs from the others, p {p_equals(found['p'])}"
    if found["difference_ci_low"] <= 0 <= found["difference_ci_high"]:
        return f"not significant, p {p_equals(found['p'])}"
    return f"{up if found['difference'] > 0 else down}, p {p_equals(found['p'])}"


def _draw_bins(top: Axes, bottom: Axes, bins: pd.DataFrame) -> None:
    filled = bins[bins["faces"] > 0]
    top.plot([0, 100], [0, 100], color=REFERENCE, linestyle="--", linewidth=1, label="perfectly calibrated")
    spans = np.abs(100 * (filled[["ci_low", "ci_high"]].to_numpy() - filled[["accuracy"]].to_numpy())).T  # (2, bins)
    top.errorbar(
        100 * filled["confidence"], 100 * filled["accuracy"], yerr=spans, fmt="o", markersize=5, capsize=2,
        color=SPLIT_COLOURS["test"], label="faces of a bin, 95 %",
    )  # fmt: skip
    top.set(ylim=(-3, 103), xlim=(-3, 103))
    widths = 100 * (bins["high"] - bins["low"])
    bars = bottom.bar(100 * bins["low"], bins["faces"], width=widths, align="edge", color=SPLIT_COLOURS["test"], edgecolor="white")
    bottom.bar_label(bars, [number(n, digits=0) if n else "" for n in bins["faces"]], fontsize=7, padding=1)
    bottom.set(xlabel="confidence (largest probability), %")
