"""Mixup and cutmix on the batch and its device, seeded by (seed, epoch, batch); targets are mixed with the same weights.

References:
    Zhang, Cisse, Dauphin & Lopez-Paz (2017), mixup: Beyond Empirical Risk Minimization, arXiv 1710.09412.
    Yun, Han, Oh, Chun, Choe & Yoo (2019), CutMix, arXiv 1905.04899.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ferlab.data.augmentation import epoch_seed


@dataclass(frozen=True)
class Mixing:
    """The mixing of one batch.

    Attributes:
        weight: Of each face in the mixed one, in [0, 1]; its partner has the rest.
        partners: int64 (N,), a permutation of the batch.
        box: top, bottom, left, right in pixels of the rectangle pasted from the partner; None for mixup.
    """

    weight: float
    partners: Tensor
    box: tuple[int, int, int, int] | None


def draw_mixing(
    count: int, size: int, *, mixup: float, cutmix: float, seed: int, epoch: int, batch: int, device: torch.device | str = "cpu"
) -> Mixing:
    """Draw the mixing of a batch.

    Args:
        count: Faces N.
        size: Their side in pixels.
        mixup: Alpha of the symmetric Beta distribution of the weight; 0 for no mixup.
        cutmix: Likewise of the area; with both above 0, each has probability 0.5.
        seed: The run's.
        epoch: From 0.
        batch: From 0.
        device: The batch's.
    """
    generator = np.random.default_rng([epoch_seed(seed, epoch, "mixing"), batch])
    coin, order, centre = generator.random(), generator.permutation(count), generator.random(2)
    partners = torch.from_numpy(order).to(device, non_blocking=True)  # else a GPU would be waited for
    if cutmix and (not mixup or coin < 0.5):
        half = np.sqrt(1 - generator.beta(cutmix, cutmix)) / 2
        low, high = (np.clip(centre + sign * half, 0, 1) * size for sign in (-1, 1))
        top, left, bottom, right = (round(edge) for edge in (*low, *high))
        return Mixing(1 - (bottom - top) * (right - left) / size**2, partners, (top, bottom, left, right))
    return Mixing(float(generator.beta(mixup, mixup)), partners, None)


def mix(images: Tensor, targets: Tensor, mixing: Mixing) -> tuple[Tensor, Tensor]:
    """Return the mixed faces and targets.

    Args:
        images: float32 (N, C, S, S).
        targets: float32 (N, K), soft targets.
        mixing: From `draw_mixing`, on their device.
    """
    partners = mixing.partners
    if mixing.box is None:
        mixed = torch.lerp(images[partners], images, mixing.weight)
    else:
        top, bottom, left, right = mixing.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[partners, :, top:bottom, left:right]
    return mixed, torch.lerp(targets[partners], targets, mixing.weight)
