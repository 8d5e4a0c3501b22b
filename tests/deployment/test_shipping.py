"""A run becomes the model that ships: four files, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from ferlab.deployment import Predictor, predictor, shipping
from ferlab.deployment.confidence import Confidence
from ferlab.deployment.shipping import FOLDER, ship
from ferlab.evaluation.predictions import predictions_table, write_predictions
from ferlab.expressions import EXPRESSIONS
from ferlab.models import create_model, save_model
from ferlab.params import load_params
from ferlab.paths import InputError, write_json
from ferlab.studies import write_study

ROOT = Path(__file__).parents[2]
FACES = 12
SCORE = {"accuracy": 0.5, "accuracy_ci_low": 0.25, "accuracy_ci_high": 0.75, "nll": 1.0}


@pytest.fixture
def clone(tmp_path: Path, monkeypatch) -> Path:
    """Return a clone whose run five_layer is trained and evaluated: fresh weights, twelve faces, invented scores."""
    shutil.copytree(ROOT / "conf" / "study", tmp_path / "conf" / "study")
    write_study(tmp_path, "quick")
    (tmp_path / "src" / "ferlab" / "deployment").mkdir(parents=True)
    for folder in ("models/five_layer", "reports/metrics/train", "reports/metrics/evaluate"):
        (tmp_path / folder).mkdir(parents=True)
    torch.manual_seed(0)
    path = tmp_path / "models" / "five_layer" / "weights.safetensors"
    save_model(path, create_model("five_layer"), name="five_layer", options={}, expressions=EXPRESSIONS, mean=[0.5], std=[0.25], size=48, channels=1)
    (path.parent / "history.csv").write_text("epoch,phase\n1,select\n")
    write_json(tmp_path / "reports/metrics/train/five_layer.json", {"best_epoch": 1, "epochs_run": 1, "provenance": {"study": "quick", "code": "c"}})
    scores = {"dataset": "control", "usage": {"test": "PublicTest"}, "trained_on": ["train"], "n": {"test": 4}, "tta_none": {"test": SCORE}}
    write_json(tmp_path / "reports/metrics/evaluate/five_layer.json", {**scores, "tta_flip": {"test": {**SCORE, "accuracy": 0.75}}})
    images = np.random.default_rng(0).integers(0, 256, (FACES, 48, 48)).astype(np.uint8)
    faces = pd.DataFrame({"split": ["train"] * 5 + ["val"] * 3 + ["test"] * 4, "usage": ["Training"] * 8 + ["PublicTest"] * 4})
    faces = faces.assign(face_id=[f"control/{number}" for number in range(FACES)], source="control", duplicate_group=np.arange(FACES))
    probs = np.eye(7, dtype=np.float32)[[3] * 7] * 0.5 + np.float32(0.5 / 7)
    table = predictions_table(faces["face_id"][5:], faces["split"][5:], np.array([3, 0, 3, 3, 3, 6, 6]), probs=probs, expressions=EXPRESSIONS)
    write_predictions(tmp_path / "data/predictions/five_layer.parquet", table)
    (tmp_path / "data" / "tta").mkdir()
    np.savez(tmp_path / "data/tta/five_layer.npz", none=probs, flip=probs, trained_on=np.array(["train"]), selected_on=np.array(["val"]))
    kept = shipping.Store(images=images, faces=faces, expressions=EXPRESSIONS)
    (tmp_path / "data" / "prepared" / "control").mkdir(parents=True)
    monkeypatch.setattr(shipping, "open_store", lambda path: kept)
    monkeypatch.setattr(predictor, "SHIPPED", tmp_path / FOLDER / "model.onnx")
    return tmp_path


def test_what_ships_opens_and_its_card_says_what_it_is(clone) -> None:
    folder = ship(clone, "five_layer", cost="60 CPU seconds", note="A trial.")
    assert sorted(path.name for path in folder.iterdir()) == ["card.json", "history.csv", "model.onnx", "study.yaml"]
    assert Predictor.load().expressions == EXPRESSIONS
    card = predictor.shipped_card()
    content = (folder / "model.onnx").read_bytes()
    assert (card["sha256"], card["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert card["batch"] == Predictor.load().batch == Predictor.load(folder / "model.onnx").batch
    assert (card["parameters"], card["seed"], card["study"]) == (2436263, 0, "quick")
    assert (card["training_cost"], card["note"]) == ("60 CPU seconds", "A trial.")
    assert card["trained_on"] == {"dataset": "control", "faces": 5, "splits": ["train"], "usages": ["Training"]}
    assert (card["test"]["usage"], card["test"]["n"]) == ("PublicTest", 4)
    assert (card["test"]["none"]["accuracy"], card["test"]["flip"]["accuracy"]) == (0.5, 0.75)
    assert card["parity"]["faces"] == 3
    happy = card["confidence"]["precision"]["happy"]
    assert (happy["right"], happy["n"], happy["confused_with"]) == (2, 4, "neutral")
    assert card["confidence"]["measured_on"] == "control faces, test, deduplicated"
    assert card["confidence"]["fitted_on"] == "1 of 3 faces (control faces, val, deduplicated) are wrong, too few to fit a temperature"
    assert Predictor.load().confidence == Confidence.from_card(card)
    assert (folder / "study.yaml").read_text() == (clone / "params.yaml").read_text()
    assert (folder / "history.csv").read_text() == "epoch,phase\n1,select\n"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["weights"]


def refuse(clone: Path, said: str, run: str = "five_layer") -> None:
    folder = clone / FOLDER
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"last good")
    with pytest.raises(InputError, match=said) as error:
        ship(clone, run, cost="nothing")
    assert "\n" not in str(error.value)
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("model.onnx", b"last good")]
    assert [path.name for path in folder.parent.iterdir()] == ["weights"]


def test_an_unknown_run_is_refused(clone) -> None:
    refuse(clone, "did you mean 'five_layer'", run="five_layr")


@pytest.mark.parametrize(
    "gone",
    [
        "models/five_layer/weights.safetensors", "models/five_layer/history.csv", "reports/metrics/evaluate/five_layer.json",
        "data/predictions/five_layer.parquet", "data/tta/five_layer.npz",
    ],
)
def test_a_run_that_lacks_a_file_is_refused(clone, gone) -> None:
    (clone / gone).unlink()
    refuse(clone, f"{gone}: not found; `dvc repro` makes it")


def test_a_run_of_another_study_is_refused(clone) -> None:
    write_json(clone / "reports/metrics/train/five_layer.json", {"provenance": {"study": "cs230"}})
    refuse(clone, "was trained in study cs230, params.yaml holds quick")


def test_weights_of_another_net_are_refused(clone) -> None:
    path = clone / "models" / "five_layer" / "weights.safetensors"
    save_model(path, create_model("baseline"), name="baseline", options={}, expressions=EXPRESSIONS, mean=[0.5], std=[0.25], size=48, channels=1)
    refuse(clone, r"its weights are of baseline \{\}, params.yaml has five_layer")


def test_scores_of_another_training_are_refused(clone) -> None:
    path = clone / "reports/metrics/evaluate/five_layer.json"
    write_json(path, {**json.loads(path.read_text()), "trained_on": ["train", "val"]})
    refuse(clone, "evaluated before its last training")


def test_a_net_that_was_selected_on_test_is_refused(clone) -> None:
    path = clone / "models" / "five_layer" / "weights.safetensors"
    card = {"name": "five_layer", "options": {}, "expressions": EXPRESSIONS, "mean": [0.5], "std": [0.25], "size": 48, "channels": 1}
    save_model(path, create_model("five_layer"), **card, selected_on=("test",))
    refuse(clone, "run five_layer: test selected its epoch")


def test_a_net_that_is_too_large_is_refused(clone, monkeypatch) -> None:
    monkeypatch.setattr(shipping, "MOST_BYTES", 4_000_000)
    refuse(clone, r"takes 4\.9 MB with float16 weights; expected at most 4; ship a smaller one")


def test_a_file_that_answers_otherwise_is_refused(clone, monkeypatch) -> None:
    monkeypatch.setattr(shipping, "LARGEST_CHANGE", -1.0)
    refuse(clone, "try --weights float32")


def test_shipping_needs_a_clone(tmp_path) -> None:
    with pytest.raises(InputError, match="shipping works in a clone"):
        ship(tmp_path, "five_layer", cost="nothing")


def test_the_shipped_card_and_study_are_in_today_s_form() -> None:
    """A renamed key of params.yaml or of the card is renamed in the shipped files too."""
    card, params = predictor.shipped_card(), load_params(predictor.SHIPPED.with_name("study.yaml"))
    assert (params.study, params.runs[card["run"]].seed) == (card["study"], card["seed"])
    assert {"trained_on", "parity", "test", "licence", "limits", "training_cost", "history"} <= card.keys()
    assert (card["licence"], card["limits"]) == (shipping.LICENCE, shipping.LIMITS)
