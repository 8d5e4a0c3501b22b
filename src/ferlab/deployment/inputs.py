"""Prepared faces as the input of a network, in numpy: `ferlab.models.inputs` for machines without torch; a test compares the two.

Smaller faces are resized bilinearly (half-pixel centres), larger ones by area, as torch's `interpolate` does, each as a matrix product a side.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ferlab.paths import InputError

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601


def prepare_faces(faces: np.ndarray, *, size: int, channels: int) -> np.ndarray:
    """Resize cropped faces and convert them to a model's channels.

    Args:
        faces: uint8 (N, H, W), or (N, H, W, 3) in RGB; N may be 0.
        size: Side of the result.
        channels: 1 (colour becomes luma) or 3 (grey is repeated).

    Returns:
        float32 (N, channels, size, size) in [0, 1].

    Raises:
        InputError: As `check_faces`.
    """
    check_faces(faces)
    planes = faces[:, None] if faces.ndim == 3 else faces.transpose(0, 3, 1, 2)  # (N, C, H, W)
    planes = planes.astype(np.float32, order="C")
    planes /= np.float32(255)  # Keep: in place, and below without a copy; a picture of 50 megapixels takes 0.6 GB as it is
    height, width = planes.shape[2:]
    if (height, width) != (size, size):
        weigh = _area_weights if min(height, width) >= size else _bilinear_weights
        planes = weigh(height, size) @ (planes @ weigh(width, size).T)
    if channels == 1 and planes.shape[1] == 3:
        planes = (planes * LUMA[:, None, None]).sum(axis=1, keepdims=True)
    return np.ascontiguousarray(np.broadcast_to(planes, (len(planes), channels, size, size)), dtype=np.float32)


def check_faces(faces: np.ndarray) -> None:
    """Raise InputError unless faces are uint8 (N, H, W) or (N, H, W, 3)."""
    wanted = "expected uint8 faces (N, H, W) or (N, H, W, 3) in RGB"
    if not isinstance(faces, np.ndarray):
        raise InputError(f"{wanted}, got {type(faces).__name__}")
    if faces.ndim == 2 or (faces.ndim == 3 and faces.shape[2] == 3):
        raise InputError(f"{wanted}, got {faces.dtype} {faces.shape}: one face needs a leading axis, faces[None]")
    if faces.dtype != np.uint8:
        raise InputError(f"{wanted}, got {faces.dtype} {faces.shape}: scale to 0-255 and use .astype('uint8')")
    if faces.ndim not in (3, 4) or (faces.ndim == 4 and faces.shape[3] != 3) or 0 in faces.shape[1:]:
        raise InputError(f"{wanted}, got {faces.dtype} {faces.shape}")


def spread_rows(split: np.ndarray, name: str, most: int) -> np.ndarray:
    """Return at most `most` rows of split `name` of `split` (N,), evenly spread: a dataset may be sorted by class or subject.

    >>> spread_rows(np.array(["val", "train", "val", "val", "val", "val"]), "val", 3).tolist()
    [0, 3, 5]
    """
    rows = np.flatnonzero(split == name)
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]


@lru_cache(maxsize=16)
def _bilinear_weights(before: int, after: int) -> np.ndarray:
    """Return float32 (after, before): each row mixes the two pixels around a half-pixel centre; edges repeat."""
    centres = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, None)
    low = np.minimum(centres.astype(int), before - 1)
    high = np.minimum(low + 1, before - 1)
    upper = centres - low
    weights = np.zeros((after, before))
    np.add.at(weights, (np.arange(after), low), 1 - upper)
    np.add.at(weights, (np.arange(after), high), upper)
    return weights.astype(np.float32)


@lru_cache(maxsize=16)
def _area_weights(before: int, after: int) -> np.ndarray:
    """Return float32 (after, before): each row is the mean of the pixels that its bin touches, as in adaptive average pooling."""
    weights = np.zeros((after, before))
    for row in range(after):
        start, stop = row * before // after, -(-(row + 1) * before // after)
        weights[row, start:stop] = 1 / (stop - start)
    return weights.astype(np.float32)
