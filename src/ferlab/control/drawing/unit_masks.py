"""Masks of single action units: where each shows, or would show, in this very face.

Finer than the regions: of the brows the part that moves, of the mouth the corner, the lip or the fold. Rasterised from the
same curves and turned by the same pose as the picture.
"""

from __future__ import annotations

import numpy as np

from ferlab.control.action_units import ACTION_UNITS, Unit
from ferlab.control.drawing.geometry import Eye, FaceShape, shape_face
from ferlab.control.drawing.masks import rasterise, region_outlines
from ferlab.control.drawing.raster import disc, moved
from ferlab.control.specs import FaceSpec

Polygons = list[np.ndarray]


def draw_unit_masks(spec: FaceSpec, size: int) -> dict[Unit, np.ndarray]:
    """Masks of one face, one per unit of `ACTION_UNITS` whether it is active or not, each (size, size) bool, within the head."""
    shape = shape_face(spec)
    masks = rasterise({"face": [shape.outline]} | unit_outlines(spec, shape), spec, size=size)
    face = masks.pop("face")
    return {unit: mask & face for unit, mask in masks.items()}


def unit_outlines(spec: FaceSpec, shape: FaceShape) -> dict[Unit, Polygons]:
    """Polygons (n, 2) of every action unit in face units; those of a unit may overlap."""
    upper, lower = _upper(spec, shape), _lower(spec, shape)
    return {unit: (upper | lower)[unit] for unit in ACTION_UNITS}


def _upper(spec: FaceSpec, shape: FaceShape) -> dict[Unit, Polygons]:
    regions = region_outlines(spec, shape)
    brow_top = min(float(brow[:, 1].min()) for brow in shape.brows)
    eye_y = spec.identity.eye_y
    inner = [_band(brow[3:] if side < 0 else brow[:6], 0.055) for side, brow in zip((-1, 1), shape.brows, strict=True)]
    outer = [_band(brow[:6] if side < 0 else brow[3:], 0.055) for side, brow in zip((-1, 1), shape.brows, strict=True)]
    return {
        1: [*inner, _box((-0.26, brow_top - 0.24), (0.26, brow_top + 0.02))],
        2: [*outer, _box((-0.40, brow_top - 0.24), (0.40, brow_top - 0.02))],
        4: [*regions["brows"], _box((-0.10, brow_top), (0.10, eye_y))],
        5: [_around(eye, up=0.10, down=0.035) for eye in shape.eyes],
        6: [_around(eye, up=0.03, down=0.12, out=0.10) for eye in shape.eyes] + [disc(cheek, (0.17, 0.13)) for cheek in shape.cheeks],
        7: [_around(eye, up=0.07, down=0.09) for eye in shape.eyes],
        9: [
            *(*regions["nose"], *inner, _box((-0.13, brow_top + 0.06), (0.13, eye_y + 0.08))),
            *(*(_around(eye, up=0.04, down=0.06) for eye in shape.eyes), *_creases(shape, reach=0.6)),
        ],
    }


def _lower(spec: FaceSpec, shape: FaceShape) -> dict[Unit, Polygons]:
    mouth, middle = shape.mouth, len(shape.mouth.inner_upper) // 2
    chin = region_outlines(spec, shape)["chin"]
    lips = np.vstack([moved(mouth.outer_upper, 0, -0.045), moved(mouth.outer_lower, 0, 0.055)[::-1]])
    wide = (lips - lips.mean(axis=0)) * (1.22, 1.1) + lips.mean(axis=0)
    top = np.vstack([moved(mouth.outer_upper, 0, -0.07), moved(mouth.inner_upper, 0, 0.02)[::-1]])
    bottom = np.vstack([moved(mouth.inner_lower, 0, -0.02), moved(mouth.outer_lower, 0, 0.06)[::-1]])
    left, right = ((float(x), float(y)) for x, y in mouth.inner_upper[[0, -1]])
    folds = _creases(shape, reach=1.0)
    halves = [lips[np.r_[0 : middle + 1, len(lips) - middle - 1 : len(lips)]], lips[middle : len(lips) - middle]]
    smile = [[half, fold, disc(cheek, (0.15, 0.12))] for half, fold, cheek in zip(halves, folds, shape.cheeks, strict=True)]
    dimples = [[disc((x + 0.06 * side, y), (0.12, 0.11)), half] for (x, y), side, half in zip((left, right), (-1, 1), halves, strict=True)]
    return {
        10: [top, lips, *folds],
        12: smile[0] + smile[1],
        15: [lips, *(disc((x + 0.03 * side, y + 0.03), (0.09, 0.11)) for (x, y), side in ((left, -1), (right, 1)))],
        16: [bottom],
        17: [lips, *chin],
        20: [wide, *folds],
        23: [lips, _box((-0.13, float(bottom[:, 1].max()) - 0.05), (0.13, float(bottom[:, 1].max()) + 0.03))],
        24: [lips],
        25: [lips],
        26: [lips, *chin, _jaw(shape)],
        "12R": smile[0],
        "12L": smile[1],
        "14R": dimples[0],
        "14L": dimples[1],
    }


def _band(line: np.ndarray, half: float) -> np.ndarray:
    return np.vstack([moved(line[:, :2], 0, -half), moved(line[:, :2], 0, half)[::-1]])


def _box(first: tuple[float, float], last: tuple[float, float]) -> np.ndarray:
    return np.array([first, (last[0], first[1]), last, (first[0], last[1])])


def _around(eye: Eye, *, up: float, down: float, out: float = 0.04) -> np.ndarray:
    """Lids and what lies above and below, further out to the temple by `out`."""
    side = np.sign(eye.centre[0])
    outline = np.vstack([moved(eye.upper, 0, -up), moved(eye.lower, 0, down)[::-1]])
    beyond = side * (outline[:, 0] - eye.centre[0]) > 0
    outline[:, 0] += side * np.where(beyond, out, -0.03)
    return outline


def _creases(shape: FaceShape, *, reach: float) -> Polygons:
    """Bands along the nasolabial folds, from the wing of the nose by `reach` of the way to the corner of the mouth and beyond it."""
    bands = []
    for side, place in ((-1, 0), (1, -1)):
        start = np.array((side * (shape.nose[2] + 0.02), shape.wing_y - 0.05))
        end = start + reach * (shape.mouth.outer_upper[place] + (side * 0.07, 0.04) - start)
        across = np.array((side * 0.075, 0.0))
        bands.append(np.array([start - across * 0.6, start + across, end + across, end - across]))
    return bands


def _jaw(shape: FaceShape) -> np.ndarray:
    """The lower rim of the head, from the corners of the mouth down."""
    rim = shape.outline[shape.outline[:, 1] > shape.mouth.outer_upper[0, 1]]
    return rim[np.argsort(rim[:, 0])]
