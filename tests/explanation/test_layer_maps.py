"""Maps of a layer against numbers worked out by hand and against the papers' formulas, written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import ARANGE, Mirrored, OneConv, TwoMaps, grad_cam, hires_cam, maps_of, small
from torch import nn

from ferlab.explanation.attributions import flattens_maps
from ferlab.explanation.sample import dead_maps
from ferlab.models import MODELS, create_model
from ferlab.paths import InputError

TWO_BY_TWO = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
# A is x and 2 x; the gradients of class 0 are 1, -1, 2, 0 and -1, 2, 0, 1, with means of 1/2.
BY_HAND = {
    "grad_cam": [1.5, 3.0, 4.5, 6.0],  # x / 2 + 2 x / 2
    "hires_cam": [0.0, 6.0, 6.0, 8.0],  # x * (g1 + 2 g2) = -1, 6, 6, 8; ReLU
    "layer_cam": [1.0, 8.0, 6.0, 8.0],  # x * (relu g1 + 2 relu g2) = x * (1, 4, 2, 2)
    # A sums to 10 and 20. A gradient g > 0 weighs g^3 / (2 g^2 + g^3 S): 1/12 and 2/22 in the first map, 2/42 and 1/22 in the second.
    "grad_cam_pp": [k * (1 / 12 + 2 / 22 + 2 * (2 / 42 + 1 / 22)) for k in (1, 2, 3, 4)],
}


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


@pytest.mark.parametrize("method", BY_HAND)
def test_two_maps_of_four_places_are_weighed_as_by_hand(method: str) -> None:
    maps = maps_of(method, TwoMaps().eval(), TWO_BY_TWO, explained_class=[0], layer="relu")
    np.testing.assert_allclose(maps[0].ravel(), BY_HAND[method], rtol=1e-6)


def test_grad_cam_pp_is_the_papers_formula_of_alpha() -> None:
    net, faces, classes = small(), torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 1])
    activations = net[:6](faces).detach().requires_grad_()
    logits = net[6:](activations)
    (g,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), activations)
    # Equation 19, with the derivatives of exp(logit), whose factor exp(logit) cancels; a gradient of 0 has no alpha
    alpha = torch.where(g == 0, 0, g**2 / (2 * g**2 + activations.sum((2, 3), keepdim=True) * g**3))
    weights = (alpha * g.relu()).sum((2, 3), keepdim=True)
    expected = (weights * activations).sum(1).relu()  # 8x8
    maps = maps_of("grad_cam_pp", net, faces, explained_class=classes, layer="relu2")
    upsampled = nn.functional.interpolate(expected[:, None], size=(16, 16), mode="bilinear")[:, 0].detach()
    assert upsampled.max() > 0
    np.testing.assert_allclose(maps, upsampled, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", ["grad_cam_pp", "layer_cam"])
def test_a_layer_without_relu_has_finite_maps(method: str) -> None:
    faces = torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    maps = maps_of(method, small(), faces, explained_class=[0, 1, 2, 0, 1, 2, 0, 1], layer="conv2")
    assert np.isfinite(maps).all()
    assert 0 <= maps.min() < maps.max() < 100


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
    one, other = (explain(net, faces, explained_class=classes, layer="relu2") for explain in (grad_cam, hires_cam))
    assert one.max() > 0
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "flattened"),
    [("five_layer", True), ("five_layer_hog", True), ("fersys_cnn", True), ("resnet18_fer", False), ("mini_xception", False), ("compact", False)],
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


@pytest.mark.parametrize("method", ["grad_cam", "grad_cam_pp", "hires_cam", "layer_cam"])
def test_unknown_layer_and_flat_layer_are_named(method: str) -> None:
    with pytest.raises(InputError, match="no layer is called 'conv9'"):
        maps_of(method, OneConv().eval(), ARANGE, explained_class=[0], layer="conv9")
    with pytest.raises(InputError, match="expected a layer that puts out maps"):
        maps_of(method, OneConv().eval(), ARANGE, explained_class=[0], layer="head")
