"""Maps come back at the size of the stored face, whatever the model takes in, and their file has no times in it."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ferlab.explanation.attributions import grad_cam, grey_baseline, hires_cam, occlusion
from ferlab.explanation.maps import explain_faces, resize_maps, scale_to_input, write_attributions
from ferlab.expressions import EXPRESSIONS
from ferlab.models import LoadedModel, create_model


def loaded(name: str = "five_layer", *, size: int = 48, channels: int = 1) -> LoadedModel:
    torch.manual_seed(0)
    return LoadedModel(
        module=create_model(name, in_channels=channels).eval(),
        name=name,
        options={},
        expressions=EXPRESSIONS,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        size=size,
        channels=channels,
        target_layer="relu3",
        trained_on=("train",),
    )


def test_stored_faces_get_the_maps_of_their_normalised_selves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ferlab.explanation.maps.FACES_AT_ONCE", 2)
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    model, classes = loaded(), np.array([0, 3, 6])
    maps = explain_faces(model, images, explained_class=classes, window=16, stride=16)
    faces = torch.tensor((images[:, None] / 255 - 0.5) / 0.25, dtype=torch.float32)
    cams = grad_cam(model.module, faces, explained_class=classes, layer="relu3")
    drops = occlusion(model.module, faces, explained_class=classes, baseline=grey_baseline(0.5, 0.25), window=16, stride=16)
    assert list(maps) == ["grad_cam", "hires_cam", "occlusion"]
    np.testing.assert_allclose(maps["grad_cam"], cams, atol=1e-6)
    np.testing.assert_allclose(maps["hires_cam"], hires_cam(model.module, faces, explained_class=classes, layer="relu3"), atol=1e-6)
    np.testing.assert_allclose(maps["occlusion"], drops, atol=1e-6)


def test_grey_is_grey_where_a_mean_image_is_subtracted() -> None:
    """The same network, the mean image taken away before it or as its first step: covered by the same grey, the maps are the same."""
    mean = torch.rand(1, 48, 48)
    images, classes = np.random.default_rng(0).integers(0, 256, (2, 48, 48), dtype=np.uint8), np.array([1, 4])

    class Subtracts(torch.nn.Module):
        def __init__(self, module: torch.nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, faces: torch.Tensor) -> torch.Tensor:
            return self.module(faces - mean)

    before = replace(loaded(), mean=mean, std=(1.0,), target_layer=None)
    within = replace(before, module=Subtracts(before.module).eval(), mean=(0.0,))
    maps = [explain_faces(model, images, explained_class=classes, window=16, stride=16)["occlusion"] for model in (before, within)]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)
    assert np.abs(maps[0]).max() > 1e-3


def test_models_that_pool_or_have_no_convolution_have_no_hires_cam() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48), dtype=np.uint8)
    pooled = replace(loaded("mini_xception"), target_layer="maps")
    assert list(explain_faces(pooled, images, explained_class=np.array([1, 2]), window=24, stride=24)) == ["grad_cam", "occlusion"]
    without = replace(loaded(), target_layer=None)
    assert list(explain_faces(without, images, explained_class=np.array([1, 2]), window=24, stride=24)) == ["occlusion"]


def test_larger_colour_faces_get_maps_of_their_own_size() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    maps = explain_faces(loaded(channels=3), images, explained_class=np.array([1, 2]), window=32, stride=32)
    assert {values.shape for values in maps.values()} == {(2, 96, 96)}
    assert all(np.isfinite(values).all() for values in maps.values())


def test_resized_maps_keep_their_mean_and_windows_scale_with_the_input() -> None:
    maps = np.random.default_rng(0).random((2, 96, 96), dtype=np.float32)
    np.testing.assert_allclose(resize_maps(maps, (48, 48)).mean((1, 2)), maps.mean((1, 2)), atol=2e-3)
    assert resize_maps(maps, (96, 96)) is maps
    assert scale_to_input(8, face=48, net=197) == 33
    assert scale_to_input(1, face=48, net=16) == 1


def test_equal_maps_give_equal_bytes_without_times_or_pickles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = {
        "face_id": np.array(["control/0000001", "control/0000010"], dtype=object),
        "target": [1, 2],
        "explained_class": [1, 0],
        "grad_cam": rng.random((2, 4, 4)),
        "occlusion": rng.random((2, 4, 4)),
    }
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path in paths:
        write_attributions(path, **values)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert {member.date_time for member in zipfile.ZipFile(paths[0]).infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(paths[0], allow_pickle=False) as kept:
        assert kept["face_id"].tolist() == ["control/0000001", "control/0000010"]
        assert (kept["occlusion"].dtype, kept["grad_cam"].dtype) == (np.float16, np.float16)
        np.testing.assert_allclose(kept["grad_cam"], values["grad_cam"], atol=1e-3)


def test_values_too_large_for_the_file_are_refused(tmp_path: Path) -> None:
    maps = {"grad_cam": np.full((1, 2, 2), 1e6), "occlusion": np.zeros((1, 2, 2))}
    with pytest.raises(ValueError, match="finite in float16"):
        write_attributions(tmp_path / "a.npz", face_id=["a"], target=[0], explained_class=[0], **maps)
