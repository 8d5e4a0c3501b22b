from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from ferlab.models.graphs import Graph
from ferlab.paths import InputError


def model_of(
    *nodes: onnx.NodeProto, constants: dict[str, np.ndarray] | None = None, shape: tuple[int, ...] | None = None, opset: int = 18
) -> onnx.ModelProto:
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name, sides in (("faces", shape), (nodes[-1].output[0], None))]
    graph = helper.make_graph(list(nodes), "g", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def by_runtime(proto: onnx.ModelProto, faces: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"faces": faces})[0]


def assert_agrees(proto: onnx.ModelProto, faces: np.ndarray) -> None:
    found = Graph(proto)(torch.from_numpy(faces)).detach().numpy()
    np.testing.assert_allclose(found, by_runtime(proto, faces), atol=1e-5)


FACES = np.random.default_rng(0).normal(size=(2, 3, 7, 5)).astype(np.float32)
CONSTANTS = {
    "low": np.array([0, -6]), "high": np.array([2, 1 << 40]), "steps": np.array([1, 2]), "axes": np.array([1, 2]), "last": np.array([-1, -2]),
    "none": np.array([], np.int64), "pads": np.array([0, 0, 1, 2, 0, 0, 3, 0]), "one": np.array(0.7, np.float32), "off": np.array(False),
    "slope": np.array([[[0.1]], [[-0.5]], [[2.0]]], np.float32), "kernel": np.ones((2, 3, 2, 2), np.float32),
}  # fmt: skip
OPERATIONS = [
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
    helper.make_node("Pad", ["faces", "pads"], ["y"], mode="constant"),
    helper.make_node("MaxPool", ["faces"], ["y"], kernel_shape=[2, 3], dilations=[2, 1]),
    helper.make_node("Gelu", ["faces"], ["y"], approximate="tanh"),
    helper.make_node("Gelu", ["faces"], ["y"], approximate="none"),
    helper.make_node("ReduceMean", ["faces", "none"], ["y"], noop_with_empty_axes=1),
    helper.make_node("ReduceSum", ["faces", "none"], ["y"]),
    helper.make_node("Unsqueeze", ["faces", "last"], ["y"]),
    helper.make_node("Transpose", ["faces"], ["y"]),
    helper.make_node("Gather", ["faces", "last"], ["y"], axis=1),
    helper.make_node("Dropout", ["faces", "one", "off"], ["y"], seed=3),
    helper.make_node("Conv", ["faces", "kernel"], ["y"], kernel_shape=[2, 2], dilations=[2, 1], pads=[1, 0, 0, 1]),
]


OLD = [  # attributes that later operator sets have as inputs
    helper.make_node("ReduceMean", ["faces"], ["y"], axes=[-1, 2], keepdims=0),
    helper.make_node("Squeeze", ["one_row"], ["y"], axes=[2]),
    helper.make_node("Unsqueeze", ["faces"], ["y"], axes=[0, 3]),
    helper.make_node("Slice", ["faces"], ["y"], starts=[1], ends=[3], axes=[2]),
    helper.make_node("Pad", ["faces"], ["y"], pads=[0, 0, 1, 2, 0, 0, 3, 0], value=0.5),
    helper.make_node("Clip", ["faces"], ["y"], min=-0.1, max=0.2),
]


def shown(node: onnx.NodeProto) -> str:
    return "-".join([node.op_type, *(f"{each.name}={helper.get_attribute_value(each)}" for each in node.attribute), *node.input[1:]])


@pytest.mark.parametrize("node", OPERATIONS, ids=shown)
def test_operations_agree_with_the_runtime(node: onnx.NodeProto) -> None:
    constants = {name: value for name, value in CONSTANTS.items() if name in node.input}
    assert_agrees(model_of(node, constants=constants, shape=FACES.shape, opset=20), FACES)


@pytest.mark.parametrize("node", OLD, ids=shown)
def test_operations_of_old_files_agree_with_the_runtime(node: onnx.NodeProto) -> None:
    row = helper.make_node("MaxPool", ["faces"], ["one_row"], kernel_shape=[7, 1])
    assert_agrees(model_of(row, node, shape=FACES.shape, opset=9), FACES)


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]], ids=str)
@pytest.mark.parametrize("node", ["MaxPool", "AveragePool"])
def test_windows_begin_where_the_runtimes_do(node: str, pads: list[int]) -> None:
    for kernel, stride, options in itertools.product((2, 3), (1, 2, 3), ({}, {"count_include_pad": 1}) if node == "AveragePool" else ({},)):
        how = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads, "ceil_mode": 1, **options}
        assert_agrees(model_of(helper.make_node(node, ["faces"], ["y"], **how), shape=FACES.shape), FACES)


