"""A model file is tried in a process of its own, whose crash, hang or hunger is one line here."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferlab.deployment import Predictor, trial
from ferlab.paths import InputError


@pytest.fixture(autouse=True)
def _afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_tried", {})


def test_a_good_model_is_tried_once(tiny_onnx, monkeypatch) -> None:
    content = tiny_onnx.read_bytes()
    assert trial.try_model(content, where="m.onnx") == 256
    monkeypatch.setattr(trial, "CHILD", "1 / 0")
    assert trial.try_model(content, where="m.onnx") == 256
    with pytest.raises(InputError, match=r"^m\.onnx: a trial of it crashed \(status 1\)"):
        trial.try_model(content + b"x", where="m.onnx")


def test_what_the_trial_says_names_the_file(tiny_onnx, tmp_path) -> None:
    (tmp_path / "cut.onnx").write_bytes(tiny_onnx.read_bytes()[:200])
    for name in ("cut.onnx", "again.onnx"):
        with pytest.raises(InputError, match=rf"{name}: not an ONNX file that the runtime can open"):
            trial.try_model((tmp_path / "cut.onnx").read_bytes(), where=name)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("import os; os.abort()", r"crashed \(SIGABRT\)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\)"),
        ("import time; time.sleep(60)", "does not end within 1 seconds"),
        ("from ferlab.deployment import trial; trial.MEMORY = 1 << 30; trial._bound_memory(0); bytearray(4 << 30)", r"crashed \(status 1\)"),
        ("print('{')", "crashed"),
    ],
)
def test_a_crash_a_hang_and_hunger_are_one_line(does, said, tiny_onnx, monkeypatch) -> None:
    monkeypatch.setattr(trial, "CHILD", does)
    monkeypatch.setattr(trial, "SECONDS", 1 if "sleep" in does else 60)
    with pytest.raises(InputError, match=said) as error:
        Predictor.load(tiny_onnx)
    assert str(error.value).startswith(str(tiny_onnx))
    assert "\n" not in str(error.value)


def test_a_graph_that_aborts_shape_inference_is_refused(tmp_path) -> None:
    """An assertion of ONNX fails for a slice of an axis of -1 values, and ends the process; found by fuzzing."""
    faces = helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["N", -1, 4, 4])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", None, 4, 4])
    weights = [numpy_helper.from_array(np.array([value]), name) for name, value in (("start", 0), ("end", 1), ("axis", 1))]
    nodes = [helper.make_node("Slice", ["faces", "start", "end", "axis"], ["probabilities"])]
    proto = helper.make_model(helper.make_graph(nodes, "g", [faces], [answer], weights), opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(InputError, match=r"m\.onnx: a trial of it crashed \(SIGABRT\)"):
        Predictor.load(tmp_path / "m.onnx")
