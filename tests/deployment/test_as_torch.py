from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from ferlab.deployment.as_torch import load_exported
from ferlab.deployment.export import export_onnx
from ferlab.deployment.predictor import SHIPPED, Predictor
from ferlab.explanation.attributions import explain_faces
from ferlab.expressions import EXPRESSIONS
from ferlab.models import MODELS, LoadedModel, create_model
from ferlab.models.graphs import OPERATIONS
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


def test_a_graph_that_computes_something_else_than_the_runtime_is_refused(monkeypatch):
    highest = lambda x, _, keepdims, noop_with_empty_axes: x.amax((2, 3), keepdim=True)  # noqa: E731
    monkeypatch.setitem(OPERATIONS, "ReduceMean", highest)
    with pytest.raises(InputError, match=r"the graph's probabilities differ from onnxruntime's by [\d.]+, so it is not followed for Grad-CAM; ch"):
        load_exported(SHIPPED)
    monkeypatch.setitem(OPERATIONS, "ReduceMean", lambda x, _, keepdims, noop_with_empty_axes: x.missing)
    with pytest.raises(InputError, match=r"the graph cannot be followed \(.*missing.*\) for Grad-CAM; choose occlusion"):
        load_exported(SHIPPED)


def test_an_operation_that_is_not_followed_is_named(tmp_path):
    proto = onnx.load(SHIPPED)
    next(node for node in proto.graph.node if node.op_type == "Relu").op_type = "Selu"
    onnx.save(proto, tmp_path / "model.onnx")
    with pytest.raises(InputError, match="the graph has the operation Selu, which is not followed for Grad-CAM; choose occlusion"):
        load_exported(tmp_path / "model.onnx")
