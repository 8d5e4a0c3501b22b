"""Grad-CAM inside an ONNX graph: what follows the last convolution is differentiated into nodes of the graph itself, so that any runtime computes the
map beside the probabilities. It needs no PyTorch.

    map = relu(sum over c of w_c A_c),  w_c = mean over space of d logit / d A_c,  A the activation of the last convolution

as `ferlab.explanation.layer_maps.grad_cam`, with which a test compares it. Where a global mean and one linear layer follow, w_c is that layer's
weight over the number of places.

References:
    Selvaraju et al. (2017), Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization, arXiv 1610.02391.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

MAP = "grad_cam"  # the output's name
PASSED = ("Identity", "Dropout")  # change nothing where nothing is trained


def with_grad_cam(proto: onnx.ModelProto) -> onnx.ModelProto | None:
    """Return the graph with a second output: Grad-CAM of the first face's predicted class, float32 (h, w) >= 0, as large as the last feature map.

    Args:
        proto: Ends in a softmax of logits (N, K). Its weights may be stored as float16 (`halve_weights`), but not afterwards: the class is found
            by a comparison. Left unchanged.

    Returns:
        None where the last convolution is followed by what is not differentiated here: pools that overlap or pad, sums, concatenations, anything but
        ReLU, batch normalisation, max pools, a global mean, flattening and linear layers.
    """
    graph = onnx.ModelProto()
    graph.CopyFrom(proto)
    tail = _tail(graph.graph)
    if tail is None:
        return None
    tape = _Tape(graph.graph)
    activation, after, logits = tail
    classes = helper.make_tensor_value_info(MAP, TensorProto.FLOAT, ["h", "w"])
    best = tape.add("ArgMax", [tape.first(logits)], axis=1, keepdims=0)
    gradient = tape.add("OneHot", [best, tape.constant(np.array([_classes(graph.graph)])), tape.constant(np.array([0, 1], np.float32))])
    for node in reversed(after):
        rule = RULES.get(node.op_type)
        found = rule(tape, node, gradient) if rule else gradient if node.op_type in PASSED else None
        if found is None:
            return None
        gradient = found
    weights = tape.add("ReduceMean", [gradient, tape.constant(np.array([2, 3]))], keepdims=1)
    summed = tape.add("ReduceSum", [tape.add("Mul", [weights, tape.first(activation)]), tape.constant(np.array([0, 1]))], keepdims=0)
    tape.add("Relu", [summed], name=MAP)
    graph.graph.output.append(classes)
    return graph


class _Tape:
    """Nodes and constants that are appended to a graph, each under a name of its own."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph, self._count = graph, 0
        self._firsts: dict[str, str] = {}

    def add(self, kind: str, inputs: Sequence[str], *, outputs: int = 1, name: str = "", **attributes: Any) -> str:
        """Append a node; return the name of its last output."""
        names = [name] if name else [self._name() for _ in range(outputs)]
        self.graph.node.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[-1]

    def constant(self, values: np.ndarray) -> str:
        """Store an array; return its name."""
        name = self._name()
        self.graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def values(self, name: str) -> list[int]:
        """Return what a constant of the graph holds; nothing where it is none."""
        return next((numpy_helper.to_array(tensor).tolist() for tensor in self.graph.initializer if tensor.name == name), [])

    def first(self, tensor: str) -> str:
        """Return the name of a tensor's first face."""
        if tensor not in self._firsts:
            bounds = [self.constant(np.array([value])) for value in (0, 1, 0)]
            self._firsts[tensor] = self.add("Slice", [tensor, *bounds])
        return self._firsts[tensor]

    def shape(self, tensor: str) -> str:
        """Return the name of the shape of a tensor's first face."""
        return self.add("Shape", [self.first(tensor)])

    def _name(self) -> str:
        self._count += 1
        return f"{MAP}.{self._count}"


