"""A made-up ONNX file with the layers of InsightFace's networks as a backbone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from tiny_models import write_iresnet
from torch import nn

from ferlab.deployment.export import export_onnx, parity
from ferlab.deployment.predictor import Predictor
from ferlab.explanation.attributions import explain_faces
from ferlab.expressions import EXPRESSIONS
from ferlab.models import count_parameters, create_model, load_model, save_model
from ferlab.models.pretrained import pretrained_or_scratch
from ferlab.paths import InputError

NAME, DATA, SIZE = "onnx_backbone", "made-up faces", 32
FACES = np.random.default_rng(3).integers(0, 256, (5, SIZE, SIZE, 3)).astype(np.uint8)
SCALED = torch.from_numpy(FACES).permute(0, 3, 1, 2) / 255


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_iresnet(tmp_path / "w600k_made_up.onnx", size=SIZE, features=12)


def build(file: Path, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return create_model(NAME, **{"file": str(file), "trained_on": DATA, "size": SIZE, **options})


def by_runtime(file: Path, value: str) -> np.ndarray:
    """Return a value of the graph as onnxruntime computes it, of faces as InsightFace normalises them: less 127.5, divided by 127.5."""
    proto = onnx.load(file)
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    faces = (FACES.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 127.5
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"input.1": faces})[0]


@pytest.mark.parametrize("value", ["683", "embedding", "maps", "stem"])
def test_features_are_the_runtimes(value: str, file: Path) -> None:
    net = build(file, features="" if value == "683" else value).eval()
    expected = by_runtime(file, value)
    with torch.inference_mode():
        np.testing.assert_allclose(net[:2](SCALED).numpy(), expected, atol=1e-4)
        pooled = expected.mean(axis=(2, 3)) if expected.ndim == 4 else expected
        np.testing.assert_allclose(net[:3](SCALED).numpy(), pooled, atol=1e-4)
    assert net.logits.in_features == pooled.shape[1]


def trained_a_step(net: nn.Module) -> set[str]:
    """Return the tensors that a step of training changes."""
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer = torch.optim.SGD([weight for weight in net.train().parameters() if weight.requires_grad], lr=0.1)
    nn.functional.cross_entropy(net(SCALED), torch.arange(5)).backward()
    optimizer.step()
    return {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}


def test_a_frozen_backbone_does_not_change_and_another_does_but_for_its_statistics(file: Path) -> None:
    net = build(file, hidden=6, dropout=0.2)
    assert trained_a_step(net) == {"hidden.weight", "hidden.bias", "logits.weight", "logits.bias"}
    assert count_parameters(net) == 12 * 6 + 6 + 6 * 7 + 7
    with torch.inference_mode():
        assert torch.equal(net.train().backbone(SCALED), net.eval().backbone(SCALED))
    free = build(file, freeze="none")
    weights = {name for name, _ in free.named_parameters()}
    assert trained_a_step(free) == weights
    assert {name for name in free.state_dict() if "running" in name} == set(free.state_dict()) - weights
    assert len(weights) == (4 + 2) + 2 + 3 * 2 + 2 + 2  # four convolutions with two biases, two slopes, three normalisations, the matrix, the head
    with torch.inference_mode():
        one, all_five = net.eval()(SCALED[:1]), net(SCALED)[:1]
    torch.testing.assert_close(one, all_five)


def one_line(file: Path, **options: Any) -> str:
    with pytest.raises(InputError) as raised:
        build(file, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_files_and_options_that_do_not_fit_are_refused_in_one_line(file: Path, tmp_path: Path) -> None:
    assert f"{tmp_path / 'none.onnx'}: no such file; expected an ONNX file, whose graph the model needs" in one_line(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="file: no path given; expected an ONNX file"):
        create_model(NAME, trained_on=DATA)
    assert one_line(file, trained_on=" ").startswith("trained_on: expected the data that the weights of the file were trained on, in words")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"{file}: sha256 is {digest}, expected {'0' * 64}; get the file again" in one_line(file, sha256="0" * 64)
    assert build(file, sha256=digest.upper()).source.checked
    assert f"{file}: features: the graph has no value 'mpas'; its last are sum, maps, flat, embedding, 683" in one_line(file, features="mpas")
    assert "expected a graph with one input (N, 3, 48, 48); its inputs have the sides [0, 3, 32, 32]" in one_line(file, size=48)
    assert "freeze: expected one of all_but_head, none, got 'paper'" in one_line(file, freeze="paper")
    assert "mean: expected one value or 3, got [0.5, 0.5]" in one_line(file, mean=[0.5, 0.5])
    assert "std: expected one value or 3, above 0, got 0.0" in one_line(file, std=0.0)
    with pytest.raises(InputError, match="expected a graph with one input"):
        create_model(NAME, 7, 1, file=str(file), trained_on=DATA, size=SIZE)
    proto = onnx.load(file)
    proto.graph.node[1].op_type = "Celu"
    (tmp_path / "celu.onnx").write_bytes(proto.SerializeToString())
    assert f"{tmp_path / 'celu.onnx'}: the graph has the operation Celu, which is not followed" in one_line(tmp_path / "celu.onnx")
    (tmp_path / "cut.onnx").write_bytes(file.read_bytes()[:5000])
    assert f"{tmp_path / 'cut.onnx'}: not an ONNX file, or cut short" in one_line(tmp_path / "cut.onnx")
    onnx.save(onnx.load(file), tmp_path / "split.onnx", save_as_external_data=True, size_threshold=0)
    assert "its weights lie in other files; save it as one file" in one_line(tmp_path / "split.onnx")


def test_graphs_of_another_form_are_refused_in_one_line(tmp_path: Path) -> None:
    def written(*nodes: onnx.NodeProto, shape: tuple[Any, ...] = ("N", 3, SIZE, SIZE)) -> Path:
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, sides) for name, sides in (("faces", shape), ("y", None))]
        kernel = helper.make_tensor("w", TensorProto.FLOAT, (3, 3, 1, 1), [1.0] * 9)
        sides = helper.make_tensor("sides", TensorProto.INT64, (2,), [1, -1])
        (tmp_path / "net.onnx").write_bytes(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [kernel, sides])).SerializeToString())
        return tmp_path / "net.onnx"

    conv = helper.make_node("Conv", ["faces", "w"], ["c"])
    assert "no convolution" in one_line(written(helper.make_node("Flatten", ["faces"], ["y"])))
    assert "features: expected (N, D) or maps (N, D, H, W), but of two faces 'y' is (1, 6144)" in one_line(
        written(conv, helper.make_node("Reshape", ["c", "sides"], ["y"]))
    )
    assert "its graph takes no two faces (2, 3, 32, 32)" in one_line(written(conv, helper.make_node("MatMul", ["c", "w"], ["y"])))
    assert "its inputs have the sides [0, 32, 32, 3]" in one_line(written(conv, shape=("N", SIZE, SIZE, 3)))


def test_a_run_says_where_its_weights_come_from(file: Path) -> None:
    net, digest = build(file), hashlib.sha256(file.read_bytes()).hexdigest()
    first = pretrained_or_scratch(net, NAME)
    assert first.sentence == (
        f"22 tensors are loaded from w600k_made_up.onnx (sha256 {digest}, not checked, no known value); the head is random (logits)."
    )
    assert (first.trained_on, first.mean, first.std) == (DATA, None, None)
    assert "as expected" in pretrained_or_scratch(build(file, sha256=digest), NAME).sentence
    absent = pretrained_or_scratch(net, NAME, source="http://127.0.0.1:1/weights.safetensors", layout="ferlab")
    assert absent.sentence == f"{first.sentence} The pretrained weights (http://127.0.0.1:1/weights.safetensors) are not available."
    assert not any(weight.requires_grad for weight in net.backbone.parameters())


def saved(file: Path, path: Path, **options: Any) -> nn.Module:
    net = build(file, **options).eval()
    options = {"file": str(file), "trained_on": DATA, "size": SIZE, **options}
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(1.1)
    card = {"name": NAME, "options": options, "expressions": EXPRESSIONS, "channels": 3, "size": SIZE, "sources": ["fer2013"]}
    save_model(path, net, mean=(0.0,) * 3, std=(1.0,) * 3, **card)
    return net


def test_a_trained_run_is_loaded_with_its_file_and_gone_on_from(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    net = saved(file, path, hidden=6)
    model = load_model(path)
    with torch.inference_mode():
        torch.testing.assert_close(model.module(model.normalise(FACES)), net(SCALED))
    maps = explain_faces(model, FACES, explained_class=np.arange(5), methods=["grad_cam"])["grad_cam"]
    assert np.isfinite(maps).all()
    assert maps.any()
    other = build(file, hidden=6)
    first = pretrained_or_scratch(other, NAME, source=str(path), layout="ferlab")
    assert (first.trained_on, first.mean, first.std) == (f"{DATA}; fer2013", (0.0,) * 3, (1.0,) * 3)
    assert all(torch.equal(tensor, net.state_dict()[name]) for name, tensor in other.state_dict().items())
    file.unlink()
    with pytest.raises(InputError, match=r"weights.safetensors: .*w600k_made_up.onnx: no such file; .* also to load a trained run"):
        load_model(path)


@pytest.mark.slow
def test_a_trained_run_is_exported_without_the_file(file: Path, tmp_path: Path) -> None:
    saved(file, tmp_path / "weights.safetensors", freeze="none")
    model = load_model(tmp_path / "weights.safetensors")
    export_onnx(model, tmp_path / "model.onnx")
    file.unlink()
    found = parity(model, Predictor.load(tmp_path / "model.onnx"), FACES)
    assert found["label_agreement"] == 1.0
    assert found["max_abs_diff_millionths"] < 100
