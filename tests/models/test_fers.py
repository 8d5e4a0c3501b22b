from __future__ import annotations

import pytest
import torch

from ferlab.models import count_parameters, create_model
from ferlab.models.fers import fers_alexnet
from ferlab.paths import InputError


@pytest.fixture(scope="module")
def weightless() -> torch.nn.Module:
    with torch.device("meta"):
        return create_model("fers_alexnet").eval()


def test_count_is_that_of_table_i_layer_by_layer(weightless: torch.nn.Module) -> None:
    convolutions = [9 * 9 * 3 * 16 + 16, 7 * 7 * 16 * 32 + 32, 5 * 5 * 32 * 64 + 64, 3 * 3 * 64 * 128 + 128, 3 * 3 * 128 * 128 + 128]
    norms = 2 * (16 + 32 + 64 + 128 + 128)
    dense = [2048 * 1024 + 1024, 1024 * 1024 + 1024, 1024 * 8 + 8]
    assert count_parameters(weightless) == sum(convolutions) + norms + sum(dense) == 3_458_440
    statistics = sum(b.numel() for name, b in weightless.named_buffers() if "running" in name)
    assert count_parameters(weightless) + statistics == 3_459_176  # Keras's "total params"


def test_valid_convolutions_leave_the_papers_2048_numbers(weightless: torch.nn.Module) -> None:
    sides, flat = [], 0
    out = torch.empty(1, 3, 224, 224, device="meta")
    for layer in weightless:
        out = layer(out)
        if isinstance(layer, torch.nn.Conv2d | torch.nn.MaxPool2d):
            sides.append(out.shape[2])
        elif isinstance(layer, torch.nn.Flatten):
            flat = out.shape[1]
    assert sides == [216, 108, 102, 51, 47, 23, 21, 10, 8, 4]
    assert flat == 2048


def test_each_block_is_convolution_relu_pool_normalisation(weightless: torch.nn.Module) -> None:
    names = [name for name, _ in weightless.named_children()]
    assert names[:20] == [f"{kind}{n}" for n in range(1, 6) for kind in ("conv", "relu", "pool", "bn")]
    assert all((m.eps, m.momentum) == (1e-3, 0.01) for m in weightless.modules() if isinstance(m, torch.nn.BatchNorm2d))


def test_initial_weights_are_glorot_uniform_with_zero_biases() -> None:
    conv = fers_alexnet().conv3
    limit = (6 / (5 * 5 * (32 + 64))) ** 0.5  # Keras: sqrt(6 / (fan_in + fan_out))
    assert limit * 0.98 < conv.weight.abs().max().item() <= limit
    assert not conv.bias.any()


def test_other_sizes_are_refused_as_the_paper_processes_only_224() -> None:
    with pytest.raises(InputError, match="'fers_alexnet' takes faces of 224 pixels a side, got size 128"):
        create_model("fers_alexnet", size=128)
