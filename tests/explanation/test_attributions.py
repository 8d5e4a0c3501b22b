"""Attributions against numbers worked out by hand and against the mirror; maps of the stored face's size, and their file."""

from __future__ import annotations

import ast
import inspect
import zipfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import Mirrored, OneConv, grad_cam, hires_cam, maps_of, occlusion, small
from torch import nn

from ferlab.explanation import gradient_maps, layer_maps, perturbation_maps, segment_maps
from ferlab.explanation.attributions import (
    FUNCTIONS,
    attribute,
    explain_faces,
    grey_baseline,
    method_options,
    possible_methods,
    resize_maps,
    scale_to_input,
    write_attributions,
)
from ferlab.explanation.methods import METHODS
from ferlab.expressions import EXPRESSIONS
from ferlab.models import LoadedModel, create_model
from ferlab.params.sections import AttributionMethod
from ferlab.paths import InputError

FACES = nn.functional.interpolate(torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(4)), size=(16, 16), mode="bicubic")
CLASSES = np.array([0, 1, 2, 0, 1])
QUICK = {"masks": 64, "window": 4, "stride": 3, "steps": 8, "samples": 6}
SLACK = {"smooth_grad", "rise", "xrai"}  # random noise, random masks and segments are not their own mirror image


@pytest.fixture(autouse=True)
def _segment_small_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """XRAI segments every face at 224 pixels, which takes most of its time."""
    monkeypatch.setattr(segment_maps, "SIDE", 56)
    monkeypatch.setattr(segment_maps, "SMALLEST", 20)


def options_of(method: str) -> dict[str, Any]:
    """Return settings that make a method quick, and the layer of the models of `tiny_models` where it needs one."""
    layer = {"layer": "relu2"} if METHODS[method].needs_layer else {}
    return layer | {name: value for name, value in QUICK.items() if name in method_options(method)}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_method_returns_one_finite_map_per_face_with_the_sign_that_it_states(method: str, channels: int) -> None:
    maps = attribute(method, small(channels), FACES.expand(-1, channels, -1, -1).clone(), explained_class=CLASSES, **options_of(method))
    assert (maps.shape, maps.dtype, maps.requires_grad) == ((5, 1, 16, 16), torch.float32, False)
    assert maps.isfinite().all()
    assert maps.amax((1, 2, 3)).count_nonzero() >= 3
    assert bool(maps.min() < 0) is METHODS[method].signed


@pytest.mark.parametrize("method", METHODS)
def test_a_map_depends_on_its_face_alone(method: str) -> None:
    net, how = small(), options_of(method)
    maps = maps_of(method, net, FACES, explained_class=CLASSES, **how)
    tolerance = {"atol": 2e-4 * np.abs(maps).max(), "rtol": 1e-3}
    order = np.array([3, 0, 4, 2, 1])
    np.testing.assert_allclose(maps_of(method, net, FACES[order], explained_class=CLASSES[order], **how), maps[order], **tolerance)
    np.testing.assert_allclose(maps_of(method, net, FACES, explained_class=CLASSES, batch_size=7, **how), maps, **tolerance)
    alone = maps_of(method, net, FACES[2:3], explained_class=[2], batch_size=1, **how)
    np.testing.assert_allclose(alone[0], maps[2], **tolerance)
    other = maps_of(method, net, FACES[2:3], explained_class=[0], **how)
    assert np.abs(other - alone).max() > 0.05 * np.abs(alone).max()


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_map_and_leaves_the_callers_generator_alone(method: str) -> None:
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first, second, other = (maps_of(method, small_once(), FACES, explained_class=CLASSES, seed=seed, **options_of(method)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, second)
    assert np.array_equal(first, other) is (method not in ("smooth_grad", "rise"))
    torch.testing.assert_close(torch.get_rng_state(), before)


@cache
def small_once() -> nn.Module:
    with torch.random.fork_rng():
        return small()


@pytest.mark.parametrize("method", METHODS)
def test_a_mirrored_face_has_the_mirrored_map(method: str) -> None:
    many = {"rise": {"masks": 3000}, "smooth_grad": {"samples": 200}, "occlusion": {"stride": 4}}  # 4: the windows fit the face
    net, how, face = Mirrored().eval(), options_of(method) | many.get(method, {}), FACES[:1]
    maps, mirrored = (maps_of(method, net, faces, explained_class=[1], **how)[0] for faces in (face, face.flip(-1)))
    assert np.abs(maps - maps[:, ::-1]).max() > 0.1 * np.abs(maps).max()
    if method in SLACK:
        assert np.corrcoef(mirrored[:, ::-1].ravel(), maps.ravel())[0, 1] > 0.8
    else:
        np.testing.assert_allclose(mirrored[:, ::-1], maps, atol=1e-5, rtol=1e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), explained_class=st.integers(0, 2))
def test_any_mirrored_face_has_mirrored_grad_cam_and_occlusion(seed: int, explained_class: int) -> None:
    faces = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    net, chosen = Mirrored().eval(), np.full(2, explained_class)
    for explain in (
        lambda x: grad_cam(net, x, explained_class=chosen, layer="conv2"),
        lambda x: occlusion(net, x, explained_class=chosen, baseline=0.0, window=4, stride=4),
    ):
        np.testing.assert_allclose(explain(faces.flip(-1)), explain(faces)[..., ::-1], atol=1e-5)


