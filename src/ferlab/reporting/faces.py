"""Figures of faces and of class counts. Never more than a few dozen faces of a dataset in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ferlab.colours import COLOURS, INKS, PAGE_INK
from ferlab.expressions import SPLITS

CELL = 0.88  # inches per face: 105 pixels at 120 dpi
MOST = 48  # faces of a dataset in one figure
SHADES: dict[str, float] = {"train": 1.0, "val": 0.6, "test": 0.3}  # opacity of a split's part of a bar


def draw_face(
    axes: Axes,
    image: np.ndarray,
    *,
    title: str = "",
    note: str = "",
    colour: str = PAGE_INK,
    limits: tuple[float, float] = (0, 255),
    alpha: float | None = None,
) -> None:
    """Draw one picture without axes, at its own grey levels and not stretched to its extremes.

    Args:
        axes: Where.
        image: uint8 (H, W) or (H, W, 3); float (H, W) within `limits`; float (H, W, 3) in [0, 1].
        title: Above the picture.
        note: Below the picture.
        colour: Of title and note.
        limits: Values drawn black and white.
        alpha: Opacity.
    """
    axes.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest", alpha=alpha)
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    if title:
        axes.set_title(title, fontsize=9, fontweight="normal", color=colour, pad=3, parse_math=False)
    if note:
        axes.set_xlabel(note, fontsize=9, color=colour, labelpad=2, parse_math=False)


def pick_faces(faces: pd.DataFrame, *, per_class: int, seed: int = 0, by: str | None = None) -> np.ndarray:
    """Choose faces to show: `per_class` of every expression.

    Args:
        faces: Face table.
        per_class: How many of each; all, where there are fewer.
        seed: Of the choice.
        by: A column; then the faces of an expression run evenly from its lowest to its highest value (one face: the highest). None: at
            random.

    Returns:
        Rows of `faces`, expression after expression.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for target in sorted(faces["target"].unique()):
        rows = np.flatnonzero(faces["target"] == target)
        count = min(per_class, len(rows))
        if by is None:
            chosen.append(rng.permutation(rows)[:count])
        else:
            ordered = rows[np.argsort(faces[by].to_numpy()[rows], kind="stable")]
            chosen.append(ordered[np.linspace(len(rows) - 1, 0, count)[::-1].round().astype(int)])
    return np.concatenate(chosen)


