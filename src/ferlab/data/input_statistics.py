"""What the inputs of a model are scaled by, measured on the faces that it is trained on: mean and deviation of each channel, or the mean image.

How they are applied is `ferlab.models.inputs.standardise`'s; faces are taken as the model sees them, on the scale [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ferlab.data.shards import ShardedImages
from ferlab.paths import InputError

CHUNK, CHUNK_BYTES = 2048, 2**26  # faces at a time, and their bytes as the model sees them, float64

Prepare = Callable[[Tensor], Tensor]  # uint8 (N, H, W[, 3]) -> float32 (N, C, S, S) in [0, 1]


def input_statistics(
    images: np.ndarray | ShardedImages,
    rows: np.ndarray,
    *,
    prepare: Prepare,
    scaling: str,
    wanted: tuple[Sequence[float], Sequence[float]] | None = None,
) -> tuple[tuple[float, ...] | Tensor, tuple[float, ...]]:
    """Return what is taken from faces in [0, 1] and what they are divided by then, see `FaceData`.

    Raises:
        InputError: If all pixels of a channel are alike and it is to be standardised.
    """
    if scaling == "standardised":
        mean, std = wanted or pixel_statistics(images, rows, prepare=prepare)
        return tuple(mean), tuple(std)
    channels = prepare(torch.from_numpy(images[rows[:1]])).shape[1]
    ones = (1.0,) * channels
    return (_mean_image(images, rows, prepare=prepare) if scaling == "mean_image" else (0.0,) * channels), ones


def pixel_statistics(images: np.ndarray | ShardedImages, rows: np.ndarray, *, prepare: Prepare) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel over the prepared faces of `rows`, on the scale [0, 1].

    Raises:
        InputError: If all pixels of a channel are alike.
    """
    total = squares = torch.zeros(1, dtype=torch.float64)
    pixels = 0
    for faces in _chunks(images, rows, prepare=prepare):
        total = total + faces.sum(dim=(0, 2, 3))
        squares = squares + faces.square().sum(dim=(0, 2, 3))
        pixels += faces.shape[0] * faces.shape[2] * faces.shape[3]
    mean = total / pixels
    std = (squares / pixels - mean.square()).clamp(min=0).sqrt()
    if bool((std < 1e-4).any()):
        raise InputError("all pixels of the faces to train on are alike; expected faces; look at the set's images")
    return tuple(mean.tolist()), tuple(std.tolist())


def _mean_image(images: np.ndarray | ShardedImages, rows: np.ndarray, *, prepare: Prepare) -> Tensor:
    """Return the mean of the prepared faces of `rows`, pixel by pixel, float32 (C, S, S) in [0, 1]."""
    total = sum(faces.sum(dim=0) for faces in _chunks(images, rows, prepare=prepare))
    return (total / len(rows)).to(torch.float32)  # type: ignore[union-attr]


def _chunks(images: np.ndarray | ShardedImages, rows: np.ndarray, *, prepare: Prepare) -> Iterator[Tensor]:
    """Yield the prepared faces of `rows`, float64 (n, C, S, S), as many at a time as `CHUNK` and `CHUNK_BYTES` allow."""
    chunk = min(CHUNK, max(1, CHUNK_BYTES // (8 * prepare(torch.from_numpy(images[rows[:1]])).numel())))
    for start in range(0, len(rows), chunk):
        yield prepare(torch.from_numpy(images[rows[start : start + chunk]])).to(torch.float64)
