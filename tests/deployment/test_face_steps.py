"""What was prepared is what is predicted: the same picture through the pipeline and through `Predictor`, compared as the network's input."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from torch import nn

from ferlab.control import read as draw_control_faces
from ferlab.data.augmentation import Augmentation
from ferlab.data.batches import FaceData
from ferlab.data.preparation.appearance import equalise_histogram, gaussian_blur, to_grey
from ferlab.data.preparation.detection import Detections
from ferlab.data.preparation.steps import plan_preparation, prepared_as
from ferlab.data.regions import Registration, template_masks
from ferlab.data.store import Store
from ferlab.deployment import Predictor
from ferlab.deployment.export import Deployed, export_onnx, exported_card, parity
from ferlab.deployment.face_steps import read_steps
from ferlab.deployment.predictor import DRAWN, _steps_of
from ferlab.models import LoadedModel
from ferlab.models.create import input_shape
from ferlab.models.inputs import prepare_images, standardise
from ferlab.params import Params, Prepare, Run, check_params
from ferlab.paths import InputError
from ferlab.studies import studies, study_text

ROOT = Path(__file__).parents[2]
NAMES = ("angry", "happy")
LOOK = ("size", "colour", "equalise", "blur")
# dataset of a source -> (rows, columns) of its pictures, side of the face in them, colour: as the dataset is delivered, scenes smaller
PICTURES = {
    "control": (48, 48, 48, False),
    "fer2013": (48, 48, 48, False),
    "ferplus": (48, 48, 48, False),
    "fer2013_reshuffled": (48, 48, 48, False),
    "ckplus": (245, 320, 160, False),
    "jaffe": (256, 256, 170, False),
    "captured": (240, 320, 150, True),
    "affectnet": (224, 224, 224, True),
}


@cache
def study(name: str) -> Params:
    return check_params(YAML(typ="safe").load(study_text(ROOT, name)), source=name)


@cache
def pictures(dataset: str, count: int = 3) -> tuple[np.ndarray, ...]:
    """Control faces, each in a scene of its own light and noise."""
    high, wide, side, colour = PICTURES[dataset]
    drawn, _ = draw_control_faces(faces=count, subjects=count, size=side, seed=len(dataset))
    generator = np.random.default_rng(len(dataset))
    scenes = []
    for face in drawn:
        scene = generator.integers(90, 110, (high, wide)).astype(np.uint8)
        scene[(high - side) // 2 :, (wide - side) // 2 :][:side, :side] = face
        scenes.append(np.stack([scene, 0.8 * scene, 0.6 * scene], axis=2).astype(np.uint8) if colour else scene)
    return tuple(scenes)


def in_pipeline(run: Run, prepare: Prepare, shown: tuple[np.ndarray, ...]) -> tuple[torch.Tensor, LoadedModel, list[Any]]:
    """Prepare, keep, batch and scale: the input of the last two pictures, the model that has learnt the others, what became of each picture."""
    settings = prepare.model_dump()
    look = {key: settings[key] for key in LOOK}
    ids = pd.DataFrame({"face_id": [f"x/{number}" for number in range(len(shown))]})
    if settings["face"]["detector"] == "dataset":  # a box about the middle of each picture
        high, wide = shown[0].shape[:2]
        ids = ids.assign(box_x=wide // 4, box_y=high // 4, box_w=wide // 2, box_h=high // 2)
    preparation = plan_preparation(ROOT, ids, settings["face"], **look)
    stages = [preparation.stages(picture, name) for picture, name in zip(shown, ids["face_id"], strict=True)]
    images = np.stack([each.face for each in stages])
    split = np.where(np.arange(len(shown)) < len(shown) - 2, "train", "val")
    faces = pd.DataFrame({"target": np.arange(len(shown)) % 2, "split": split, "source": "control:made"})
    made = prepared_as(settings["face"], **look, shape=images.shape[1:])
    store = Store(images=images, faces=faces, expressions=NAMES, preparation=made)
    channels, size = input_shape(run.model, run.options)
    how = {"prepare": partial(prepare_images, size=size, channels=channels), "standardise": standardise, "scaling": run.train.scaling}
    data = FaceData(store, batch_size=8, changes=Augmentation(), seed=0, **how)
    known = {"mean": data.mean, "std": data.std, "preparation": made, "sources": ("control:made",), "size": size, "channels": channels}
    model = LoadedModel(nn.Identity(), name=run.model, options={}, expressions=NAMES, target_layer=None, trained_on=("train",), **known)
    return next(iter(data.val_dataloader()))[0], model, stages


def in_predictor(model: LoadedModel, monkeypatch: pytest.MonkeyPatch, asked: str, *arguments: Any, **options: Any) -> torch.Tensor:
    """The network's input when a predictor that knows the exported card alone is asked for something."""
    card = json.loads(json.dumps(exported_card(model)))
    predictor = Predictor(None, expressions=NAMES, size=card["size"], channels=card["channels"], **_steps_of(card, where="x"))
    given: list[np.ndarray] = []
    monkeypatch.setattr(predictor, "_run", lambda prepared: given.append(prepared) or np.full((len(prepared), 2), 0.5, np.float32))
    getattr(predictor, asked)(*arguments, flip=False, **options)
    graph = Deployed(model)
    return (torch.from_numpy(np.concatenate(given)) - graph.mean) / graph.std


