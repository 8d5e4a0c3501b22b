"""From stored faces to a model's input: size and channels by the model's card, scale by `train.scaling`.

`prepare_images` scales to [0, 1], augmentation follows, then `standardise`. Scalings:

    standardised   less the mean and divided by the standard deviation of each channel, of the training faces or of the pretrained weights
    unit           [0, 1]: means of 0, deviations of 1 (fers, resemotenet)
    mean_image     less the mean image of the training faces, deviations of 1: -1 to 1 (cs231a)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

Mean = Sequence[float] | Tensor  # C values, or an image float32 (C, H, W)
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV turns RGB to grey


def prepare_images(images: np.ndarray | Tensor, *, size: int, channels: int) -> Tensor:
    """Bring stored faces to a model's size and channels, on their device.

    Args:
        images: uint8 (N, H, W), or (N, H, W, 3) in RGB.
        size: Side of the result; bilinear for smaller faces, area for larger ones.
        channels: 1 (colour becomes luma) or 3 (grey is repeated).

    Returns:
        float32 (N, channels, size, size) in [0, 1].

    Raises:
        ValueError: Another shape or dtype.
    """
    faces = torch.from_numpy(np.array(images)) if isinstance(images, np.ndarray) else images
    if faces.dtype != torch.uint8 or faces.ndim not in (3, 4) or (faces.ndim == 4 and faces.shape[3] != 3):
        raise ValueError(f"Expected uint8 faces (N, H, W) or (N, H, W, 3), got {faces.dtype} {tuple(faces.shape)}")
    planes = faces.unsqueeze(1) if faces.ndim == 3 else faces.permute(0, 3, 1, 2)  # (N, C, H, W)
    return fit_planes(planes.to(torch.float32).div_(255.0), size=size, channels=channels)


def fit_planes(planes: Tensor, *, size: int, channels: int) -> Tensor:
    """Bring faces, float32 (N, C, H, W), to another size and number of channels, as `prepare_images` does."""
    if planes.shape[2:] != (size, size):
        how = {"mode": "area"} if min(planes.shape[2:]) >= size else {"mode": "bilinear", "align_corners": False}
        planes = F.interpolate(planes, size=(size, size), **how)
    if planes.shape[1] == channels:
        return planes
    if channels == 1:
        return (planes * per_channel(LUMA, like=planes)).sum(dim=1, keepdim=True)
    return planes.expand(-1, channels, -1, -1).contiguous()


def standardise(images: Tensor, *, mean: Mean, std: Sequence[float]) -> Tensor:
    """Subtract the mean and divide by the standard deviation of each channel.

    Args:
        images: float32 (N, C, H, W) in [0, 1].
        mean: C means, in [0, 1], or a mean image (C, H, W).
        std: C standard deviations, in [0, 1].
    """
    return (images - per_channel(mean, like=images)) / per_channel(std, like=images)


def per_channel(values: Mean, *, like: Tensor) -> Tensor:
    """Return C values as a tensor (1, C, 1, 1), or an image (C, H, W) as (1, C, H, W), of the dtype and on the device of `like`.

    Keep: values are filled in on the device; a copy from the host at every batch would synchronise a GPU.
    """
    if isinstance(values, Tensor):
        return values.to(like)[None]
    return torch.cat([like.new_full((1,), value) for value in values]).view(1, -1, 1, 1)
