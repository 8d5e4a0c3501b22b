"""An exported model predicts as its source does, in float32, float16 and int8; its bytes depend on nothing but the model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from sklearn.ensemble import HistGradientBoostingClassifier

from ferlab.deployment.export import export_onnx, halve_weights, parity, quantise
from ferlab.deployment.predictor import Predictor
from ferlab.models.classical import hog_boosting
from ferlab.models.compact import compact
from ferlab.paths import InputError

CALIBRATION = np.random.default_rng(0).integers(0, 256, (70, 16, 16)).astype(np.uint8)
FACES = np.random.default_rng(0).integers(0, 256, (37, 16, 16)).astype(np.uint8)


def test_probabilities_and_labels_agree_with_the_source(tiny, tiny_onnx) -> None:
    found = parity(tiny, Predictor.load(tiny_onnx), FACES)
    assert found["faces"] == 37
    assert found["max_abs_diff_millionths"] < 10
    assert found["label_agreement"] == 1.0


def test_parity_sees_another_net(tiny, tiny_onnx) -> None:
    torch.manual_seed(1)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 3)).eval()
    found = parity(dataclasses.replace(tiny, module=other), Predictor.load(tiny_onnx), FACES)
    assert found["max_abs_diff_millionths"] > 1e5
    assert found["label_agreement"] < 1


def test_branches_are_exported_as_one_convolution_each(tiny, tmp_path) -> None:
    """The file has the layers and the size of the plain block's, and the probabilities of the model in branches."""
    torch.manual_seed(0)
    sources = {
        block: dataclasses.replace(tiny, module=compact(3, widths=(4, 8, 8), blocks=(1, 1), down="pool", block=block))
        for block in ("plain", "reparam")
    }
    for source in sources.values():
        source.module.train()(torch.randn(64, 1, 16, 16))  # statistics
        source.module.eval()
    sizes = {block: export_onnx(source, tmp_path / f"{block}.onnx") for block, source in sources.items()}
    operations = {block: [node.op_type for node in onnx.load(tmp_path / f"{block}.onnx").graph.node] for block in sources}
    assert operations["reparam"] == operations["plain"]
    assert operations["plain"].count("Conv") == 5
    assert abs(sizes["reparam"] - sizes["plain"]) < 0.01 * sizes["plain"]
    found = parity(sources["reparam"], Predictor.load(tmp_path / "reparam.onnx"), FACES)
    assert found["label_agreement"] == 1.0
    assert found["max_abs_diff_millionths"] < 100
    assert "same" in dict(sources["reparam"].module.stage1.block1.named_children())  # the source is as it was


def test_boosted_trees_decide_alike_in_every_file(tiny, tmp_path) -> None:
    """Neither rounded thresholds nor quantised features move a face to another leaf."""
    module, targets = hog_boosting(3, size=16, rounds=40, depth=2).eval(), np.arange(37) % 3
    faces = torch.from_numpy(FACES)[:, None] / 255
    machine = HistGradientBoostingClassifier(max_iter=40, max_depth=2, max_leaf_nodes=4, min_samples_leaf=3)
    machine.fit(module.features((faces - 0.5) / 0.25).numpy(), targets)
    nodes = [[tree.nodes for tree in turn] for turn in machine._predictors]
    module.trees.hold(nodes, prior=machine._baseline_prediction.ravel(), classes=machine.classes_)
    source = dataclasses.replace(tiny, module=module)
    export_onnx(source, tmp_path / "model.onnx")
    export_onnx(source, tmp_path / "half.onnx", weights="float16")
    quantise(tmp_path / "model.onnx", tmp_path / "int8.onnx", CALIBRATION)
    assert len(np.unique(Predictor.load(tmp_path / "model.onnx").predict_faces(FACES).argmax(axis=1))) == 3
    for name, most in {"model": 100, "half": 2000, "int8": 100}.items():
        found = parity(source, Predictor.load(tmp_path / f"{name}.onnx"), FACES)
        assert found["label_agreement"] == 1.0, name
        assert found["max_abs_diff_millionths"] < most, name


def test_normalisation_and_softmax_are_inside_the_graph(tiny, tiny_onnx) -> None:
    (probs,) = Predictor.load(tiny_onnx).session.run(None, {"faces": FACES[:, None].astype(np.float32) / 255})
    logits = tiny.module((torch.from_numpy(FACES)[:, None] / 255 - 0.5) / 0.25)
    np.testing.assert_allclose(probs, torch.softmax(logits, dim=1).detach().numpy(), atol=1e-5)


def test_any_number_of_faces_fits(tiny_onnx) -> None:
    session = Predictor.load(tiny_onnx).session
    assert [session.run(None, {"faces": np.zeros((n, 1, 16, 16), np.float32)})[0].shape[0] for n in (1, 2, 5)] == [1, 2, 5]


