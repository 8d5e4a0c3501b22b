"""Weights of an ONNX graph as float16, for half the bytes; what is compared keeps its bits. It needs no PyTorch."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ferlab.paths import InputError

SMALLEST = 256  # values: below that a tensor (a bias, a scale, a running variance) stays float32
LARGEST = float(np.finfo(np.float16).max)
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "ArgMax", "ArgMin")


def halve_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with its large float32 weights stored as float16, each followed by a Cast to float32.

    Nothing is computed in float16: the runtime folds the casts when it loads the file, so speed and memory are those of the float32 file.
    Each weight is rounded to 11 significant bits, but for those that are compared, as the thresholds of trees. The five-layer model of the control
    faces takes 4.88 MB instead of 9.75.

    Args:
        proto: A model whose initializers lie in the file itself; left unchanged.

    Raises:
        InputError: If a weight is beyond float16's range.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(proto)
    stored, exact = halved.graph.initializer, compared_tensors(halved.graph)
    large = [t for t in stored if t.data_type == TensorProto.FLOAT and np.prod(t.dims) >= SMALLEST and t.name not in exact]
    casts = [helper.make_node("Cast", [f"{t.name}.float16"], [t.name], name=f"{t.name}.float32", to=TensorProto.FLOAT) for t in large]
    for tensor in large:
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max() > LARGEST:
            raise InputError(f"tensor {tensor.name!r} holds {np.abs(values).max():.3g}, beyond float16's {LARGEST:.0f}; store the weights as float32")
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.float16"))
    nodes = [*casts, *halved.graph.node]
    del halved.graph.node[:]
    halved.graph.node.extend(nodes)
    return halved


def compared_tensors(graph: onnx.GraphProto) -> set[str]:
    """Return the tensors on which the outcome of a comparison depends: rounding them changes decisions, not only digits."""
    made = {name: node for node in graph.node for name in node.output}
    compared: set[str] = set()
    waiting = [name for node in graph.node if node.op_type in COMPARISONS for name in node.input]
    while waiting:
        name = waiting.pop()
        if name not in compared:
            compared.add(name)
            waiting += made[name].input if name in made else []
    return compared
