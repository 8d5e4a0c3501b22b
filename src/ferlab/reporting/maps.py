"""Attribution maps over faces.

Every map is drawn as density, divided by its own mean, so that all methods share one colour scale; a uniform map is 1. Of a signed map the mean is
that of its magnitudes, and the colours diverge from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from ferlab.reporting.faces import draw_face

COLOUR_MAP = "plasma"
SIGNED_COLOUR_MAP = "RdBu_r"  # red supports, blue opposes
OPACITY = 0.75  # of a map over a face, reached at the density SOLID; below it the face shows through
SOLID = 1.5
TOP_QUANTILE = 0.995  # of the densities shown; higher ones have the last colour
GREY = "#4A4A4A"


def relative_values(attributions: np.ndarray) -> np.ndarray:
    """Return maps (N, H, W) with their signs, divided by the mean of their magnitudes; 0 for a map that is zero everywhere."""
    values = np.asarray(attributions, dtype=np.float64)
    mean = np.abs(values).mean(axis=(1, 2), keepdims=True)
    return np.divide(values, mean, out=np.zeros_like(values), where=mean > 0)


def top_density(density: Mapping[str, np.ndarray], rows: Sequence[int] | range) -> float:
    """Return the upper end of the scale that densities (N, H, W) share, at least 2: a flat map must not look like a sharp one."""
    values = np.abs(np.concatenate([maps[list(rows)].ravel() for maps in density.values()]))
    finite = values[np.isfinite(values)]
    return max(2.0, float(np.quantile(finite, TOP_QUANTILE))) if finite.size else 2.0


def draw_map(axis: Axes, image: np.ndarray, density: np.ndarray, *, top: float, signed: bool = False) -> None:
    """Draw the colours of a density (H, W), blended with the face (H, W) or (H, W, 3) of 0 to 255 below it.

    Args:
        axis: Where.
        image: The face.
        density: From `relative_values` or `ferlab.explanation.attribution_mass.relative_density`.
        top: From `top_density`.
        signed: Whether values below 0 have colours of their own.
    """
    face = np.asarray(image, dtype=np.float64) / 255
    if not np.nan_to_num(density).any():
        draw_face(axis, face, limits=(0, 1), alpha=0.35)
        write_in(axis, "zero\neverywhere")
        return
    draw_face(axis, blend(face if face.ndim == 3 else face[..., None], density, top, signed=signed))


def write_in(axis: Axes, text: str) -> None:
    """Write a text into the middle of an axis."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=9, color=GREY)


def add_colour_bar(figure: Figure, axes: np.ndarray, top: float, *, signed: bool = False) -> None:
    """Add the scale that all maps of some axes share."""
    low = -top if signed else 0.0
    over_grey = ListedColormap(blend(0.5, np.linspace(low, top, 256), top, signed=signed))  # as the maps look over a mid-grey face
    label = "signed attribution, 1: mean magnitude" if signed else "attribution, 1: mean of its own map"
    extend = "both" if signed else "max"
    figure.colorbar(ScalarMappable(Normalize(low, top), over_grey), ax=axes, shrink=0.7, aspect=25, extend=extend, label=label)


def add_colour_bars(figure: Figure, axes: np.ndarray, tops: Mapping[bool, float]) -> None:
    """Add the scale of unsigned maps (False), of signed ones (True) or of both, one above the other; `tops` from `top_density`."""
    parts = np.array_split(axes, len(tops)) if len(axes) >= len(tops) else [axes] * len(tops)
    for part, (sign, top) in zip(parts, tops.items(), strict=True):
        add_colour_bar(figure, part, top, signed=sign)


def blend(face: np.ndarray | float, density: np.ndarray, top: float, *, signed: bool = False) -> np.ndarray:
    """Return the colours, (..., 3) of 0 to 1, of densities over grey or colour values from 0 to 1; arguments as for `draw_map`."""
    opacity = OPACITY * np.clip(np.abs(density) / SOLID if signed else density / SOLID, 0, 1)[..., None]
    places = 0.5 + density / (2 * top) if signed else density / top
    colours = plt.get_cmap(SIGNED_COLOUR_MAP if signed else COLOUR_MAP)(np.clip(places, 0, 1))
    return (1 - opacity) * face + opacity * colours[..., :3]
