from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from ferlab.deployment.as_torch import Graph, load_exported
from ferlab.deployment.export import export_onnx
from ferlab.deployment.predictor import SHIPPED, Predictor
from ferlab.explanation.attributions import explain_faces
from ferlab.expressions import EXPRESSIONS
from ferlab.models import MODELS, LoadedModel, create_model
from ferlab.paths import InputError

FACES = np.random.default_rng(3).integers(0, 256, (6, 48, 48)).astype(np.uint8)
EXPORTED = ("compact", "five_layer", "mini_xception")  # a mean before the last layer, a flattened map, separable convolutions


def fresh(name: str) -> LoadedModel:
    torch.manual_seed(0)
    card = MODELS[name]
    module = create_model(name, len(EXPRESSIONS), 1).eval()
    shape = {"size": card["input_size"], "channels": 1, "mean": (0.5,), "std": (0.25,)}
    return LoadedModel(module=module, name=name, options={}, expressions=EXPRESSIONS, target_layer=card["target_layer"], trained_on=(), **shape)


def test_the_shipped_file_predicts_as_its_runtime_does():
    model = load_exported(SHIPPED)
    with torch.inference_mode():
        probs = model.module(model.normalise(FACES)).softmax(1).numpy()
    expected = Predictor.load().predict_prepared(FACES, raw=True)
    np.testing.assert_allclose(probs, expected, atol=1e-5)
    assert model.target_layer is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_an_exported_model_has_the_maps_of_its_own_module(name, tmp_path):
    own = fresh(name)
    export_onnx(own, tmp_path / "model.onnx")
    read = load_exported(tmp_path / "model.onnx")
    chosen = np.arange(len(FACES)) % len(EXPRESSIONS)
    methods = ["grad_cam", "guided_grad_cam", "integrated_gradients", "occlusion"]
    wanted = explain_faces(own, FACES, explained_class=chosen, methods=methods)
    found = explain_faces(read, FACES, explained_class=chosen, methods=methods)
    np.testing.assert_allclose(found["occlusion"], wanted["occlusion"], atol=1e-5)
    assert np.corrcoef(found["integrated_gradients"].ravel(), wanted["integrated_gradients"].ravel())[0, 1] > 0.99
    assert np.corrcoef(found["guided_grad_cam"].ravel(), wanted["guided_grad_cam"].ravel())[0, 1] > 0.99
    if np.abs(wanted["grad_cam"]).max() > 0:
        correlation = np.corrcoef(found["grad_cam"].ravel(), wanted["grad_cam"].ravel())[0, 1]
        assert correlation > 0.99, "another layer was explained"


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
]


@pytest.mark.parametrize("node", POOLS, ids=lambda node: f"{node.op_type}-{len(node.attribute)}-{len(node.input)}")
def test_operations_agree_with_the_runtime(node):
    faces = np.random.default_rng(0).normal(size=(2, 3, 7, 5)).astype(np.float32)
    constants = {"low": np.array([0, -6]), "high": np.array([2, 1 << 40]), "steps": np.array([1, 2])}
    constants |= {"axes": np.array([1, 2]), "pads": np.array([0, 0, 1, 2, 0, 0, 3, 0])}
    graph = graph_of(node, constants={name: value for name, value in constants.items() if name in node.input}, shape=faces.shape)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    expected = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"faces": faces})[0]
    np.testing.assert_allclose(Graph(graph)(torch.from_numpy(faces)).numpy(), expected, atol=1e-5)


def test_an_operation_that_is_not_followed_is_named():
    with pytest.raises(InputError, match="LSTM"):
        Graph(graph_of(helper.make_node("LSTM", ["faces"], ["y"])))
