"""What preparation did: pictures before and after each step, how faces were found, class weights, and what resampling adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ferlab.data.preparation.detection import STATED, SearchLevel, haar_ladder, yunet_ladder
from ferlab.data.store import weigh_classes
from ferlab.reporting.faces import draw_face

CELL = 1.25  # inches per picture
MOST = 48  # pictures in one figure, as for faces
MARK = "#E69F00"
NOT_FOUND = "no face found"
LEVELS = tuple(dict.fromkeys(rung.name for ladder in (haar_ladder, yunet_ladder) for rung in ladder(SearchLevel(STATED))))
LAST_LEVELS = tuple(ladder(SearchLevel(STATED))[-1].name for ladder in (haar_ladder, yunet_ladder))

Box = tuple[int, int, int, int]


def before_and_after(
    steps: Sequence[Mapping[str, np.ndarray]],
    *,
    boxes: Sequence[Box | None] | None = None,
    eyes: Sequence[np.ndarray | None] | None = None,
    names: Sequence[str] | None = None,
) -> Figure:
    """Draw pictures in rows: as delivered, with the found box and eyes drawn on, then the result of each step, its size below.

    Args:
        steps: Per picture, title of each step and its result, uint8 (H, W) or (H, W, 3), the first being the picture as delivered. Rows may
            differ in their steps: a step that a picture did not take is left blank.
        boxes: Per picture x, y, width, height in pixels of the first, or None: no face was found, which is written there. No boxes at
            all: none were looked for.
        eyes: Per picture x and y of two eyes (2, 2), or None.
        names: Written at the left of each row.

    Raises:
        ValueError: If there are no pictures, or more than one figure may show.
    """
    titles = step_titles(steps)
    if not 0 < len(steps) * len(titles) <= MOST:
        raise ValueError(f"Expected 1 to {MOST} pictures in a figure, got {len(steps)} x {len(titles)} steps; show fewer.")
    figure = plt.figure(figsize=(len(titles) * (CELL + 0.06) + 0.35, len(steps) * (CELL + 0.24) + 0.3), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    axes = figure.subplots(len(steps), len(titles), squeeze=False)
    for row, taken in enumerate(steps):
        for column, title in enumerate(titles):
            _draw_step(axes[row, column], taken.get(title))
        missed = boxes is not None and boxes[row] is None
        _mark(axes[row, 0], box=boxes[row] if boxes else None, eyes=eyes[row] if eyes else None, missed=missed)
        if names is not None:
            axes[row, 0].set_ylabel(names[row], fontsize=9, parse_math=False)
    for column, title in enumerate(titles):
        axes[0, column].set_title(title, fontsize=9)
    return figure


def step_titles(steps: Sequence[Mapping[str, np.ndarray]]) -> list[str]:
    """Return the titles of all rows in one order: a row's step that others lack comes right after the one before it in that row."""
    titles: list[str] = []
    for taken in steps:
        place = 0
        for title in taken:
            if title not in titles:
                titles.insert(place, title)
            place = titles.index(title) + 1
    return titles


def found_table(found_by: Sequence[str]) -> pd.DataFrame:
    """Return how many pictures each rung of the detector's ladder found a face in.

    Args:
        found_by: Per picture the rung's name; "" where no face was found.

    Returns:
        Rows in order of the ladder, other ways (a box given) before it, "no face found" last, zeros left out; columns pictures and share.
    """
    counts = Counter(found_by)
    other = sorted(name for name in counts if name and name not in LEVELS)
    order = [name for name in (*other, *LEVELS, "") if counts[name]]
    table = pd.DataFrame({"pictures": [counts[name] for name in order]}, index=[name or NOT_FOUND for name in order]).rename_axis("found by")
    return table.assign(share=table["pictures"] / max(len(found_by), 1))


