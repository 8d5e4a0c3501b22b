"""The deploy page: figures and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogFormatter

from ferlab.colours import COLOURS
from ferlab.deployment.predictor import ReadFace
from ferlab.reporting.faces import draw_face
from ferlab.reporting.tables import MISSING, captioned, cell, estimate, p_equals, percent

LINES = ("#0072B2", "#009E73", "#CC79A7")  # Okabe & Ito (2008)


def plot_latency(milliseconds: Mapping[str, np.ndarray], *, budget_ms: float) -> Figure:
    """Draw the cumulative distribution of latencies with medians, 95th percentiles and the budget, on a logarithmic axis.

    Args:
        milliseconds: Up to three files, name -> (repeats,) from `measure_side_by_side`.
        budget_ms: Drawn as a line.
    """
    figure, axes = plt.subplots(figsize=(7, 3.8), layout="constrained")
    for (name, times), colour in zip(milliseconds.items(), LINES, strict=False):
        ordered = np.sort(times)
        p50, p95 = np.percentile(times, [50, 95])
        label = f"{name}: median {_milliseconds(p50)}, 95 % within {_milliseconds(p95)}"
        axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=colour, linewidth=2, label=label)
        axes.plot([p50, p95], [0.5, 0.95], "o", color=colour)
    axes.axvline(budget_ms, color="#D55E00", linestyle="--", linewidth=1.5)
    axes.annotate(f"budget: {budget_ms:g} ms", (budget_ms, 0.05), xytext=(-6, 0), textcoords="offset points", ha="right", color="#D55E00")
    axes.set(
        xscale="log", ylim=(0, 1.04), xlabel="milliseconds for one face (logarithmic)", ylabel="fraction of calls", title="One face on one CPU thread"
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(LogFormatter())  # plain figures: the default writes formulas
    every = np.concatenate(list(milliseconds.values()))
    axes.set_xlim(every.min() / 1.6, max(budget_ms, every.max()) * 1.6)
    figure.legend(loc="outside lower center")
    return figure


def plot_predictions(faces: np.ndarray, probs: np.ndarray, *, expressions: Sequence[str]) -> dict[str, Any]:
    """Draw faces, each above its probabilities.

    Args:
        faces: uint8 (N, H, W) or (N, H, W, 3); N at most about 8.
        probs: (N, K).
        expressions: K names, the order of the columns.

    Returns:
        `figure` and `alt`, as `ferlab.reporting.style.show` takes them.
    """
    figure, axes = plt.subplots(2, len(faces), figsize=(1.5 * len(faces), 3.6), height_ratios=[1, 1.3], layout="constrained", squeeze=False)
    colours = [COLOURS[name] for name in expressions]
    for number, (face, row) in enumerate(zip(faces, probs, strict=True)):
        picture, bars = axes[:, number]
        draw_face(picture, face)
        bars.barh(range(len(row)), row, color=colours)
        bars.set(xlim=(0, 1), xticks=[0, 1])
        bars.set_yticks(range(len(row)), expressions if number == 0 else [""] * len(row))
        bars.invert_yaxis()
        bars.grid(visible=False, axis="y")
    parts = [f"{expressions[int(row.argmax())]} ({percent(row.max(), digits=0)})" for row in probs]
    return {"figure": figure, "alt": f"{len(faces)} faces above bars of their probabilities; from left to right: {', '.join(parts)}."}


def plot_picture(picture: np.ndarray, faces: Sequence[ReadFace]) -> dict[str, Any]:
    """Draw a picture with a box and the most probable expression for each face.

    Args:
        picture: uint8 (H, W) or (H, W, 3).
        faces: From `Predictor.predict_image`.

    Returns:
        `figure` and `alt`, as `ferlab.reporting.style.show` takes them.
    """
    high, wide = picture.shape[:2]
    figure, axes = plt.subplots(figsize=(6, max(1.5, 6 * high / wide)), layout="constrained")
    draw_face(axes, picture)
    parts = []
    for face in faces:
        x, y, width, height = face.box
        (name,) = face.likeliest(1)
        parts.append(f"{name} ({percent(face.probs.max(), digits=0)})")
        axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=COLOURS[name], linewidth=2))
        axes.annotate(parts[-1], (x, max(y, 0)), xytext=(2, 3), textcoords="offset points", color="white", backgroundcolor="black", fontsize=9)
    found = f"{len(faces)} {'face' if len(faces) == 1 else 'faces'}; from left to right: {', '.join(parts)}" if faces else "no face found"
    return {"figure": figure, "alt": f"The picture with {found}."}


def export_sentence(facts: Mapping[str, Any], *, tolerance: float) -> str:
    """Report size and parity of the float32 file, and whether the parity is within `tolerance`.

    Args:
        facts: Those of `ferlab.deployment.exported.Exported`.
        tolerance: Largest accepted difference of a probability.
    """
    parity = facts["parity"]
    difference = parity["max_abs_diff_millionths"] / 1e6
    verdict = "within" if difference <= tolerance else "**beyond**"
    return (
        f"`model.onnx` holds {facts['parameters'] / 1e6:.2f} million parameters in **{facts['bytes']['float32'] / 1e6:.2f} MB**. "
        f"On {parity['faces']:,} faces the largest difference of a probability is {difference:.1e}, {verdict} the tolerance of "
        f"{tolerance:.0e}; {percent(parity['label_agreement'], digits=2)} of the labels agree."
    )


def int8_sentence(facts: Mapping[str, Any]) -> str:
    """Report the size of the int8 file and its accuracy compared with the float32 file, from the facts of `Exported`."""
    sizes, compared = facts["bytes"], facts["compared"]
    points = {key: compared[name] for key, name in (("d", "difference"), ("d_ci_low", "ci_low"), ("d_ci_high", "ci_high"))}
    verdict = f"{'' if compared['p_exact'] < 0.05 else 'not '}significant at the 5 % level"
    return (
        f"The int8 file takes **{sizes['int8'] / 1e6:.2f} MB**, {percent(sizes['int8'] / sizes['float32'], digits=0)} of the float32 file. On "
        f"{compared['n']:,} faces its accuracy differs by {estimate(points, 'd', unit='points', digits=2)}, {verdict} (McNemar, p "
        f"{p_equals(compared['p_exact'])}); {percent(compared['label_agreement'])} of the labels agree."
    )


def latency_sentence(speed: Mapping[str, Mapping[str, Any]]) -> str:
    """Report the latency of the float32 file against its budget, and that of the int8 file relative to it.

    Args:
        speed: Per file a summary of `ferlab.deployment.latency.summarise_latency`.
    """
    whole, ratio = speed["float32"], speed["int8"]["p50_ms"] / speed["float32"]["p50_ms"]
    verdict = "within" if whole["p95_within_budget"] else "**beyond**"
    return (
        f"One face takes {_milliseconds(whole['p50_ms'])} (median) and at most {_milliseconds(whole['p95_ms'])} in 95 % of {whole['calls']} calls on "
        f"one CPU thread, {verdict} the budget of {whole['budget_ms']:g} ms. The int8 file takes {ratio:.2f} times as long by the median"
        f"{': on the machine that measured both it saves space and no time' if ratio > 1 else ''}."
    )


def calibration_text(card: Mapping[str, Any]) -> str:
    """Report the temperature and what it changes, or why none is fitted.

    Args:
        card: From `ferlab.deployment.confidence_card`.
    """
    if "temperature" not in card:
        return f"**No temperature is fitted**: {card['fitted_on']}."
    temperature = cell(card, "temperature", percent=False, digits=2)
    before, after = card["calibration"]["before"], card["calibration"]["after"]
    vector = card["calibration"].get("vector")  # cards written before it have none
    stored = f" Vector scaling, stored beside it and not applied, reaches an NLL of {vector['nll']:.3f}." if vector else ""
    return (
        f"The temperature is **{temperature}**, fitted on {card['fitted_on']}. On {card['judged_on']} the ECE is {estimate(before, 'ece')} before "
        f"scaling and {estimate(after, 'ece')} after it, the NLL {before['nll']:.3f} and {after['nll']:.3f}. No prediction changes.{stored}"
    )


def abstention_table(card: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return a row for each stated risk: the threshold, and coverage and error rate of the faces it accepts; None where nothing is fitted.

    Args:
        card: From `ferlab.deployment.confidence_card`.
    """
    rows = [
        {
            "stated risk, %": f"{100 * row['risk']:g}",
            "least confidence, %": MISSING if row["threshold"] is None else f"{100 * row['threshold']:.1f}",
            "coverage, %": cell(row["judged"] or {}, "coverage"),
            "error rate of accepted faces, %": cell(row["judged"] or {}, "error_rate"),
        }
        for row in card.get("abstention", ())
    ]
    return captioned(pd.DataFrame(rows).set_index("stated risk, %"), "Thresholds on the confidence, and what they accept on test") if rows else None


