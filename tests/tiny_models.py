"""Models so small that their attribution maps can be worked out by hand, or that hold a symmetry exactly; and a network as an ONNX file."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
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


def write_iresnet(path: Path, *, size: int = 112, features: int = 512, seed: int = 0) -> Path:
    """Write a network with the layers, the names and the input of InsightFace's iresnets: a stem, one residual block, a matrix; without a softmax.

    Values are called "input.1", "stem", "sum", "maps", "flat", "embedding" and "683".
    """
    draw, constants = np.random.default_rng(seed), {}

    def drawn(name: str, *shape: int, low: float = -0.5, high: float = 0.5) -> str:
        constants[name] = draw.uniform(low, high, shape).astype(np.float32)
        return name

    def norm(given: str, name: str, made: str, channels: int = 8) -> onnx.NodeProto:
        parts = [drawn(f"{name}.{part}", channels) for part in ("weight", "bias", "running_mean")]
        return helper.make_node("BatchNormalization", [given, *parts, drawn(f"{name}.running_var", channels, low=0.5, high=1.5)], [made])

    def conv(given: str, name: str, made: str, shape: tuple[int, ...], stride: int, bias: str = "") -> onnx.NodeProto:
        weights = [drawn(name, *shape), *([drawn(bias, shape[0])] if bias else [])]
        return helper.make_node("Conv", [given, *weights], [made], strides=[stride] * 2, pads=[shape[2] // 2] * 4, kernel_shape=shape[2:])

    width = 8 * math.ceil(size / 16) ** 2  # of the flattened maps
    nodes = [
        conv("input.1", "685", "c", (8, 3, 3, 3), 4, bias="686"),
        helper.make_node("PRelu", ["c", drawn("prelu/slope", 8, 1, 1)], ["stem"]),
        norm("stem", "layer1.0.bn1", "b"),
        conv("b", "layer1.0.conv1.weight", "d", (8, 8, 3, 3), 1),
        helper.make_node("PRelu", ["d", drawn("layer1.0.prelu.weight", 8, 1, 1)], ["e"]),
        conv("e", "688", "f", (8, 8, 3, 3), 4, bias="689"),
        conv("stem", "691", "g", (8, 8, 1, 1), 4),
        helper.make_node("Add", ["f", "g"], ["sum"]),
        norm("sum", "bn2", "maps"),
        helper.make_node("Flatten", ["maps"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", drawn("fc.weight", features, width), drawn("fc.bias", features)], ["embedding"], transB=1),
        norm("embedding", "features", "683", features),
    ]
    ends = (("input.1", ["None", 3, size, size]), ("683", ["None", features]))
    given, found = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name, shape in ends)
    graph = helper.make_graph(nodes, "iresnet", given, found, [numpy_helper.from_array(array, name) for name, array in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path
