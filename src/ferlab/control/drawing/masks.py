"""Region masks of a control face, rasterised from the same curves and turned by the same pose as its picture.

A region is where the feature is in this very face, with a rim wide enough for the shading of its edges.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from ferlab.control.action_units import REGIONS
from ferlab.control.drawing.geometry import FaceShape, shape_face
from ferlab.control.drawing.occluders import occluder_outlines
from ferlab.control.drawing.raster import disc, moved, to_pixels
from ferlab.control.drawing.relief import look, posed_view
from ferlab.control.specs import FaceSpec, without_deciding


def draw_masks(spec: FaceSpec, size: int) -> dict[str, np.ndarray]:
    """Masks of one face: every region, "face" (the head without ears and hair) and "occluder", each (size, size) bool.

    Regions lie within "face" and are marked whether or not something covers them; several may share a pixel.
    """
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
