"""Masks of a control face: its regions, its single action units and its planted mark, from the curves and the pose of its picture.

A region is where the feature is in this very face, with a rim wide enough for the shading of its edges. A unit's mask is finer: of the
brows the part that moves, of the mouth the corner, the lip or the fold.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from ferlab.control.action_units import ACTION_UNITS, REGIONS, Unit
from ferlab.control.drawing.geometry import Eye, FaceShape, shape_face
from ferlab.control.drawing.layers import blend, disc, fine_side, look, moved, posed_view, to_pixels
from ferlab.control.drawing.overlays import mark_rims, occluder_outlines, patch_cells
from ferlab.control.specs import FaceSpec, without_deciding

Polygons = list[np.ndarray]


def draw_masks(spec: FaceSpec, size: int) -> dict[str, np.ndarray]:
    """Masks (size, size), bool, of every region (within "face"), "face" (without ears and hair) and "occluder"."""
    shape = shape_face(spec)
    polygons = {"face": [shape.outline]} | region_outlines(spec, shape) | {"occluder": occluder_outlines(spec, shape)}
    masks = rasterise(polygons, spec, size=size)
    for region in REGIONS:
        masks[region] &= masks["face"]
    return masks


def rasterise(polygons: Mapping[Hashable, Sequence[np.ndarray]], spec: FaceSpec, *, size: int) -> dict[Any, np.ndarray]:
    """Masks (size, size), bool, of named polygons in face units, seen in the pose of a face."""
    fine = 2 * size
    planes = np.zeros((fine, fine, len(polygons)), np.uint8)
    for number, shapes in enumerate(polygons.values()):
        plane = np.zeros((fine, fine), np.uint8)
        for polygon in shapes:
            corners = np.round(to_pixels(polygon, fine) * 16).astype(np.int32)
            cv2.fillPoly(plane, [corners], 255, cv2.LINE_8, 4)
        planes[:, :, number] = plane
    posed = without_deciding(spec)  # the head turns as it does in the picture
    from_x, from_y = posed_view(posed, shape_face(posed), size=size)
    seen = np.dstack([look(np.ascontiguousarray(planes[:, :, i : i + 4]), from_x, from_y) for i in range(0, len(polygons), 4)])
    return {name: seen[:, :, number] > 127 for number, name in enumerate(polygons)}


def draw_mark_mask(spec: FaceSpec, size: int) -> np.ndarray:
    """Pixels of the mark, bool (size, size): the patch, the rims, or for brightness all; none where the face carries none."""
    mask = np.zeros((size, size), bool)
    if spec.mark is None:
        return mask
    if spec.mark.kind == "brightness":
        return ~mask
    if spec.mark.kind == "corner":
        cell, edge = patch_cells(size)
        mask[: 2 * cell + 2 * edge, : 2 * cell + 2 * edge] = True
        return mask
    shape, fine = shape_face(spec), fine_side(size)
    layer = np.zeros((fine, fine), np.float32)
    for line in mark_rims(spec, shape, size=fine):
        blend(layer, line, 1.0)
    return seen_share(layer, spec, size=size) > 0.12


def seen_share(layer: np.ndarray, spec: FaceSpec, *, size: int) -> np.ndarray:
    """A layer (S, S) float32 over the frontal face as the camera sees it: posed, blurred by the lens, in pixels (size, size)."""
    posed = without_deciding(spec)
    seen = look(layer, *posed_view(posed, shape_face(posed), size=len(layer)))
    sigma = spec.blur * len(layer) / 2
    if sigma > 0.3:
        seen = cv2.GaussianBlur(seen, (0, 0), sigma)
    return cv2.resize(seen, (size, size), interpolation=cv2.INTER_AREA)


def region_outlines(spec: FaceSpec, shape: FaceShape) -> dict[str, list[np.ndarray]]:
    """Polygons (n, 2) of every region of a face, in face units."""
    who, mouth = spec.identity, shape.mouth
    brow_top = min(float((brow[:, 1] - brow[:, 2]).min()) for brow in shape.brows)
    width = shape.nose[2]
    lips = np.vstack([moved(mouth.outer_upper, 0, -0.03), moved(mouth.outer_lower, 0, 0.035)[::-1]])
    lips[:, 0] *= 1 + 0.04 / max(float(mouth.outer_upper[-1, 0]), 0.1)
    brows = [np.vstack([moved(b[:, :2], 0, -0.05), moved(b[:, :2], 0, 0.05)[::-1]]) for b in shape.brows]
    frown = np.vstack([brows[0][8], brows[1][0], brows[1][-1], brows[0][9]])
    below = float(mouth.outer_lower[:, 1].max())
    brow_side = np.array([(0.42, brow_top - 0.02), (0.40, brow_top - 0.28)])
    nose_side = np.array([(0.10, who.eye_y - 0.06), (1.15 * width, shape.wing_y + 0.07)])
    return {
        "forehead": [_mirrored(brow_side)],
        "brows": [*brows, frown],
        "eyes": [_grown(np.vstack([eye.upper, eye.lower[::-1]]), eye.centre, margin=0.045) for eye in shape.eyes],
        "nose": [_mirrored(nose_side)],
        "cheeks": [_cheek(shape, side) for side in (0, 1)],
        "mouth": [lips],
        "chin": [disc((0.0, 0.5 * (below + shape.chin_y) + 0.01), (0.24, 0.5 * (shape.chin_y - below) + 0.03))],
    }


def _mirrored(right: np.ndarray) -> np.ndarray:
    return np.vstack([right, right[::-1] * [-1, 1]])


def _grown(outline: np.ndarray, centre: tuple[float, float], *, margin: float) -> np.ndarray:
    return outline + margin * np.sign(outline - centre)


def _cheek(shape: FaceShape, side: int) -> np.ndarray:
    """From beside the nose over the cheek bone, down to the corner of the mouth and back along the nasolabial fold."""
    sign = 2 * side - 1
    x, y = shape.cheeks[side]
    corner = shape.mouth.outer_upper[-side]
    width = shape.nose[2]
    bone = [(x - 0.10 * sign, y - 0.11), (x + 0.16 * sign, y - 0.13), (x + 0.17 * sign, y + 0.10)]
    mouth = [(corner[0] + 0.12 * sign, corner[1] + 0.05), (corner[0] + 0.01 * sign, corner[1])]
    return np.array([(sign * 1.05 * width, y + 0.02), *bone, *mouth, (sign * 1.1 * width, shape.wing_y + 0.05)])


def draw_unit_masks(spec: FaceSpec, size: int) -> dict[Unit, np.ndarray]:
    """Masks (size, size), bool, of every action unit, active or not, within the head."""
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
