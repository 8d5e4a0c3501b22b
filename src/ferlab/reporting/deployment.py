"""Figures and sentences of the deploy page, from plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ferlab.reporting.style import COLOURS


def plot_latency(milliseconds: np.ndarray, *, budget_ms: float) -> Figure:
    """Draw the share of calls that took at most so long, with p50, p95 and the budget marked; the time axis is logarithmic.

    Args:
        milliseconds: (repeats,) from `measure_latency`.
        budget_ms: Marked as a line.
    """
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    ordered = np.sort(milliseconds)
    axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color="#0072B2", linewidth=2)
    for share, name in ((0.5, "median"), (0.95, "95 %")):
        value = float(np.percentile(milliseconds, 100 * share))
        axes.plot(value, share, "o", color="#0072B2")
        axes.annotate(f"{name}: {value:.2g} ms", (value, share), xytext=(8, -12), textcoords="offset points")
    axes.axvline(budget_ms, color="#D55E00", linestyle="--", linewidth=1.5)
    axes.annotate(f"budget: {budget_ms:g} ms", (budget_ms, 0.05), xytext=(-6, 0), textcoords="offset points", ha="right", color="#D55E00")
    axes.set(
        xscale="log", ylim=(0, 1.04), xlabel="milliseconds for one face (logarithmic)", ylabel="share of calls", title="One face on one CPU thread"
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlim(ordered[0] / 1.6, max(budget_ms, ordered[-1]) * 1.6)
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
        picture.imshow(face, cmap="gray", vmin=0, vmax=255)
        picture.set_axis_off()
        bars.barh(range(len(row)), row, color=colours)
        bars.set(xlim=(0, 1), xticks=[0, 1])
        bars.set_yticks(range(len(row)), expressions if number == 0 else [""] * len(row))
        bars.invert_yaxis()
        bars.grid(visible=False, axis="y")
    told = [f"{expressions[int(row.argmax())]} ({100 * row.max():.0f} %)" for row in probs]
    return {"figure": figure, "alt": f"{len(faces)} faces above bars of their probabilities; from left to right: {', '.join(told)}."}


def describe_file(size: int, module: Any) -> str:
    """Say how large the file is and how many parameters it carries.

    Args:
        size: Bytes of the file.
        module: The net; its `parameters()` are counted.
    """
    parameters = sum(p.numel() for p in module.parameters())
    return f"`model.onnx` holds {parameters / 1e6:.2f} million parameters in **{size / 1e6:.2f} MB**."


def describe_latency(summary: Mapping[str, Any], *, plain: bool = False) -> str:
    """Say p50, p95 and the budget in a sentence, from `ferlab.deployment.latency.summarise_latency`; `plain` without Markdown, as alt text."""
    verdict = "keeps" if summary["p95_within_budget"] else "does not keep"
    sentence = (
        f"Half of the {summary['calls']} calls take at most **{summary['p50_ms']:.2g} ms**, 95 % at most **{summary['p95_ms']:.2g} ms**: the net"
        f" {verdict} the budget of {summary['budget_ms']:g} ms for one face on one CPU thread."
    )
    return sentence.replace("**", "") if plain else sentence


def describe_parity(*, faces: int, max_abs_diff: float, label_agreement: float, tolerance: float) -> str:
    """Say how near the exported net is to its source, and whether that is near enough.

    Args:
        faces: How many were compared.
        max_abs_diff: The largest difference of a probability.
        label_agreement: Share of faces with the same label.
        tolerance: The largest difference that passes.
    """
    verdict = "within" if max_abs_diff <= tolerance else "**beyond**"
    return (
        f"On {faces} faces the largest difference of a probability is {max_abs_diff:.1e}, {verdict} the tolerance of {tolerance:.0e};"
        f" {100 * label_agreement:.2f} % of the labels agree."
    )
