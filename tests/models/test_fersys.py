from __future__ import annotations

import pytest
import torch

from ferlab.models import count_parameters, create_model
from ferlab.models.fersys import deepface_emotion, fersys_cnn
from ferlab.paths import InputError


def sides(module: torch.nn.Module) -> list[int]:
    """Return the side behind each convolution and pool."""
    found, out = [], torch.zeros(1, 1, 48, 48)
    for layer in module.eval():
        out = layer(out)
        if isinstance(layer, torch.nn.Conv2d | torch.nn.MaxPool2d | torch.nn.AvgPool2d):
            found.append(out.shape[2])
    return found


def test_deepfaces_net_has_the_packages_count_layer_by_layer() -> None:
    convolutions = [5 * 5 * 64 + 64, 3 * 3 * 64 * 64 + 64, 3 * 3 * 64 * 64 + 64, 3 * 3 * 64 * 128 + 128, 3 * 3 * 128 * 128 + 128]
    dense = [128 * 1024 + 1024, 1024 * 1024 + 1024, 1024 * 7 + 7]
    assert count_parameters(deepface_emotion()) == sum(convolutions) + sum(dense) == 1_485_831


def test_deepfaces_valid_windows_end_in_one_pixel() -> None:
    assert sides(deepface_emotion()) == [44, 20, 18, 16, 7, 5, 3, 1]


def test_deepfaces_layers_stand_in_the_packages_order() -> None:
    module = deepface_emotion()
    kinds = [type(layer).__name__ for layer in module]
    assert kinds == [
        "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "Conv2d", "ReLU", "AvgPool2d", "Conv2d", "ReLU", "Conv2d", "ReLU", "AvgPool2d", "Flatten",
        "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip
    assert [m.p for m in module if isinstance(m, torch.nn.Dropout)] == [0.2, 0.2]


def test_own_cnn_has_three_blocks_and_the_widths_of_its_card() -> None:
    module = fersys_cnn()
    convolutions = [9 * 32 + 32, 9 * 32 * 64 + 64, 9 * 64 * 128 + 128]
    norms = 2 * (32 + 64 + 128)
    dense = [128 * 6 * 6 * 256 + 256, 256 * 128 + 128, 128 * 7 + 7]
    assert count_parameters(module) == sum(convolutions) + norms + sum(dense) == 1_306_823
    assert sides(module) == [48, 24, 24, 12, 12, 6]


def test_own_cnn_normalises_then_activates_then_pools() -> None:
    names = [name for name, _ in fersys_cnn().named_children()]
    assert names[:12] == [f"{kind}{n}" for n in range(1, 4) for kind in ("conv", "bn", "relu", "pool")]
    assert names[12:] == ["flatten", "fc1", "relu4", "dropout1", "fc2", "relu5", "dropout2", "logits"]


@pytest.mark.parametrize("build", [fersys_cnn, deepface_emotion])
def test_both_start_as_keras_does(build: type) -> None:
    module = build()
    limit = (6 / (3 * 3 * (32 + 64))) ** 0.5 if build is fersys_cnn else (6 / (3 * 3 * (64 + 64))) ** 0.5
    assert limit * 0.98 < module.conv2.weight.abs().max().item() <= limit
    assert not any(layer.bias.any() for layer in module if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear))
    assert all((m.eps, m.momentum) == (1e-3, 0.01) for m in module if isinstance(m, torch.nn.BatchNorm2d))


@pytest.mark.parametrize("name", ["fersys_cnn", "deepface_emotion"])
def test_other_sizes_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' takes faces of 48 pixels a side, got size 64"):
        create_model(name, size=64)
