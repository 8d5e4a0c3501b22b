"""A model made elsewhere: adopted by its card, or refused in one line."""

from __future__ import annotations

import io
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from ruamel.yaml import YAML

from ferlab.deployment import Predictor
from ferlab.deployment.foreign import adopt, card_beside
from ferlab.deployment.predictor import read_model
from ferlab.live.model import LiveModel
from ferlab.paths import InputError

CARD = {
    "name": "other", "title": "a model of three classes", "source": "a test", "licence": "MIT", "trained_on": {"datasets": None, "stated": "nobody"},
    "size": 8, "colour": "rgb", "layout": "NHWC", "scaling": {"range": 255, "mean": [1.0, 2.0, 4.0], "std": [50.0, 100.0, 200.0]}, "output": "logits",
    "classes": [{"joy": "happy"}, {"rage": "angry"}, {"calm": None}, {"fright": "fear"}],
}  # fmt: skip
FACES = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3)).astype(np.uint8)
# Logits: the mean of each channel, and their sum.
WEIGHTS = np.array([[1, 0, 0, 0.3], [0, 1, 0, 0.3], [0, 0, 1, 0.3]], np.float32)


def graph(*, shape=("N", 8, 8, 3), axes=(1, 2), inputs=1, classes=4, opset=13, names="", kind=TensorProto.FLOAT) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=list(axes), keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["scores"]),
    ]
    given = [helper.make_tensor_value_info(name, kind, list(shape)) for name in ("image", "other")[:inputs]]
    out = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [shape[0], classes])
    made = helper.make_graph(nodes, "theirs", given, [out], [numpy_helper.from_array(WEIGHTS[:, :classes], "weights")])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if names:
        helper.set_model_props(model, {"names": names})
    return model


def written(folder, model=None, *, suffix=".onnx", **changes):
    """Write a model and its card; a change to None takes the key away."""
    path = folder / f"model{suffix}"
    path.write_bytes((model or graph()).SerializeToString())
    text = io.StringIO()
    YAML().dump({key: value for key, value in {**CARD, **changes}.items() if value is not None}, text)
    card_beside(path).write_text(text.getvalue())
    return path


def expected(pixels: np.ndarray) -> np.ndarray:
    """By hand: channel means, scaled, to logits; softmax; the third class dropped."""
    means = (pixels.astype(np.float64).mean(axis=(1, 2)) - [1, 2, 4]) / [50, 100, 200]
    powers = np.exp((logits := means @ WEIGHTS) - logits.max(axis=1, keepdims=True))
    probs = (powers / powers.sum(axis=1, keepdims=True))[:, [0, 1, 3]]
    return probs / probs.sum(axis=1, keepdims=True)


def test_an_adopted_model_gives_the_probabilities_of_its_card_under_our_names(tmp_path) -> None:
    predictor = Predictor.load(written(tmp_path))
    assert (predictor.expressions, predictor.size, predictor.channels) == (("happy", "angry", "fear"), 8, 3)
    np.testing.assert_allclose(predictor.predict_faces(FACES), expected(FACES), atol=1e-5)


def test_bgr_turns_the_channels_before_they_are_scaled(tmp_path) -> None:
    found = Predictor.load(written(tmp_path, colour="bgr")).predict_faces(FACES)
    np.testing.assert_allclose(found, expected(FACES[..., ::-1]), atol=1e-5)
    assert np.abs(found - expected(FACES)).max() > 0.01


def test_multiply_and_add_are_the_same_scaling_as_mean_and_std(tmp_path) -> None:
    scaling = {"range": 1, "multiply": [255 / 50, 255 / 100, 255 / 200], "add": -0.02}
    np.testing.assert_allclose(Predictor.load(written(tmp_path, scaling=scaling)).predict_faces(FACES), expected(FACES), atol=1e-5)


def test_channels_first_and_a_fixed_batch_are_taken_too(tmp_path) -> None:
    model = graph(shape=(1, 3, 8, 8), axes=(2, 3))
    found = Predictor.load(written(tmp_path, model, layout="NCHW")).predict_faces(FACES)
    np.testing.assert_allclose(found, expected(FACES), atol=1e-5)


def test_a_graph_of_any_size_takes_the_cards(tmp_path) -> None:
    found = Predictor.load(written(tmp_path, graph(shape=("N", "H", "W", 3)))).predict_faces(FACES)
    np.testing.assert_allclose(found, expected(FACES), atol=1e-5)


