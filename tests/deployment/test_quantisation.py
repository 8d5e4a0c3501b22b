"""The int8 variant: integers inside, the same questions and nearly the same answers outside."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import onnxruntime
import pytest

from ferlab.deployment.predictor import Predictor
from ferlab.deployment.quantisation import quantise
from ferlab.paths import InputError

FACES = np.random.default_rng(0).integers(0, 256, (70, 16, 16)).astype(np.uint8)


@pytest.fixture(scope="module")
def int8(tiny_onnx, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "model-int8.onnx"
    assert quantise(tiny_onnx, path, FACES[:40]) == path.stat().st_size
    return path


def test_it_answers_nearly_as_the_float32_file(tiny_onnx, int8) -> None:
    exact, near = (Predictor.load(path).predict_faces(FACES) for path in (tiny_onnx, int8))
    assert 1e-6 < np.abs(exact - near).max() < 0.2
    assert (exact.argmax(axis=1) == near.argmax(axis=1)).mean() > 0.9


def test_every_weight_is_an_integer_with_a_scale_for_each_channel(tiny, int8) -> None:
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(int8).graph.initializer}
    weights = [values for values in tensors.values() if values.ndim > 1 and values.size > 3]
    assert {values.dtype for values in weights} == {np.dtype(np.int8)}
    assert len(weights) == 2
    assert max(np.abs(values.astype(int)).max() for values in weights) <= 64, "7 bits, or a processor without VNNI cuts sums"
    scales = [values.size for name, values in tensors.items() if name.endswith("scale")]
    assert tiny.module[0].out_channels in scales


def test_the_runtime_computes_it_on_integers(int8, tmp_path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "as_run.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(int8), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "as_run.onnx").graph.node]
    assert "QLinearConv" in kinds
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul"} & set(kinds)


def test_the_card_travels_with_it(tiny, int8) -> None:
    predictor = Predictor.load(int8)
    assert (predictor.expressions, predictor.size, predictor.channels) == (tiny.expressions, tiny.size, tiny.channels)


def test_any_number_of_faces_fits(int8) -> None:
    assert [Predictor.load(int8).predict_faces(FACES[:count]).shape for count in (1, 5)] == [(1, 3), (5, 3)]


def test_the_ranges_come_from_the_faces(tiny_onnx, int8, tmp_path) -> None:
    quantise(tiny_onnx, tmp_path / "dark.onnx", FACES[:40] // 8)
    assert (tmp_path / "dark.onnx").read_bytes() != int8.read_bytes()


def test_the_same_net_and_faces_give_the_same_bytes_and_no_word(tiny_onnx, int8, tmp_path, capfd) -> None:
    quantise(tiny_onnx, tmp_path / "again.onnx", FACES[:40])
    assert hashlib.sha256((tmp_path / "again.onnx").read_bytes()).hexdigest() == hashlib.sha256(int8.read_bytes()).hexdigest()
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]


def test_no_faces_and_other_files_are_refused_and_the_last_file_stays(tiny_onnx, tmp_path) -> None:
    (tmp_path / "model-int8.onnx").write_bytes(b"last good")
    with pytest.raises(InputError, match="no faces to find the range"):
        quantise(tiny_onnx, tmp_path / "model-int8.onnx", FACES[:0])
    with pytest.raises(InputError, match="no such file"):
        quantise(tmp_path / "none.onnx", tmp_path / "model-int8.onnx", FACES)
    assert (tmp_path / "model-int8.onnx").read_bytes() == b"last good"