def abstention_text(card: Mapping[str, Any]) -> str:
    """Report when the exported model abstains, or that no threshold keeps the stated risk; "" where nothing is fitted."""
    if "abstention" not in card:
        return ""
    (row,) = (row for row in card["abstention"] if row["risk"] == card["risk"])
    stated = f"a risk of {100 * row['risk']:g} %"
    if row["threshold"] is None:
        return f"No threshold keeps {stated}: the model never abstains."
    found = (
        f"The file states {stated}. Its threshold was found on {row['found']['n']:,} faces with a {100 * row['level']:g} % bound of "
        f"{percent(row['found']['upper'])} on the error rate"
    )
    judged = row["judged"]
    if judged is None or judged["error_rate"] is None:  # no fold had a threshold, or it accepts nothing
        return f"{found}; no face of the table was accepted, so whether it keeps the risk is not measured."
    verdict = "keeps" if judged["error_rate"] <= row["risk"] else "**misses**"
    return f"{found}; on the faces of the table it accepts {judged['accepted']:,} of {judged['n']:,} and {verdict} the risk."


def precision_table(card: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return per predicted expression how often it was right, and what the wrong predictions are most often; None without test faces.

    Args:
        card: From `ferlab.deployment.confidence_card`.
    """
    rows = [
        {
            "predicted": name,
            "faces": row["n"],
            "right, %": cell({**row, "": row["right"] / row["n"], "_ci_low": row["ci_low"], "_ci_high": row["ci_high"]}, "") if row["n"] else MISSING,
            "most frequent other label": f"{row['confused_with']} ({row['confused']:,})" if row["confused"] else MISSING,
        }
        for name, row in card.get("precision", {}).items()
    ]
    caption = "Test faces of each predicted expression: how many carry that label, and which other label is most frequent"
    return captioned(pd.DataFrame(rows).set_index("predicted"), caption) if rows else None


def _milliseconds(value: float) -> str:
    return f"{value:.2f} ms" if round(value, 2) < 10 else f"{value:.0f} ms"