def assert_alike(wanted: torch.Tensor, model: LoadedModel, stages: list[Any], shown: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare the last two pictures, cropped faces and stored faces as the network's input, to 1e-5 of the full scale, black to white."""
    for picture, stage, row in zip(shown[-2:], stages[-2:], wanted, strict=True):
        searched = stage.box is not None
        got = {}
        if model.preparation.get("face", {}).get("detector") != "dataset":  # Haar replaces the boxes of a dataset, and a note says so
            got["predict_image"] = in_predictor(model, monkeypatch, "predict_image", picture, whole=not searched)
        got["predict_prepared"] = in_predictor(model, monkeypatch, "predict_prepared", stage.face[None])
        if "cropped" in stage.images:
            got["predict_faces"] = in_predictor(model, monkeypatch, "predict_faces", stage.images["cropped"][None])
        for way, inputs in got.items():
            assert inputs.shape == row[None].shape, way
            apart = (inputs - row[None]).abs().amax(dim=(0, 2, 3)) * torch.tensor(model.std)
            assert apart.max() < 1e-5, way


def distinct_inputs() -> dict[str, tuple[str, Prepare, Run]]:
    """Return each way from a dataset's pictures to a network's input that a study has, by the studies and sets that have it."""
    ways: dict[tuple[Any, ...], tuple[dict[str, None], str, Prepare, Run]] = {}
    for name, run in [(each, run) for each in studies(ROOT) for run in study(each).runs.values()]:
        prepare = study(name).prepare[run.data]
        for dataset in {source["dataset"]: None for source in prepare.all_sources.values()}:
            look = json.dumps(prepare.model_dump(include={"face", *LOOK}))
            way = (dataset, look, *input_shape(run.model, run.options), run.train.scaling)
            ways.setdefault(way, ({}, dataset, prepare, run))[0][f"{name}-{run.data}"] = None
    return {f"{' '.join(names)} {number}": tuple(way) for number, (names, *way) in enumerate(ways.values())}


@pytest.mark.parametrize(("dataset", "prepare", "run"), distinct_inputs().values(), ids=distinct_inputs())
def test_the_predictor_gives_a_network_what_the_pipeline_gives_it(dataset: str, prepare: Prepare, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_alike(*in_pipeline(run, prepare, pictures(dataset)), pictures(dataset), monkeypatch)


HAAR = {"detector": "haar"}
SETS = {  # what no study has
    "CLAHE, a margin, colour": ("captured", {"face": HAAR | {"margin": 0.2}, "size": 64, "colour": "rgb", "equalise": "clahe"}),
    "aligned, as delivered in colour": ("captured", {"face": HAAR | {"align": "eyes"}, "size": 64}),
    "a closer cut, blurred": ("ckplus", {"face": HAAR | {"margin": -0.1}, "size": 40, "colour": "grey", "blur": 3}),
    "whole where no face is found": ("fer2013", {"face": HAAR | {"min_size": 100, "retries": False, "not_found": "whole"}, "equalise": "clahe"}),
    "pictures that are not square": ("ckplus", {"equalise": "histogram", "blur": 5}),
    "grey made of colour": ("affectnet", {"colour": "grey", "size": 100, "equalise": "histogram"}),
}


@pytest.mark.parametrize("scaling", ["standardised", "unit", "mean_image"])
@pytest.mark.parametrize("name", SETS)
def test_sets_that_no_study_has_are_predicted_as_prepared_too(name: str, scaling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, steps = SETS[name]
    run = study("resemotenet").runs["cnn"]
    run = run.model_copy(update={"train": run.train.model_copy(update={"scaling": scaling})})
    assert_alike(*in_pipeline(run, Prepare(dataset=dataset, **steps), pictures(dataset)), pictures(dataset), monkeypatch)


def test_the_pictures_of_cs231a_and_of_the_auxiliary_data_are_searched() -> None:
    """Else the test above would compare whole pictures."""
    for name, data, dataset in (("cs231a", "ckplus8_random", "ckplus"), ("cs230_table2", "fer2013_aux", "jaffe")):
        prepare = study(name).prepare[data]
        run = next(run for run in study(name).runs.values() if run.data == data)
        assert all(stage.box is not None for stage in in_pipeline(run, prepare, pictures(dataset))[2])


CROPPED = {"face": {}, "size": 20, "colour": "grey", "equalise": "histogram", "blur": 3}


def test_cropped_faces_are_brought_to_grey_then_to_size_then_equalised_then_blurred() -> None:
    steps = read_steps(CROPPED, where="x")
    assert steps is not None
    faces = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3)).astype(np.uint8)
    small = [cv2.resize(to_grey(face), (20, 20), interpolation=cv2.INTER_AREA) for face in faces]
    np.testing.assert_array_equal(steps.change(faces), [gaussian_blur(equalise_histogram(face), kernel=3) for face in small])
    assert steps.change(faces[:0]).shape == (0, 40, 40, 3)
    assert (steps.detector, steps.notes) == (None, ())


def test_a_set_aligned_by_eyes_is_aligned_by_them_in_a_picture_of_elsewhere() -> None:
    face = Prepare(face={"detector": "haar", "align": "eyes", "margin": 0.2}).face.model_dump()
    recorded = prepared_as(face, size=64, colour="grey", equalise="none", blur=0, shape=(64, 64))
    steps = read_steps(recorded, where="x")
    plan = plan_preparation(ROOT, pd.DataFrame({"face_id": ["x/0"]}), face, size=64, colour="grey", equalise="none", blur=0)
    aligned = 0
    for picture in pictures("ckplus"):
        stages = plan.stages(picture, "x/0")
        aligned += stages.eyes is not None
        np.testing.assert_array_equal(steps.cut(picture, [stages.box])[0], stages.face)
    assert aligned


def test_landmarks_are_those_of_the_box_and_where_none_are_found_the_eyes_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    face = Prepare(face={"detector": "yunet", "file": "yunet.onnx", "sha256": "0" * 64, "align": "landmarks"}).face.model_dump()
    recorded = prepared_as(face, size=32, colour="grey", equalise="none", blur=0, shape=(32, 32))
    points = np.array([[[10, 20], [30, 20], [20, 30], [12, 40], [28, 40]], [[110, 22], [130, 18], [121, 31], [112, 40], [128, 41]]], float)
    boxes = np.array([[0, 0, 40, 50], [100, 0, 40, 50]])
    seen = Detections(boxes, points, "as stated")
    monkeypatch.setattr("ferlab.deployment.face_steps.open_detector", lambda *_, **__: lambda picture: seen)
    picture = np.random.default_rng(0).integers(0, 256, (60, 160)).astype(np.uint8)
    steps = read_steps(recorded, where="x")
    cut = steps.cut(picture, [(101, 1, 40, 50), (0, 0, 40, 50)])
    plan = plan_preparation(ROOT, pd.DataFrame({"face_id": [], "landmarks": []}), {**face, "detector": "none"}, **{k: recorded[k] for k in LOOK})
    for got, landmarks in zip(cut, points[::-1], strict=True):
        np.testing.assert_array_equal(got, plan.stages(picture, "x", landmarks).face)
    seen = Detections(boxes[:0], points[:0], None)
    assert steps.cut(picture, [(0, 0, 40, 50)])[0].shape == (32, 32)


@pytest.mark.parametrize(
    ("face", "note"),
    [
        ({"detector": "dataset", "margin": 0.1}, "cropped by boxes of the dataset; faces are searched for by Haar instead"),
        ({"detector": "yunet", "file": "gone.onnx"}, r"cannot be opened \(yunet: gone.onnx is missing"),
        ({"detector": "haar", "align": "landmarks"}, "aligned by landmarks of the dataset"),
    ],
)
def test_what_cannot_be_done_as_the_set_did_it_is_said(face: dict[str, Any], note: str) -> None:
    steps = read_steps({**CROPPED, "face": face}, where="x")
    assert len(steps.notes) == 1
    assert re.search(note, steps.notes[0])
    assert steps.cut(pictures("ckplus")[0], [(80, 40, 160, 160)])[0].shape == (20, 20)


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        ([1], "model.onnx: `preparation` of its card is a list; expected face, size"),
        ({"sise": 3}, "has 'sise'; expected face, size"),
        ({**CROPPED, "blur": 4000}, "`preparation.blur` of its card: .*, got '4000'"),
        ({**CROPPED, "face": {"margin": "wide"}}, "`preparation.face.margin` of its card"),
    ],
)
def test_a_card_that_is_not_as_it_should_be_is_refused_in_a_line(recorded: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_steps(recorded, where="model.onnx")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("sources", "drawn"),
    [(("control",), True), (("control:ckplus", "smote"), True), (("control", "fer2013"), False), (("fer2013",), False), ((), False)],
)
def test_a_model_that_has_met_drawn_faces_alone_says_so(sources: tuple[str, ...], drawn: bool) -> None:
    assert (DRAWN in _steps_of({"sources": list(sources)}, where="x").get("notes", ())) == drawn


