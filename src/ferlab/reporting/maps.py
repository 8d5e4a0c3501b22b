"""Attribution maps over faces.

Every map is drawn as density, its positive part divided by its own mean, so that all methods share one colour scale; a uniform map is 1.
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
OPACITY = 0.75  # of a map over a face, reached at the density SOLID; below it the face shows through
SOLID = 1.5
TOP_QUANTILE = 0.995  # of the densities shown; higher ones have the last colour
GREY = "#4A4A4A"


def top_density(density: Mapping[str, np.ndarray], rows: Sequence[int] | range) -> float:
    """Return the upper end of the scale that densities (N, H, W) share, at least 2: a flat map must not look like a sharp one."""
    values = np.concatenate([maps[list(rows)].ravel() for maps in density.values()])
    finite = values[np.isfinite(values)]
    return max(2.0, float(np.quantile(finite, TOP_QUANTILE))) if finite.size else 2.0


def draw_map(axis: Axes, image: np.ndarray, density: np.ndarray, *, top: float) -> None:
    """Draw the colours of a density (H, W), blended with the face (H, W) or (H, W, 3) of 0 to 255 below it; `top`: from `top_density`."""
    face = np.asarray(image, dtype=np.float64) / 255
    if not np.nan_to_num(density).any():
        draw_face(axis, face, limits=(0, 1), alpha=0.35)
        write_in(axis, "zero\neverywhere")
        return
    draw_face(axis, _blend(face if face.ndim == 3 else face[..., None], density, top))


def write_in(axis: Axes, text: str) -> None:
    """Write a text into the middle of an axis."""
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=9, color=GREY)


def add_colour_bar(figure: Figure, axes: np.ndarray, top: float) -> None:
    """Add the scale that all maps of the figure share."""
    over_grey = ListedColormap(_blend(0.5, np.linspace(0, top, 256), top))  # as the maps look over a mid-grey face
    label = "attribution, 1: mean of its own map"
    figure.colorbar(ScalarMappable(Normalize(0, top), over_grey), ax=axes, shrink=0.7, aspect=25, extend="max", label=label)


def _blend(face: np.ndarray | float, density: np.ndarray, top: float) -> np.ndarray:
    """Return colours (..., 3) of densities over grey or colour values from 0 to 1."""
    opacity = OPACITY * np.clip(density / SOLID, 0, 1)[..., None]
    return (1 - opacity) * face + opacity * plt.get_cmap(COLOUR_MAP)(np.clip(density / top, 0, 1))[..., :3]