def found_sentence(found_by: Sequence[str]) -> str:
    """Say in how many pictures a face was found, on which rung, and in how many none was.

    Args:
        found_by: As for `found_table`.
    """
    table = found_table(found_by)
    total = len(found_by)
    if total == 0:
        return "No pictures were searched for faces."
    missed = int(table["pictures"].get(NOT_FOUND, 0))
    said = f"A face was found in {total - missed:,} of {total:,} pictures ({100 * (total - missed) / total:.1f} %)"
    by_level = table["pictures"].drop(NOT_FOUND, errors="ignore")
    said += ": " + ", ".join(f"{name} ({count:,})" for name, count in by_level.items()) + "." if len(by_level) else "."
    said += f" In {missed:,} ({100 * missed / total:.1f} %) none was found on any rung." if missed else " None was missed."
    loose = sum(int(by_level.get(name, 0)) for name in LAST_LEVELS)
    return said + (f" The last rung takes almost anything for a face: look at its {loose:,}." if loose else "")


def not_found_table(faces: pd.DataFrame) -> pd.DataFrame:
    """Return face_id and source_path of the pictures in which no face was found, in table order.

    Args:
        faces: Face table with the column `found_by`, "" where none was found.
    """
    return faces.loc[faces["found_by"] == "", ["face_id", "source_path"]].reset_index(drop=True)


def weights_table(counts: Sequence[int] | np.ndarray, expressions: Sequence[str]) -> pd.DataFrame:
    """Return faces, their share and the class weight of every expression, as `store.weigh_classes` has it; one with no faces has none (NaN).

    Args:
        counts: Training faces per expression (K,).
        expressions: Names.
    """
    faces = np.asarray(counts, np.int64)
    weights = np.where(faces > 0, weigh_classes(faces), np.nan)
    table = pd.DataFrame({"faces": faces, "share": faces / max(int(faces.sum()), 1), "weight": weights}, index=list(expressions))
    return table.rename_axis("expression")


def weights_sentence(counts: Sequence[int] | np.ndarray, expressions: Sequence[str]) -> str:
    """Say between which weights the expressions lie."""
    weights = weights_table(counts, expressions)["weight"]
    absent = weights[weights.isna()].index.tolist()
    if len(absent) == len(weights):
        return "There are no faces to weigh."
    high, low = weights.idxmax(), weights.idxmin()
    if not absent and weights[high] == weights[low]:
        return "Weighed by N / (K n), every face counts 1: the expressions have equally many."
    said = f"Weighed by N / (K n), a face of {high} counts {weights[high]:.2f}, one of {low} {weights[low]:.2f}"
    said += f": {weights[high] / weights[low]:.1f} times."
    return said + (f" No face shows {' or '.join(absent)}: weight 0, and K counts the others." if absent else "")


def resampled_table(targets: np.ndarray, added: Mapping[str, np.ndarray], expressions: Sequence[str]) -> pd.DataFrame:
    """Return training faces per expression: those there are, those each way of resampling adds, and all.

    Args:
        targets: (N,) of the training faces.
        added: Name of each way and the targets of the faces that it adds.
        expressions: Names.
    """
    columns = {"faces": targets, **{f"+ {name}": new for name, new in added.items()}}
    table = pd.DataFrame({name: np.bincount(of, minlength=len(expressions)) for name, of in columns.items()}, index=list(expressions))
    table["all"] = table.sum(axis="columns")
    table.loc["all"] = table.sum()
    return table.rename_axis("expression")


def _draw_step(axes: Axes, image: np.ndarray | None) -> None:
    if image is None:
        axes.set_axis_off()
        axes.set_box_aspect(1)  # as large as the pictures beside it, so that titles stand in one line
        return
    draw_face(axes, image, note=f"{image.shape[1]} x {image.shape[0]}")


def _mark(axes: Axes, *, box: Box | None, eyes: np.ndarray | None, missed: bool) -> None:
    if missed:
        axes.set_xlabel(f"{axes.get_xlabel()}, {NOT_FOUND}", fontsize=8, labelpad=2)
    if box is not None:
        x, y, width, height = box
        # A pixel's centre is a whole number, so the box begins half a pixel before.
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=MARK, linewidth=1.6, clip_on=False))
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        axes.set(xlim=(min(left, x - 0.5), max(right, x + width - 0.5)), ylim=(max(bottom, y + height - 0.5), min(top, y - 0.5)))  # may leave it
    if eyes is not None:
        axes.plot(*np.asarray(eyes, float).T, "+", color=MARK, markersize=8, markeredgewidth=1.6, scalex=False, scaley=False)
