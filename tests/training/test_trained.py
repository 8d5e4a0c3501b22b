"""When a trained model is taken, and when it is trained again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ferlab import paths
from ferlab.data.store import Store
from ferlab.models.pretrained import is_available
from ferlab.params import StageParams, stage_params
from ferlab.training import trained


def asked(pretrained: str) -> StageParams:
    train = {"epochs": 1, "batch_size": 2, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant", "pretrained": pretrained}
    run = {"family": "cs230", "model": "five_layer", "data": "control", "seed": 1, "group": "mine", "train": train}
    return stage_params("train", "run", {"study": "tiny", "name": "run", "run": run})


@pytest.mark.parametrize(
    ("pretrained", "loaded", "there", "again"),
    [
        ("hf:owner/name/file", False, True, True),
        ("hf:owner/name/file", False, False, False),
        ("hf:owner/name/file", True, True, False),
        ("published", False, True, False),  # five_layer has none
        ("", False, True, False),
    ],
)
def test_a_model_that_missed_its_pretrained_weights_is_trained_again_once_they_are_there(tmp_path, monkeypatch, pretrained, loaded, there, again):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr("ferlab.models.hub.ROOT", tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")  # a port nobody listens on
    facts = paths.artefact("train", "facts", "run")
    facts.parent.mkdir(parents=True)
    facts.write_text(json.dumps({"pretrained": loaded, "trained_on": ["train"], "selected_on": ["val"]}))
    if there:
        file = tmp_path / "data" / "raw" / "pretrained" / "hf" / "owner" / "name" / "main" / "file"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"weights")
    asking = []

    class Made:
        places, record = {"facts": facts, "history": tmp_path / "history.csv"}, {}

    (tmp_path / "history.csv").write_text("epoch\n1\n")
    monkeypatch.setattr(trained, "obtain", lambda *_, anew, **__: asking.append(anew) or Made)
    trained.trained(asked(pretrained), None)
    assert asking == [again]


def test_weights_are_available_where_their_file_is(tmp_path: Path) -> None:
    (tmp_path / "first.safetensors").write_bytes(b"weights")
    assert is_available("five_layer", source=str(tmp_path / "first.safetensors"))
    assert not is_available("five_layer", source="http://127.0.0.1:1/first.safetensors", folder=tmp_path)


@pytest.mark.parametrize(
    ("source", "usage", "data"), [("captured", "", "fer2013 (Training)"), ("fer2013", "Training", ""), ("ferplus", "Training", "")]
)
def test_a_student_of_the_shipped_model_rests_on_its_data_where_they_are_not_its_own(source: str, usage: str, data: str) -> None:
    faces = pd.DataFrame({"face_id": [f"{source}/1"], "source": source, "usage": usage})
    assert trained._data_of_teacher("shipped", Store(images=np.zeros((1, 8, 8), np.uint8), faces=faces, expressions=("happy",))) == data
