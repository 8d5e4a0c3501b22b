from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from ferlab.models.graphs import Graph
from ferlab.paths import InputError


def graph_of(*nodes: onnx.NodeProto, constants: dict[str, np.ndarray] | None = None, shape: tuple[int, ...] | None = None) -> onnx.GraphProto:
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name, sides in (("faces", shape), (nodes[-1].output[0], None))]
    return helper.make_graph(list(nodes), "g", ends[:1], ends[1:], tensors)


POOLS = [
    helper.make_node("AveragePool", ["faces"], ["y"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    helper.make_node("AveragePool", ["faces"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    helper.make_node("MaxPool", ["faces"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    helper.make_node("MaxPool", ["faces"], ["y"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    helper.make_node("Flatten", ["faces"], ["y"], axis=2),
    helper.make_node("ReduceSum", ["faces", "axes"], ["y"], keepdims=0),
    helper.make_node("Gather", ["faces", "axes"], ["y"], axis=1),
    helper.make_node("HardSigmoid", ["faces"], ["y"]),
    helper.make_node("Slice", ["faces", "low", "high", "axes", "steps"], ["y"]),
    helper.make_node("Slice", ["faces", "low", "high"], ["y"]),
    helper.make_node("Pad", ["faces", "pads"], ["y"]),
    helper.make_node("Pad", ["faces", "pads", "one"], ["y"]),
    helper.make_node("PRelu", ["faces", "slope"], ["y"]),
    helper.make_node("Clip", ["faces", "", "one"], ["y"]),
]


@pytest.mark.parametrize("node", POOLS, ids=lambda node: f"{node.op_type}-{len(node.attribute)}-{len(node.input)}")
def test_operations_agree_with_the_runtime(node):
    faces = np.random.default_rng(0).normal(size=(2, 3, 7, 5)).astype(np.float32)
    constants = {"low": np.array([0, -6]), "high": np.array([2, 1 << 40]), "steps": np.array([1, 2])}
    constants |= {"axes": np.array([1, 2]), "pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])}
    constants |= {"one": np.array(0.7, np.float32), "slope": np.array([[[0.1]], [[-0.5]], [[2.0]]], np.float32)}
    graph = graph_of(node, constants={name: value for name, value in constants.items() if name in node.input}, shape=faces.shape)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    expected = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"faces": faces})[0]
    np.testing.assert_allclose(Graph(graph)(torch.from_numpy(faces)).detach().numpy(), expected, atol=1e-5)


def test_an_operation_that_is_not_followed_is_named() -> None:
    with pytest.raises(InputError, match="the graph has the operation LSTM, which is not followed"):
        Graph(graph_of(helper.make_node("LSTM", ["faces"], ["y"])))


def test_weights_are_parameters_statistics_buffers_and_the_rest_options() -> None:
    """Weights stored as float16 or in constant nodes count too; an epsilon and what the value does not need do not."""
    rng = np.random.default_rng(0)
    constants = {name: rng.uniform(0.5, 1.5, 3).astype(np.float32) for name in ("a.scale", "a.shift", "a.mean", "a.var", "unused")}
    constants |= {"w.half": rng.normal(size=(3, 3, 1, 1)).astype(np.float16), "eps": np.array([1e-3], np.float32), "shape": np.array([0, -1])}
    nodes = [
        helper.make_node("Cast", ["w.half"], ["w"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["faces", "w"], ["c"]),
        helper.make_node("BatchNormalization", ["c", "a.scale", "a.shift", "a.mean", "a.var"], ["b"]),
        helper.make_node("Constant", [], ["shift"], value=onnx.numpy_helper.from_array(rng.normal(size=(3, 1, 1)).astype(np.float32))),
        helper.make_node("Add", ["b", "shift"], ["s"]),
        helper.make_node("Add", ["s", "eps"], ["t"]),
        helper.make_node("Add", ["faces", "unused"], ["elsewhere"]),
        helper.make_node("Reshape", ["t", "shape"], ["r"]),
        helper.make_node("Softmax", ["r"], ["y"]),
    ]
    graph = graph_of(*nodes, constants=constants, shape=(2, 3, 4, 3))
    net = Graph(graph)
    parameters, buffers = (dict(named) for named in (net.named_parameters(), net.named_buffers()))
    assert list(parameters) == ["c0_a_scale", "c1_a_shift", "c8_w", "c9_shift"]
    assert list(buffers) == ["c2_a_mean", "c3_a_var", "c6_eps"]
    faces = rng.normal(size=(2, 3, 4, 3)).astype(np.float32)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    expected = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"faces": faces})[0]
    np.testing.assert_allclose(net(torch.from_numpy(faces)).softmax(-1).detach().numpy(), expected, atol=1e-5)


def test_weights_that_old_files_list_as_inputs_are_no_faces() -> None:
    graph = graph_of(helper.make_node("PRelu", ["faces", "slope"], ["y"]), constants={"slope": np.array([0.5], np.float32)})
    graph.input.insert(0, helper.make_tensor_value_info("slope", TensorProto.FLOAT, [1]))
    assert Graph(graph).entry == "faces"
    assert Graph(graph)(torch.tensor([[-2.0, 3.0]])).tolist() == [[-1.0, 3.0]]
