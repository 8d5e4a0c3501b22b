"""An ONNX graph as it is written layer by layer, from weights in TensorFlow's layout. It knows convolutions and names, no files."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 8


class Graph:
    """Operators and weights of a graph, channels first; a tensor bears the name of the layer that makes it."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], name: str, *arrays: np.ndarray, **attributes: Any) -> str:
        """Add an operator whose further inputs are weights, and return the name of its output."""
        names = [f"{name}:{number}" for number in range(len(arrays))]
        self.weights += [numpy_helper.from_array(np.ascontiguousarray(array, np.float32), each) for each, array in zip(names, arrays, strict=True)]
        self.nodes.append(helper.make_node(kind, [*inputs, *names], [name], name=name, **attributes))
        return name

    def convolution(self, x: str, name: str, kernel: np.ndarray, bias: np.ndarray | None = None, **attributes: Any) -> str:
        """Add a convolution with a kernel (k, k, C, O)."""
        arrays = [kernel.transpose(3, 2, 0, 1), *([] if bias is None else [bias])]
        return self.add("Conv", [x], name, *arrays, kernel_shape=list(kernel.shape[:2]), **attributes)

    def depthwise(self, x: str, name: str, kernel: np.ndarray, bias: np.ndarray | None = None, **attributes: Any) -> str:
        """Add a depthwise convolution with a kernel (k, k, C, M)."""
        *sides, channels, multiplier = kernel.shape
        arrays = [kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, *sides), *([] if bias is None else [bias])]
        return self.add("Conv", [x], name, *arrays, group=channels, kernel_shape=sides, **attributes)

    def separable(self, x: str, name: str, kernels: tuple[np.ndarray, np.ndarray], bias: np.ndarray | None = None, **attributes: Any) -> str:
        """Add a depthwise convolution, to which the attributes belong, and a pointwise one behind it (Chollet, 2017, arXiv 1610.02357)."""
        return self.convolution(self.depthwise(x, f"{name}/depthwise", kernels[0], **attributes), name, kernels[1], bias)

    def model(self, given: str, shape: tuple[int, ...], out: str) -> onnx.ModelProto:
        """Return the checked model from the input (N, *shape) to the output `out`, whose shape is inferred."""
        inputs = [helper.make_tensor_value_info(given, TensorProto.FLOAT, ["N", *shape])]
        outputs = [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)]
        graph = helper.make_graph(self.nodes, "converted", inputs, outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        whole = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(whole)
        return whole