def picture_grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    *,
    columns: Sequence[str] = (),
    colours: Sequence[str] = (),
    labels: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
    limits: Sequence[tuple[float, float]] = (),
    cell: float = CELL,
) -> Figure:
    """Draw pictures in rows and columns.

    Args:
        rows: Per row its pictures, as `draw_face` takes them; None leaves a place blank.
        columns: Titles of the columns.
        colours: Of the titles.
        labels: Left of the rows.
        notes: Per row the text below each picture.
        limits: Per row the values drawn black and white.
        cell: Side of a picture in inches.
    """
    across, longest = len(rows[0]), max((len(line) for label in labels for line in label.split("\n")), default=0)
    lines = max((title.count("\n") + 1 for title in columns), default=0)
    below = sum(0.2 if notes and any(notes[row]) else 0.04 for row in range(len(rows)))
    figure = plt.figure(figsize=(across * (cell + 0.04) + 0.085 * longest, len(rows) * cell + below + 0.2 * lines), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    grid = figure.subplots(len(rows), across, squeeze=False)
    for (row, column), axes in np.ndenumerate(grid):
        if (picture := rows[row][column]) is None:
            axes.set_axis_off()
        else:
            draw_face(axes, picture, note=notes[row][column] if notes else "", limits=limits[row] if limits else (0, 255))
    for column, (axes, title) in enumerate(zip(grid[0], columns, strict=False)):
        axes.set_title(title, fontsize=9, color=colours[column] if colours else PAGE_INK, pad=3)
    for axes, label in zip(grid[:, 0], labels, strict=False):
        axes.set_ylabel(label, fontsize=9, rotation=0, ha="right", va="center")
    return figure


def lit(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return a picture, uint8 (H, W, 3), with a mask (H, W) lit in yellow and all else dimmed."""
    colours = np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image
    shown = np.where(mask[..., None], 0.5 * colours + 0.5 * np.array((255, 214, 0)), 0.65 * colours)
    return np.rint(shown).astype(np.uint8)


def faces_grid(images: np.ndarray, targets: Sequence[int], expressions: Sequence[str], *, notes: Sequence[str] | None = None) -> Figure:
    """Draw faces in columns, one per expression.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), at most 48.
        targets: (N,), places in `expressions`.
        expressions: Names.
        notes: A few letters below each face (N,).

    Raises:
        ValueError: If there are more faces than one figure may show.
    """
    _check_count(len(images))
    columns = [np.flatnonzero(np.asarray(targets) == target) for target in range(len(expressions))]
    names = [name for name, places in zip(expressions, columns, strict=True) if len(places)]
    ranks = list(zip_longest(*(places for places in columns if len(places))))
    below = [["" if place is None else notes[place] for place in places] for places in ranks] if notes is not None else ()
    rows = [[None if place is None else images[place] for place in places] for places in ranks]
    return picture_grid(rows, columns=names, colours=[INKS[name] for name in names], notes=below)


def truth_grid(images: np.ndarray, masks: np.ndarray, targets: Sequence[int], expressions: Sequence[str], *, notes: Sequence[str] = ()) -> Figure:
    """Draw faces, one per expression, and below each the same face with its ground-truth pixels lit.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        masks: Bool (N, H, W).
        targets: (N,), places in `expressions`.
        expressions: Names.
        notes: Below each lit face (N,).
    """
    _check_count(2 * len(images))
    names = [expressions[target] for target in targets]
    rows = [list(images), [lit(image, mask) for image, mask in zip(images, masks, strict=True)]]
    return picture_grid(rows, columns=names, colours=[INKS[name] for name in names], notes=[[""] * len(images), list(notes)] if len(notes) else ())


def mean_faces(images: np.ndarray, targets: np.ndarray, expressions: Sequence[str]) -> Figure:
    """Draw the mean face of every expression, and below it how it differs from the mean of those means at equal brightness.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), read once per expression.
        targets: (N,).
        expressions: Names.
    """
    shown = [target for target in range(len(expressions)) if (targets == target).any()]
    means = np.stack([images[targets == target].mean(axis=0, dtype=np.float64) for target in shown])
    means = means if means.ndim == 3 else means.mean(axis=-1)
    # Pictures of one expression are brighter than another's as a whole; what is asked here is where.
    level = means - means.mean(axis=(1, 2), keepdims=True)
    differences = level - level.mean(axis=0)
    limit = float(np.abs(differences).max()) or 1.0
    names = [expressions[target] for target in shown]
    scales = [(float(means.min()), float(means.max())), (-limit, limit)]
    figure = picture_grid([list(means), list(differences)], columns=names, colours=[INKS[name] for name in names], limits=scales)
    for axes in figure.axes[len(shown) :]:
        axes.images[0].set_cmap("RdBu_r")
    figure.supxlabel(
        f"below: red is brighter than the mean of all expressions, blue darker; full colour is {limit:.0f} of 255 grey levels", fontsize=9
    )
    return figure


def class_counts(faces: pd.DataFrame, expressions: Sequence[str], *, official: pd.DataFrame | None = None) -> Figure:
    """Draw faces per expression: a panel per usage, a bar per expression, the splits as its parts.

    Args:
        faces: Face table with `split`.
        expressions: Names.
        official: Published counts, rows usages, columns expressions; each is marked by a line across its bar.
    """
    usages = list(dict.fromkeys(faces["usage"]))
    figure = plt.figure(figsize=(1.6 + 2.9 * len(usages), 0.34 * len(expressions) + 0.95), layout="constrained")
    panels = figure.subplots(1, len(usages), squeeze=False, sharey=True)[0]
    for panel, usage in zip(panels, usages, strict=True):
        within = faces[faces["usage"] == usage]
        _draw_counts(panel, within, expressions)
        if official is not None and usage in official.index:
            places = np.arange(len(expressions))
            panel.vlines(official.loc[usage, list(expressions)], places - 0.46, places + 0.46, color="black", linewidth=1.6)
        panel.set_title(f"{usage if len(usages) > 1 else 'all faces'} ({len(within):,})")
    panels[0].invert_yaxis()
    present = [split for split in SPLITS if (faces["split"] == split).any()]
    handles = [Patch(color="#404040", alpha=SHADES[split], label=split) for split in present]
    if official is not None:
        handles.append(panels[0].plot([], [], "|", color="black", markersize=11, markeredgewidth=1.6, label="official count")[0])
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _check_count(count: int) -> None:
    if not 0 < count <= MOST:
        raise ValueError(f"Expected 1 to {MOST} faces in a figure, got {count}; show fewer.")


def _draw_counts(axes: Axes, faces: pd.DataFrame, expressions: Sequence[str]) -> None:
    left = np.zeros(len(expressions))
    places = np.arange(len(expressions))
    for split in SPLITS:
        counts = np.bincount(faces.loc[faces["split"] == split, "target"], minlength=len(expressions))
        # White below, so that the grid does not shine through a pale part.
        axes.barh(places, counts, left=left, color="white")
        axes.barh(places, counts, left=left, color=[COLOURS[name] for name in expressions], alpha=SHADES[split])
        left += counts
    for place, total in zip(places, left, strict=True):
        axes.annotate(f"{total:,.0f}", (total, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set(yticks=places, yticklabels=list(expressions), xlim=(0, 1.22 * max(float(left.max()), 1.0)))
    axes.grid(visible=False, axis="y")
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter("{x:,.0f}")