def test_names_layers_and_options_that_do_not_exist_are_named_in_one_line() -> None:
    how = {"explained_class": CLASSES}
    with pytest.raises(InputError, match=r"no attribution method is called 'gradcam'; known: grad_cam, grad_cam_pp, .*, xrai$"):
        attribute("gradcam", small(), FACES, **how)
    with pytest.raises(InputError, match=r"^LayerCAM explains a layer, and none was named"):
        attribute("layer_cam", small(), FACES, **how)
    with pytest.raises(InputError, match=r"^RISE has no option 'window'; it has baseline, seed, masks, cells, shown"):
        attribute("rise", small(), FACES, window=3, **how)


def test_captum_target_is_passed_by_keyword_from_explained_class() -> None:
    sources = [inspect.getsource(module) for module in (layer_maps, gradient_maps, perturbation_maps)]
    calls = [
        node
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "attribute"
    ]
    assert len(calls) == 6
    for call in calls:
        (target,) = [keyword.value for keyword in call.keywords if keyword.arg == "target"]
        assert isinstance(target, ast.Name)
        assert target.id == "explained_class"


def test_every_method_has_a_function_that_takes_its_layer_alone() -> None:
    assert list(FUNCTIONS) == list(METHODS)
    for name, method in METHODS.items():
        assert method.needs_layer is ("layer" in inspect.signature(FUNCTIONS[name]).parameters)


def test_one_class_per_face_is_demanded() -> None:
    with pytest.raises(ValueError, match="one explained class for each"):
        grad_cam(OneConv().eval(), torch.zeros(1, 1, 4, 4), explained_class=[0, 1], layer="conv")


def test_grey_baseline_is_normalised_per_channel() -> None:
    np.testing.assert_allclose(grey_baseline([0.4, 0.5, 0.6], [0.1, 0.2, 0.5]), [1.0, 0.0, -0.2], atol=1e-6)
    assert grey_baseline(0.25, 0.25).tolist() == [1.0]


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
    monkeypatch.setattr("ferlab.explanation.attributions.FACES_AT_ONCE", 2)
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


def test_methods_that_a_model_does_not_allow_are_excluded_and_the_others_keep_their_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48), dtype=np.uint8)
    asked = ["rise", "guided_grad_cam", "gradients", "rise", "occlusion"]
    assert possible_methods(loaded(), images, asked) == ("rise", "guided_grad_cam", "gradients", "occlusion")
    assert possible_methods(loaded("hog_svm"), images, asked) == ("rise", "occlusion")
    assert possible_methods(replace(loaded(), target_layer=None), images, asked) == ("rise", "gradients", "occlusion")
    with pytest.raises(InputError, match="five_layer has no convolution that layer_cam could explain; choose occlusion"):
        explain_faces(replace(loaded(), target_layer=None), images, explained_class=np.array([1, 2]), methods=["layer_cam"])
    with pytest.raises(InputError, match="no attribution method is called 'cam'"):
        explain_faces(loaded(), images, explained_class=np.array([1, 2]), methods=["cam"])


def test_params_name_every_method() -> None:
    assert get_args(AttributionMethod) == tuple(METHODS)


def test_probabilities_are_those_of_the_models_own_output() -> None:
    images, chosen = np.random.default_rng(0).integers(0, 256, (2, 48, 48), dtype=np.uint8), np.array([1, 4])
    model = replace(loaded(), output="sigmoid")
    faces = model.normalise(images)
    grey = torch.zeros_like(faces)  # 0.5 is the mean of `loaded`
    with torch.no_grad():
        seen, hidden = (model.probs(model.module(each))[[0, 1], chosen] for each in (faces, grey))
    maps = explain_faces(model, images, explained_class=chosen, methods=["occlusion"], window=48, stride=48)["occlusion"]
    np.testing.assert_allclose(maps, (seen - hidden)[:, None, None].expand(-1, 48, 48), atol=1e-6)


def test_larger_colour_faces_get_maps_of_their_own_size() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    maps = explain_faces(loaded(channels=3), images, explained_class=np.array([1, 2]), window=32, stride=32)
    assert {values.shape for values in maps.values()} == {(2, 96, 96)}
    assert all(np.isfinite(values).all() for values in maps.values())


def test_resized_maps_keep_their_mean_and_windows_scale_with_the_input() -> None:
    maps = np.random.default_rng(0).random((2, 96, 96), dtype=np.float32)
    np.testing.assert_allclose(resize_maps(maps, (48, 48)).mean((1, 2)), maps.mean((1, 2)), atol=2e-3)
    assert resize_maps(maps, (96, 96)) is maps
    assert scale_to_input(8, face=48, model=197) == 33
    assert scale_to_input(1, face=48, model=16) == 1


def test_equal_maps_give_equal_bytes_without_times_or_pickles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = {
        "face_id": np.array(["control/0000001", "control/0000010"], dtype=object),
        "target": [1, 2],
        "explained_class": [1, 0],
        "probs": rng.random((2, 7)),
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
        assert (kept["occlusion"].dtype, kept["grad_cam"].dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(kept["grad_cam"], values["grad_cam"], atol=1e-7)


def test_a_map_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    maps = {"grad_cam": np.full((1, 2, 2), np.nan), "occlusion": np.zeros((1, 2, 2))}
    with pytest.raises(ValueError, match="Expected grad_cam values that are finite"):
        write_attributions(tmp_path / "a.npz", face_id=["a"], target=[0], explained_class=[0], probs=np.ones((1, 7)), **maps)
