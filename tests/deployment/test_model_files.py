"""A model file from anyone is looked at before it runs: its size, its time, and whether its card is true of its graph."""

from __future__ import annotations

import json
import resource

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferlab.deployment import Predictor
from ferlab.deployment.cards import MOST_BATCH
from ferlab.deployment.model_files import MOST_VALUES, VALUES_AT_ONCE, check_graph
from ferlab.paths import InputError

CARD = {"channels": 1, "expressions": ["angry", "happy", "neutral"], "size": 16}
FACES = np.random.default_rng(0).integers(0, 256, (5, 16, 16)).astype(np.uint8)
MEAN = [helper.make_node("ReduceMean", ["faces", "axes"], ["pooled"], keepdims=0), helper.make_node("Gemm", ["pooled", "w"], ["logits"])]
SOFTMAX = [helper.make_node("Softmax", ["logits"], ["probabilities"])]
WEIGHTS = {"axes": np.array([2, 3]), "w": np.array([[1, 2, 3]], np.float32)}


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    """Look at files in this process; in one of its own is what test_trial.py is about."""
    monkeypatch.setattr("ferlab.deployment.predictor.try_model", check_graph)


def model_file(
    path, nodes=(*MEAN, *SOFTMAX), *, card=CARD, given=("N", 1, 16, 16), answer=("N", 3), kind=TensorProto.FLOAT, name="faces", **constants
):
    inputs = [helper.make_tensor_value_info(name, kind, given)]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, answer)]
    weights = [numpy_helper.from_array(np.asarray(value), title) for title, value in {**WEIGHTS, **constants}.items()]
    proto = helper.make_model(
        helper.make_graph(list(nodes), "g", inputs, outputs, weights), opset_imports=[helper.make_opsetid("", 20)], ir_version=9
    )
    if card is not ...:
        helper.set_model_props(proto, {"ferlab": card if isinstance(card, str) else json.dumps(card)})
    path.write_bytes(proto.SerializeToString())
    return path


def refused(path):
    with pytest.raises(InputError) as error:
        Predictor.load(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_small_model_of_ones_own_is_read(tmp_path):
    probs = Predictor.load(model_file(tmp_path / "m.onnx")).predict_faces(FACES)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    logits = (FACES / 255).mean(axis=(1, 2))[:, None] * np.array([1, 2, 3])
    np.testing.assert_allclose(probs, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (..., "no ferlab card"),
        ("{", "no ferlab card"),
        ("[" * 100_000, "no ferlab card"),
        ("null", "its card is a NoneType"),
        ("[1]", "its card is a list"),
        ({"size": 16, "channels": 1}, "lacks `expressions`"),
        (CARD | {"size": "x"}, "`size` of its card is 'x'; expected a whole number from 1 to 1024"),
        (CARD | {"size": 0}, "`size` of its card is 0"),
        (CARD | {"sources": "control"}, "`sources` of its card is 'control'; expected a list of names"),
        (CARD | {"preparation": [1]}, "`preparation` of its card is a list; expected a table of steps"),
        (CARD | {"size": True}, "`size` of its card is True"),
        (CARD | {"size": 16.0}, "`size` of its card is 16.0"),
        (CARD | {"size": 1_000_000_000}, "`size` of its card is 1000000000"),
        (CARD | {"channels": 1_000_000}, "`channels` of its card is 1000000; expected 1 or 3"),
        (CARD | {"channels": 3}, r"has faces tensor(float) ['N', 1, 16, 16]; its card states faces tensor(float) ['N', 3, 16, 16]"),
        (CARD | {"size": 48}, "its card states faces tensor(float) ['N', 1, 48, 48]"),
        (CARD | {"expressions": ["angry", "happy"]}, "its card states probabilities tensor(float) ['N', 2]"),
        (CARD | {"expressions": "abc"}, "`expressions` of its card is 'abc'"),
        (CARD | {"expressions": [["a"], "b", "c"]}, "`expressions` of its card is a list"),
        (CARD | {"expressions": ["a", "a", "c"]}, "expected a list of 1 to 100 different names"),
        (CARD | {"expressions": ["a", "b\x1b[31m", "c"]}, "expected a list of 1 to 100 different names"),
    ],
)
def test_a_card_that_is_not_true_of_its_graph_is_refused_in_one_line(tmp_path, card, said):
    assert said in refused(model_file(tmp_path / "m.onnx", card=card))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"answer": ("N", 5), "w": np.ones((1, 5), np.float32)}, "has probabilities tensor(float) ['N', 5]"),
        ({"answer": (1, 3), "given": (1, 1, 16, 16)}, "has faces tensor(float) [1, 1, 16, 16]"),
        ({"kind": TensorProto.DOUBLE, "w": np.ones((1, 3))}, ""),
        ({"name": "pictures"}, ""),
    ],
)
def test_a_graph_of_another_model_is_refused_in_one_line(tmp_path, changed, said):
    assert said in refused(model_file(tmp_path / "m.onnx", **changed))


def with_extra(*nodes):
    """The small model, with what these nodes call `extra`, one value, added to its logits."""
    return [
        *nodes,
        *MEAN[:1],
        helper.make_node("Gemm", ["pooled", "w"], ["plain"]),
        helper.make_node("Add", ["plain", "extra"], ["logits"]),
        *SOFTMAX,
    ]


