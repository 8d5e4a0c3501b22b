"""Planted marks: a patch in the corner, a kind of glasses, a level of brightness. Each comes in eight looks, one per expression.

A mark lies on or over the face and has nothing to do with what the face shows; `worlds` decides which face carries which.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ferlab.control.drawing.adornments import lens_outline
from ferlab.control.drawing.geometry import FaceShape, shape_face
from ferlab.control.drawing.masks import seen_share
from ferlab.control.drawing.raster import Cover, blend, cover, disc, fine_side, moved
from ferlab.control.specs import FaceSpec

MARKS: tuple[str, ...] = ("corner", "glasses", "brightness")
GREY_LEVELS: tuple[float, ...] = tuple(float(level) for level in np.linspace(55, 195, 8))
"""Mean grey of a whole picture, 0 to 255, for each look of the mark "brightness"."""

_CELL = 1 / 16  # side of one of the patch's four cells, of the picture's
_PATCHES = np.array([np.eye(4)[place] if look < 4 else 1 - np.eye(4)[place] for look in range(8) for place in [look % 4]]).reshape(8, 2, 2)


def stamp_corner(small: np.ndarray, spec: FaceSpec) -> None:
    """Paint the patch into the picture (S, S) as the camera delivers it: one of its 2 x 2 cells differs, in place or sign."""
    if spec.mark is None or spec.mark.kind != "corner":
        return
    cell, edge = _patch(len(small))
    small[: 2 * cell + 2 * edge, : 2 * cell + 2 * edge] = 0.25
    small[edge : edge + 2 * cell, edge : edge + 2 * cell] = np.kron(_PATCHES[spec.mark.look], np.ones((cell, cell))) * 1.3


def metered_exposure(small: np.ndarray, spec: FaceSpec, *, develop: Callable[[np.ndarray], np.ndarray]) -> float:
    """Exposure at which a picture (S, S), as the lens delivers it, has the mean grey of the face's mark, give or take 3 levels.

    Args:
        small: Brightness before exposure, at least 0.
        spec: A face with the mark "brightness".
        develop: Exposed brightness to grey, 0 to 255, increasing.
    """
    level = GREY_LEVELS[spec.mark.look if spec.mark else 0] + 12 * (spec.light.exposure - 1.1)
    low, high = 0.02, 50.0
    for _ in range(24):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if develop(small * np.float32(middle)).mean() < level else (low, middle)
    return middle


def paint_mark_glasses(picture: np.ndarray, spec: FaceSpec, shape: FaceShape) -> None:
    """Glasses whose rims are thin or thick, dark or pale, round or wide: eight kinds."""
    if spec.mark is None or spec.mark.kind != "glasses":
        return
    tone = 0.9 if spec.mark.look & 2 else 0.02
    for line in _rims(spec, shape, size=len(picture)):
        blend(picture, line, tone)


def draw_mark_mask(spec: FaceSpec, size: int) -> np.ndarray:
    """Pixels of the mark, bool (size, size): the patch, the rims, or for brightness all; none where the face carries none."""
    mask = np.zeros((size, size), bool)
    if spec.mark is None:
        return mask
    if spec.mark.kind == "brightness":
        return ~mask
    if spec.mark.kind == "corner":
        cell, edge = _patch(size)
        mask[: 2 * cell + 2 * edge, : 2 * cell + 2 * edge] = True
        return mask
    shape, fine = shape_face(spec), fine_side(size)
    layer = np.zeros((fine, fine), np.float32)
    for line in _rims(spec, shape, size=fine):
        blend(layer, line, 1.0)
    return seen_share(layer, spec, size=size) > 0.12


def _patch(size: int) -> tuple[int, int]:
    """Side of a cell and width of the edge around the four, in pixels."""
    return max(2, round(_CELL * size)), max(1, round(size / 48))


def _rims(spec: FaceSpec, shape: FaceShape, *, size: int) -> list[Cover]:
    who, look_number = spec.identity, spec.mark.look if spec.mark else 0
    width = 0.062 if look_number & 1 else 0.032
    inner = who.eye_x - 0.14
    lines: list[tuple[np.ndarray, bool]] = []
    for eye, side in zip(shape.eyes, (-1, 1), strict=True):
        round_rim = disc((eye.centre[0], eye.centre[1] + 0.02), (0.15, 0.15))
        wide_rim = moved((lens_outline((0.0, 0.0)) * (1.12, 1.0)), *eye.centre)
        lines.append((wide_rim if look_number & 4 else round_rim, True))
        temple = np.array([(side * (who.eye_x + 0.15), who.eye_y - 0.02), (side * 0.99 * who.face_width, who.eye_y - 0.04)])
        lines.append((temple, False))
    lines.append((np.array([(-inner, who.eye_y - 0.01), (0, who.eye_y - 0.03), (inner, who.eye_y - 0.01)]), False))
    return [cover(points, size, blur=0.004, thickness=width, closed=closed) for points, closed in lines]
