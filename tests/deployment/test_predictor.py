"""The predictor: faces in, probabilities out, bad input in one line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch

from ferlab.deployment import Predictor
from ferlab.paths import InputError

FACES = np.random.default_rng(0).integers(0, 256, (300, 16, 16)).astype(np.uint8)


def test_rows_are_probabilities_in_the_order_of_expressions(tiny, tiny_onnx) -> None:
    predictor = Predictor.load(tiny_onnx)
    probs = predictor.predict_faces(FACES)
    assert predictor.expressions == tiny.expressions
    assert (probs.dtype, probs.shape) == (np.float32, (300, 3))
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    with torch.inference_mode():
        expected = torch.softmax(tiny.module(tiny.normalise(FACES)), dim=1).numpy()
    np.testing.assert_allclose(probs, expected, atol=1e-5)


def test_grey_faces_in_three_channels_give_the_same_answer(tiny_onnx) -> None:
    predictor = Predictor.load(tiny_onnx)
    grey = predictor.predict_faces(FACES[:9])
    np.testing.assert_allclose(predictor.predict_faces(np.repeat(FACES[:9, :, :, None], 3, axis=3)), grey, atol=1e-4)


def test_a_face_does_not_depend_on_its_company(tiny_onnx) -> None:
    predictor = Predictor.load(tiny_onnx)
    np.testing.assert_allclose(predictor.predict_faces(FACES)[[299]], predictor.predict_faces(FACES[[299]]), atol=1e-6)


def test_no_faces_give_no_rows(tiny_onnx) -> None:
    assert Predictor.load(tiny_onnx).predict_faces(FACES[:0]).shape == (0, 3)


def test_the_missing_shipped_net_is_told(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("ferlab.deployment.predictor.SHIPPED", tmp_path / "none.onnx")
    with pytest.raises(InputError, match="no net ships"):
        Predictor.load()


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"gone\.onnx: no such file"):
        Predictor.load(tmp_path / "gone.onnx")


def test_a_truncated_file_is_named_in_one_line(tiny_onnx, tmp_path) -> None:
    (tmp_path / "cut.onnx").write_bytes(tiny_onnx.read_bytes()[:200])
    with pytest.raises(InputError, match=r"cut\.onnx: not an ONNX file") as error:
        Predictor.load(tmp_path / "cut.onnx")
    assert "\n" not in str(error.value)


def test_an_onnx_file_of_others_is_refused(tiny_onnx, tmp_path) -> None:
    proto = onnx.load(tiny_onnx)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"other\.onnx: no ferlab card"):
        Predictor.load(tmp_path / "other.onnx")


def test_predicting_needs_no_torch() -> None:
    code = "import sys; import ferlab.deployment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
