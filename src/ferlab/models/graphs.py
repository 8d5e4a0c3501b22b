"""An ONNX graph of an image network as a PyTorch module, to be explained (`ferlab.deployment.as_torch`) or trained (`ferlab.models.backbones`).

The graph is followed node by node with the operations that feed-forward image networks export to, as onnxruntime computes them; one with another
operation, or another attribute of one, is refused by name.
Its weights are parameters: of convolutions, matrices, normalisations and slopes, and arrays that are added or multiplied. Other floating constants,
as the statistics of batch normalisation, which always uses the stored ones, are buffers; whole numbers are options of their operations.

References:
    github.com/onnx/onnx, docs/Operators.md.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
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
OWN, ANY = ("", "ai.onnx"), "any"  # domains of ONNX's own operations
ONLY: dict[str, dict[str, Any]] = {  # operation -> attributes without effect on its first output, at this value or ANY
    "AveragePool": {"dilations": [1, 1]}, "BatchNormalization": {"momentum": ANY, "spatial": 1, "training_mode": 0},
    "Cast": {"round_mode": ANY, "saturate": ANY}, "Conv": {"kernel_shape": ANY}, "Dropout": {"ratio": ANY, "seed": ANY},
    "MaxPool": {"storage_order": ANY}, "Pad": {"mode": b"constant"},
}  # fmt: skip


class Graph(nn.Module):
    """A graph from `faces`, float32 (N, C, H, W), to its output without a softmax, or to another of its values.

    Attributes:
        target_layer: Name of the step whose output is the last feature map; None without convolutions.
        maps: The last feature map passes through it, whatever its step.
    """

    def __init__(self, proto: onnx.ModelProto, *, value: str = "") -> None:
        super().__init__()
        graph = proto.graph
        opset = next((given.version for given in proto.opset_import if given.domain in OWN), 1)
        nodes, constants = _folded(graph)
        made = {node.output[0]: node for node in nodes}  # further outputs, as a pool's indices, are not followed
        self.entry = next((given.name for given in graph.input if given.name not in constants), "")  # old files list weights as inputs too
        self.exit = value or graph.output[0].name
        if self.exit not in made:
            raise InputError(f"features: the graph has no value {self.exit!r}; its last are {', '.join(list(made)[-5:])}")
        if not value and made[self.exit].op_type == "Softmax":
            self.exit = made[self.exit].input[0]
        nodes = _needed(nodes, made, self.exit)
        self.steps = nn.ModuleDict({f"n{place}": Step(node, opset=opset) for place, node in enumerate(nodes)})
        known = {self.entry, "", *constants, *made}
        if unknown := [name for node in nodes for name in node.input if name not in known]:
            raise InputError(f"the graph needs {unknown[0]!r}, which is no operation's first output, so it is not followed")
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

    def __init__(self, node: onnx.NodeProto, *, opset: int) -> None:
        super().__init__()
        if node.op_type not in OPERATIONS or node.domain not in OWN:
            of = "" if node.domain in OWN else f" of {node.domain}"
            raise InputError(f"the graph has the operation {node.op_type}{of}, which is not followed")
        self.kind, self.inputs, self.output, self.spent = node.op_type, list(node.input), node.output[0], []
        operation = (OPERATIONS | BEFORE_13 if opset < 13 else OPERATIONS)[node.op_type]
        self.options = _options(node, operation)
        # Keep: a ReLU that is a module, so that guided backpropagation finds it
        self.operation = nn.ReLU() if node.op_type == "Relu" else operation

    def forward(self, *given: Tensor) -> Tensor:
        """Return the node's first output."""
        return self.operation(*given, **self.options)