def test_a_grey_model_of_probabilities_is_neither_scaled_twice_nor_softmaxed_twice(tmp_path) -> None:
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0), helper.make_node("Sub", ["one", "m"], ["rest"])]
    nodes += [helper.make_node("Unsqueeze", [name, "axis"], [f"{name}1"]) for name in ("m", "rest")]
    nodes += [helper.make_node("Concat", ["m1", "rest1"], ["p"], axis=1)]
    constants = [numpy_helper.from_array(np.float32(1), "one"), numpy_helper.from_array(np.array([1]), "axis")]
    given, out = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["N", 1, 8, 8]), ("p", ["N", 2])))
    model = helper.make_model(helper.make_graph(nodes, "g", [given], [out], constants), opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    scaling, classes = {"range": 1, "multiply": 0.5, "add": 0.25}, [{"a": "sad"}, {"b": "neutral"}]
    path = written(tmp_path, model, colour="grey", layout="NCHW", scaling=scaling, output="probabilities", classes=classes)
    grey = FACES[..., 0]
    first = 0.5 * grey.mean(axis=(1, 2)) / 255 + 0.25
    np.testing.assert_allclose(Predictor.load(path).predict_faces(grey), np.stack([first, 1 - first], axis=1), atol=1e-5)


def test_origin_and_margin_stand_in_the_adopted_file_and_whole_pixels_are_opencvs(tmp_path) -> None:
    path = written(tmp_path, margin=0.2, whole_pixels=True, note="noted")
    proto = onnx.load_model_from_string(read_model(path))
    card = json.loads({prop.key: prop.value for prop in proto.metadata_props}["ferlab"])
    assert card["foreign"]["licence"] == "MIT"
    assert card["foreign"]["note"] == "noted"
    predictor = Predictor.load(path)
    assert predictor.steps.preparation.margin == 0.2
    assert (predictor.steps.preparation.size, predictor.steps.preparation.colour) == (8, "rgb")


def test_the_browser_gets_the_adopted_file(tmp_path) -> None:
    model = LiveModel.load(written(tmp_path))
    (given,), (out,) = (getattr(onnx.load_model_from_string(model.content).graph, key) for key in ("input", "output"))
    assert (given.name, out.name) == ("faces", "probabilities")
    assert model.expressions == ("happy", "angry", "fear")


def test_one_of_our_own_files_is_left_as_it_is_beside_any_yaml(tiny_onnx, tmp_path) -> None:
    (tmp_path / "model.yaml").write_text("anything: here\n")
    content = tiny_onnx.read_bytes()
    assert adopt(content, tmp_path / "model.yaml", where="model.onnx") == content


def test_without_a_card_the_line_says_where_one_belongs(tmp_path) -> None:
    path = written(tmp_path)
    card_beside(path).unlink()
    with pytest.raises(InputError, match=r"no ferlab card in its metadata.*model\.yaml"):
        Predictor.load(path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"size": 5}, r"its input is \(N, 8, 8, 3\); model\.yaml states size 5, rgb, NHWC: \(N, 5, 5, 3\)"),
        ({"layout": "NCHW"}, r"model\.yaml states size 8, rgb, NCHW"),
        ({"classes": CARD["classes"][:3]}, r"its output has 4 classes; model\.yaml lists 3"),
        ({"classes": [{"joy": "hapy"}, *CARD["classes"][1:]]}, r"model\.yaml: classes: 'hapy' is none of ours; expected angry, disgust"),
        ({"classes": [{"joy": "angry"}, *CARD["classes"][1:]]}, "'angry' stands there twice"),
        ({"classes": [{"joy": "happy"}, {"rage": None}]}, "fewer than two are kept"),
        ({"classes": [{"joy": "happy", "rage": "angry"}, {"fright": "fear"}]}, "expected one `their word: ours` an entry"),
        ({"scaling": {"range": 255, "mean": 1.0}}, "expected `multiply` and `add`, or `mean` and `std`"),
        ({"scaling": {"range": 1, "mean": 0.0, "std": 1.0, "multiply": 1.0, "add": 0.0}}, "expected `multiply` and `add`, or `mean` and `std`"),
        ({"scaling": {"range": 1, "mean": 0.0, "std": 0.0}}, "is 0"),
        ({"scaling": {"range": 1, "mean": [0.0, 0.0], "std": 1.0}}, "2 numbers for a rgb model"),
        ({"scaling": {"range": 100, "mean": 0.0, "std": 1.0}}, r"scaling\.range"),
        ({"colour": "yuv"}, "colour"),
        ({"color": "rgb"}, "color: unknown key; did you mean 'colour'"),
        ({"licence": None}, "licence: missing"),
        ({"size": "8"}, "size: input should be a valid integer, got '8'"),
    ],
)
def test_a_wrong_card_is_told_in_one_line(tmp_path, changes, told) -> None:
    with pytest.raises(InputError, match=told) as error:
        Predictor.load(written(tmp_path, **changes))
    assert "\n" not in str(error.value)
    assert "model" in str(error.value)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (lambda: graph(names="{0: 'rage', 1: 'joy', 2: 'calm', 3: 'fright'}"), "lists the classes as rage, joy, calm, fright"),
        (lambda: graph(inputs=2), r"its graph has 2 inputs \(image, other\)"),
        (lambda: graph(kind=TensorProto.UINT8), "its input is uint8; expected float32"),
        (lambda: graph(opset=6), "version 6; expected 7 or later"),
    ],
)
def test_a_graph_that_is_not_the_cards_is_told_in_one_line(tmp_path, model, told) -> None:
    with pytest.raises(InputError, match=told):
        Predictor.load(written(tmp_path, model()))


def test_an_order_that_the_file_confirms_is_taken(tmp_path) -> None:
    assert Predictor.load(written(tmp_path, graph(names="{0: 'joy', 1: 'rage', 2: 'calm', 3: 'fright'}"))).expressions[0] == "happy"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(100), r"is a Keras model \(HDF5\); expected ONNX: tf2onnx"),
        (b"PK\x03\x04" + bytes(100), "is a zip"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(100), "is a TensorFlow Lite model"),
        (b"\x80\x02\x8a\nl\xfc" + bytes(100), "is a Python pickle"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{}" + bytes(100), "is safetensors"),
        (b'{"format": "layers-model"}', "is JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    ],
)
@pytest.mark.parametrize("suffix", [".onnx", ".h5"])
def test_a_file_of_another_kind_is_named(tmp_path, content, told, suffix) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        Predictor.load(path)


def test_what_a_card_cannot_bound_is_tried_as_any_file(tmp_path) -> None:
    model = graph()
    model.graph.node.append(helper.make_node("ConstantOfShape", ["large"], ["huge"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 40], np.int64), "large"))
    with pytest.raises(InputError, match=r"model\.onnx"):
        Predictor.load(written(tmp_path, model))
