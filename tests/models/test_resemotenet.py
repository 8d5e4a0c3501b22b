from __future__ import annotations

import pytest
import torch

from ferlab.models import count_parameters
from ferlab.models.resemotenet import ChannelGate, ResidualBlock, resemotenet, resemotenet_cnn


def test_three_stage_cnn_counts_as_by_hand() -> None:
    convolutions = sum(9 * a * b + b for a, b in [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)])
    norms = 2 * 2 * (64 + 128 + 256) + 2 * 128
    head = 256 * 128 + 128 + 128 * 7 + 7
    module = resemotenet_cnn()
    assert count_parameters(module) == convolutions + norms + head == 1_180_103
    assert count_parameters(module) + sum(b.numel() for n, b in module.named_buffers() if "running" in n) == 1_182_151


def test_dropout_grows_from_25_to_45_percent() -> None:
    assert [m.p for m in resemotenet_cnn().modules() if isinstance(m, torch.nn.Dropout)] == [0.25, 0.35, 0.45, 0.5]


@pytest.mark.parametrize(("channels", "total"), [(1, 80_237_447), (3, 80_238_599)])
def test_resemotenet_counts_as_by_hand(channels: int, total: int) -> None:
    stem = sum(9 * a * b + 3 * b for a, b in [(channels, 64), (64, 128), (128, 256)])  # biases and batch normalisation: 3 a channel
    gate = 2 * 256 * 16
    blocks = sum(9 * a * b + 9 * b * b + a * b + 9 * b for a, b in [(256, 512), (512, 1024), (1024, 2048)])
    head = sum(a * b + b for a, b in [(2048, 1024), (1024, 512), (512, 256), (256, 7)])
    with torch.device("meta"):
        assert count_parameters(resemotenet(7, channels)) == stem + gate + blocks + head == total


def test_resemotenet_halves_a_face_of_48_to_one_pixel() -> None:
    with torch.device("meta"):
        module, maps = resemotenet(), torch.zeros(2, 1, 48, 48)
    sides = {}
    for name, layer in module.named_children():
        maps = layer(maps)
        sides[name] = tuple(maps.shape[1:])
    assert [sides[name] for name in ("gate", "block1", "block2", "block3")] == [(256, 6, 6), (512, 3, 3), (1024, 2, 2), (2048, 1, 1)]


def test_gate_scales_channels_by_their_means_alone() -> None:
    torch.manual_seed(0)
    gate, maps = ChannelGate(32, reduction=16), torch.rand(2, 32, 3, 3)
    by_hand = torch.sigmoid(torch.relu(maps.mean(dim=(2, 3)) @ gate.fc1.weight.T) @ gate.fc2.weight.T)
    assert torch.allclose(gate(maps), maps * by_hand[:, :, None, None])


def test_block_without_its_second_convolution_is_its_shortcut() -> None:
    torch.manual_seed(0)
    block, maps = ResidualBlock(4, 8).eval(), torch.rand(2, 4, 5, 5)
    torch.nn.init.zeros_(block.bn2.weight)
    by_hand = torch.einsum("oc,nchw->nohw", block.shortcut.conv.weight[:, :, 0, 0], maps[:, :, ::2, ::2]) + block.shortcut.conv.bias[:, None, None]
    assert torch.allclose(block(maps), torch.relu(by_hand) / (1 + 1e-5) ** 0.5, atol=1e-6)
