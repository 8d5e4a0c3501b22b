"""Weights at half their size: rounded once, computed in float32."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from ferlab.deployment.export import export_onnx, parity
from ferlab.deployment.predictor import open_session
from ferlab.deployment.storage import halve_weights
from ferlab.paths import InputError

FACES = np.random.default_rng(0).integers(0, 256, (37, 16, 16)).astype(np.uint8)


@pytest.fixture(scope="module")
def halved(tiny_onnx):
    return halve_weights(onnx.load(tiny_onnx))


def test_the_answers_are_those_of_a_float32_net_with_rounded_weights(tiny, halved, tmp_path) -> None:
    (tmp_path / "half.onnx").write_bytes(halved.SerializeToString())
    rounded = torch.nn.Sequential(*tiny.module)
    before = {key: value.clone() for key, value in tiny.module.state_dict().items()}
    rounded.load_state_dict({key: value.half().float() if value.numel() >= 256 else value for key, value in before.items()})
    try:
        found = parity(dataclasses.replace(tiny, module=rounded), open_session(tmp_path / "half.onnx"), FACES)
    finally:
        tiny.module.load_state_dict(before)
    assert found.max_abs_diff < 1e-5
    assert parity(tiny, open_session(tmp_path / "half.onnx"), FACES).max_abs_diff > 1e-5, "nothing was rounded"


def test_large_tensors_take_half_the_bytes_and_small_ones_stay(tiny_onnx, halved) -> None:
    before = {t.name: numpy_helper.to_array(t) for t in onnx.load(tiny_onnx).graph.initializer}
    after = {t.name.removesuffix(".float16"): numpy_helper.to_array(t) for t in halved.graph.initializer}
    assert before.keys() == after.keys()
    for name, values in before.items():
        assert after[name].dtype == (np.float16 if values.size >= 256 and values.dtype == np.float32 else values.dtype)
    assert sum(v.size >= 256 for v in before.values()) == 1


def test_the_given_graph_stays_as_it_was(tiny_onnx) -> None:
    proto = onnx.load(tiny_onnx)
    before = proto.SerializeToString(deterministic=True)
    halve_weights(proto)
    assert proto.SerializeToString(deterministic=True) == before


def test_a_weight_beyond_float16_is_named(tiny_onnx) -> None:
    proto = onnx.load(tiny_onnx)
    (large,) = [t for t in proto.graph.initializer if np.prod(t.dims) >= 256]
    values = numpy_helper.to_array(large).copy()
    values.flat[3] = -7e4
    large.CopyFrom(numpy_helper.from_array(values, large.name))
    with pytest.raises(InputError, match=rf"{large.name}.* holds 7e\+04, beyond float16's 65504"):
        halve_weights(proto)


def test_the_export_takes_it_as_an_option_and_gives_the_same_bytes_twice(tiny, tiny_onnx, tmp_path) -> None:
    sizes = [export_onnx(tiny, tmp_path / f"{name}.onnx", weights="float16") for name in "ab"]
    assert len({hashlib.sha256((tmp_path / f"{name}.onnx").read_bytes()).hexdigest() for name in "ab"}) == 1
    assert tiny_onnx.stat().st_size - sizes[0] > 768 * 2 - 300
    with pytest.raises(ValueError, match="Expected weights in"):
        export_onnx(tiny, tmp_path / "c.onnx", weights="int4")
