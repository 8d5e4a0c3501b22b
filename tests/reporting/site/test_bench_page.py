"""The page of the control-face bench: which model it carries, how it stores it, and that two builds give the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ferlab import paths
from ferlab.control.action_units import COMBINATIONS
from ferlab.params import Params, check_params
from ferlab.reporting.site import bench_model, bench_page

TRAIN = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant"}
NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
PLAIN = {"blur": 0, "colour": "grey", "equalise": "none", "face": {}, "size": 48}


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Return params of a run on photographs and two on control faces, in a project without files."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    runs = {name: {"family": "cs230", "model": "five_layer", "data": data, "seed": 0, "group": name} for name, data in RUNS.items()}
    sections = {name: {} for name in ("audit", "evaluate", "explain", "analyze_errors", "compare", "deploy")}
    prepare = {"drawn": {"dataset": "control"}, "real": {"dataset": "fer2013"}}
    return check_params({"study": "t", "prepare": prepare, "train": TRAIN, "runs": runs, **sections})


RUNS = {"on_real": "real", "first": "drawn", "second": "drawn"}


def exported(run: str, *, preparation: dict | None = None) -> onnx.ModelProto:
    """Write a linear softmax model of 48 x 48 grey faces as the exported file of a run, and return it."""
    rng = np.random.default_rng(3)
    weight = numpy_helper.from_array(rng.normal(0, 0.3, (48 * 48, len(NAMES))).astype(np.float32), "weight")
    shape = numpy_helper.from_array(np.array([-1, 48 * 48]), "shape")
    nodes = [
        helper.make_node("Reshape", ["faces", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    inputs = [helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["N", 1, 48, 48])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(NAMES)])]
    proto = helper.make_model(helper.make_graph(nodes, "linear", inputs, outputs, [weight, shape]), opset_imports=[helper.make_opsetid("", 20)])
    proto.ir_version = 10
    card = {"size": 48, "channels": 1, "expressions": NAMES, "preparation": PLAIN if preparation is None else preparation}
    helper.set_model_props(proto, {"ferlab": json.dumps(card)})
    path = paths.artefact("deploy", "onnx", run)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, path)
    return proto


def test_the_first_exported_run_on_control_faces_is_carried(params: Params) -> None:
    for run in RUNS:
        exported(run)
    assert bench_model.choose_model(params).run == "first"


def test_a_run_whose_faces_are_equalised_is_passed_over(params: Params) -> None:
    exported("first", preparation=PLAIN | {"equalise": "clahe"})
    exported("second")
    assert bench_model.choose_model(params).run == "second"


def test_the_model_that_ships_stands_in_where_no_run_is_exported(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench_model.choose_model(params).run == ""
    exported("first")
    monkeypatch.setattr(bench_model, "MOST_MODEL", 1000)
    assert bench_model.choose_model(params).run == ""


def test_stored_in_16_bits_the_model_predicts_what_the_run_predicts(params: Params) -> None:
    proto = exported("first")
    faces = np.random.default_rng(0).integers(0, 256, (40, 48, 48)).astype(np.uint8)
    model = bench_model.choose_model(params)
    assert len(model.content) < 0.6 * proto.ByteSize()
    whole = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"faces": faces[:, None].astype(np.float32) / 255})[0]
    assert 0 < np.abs(bench_model.predict(model, faces) - whole).max() < 2e-3  # logits here spread tenfold wider than a trained model's


def test_grad_cam_is_shown_where_the_file_computes_it(params: Params, tmp_path: Path) -> None:
    for run, shown in (("", True), ("first", False)):
        if run:
            exported(run)  # linear: no convolution
        model = bench_model.choose_model(params)
        assert model.run == run
        assert model.has_grad_cam is shown
        bench_page.write_page(params, tmp_path, evaluated=[], box=lambda stage, run: "")
        assert ("**Grad-CAM** is not shown" in (tmp_path / "bench.md").read_text()) is not shown
        (tmp_path / "bench.html").write_text(f"<p>{bench_page.PLACE}</p>")
        bench_page.complete_page(params, tmp_path)
        assert ('id="bench-cam"' in (tmp_path / "bench.html").read_text()) is shown


def test_buttons_set_the_units_of_their_expression() -> None:
    assert set(bench_page.units_of("happy")) == {6, 12, 25}
    assert set(bench_page.units_of("contempt")) == {"12R", "14R"}
    assert bench_page.units_of("neutral") == {}
    for name, combination in COMBINATIONS.items():
        assert set(combination.always) <= set(bench_page.units_of(name))


def test_the_page_is_whole_without_scripts_and_the_same_twice(params: Params, tmp_path: Path) -> None:
    exported("first")
    bench_page.write_page(params, tmp_path, evaluated=["first"], box=lambda stage, run: f"{stage} of {run}")
    text = (tmp_path / "bench.md").read_text()
    assert "deploy of first" in text
    assert "[run first](runs/first/evaluate.ipynb)" in text
    pages = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "bench.html").write_text(f"<article><p>{bench_page.PLACE}</p></article>")
        bench_page.complete_page(params, tmp_path / name)
        pages.append({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()})
    assert pages[0] == pages[1]
    assert set(pages[0]) == {"bench.html", "runtime.js", "weights.js", "LICENSES.md"}
    page = pages[0]["bench.html"].decode()
    assert page.count("data:image/png") == 2 + len(bench_page.SUBJECTS)
    assert all(f'data-expression="{name}"' in page for name in NAMES)
    assert bench_page.STILL in page
