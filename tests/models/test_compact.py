from __future__ import annotations

import pytest
import torch

from ferlab.models import count_parameters
from ferlab.models.compact import Residual, compact
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


def test_widths_and_blocks_must_agree() -> None:
    with pytest.raises(InputError, match="one number for each of the 3 widths after the first, got 2"):
        compact(blocks=(1, 1))
    with pytest.raises(InputError, match="'stride' or 'pool', got 'avg'"):
        compact(down="avg")
    with pytest.raises(InputError, match="'residual' or 'plain', got 'dense'"):
        compact(block="dense")
