"""Two faces in one: mixup and cutmix, on the batch, on the device it lies on, drawn from (seed, epoch, batch).

The target is mixed in the same shares. For faces the two differ: mixup lays one transparently over the other, cutmix pastes a
rectangle of one into the other, so that a mouth may meet another's eyes.

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
    """What is done to one batch.

    Attributes:
        share: Of each face in the mixed one, in [0, 1]; the rest is its partner's.
        partners: int64 (N,), a permutation of the batch.
        box: top, bottom, left, right in pixels of the rectangle pasted from the partner; None for mixup.
    """

    share: float
    partners: Tensor
    box: tuple[int, int, int, int] | None


def draw_mixing(
    count: int, size: int, *, mixup: float, cutmix: float, seed: int, epoch: int, batch: int, device: torch.device | str = "cpu"
) -> Mixing:
    """Draw how a batch is mixed.

    Args:
        count: N, its faces.
        size: Their side in pixels.
        mixup: Alpha of the symmetric Beta distribution of the share; 0 for no mixup.
        cutmix: Likewise of the area; with both above 0, one of the two by the toss of a coin.
        seed: The run's.
        epoch: From 0.
        batch: From 0.
        device: Where the batch lies.
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
        targets: float32 (N, K), shares of the expressions.
        mixing: From `draw_mixing`, on their device.

    Returns:
        Both in the shapes they came in; the arguments stay as they were.
    """
    partners = mixing.partners
    if mixing.box is None:
        mixed = torch.lerp(images[partners], images, mixing.share)
    else:
        top, bottom, left, right = mixing.box
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = images[partners, :, top:bottom, left:right]
    return mixed, torch.lerp(targets[partners], targets, mixing.share)
