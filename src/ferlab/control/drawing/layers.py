"""Layers of a control face: antialiased shapes, the relief of the head, the light on it, and how a turned head is seen.

A layer is a float32 array (S, S) over face units -1 to 1. A shape touches its bounding box only. The relief is a height above the
picture's plane in face units: an egg for the head and Gaussian hills for nose, cheeks, brow ridge and sockets.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ferlab.control.action_units import lopsided
from ferlab.control.drawing.geometry import CENTRE_Y, TOP_Y, FaceShape, half_width
from ferlab.control.specs import FaceSpec, Light, Pose

_ANGLES = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_CIRCLE = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])
_SHIFT = 4  # sub-pixel bits of OpenCV's polygon coordinates


@dataclass(frozen=True)
class Cover:
    """Pixels a shape covers: a window of the layer and the share (h, w) of each of its pixels, float32 0 to 1."""

    window: tuple[slice, slice]
    share: np.ndarray


def fine_side(size: int) -> int:
    """Side of the canvas on which a picture of this size is painted before it is taken."""
    return size * (3 if size <= 64 else 2)


def to_pixels(points: np.ndarray, size: int) -> np.ndarray:
    """Face units (n, 2) to pixel coordinates, where 0 is the centre of the first pixel."""
    return (points + 1.0) * (size / 2) - 0.5


def cover(points: np.ndarray, size: int, *, blur: float = 0.0, thickness: float = 0.0, closed: bool = True) -> Cover:
    """Rasterise a polygon, or with a thickness its line.

    Args:
        points: Corners (n, 2) in face units.
        size: Side S of the layer in pixels.
        blur: Standard deviation of a Gaussian blur, in face units.
        thickness: Full width of the line in face units; 0 fills the polygon.
        closed: Whether a line returns to its first point.

    Returns:
        The cover; its window is empty where the shape lies outside the layer.
    """
    one = 1 << _SHIFT
    fixed = (to_pixels(points[:, :2], size) * one + 0.5).astype(np.int32)
    sigma = blur * size / 2
    width = max(1, round(thickness * size / 2)) if thickness else 0
    margin = int(2.2 * sigma) + width + 3
    left, top, across, down = cv2.boundingRect(fixed)
    x, right = max(0, left // one - margin), min(size, (left + across) // one + margin + 1)
    y, bottom = max(0, top // one - margin), min(size, (top + down) // one + margin + 1)
    if x >= right or y >= bottom:
        return Cover((slice(0, 0), slice(0, 0)), np.zeros((0, 0), np.float32))
    plane = np.zeros((bottom - y, right - x), np.uint8)
    fixed -= (x * one, y * one)
    if width:
        cv2.polylines(plane, [fixed], closed, 255, width, cv2.LINE_AA, _SHIFT)
    else:
        cv2.fillPoly(plane, [fixed], 255, cv2.LINE_AA, _SHIFT)
    if sigma > 0.3:
        reach = 2 * int(2.2 * sigma) + 3
        plane = cv2.GaussianBlur(plane, (reach, reach), sigma)
    return Cover((slice(y, bottom), slice(x, right)), plane * np.float32(1 / 255))


def within(shape: Cover, limit: Cover) -> Cover:
    """Keep of a shape what lies within another."""
    share = shape.share * 0
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(shape.window, limit.window, strict=True))
    if rows.start < rows.stop and columns.start < columns.stop:
        mine, theirs = (
            (
                slice(rows.start - c.window[0].start, rows.stop - c.window[0].start),
                slice(columns.start - c.window[1].start, columns.stop - c.window[1].start),
            )
            for c in (shape, limit)
        )
        share[mine] = shape.share[mine] * limit.share[theirs]
    return Cover(shape.window, share)


def blend(layer: np.ndarray, shape: Cover, value: float, *, opacity: float = 1.0) -> None:
    """Paint a value over a layer."""
    part = layer[shape.window]
    part += (np.float32(value) - part) * (shape.share * np.float32(opacity))


def scale(layer: np.ndarray, shape: Cover, factor: float) -> None:
    """Multiply a layer by a factor where the shape lies."""
    layer[shape.window] *= 1 + shape.share * np.float32(factor - 1)


def add(layer: np.ndarray, shape: Cover, amount: float) -> None:
    """Add an amount to a layer where the shape lies."""
    layer[shape.window] += shape.share * np.float32(amount)


def moved(points: np.ndarray, right: float, down: float) -> np.ndarray:
    """Points (n, 2) shifted."""
    return points + np.array((right, down))


def disc(centre: tuple[float, float], radius: tuple[float, float]) -> np.ndarray:
    """Ellipse as a polygon (20, 2)."""
    return _CIRCLE * radius + centre


_COARSE = 48  # grid on which a turned head is worked out; the maps are smooth


def axis(size: int) -> np.ndarray:
    """Pixel centres of a layer's side in face units, float32."""
    return ((np.arange(size, dtype=np.float32) + 0.5) * np.float32(2 / size)) - np.float32(1)


