"""Figures of what a model looks at: a gallery of single faces, the mean map of each expression, shares of the parts of the face.

Every map is drawn as density: its positive part in units of its own mean, so that gradient maps and occlusion, faint faces and
strong ones, share one colour scale. 1 is what a map without preference would show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from ferlab.explanation.shares import relative_density
from ferlab.reporting.faces import draw_face
from ferlab.reporting.style import COLOURS

COLOUR_MAP = "plasma"
OPACITY = 0.75  # of a map over a face, reached at the density SOLID; below it the face shows through
SOLID = 1.5
TOP_QUANTILE = 0.995  # of the densities shown; what lies above has the last colour
METHOD_MARKERS: dict[str, str] = {"grad_cam": "o", "hires_cam": "s", "occlusion": "D"}
METHOD_NAMES: dict[str, str] = {"grad_cam": "Grad-CAM", "hires_cam": "HiResCAM", "occlusion": "occlusion"}


def plot_gallery(
    images: np.ndarray,
    *,
    maps: Mapping[str, np.ndarray],
    target: np.ndarray,
    probs: np.ndarray,
    pairs: Sequence[tuple[int | None, int | None]],
    expressions: Sequence[str],
) -> Figure:
    """Draw a right and a wrong face of every expression, each with its maps.

    Args:
        images: Faces, uint8 (N, H, W) or (N, H, W, 3).
        maps: Per method the attributions of those faces (N, H, W), for the predicted class.
        target: True classes (N,).
        probs: Probabilities (N, K).
        pairs: Per expression the rows of its right and its wrong face; None where there is none.
        expressions: Names of the classes.
    """
    density = {method: relative_density(values) for method, values in maps.items()}
    shown = [row for pair in pairs for row in pair if row is not None]
    top = _top(density, shown)
    width = 1 + len(maps)
    figure, axes = plt.subplots(
        len(expressions), 2 * width + 1, figsize=(1.32 * 2 * width + 0.9, 1.5 * len(expressions) + 0.5), layout="constrained",
        squeeze=False, width_ratios=[1] * width + [0.12] + [1] * width,
    )  # fmt: skip
    for axis in axes.flat:
        axis.set_axis_off()
    for line, pair, name in zip(axes, pairs, expressions, strict=True):
        for start, row, kind in ((0, pair[0], "right"), (width + 1, pair[1], "wrong")):
            cells = line[start : start + width]
            if row is None:
                _say(cells[0], f"no {kind} {name} face\namong those explained")
                continue
            caption = _answer(target[row], probs[row], expressions)
            draw_face(cells[0], images[row], title=caption, colour=COLOURS.get(name, "black"))
            for cell, (method, values) in zip(cells[1:], density.items(), strict=True):
                _draw_map(cell, images[row], values[row], top=top)
                cell.set_title(_strength(method, maps[method][row]), fontsize=9, fontweight="normal", color="#4A4A4A")
    _add_colour_bar(figure, axes, top)
    return figure


def plot_mean_maps(
    images: np.ndarray,
    *,
    maps: Mapping[str, np.ndarray],
    classes: np.ndarray,
    expressions: Sequence[str],
    masks: Mapping[str, np.ndarray],
) -> Figure:
    """Draw the mean density of each expression over the mean face, with the outlines of the regions and the number of maps in each mean.

    Args:
        images: Faces, uint8 (N, H, W) or (N, H, W, 3).
        maps: Per method the attributions of those faces (N, H, W).
        classes: Class of each face (N,); faces of class -1 are left out.
        expressions: Names of the classes.
        masks: The template's masks (H, W); "rest" has no outline.
    """
    density = {method: relative_density(values) for method, values in maps.items()}
    means = {m: np.stack([_mean_of(values, classes == c) for c in range(len(expressions))]) for m, values in density.items()}
    top = _top(means, range(len(expressions)))
    figure, axes = plt.subplots(
        len(maps), len(expressions), figsize=(1.4 * len(expressions) + 0.9, 1.55 * len(maps) + 0.4), layout="constrained", squeeze=False
    )
    for place, (method, values) in enumerate(means.items()):
        for c, axis in enumerate(axes[place]):
            axis.set(xticks=[], yticks=[])
            axis.grid(visible=False)
            for spine in axis.spines.values():
                spine.set_visible(False)
            n = int((classes == c).sum())
            if not n:
                _say(axis, "no right face")
            else:
                _draw_map(axis, np.asarray(images[classes == c]).mean(axis=0), values[c], top=top)
                _outline(axis, masks)
            if place == 0:
                axis.set_title(expressions[c], color=COLOURS.get(expressions[c], "black"))
            axis.set_xlabel(f"{int(density[method][classes == c].any(axis=(1, 2)).sum())} of {n} maps", fontsize=9)
        axes[place, 0].set_ylabel(METHOD_NAMES.get(method, method))
    _add_colour_bar(figure, axes, top)
    return figure


def plot_region_shares(tables: Mapping[str, pd.DataFrame], areas: pd.Series) -> Figure:
    """Draw the share of each region per expression with 95 % intervals, over bars of what a map without preference would give.

    Titles give the number of maps that each method's means rest on, in the order of the legend.

    Args:
        tables: Per method a table of `ferlab.explanation.shares.class_shares`.
        areas: Area share per region, in the order to draw them; the rest, which is what they leave, is not drawn.
    """
    areas = areas.drop("rest", errors="ignore")
    names, regions = list(dict.fromkeys(next(iter(tables.values()))["expression"])), list(areas.index)
    figure, axes = plt.subplots(
        1, len(names), figsize=(1.45 * len(names) + 0.8, 0.42 * len(regions) + 1.2), layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    places = np.arange(len(regions))
    offsets = np.linspace(-0.16, 0.16, len(tables)) if len(tables) > 1 else [0.0]
    for axis, name in zip(axes[0], names, strict=True):
        axis.hlines(places, 0, 100 * areas.to_numpy(), color="#D0D0D0", linewidth=11, zorder=1)
        for offset, (method, table) in zip(offsets, tables.items(), strict=True):
            rows = table[table["expression"] == name].set_index("region").loc[regions]
            spans = np.abs(100 * (rows[["ci_low", "ci_high"]].to_numpy() - rows[["share"]].to_numpy())).T  # (2, regions)
            axis.errorbar(
                100 * rows["share"], places + offset, xerr=np.nan_to_num(spans), fmt=METHOD_MARKERS.get(method, "s"), markersize=5, capsize=2,
                color=COLOURS.get(name, "black"), markerfacecolor="white" if offset == offsets[0] and len(tables) > 1 else None,
                label=method, zorder=2,
            )  # fmt: skip
        counts = [str(int(table.loc[table["expression"] == name, "n"].max())) for table in tables.values()]
        axis.set_title(f"{name}\nn = {' / '.join(counts)}", color=COLOURS.get(name, "black"))
        axis.grid(axis="y", visible=False)
    axes[0, 0].set(yticks=places, yticklabels=regions, ylim=(len(regions) - 0.5, -0.5), xlim=(0, None))
    figure.supxlabel("share of the map, %", fontsize=10)
    _add_method_legend(figure, tables)
    return figure


def _add_method_legend(figure: Figure, methods: Mapping[str, object]) -> None:
    handles = [
        plt.Line2D([], [], marker=METHOD_MARKERS.get(method, "s"), linestyle="", color="#4A4A4A", markerfacecolor="#4A4A4A" if place else "white")
        for place, method in enumerate(methods)
    ]
    area = plt.Line2D([], [], color="#D0D0D0", linewidth=8)
    names = [METHOD_NAMES.get(method, method) for method in methods]
    figure.legend([*handles, area], [*names, "share of the area: a map without preference"], loc="outside upper center", ncols=len(handles) + 1)


def _top(density: Mapping[str, np.ndarray], rows: Sequence[int] | range) -> float:
    """Upper end of the shared scale, at least 2 so that a flat map does not look like a sharp one."""
    values = [maps[list(rows)] for maps in density.values() if len(rows)]
    finite = np.concatenate([part[np.isfinite(part)].ravel() for part in values]) if values else np.empty(0)
    return max(2.0, float(np.quantile(finite, TOP_QUANTILE))) if finite.size else 2.0


def _mean_of(density: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean over the chosen maps that are not dead; NaN where there is none."""
    alive = chosen & density.any(axis=(1, 2))
    return density[alive].mean(axis=0) if alive.any() else np.full(density.shape[1:], np.nan)


