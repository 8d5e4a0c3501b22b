"""An exported model as a PyTorch module, so that captum explains the very file that predicts; also one made elsewhere and adopted.

The graph is followed node by node with the operations that image classifiers export to. Its final softmax is dropped: attributions are of
logits. A graph with another operation is refused by name; occlusion needs no module and works for every file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from ferlab.deployment.predictor import Predictor, read_model
from ferlab.models import LoadedModel
from ferlab.paths import InputError

MAPS = ("Conv", "ConvTranspose", "Relu", "BatchNormalization", "LeakyRelu", "Clip", "Add", "HardSwish", "Mul", "Sigmoid")


def load_exported(path: Path) -> LoadedModel:
    """Return an ONNX file as `ferlab.explanation.attributions` takes a model.

    Its target layer is the last feature map behind a convolution. Normalisation is part of the graph, so mean and standard deviation are 0 and 1.

    Raises:
        InputError: As `Predictor.load`; an operation of the graph that is not followed here.
    """
    predictor = Predictor.load(path)
    graph = onnx.load_from_string(read_model(path)).graph
    module = Graph(graph).eval()
    channels = predictor.channels
    shape = {"size": predictor.size, "channels": channels, "mean": (0.0,) * channels, "std": (1.0,) * channels}
    names = {"name": path.parent.name, "expressions": predictor.expressions, "target_layer": module.target_layer}
    return LoadedModel(module=module, options={}, trained_on=(), **names, **shape)


class Graph(nn.Module):
    """A graph of the form of `ferlab.deployment.export`: `faces`, float32 (N, C, H, W), to logits (N, K).

    Attributes:
        target_layer: Name of the node whose output is the last feature map; None without convolutions.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        super().__init__()
        self.entry, self.exit = graph.input[0].name, graph.output[0].name
        nodes = list(graph.node)
        if nodes[-1].op_type == "Softmax":
            self.exit = nodes.pop().input[0]
        self.constants = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
        self.steps = nn.ModuleDict({f"n{place}": Step(node) for place, node in enumerate(nodes)})
        self.target_layer = _last_map(nodes)

    def forward(self, faces: Tensor) -> Tensor:
        """Return the logits."""
        values: dict[str, Any] = {**self.constants, self.entry: faces, "": None}
        for step in self.steps.values():
            values[step.output] = step(*(values[name] for name in step.inputs))
        return values[self.exit]


class Step(nn.Module):
    """One node of a graph."""

    def __init__(self, node: onnx.NodeProto) -> None:
        super().__init__()
        if node.op_type not in OPERATIONS:
            raise InputError(f"the graph has the operation {node.op_type}, which is not followed for Grad-CAM; choose occlusion")
        self.inputs, self.output = list(node.input), node.output[0]
        # Keep: a ReLU that is a module, so that guided backpropagation finds it
        self.operation = nn.ReLU() if node.op_type == "Relu" else OPERATIONS[node.op_type]
        self.options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}

    def forward(self, *given: Tensor) -> Tensor:
        """Return the node's first output."""
        return self.operation(*given, **self.options)


def _last_map(nodes: Sequence[onnx.NodeProto]) -> str | None:
    """Return the step after the last convolution, and what follows it as a map of the same size."""
    convolutions = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    if not convolutions:
        return None
    place = convolutions[-1]
    while place + 1 < len(nodes) and nodes[place + 1].op_type in MAPS and nodes[place].output[0] in nodes[place + 1].input:
        place += 1
    return f"steps.n{place}"


def _pads(pads: Sequence[int]) -> list[int]:
    half = len(pads) // 2
    return [side for axis in reversed(range(half)) for side in (pads[axis], pads[axis + half])]  # torch: last axis first