def _options(node: onnx.NodeProto, operation: Callable[..., Any]) -> dict[str, Any]:
    """Return the attributes of a node that its operation here takes; without effect are those of ONLY."""
    takes = inspect.signature(operation).parameters if isinstance(operation, FunctionType) else ()  # PyTorch's own take none of ONNX's
    options, only = {}, ONLY.get(node.op_type, {})
    for attribute in node.attribute:
        name, held = attribute.name, onnx.helper.get_attribute_value(attribute)
        if name in takes:
            options[name] = held
        elif name not in only or only[name] not in (ANY, held):
            shown = held.decode() if isinstance(held, bytes) else held
            raise InputError(f"the graph has the operation {node.op_type} with {name}: {str(shown)[:60]}, which is not followed")
    return options


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
    dilations: Sequence[int] = (1, 1), group: int = 1, auto_pad: bytes = b"NOTSET",
) -> Tensor:  # fmt: skip
    x = _padded(x, weight.shape[2:], pads=pads, strides=strides, auto_pad=auto_pad)
    return functional.conv2d(x, weight, bias, stride=tuple(strides), dilation=tuple(dilations), groups=group)


def _within(pooled: Tensor, x: Tensor, *, strides: Sequence[int], pads: Sequence[int]) -> Tensor:
    """Drop the windows that begin behind the last row or column of `x`, in its padding, where `ceil_mode` lets PyTorch begin some."""
    rows, columns = (-(-(side + before) // stride) for side, before, stride in zip(x.shape[2:], pads, strides))
    return pooled[:, :, :rows, :columns]


def _max_pool(
    x: Tensor, *, kernel_shape: Sequence[int], strides: Sequence[int] = (1, 1), pads: Sequence[int] = (0,) * 4, dilations: Sequence[int] = (1, 1),
    ceil_mode: int = 0, auto_pad: bytes = b"NOTSET",
) -> Tensor:  # fmt: skip
    padded = _padded(x, kernel_shape, pads=pads, strides=strides, auto_pad=auto_pad, value=-torch.inf)
    how = {"stride": tuple(strides), "dilation": tuple(dilations), "ceil_mode": bool(ceil_mode)}
    return _within(functional.max_pool2d(padded, tuple(kernel_shape), **how), x, strides=strides, pads=pads)


def _average_pool(
    x: Tensor, *, kernel_shape: Sequence[int], strides: Sequence[int] = (1, 1), pads: Sequence[int] = (0,) * 4, ceil_mode: int = 0,
    count_include_pad: int = 0, auto_pad: bytes = b"NOTSET",
) -> Tensor:  # fmt: skip
    pool = {"kernel_size": tuple(kernel_shape), "stride": tuple(strides), "ceil_mode": bool(ceil_mode)}
    padded = _padded(x, kernel_shape, pads=pads, strides=strides, auto_pad=auto_pad)
    pooled = functional.avg_pool2d(padded, **pool)
    if not count_include_pad and padded is not x:
        inside = _padded(torch.ones_like(x[:1, :1]), kernel_shape, pads=pads, strides=strides, auto_pad=auto_pad)
        pooled = pooled / functional.avg_pool2d(inside, **pool)
    return _within(pooled, x, strides=strides, pads=pads)


def _gemm(a: Tensor, b: Tensor, c: Tensor | None = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0, transB: int = 0) -> Tensor:
    product = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    return product if c is None else product + beta * c


def _reshape(x: Tensor, shape: np.ndarray, *, allowzero: int = 0) -> Tensor:
    sides = [x.shape[place] if side == 0 and not allowzero else side for place, side in enumerate(shape.tolist())]
    return x.reshape(sides)


def _normalise(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)


def _listed(given: np.ndarray | Sequence[int] | None) -> list[int]:
    return [] if given is None else np.ravel(given).tolist()  # constants, or in old files attributes


def _mean(x: Tensor, axes: np.ndarray | Sequence[int] | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    if noop_with_empty_axes and not _listed(axes):
        return x
    return x.mean(dim=_listed(axes) or tuple(range(x.ndim)), keepdim=bool(keepdims))


def _sum(x: Tensor, axes: np.ndarray | Sequence[int] | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Tensor:
    mean = _mean(x, axes, keepdims=keepdims, noop_with_empty_axes=noop_with_empty_axes)
    return mean * (x.numel() / mean.numel())


def _dropout(x: Tensor, _: Any = None, training: np.ndarray | None = None) -> Tensor:
    if training is not None and training.item():
        raise InputError("the graph has the operation Dropout in training mode, which is not followed")
    return x


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None, *, min: float | None = None, max: float | None = None) -> Tensor:
    return x.clamp(min if low is None else low, max if high is None else high)


def _gather(x: Tensor, indices: np.ndarray, *, axis: int = 0) -> Tensor:
    picked = x.index_select(axis, torch.tensor(indices % x.shape[axis], device=x.device).reshape(-1))
    return picked.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis:][1:])


def _slice(x: Tensor, starts: np.ndarray, ends: np.ndarray, axes: np.ndarray | None = None, steps: np.ndarray | None = None) -> Tensor:
    chosen, strides = _listed(axes) or range(len(starts)), _listed(steps) or [1] * len(starts)
    for axis, start, end, stride in zip(chosen, _listed(starts), _listed(ends), strides, strict=True):
        picked = list(range(x.shape[axis]))[start : max(end, -x.shape[axis] - 1) if end < 0 else end : stride]
        x = x.index_select(axis, torch.tensor(picked, device=x.device))
    return x


def _pad(x: Tensor, pads: np.ndarray | Sequence[int], value: np.ndarray | float | None = None, axes: np.ndarray | None = None) -> Tensor:
    if axes is not None:
        raise InputError("the graph has the operation Pad with axes, which is not followed")
    return functional.pad(x, _pads(_listed(pads)), value=0.0 if value is None else float(value))


def _cast(x: Tensor, *, to: int) -> Tensor:
    return x.to(torch.from_numpy(np.empty(0, onnx.helper.tensor_dtype_to_np_dtype(to))).dtype)


def _squeeze(x: Tensor, axes: np.ndarray | Sequence[int] | None = None) -> Tensor:
    return x.squeeze() if axes is None else x.squeeze(_listed(axes))


def _unsqueeze(x: Tensor, axes: np.ndarray | Sequence[int]) -> Tensor:
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in _listed(axes)):  # negative ones count from the end of the output
        x = x.unsqueeze(axis)
    return x


OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "MatMul": torch.matmul, "Sqrt": torch.sqrt, "Exp": torch.exp,
    "Identity": lambda x: x, "Dropout": _dropout, "Relu": torch.relu, "Sigmoid": torch.sigmoid, "Tanh": torch.tanh,
    "LeakyRelu": lambda x, alpha=0.01: functional.leaky_relu(x, alpha), "HardSigmoid": lambda x, alpha=0.2, beta=0.5: (alpha * x + beta).clamp(0, 1),
    "HardSwish": functional.hardswish, "PRelu": lambda x, slope: torch.where(x >= 0, x, x * slope),
    "Gelu": lambda x, approximate=b"none": functional.gelu(x, approximate=approximate.decode()),
    "Conv": _conv, "MaxPool": _max_pool, "AveragePool": _average_pool, "BatchNormalization": _normalise, "Gemm": _gemm, "Reshape": _reshape,
    "GlobalAveragePool": lambda x: x.mean(dim=(2, 3), keepdim=True), "GlobalMaxPool": lambda x: x.amax(dim=(2, 3), keepdim=True),
    "ReduceMean": _mean, "ReduceSum": _sum, "Flatten": lambda x, axis=1: x.reshape(math.prod(x.shape[:axis]), -1),
    "Transpose": lambda x, perm=(): x.permute(*(perm or reversed(range(x.ndim)))),
    "Concat": lambda *parts, axis: torch.cat(parts, dim=axis), "Softmax": lambda x, axis=-1: x.softmax(dim=axis), "Clip": _clip, "Gather": _gather,
    "Pad": _pad, "Slice": _slice, "Cast": _cast, "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
}  # fmt: skip
BEFORE_13: dict[str, Callable[..., Any]] = {"Softmax": lambda x, axis=1: x.flatten(axis).softmax(dim=-1).reshape(x.shape)}  # by operator set
