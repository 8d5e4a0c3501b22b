"""Attributions against numbers worked out by hand and against the mirror; maps of the stored face's size, and their file."""

from __future__ import annotations

import ast
import inspect
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ferlab.explanation import attributions
from ferlab.explanation.attributions import (
    explain_faces,
    flattens_maps,
    grad_cam,
    grey_baseline,
    hires_cam,
    occlusion,
    resize_maps,
    scale_to_input,
    write_attributions,
)
from ferlab.explanation.sample import dead_maps
from ferlab.expressions import EXPRESSIONS
from ferlab.models import MODELS, LoadedModel, create_model
from ferlab.paths import InputError

ARANGE = torch.arange(16.0).reshape(1, 1, 4, 4)


class OneConv(nn.Module):
    """A 3x3 convolution of ones, 4x4 -> 2x2, then two classes that weigh the four sums with 1..4 and with -1..-4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, bias=False)
        self.head = nn.Linear(4, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.fill_(1.0)
            self.head.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 4.0], [-1.0, -2.0, -3.0, -4.0]]))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv(faces).flatten(1))


class LogSum(nn.Module):
    """Two classes with logits (log s, 0), s the sum of the pixels over 40: the softmax probability of class 0 is s / (s + 1)."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, size, bias=False)
        nn.init.constant_(self.conv.weight, 1 / 40)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        s = self.conv(faces).flatten(1)
        return torch.cat([s.log(), torch.zeros_like(s)], dim=1)


