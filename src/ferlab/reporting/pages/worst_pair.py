"""The worst cells of the confusion matrix on the page of errors: faces of both directions with maps of both classes, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import INKS, PAGE_INK
from ferlab.error_analysis.drill_down import NEAR, SHOWN, pair_facts, pair_rows
from ferlab.evaluation.predictions import expressions_of, probs_of
from ferlab.reporting.faces import draw_face
from ferlab.reporting.maps import GREY, add_colour_bar, draw_map, top_density
from ferlab.reporting.tables import estimate, number, percent

LEAST = 0.03  # largest drop of a probability, below which a map is noise
Maps = Mapping[tuple[str, int], np.ndarray]


def plot_pair(images: np.ndarray, predictions: pd.DataFrame, pair: tuple[str, str], *, maps: Maps) -> Figure:
    """Draw faces of one confused pair, a row per kind, and of the first face of each row the maps of both classes.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3) of the rows of `predictions`, read one at a time.
        predictions: The predictions table of N faces.
        pair: (target, pred), from `worst_pairs`.
        maps: Attributions (H, W) by (face_id, class id).
    """
    kinds, probs, names = pair_rows(predictions, *pair), probs_of(predictions), list(expressions_of(predictions))
    ids, classes = predictions["face_id"].to_numpy(), [names.index(name) for name in pair]
    density = {key: _density(values) for key, values in maps.items()}
    drawn = [density[ids[rows[0]], each] for rows in kinds.values() for each in classes]
    top = top_density({"occlusion": np.stack(drawn)}, range(len(drawn)))
    across = SHOWN + len(pair)
    figure, axes = plt.subplots(len(kinds), across, figsize=(1.25 * across + 1.5, 1.55 * len(kinds) + 0.2), squeeze=False)
    figure.subplots_adjust(left=0.15, right=0.99, top=0.95, bottom=0.01, wspace=0.06, hspace=0.34)  # a layout engine takes twice the time
    for line, (kind, rows) in zip(axes, kinds.items(), strict=True):
        for axis in line:
            axis.set_axis_off()
        for axis, row in zip(line, rows, strict=False):
            chances = "\n".join(f"{name} {100 * probs[row, each]:.0f} %" for name, each in zip(pair, classes, strict=True))
            draw_face(axis, images[row], title=chances, colour=INKS.get(_label(kind, pair), PAGE_INK))
        for axis, each, name in zip(line[SHOWN:], classes, pair, strict=True):
            draw_map(axis, images[rows[0]], density[ids[rows[0]], each], top=top)
            drop = 100 * maps[ids[rows[0]], each].max()
            axis.set_title(f"for {name}\n{drop:.0f} points", fontsize=9, fontweight="normal", color=GREY)
        _name_row(line[0], kind)
    add_colour_bar(figure, axes, top)
    return figure


def pair_sentence(predictions: pd.DataFrame, pair: tuple[str, str]) -> str:
    """Say how many errors the pair has, how confident they are beside correct predictions, and how often the second guess is right."""
    target, pred = pair
    facts = pair_facts(predictions, target, pred)
    count = facts["count"]
    said = (
        f"**{target.capitalize()} as {pred}**: {_faces(count)}, {estimate(facts, 'rate')} of the {target} faces; the reverse, {pred} as {target}, "
        f"has {facts['count_back']}. Mean probability of the wrong prediction {percent(facts['confidence'])}, "
        f"{number(facts['margin'], percent=True)} points above that of the label, "
        f"in {facts['near_ties']} of {count} less than {100 * NEAR:.0f} points"
    )
    if facts["confidence_correct"] == facts["confidence_correct"]:
        said += f"; correctly classified {target} faces have {percent(facts['confidence_correct'])}"
    return f"{said}. The label is the second most probable expression in {facts['second_correct']} of {count}: {estimate(facts, 'second_rate')}."


def pair_alt(predictions: pd.DataFrame, pair: tuple[str, str]) -> str:
    """Describe the figure of `plot_pair`."""
    kinds = ", ".join(f"{len(rows)} {kind}" for kind, rows in pair_rows(predictions, *pair).items())
    return f"Faces of the pair {pair[0]} and {pair[1]}: {kinds}; the first of each row with its occlusion maps for both expressions."


def map_sentence(predictions: pd.DataFrame, pair: tuple[str, str], *, maps: Maps) -> str:
    """Report how far the maps of both classes of the misclassified faces shown overlap, where both have a drop of LEAST or more."""
    ids, names = predictions["face_id"].to_numpy(), list(expressions_of(predictions))
    firsts = [ids[rows[0]] for kind, rows in pair_rows(predictions, *pair).items() if not kind.endswith("correct")]
    both = [[maps[face, names.index(name)] for name in pair] for face in firsts]
    above = [[_density(one), _density(other)] for one, other in both if min(one.max(), other.max()) >= LEAST]
    if not above:
        return ""
    mean = float(np.mean([np.minimum(one, other).mean() for one, other in above]))
    return (
        f"On {len(above)} of {len(firsts)} misclassified faces with maps, both maps have a drop of {100 * LEAST:.0f} points or more; "
        f"these overlap by {percent(mean, digits=0)} (0 %: no common pixel)."
    )


def _density(values: np.ndarray) -> np.ndarray:
    """Return the positive part of a map (H, W), divided by its mean; 0 where it is nowhere positive."""
    positive = np.clip(values.astype(np.float64), 0, None)
    return positive / positive.mean() if positive.any() else positive


def _label(kind: str, pair: tuple[str, str]) -> str:
    """Return the expression of the faces of a kind."""
    return next(name for name in pair if kind.startswith((f"{name} as ", f"{name}, ")))


def _name_row(axis: plt.Axes, kind: str) -> None:
    axis.text(-0.12, 0.5, kind.replace(", ", ",\n"), transform=axis.transAxes, ha="right", va="center", fontsize=9)


def _faces(count: float) -> str:
    return f"{count:.0f} face{'' if count == 1 else 's'}"
