"""The explain page's gallery: faces of every expression, each with one map per method, and what the methods shown compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import INKS, PAGE_INK
from ferlab.explanation.methods import METHODS
from ferlab.explanation.ranking import NOT_BELIEVED
from ferlab.reporting.faces import draw_face
from ferlab.reporting.maps import GREY, add_colour_bars, draw_map, relative_values, top_density, write_in
from ferlab.reporting.pages.believed import believed_sentence, believed_table
from ferlab.reporting.tables import percent
from ferlab.roles import listed

DOUBT = "#B34700"  # of the titles of maps that are not believed
MAPS_ABREAST = 3  # of a face; more are wrapped, or a phone could not show them
TEXTS: dict[str, str] = {
    "grad_cam": "weighs the channels of the last feature map by the spatial mean of their gradient",
    "grad_cam_pp": "weighs the channels of the last feature map by a sum over space of their positive gradients: several places count fully",
    "hires_cam": "weighs each place of the last feature map by its own gradient",
    "layer_cam": "weighs each place of the last feature map by its own gradient where that is positive",
    "guided_grad_cam": "multiplies Grad-CAM by guided backpropagation; it recovers edges of the face whatever the weights are",
    "gradients": "are the magnitude of the logit's gradient at each pixel",
    "smooth_grad": "is the magnitude of the mean gradient over noisy copies of the face",
    "integrated_gradients": "are the integral of the gradient from a mid-grey picture to the face; a map sums to the logit's difference",
    "occlusion": "covers a square with mid-grey and takes the drop of the probability",
    "rise": "averages the probability over random masks, mid-grey where they hide the face, less its mean",
    "xrai": "ranks segments of the face by their mean integrated gradient from black and from white",
}


def methods_text(maps: Mapping[str, np.ndarray], *, excluded: Sequence[str] = ()) -> str:
    """Describe the methods of the maps shown, with their sources and signs, and name those that the model does not allow."""
    lines = [f"- {_start(METHODS[name].title)} {TEXTS[name]} ({METHODS[name].source})." for name in maps]
    signed = [METHODS[name].title for name in maps if METHODS[name].signed]
    if signed:
        lines.append(f"\nMaps of {listed(signed)} are signed: red pixels support the predicted expression, blue ones oppose it.")
    if excluded:
        names = listed([METHODS[name].title for name in excluded])
        lines.append(f"\nExcluded, because the model lacks the layer, the gradients or the ReLU modules that they need: {names}.")
    return "\n".join(lines)


def plot_gallery(
    images: np.ndarray,
    *,
    maps: Mapping[str, np.ndarray],
    target: np.ndarray,
    probs: np.ndarray,
    pairs: Sequence[tuple[int | None, int | None]],
    expressions: Sequence[str],
    verdicts: Mapping[str, str] | None = None,
) -> Figure:
    """Draw a correctly and a misclassified face of every expression, each with its maps.

    Args:
        images: Faces, uint8 (N, H, W) or (N, H, W, 3).
        maps: Per method the attributions (N, H, W) of the predicted class.
        target: True classes (N,).
        probs: Probabilities (N, K).
        pairs: Per expression the rows of its correctly and its misclassified face; None where there is none.
        expressions: Names of the classes.
        verdicts: Per method its verdict on control faces; "not believed" is written above its maps.
    """
    density = {method: relative_values(values) for method, values in maps.items()}
    shown = [row for pair in pairs for row in pair if row is not None]
    signs = sorted({METHODS[method].signed for method in maps})
    tops = {sign: top_density({method: density[method] for method in maps if METHODS[method].signed is sign}, shown) for sign in signs}
    width, high = 1 + min(len(maps), MAPS_ABREAST), -(-len(maps) // MAPS_ABREAST)  # cells of a face
    lines = high * len(expressions)
    figure, axes = plt.subplots(
        lines, 2 * width + 1, figsize=(1.32 * 2 * width + 0.9, 1.5 * lines + 0.5), layout="constrained",
        squeeze=False, width_ratios=[1] * width + [0.12] + [1] * width,
    )  # fmt: skip
    for axis in axes.flat:
        axis.set_axis_off()
    for first, pair, name in zip(range(0, lines, high), pairs, expressions, strict=True):
        for start, row, kind in ((0, pair[0], "correctly classified"), (width + 1, pair[1], "misclassified")):
            cells = axes[first : first + high, start : start + width]
            if row is None:
                write_in(cells[0, 0], f"no {kind}\n{name} face")
                continue
            draw_face(cells[0, 0], images[row], title=_prediction(target[row], probs[row], expressions), colour=INKS.get(name, PAGE_INK))
            for axis, (method, values) in zip(cells[:, 1:].flat, density.items(), strict=False):  # the last line may have room for more
                sign = METHODS[method].signed
                draw_map(axis, images[row], values[row], top=tops[sign], signed=sign)
                drop = f"\nup to {100 * maps[method][row].max():.0f} points" if METHODS[method].unit == "probability" else ""
                doubt = f"\n{NOT_BELIEVED}" if (verdicts or {}).get(method) == NOT_BELIEVED else ""
                axis.set_title(f"{METHODS[method].title}{drop}{doubt}", fontsize=9, fontweight="normal", color=DOUBT if doubt else GREY)
    add_colour_bars(figure, axes, tops)
    return figure


def gallery_alt(pairs: Sequence[tuple[int | None, int | None]], expressions: Sequence[str]) -> str:
    """Describe the figure of `plot_gallery`: which faces it has of which expressions."""
    both, either = "a correctly classified and a misclassified face", ("a correctly classified face alone", "a misclassified face alone")
    kinds = {(True, True): both, (True, False): either[0], (False, True): either[1], (False, False): "no face"}
    shown: dict[str, list[str]] = {kind: [] for kind in kinds.values()}
    for (right, wrong), name in zip(pairs, expressions, strict=True):
        shown[kinds[right is not None, wrong is not None]].append(name)
    parts = "; ".join(f"{kind} of {listed(names)}" for kind, names in shown.items() if names)
    return f"Faces of median confidence, each with one map per method: {parts}."


def ranking_parts(ranked: Sequence[Mapping[str, Any]], worlds: Mapping[str, Any], *, shown_with: Mapping[str, int]) -> tuple[pd.DataFrame, str]:
    """Return the table and the sentence on what the ranking on control faces says of the methods shown, see `believed_sentence`.

    Args:
        ranked: Of `ranking_of`.
        worlds: The metrics of the stage worlds.
        shown_with: Window, stride, masks, steps and samples of the maps.
    """
    return believed_table(ranked), believed_sentence(ranked, model=worlds["model"], ranked_with=worlds["settings"], shown_with=shown_with)


def _prediction(target: int, probs: np.ndarray, expressions: Sequence[str]) -> str:
    pred = int(probs.argmax())
    predicted = f"{expressions[pred]} {percent(probs[pred], digits=0)}"
    return predicted if pred == target else f"{expressions[target]}, predicted as\n{predicted}"


def _start(text: str) -> str:
    return text[0].upper() + text[1:]