class Mirrored(nn.Module):
    """A model that cannot tell a face from its mirror image: kernels equal to their own mirror, mean pooling."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv1, self.conv2, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 3)
        with torch.no_grad():
            for conv in (self.conv1, self.conv2):
                conv.weight.copy_((conv.weight + conv.weight.flip(-1)) / 2)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return self.head(self.conv2(self.conv1(faces).relu()).relu().mean((2, 3)))


def test_grad_cam_equals_the_hand_computed_map() -> None:
    # The convolution gives the sums of the four 3x3 blocks: 45, 54, 81, 90. The gradient of class 0 is 1, 2, 3, 4, its mean 2.5,
    # so the map is 112.5, 135, 202.5, 225. Bilinear to 4x4: 112.5 + 22.5 x + 90 y at x, y in 0, 1/4, 3/4, 1.
    expected = [
        [112.5, 118.125, 129.375, 135.0],
        [135.0, 140.625, 151.875, 157.5],
        [180.0, 185.625, 196.875, 202.5],
        [202.5, 208.125, 219.375, 225.0],
    ]
    maps = grad_cam(OneConv().eval(), ARANGE, explained_class=[0], layer="conv")
    np.testing.assert_allclose(maps[0], expected, rtol=1e-6)
    assert maps.dtype == np.float32


def test_hires_cam_equals_the_hand_computed_map() -> None:
    # Each block's sum times its own gradient: 45 * 1, 54 * 2, 81 * 3, 90 * 4 = 45, 108, 243, 360, at the corners of the 4x4 map.
    maps = hires_cam(OneConv().eval(), ARANGE, explained_class=[0], layer="conv")
    np.testing.assert_allclose(maps[0][[0, 0, 3, 3], [0, 3, 0, 3]], [45, 108, 243, 360], rtol=1e-6)
    np.testing.assert_allclose(maps[0][0], [45, 60.75, 92.25, 108], rtol=1e-6)


def test_evidence_that_averaging_over_space_loses_is_in_hires_cam() -> None:
    # Gradients 1, 1, 1, -4: their mean is negative, so Grad-CAM is zero, though three of four places speak for the class.
    net = OneConv().eval()
    with torch.no_grad():
        net.head.weight[0] = torch.tensor([1.0, 1.0, 1.0, -4.0])
    assert dead_maps(grad_cam(net, ARANGE, explained_class=[0], layer="conv")).tolist() == [True]
    maps = hires_cam(net, ARANGE, explained_class=[0], layer="conv")
    np.testing.assert_allclose(maps[0][[0, 0, 3, 3], [0, 3, 0, 3]], [45, 54, 81, 0], rtol=1e-6)


def test_hires_cam_is_grad_cam_before_a_global_mean() -> None:
    torch.manual_seed(0)
    net, faces, classes = Mirrored().eval(), torch.randn(5, 1, 12, 12), np.array([0, 1, 2, 0, 1])
    pooled = nn.Sequential(net.conv1, nn.ReLU(), net.conv2, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), net.head).eval()
    one, other = (explain(pooled, faces, explained_class=classes, layer="3") for explain in (grad_cam, hires_cam))
    assert one.max() > 0
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "flattened"), [("five_layer", True), ("fersys_cnn", True), ("resnet18_fer", False), ("mini_xception", False), ("compact", False)]
)
def test_models_that_flatten_their_maps_are_known(name: str, flattened: bool) -> None:
    card = MODELS[name]
    face = torch.zeros(1, card["channels"], card["input_size"], card["input_size"])
    assert flattens_maps(create_model(name).eval(), face) is flattened


def test_a_flattened_head_is_found_without_a_layer_that_says_so() -> None:
    assert flattens_maps(OneConv().eval(), ARANGE)  # tensor.flatten, no module
    assert not flattens_maps(Mirrored().eval(), torch.zeros(1, 1, 12, 12))  # tensor.mean


def test_grad_cam_of_a_class_with_only_negative_evidence_is_dead() -> None:
    maps = grad_cam(OneConv().eval(), ARANGE.repeat(2, 1, 1, 1), explained_class=[1, 0], layer="conv")
    assert dead_maps(maps).tolist() == [True, False]


def test_occlusion_equals_the_hand_computed_drops() -> None:
    # Quadrants of arange(16) sum to 10, 18, 42, 50; s = 120/40 = 3 and p = 3/4. Without a quadrant s is 2.75, 2.55, 1.95, 1.75.
    drops = [3 / 4 - 2.75 / 3.75, 3 / 4 - 2.55 / 3.55, 3 / 4 - 1.95 / 2.95, 3 / 4 - 1.75 / 2.75]
    expected = np.kron(np.reshape(drops, (2, 2)), np.ones((2, 2)))
    maps = occlusion(LogSum(4).eval(), ARANGE, explained_class=[0], baseline=0.0, window=2, stride=2)
    np.testing.assert_allclose(maps[0], expected, atol=1e-6)
    other = occlusion(LogSum(4).eval(), ARANGE, explained_class=[1], baseline=0.0, window=2, stride=2)
    np.testing.assert_allclose(other[0], -expected, atol=1e-6)  # two classes: what one loses the other gains


def test_occlusion_averages_the_windows_that_cover_a_pixel() -> None:
    # 3x3 of 40s: s = 9, p = .9; each of four 2x2 windows takes 4 pixels away: s = 5, p = 5/6. Every pixel has the same mean drop.
    maps = occlusion(LogSum(3).eval(), torch.full((1, 1, 3, 3), 40.0), explained_class=[0], baseline=0.0, window=2, stride=1)
    np.testing.assert_allclose(maps[0], np.full((3, 3), 0.9 - 5 / 6), atol=1e-6)


def test_occlusion_covers_the_border_where_the_stride_does_not_fit() -> None:
    # 5 wide, window 2, stride 2: the third window is cut to one column and takes 5 fewer pixels away than its neighbours would.
    maps = occlusion(LogSum(5).eval(), torch.full((1, 1, 5, 5), 40.0), explained_class=[0], baseline=0.0, window=2, stride=2)
    np.testing.assert_allclose(maps[0, 4, 4], 25 / 26 - 24 / 25, atol=1e-6)
    assert (maps > 0).all()


def test_occlusion_with_the_pixels_own_value_changes_nothing() -> None:
    faces = torch.full((3, 1, 4, 4), 7.0)
    maps = occlusion(LogSum(4).eval(), faces, explained_class=[0, 1, 0], baseline=[7.0], window=2, stride=1)
    np.testing.assert_allclose(maps, 0, atol=1e-7)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 7, 64, 4096])
def test_batch_size_does_not_change_maps(batch_size: int) -> None:
    torch.manual_seed(0)
    net, faces, classes = Mirrored().eval(), torch.randn(5, 1, 12, 12), np.array([0, 1, 2, 0, 1])
    reference = occlusion(net, faces, explained_class=classes, baseline=0.0, window=4, stride=3, batch_size=60)
    maps = occlusion(net, faces, explained_class=classes, baseline=0.0, window=4, stride=3, batch_size=batch_size)
    np.testing.assert_allclose(maps, reference, atol=1e-6)
    cams = grad_cam(net, faces, explained_class=classes, layer="conv2", batch_size=batch_size)
    np.testing.assert_allclose(cams, grad_cam(net, faces, explained_class=classes, layer="conv2"), atol=1e-6)


def test_each_face_is_explained_for_its_own_class() -> None:
    torch.manual_seed(0)
    net, faces = Mirrored().eval(), torch.randn(2, 1, 12, 12)
    both = occlusion(net, faces, explained_class=[2, 0], baseline=0.0, window=4, stride=4)
    for row, explained_class in enumerate([2, 0]):
        alone = occlusion(net, faces[row : row + 1], explained_class=[explained_class], baseline=0.0, window=4, stride=4)
        np.testing.assert_allclose(both[row], alone[0], atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), explained_class=st.integers(0, 2))
def test_mirrored_face_gives_mirrored_map(seed: int, explained_class: int) -> None:
    faces = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(seed))
    net, chosen = Mirrored().eval(), np.full(2, explained_class)
    for explain in (
        lambda x: grad_cam(net, x, explained_class=chosen, layer="conv2"),
        lambda x: occlusion(net, x, explained_class=chosen, baseline=0.0, window=4, stride=4),
    ):
        np.testing.assert_allclose(explain(faces.flip(-1)), explain(faces)[..., ::-1], atol=1e-5)


def test_captum_target_is_passed_by_keyword_from_explained_class() -> None:
    calls = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(attributions)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "attribute"
    ]
    assert len(calls) == 2
    for call in calls:
        (target,) = [keyword.value for keyword in call.keywords if keyword.arg == "target"]
        assert isinstance(target, ast.Name)
        assert target.id == "explained_class"


def test_caller_s_net_keeps_its_layout_and_mode() -> None:
    net = Mirrored().eval()
    occlusion(net, torch.randn(1, 1, 12, 12), explained_class=[0], baseline=0.0, window=4, stride=4)
    assert net.conv2.weight.is_contiguous()
    assert not net.training


def test_unknown_layer_and_flat_layer_are_named() -> None:
    with pytest.raises(InputError, match="no layer is called 'conv9'"):
        grad_cam(OneConv().eval(), ARANGE, explained_class=[0], layer="conv9")
    for explain in (grad_cam, hires_cam):
        with pytest.raises(InputError, match="expected a layer that puts out maps"):
            explain(OneConv().eval(), ARANGE, explained_class=[0], layer="head")


@pytest.mark.parametrize(("window", "stride"), [(5, 1), (2, 3), (2, 0)])
def test_window_that_does_not_fit_is_refused(window: int, stride: int) -> None:
    with pytest.raises(InputError, match="stride <= window <= 4"):
        occlusion(OneConv().eval(), ARANGE, explained_class=[0], baseline=0.0, window=window, stride=stride)


def test_one_class_per_face_is_demanded() -> None:
    with pytest.raises(ValueError, match="one explained class for each"):
        grad_cam(OneConv().eval(), ARANGE, explained_class=[0, 1], layer="conv")


def test_grey_baseline_is_normalised_per_channel() -> None:
    np.testing.assert_allclose(grey_baseline([0.4, 0.5, 0.6], [0.1, 0.2, 0.5]), [1.0, 0.0, -0.2], atol=1e-6)
    assert grey_baseline(0.25, 0.25).tolist() == [1.0]


def test_values_beside_the_expressions_take_no_part_in_the_drop() -> None:
    class WithValue(LogSum):
        """A large third output, which is no class."""

        def forward(self, faces: torch.Tensor) -> torch.Tensor:
            logits = super().forward(faces)
            return torch.cat([logits, torch.full_like(logits[:, :1], 9.0)], dim=1)

    faces, chosen = ARANGE + 1, np.array([0])
    plain = occlusion(LogSum(4), faces, explained_class=chosen, baseline=0.0, window=2, stride=2)
    assert np.allclose(occlusion(WithValue(4), faces, explained_class=chosen, baseline=0.0, window=2, stride=2, num_classes=2), plain)
    assert not np.allclose(occlusion(WithValue(4), faces, explained_class=chosen, baseline=0.0, window=2, stride=2), plain)


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