def _tail(graph: onnx.GraphProto) -> tuple[str, list[NodeProto], str] | None:
    """Return the activation of the last convolution, the nodes between it and the logits, and the logits; None where they are no single chain."""
    chain: list[NodeProto] = []
    makers, tensor = {name: node for node in graph.node for name in node.output}, graph.output[0].name
    while (node := makers.get(tensor)) is not None and node.op_type != "Conv":
        chain.insert(0, node)
        tensor = node.input[0]
    if node is None or len(chain) < 2 or chain[-1].op_type != "Softmax":
        return None
    if chain[0].op_type == "Relu":
        tensor = chain.pop(0).output[0]
    return tensor, chain[:-1], chain[-1].input[0]


def _classes(graph: onnx.GraphProto) -> int:
    return graph.output[0].type.tensor_type.shape.dim[1].dim_value


def _of_relu(tape: _Tape, node: NodeProto, gradient: str) -> str:
    return tape.add("Mul", [gradient, tape.add("Sign", [tape.first(node.output[0])])])


def _of_linear(tape: _Tape, node: NodeProto, gradient: str) -> str | None:
    given = _attributes(node)
    if given.get("transA", 0) or given.get("alpha", 1.0) != 1.0:
        return None
    weight = node.input[1]  # (K, C) where transposed
    return tape.add("MatMul", [gradient, weight if given.get("transB", 0) else tape.add("Transpose", [weight], perm=[1, 0])])


def _of_reshape(tape: _Tape, node: NodeProto, gradient: str) -> str:
    return tape.add("Reshape", [gradient, tape.shape(node.input[0])])


def _of_mean(tape: _Tape, node: NodeProto, gradient: str) -> str | None:
    """A mean over space: each place has the same part of the gradient."""
    axes = tape.values(node.input[1]) if len(node.input) > 1 else _attributes(node).get("axes", (2, 3))
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        return None
    shape = tape.shape(node.input[0])
    channels = tape.add("Reshape", [gradient, tape.constant(np.array([1, -1, 1, 1]))])
    places = tape.add("Cast", [tape.add("ReduceProd", [tape.add("Slice", [shape, *map(tape.constant, map(np.atleast_1d, (2, 4)))])], keepdims=0)],
                      to=TensorProto.FLOAT)  # fmt: skip
    return tape.add("Div", [tape.add("Expand", [channels, shape]), places])


def _of_norm(tape: _Tape, node: NodeProto, gradient: str) -> str:
    scale, variance = node.input[1], node.input[4]
    epsilon = tape.constant(np.array([_attributes(node).get("epsilon", 1e-5)], np.float32))
    factor = tape.add("Div", [scale, tape.add("Sqrt", [tape.add("Add", [variance, epsilon])])])
    return tape.add("Mul", [gradient, tape.add("Reshape", [factor, tape.constant(np.array([1, -1, 1, 1]))])])


def _of_pool(tape: _Tape, node: NodeProto, gradient: str) -> str | None:
    """A max pool whose windows do not overlap: the gradient goes to where each maximum was."""
    given = _attributes(node)
    if list(given["kernel_shape"]) != list(given.get("strides", ())) or any(given.get("pads", ())) or given.get("ceil_mode", 0):
        return None
    how = {"kernel_shape": given["kernel_shape"], "strides": given["strides"]}
    places = tape.add("MaxPool", [tape.first(node.input[0])], outputs=2, **how)
    return tape.add("MaxUnpool", [gradient, places, tape.shape(node.input[0])], **how)


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


RULES: dict[str, Callable[[_Tape, NodeProto, str], str | None]] = {
    "Relu": _of_relu,
    "Gemm": _of_linear,
    "MatMul": _of_linear,
    "Reshape": _of_reshape,
    "Flatten": _of_reshape,
    "ReduceMean": _of_mean,
    "GlobalAveragePool": _of_mean,
    "BatchNormalization": _of_norm,
    "MaxPool": _of_pool,
}
