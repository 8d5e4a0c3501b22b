"""Checks of an untrusted ONNX file before it runs: bounded memory and time.

A graph of a few bytes can ask for terabytes (ConstantOfShape) or never end (Loop). Accepted are ONNX's own operators without a body, and tensors
whose size for one face is known by shape inference and bounded; files of `ferlab.deployment.export` satisfy both. The runtime opens the checked
bytes, after `ferlab.deployment.trial`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto

from ferlab.deployment.cards import MOST_BATCH, OURS
from ferlab.paths import InputError

MOST_VALUES = 1 << 28  # of all tensors between input and output for one face: VGG16 at 224 pixels has 31 million
MOST_PRODUCTS = 1 << 38  # of one face: VGG16 at 224 pixels has 15 thousand million, a tenth of a second
VALUES_AT_ONCE = 1 << 29  # of the faces of one call of the runtime: bounds memory
BODIES = (AttributeProto.GRAPH, AttributeProto.GRAPHS, AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS)


class Costs(NamedTuple):
    """Cost of a graph: values of all its tensors, and multiplications."""

    values: int
    products: int


def check_graph(content: bytes, *, where: str) -> int:
    """Check that a graph can be run in bounded time and memory, without running it.

    Args:
        content: The file's bytes.
        where: The file's name in errors.

    Returns:
        Faces per call of the runtime, 1 to `MOST_BATCH`.

    Raises:
        InputError: If it is no ONNX file, keeps weights in other files, has an operator with a body or of another domain, or tensors whose size
            is unknown or too large.
    """
    try:
        proto = onnx.load_model_from_string(content)
        if not proto.graph.node:
            raise InputError(f"{where}: not an ONNX file that the runtime can open (it holds no graph); {OURS}")
        _check_operators(proto, where)
        onnx.checker.check_model(proto)
        once = _costs(proto, faces=1, where=where)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - protobuf, the checker and shape inference each raise their own
        raise InputError(f"{where}: not an ONNX file that the runtime can open ({_first_words(error)})") from None
    if once.values > MOST_VALUES or once.products > MOST_PRODUCTS:
        found = f"one face takes {once.values:,} values and {once.products:,} products"
        raise InputError(f"{where}: {found}; expected at most {MOST_VALUES:,} and {MOST_PRODUCTS:,}. Do not use this model.")
    faces = max(1, min(MOST_BATCH, VALUES_AT_ONCE // max(once.values, 1)))
    if (together := _costs(proto, faces=faces, where=where).values) > VALUES_AT_ONCE:
        raise InputError(
            f"{where}: {faces} faces take {together:,} values, one {once.values:,}; expected at most as many each. Do not use this model."
        )
    return faces


def _check_operators(proto: onnx.ModelProto, where: str) -> None:
    graph = proto.graph
    if proto.functions or graph.sparse_initializer:
        raise InputError(f"{where}: its graph has functions or sparse weights of its own; {OURS}")
    if any(tensor.data_location == TensorProto.EXTERNAL or tensor.external_data for tensor in graph.initializer):
        raise InputError(f"{where}: its weights lie in another file; expected one file. Export it with `external_data=False`.")
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise InputError(f"{where}: operator {node.op_type[:40]!r} is of {node.domain[:40]!r}, not ONNX's own; {OURS}")
        if any(attribute.type in BODIES for attribute in node.attribute):
            raise InputError(f"{where}: operator {node.op_type[:40]!r} has a body, which may never end; {OURS}")
        if any(attribute.t.data_location == TensorProto.EXTERNAL for attribute in node.attribute):
            raise InputError(f"{where}: a constant lies in another file; expected one file. Export it with `external_data=False`.")


def _costs(proto: onnx.ModelProto, *, faces: int, where: str) -> Costs:
    """Return the cost of `faces` faces."""
    nodes, sizes = _infer_sizes(proto, faces)
    values = products = 0
    for node in nodes:
        for name in filter(None, node.output):
            if name not in sizes or min(sizes[name], default=0) < 0:
                raise InputError(f"{where}: the size of {name[:40]!r}, of operator {node.op_type[:40]!r}, is known only as it runs; {OURS}")
            values += prod(sizes[name])
        products += _products(node, sizes)
    return Costs(values, products)


def _infer_sizes(proto: onnx.ModelProto, faces: int) -> tuple[list[onnx.NodeProto], dict[str, list[int]]]:
    """Return the operators and every tensor's known size for `faces` faces, from the sizes of the inputs alone.

    Keep: not by `data_prop=True`, which computes with the tensors; 45 tensors of two values each filled 12 GB. Our exports need one part of it:
    `Shape` of a tensor of known size is a constant.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]
    for value in (*bare.graph.input, *bare.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = faces
    sizes = _known_sizes(bare)
    asking = [node for node in bare.graph.node if node.op_type == "Shape" and node.input[0] in sizes]
    for node in asking:
        ends = {attribute.name: attribute.i for attribute in node.attribute}
        dims = np.array(sizes[node.input[0]][ends.get("start", 0) : ends.get("end")], np.int64)
        bare.graph.initializer.append(onnx.numpy_helper.from_array(dims, node.output[0]))
        bare.graph.node.remove(node)
    return list(bare.graph.node), _known_sizes(bare) if asking else sizes


def _known_sizes(proto: onnx.ModelProto) -> dict[str, list[int]]:
    graph = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True).graph
    sizes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim if value.type.tensor_type.HasField("shape") else None
        if dims is not None and all(dim.HasField("dim_value") for dim in dims):
            sizes[value.name] = [dim.dim_value for dim in dims]
    return sizes


def _products(node: onnx.NodeProto, sizes: Mapping[str, list[int]]) -> int:
    """Return the multiplications of an operator, from the sizes of its inputs and outputs; one per value where it multiplies no matrices."""
    out = prod(sizes[node.output[0]])
    given = [sizes.get(name, [1]) for name in node.input]
    kernel = prod(next((attribute.ints for attribute in node.attribute if attribute.name == "kernel_shape"), ()))
    if "Conv" in node.op_type and len(given) > 1:  # weights (M, C, k, k): each output value, or input value if transposed, meets C k k of them
        return max(out, prod(given[0])) * prod(given[1][1:])
    if node.op_type in ("Gemm", "Einsum", "MatMul", "MatMulInteger", "QLinearMatMul", "Attention", "LSTM", "GRU", "RNN"):
        return out * max(max(size, default=1) for size in given)
    return out * kernel + sum(map(prod, given))


def _first_words(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
