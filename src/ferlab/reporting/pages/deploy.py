"""Figures and sentences of the deploy page, from plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogFormatter

from ferlab.deployment.predictor import ReadFace
from ferlab.reporting.faces import draw_face
from ferlab.reporting.style import COLOURS

WAYS = ("#0072B2", "#009E73", "#CC79A7")  # Okabe & Ito (2008): apart for every kind of colour vision


def plot_latency(milliseconds: Mapping[str, np.ndarray], *, budget_ms: float) -> Figure:
    """Draw the share of calls that took at most so long, with medians, 95 % marks and the budget; the time axis is logarithmic.

    Args:
        milliseconds: Up to three ways to read a face, name -> (repeats,) from `measure_side_by_side`.
        budget_ms: Marked as a line.
    """
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    for (name, times), colour in zip(milliseconds.items(), WAYS, strict=False):
        ordered = np.sort(times)
        p50, p95 = np.percentile(times, [50, 95])
        label = f"{name}: median {p50:.2g} ms, 95 % within {p95:.2g} ms"
        axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=colour, linewidth=2, label=label)
        axes.plot([p50, p95], [0.5, 0.95], "o", color=colour)
    axes.axvline(budget_ms, color="#D55E00", linestyle="--", linewidth=1.5)
    axes.annotate(f"budget: {budget_ms:g} ms", (budget_ms, 0.05), xytext=(-6, 0), textcoords="offset points", ha="right", color="#D55E00")
    axes.set(
        xscale="log", ylim=(0, 1.04), xlabel="milliseconds for one face (logarithmic)", ylabel="share of calls", title="One face on one CPU thread"
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(LogFormatter())  # plain figures: the default writes formulas
    every = np.concatenate(list(milliseconds.values()))
    axes.set_xlim(every.min() / 1.6, max(budget_ms, every.max()) * 1.6)
    axes.legend(loc="center")  # between the curves and the budget
    return figure


def plot_answers(faces: np.ndarray, probs: np.ndarray, *, expressions: Sequence[str]) -> dict[str, Any]:
    """Draw faces, each above the probabilities of its expressions.

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
    told = [f"{expressions[int(row.argmax())]} ({100 * row.max():.0f} %)" for row in probs]
    return {"figure": figure, "alt": f"{len(faces)} faces above bars of their probabilities; from left to right: {', '.join(told)}."}


def plot_picture(picture: np.ndarray, faces: Sequence[ReadFace]) -> dict[str, Any]:
    """Draw a picture with a box around each face and its likeliest expression beside it.

    Args:
        picture: uint8 (H, W) or (H, W, 3).
        faces: From `Predictor.predict_image`.

    Returns:
        `figure` and `alt`, as `ferlab.reporting.style.show` takes them.
    """
    high, wide = picture.shape[:2]
    figure, axes = plt.subplots(figsize=(6, max(1.5, 6 * high / wide)), layout="constrained")
    draw_face(axes, picture)
    told = []
    for face in faces:
        x, y, width, height = face.box
        (name,) = face.likeliest(1)
        told.append(f"{name} ({100 * face.probs.max():.0f} %)")
        axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=COLOURS[name], linewidth=2))
        axes.annotate(told[-1], (x, max(y, 0)), xytext=(2, 3), textcoords="offset points", color="white", backgroundcolor="black", fontsize=9)
    found = f"{len(faces)} {'face' if len(faces) == 1 else 'faces'}; from left to right: {', '.join(told)}" if faces else "no face found"
    return {"figure": figure, "alt": f"The picture with {found}."}


def describe_file(size: int, parameters: int) -> str:
    """Return how large the file is, in bytes, and how many parameters it carries."""
    return f"`model.onnx` holds {parameters / 1e6:.2f} million parameters in **{size / 1e6:.2f} MB**."


def describe_latency(summary: Mapping[str, Any], *, plain: bool = False) -> str:
    """Say p50, p95 and the budget in a sentence, from `ferlab.deployment.latency.summarise_latency`; `plain` without Markdown, as alt text."""
    verdict = "keeps" if summary["p95_within_budget"] else "does not keep"
    sentence = (
        f"Half of the {summary['calls']} calls take at most **{summary['p50_ms']:.2g} ms**, 95 % at most **{summary['p95_ms']:.2g} ms**: the net"
        f" {verdict} the budget of {summary['budget_ms']:g} ms for one face on one CPU thread."
    )
    return sentence.replace("**", "") if plain else sentence


def describe_int8(sizes: Mapping[str, int], compared: Mapping[str, Any]) -> str:
    """Say what an int8 file saves and what it costs.

    Args:
        sizes: Bytes of the float32 and the int8 file.
        compared: As `ferlab.deployment.exported.Exported` has it.
    """
    points, low, high = (100 * compared[key] for key in ("difference", "ci_low", "ci_high"))
    verdict = f"{'' if compared['p_exact'] < 0.05 else 'not '}significant at the 5 % level"
    return (
        f"The int8 file takes **{sizes['int8'] / 1e6:.2f} MB**, {100 * sizes['int8'] / sizes['float32']:.0f} % of the float32 file."
        f" On {compared['n']} faces its accuracy"
        f" differs by **{points:+.2f} points** [{low:+.2f}, {high:+.2f}], {verdict} (McNemar, p = {compared['p_exact']:.2g});"
        f" {100 * compared['label_agreement']:.1f} % of the labels are the same."
    )


def describe_ratio(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Say how long the int8 file takes beside the float32 file, from `summarise_latency` of both."""
    ratio = summaries["int8"]["p50_ms"] / summaries["float32"]["p50_ms"]
    share = f"**{ratio:.2g} times** as long as the float32 file by the median"
    if ratio > 1:
        return f"The int8 file takes {share}: on this machine it saves space and no time."
    return f"The int8 file takes {share}."


def describe_parity(parity: Mapping[str, float], *, tolerance: float) -> str:
    """Say how near the exported model is to its source, and whether that is near enough.

    Args:
        parity: As `ferlab.deployment.exported.Exported` has it.
        tolerance: The largest difference that passes.
    """
    max_abs_diff = parity["max_abs_diff_millionths"] / 1e6
    verdict = "within" if max_abs_diff <= tolerance else "**beyond**"
    return (
        f"On {parity['faces']} faces the largest difference of a probability is {max_abs_diff:.1e}, {verdict} the tolerance of {tolerance:.0e};"
        f" {100 * parity['label_agreement']:.2f} % of the labels agree."
    )