def test_it_is_one_file_whose_card_names_all_that_is_needed(tiny, tiny_onnx) -> None:
    assert [path.name for path in tiny_onnx.parent.iterdir()] == ["model.onnx"]
    (prop,) = onnx.load(tiny_onnx).metadata_props
    card = json.loads(prop.value)
    assert card == {"channels": 1, "expressions": list(tiny.expressions), "mean": [0.5], "name": "tiny", "size": 16, "std": [0.25]}


def test_no_path_of_this_machine_is_inside(tiny_onnx) -> None:
    content = tiny_onnx.read_bytes()
    assert str(Path(__file__).resolve().parents[2]).encode() not in content
    assert b".py" not in content


def test_a_failed_export_leaves_the_last_file(tiny, tmp_path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"last good")

    class Broken(torch.nn.Module):
        def forward(self, faces):
            raise RuntimeError("cannot trace")

    with pytest.raises(Exception, match="cannot trace"):
        export_onnx(dataclasses.replace(tiny, module=Broken().eval()), path)
    assert path.read_bytes() == b"last good"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_two_processes_in_two_folders_write_the_same_bytes(weights, tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; from ferlab.models import load_model; from ferlab.deployment.export import export_onnx;"
        "export_onnx(load_model(Path(sys.argv[1])), Path('model.onnx'))"
    )
    digests = []
    for seed in ("1", "2"):
        folder = tmp_path / f"clone{seed}"
        folder.mkdir()
        path = os.pathsep.join([str(Path(__file__).resolve().parents[2] / "src"), os.environ.get("PYTHONPATH", "")])
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, str(weights)],
            cwd=folder,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
        )
        digests.append(hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


@pytest.fixture(scope="module")
def halved(tiny_onnx):
    return halve_weights(onnx.load(tiny_onnx))


def test_the_answers_are_those_of_a_float32_net_with_rounded_weights(tiny, halved, tmp_path) -> None:
    (tmp_path / "half.onnx").write_bytes(halved.SerializeToString())
    rounded = torch.nn.Sequential(*tiny.module)
    before = {key: value.clone() for key, value in tiny.module.state_dict().items()}
    rounded.load_state_dict({key: value.half().float() if value.numel() >= 256 else value for key, value in before.items()})
    try:
        found = parity(dataclasses.replace(tiny, module=rounded), Predictor.load(tmp_path / "half.onnx"), FACES)
    finally:
        tiny.module.load_state_dict(before)
    assert found["max_abs_diff_millionths"] < 10
    assert parity(tiny, Predictor.load(tmp_path / "half.onnx"), FACES)["max_abs_diff_millionths"] > 10, "nothing was rounded"


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


@pytest.fixture(scope="module")
def int8(tiny_onnx, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "model-int8.onnx"
    assert quantise(tiny_onnx, path, CALIBRATION[:40]) == path.stat().st_size
    return path


def test_it_answers_nearly_as_the_float32_file(tiny_onnx, int8) -> None:
    exact, near = (Predictor.load(path).predict_faces(CALIBRATION) for path in (tiny_onnx, int8))
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


def test_any_number_of_faces_fits_the_int8_file(int8) -> None:
    assert [Predictor.load(int8).predict_faces(CALIBRATION[:count]).shape for count in (1, 5)] == [(1, 3), (5, 3)]


def test_the_ranges_come_from_the_faces(tiny_onnx, int8, tmp_path) -> None:
    quantise(tiny_onnx, tmp_path / "dark.onnx", CALIBRATION[:40] // 8)
    assert (tmp_path / "dark.onnx").read_bytes() != int8.read_bytes()


def test_the_same_net_and_faces_give_the_same_bytes_and_no_word(tiny_onnx, int8, tmp_path, capfd) -> None:
    quantise(tiny_onnx, tmp_path / "again.onnx", CALIBRATION[:40])
    assert hashlib.sha256((tmp_path / "again.onnx").read_bytes()).hexdigest() == hashlib.sha256(int8.read_bytes()).hexdigest()
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["again.onnx"]


def test_no_faces_and_other_files_are_refused_and_the_last_file_stays(tiny_onnx, tmp_path) -> None:
    (tmp_path / "model-int8.onnx").write_bytes(b"last good")
    with pytest.raises(InputError, match="no faces to find the range"):
        quantise(tiny_onnx, tmp_path / "model-int8.onnx", CALIBRATION[:0])
    with pytest.raises(InputError, match="no such file"):
        quantise(tmp_path / "none.onnx", tmp_path / "model-int8.onnx", CALIBRATION)
    assert (tmp_path / "model-int8.onnx").read_bytes() == b"last good"