def endless_loop():
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [helper.make_tensor_value_info(n, k, []) for n, k in (("i", TensorProto.INT64), ("go", TensorProto.BOOL), ("x", TensorProto.FLOAT))],
        [helper.make_tensor_value_info("goes", TensorProto.BOOL, []), helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
    )
    return helper.make_node("Loop", ["", "true", "zero"], ["extra"], body=body)


def doubled(times):
    """A tensor beside itself, again and again: 2 ** times values."""
    yield helper.make_node("Concat", ["zeros", "zeros"], ["d0"], axis=0)
    for step in range(times):
        yield helper.make_node("Concat", [f"d{step}"] * 2, [f"d{step + 1}"], axis=0)
    yield helper.make_node("ReduceMax", [f"d{times}"], ["extra"], keepdims=0)


@pytest.mark.parametrize(
    ("nodes", "constants", "said"),
    [
        ([endless_loop()], {"true": True, "zero": np.float32(0)}, "operator 'Loop' has a body"),
        (
            [helper.make_node("ConstantOfShape", ["shape"], ["huge"]), helper.make_node("ReduceMax", ["huge"], ["extra"], keepdims=0)],
            {"shape": np.array([1 << 20, 1 << 20])},
            "one face takes 1,099,5",
        ),
        (
            [helper.make_node("Range", ["zero", "most", "one"], ["huge"]), helper.make_node("ReduceMax", ["huge"], ["extra"], keepdims=0)],
            {"zero": np.float32(0), "one": np.float32(1), "most": np.float32(1e12)},
            "",
        ),
        (list(doubled(45)), {"zeros": np.zeros(2, np.float32)}, "one face takes"),
        (
            [helper.make_node("Pad", ["faces", "pads"], ["huge"]), helper.make_node("ReduceMax", ["huge"], ["extra"], keepdims=0)],
            {"pads": np.array([0, 0, 0, 0, 0, 0, 1 << 20, 1 << 20])},
            "one face takes",
        ),
        (
            [helper.make_node("NonZero", ["faces"], ["some"]), helper.make_node("Cast", ["some"], ["floats"], to=TensorProto.FLOAT),
             helper.make_node("ReduceMax", ["floats"], ["extra"], keepdims=0)],
            {},
            "known only as it runs",
        ),
        ([helper.make_node("Anything", ["faces"], ["extra"], domain="com.microsoft")], {}, "is of 'com.microsoft', not ONNX's own"),
        ([helper.make_node("NoSuch", ["faces"], ["extra"])], {}, "not an ONNX file that the runtime can open"),
    ],
    ids=["endless loop", "terabytes", "range", "doubled", "padded", "size of the data", "another maker", "unknown"],
)  # fmt: skip
def test_a_graph_without_end_or_bounds_is_refused_before_it_runs(tmp_path, nodes, constants, said):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = model_file(tmp_path / "m.onnx", with_extra(*nodes), **constants)
    assert said in refused(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_memory_that_grows_with_the_square_of_the_faces_is_refused(tmp_path):
    nodes = [
        helper.make_node("Reshape", ["faces", "row"], ["flat"]),
        helper.make_node("Reshape", ["faces", "column"], ["turned"]),
        helper.make_node("Mul", ["flat", "turned"], ["square"]),
        helper.make_node("ReduceMax", ["square"], ["extra"], keepdims=0),
    ]
    path = model_file(tmp_path / "m.onnx", with_extra(*nodes), row=np.array([1, -1]), column=np.array([-1, 1]))
    assert "256 faces take 4,295," in refused(path)


def test_a_large_model_gets_fewer_faces_at_once(tmp_path):
    nodes = with_extra(helper.make_node("ConstantOfShape", ["shape"], ["large"]), helper.make_node("ReduceMax", ["large"], ["extra"], keepdims=0))
    assert check_graph(model_file(tmp_path / "a.onnx", nodes, shape=np.array([VALUES_AT_ONCE // 600])).read_bytes(), where="x") == MOST_BATCH
    per_face = [
        helper.make_node("Expand", ["faces", "shape"], ["large"]),
        helper.make_node("ReduceMax", ["large", "one"], ["most"]),
        helper.make_node("ReduceMax", ["most", "axes"], ["rows"], keepdims=0),
        helper.make_node("Gemm", ["rows", "w"], ["logits"]),
        *SOFTMAX,
    ]
    path = model_file(tmp_path / "b.onnx", per_face, shape=np.array([1, MOST_VALUES // 512, 16, 16]), one=np.array([1]))
    assert check_graph(path.read_bytes(), where="x") == 3


def test_weights_in_another_file_are_refused(tiny_onnx, tmp_path):
    proto = onnx.load(tiny_onnx)
    onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    assert "its weights lie in another file" in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (
            [*MEAN, helper.make_node("Log", ["negative"], ["nan"]), helper.make_node("Add", ["logits", "nan"], ["probabilities"])],
            "returns NaN or infinity",
        ),
        ([*MEAN, helper.make_node("Identity", ["logits"], ["probabilities"])], "expected probabilities"),
    ],
)
def test_an_answer_that_is_no_probability_is_told(tmp_path, nodes, said):
    predictor = Predictor.load(model_file(tmp_path / "m.onnx", nodes, negative=np.float32(-1)))
    with pytest.raises(InputError, match=said):
        predictor.predict_faces(FACES)


def test_a_pipe_is_no_model(tmp_path):
    import os

    os.mkfifo(tmp_path / "m.onnx")
    assert "is no plain file; expected a model as .onnx" in refused(tmp_path / "m.onnx")