def _padded(x: Tensor, kernel: Sequence[int], *, pads: Sequence[int], strides: Sequence[int], auto_pad: bytes, value: float = 0.0) -> Tensor:
    if auto_pad in (b"SAME_UPPER", b"SAME_LOWER"):
        pads = [0] * 4
        for axis in range(2):
            side = x.shape[2 + axis]
            total = max((-(-side // strides[axis]) - 1) * strides[axis] + kernel[axis] - side, 0)
            small, large = total // 2, total - total // 2
            pads[axis], pads[axis + 2] = (small, large) if auto_pad == b"SAME_UPPER" else (large, small)
    return functional.pad(x, _pads(pads), value=value) if any(pads) else x


def _conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, *, strides: Sequence[int] = (1, 1), pads: Sequence[int] = (0,) * 4,
    dilations: Sequence[int] = (1, 1), group: int = 1, auto_pad: bytes = b"NOTSET", **_: Any,
) -> Tensor:  # fmt: skip
    x = _padded(x, weight.shape[2:], pads=pads, strides=strides, auto_pad=auto_pad)
    return functional.conv2d(x, weight, bias, stride=tuple(strides), dilation=tuple(dilations), groups=group)


def _max_pool(
    x: Tensor, *, kernel_shape: Sequence[int], strides: Sequence[int] = (1, 1), pads: Sequence[int] = (0,) * 4, ceil_mode: int = 0,
    auto_pad: bytes = b"NOTSET", **_: Any,
) -> Tensor:  # fmt: skip
    x = _padded(x, kernel_shape, pads=pads, strides=strides, auto_pad=auto_pad, value=-torch.inf)
    return functional.max_pool2d(x, tuple(kernel_shape), tuple(strides), ceil_mode=bool(ceil_mode))


def _average_pool(
    x: Tensor, *, kernel_shape: Sequence[int], strides: Sequence[int] = (1, 1), pads: Sequence[int] = (0,) * 4, ceil_mode: int = 0,
    count_include_pad: int = 0, auto_pad: bytes = b"NOTSET", **_: Any,
) -> Tensor:  # fmt: skip
    pool = {"kernel_size": tuple(kernel_shape), "stride": tuple(strides), "ceil_mode": bool(ceil_mode)}
    padded = _padded(x, kernel_shape, pads=pads, strides=strides, auto_pad=auto_pad)
    if count_include_pad or padded is x:
        return functional.avg_pool2d(padded, **pool)
    inside = _padded(torch.ones_like(x[:1, :1]), kernel_shape, pads=pads, strides=strides, auto_pad=auto_pad)
    return functional.avg_pool2d(padded, **pool) / functional.avg_pool2d(inside, **pool)


def _gemm(a: Tensor, b: Tensor, c: Tensor | None = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0) -> Tensor:
    product = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return product if c is None else product + beta * c


def _reshape(x: Tensor, shape: Tensor, *, allowzero: int = 0) -> Tensor:
    sides = [x.shape[place] if side == 0 and not allowzero else side for place, side in enumerate(shape.tolist())]
    return x.reshape(sides)


def _normalise(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float = 1e-5, **_: Any) -> Tensor:
    return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)


def _mean(x: Tensor, axes: Tensor | None = None, *, keepdims: int = 1, **options: Any) -> Tensor:
    chosen = options.get("axes") if axes is None else axes.tolist()
    return x.mean(dim=tuple(chosen) if chosen else tuple(range(x.ndim)), keepdim=bool(keepdims))


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None, **options: Any) -> Tensor:
    return x.clamp(low if low is not None else options.get("min"), high if high is not None else options.get("max"))


def _gather(x: Tensor, indices: Tensor, *, axis: int = 0) -> Tensor:
    picked = x.index_select(axis, indices.reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis:][1:])


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None) -> Tensor:
    chosen = range(len(starts)) if axes is None else axes.tolist()
    strides = [1] * len(starts) if steps is None else steps.tolist()
    for axis, start, end, stride in zip(chosen, starts.tolist(), ends.tolist(), strides, strict=True):
        picked = list(range(x.shape[axis]))[start : max(end, -x.shape[axis] - 1) if end < 0 else end : stride]
        x = x.index_select(axis, torch.tensor(picked, device=x.device))
    return x


def _pad(x: Tensor, pads: Tensor, value: Tensor | None = None, **_: Any) -> Tensor:
    return functional.pad(x, _pads(pads.tolist()), value=0.0 if value is None else float(value))


def _cast(x: Tensor, *, to: int, **_: Any) -> Tensor:
    return x.to(torch.from_numpy(np.empty(0, onnx.helper.tensor_dtype_to_np_dtype(to))).dtype)


def _squeeze(x: Tensor, axes: Tensor | None = None, **options: Any) -> Tensor:
    for axis in sorted(options.get("axes") if axes is None else axes.tolist(), reverse=True):
        x = x.squeeze(axis)
    return x


def _unsqueeze(x: Tensor, axes: Tensor | None = None, **options: Any) -> Tensor:
    for axis in sorted(options.get("axes") if axes is None else axes.tolist()):
        x = x.unsqueeze(axis)
    return x


OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "MatMul": torch.matmul, "Sqrt": torch.sqrt, "Exp": torch.exp,
    "Identity": lambda x: x, "Dropout": lambda x, *_, **__: x, "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh,
    "LeakyRelu": lambda x, alpha=0.01: functional.leaky_relu(x, alpha), "HardSigmoid": lambda x, alpha=0.2, beta=0.5: (alpha * x + beta).clamp(0, 1),
    "HardSwish": functional.hardswish, "PRelu": lambda x, slope: torch.where(x >= 0, x, x * slope), "Gelu": lambda x, **_: functional.gelu(x),
    "Conv": _conv, "MaxPool": _max_pool, "AveragePool": _average_pool, "BatchNormalization": _normalise, "Gemm": _gemm, "Reshape": _reshape,
    "GlobalAveragePool": lambda x: x.mean(dim=(2, 3), keepdim=True), "GlobalMaxPool": lambda x: x.amax(dim=(2, 3), keepdim=True),
    "ReduceMean": _mean, "ReduceSum": lambda x, axes=None, **options: _mean(x, axes, **options) * (x.numel() / _mean(x, axes, **options).numel()),
    "Flatten": lambda x, axis=1: x.reshape(int(np.prod(x.shape[:axis])), -1), "Transpose": lambda x, perm: x.permute(*perm),
    "Concat": lambda *parts, axis: torch.cat(parts, dim=axis), "Softmax": lambda x, axis=-1: x.softmax(dim=axis), "Clip": _clip, "Gather": _gather,
    "Pad": _pad, "Slice": _slice, "Cast": _cast, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
}  # fmt: skip
