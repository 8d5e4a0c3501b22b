"""Antialiased shapes on a canvas: which pixels a polygon or a line covers, and how a layer takes it.

A layer is a float32 array (S, S) over face units -1 to 1. Every shape touches its bounding box only, which keeps a face at
a few milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

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
    rows, columns = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(shape.window, limit.window, strict=True)
    )
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
