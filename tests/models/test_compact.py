from __future__ import annotations

import pytest
import torch
from torch import nn

from ferlab.models import count_parameters
from ferlab.models.compact import Branches, Residual, Whitening, compact
from ferlab.paths import InputError


def test_counts_add_up_layer_by_layer() -> None:
    convolutions = 9 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 2 * (64**2 + 128**2 + 256**2))
    norms = 2 * (32 + 3 * (64 + 128 + 256))
    assert count_parameters(compact()) == convolutions + norms + 256 * 7 + 7 == 1_940_199


def test_a_block_begins_as_the_identity_of_what_is_not_negative() -> None:
    module = compact().eval()
    faces = torch.rand(2, 64, 24, 24)
    assert torch.equal(module.stage1.block1(faces), faces)
    assert not torch.equal(Residual(64).eval()(faces), faces)


@pytest.mark.parametrize("down", ["stride", "pool"])
def test_each_stage_halves_the_side_either_way(down: str) -> None:
    module, x = compact(down=down).eval(), torch.rand(1, 1, 48, 48)
    x, sides = module.stem(x), []
    for stage in (module.stage1, module.stage2, module.stage3):
        x = stage(x)
        sides.append(tuple(x.shape[1:]))
    assert sides == [(64, 24, 24), (128, 12, 12), (256, 6, 6)]


def test_plain_blocks_are_one_convolution_each() -> None:
    convolutions = 9 * (1 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 64**2 + 128**2 + 256**2)
    norms = 2 * (32 + 2 * (64 + 128 + 256))
    module = compact(block="plain")
    assert count_parameters(module) == convolutions + norms + 256 * 7 + 7
    assert not module.stage3.block1.relu.inplace  # Grad-CAM listens there


def stirred(module: nn.Module) -> nn.Module:
    """Give batch normalisations statistics, scales and shifts of a trained model's kind."""
    torch.manual_seed(2)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value, (low, high) in {layer.running_mean: (-1, 1), layer.running_var: (0.2, 3), layer.weight: (-1, 2), layer.bias: (-1, 1)}.items():
                nn.init.uniform_(value, low, high)
    return module.eval()


def test_branches_add_a_1x1_convolution_and_an_identity_with_a_norm_each() -> None:
    module = compact(block="reparam", down="pool")
    added = 32 * 64 + 64 * 128 + 128 * 256 + 64**2 + 128**2 + 256**2 + 2 * 3 * (64 + 128 + 256)
    assert count_parameters(module) == count_parameters(compact(block="plain", down="pool")) + added == 1_296_871
    assert module.stage2.down.same is None
    assert module.stage2.block1.same is not None
    assert not module.stage3.block1.relu.inplace  # Grad-CAM listens there


@pytest.mark.parametrize(("inputs", "stride"), [(6, 1), (6, 2), (4, 1)])
def test_branches_fold_into_one_convolution(inputs: int, stride: int) -> None:
    branches, maps = stirred(Branches(inputs, 6, stride=stride)), torch.randn(5, inputs, 9, 9)
    folded = branches.folded()
    assert [type(layer) for layer in folded] == [nn.Conv2d, nn.ReLU]
    assert branches(maps).std() > 0.5
    torch.testing.assert_close(folded(maps), branches(maps), rtol=0, atol=1e-5)
    assert (branches.same is not None) == (inputs == 6 and stride == 1)


def test_folding_by_hand_of_one_channel() -> None:
    """3x3 kernel of ones, 1x1 of 2, norms that scale by 2, 3 and 5 and shift by 7 in all: 2 around, 2 + 6 + 5 in the middle."""
    branches = Branches(1, 1, stride=1).eval()
    with torch.no_grad():
        branches.conv3.weight.fill_(1)
        branches.conv1.weight.fill_(2)
        for norm, scale, shift in ((branches.bn3, 2, 1), (branches.bn1, 3, 2), (branches.same, 5, 4)):
            norm.eps = 0.0
            norm.weight.fill_(scale)
            norm.bias.fill_(shift)
    conv = branches.folded().conv
    assert conv.weight.flatten().tolist() == [2, 2, 2, 2, 13, 2, 2, 2, 2]
    assert conv.bias.item() == 7


@pytest.mark.parametrize("channels", [1, 3])
def test_a_whitened_stem_turns_patches_into_uncorrelated_ones(channels: int) -> None:
    torch.manual_seed(0)
    faces = nn.functional.avg_pool2d(3 * torch.randn(40, channels, 28, 28), 5, stride=1)  # neighbours are alike
    faces = faces + 0.2 * torch.randn(faces.shape)
    stem, half = Whitening(channels), 9 * channels
    stem.whiten(faces)
    maps = nn.functional.conv2d(faces, stem.conv.weight).transpose(0, 1).flatten(1)
    assert torch.equal(maps[half:], -maps[:half])
    torch.testing.assert_close(maps[:half] @ maps[:half].T / maps.shape[1], torch.eye(half), atol=0.03, rtol=0)
    assert stem(faces).shape == (40, 18 * channels, 24, 24)
    assert [name for name, weight in stem.named_parameters() if weight.requires_grad] == ["conv.bias"]


def test_a_whitened_stem_has_as_many_channels_as_patches_have_values_twice() -> None:
    assert compact(stem="whitened", widths=(18, 32, 32, 32))(torch.rand(2, 1, 48, 48)).shape == (2, 7)
    with pytest.raises(InputError, match="a whitened stem has 54 channels; expected them to begin with that, got 32"):
        compact(in_channels=3, stem="whitened")
    with pytest.raises(InputError, match="stem: expected 'conv' or 'whitened', got 'white'"):
        compact(stem="white")


def test_widths_and_blocks_must_agree() -> None:
    with pytest.raises(InputError, match="one number for each of the 3 widths after the first, got 2"):
        compact(blocks=(1, 1))
    with pytest.raises(InputError, match="'stride' or 'pool', got 'avg'"):
        compact(down="avg")
    with pytest.raises(InputError, match="'residual', 'plain' or 'reparam', got 'dense'"):
        compact(block="dense")
