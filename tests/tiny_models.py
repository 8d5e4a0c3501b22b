"""Models so small that their attribution maps can be worked out by hand, or that hold a symmetry exactly."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ferlab.explanation.attributions import attribute

ARANGE = torch.arange(16.0).reshape(1, 1, 4, 4)


def maps_of(method: str, module: nn.Module, images: Tensor, **how: Any) -> np.ndarray:
    """Return the maps (N, H, W) of a method."""
    return attribute(method, module, images, **how)[:, 0].numpy()


grad_cam, hires_cam, occlusion = (partial(maps_of, method) for method in ("grad_cam", "hires_cam", "occlusion"))


class OneConv(nn.Module):
    """A 3x3 convolution of ones, 4x4 -> 2x2, then two classes that weigh the four sums with 1..4 and with -1..-4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, bias=False)
        self.head = nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.head.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0], [-1.0, -2.0, -3.0, -4.0]]))

    def forward(self, faces: Tensor) -> Tensor:
        return self.head(self.conv(faces).flatten(1))


class TwoMaps(nn.Module):
    """A 1x1 convolution that makes the maps x and 2 x of a 2x2 face, a ReLU, and two classes that weigh their eight places."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu, self.head = nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Linear(8, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1))
            self.head.weight.copy_(torch.tensor([[1.0, -1.0, 2.0, 0.0, -1.0, 2.0, 0.0, 1.0], [0.0] * 8]))

    def forward(self, faces: Tensor) -> Tensor:
        return self.head(self.relu(self.conv(faces)).flatten(1))


class LogSum(nn.Module):
    """Two classes with logits (log s, 0), s the sum of the pixels over 40: the softmax probability of class 0 is s / (s + 1)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, size, bias=False)
        nn.init.constant_(self.conv.weight, 1 / 40)

    def forward(self, faces: Tensor) -> Tensor:
        s = self.conv(faces).flatten(1)
        return torch.cat([s.log(), torch.zeros_like(s)], dim=1)


class Weighted(nn.Module):
    """Two linear classes on the pixels (C, H, W): the weights given, and zero."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, faces: Tensor) -> Tensor:
        score = (faces * self.weights).sum(dim=(1, 2, 3))
        return torch.stack([score, torch.zeros_like(score)], dim=1)


class Mirrored(nn.Module):
    """A model that cannot tell a face from its mirror image: kernels equal to their own mirror, mean pooling."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv1, self.conv2, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        with torch.no_grad():
            for conv in (self.conv1, self.conv2):
                conv.weight.copy_((conv.weight + conv.weight.flip(-1)) / 2)

    def forward(self, faces: Tensor) -> Tensor:
        return self.head(self.relu2(self.conv2(self.relu1(self.conv1(faces)))).mean((2, 3)))


def small(channels: int = 1) -> nn.Module:
    """Return an untrained network for faces of 16x16 with every kind of layer; its last map is "relu2"."""
    torch.manual_seed(1)
    layers = {"conv1": nn.Conv2d(channels, 4, 3, padding=1), "relu1": nn.ReLU(), "pool": nn.MaxPool2d(2), "conv2": nn.Conv2d(4, 6, 3, padding=1)}
    layers |= {"bn": nn.BatchNorm2d(6), "relu2": nn.ReLU(), "flatten": nn.Flatten(), "head": nn.Linear(6 * 64, 3)}
    net = nn.Sequential()
    for name, layer in layers.items():
        net.add_module(name, layer)
    return net.eval()