@pytest.mark.parametrize("opset", [11, 12, 13])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, 3, -1, -2])
def test_a_softmax_inside_the_graph_has_the_meaning_of_its_operator_set(axis: int | None, opset: int) -> None:
    softmax = helper.make_node("Softmax", ["faces"], ["s"], **({} if axis is None else {"axis": axis}))
    assert_agrees(model_of(softmax, helper.make_node("Relu", ["s"], ["y"]), shape=FACES.shape, opset=opset), FACES)


REFUSED = [
    (helper.make_node("Pad", ["faces", "pads"], ["y"], mode="reflect"), "operation Pad with mode: reflect"),
    (helper.make_node("Pad", ["faces", "pads"], ["y"], mode="edge"), "operation Pad with mode: edge"),
    (helper.make_node("AveragePool", ["faces"], ["y"], kernel_shape=[2, 2], dilations=[2, 1]), r"operation AveragePool with dilations: \[2, 1\]"),
    (helper.make_node("BatchNormalization", ["faces", *"abcd"], ["y"], training_mode=1), "operation BatchNormalization with training_mode: 1"),
    (helper.make_node("Add", ["faces", "one"], ["y"], broadcast=1), "operation Add with broadcast: 1"),
    (helper.make_node("Gelu", ["faces"], ["y"], domain="com.microsoft"), "operation Gelu of com.microsoft"),
]


@pytest.mark.parametrize(("node", "named"), REFUSED, ids=lambda each: shown(each) if isinstance(each, onnx.NodeProto) else "")
def test_what_would_compute_something_else_is_refused_by_name(node: onnx.NodeProto, named: str) -> None:
    constants = {name: value for name, value in CONSTANTS.items() if name in node.input} | dict.fromkeys("abcd", np.ones(3, np.float32))
    with pytest.raises(InputError, match=f"the graph has the {named}, which is not followed"):
        Graph(model_of(node, constants=constants))


def test_a_second_output_and_what_is_known_only_from_constants_are_refused() -> None:
    pool = helper.make_node("MaxPool", ["faces"], ["m", "places"], kernel_shape=[2, 2])
    with pytest.raises(InputError, match="the graph needs 'places', which is no operation's first output, so it is not followed"):
        Graph(model_of(pool, helper.make_node("Cast", ["places"], ["y"], to=TensorProto.FLOAT)))
    for node, constants, named in [
        (helper.make_node("Pad", ["faces", "pads", "", "axes"], ["y"]), {"pads": np.array([1, 1]), "axes": np.array([3])}, "Pad with axes"),
        (helper.make_node("Dropout", ["faces", "", "on"], ["y"]), {"on": np.array(True)}, "Dropout in training mode"),
    ]:
        with pytest.raises(InputError, match=f"the graph has the operation {named}, which is not followed"):
            Graph(model_of(node, constants=constants))(torch.from_numpy(FACES))


def test_an_operation_that_is_not_followed_is_named() -> None:
    with pytest.raises(InputError, match="the graph has the operation LSTM, which is not followed"):
        Graph(model_of(helper.make_node("LSTM", ["faces"], ["y"])))


def test_sides_counted_from_the_end_are_squeezed_together() -> None:
    assert_agrees(model_of(helper.make_node("Squeeze", ["faces", "last"], ["y"]), constants=CONSTANTS, shape=(2, 3, 1, 1)), FACES[:, :, :1, :1])
    assert_agrees(model_of(helper.make_node("Squeeze", ["faces"], ["y"]), shape=(2, 3, 1, 1)), FACES[:, :, :1, :1])


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
    proto = model_of(*nodes, constants=constants, shape=(2, 3, 4, 3))
    net = Graph(proto)
    parameters, buffers = (dict(named) for named in (net.named_parameters(), net.named_buffers()))
    assert list(parameters) == ["c0_a_scale", "c1_a_shift", "c8_w", "c9_shift"]
    assert list(buffers) == ["c2_a_mean", "c3_a_var", "c6_eps"]
    faces = rng.normal(size=(2, 3, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(net(torch.from_numpy(faces)).softmax(-1).detach().numpy(), by_runtime(proto, faces), atol=1e-5)


def test_weights_that_old_files_list_as_inputs_are_no_faces() -> None:
    proto = model_of(helper.make_node("PRelu", ["faces", "slope"], ["y"]), constants={"slope": np.array([0.5], np.float32)})
    proto.graph.input.insert(0, helper.make_tensor_value_info("slope", TensorProto.FLOAT, [1]))
    assert Graph(proto).entry == "faces"
    assert Graph(proto)(torch.tensor([[-2.0, 3.0]])).tolist() == [[-1.0, 3.0]]