def head_form(spec: FaceSpec, shape: FaceShape, *, size: int) -> np.ndarray:
    """Egg of the head without features (S, S), float32; 0 outside its outline."""
    y = axis(size)
    half = np.maximum(half_width(spec.identity, shape.chin_y, y), 1e-3).astype(np.float32)
    reach = np.where(y > CENTRE_Y, (y - CENTRE_Y) / (shape.chin_y - CENTRE_Y), (CENTRE_Y - y) / (CENTRE_Y - TOP_Y))
    down = (np.clip(reach, 0, 1) ** 3).astype(np.float32)
    across = np.square(np.square(y)[None, :] / np.square(half)[:, None])  # (|x| / half)^4: a broad front, quick flanks
    broad = np.square(y)[None, :] / np.square(half)[:, None]
    return np.float32(0.55) * np.sqrt(np.clip(1 - 0.55 * broad - 0.45 * across, 0, 1)) * (1 - np.float32(0.55) * down)[:, None]


def hills(spec: FaceSpec, shape: FaceShape) -> np.ndarray:
    """Gaussian hills (k, 5) of the features: x, y, spread along x, spread along y, height."""
    who, au = spec.identity, shape.units
    tip_x, tip_y, nose_width = shape.nose
    rows = [
        (0.0, who.eye_y + 0.02, 0.046, 0.10, 0.36 * who.nose_height),
        (0.0, 0.5 * (who.eye_y + tip_y), 0.050, 0.10, 0.46 * who.nose_height),
        (tip_x, tip_y - 0.03, 0.058, 0.058, 0.80 * who.nose_height),
        (0.0, -0.47, 0.28, 0.12, 0.035),
        (0.0, who.mouth_y, 0.19, 0.13, 0.050),
        (0.0, shape.chin_y - 0.13, 0.10, 0.065, 0.055 + 0.02 * au[17]),
        (0.0, float(shape.mouth.outer_lower[:, 1].max()) + 0.035, 0.11, 0.030, -0.028),
    ]
    fullness = who.cheeks * (0.045 + 0.045 * au[6] + 0.045 * au[12] + 0.02 * au[9])
    pulled, dimpled = lopsided(au, 12), lopsided(au, 14)
    for place, (side, eye, brow, cheek) in enumerate(zip((-1, 1), shape.eyes, shape.brows, shape.cheeks, strict=True)):
        brow_y = float(brow[:, 1].mean())
        rows += [
            (eye.centre[0] - 0.02 * side, eye.centre[1] - 0.015, 0.13, 0.085, -0.075),
            (eye.centre[0], eye.centre[1], 0.062, 0.045, 0.045),
            (side * 0.24, brow_y - 0.01, 0.15, 0.055, 0.045 + 0.012 * au[4]),
            (*cheek, 0.13, 0.095, fullness + who.cheeks * 0.045 * pulled[place]),
            (side * 0.36, 0.42, 0.10, 0.14, -0.02 - 0.03 * au[26]),
            (side * 0.72 * nose_width, shape.wing_y, 0.034, 0.036, 0.050),
        ]
        if dimpled[place]:  # skin gathers outside the dimple; no row for other faces, whose sums stay what they were to the last bit
            corner = shape.mouth.inner_upper[-place]
            rows.append((float(corner[0]) + 0.115 * side, float(corner[1]), 0.035, 0.065, 0.035 * dimpled[place]))
    return np.array(rows)


