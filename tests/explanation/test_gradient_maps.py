"""Gradient maps of linear models, known exactly; completeness; and the papers' formulas, written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import Mirrored, TwoMaps, Weighted, maps_of, small
from torch import Tensor, nn

from ferlab.models import MODELS, create_model
from ferlab.paths import InputError

RNG = torch.Generator().manual_seed(5)
WEIGHTS, COLOUR_FACES = torch.randn(3, 4, 4, generator=RNG), torch.randn(2, 3, 4, 4, generator=RNG)
FACES, CLASSES = torch.randn(4, 1, 16, 16, generator=RNG), torch.tensor([0, 2, 1, 0])


@pytest.mark.parametrize("method", ["gradients", "smooth_grad"])
def test_the_gradient_of_a_linear_model_is_its_weights(method: str) -> None:
    maps = maps_of(method, Weighted(WEIGHTS), COLOUR_FACES, explained_class=[0, 1])
    np.testing.assert_allclose(maps[0], WEIGHTS.abs().sum(0), rtol=1e-5)
    assert not maps[1].any()  # class 1 is constant


def test_integrated_gradients_of_a_linear_model_are_weights_times_the_difference() -> None:
    maps = maps_of("integrated_gradients", Weighted(WEIGHTS), COLOUR_FACES, explained_class=[0, 0], baseline=[0.5, -1.0, 2.0], steps=5)
    start = torch.tensor([0.5, -1.0, 2.0]).reshape(3, 1, 1)
    np.testing.assert_allclose(maps, (WEIGHTS * (COLOUR_FACES - start)).sum(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("baseline", [0.0, 0.7, torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(1))])
def test_integrated_gradients_add_up_to_the_difference_of_the_logit(baseline: float | Tensor) -> None:
    net, pick = small(), (torch.arange(4), CLASSES)
    maps = maps_of("integrated_gradients", net, FACES, explained_class=CLASSES, baseline=baseline, steps=300)
    with torch.no_grad():
        start = torch.zeros_like(FACES) + baseline
        gain = net(FACES)[pick] - net(start)[pick]
    assert gain.abs().min() > 0.01
    np.testing.assert_allclose(maps.sum((1, 2)), gain, atol=3e-3)


def test_smooth_grad_takes_the_magnitude_of_the_mean_and_not_the_mean_of_magnitudes() -> None:
    class Absolute(nn.Module):
        """The logit is the sum of |x|: at 0, noise gives gradients of both signs."""

        def forward(self, faces: Tensor) -> Tensor:
            return faces.abs().sum(dim=(2, 3))

    face = torch.tensor([[[[0.0, 1.0], [0.0, -1.0]]]])
    (values,) = maps_of("smooth_grad", Absolute(), face, explained_class=[0], samples=400, noise=0.07)
    np.testing.assert_allclose(values[:, 1], 1.0, atol=1e-6)  # 1 and -1 are seven deviations from 0
    assert values[:, 0].max() < 0.2


def test_smooth_grad_is_the_papers_mean_over_noisy_faces() -> None:
    net, face = small(), FACES[:1]
    torch.manual_seed(7)
    noise = torch.normal(0.0, torch.full((25, 1, 16, 16), float(0.15 * (face.max() - face.min()))))
    noisy = (face + noise).requires_grad_()
    (gradient,) = torch.autograd.grad(net(noisy)[:, 2].sum(), noisy)
    maps = maps_of("smooth_grad", net, face, explained_class=[2], seed=7)
    np.testing.assert_allclose(maps, gradient.mean(0).abs(), rtol=1e-4, atol=1e-7)


def test_guided_grad_cam_equals_the_hand_computed_map() -> None:
    # Gradients at the ReLU's output are 1, -1, 2, 0 and -1, 2, 0, 1, their means 1/2: Grad-CAM is 1.5 x. Guided, -1 becomes 0: at the face
    # 1 + 2 * 0, 0 + 2 * 2, 2 + 0, 0 + 2 * 1. The last pixel is negative: its ReLU passes nothing on, and Grad-CAM of it is 0.
    face = torch.tensor([[[[1.0, 2.0], [3.0, -4.0]]]])
    maps = maps_of("guided_grad_cam", TwoMaps().eval(), face, explained_class=[0], layer="relu")
    np.testing.assert_allclose(maps[0].ravel(), [1.5 * 1, 3.0 * 4, 4.5 * 2, 0.0], rtol=1e-6)


def test_guided_backpropagation_that_would_pass_a_relu_by_is_refused() -> None:
    class Functional(Mirrored):
        """One of two ReLUs is a function."""

        def forward(self, faces: Tensor) -> Tensor:
            return self.head(self.conv2(self.relu1(self.conv1(faces))).relu().mean((2, 3)))

    with pytest.raises(InputError, match=r"ReLUs are nn.ReLU modules; 1 of its 2 are$"):
        maps_of("guided_grad_cam", Functional().eval(), torch.randn(1, 1, 12, 12), explained_class=[0], layer="conv2")
    linear = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(InputError, match=r"0 of its 0 are$"):
        maps_of("guided_grad_cam", linear, torch.randn(1, 1, 12, 12), explained_class=[0], layer="0")


@pytest.mark.parametrize("name", ["lbp_svm", "hog_svm"])
def test_a_model_whose_features_have_no_finite_gradient_is_refused_in_one_line(name: str) -> None:
    for method in ("gradients", "smooth_grad", "integrated_gradients", "xrai"):
        with pytest.raises(InputError, match="no finite gradient with respect to the pixels; choose occlusion or RISE"):
            maps_of(method, create_model(name).eval(), torch.rand(1, 1, 48, 48), explained_class=[0])


def hooks_of(net: nn.Module) -> list[dict[int, Any]]:
    return [each for layer in net.modules() for each in (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, card in MODELS.items() if card["target_layer"] and card["input_size"] <= 64])
def test_every_small_model_is_explained_by_guided_grad_cam_or_refused(name: str) -> None:
    card = MODELS[name]
    torch.manual_seed(0)
    net, face = create_model(name).eval(), torch.rand(1, card["channels"], card["input_size"], card["input_size"])
    hooks = [dict(each) for each in hooks_of(net)]
    how = {"explained_class": [0], "layer": card["target_layer"]}
    if not any(isinstance(layer, nn.ReLU) for layer in net.modules()):
        with pytest.raises(InputError, match=r"nn.ReLU modules"):
            maps_of("guided_grad_cam", net, face, **how)
        return
    assert np.isfinite(maps_of("guided_grad_cam", net, face, **how)).all()
    assert [dict(each) for each in hooks_of(net)] == hooks
