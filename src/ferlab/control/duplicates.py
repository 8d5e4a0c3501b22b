"""Planted duplicates: byte copies and near-copies of control faces, to be found by an audit.

`near_copy` is what happens to a picture on its way into a second collection: it is mirrored, cropped a little differently,
turned, brightened or compressed again. It works on any face, drawn or not.
"""

from __future__ import annotations

import cv2
import numpy as np

NEAR_KINDS: tuple[str, ...] = ("exact", "mirrored", "shifted", "rotated", "brightness", "jpeg")
MOST_SHIFT = 2  # pixels of a 48-pixel face
MOST_ANGLE = 5.0  # degrees
JPEG_QUALITY = 60


def near_copy(image: np.ndarray, *, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Copy a face the way it comes back from elsewhere.

    Args:
        image: uint8 (H, W) or (H, W, 3) RGB; it is not changed.
        kind: One of `NEAR_KINDS`. "shifted": by whole pixels, at most 2 of 48 each way and not by none; "rotated": by 1 to 5
            degrees; "brightness": contrast times 0.8 to 1.25 and 8 to 25 grey levels up or down; "jpeg": quality 60.
        rng: Draws how far.

    Returns:
        uint8 of the same shape; edges are repeated where the picture moved in.

    Raises:
        ValueError: If the kind is unknown.
    """
    if kind not in NEAR_KINDS:
        raise ValueError(f"Expected kind in {NEAR_KINDS}, got {kind!r}")
    if kind in ("mirrored", "shifted", "rotated"):
        return moved_like(image, kind=kind, rng=rng)
    if kind == "brightness":
        contrast, offset = rng.uniform(0.8, 1.25), rng.choice((-1, 1)) * rng.uniform(8, 25)
        return np.clip(np.rint((image.astype(np.float64) - 128) * contrast + 128 + offset), 0, 255).astype(np.uint8)
    if kind == "jpeg":
        _, encoded = cv2.imencode(".jpg", image if image.ndim == 2 else image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        decoded = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE if image.ndim == 2 else cv2.IMREAD_COLOR)
        return decoded if image.ndim == 2 else np.ascontiguousarray(decoded[..., ::-1])
    return image.copy()


def moved_like(image: np.ndarray, *, kind: str, rng: np.random.Generator) -> np.ndarray:
    """Move a picture, or a bool mask (H, W), as `near_copy` moves the face under the same `rng`; other kinds leave it in place."""
    height, width = image.shape[:2]
    if kind == "mirrored":
        return np.ascontiguousarray(image[:, ::-1])
    if kind == "shifted":
        across, down = _shift(rng)
        matrix = np.array([[1, 0, _pixels(across, width)], [0, 1, _pixels(down, height)]], np.float64)
    elif kind == "rotated":
        angle = float(rng.choice((-1, 1)) * rng.uniform(1.0, MOST_ANGLE))
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1.0)
    else:
        return image.copy()
    way = cv2.INTER_NEAREST if image.dtype == bool or kind == "shifted" else cv2.INTER_LINEAR
    there = cv2.warpAffine(image.astype(np.uint8), matrix, (width, height), flags=way, borderMode=cv2.BORDER_REPLICATE)
    return there.astype(image.dtype)


def choose_duplicates(subject: np.ndarray, *, rng: np.random.Generator, share: float, taken: np.ndarray | None = None) -> np.ndarray:
    """Choose which faces are copies, and of which.

    Args:
        subject: Of each face (N,).
        rng: Of the choice.
        share: Of the faces that become copies; fewer where subjects have too few faces.
        taken: Index each face is drawn from (N,) after an earlier choice: its copies and their originals are left alone.

    Returns:
        Index each face is drawn from (N,): its own, or for a copy that of another face of its subject that is no copy.
    """
    own = np.arange(len(subject))
    drawn_from = own.copy() if taken is None else taken.copy()
    fixed = set(np.flatnonzero(drawn_from != own).tolist()) | set(drawn_from[drawn_from != own].tolist())
    wanted = round(share * len(subject))
    originals: set[int] = set()
    for index in rng.permutation(len(subject)):
        if wanted == 0:
            break
        if index in originals or index in fixed:
            continue
        others = [other for other in np.flatnonzero(subject == subject[index]) if other != index and drawn_from[other] == other]
        if others:
            drawn_from[index] = int(rng.choice(others))
            originals.add(int(drawn_from[index]))
            wanted -= 1
    return drawn_from


def _shift(rng: np.random.Generator) -> tuple[int, int]:
    """Whole pixels of a 48-pixel face, right and down, not both 0."""
    while True:
        across, down = (int(step) for step in rng.integers(-MOST_SHIFT, MOST_SHIFT + 1, 2))
        if across or down:
            return across, down


def _pixels(step: int, side: int) -> int:
    return int(np.sign(step)) * max(1, round(abs(step) * side / 48)) if step else 0
