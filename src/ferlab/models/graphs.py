"""An ONNX graph of an image network as a PyTorch module, to be explained (`ferlab.deployment.as_torch`) or trained (`ferlab.models.backbones`).

The graph is followed node by node with the operations that feed-forward image networks export to; one with another operation is refused by name.
Its weights are parameters: of convolutions, matrices, normalisations and slopes, and arrays that are added or multiplied. Other floating constants,
as the statistics of batch normalisation, which always uses the stored ones, are buffers; whole numbers are options of their operations.

References:
    github.com/onnx/onnx, docs/Operators.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from ferlab.paths import InputError

MAPS = ("Conv", "ConvTranspose", "Relu", "PRelu", "BatchNormalization", "LeakyRelu", "Clip", "Add", "HardSwish", "Mul", "Sigmoid")
ARITHMETIC = ("Add", "Sub", "Mul", "Div")  # a single value there is an epsilon or a scale, not a weight
WEIGHTS = {  # operation -> which of its inputs are weights, where they are constants
    "Conv": (1, 2), "Gemm": (1, 2), "MatMul": (0, 1), "BatchNormalization": (1, 2), "PRelu": (1,),
    **dict.fromkeys(ARITHMETIC, (0, 1)),
}  # fmt: skip


class Graph(nn.Module):
    """A graph from `faces`, float32 (N, C, H, W), to its output without a softmax, or to another of its values.

    Attributes:
        target_layer: Name of the step whose output is the last feature map; None without convolutions.
        maps: The last feature map passes through it, whatever its step.
    """

    def __init__(self, graph: onnx.GraphProto, *, value: str = "") -> None:
        super().__init__()
        nodes, constants = _folded(graph)
        made = {name: node for node in nodes for name in node.output if name}
        self.entry = next((given.name for given in graph.input if given.name not in constants), "")  # old files list weights as inputs too
        self.exit = value or graph.output[0].name
        if self.exit not in made:
            raise InputError(f"features: the graph has no value {self.exit!r}; its last are {', '.join(list(made)[-5:])}")
        if not value and made[self.exit].op_type == "Softmax":
            self.exit = made[self.exit].input[0]
        nodes = _needed(nodes, made, self.exit)
        self.steps = nn.ModuleDict({f"n{place}": Step(node) for place, node in enumerate(nodes)})
        self.target_layer, self.maps = _last_map(nodes), nn.Identity()
        last = {name: step for step in self.steps.values() for name in step.inputs}
        for name, step in last.items():
            if name in made and name != self.exit:
                step.spent.append(name)
        self.names = self._keep(constants, nodes)
        self.fixed = {name: array for name, array in constants.items() if name in last and name not in self.names}

    def _keep(self, constants: Mapping[str, np.ndarray], nodes: Sequence[onnx.NodeProto]) -> dict[str, str]:
        """Register the floating constants as parameters or buffers; return name in the graph -> name here."""
        weights = {node.input[i] for node in nodes for i in WEIGHTS.get(node.op_type, ()) if i < len(node.input) and _is_weight(node, i, constants)}
        tensors = {name for node in nodes for name in node.input if node.op_type != "Pad"}
        names = {}
        for place, (name, array) in enumerate(constants.items()):
            if name in tensors and np.issubdtype(array.dtype, np.floating):
                names[name] = f"c{place}_{re.sub(r'[^0-9A-Za-z]+', '_', name)}"  # the place makes it unique
                tensor = torch.tensor(array)
                if name in weights:
                    self.register_parameter(names[name], nn.Parameter(tensor))
                else:
                    self.register_buffer(names[name], tensor)
        return names

    def forward(self, faces: Tensor) -> Tensor:
        """Return the value that the graph ends at."""
        values: dict[str, Any] = {**self.fixed, **{name: getattr(self, here) for name, here in self.names.items()}, self.entry: faces, "": None}
        for name, step in self.steps.items():
            found = step(*(values[given] for given in step.inputs))
            values[step.output] = self.maps(found) if self.target_layer == f"steps.{name}" else found
            for spent in step.spent:
                del values[spent]
        return values[self.exit]


class Step(nn.Module):
    """One node of a graph.

    Attributes:
        kind: Its operation.
        spent: Values that no later step needs.
    """

    def __init__(self, node: onnx.NodeProto) -> None:
        super().__init__()
        if node.op_type not in OPERATIONS:
            raise InputError(f"the graph has the operation {node.op_type}, which is not followed")
        self.kind, self.inputs, self.output, self.spent = node.op_type, list(node.input), node.output[0], []
        # Keep: a ReLU that is a module, so that guided backpropagation finds it
        self.operation = nn.ReLU() if node.op_type == "Relu" else OPERATIONS[node.op_type]
        self.options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}

    def forward(self, *given: Tensor) -> Tensor:
        """Return the node's first output."""
        return self.operation(*given, **self.options)


