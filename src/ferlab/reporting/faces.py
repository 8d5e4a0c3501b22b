"""Figures of faces and of what a set holds. Never more than a few dozen faces of a dataset in one figure."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ferlab.expressions import SPLITS
from ferlab.reporting.style import COLOURS

CELL = 0.88  # inches per face: 105 pixels at 120 dpi
MOST = 48  # faces of a dataset in one figure
SHADES: dict[str, float] = {"train": 1.0, "val": 0.6, "test": 0.3}  # opacity of a split's part of a bar


def draw_face(
    axes: Axes,
    image: np.ndarray,
    *,
    title: str = "",
    note: str = "",
    colour: str = "black",
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
    targets = np.asarray(targets)
    _check_count(len(images))
    shown = [target for target in range(len(expressions)) if (targets == target).any()]
    rows = max(int((targets == target).sum()) for target in shown)
    figure, axes = _cells(rows, len(shown), space=0.16 if notes is not None else 0.04)
    for column, target in enumerate(shown):
        axes[0, column].set_title(expressions[target], color=COLOURS[expressions[target]])
        for row, place in enumerate(np.flatnonzero(targets == target)):
            draw_face(axes[row, column], images[place], note="" if notes is None else notes[place])
    return figure


def truth_grid(images: np.ndarray, masks: np.ndarray, targets: Sequence[int], expressions: Sequence[str]) -> Figure:
    """Draw faces, one per expression, and below each the same face with the region that carries its expression lit up.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        masks: Bool (N, H, W).
        targets: (N,), places in `expressions`.
        expressions: Names.
    """
    _check_count(2 * len(images))
    figure, axes = _cells(2, len(images), space=0.04)
    for column, target in enumerate(targets):
        name = expressions[target]
        axes[0, column].set_title(name, color=COLOURS[name])
        draw_face(axes[0, column], images[column])
        draw_face(axes[1, column], images[column])
        tint = np.zeros((*masks[column].shape, 4))
        tint[masks[column]] = (1.0, 0.84, 0.0, 0.55)
        tint[~masks[column]] = (0.0, 0.0, 0.0, 0.35)
        axes[1, column].imshow(tint, interpolation="nearest")
    return figure


def mean_faces(images: np.ndarray, targets: np.ndarray, expressions: Sequence[str]) -> Figure:
    """Draw the mean face of every expression, and below it how it differs from the mean of those means at equal brightness.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), read once per expression.
        targets: (N,).
        expressions: Names.
    """
    shown = [target for target in range(len(expressions)) if (targets == target).any()]
    means = np.stack([_mean_grey(images, targets == target) for target in shown])
    # Pictures of one expression are brighter than another's as a whole; what is asked here is where.
    level = means - means.mean(axis=(1, 2), keepdims=True)
    differences = level - level.mean(axis=0)
    limit = float(np.abs(differences).max()) or 1.0
    figure, axes = _cells(2, len(shown), space=0.04)
    for column, target in enumerate(shown):
        axes[0, column].set_title(expressions[target], color=COLOURS[expressions[target]])
        draw_face(axes[0, column], means[column], limits=(means.min(), means.max()))
        axes[1, column].imshow(differences[column], cmap="RdBu_r", vmin=-limit, vmax=limit)
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


def _cells(rows: int, columns: int, *, space: float) -> tuple[Figure, np.ndarray]:
    """Return a figure of `rows` x `columns` empty squares."""
    figure = plt.figure(figsize=(columns * (CELL + 0.05), rows * (CELL + space) + 0.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.ravel():
        one.set(xticks=[], yticks=[])
        one.grid(visible=False)
        for spine in one.spines.values():
            spine.set_visible(False)
    return figure, axes


def _mean_grey(images: np.ndarray, which: np.ndarray) -> np.ndarray:
    mean = images[which].mean(axis=0, dtype=np.float64)
    return mean if mean.ndim == 2 else mean.mean(axis=-1)


def _check_count(count: int) -> None:
    if not 0 < count <= MOST:
        raise ValueError(f"Expected 1 to {MOST} faces in a figure, got {count}; show fewer.")
