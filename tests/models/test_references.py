from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from ferlab.models import count_parameters
from ferlab.models.references import ResidualBlock, SeparableBlock, _pool_same, mini_xception, resnet18_fer, vgg_fer


def with_running_statistics(module: torch.nn.Module) -> int:
    """Count as Keras's "total params" does."""
    return count_parameters(module) + sum(b.numel() for name, b in module.named_buffers() if "running" in name)


def test_vgg_counts_as_by_hand_and_grows_with_its_crop() -> None:
    convolutions = sum(9 * a * b + 3 * b for a, b in [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 512), (512, 512)])
    with torch.device("meta"):
        for size, side in ((40, 2), (48, 3)):
            head = (512 * side**2 + 1) * 4096 + 4097 * 4096 + 4097 * 7
            assert count_parameters(vgg_fer(size=size)) == convolutions + head
        assert count_parameters(vgg_fer()) == 29_890_759


@pytest.mark.parametrize(("width", "total"), [(64, 11_171_271), (32, 2_796_263)])
def test_resnet_counts_as_by_hand(width: int, total: int) -> None:
    widths = [width * 2**n for n in range(4)]
    first = 9 * width + 2 * width + 2 * (18 * width**2 + 4 * width)
    strided = sum(9 * a * b + 9 * b * b + a * b + 6 * b for a, b in pairwise(widths))  # shortcut and three batch normalisations
    plain = sum(18 * b * b + 4 * b for b in widths[1:])
    with torch.device("meta"):
        assert count_parameters(resnet18_fer(width=width)) == first + strided + plain + widths[-1] * 7 + 7 == total


def test_resnet_keeps_the_side_before_its_second_stage() -> None:
    with torch.device("meta"):
        module, maps = resnet18_fer(), torch.zeros(2, 1, 44, 44)
    sides = {}
    for name, layer in module.named_children():
        maps = layer(maps)
        sides[name] = maps.shape[-1]
    assert [sides[n] for n in ("conv1", "stage1_2", "stage2_2", "stage3_2", "stage4_2")] == [44, 44, 22, 11, 6]


def test_block_of_equal_shapes_carries_its_input() -> None:
    torch.manual_seed(0)
    block, maps = ResidualBlock(4, 4, stride=1).eval(), torch.randn(2, 4, 5, 5)
    torch.nn.init.zeros_(block.bn2.weight)
    assert torch.equal(block(maps), torch.relu(maps))


def test_mini_xception_has_the_count_that_keras_prints() -> None:
    with torch.device("meta"):
        module = mini_xception()
    assert (count_parameters(module), with_running_statistics(module)) == (56_951, 58_423)


@pytest.mark.parametrize(("size", "sides"), [(64, [62, 60, 30, 15, 8, 4]), (48, [46, 44, 22, 11, 6, 3])])
def test_mini_xception_pads_nothing_then_halves_upwards(size: int, sides: list[int]) -> None:
    with torch.device("meta"):
        module, maps = mini_xception(), torch.zeros(2, 1, size, size)
    found = []
    for name, layer in module.named_children():
        maps = layer(maps)
        if name.startswith(("conv", "block")):
            found.append(maps.shape[-1])
    assert found == sides


def test_mini_xception_learns_in_float32_and_channels_last() -> None:
    """In a process of its own: where oneDNN's backward pass fails, it ends the process that asked."""
    code = (
        "import torch; from ferlab.models.references import mini_xception; model = mini_xception().to(memory_format=torch.channels_last)\n"
        "model(torch.ones(16, 1, 64, 64).contiguous(memory_format=torch.channels_last)).sum().backward()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("side", [6, 7])
def test_a_shortcut_of_every_other_pixel_is_a_convolution_of_stride_2(side: int) -> None:
    torch.manual_seed(0)
    block, maps = SeparableBlock(4, 8).eval(), torch.randn(2, 4, side, side)
    torch.nn.init.zeros_(block.bn2.weight)
    strided = block.shortcut[1](F.conv2d(maps, block.shortcut[0].weight, stride=2))
    torch.testing.assert_close(block(maps), strided)


@pytest.mark.parametrize(("side", "padding"), [(6, (0, 1)), (7, (1, 1))])
def test_pool_pads_as_tensorflow_does(side: int, padding: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, side, side)
    by_hand = F.max_pool2d(F.pad(maps, padding * 2, value=-torch.inf), 3, stride=2)  # 'same': all of the odd pixel right and below
    assert torch.equal(_pool_same(maps), by_hand)


def test_separable_block_adds_pool_and_shortcut_without_activation() -> None:
    torch.manual_seed(0)
    block, maps = SeparableBlock(4, 8).eval(), torch.randn(2, 4, 9, 9)
    torch.nn.init.zeros_(block.bn2.weight)
    kernel = block.shortcut[0].weight[:, :, 0, 0]
    by_hand = torch.einsum("oc,nchw->nohw", kernel, maps[:, :, ::2, ::2]) / (1 + 1e-3) ** 0.5
    assert torch.allclose(block(maps), by_hand, atol=1e-6)
    assert by_hand.min() < 0
