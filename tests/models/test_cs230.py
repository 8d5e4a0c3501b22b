from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ferlab.models import count_parameters
from ferlab.models.cs230 import baseline, baseline_text, five_layer, five_layer_hog
from ferlab.models.descriptors import GradientHistograms
from ferlab.paths import InputError


def with_running_statistics(module: torch.nn.Module) -> int:
    """Count as Keras's "total params" does."""
    return count_parameters(module) + sum(b.numel() for name, b in module.named_buffers() if "running" in name)


def test_five_layer_has_the_shipped_nets_count_layer_by_layer() -> None:
    # Shapes of weightsManifest in the authors' webapp/public/jsmodel/model.json, Keras order: kernels, then the rest.
    kernels = [5 * 5 * 1 * 32, 4 * 4 * 32 * 32, 5 * 5 * 32 * 64, 2304 * 1024, 1024 * 7]
    biases = [32, 32, 64, 1024, 7]
    norms = 2 * (32 + 32 + 64)
    module = five_layer()
    assert count_parameters(module) == sum(kernels) + sum(biases) + norms == 2_436_263
    assert with_running_statistics(module) == 2_436_519


def test_overlapping_pools_leave_the_count_and_the_sizes() -> None:
    module = five_layer(pool="3x3same")
    assert count_parameters(module) == 2_436_263
    assert module[:4](torch.zeros(1, 1, 48, 48)).shape == (1, 32, 24, 24)
    with pytest.raises(InputError, match="'2x2' or '3x3same', got '3x3'"):
        five_layer(pool="3x3")


def test_overlapping_pool_pads_right_and_below_as_tensorflow_does() -> None:
    images = torch.rand(2, 32, 48, 48)
    by_hand = F.max_pool2d(F.pad(images, (0, 1, 0, 1), value=-torch.inf), 3, stride=2)
    assert torch.equal(five_layer(pool="3x3same").pool1(images), by_hand)


def test_even_kernel_pads_one_left_and_above_two_right_and_below() -> None:
    module = five_layer()
    image = torch.zeros(1, 32, 24, 24)
    image[0, :, 0, 0] = 1.0
    with torch.no_grad():
        module.conv2.weight.fill_(0.0)
        module.conv2.weight[0, :, 1, 1] = 1.0  # the tap that falls on the pixel itself when one pixel is padded before it
        out = module.conv2(module.pad2(image))[0, 0]
    assert out.shape == (24, 24)
    assert out.nonzero().tolist() == [[0, 0]]


def test_batch_normalisation_follows_the_activation_with_keras_constants() -> None:
    names = [name for name, _ in five_layer().named_children()]
    assert names[:4] == ["conv1", "relu1", "bn1", "pool1"]
    assert all((m.eps, m.momentum) == (1e-3, 0.01) for m in baseline().modules() if hasattr(m, "momentum"))


def test_initial_weights_are_glorot_uniform_with_zero_biases() -> None:
    conv = five_layer().conv3
    limit = (6 / (5 * 5 * (32 + 64))) ** 0.5  # Keras: sqrt(6 / (fan_in + fan_out))
    assert limit * 0.98 < conv.weight.abs().max().item() <= limit
    assert not conv.bias.any()


def test_baselines_have_the_counts_of_the_notebook_and_of_the_text() -> None:
    assert with_running_statistics(baseline()) == 2_437_355
    assert count_parameters(baseline()) == 2_434_921
    assert round(count_parameters(baseline_text()) / 1e6, 1) == 37.8
    assert count_parameters(baseline_text()) - count_parameters(baseline_text(norm=False)) == 2 * 4 * 32
    assert round(count_parameters(baseline_text(fc_units=1024)) / 1e6, 2) == 4.76  # the reading that misses the paper's number


def test_histograms_enter_the_first_dense_layer_beside_the_maps() -> None:
    fused, plain, faces = five_layer_hog().eval(), five_layer().eval(), torch.randn(2, 1, 48, 48)
    weights = plain.state_dict()
    with torch.no_grad():
        plain.load_state_dict(weights | {name.split(".", 1)[1]: value for name, value in fused.state_dict().items() if name != "dense.fc1.weight"}
                              | {"fc1.weight": fused.dense.fc1.weight[:, :2304]})  # fmt: skip
        histograms = GradientHistograms(grey_levels=64.0)(faces) @ fused.dense.fc1.weight[:, 2304:].T
        hidden = plain[:-3](faces) + histograms
        torch.testing.assert_close(fused(faces), plain[-3:](hidden))
    assert histograms.abs().max() > 0.01
