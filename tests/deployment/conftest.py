"""A tiny model, built without the registry: two convolutions, seeded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ferlab.models import LoadedModel, load_model, save_model


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Return an untrained 16 px grey model of three classes, with sharp outputs so that labels differ between faces."""
    torch.manual_seed(7)
    module = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 8 * 8, 3))
    module[5].weight.data.mul_(8)
    return LoadedModel(
        module=module.eval(),
        name="tiny",
        options={},
        expressions=("angry", "happy", "neutral"),
        mean=(0.5,),
        std=(0.25,),
        size=16,
        channels=1,
        target_layer="0",
        trained_on=("train",),
    )


@pytest.fixture(scope="session")
def tiny_onnx(tiny: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return that model, exported."""
    from ferlab.deployment.export import export_onnx

    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_onnx(tiny, path)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Return a weights file of a registered model with fresh, seeded weights."""
    from ferlab.models import create_model

    torch.manual_seed(0)
    path = tmp_path / "weights.safetensors"
    names = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    save_model(path, create_model("baseline"), name="baseline", options={}, expressions=names, mean=[0.5], std=[0.25], size=48, channels=1)
    load_model(path)
    return path


@pytest.fixture(scope="session")
def acted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list]:
    """Return a clip of 5 s at 15 frames a second, and its truth: one acts happy, the other is covered for a second; one of them leaves."""
    from ferlab.control.clips import Act, Person, draw_clip, write_clip

    people = [
        Person(1, (Act("happy", start=1.0, hold=1.6, rise=0.4),), centre=(0.27, 0.5), side=0.62),
        Person(8, centre=(0.75, 0.5), side=0.55, covered=(2.0, 3.0), present=(0.0, 4.0)),
    ]
    frames = list(draw_clip(people, seconds=5, fps=15, size=(480, 300)))
    path = tmp_path_factory.mktemp("clips") / "acted.avi"
    write_clip(path, [frame.picture for frame in frames], fps=15)
    return path, frames
