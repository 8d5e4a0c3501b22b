"""A network whose weights are set by hand, so that one patch alone decides: what a map of it must show is known, which no training guarantees.

A first convolution separates pixels brighter and darker than mid-grey; the linear layer that takes its flattened map has weights on the patch alone.
Every pixel outside has no influence whatever on the output, every pixel inside has the same.

References:
    Zhang et al. (2023), AttributionLab, arXiv 2310.06514: trained networks may not use the designed feature, so networks are wired by hand.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import nn

LAYER = "relu"  # the layer that maps explain
PATCH = (0.30, 0.62, 0.22)  # top, left and side of the patch as fractions of the frame: on a cheek, beside the centre
DARK, BRIGHT = 0, 1


def patch_mask(size: int) -> np.ndarray:
    """Return the pixels of the deciding patch, bool (size, size)."""
    top, left, side = (round(fraction * size) for fraction in PATCH)
    mask = np.zeros((size, size), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def wire_model(size: int) -> nn.Module:
    """Return a network of float32 (N, 1, size, size) around 0 to logits (N, 2): dark and bright, the sum over the patch."""
    conv, linear = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2 * size * size, 2)
    on_patch = torch.as_tensor(patch_mask(size).ravel(), dtype=torch.float32) / patch_mask(size).sum()
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.zero_()
        conv.weight[0, 0, 1, 1], conv.weight[1, 0, 1, 1] = 1.0, -1.0  # how much brighter, how much darker
        weights = torch.cat([on_patch, -on_patch])
        linear.weight.copy_(torch.stack([-weights, weights]))
        linear.bias.zero_()
    return nn.Sequential(OrderedDict(conv=conv, relu=nn.ReLU(), flatten=nn.Flatten(), logits=linear)).eval()


def plant_patches(images: np.ndarray, *, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Put a bright or a dark patch of uneven grey on each face.

    Args:
        images: uint8 (N, S, S).
        seed: Of the patches; half of them are bright.

    Returns:
        Inputs of the network, float32 (N, 1, S, S), -1 to 1; and the class of each (N,).
    """
    rng = np.random.default_rng(seed)
    classes = rng.permutation(np.arange(len(images)) % 2)
    inputs = images.astype(np.float32) / 127.5 - 1
    mask = patch_mask(images.shape[1])
    for values, bright in zip(inputs, classes, strict=True):
        values[mask] = (1 if bright else -1) * rng.uniform(0.1, 0.4, int(mask.sum()))
    return torch.from_numpy(inputs)[:, None], classes
