"""Grad-CAM inside an ONNX graph: equal to captum's on the same graph in PyTorch, whatever layers follow the last convolution; else refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import sample_spec
from ferlab.deployment.class_maps import MAP, with_grad_cam
from ferlab.deployment.half_weights import halve_weights
from ferlab.deployment.predictor import SHIPPED
from ferlab.explanation.layer_maps import grad_cam
from ferlab.models.graphs import Graph

POOL = {"kernel_shape": [2, 2], "strides": [2, 2]}
NOISE = np.random.default_rng(1).normal(0, 1, (24, 1, 48, 48)).astype(np.float32)
FACES = np.stack([draw_image(sample_spec(7, number), 48) for number in range(24)])[:, None].astype(np.float32) / 255


def flattened(pool=POOL, *, summed: bool = False) -> onnx.ModelProto:
    """Return a graph as cs230's five-layer model ends: ReLU, batch normalisation, a max pool, two linear layers on the flattened map.

    With `summed` the activation is added to itself, as a residual block adds its input.
    """
    rng = np.random.default_rng(0)
    size = (48 // pool["strides"][0]) ** 2 * 6
    weights = {
        "kernel": rng.normal(0, 0.4, (6, 1, 3, 3)), "scale": rng.normal(1, 0.5, 6), "shift": rng.normal(0, 1, 6), "mean": rng.normal(0, 1, 6),
        "variance": rng.uniform(0.5, 2, 6), "hidden": rng.normal(0, 0.1, (20, size)), "last": rng.normal(0, 1, (20, 7)), "bias": rng.normal(0, 1, 7),
    }  # fmt: skip
    tensors = [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()]
    nodes = [
        helper.make_node("Conv", ["faces", "kernel"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Add", ["r", "r"], ["a"]),
        helper.make_node("BatchNormalization", ["a" if summed else "r", "scale", "shift", "mean", "variance"], ["b"], epsilon=1e-3),
        helper.make_node("MaxPool", ["b"], ["p"], **pool),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "hidden"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["g"]),
        helper.make_node("Gemm", ["g", "last", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    given = helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["N", 1, 48, 48])
    out = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 7])
    proto = helper.make_model(helper.make_graph(nodes, "five", [given], [out], tensors), opset_imports=[helper.make_opsetid("", 20)])
    proto.ir_version = 10
    return proto


def maps_of(proto: onnx.ModelProto, faces: np.ndarray = FACES) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted class and the map of each face."""
    onnx.checker.check_model(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    found = [session.run(["probabilities", MAP], {"faces": face[None]}) for face in faces]
    return np.array([probs[0].argmax() for probs, _ in found]), np.stack([cam for _, cam in found])


@pytest.mark.parametrize(
    ("proto", "faces"),
    [(onnx.load(SHIPPED), FACES), (halve_weights(onnx.load(SHIPPED)), FACES), (flattened(), NOISE)],
    ids=["ships", "halved", "flattened"],
)
def test_the_map_is_captums(proto, faces):
    before = proto.SerializeToString()
    chosen, maps = maps_of(with_grad_cam(proto), faces)
    assert proto.SerializeToString() == before
    module = Graph(proto).eval()
    activation = [name for name, step in module.steps.items() if step.kind == "Relu" and step.operation and "h" not in step.inputs][-1]
    wanted = grad_cam(module, torch.from_numpy(faces), explained_class=torch.from_numpy(chosen), layer=f"steps.{activation}")
    enlarged = torch.nn.functional.interpolate(torch.from_numpy(maps)[:, None], (48, 48), mode="bilinear")
    assert wanted.max() > 0.001
    assert (wanted - enlarged).abs().max() < 1e-3 * wanted.max()
    assert len(set(chosen)) > 1


def test_after_a_mean_the_channels_have_the_weights_of_the_last_layer():
    proto = onnx.load(SHIPPED)
    made = {name: node for node in proto.graph.node for name in node.output}
    linear = made[made["probabilities"].input[0]]
    stored = {tensor.name.removesuffix(".float16"): tensor for tensor in proto.graph.initializer}
    weights = numpy_helper.to_array(stored[linear.input[1]]).astype(np.float32)  # (7, 384)
    activation = made[made[linear.input[0]].input[0]].input[0]
    chosen, maps = maps_of(with_grad_cam(proto))
    proto.graph.output.append(helper.make_tensor_value_info(activation, TensorProto.FLOAT, None))
    features = onnxruntime.InferenceSession(proto.SerializeToString()).run([activation], {"faces": FACES})[0]
    mapped = np.maximum(np.einsum("nc,nchw->nhw", weights[chosen], features) / maps[0].size, 0)
    np.testing.assert_allclose(maps, mapped, atol=1e-4)


def test_the_first_face_of_several_is_explained_and_the_probabilities_stay():
    proto = flattened()
    session, alone = (onnxruntime.InferenceSession(each.SerializeToString()) for each in (with_grad_cam(proto), proto))
    probs, cam = session.run(None, {"faces": FACES[3:9]})
    np.testing.assert_array_equal(probs, alone.run(None, {"faces": FACES[3:9]})[0])
    np.testing.assert_allclose(cam, maps_of(with_grad_cam(proto))[1][3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "proto",
    [flattened({"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}), flattened(summed=True)],
    ids=["overlapping pool", "sum"],
)
def test_what_is_not_differentiated_has_no_map(proto):
    assert with_grad_cam(proto) is None