def raise_hills(table: np.ndarray, size: int) -> np.ndarray:
    """Sum of Gaussian hills as a layer (S, S), float32."""
    grid = axis(size)[None, :]
    x, y, spread_x, spread_y, height = (column[:, None].astype(np.float32) for column in table.T)
    along_x = np.exp(-0.5 * np.square((grid - x) / spread_x))
    along_y = np.exp(-0.5 * np.square((grid - y) / spread_y))
    layer = np.zeros((size, size), np.float32)
    for column, row in zip(along_y * height, along_x, strict=True):  # Keep: a matrix product's last bits depend on the processor's BLAS
        layer += column[:, None] * row
    return layer


def shade(relief: np.ndarray, light: Light, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Light on a relief.

    Args:
        relief: Heights (S, S), float32, in face units.
        light: The lamp; its azimuth is meant for the scene, so a turned head is lit from another side.
        pose: Rotation of the head.

    Returns:
        Diffuse factor (about 0.2 to 1.3) and gloss (0 to 1), each (S, S) float32.
    """
    size = len(relief)
    steps = np.float32(size / 4)  # central differences over two pixels of 2 / S face units each
    slope_x = cv2.filter2D(relief, -1, np.array([[-1, 0, 1]], np.float32), borderType=cv2.BORDER_REPLICATE) * steps
    slope_y = cv2.filter2D(relief, -1, np.array([[-1], [0], [1]], np.float32), borderType=cv2.BORDER_REPLICATE) * steps
    azimuth, elevation = np.deg2rad(light.azimuth - pose.yaw), np.deg2rad(light.elevation - pose.pitch)
    to_lamp = np.array([np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)], np.float32)
    norm = 1 / np.sqrt(1 + np.square(slope_x) + np.square(slope_y))
    facing = (to_lamp[2] - to_lamp[0] * slope_x - to_lamp[1] * slope_y) * norm
    wrapped = np.clip((facing + 0.25) * np.float32(0.8), 0, None)
    half_way = to_lamp + np.array([0, 0, 1], np.float32)
    half_way /= np.sqrt(np.square(half_way).sum())
    shine = np.clip((half_way[2] - half_way[0] * slope_x - half_way[1] * slope_y) * norm, 0, 1)
    gloss = np.square(np.square(np.square(np.square(shine))))  # to the 16th
    sky = 0.55 + 0.45 * norm  # surfaces turned away see less of the surroundings
    return light.ambient * sky + (1 - light.ambient) * np.float32(1.25) * wrapped, gloss


def posed_view(spec: FaceSpec, shape: FaceShape, *, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates at which `look` sees the face of a spec in its pose, each (size, size) float32."""
    form = head_form(spec, shape, size=_COARSE) + raise_hills(hills(spec, shape), _COARSE)
    return view_maps(form, spec.pose, size=size)


def view_maps(form: np.ndarray, pose: Pose, *, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of the posed picture comes from in the frontal one.

    Args:
        form: Heights (s, s) of the head on a coarse grid.
        pose: Rotation and crop.
        size: Side of the posed picture in pixels.

    Returns:
        Coordinates x and y (S, S) float32 in face units, for `look`.
    """
    grid = axis(len(form))
    roll = np.deg2rad(pose.roll)
    x, y = np.meshgrid((grid - pose.shift_x) / pose.scale, (grid - pose.shift_y) / pose.scale)
    x, y = np.cos(roll) * x + np.sin(roll) * y, -np.sin(roll) * x + np.cos(roll) * y
    yaw, pitch = np.deg2rad(pose.yaw), np.deg2rad(pose.pitch)
    from_x, from_y = x, y
    for _ in range(3):  # the height is known where the point came from: a fixed point, reached in a few rounds
        height = look(form, from_x, from_y) - np.float32(0.25)
        from_x = ((x - np.sin(yaw) * height) / np.cos(yaw)).astype(np.float32)
        from_y = ((y - np.sin(pitch) * height) / np.cos(pitch)).astype(np.float32)
    shape = (size, size)
    return cv2.resize(from_x, shape, interpolation=cv2.INTER_LINEAR), cv2.resize(from_y, shape, interpolation=cv2.INTER_LINEAR)


def look(layer: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sample a layer (S, S) or (S, S, C) at face-unit coordinates, bilinearly, edges repeated."""
    half = np.float32(len(layer) / 2)
    map_x, map_y = (x + 1) * half - np.float32(0.5), (y + 1) * half - np.float32(0.5)
    return cv2.remap(layer, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
