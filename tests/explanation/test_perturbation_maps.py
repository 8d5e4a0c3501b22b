"""Occlusion by hand and by captum's definition; RISE against the paper's formula, mask by mask, and by what its masks must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARANGE, LogSum, Mirrored, OneConv, Weighted, grad_cam, maps_of, occlusion, small
from torch import Tensor, nn

from ferlab.explanation.perturbation_maps import rise_masks
from ferlab.paths import InputError

FACES = torch.randn(5, 1, 16, 16, generator=torch.Generator().manual_seed(2))
CLASSES = [0, 1, 2, 0, 1]


def test_occlusion_equals_the_hand_computed_drops() -> None:
    # Quadrants of arange(16) sum to 10, 18, 42, 50; s = 120/40 = 3 and p = 3/4. Without a quadrant s is 2.75, 2.55, 1.95, 1.75.
    drops = [3 / 4 - 2.75 / 3.75, 3 / 4 - 2.55 / 3.55, 3 / 4 - 1.95 / 2.95, 3 / 4 - 1.75 / 2.75]
    expected = np.kron(np.reshape(drops, (2, 2)), np.ones((2, 2)))
    maps = occlusion(LogSum(4).eval(), ARANGE, explained_class=[0], baseline=0.0, window=2, stride=2)
    np.testing.assert_allclose(maps[0], expected, atol=1e-6)
    other = occlusion(LogSum(4).eval(), ARANGE, explained_class=[1], baseline=0.0, window=2, stride=2)
    np.testing.assert_allclose(other[0], -expected, atol=1e-6)  # two classes: what one loses the other gains


def test_occlusion_of_a_linear_score_is_the_weighted_sum_that_a_window_hides() -> None:
    weights, faces = torch.randn(3, 4, 4), torch.randn(2, 3, 4, 4)
    options = {"window": 2, "stride": 2, "probs": lambda outputs: outputs, "baseline": [0.1, 0.2, 0.3]}
    maps = occlusion(Weighted(weights), faces, explained_class=[0, 0], **options)
    hidden = (weights * (faces - torch.tensor([0.1, 0.2, 0.3]).reshape(3, 1, 1))).sum(1)
    expected = nn.functional.avg_pool2d(hidden[:, None], 2)[:, 0] * 4
    np.testing.assert_allclose(maps, np.kron(expected, np.ones((2, 2))), atol=1e-5)


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


@pytest.mark.parametrize(("window", "stride"), [(5, 1), (2, 3), (2, 0)])
def test_window_that_does_not_fit_is_refused(window: int, stride: int) -> None:
    with pytest.raises(InputError, match="stride <= window <= 4"):
        occlusion(OneConv().eval(), ARANGE, explained_class=[0], baseline=0.0, window=window, stride=stride)


def test_values_beside_the_expressions_take_no_part_in_the_drop() -> None:
    class WithValue(LogSum):
        """A large third output, which is no class."""

        def forward(self, faces: Tensor) -> Tensor:
            logits = super().forward(faces)
            return torch.cat([logits, torch.full_like(logits[:, :1], 9.0)], dim=1)

    faces, how = ARANGE + 1, {"explained_class": [0], "window": 2, "stride": 2}
    plain = occlusion(LogSum(4), faces, **how)
    assert np.allclose(occlusion(WithValue(4), faces, **how, probs=lambda outputs: outputs[:, :2].softmax(1)), plain)
    assert not np.allclose(occlusion(WithValue(4), faces, **how), plain)


def test_the_callers_model_keeps_its_layout_and_mode() -> None:
    net = Mirrored().eval()
    occlusion(net, torch.randn(1, 1, 12, 12), explained_class=[0], baseline=0.0, window=4, stride=4)
    assert net.conv2.weight.is_contiguous()
    assert not net.training


def test_rise_is_the_papers_sum_over_masked_faces() -> None:
    net, masks = small(), torch.cat(list(rise_masks(40, (16, 16), cells=4, shown=0.5, seed=3, at_once=7)))
    expected = np.zeros((5, 16, 16))
    with torch.no_grad():
        for n, explained_class in enumerate(CLASSES):
            probs = [float(net(FACES[n] * mask + 0.3 * (1 - mask)[None, None])[0].softmax(0)[explained_class]) for mask in masks]
            expected[n] = sum(prob * mask.numpy() for prob, mask in zip(probs, masks, strict=True)) / (40 * 0.5)  # equation 6
            centred = sum((prob - np.mean(probs)) * mask.numpy() for prob, mask in zip(probs, masks, strict=True)) / (40 * 0.5)
            options = {"baseline": 0.3, "seed": 3, "masks": 40, "cells": 4}
            maps = maps_of("rise", net, FACES[n : n + 1], explained_class=[explained_class], **options)
            np.testing.assert_allclose(maps[0], centred, atol=1e-6)
    maps = maps_of("rise", net, FACES, explained_class=CLASSES, centred=False, **options)
    np.testing.assert_allclose(maps, expected, atol=1e-6)
    assert maps.min() > 0


@pytest.mark.parametrize("size", [(48, 48), (50, 31)])
def test_rise_masks_show_each_pixel_as_often_as_asked(size: tuple[int, int]) -> None:
    masks = torch.cat(list(rise_masks(4000, size, cells=7, shown=0.3, seed=0, at_once=512)))
    assert masks.shape == (4000, *size)
    assert masks.min() >= 0
    assert masks.max() <= 1
    # a pixel is a mean of up to four cells: its deviation is at most sqrt(.3 * .7) = .46, of 4,000 masks .007
    np.testing.assert_allclose(masks.mean(0), 0.3, atol=5 * 0.0073)
    assert (masks > 0.99).any(0).all()
    assert len(torch.unique(masks[:50].flatten(1), dim=0)) == 50


def test_rise_of_a_model_that_ignores_the_face_is_zero() -> None:
    net = Weighted(torch.zeros(1, 16, 16))
    assert np.abs(maps_of("rise", net, FACES, explained_class=[0] * 5, masks=64)).max() < 1e-6
    assert maps_of("rise", net, FACES, explained_class=[0] * 5, masks=64, centred=False).mean() == pytest.approx(0.5, abs=0.1)


def test_rise_finds_the_part_that_decides() -> None:
    weights = torch.zeros(1, 32, 32)
    weights[:, 20:28, 4:12] = 0.2
    faces = torch.ones(1, 1, 32, 32)
    (values,) = maps_of("rise", Weighted(weights), faces, explained_class=[0], masks=1500)
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert 18 <= row < 30
    assert 2 <= column < 14
    assert values[20:28, 4:12].mean() > 5 * abs(values[:12, 20:]).mean()
    (other,) = maps_of("rise", Weighted(weights), faces, explained_class=[1], masks=1500)
    np.testing.assert_allclose(other, -values, atol=1e-5)


@pytest.mark.parametrize("method", ["occlusion", "rise"])
def test_a_colour_models_channels_are_covered_together(method: str) -> None:
    net, options = small(3), {"baseline": [0.1, 0.2, 0.3], "explained_class": [1]}
    covered = torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, 1, 1).expand(1, 3, 16, 16)
    assert np.abs(maps_of(method, net, covered, **options)).max() < 1e-5
    assert np.abs(maps_of(method, net, covered + 1, **options)).max() > 1e-4


def test_perturbed_faces_leave_no_graph_behind() -> None:
    seen: list[bool] = []

    def probs(outputs: Tensor) -> Tensor:
        seen.append(outputs.requires_grad)
        return outputs.softmax(1)

    for method in ("occlusion", "rise"):
        maps_of(method, small(), FACES, explained_class=CLASSES, probs=probs)
    assert not any(seen)
    assert grad_cam(small(), FACES, explained_class=CLASSES, layer="relu2").max() > 0