def _draw_map(axis: Axes, image: np.ndarray, density: np.ndarray, *, top: float) -> None:
    """Blend the colours of a map with the grey face below it."""
    face = np.asarray(image, dtype=np.float64) / 255
    if not np.nan_to_num(density).any():
        draw_face(axis, face, limits=(0, 1), alpha=0.35)
        _say(axis, "zero\neverywhere")
        return
    draw_face(axis, _blend(face if face.ndim == 3 else face[..., None], density, top))


def _blend(face: np.ndarray | float, density: np.ndarray, top: float) -> np.ndarray:
    """Colours (..., 3) of densities over grey or colour values from 0 to 1."""
    opacity = OPACITY * np.clip(density / SOLID, 0, 1)[..., None]
    return (1 - opacity) * face + opacity * plt.get_cmap(COLOUR_MAP)(np.clip(density / top, 0, 1))[..., :3]


def _outline(axis: Axes, masks: Mapping[str, np.ndarray]) -> None:
    for region, mask in masks.items():
        if region != "rest":
            axis.contour(mask, levels=[0.5], colors="white", linewidths=0.6)


def _answer(target: int, probs: np.ndarray, expressions: Sequence[str]) -> str:
    pred = int(probs.argmax())
    said = f"{expressions[pred]} {100 * probs[pred]:.0f} %"
    return said if pred == target else f"{expressions[target]}, called\n{said}"


def _strength(method: str, values: np.ndarray) -> str:
    """Say the unit that the shared scale takes away."""
    name = METHOD_NAMES.get(method, method)
    return f"{name}\nup to {100 * values.max():.0f} points" if method == "occlusion" else name


def _say(axis: Axes, text: str) -> None:
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=9, color="#4A4A4A")


def _add_colour_bar(figure: Figure, axes: np.ndarray, top: float) -> None:
    over_grey = ListedColormap(_blend(0.5, np.linspace(0, top, 256), top))  # as the maps look over a mid-grey face
    label = "attribution, 1: mean of its own map"
    figure.colorbar(ScalarMappable(Normalize(0, top), over_grey), ax=axes, shrink=0.7, aspect=25, extend="max", label=label)
