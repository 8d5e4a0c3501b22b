"""Faces shifted, rotated, scaled or of lower resolution, as a detector's box or a distant camera delivers them. Without torch.

Direction and sign are drawn per face (by its `face_id`), so that a curve is about the amount alone; pixels outside the picture repeat the border,
as in training.

References:
    Hendrycks & Dietterich (2019), arXiv 1903.12261 (ImageNet-P's translations, rotations and scales).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ferlab.copies import move
from ferlab.evaluation.corruptions import check_faces_array, rngs
from ferlab.opencv import one_thread
from ferlab.params import nearest
from ferlab.paths import InputError

LEVELS: dict[str, tuple[float, ...]] = {
    "shift": (0.04, 0.08, 0.12, 0.16, 0.20),  # fractions of the side, in a direction drawn per face
    "rotation": (5, 10, 15, 20, 30, 45),  # degrees in the plane, either way
    "scale": (0.6, 0.75, 0.9, 1.1, 1.25, 1.5),  # about the centre; above 1 the crop is tighter
    "resolution": (8, 10, 12, 16, 24, 32, 48, 96),  # pixels across the face, enlarged again (bicubic)
}
UNCHANGED = {"shift": 0.0, "rotation": 0.0, "scale": 1.0}  # the level that leaves a face as it is; of resolution it is the side


def levels_for(name: str, side: int) -> tuple[float, ...]:
    """Return the levels of a displacement for faces of `side` pixels: resolutions are below it."""
    return tuple(level for level in LEVELS[name] if name != "resolution" or level < side)


def displace(images: np.ndarray, name: str, *, level: float, face_ids: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return displaced faces, uint8 of the shape of `images`.

    Args:
        images: uint8 (N, H, W) or RGB (N, H, W, 3).
        name: A key of LEVELS.
        level: Amount, in the unit that LEVELS states.
        face_ids: (N,) ids; each seeds direction and sign of its face.
        seed: Of all draws.

    Raises:
        InputError: An unknown displacement, or images that are not uint8 faces.
    """
    images = check_faces_array(images, face_ids)
    if name not in LEVELS:
        raise InputError(f"no displacement is called {name!r}; {nearest(name, LEVELS)}")
    with one_thread():
        changed = [_displaced(face, name, level, rng.random()) for face, rng in zip(images, rngs(face_ids, name, seed), strict=True)]
    return np.stack(changed) if changed else images.copy()


def _displaced(face: np.ndarray, name: str, level: float, drawn: float) -> np.ndarray:
    """Return one face; `drawn`, from 0 to 1, is the direction of its shift and the sign of its rotation."""
    height, width = face.shape[:2]
    if name == "shift":
        amount, angle = level * min(height, width), 2 * np.pi * drawn
        return move(face, dx=amount * float(np.cos(angle)), dy=amount * float(np.sin(angle)))
    if name == "rotation":
        return move(face, degrees=level if drawn < 0.5 else -level)
    if name == "scale":
        return move(face, scale=level)
    small = [max(1, round(level * side / min(height, width))) for side in (width, height)]
    return cv2.resize(cv2.resize(face, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=cv2.INTER_CUBIC)