def _folded(graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Return the nodes that compute something, and the constants by name: weights, constant nodes, and casts of both."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        if node.op_type == "Constant":
            ((kind, held),) = options.items()
            constants[node.output[0]] = numpy_helper.to_array(held) if kind == "value" else np.asarray(held)
        elif node.op_type == "Cast" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]].astype(onnx.helper.tensor_dtype_to_np_dtype(options["to"]))
        else:
            nodes.append(node)
    return nodes, constants


def _needed(nodes: Sequence[onnx.NodeProto], made: Mapping[str, onnx.NodeProto], value: str) -> list[onnx.NodeProto]:
    """Return the nodes that a value depends on, in their order."""
    wanted, waiting = set(), [value]
    while waiting:
        name = waiting.pop()
        if name in made and name not in wanted:
            wanted.add(name)
            waiting += made[name].input
    return [node for node in nodes if wanted & set(node.output)]


def _is_weight(node: onnx.NodeProto, place: int, constants: Mapping[str, np.ndarray]) -> bool:
    held = constants.get(node.input[place])
    return held is not None and (held.size > 1 or node.op_type not in ARITHMETIC)


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


def _reshape(x: Tensor, shape: np.ndarray, *, allowzero: int = 0) -> Tensor:
    sides = [x.shape[place] if side == 0 and not allowzero else side for place, side in enumerate(shape.tolist())]
    return x.reshape(sides)


def _normalise(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float = 1e-5, **_: Any) -> Tensor:
    return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)


def _mean(x: Tensor, axes: np.ndarray | None = None, *, keepdims: int = 1, **options: Any) -> Tensor:
    chosen = options.get("axes") if axes is None else axes.tolist()
    return x.mean(dim=tuple(chosen) if chosen else tuple(range(x.ndim)), keepdim=bool(keepdims))


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None, **options: Any) -> Tensor:
    return x.clamp(low if low is not None else options.get("min"), high if high is not None else options.get("max"))


def _gather(x: Tensor, indices: np.ndarray, *, axis: int = 0) -> Tensor:
    picked = x.index_select(axis, torch.tensor(indices, device=x.device).reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis:][1:])


def _slice(x: Tensor, starts: np.ndarray, ends: np.ndarray, axes: np.ndarray | None = None, steps: np.ndarray | None = None) -> Tensor:
    chosen = range(len(starts)) if axes is None else axes.tolist()
    strides = [1] * len(starts) if steps is None else steps.tolist()
    for axis, start, end, stride in zip(chosen, starts.tolist(), ends.tolist(), strides, strict=True):
        picked = list(range(x.shape[axis]))[start : max(end, -x.shape[axis] - 1) if end < 0 else end : stride]
        x = x.index_select(axis, torch.tensor(picked, device=x.device))
    return x


def _pad(x: Tensor, pads: np.ndarray, value: np.ndarray | None = None, **_: Any) -> Tensor:
    return functional.pad(x, _pads(pads.tolist()), value=0.0 if value is None else float(value))


def _cast(x: Tensor, *, to: int, **_: Any) -> Tensor:
    return x.to(torch.from_numpy(np.empty(0, onnx.helper.tensor_dtype_to_np_dtype(to))).dtype)


def _squeeze(x: Tensor, axes: np.ndarray | None = None, **options: Any) -> Tensor:
    for axis in sorted(options.get("axes") if axes is None else axes.tolist(), reverse=True):
        x = x.squeeze(axis)
    return x


def _unsqueeze(x: Tensor, axes: np.ndarray | None = None, **options: Any) -> Tensor:
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
    "Flatten": lambda x, axis=1: x.reshape(math.prod(x.shape[:axis]), -1), "Transpose": lambda x, perm: x.permute(*perm),
    "Concat": lambda *parts, axis: torch.cat(parts, dim=axis), "Softmax": lambda x, axis=-1: x.softmax(dim=axis), "Clip": _clip, "Gather": _gather,
    "Pad": _pad, "Slice": _slice, "Cast": _cast, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
}  # fmt: skip
