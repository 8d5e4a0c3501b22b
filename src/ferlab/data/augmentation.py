"""Augmentation of a batch of faces, on their device, seeded per (seed, epoch, face).

All draws of an epoch are made at once, in the order of the split, from a generator of (seed, epoch, repeat): the augmentation of a face depends
neither on its batch nor on an interrupted run. Flip, rotation, zoom, shift and crop are one affine resampling; pixels outside repeat the border.

References:
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823: flip, +-10 degrees, zoom and shifts of +-10 %, by Keras's ImageDataGenerator, whose
    conventions are kept (each axis has its own zoom, the shift is a fraction of the side, the border is repeated).
    Zhong, Zheng, Kang, Li & Yang (2017), Random Erasing Data Augmentation, arXiv 1708.04896.
    Jordan (2024), 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv 2404.00498, section 3.6: alternating flip.
    Hoffer, Ben-Nun, Hubara, Giladi, Hoefler & Soudry (2019), Augment your batch, arXiv 1901.09335: several augmentations of a face in one batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ferlab.params import Train

# A number for each generator of an epoch, so that they differ.
PURPOSES = {"order": 0, "augmentation": 1, "dropout": 2, "mixing": 3, "undersampling": 4}
# One column of draws each, always drawn, so that enabling one leaves the others unchanged.
COLUMNS = ("flip", "rotation", "zoom_x", "zoom_y", "shift_x", "shift_y", "brightness", "contrast", "erase", "area", "aspect", "centre_x", "centre_y")
CROP_COLUMNS = ("crop_x", "crop_y")  # drawn after those, likewise
ERASED_AREA = (0.02, 0.25)  # fraction of the face, as DAN's public training code has it
ERASED_ASPECT = (0.3, 3.3)  # height by width


@dataclass(frozen=True)
class Augmentation:
    """Strength of each change; zeros and False change nothing.

    Attributes:
        flip: Whether half of the faces are mirrored, drawn anew in each epoch; or "alternating": each face in every other epoch.
        rotation: Degrees, either way.
        zoom: Fraction of the size, either way, per axis.
        shift: Fraction of the side (of the crop's, with a crop), either way, per axis.
        crop: Side of a random square crop, enlarged to the face's size, as a fraction of its side; 1 for the whole face.
        brightness: Added, fraction of the full scale, either way.
        contrast: Factor about the face's own mean, 1 +- this.
        erasing: Probability that a rectangle is filled with the face's own mean.
    """

    flip: Literal[True, False, "alternating"] = False
    rotation: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    crop: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    erasing: float = 0.0


def augmentation_of(settings: Train) -> Augmentation:
    """Return how far training faces are changed."""
    return Augmentation(**{key: getattr(settings, key) for key in Augmentation.__dataclass_fields__})


def epoch_seed(seed: int, epoch: int, purpose: str, *, repeat: int = 0) -> int:
    """Return the seed of one generator of an epoch; `purpose` is a key of `PURPOSES`, `repeat` counts the appearances of a face in a batch."""
    entropy = [seed, epoch, PURPOSES[purpose], *([repeat] if repeat else [])]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))


def draw_epoch(count: int, *, seed: int, epoch: int, repeat: int = 0) -> Tensor:
    """Return the draws of an epoch, float32 (count, 15) uniform in [0, 1): a row per face, a column per name in COLUMNS and CROP_COLUMNS."""
    generator = torch.Generator().manual_seed(epoch_seed(seed, epoch, "augmentation", repeat=repeat))
    return torch.cat([torch.rand((count, len(columns)), generator=generator) for columns in (COLUMNS, CROP_COLUMNS)], dim=1)


def draw_views(count: int, changes: Augmentation, *, seed: int, epoch: int, repeat: int = 0, repeats: int = 1) -> Tensor:
    """Return the draws of an epoch for these changes, as of `draw_epoch`.

    With `flip: alternating` the first epoch's draw decides by face whether it begins mirrored, and each view of it is the other way round than
    the one before: views are counted over epochs and, within an epoch, over repeats.

    Args:
        count: Faces.
        changes: Of which `flip` alone matters here.
        seed: The run's.
        epoch: From 0.
        repeat: Of `repeats` appearances of each face in a batch, from 0.
        repeats: That number.
    """
    draws = draw_epoch(count, seed=seed, epoch=epoch, repeat=repeat)
    if changes.flip == "alternating":
        mirrored = draw_epoch(count, seed=seed, epoch=0)[:, 0] < 0.5
        draws[:, 0] = torch.where(mirrored ^ bool((epoch * repeats + repeat) % 2), 0.25, 0.75)
    return draws


def augment(images: Tensor, draws: Tensor, changes: Augmentation) -> Tensor:
    """Augment faces, float32 (N, C, S, S) in [0, 1], by rows of `draw_epoch`, float32 (N, 15), on the same device."""
    if changes.rotation or changes.zoom or changes.shift or changes.crop < 1:
        grid = F.affine_grid(affine_of(draws, changes), list(images.shape), align_corners=False)  # (N, S, S, 2)
        images = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    elif changes.flip:
        images = torch.where((draws[:, 0] < 0.5).view(-1, 1, 1, 1), images.flip(3), images)
    if changes.brightness or changes.contrast:
        images = _relight(images, draws, changes)
    if changes.erasing:
        images = _erase(images, draws, changes.erasing)
    return images


def changed_views(images: np.ndarray, changes: Augmentation, *, count: int, seed: int) -> np.ndarray:
    """Return faces, uint8 (N, S, S) or (N, S, S, 3), as augmented in `count` epochs: uint8 (count, N, ...)."""
    colour = images.ndim == 4
    faces = torch.from_numpy(np.array(images)).float() / 255
    planes = faces.permute(0, 3, 1, 2) if colour else faces.unsqueeze(1)
    views = [augment(planes, draw_views(len(images), changes, seed=seed, epoch=epoch), changes) for epoch in range(count)]
    pixels = (torch.stack(views) * 255).round().to(torch.uint8)  # (count, N, C, S, S)
    return (pixels.permute(0, 1, 3, 4, 2) if colour else pixels.squeeze(2)).numpy()


def affine_of(draws: Tensor, changes: Augmentation) -> Tensor:
    """Return float32 (N, 2, 3): for each face, the map from output to input coordinates, both in [-1, 1] x [-1, 1]."""
    either_way = 2 * draws - 1  # [-1, 1)
    angle = either_way[:, 1] * math.radians(changes.rotation)
    zoom = 1 + either_way[:, 2:4] * changes.zoom  # (N, 2): x, y
    shift = either_way[:, 4:6] * changes.shift * 2  # the side is 2 in these coordinates
    if changes.flip:
        mirrored = torch.where(draws[:, 0] < 0.5, -1.0, 1.0)
        zoom = torch.stack([zoom[:, 0] * mirrored, zoom[:, 1]], dim=1)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)  # (N, 2, 2)
    affine = torch.cat([turn * zoom.unsqueeze(1), turn @ shift.unsqueeze(2)], dim=2)  # (N, 2, 3)
    if changes.crop == 1:
        return affine
    place = either_way[:, len(COLUMNS) :] * (1 - changes.crop)  # the middle of the square, (N, 2): x, y
    return affine * changes.crop + F.pad(place.unsqueeze(2), (2, 0))


def _relight(images: Tensor, draws: Tensor, changes: Augmentation) -> Tensor:
    either_way = (2 * draws - 1).view(len(draws), -1, 1, 1, 1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    brighter, steeper = either_way[:, 6] * changes.brightness, 1 + either_way[:, 7] * changes.contrast
    return ((images - mean) * steeper + mean + brighter).clamp(0, 1)


def _erase(images: Tensor, draws: Tensor, probability: float) -> Tensor:
    """Fill one rectangle per chosen face; its centre lies anywhere, so its part outside the face has no effect."""
    size = images.shape[-1]
    area = (ERASED_AREA[0] + draws[:, 9] * (ERASED_AREA[1] - ERASED_AREA[0])) * size**2
    aspect = torch.exp(math.log(ERASED_ASPECT[0]) + draws[:, 10] * math.log(ERASED_ASPECT[1] / ERASED_ASPECT[0]))
    height, width = (area * aspect).sqrt(), (area / aspect).sqrt()
    pixel = torch.arange(size, device=images.device) + 0.5
    rows = (pixel - draws[:, 12:13] * size).abs() < height.unsqueeze(1) / 2  # (N, S)
    columns = (pixel - draws[:, 11:12] * size).abs() < width.unsqueeze(1) / 2
    erased = rows.unsqueeze(2) & columns.unsqueeze(1) & (draws[:, 8] < probability).view(-1, 1, 1)  # (N, S, S)
    return torch.where(erased.unsqueeze(1), images.mean(dim=(1, 2, 3), keepdim=True), images)
