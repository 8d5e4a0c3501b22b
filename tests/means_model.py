"""A model made elsewhere whose probabilities follow from the mean of a face, with its card."""

import io

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from ruamel.yaml import YAML

from ferlab.deployment.foreign import card_beside


def foreign(folder, *, words=("happy", "contempt", "angry"), whole_pixels=False):
    """A model whose probabilities are the softmax of the mean grey level times 0, 1 and 2."""
    folder.mkdir(exist_ok=True)
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "axis"], ["m1"]),
        helper.make_node("MatMul", ["m1", "w"], ["out"]),
    ]
    constants = [numpy_helper.from_array(np.array([[0.0, 1.0, 2.0]], np.float32), "w"), numpy_helper.from_array(np.array([1]), "axis")]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", 3])
    model = helper.make_model(helper.make_graph(nodes, "g", [given], [out], constants), opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    card = {
        "name": "means", "title": "a model of means", "source": "a test", "licence": "MIT", "trained_on": {"datasets": {"x": []}, "stated": "nobody"},
        "size": 8, "colour": "grey", "layout": "NCHW", "scaling": {"range": 1, "multiply": 1.0, "add": 0.0}, "output": "logits",
        "classes": [{word: word} for word in words], "whole_pixels": whole_pixels,
    }  # fmt: skip
    text = io.StringIO()
    YAML().dump(card, text)
    card_beside(folder / "model.onnx").write_text(text.getvalue())
    return folder