def test_a_card_without_the_new_keys_takes_no_step(tiny_onnx: Path) -> None:
    predictor = Predictor.load(tiny_onnx)
    assert (predictor.steps, predictor.notes) == (None, ())


@pytest.mark.parametrize("mean", [(0.0,), torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0))], ids=["unit", "mean image"])
def test_the_exported_graph_scales_as_the_model_does(tiny: LoadedModel, tmp_path: Path, mean: Any) -> None:
    model = replace(tiny, mean=mean, std=(1.0,), preparation=CROPPED | {"size": 16}, sources=("control",))
    export_onnx(model, tmp_path / "model.onnx")
    faces = np.random.default_rng(0).integers(0, 256, (50, 16, 16)).astype(np.uint8)
    assert parity(model, Predictor.load(tmp_path / "model.onnx"), faces)["max_abs_diff_millionths"] < 10
    predictor = Predictor.load(tmp_path / "model.onnx")
    changed = np.stack([gaussian_blur(equalise_histogram(face), kernel=3) for face in faces])
    np.testing.assert_array_equal(predictor.predict_faces(faces), predictor.predict_prepared(changed))
    with torch.inference_mode():
        expected = torch.softmax(tiny.module(model.normalise(changed)), dim=1).numpy()
    np.testing.assert_allclose(predictor.predict_faces(faces), expected, atol=1e-5)
    assert predictor.notes == (DRAWN,)


