"""Altered copies of a face, as a photograph is altered on its way into a second collection.

Control faces plant such copies, and the recall of the duplicate search is measured on them: both alter faces here, so that they alter alike.
A copy is shifted by up to 2 pixels of 48, rotated by up to 5 degrees, changed in brightness and contrast, compressed as JPEG of quality 60,
mirrored, or exact.

References:
    Barz and Denzler (2020), Do We Train on Test Data? Purging CIFAR of Near-Duplicates, arXiv 1902.00423.
"""

from __future__ import annotations

import cv2
import numpy as np

KINDS: tuple[str, ...] = ("exact", "mirrored", "shifted", "rotated", "brightness", "jpeg", "combined")
SHIFT, DEGREES, GAIN, BIAS, QUALITY = 2 / 48, 5.0, 0.25, 25.0, 60  # largest shift as a fraction of the side; grey levels; JPEG quality
MOVED = {"shifted": (True, False), "rotated": (False, True), "combined": (True, True)}  # kind -> whether it is shifted, rotated


def alter(image: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return an altered copy of a face.

    Args:
        image: uint8 (H, W) or RGB (H, W, 3).
        kind: One of `KINDS`; "combined" shifts, rotates, changes brightness and contrast, and compresses.
        rng: Draws the amounts.

    Raises:
        ValueError: If the kind is unknown.
    """
    image = move_alike(image, kind, rng)
    if kind in ("brightness", "combined"):
        gain, bias = rng.uniform(1 - GAIN, 1 + GAIN), rng.uniform(-BIAS, BIAS)
        image = np.clip(np.rint(image * gain + bias), 0, 255).astype(np.uint8)
    return compress(image) if kind in ("jpeg", "combined") else image


def move_alike(image: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Move a picture, or a bool mask (H, W), as `alter` moves a face of that size under the same `rng`; other kinds leave it in place.

    Raises:
        ValueError: If the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"Expected a kind of copy in {', '.join(KINDS)}, got {kind!r}")
    if kind == "mirrored":
        return np.ascontiguousarray(image[:, ::-1])
    if kind not in MOVED:
        return image.copy()
    shifted, rotated = MOVED[kind]
    dx, dy = rng.uniform(-SHIFT, SHIFT, 2) * image.shape[0] if shifted else (0.0, 0.0)
    return move(image, degrees=rng.uniform(-DEGREES, DEGREES) if rotated else 0.0, dx=dx, dy=dy)


def move(image: np.ndarray, *, degrees: float = 0.0, dx: float = 0.0, dy: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """Rotate and scale a face, or a bool mask, about its centre and shift it, in pixels; the border is repeated outwards."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    matrix[:, 2] += dx, dy
    mask = image.dtype == bool
    way = cv2.INTER_NEAREST if mask else cv2.INTER_LINEAR
    moved = cv2.warpAffine(image.astype(np.uint8) if mask else image, matrix, (width, height), flags=way, borderMode=cv2.BORDER_REPLICATE)
    return moved.astype(image.dtype, copy=False)


def compress(image: np.ndarray, *, quality: int = QUALITY) -> np.ndarray:
    """Return a face, uint8 (H, W) or RGB (H, W, 3), after JPEG compression."""
    _, coded = cv2.imencode(".jpg", image[..., ::-1] if image.ndim == 3 else image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
    return np.ascontiguousarray(decoded[..., ::-1]) if image.ndim == 3 else decoded