def test_the_steps_need_no_torch(tiny: LoadedModel, tmp_path: Path) -> None:
    export_onnx(replace(tiny, preparation=CROPPED | {"face": {"detector": "haar"}}, sources=("fer2013",)), tmp_path / "model.onnx")
    code = (
        "import sys, numpy as np; from ferlab.deployment import Predictor; picture = np.zeros((64, 64, 3), np.uint8);"
        f"predictor = Predictor.load({str(tmp_path / 'model.onnx')!r}); predictor.predict_image(picture, whole=True);"
        "predictor.predict_image(picture); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


def test_a_cropped_face_is_covered_where_those_of_the_dataset_are() -> None:
    placed = Registration(shift_y=1 / 48, scale_x=0.9, correlation=0.8, found=True)
    made = prepared_as(Prepare().face.model_dump(), **Prepare().model_dump(include=set(LOOK)), shape=(48, 48), cover=["rest"], placed=placed)
    steps = read_steps(json.loads(json.dumps(made)), where="x")
    assert steps is not None
    faces = np.stack(pictures("control"))
    rest = template_masks((48, 48), placed)["rest"]
    assert (steps.change(faces)[:, rest] == 128).all()
    np.testing.assert_array_equal(steps.change(faces)[:, ~rest], faces[:, ~rest])
    for wrong in ({}, {**made["placement"], "shift_y": "left"}, None):
        with pytest.raises(InputError, match=r"x: `preparation.placement` of its card: expected the numbers correlation, found,"):
            read_steps({**made, "placement": wrong}, where="x")
