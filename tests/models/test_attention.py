from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from ferlab.models import count_parameters
from ferlab.models.attention import SpatialTransformer, attention_cnn


def transformer(*affine: float) -> SpatialTransformer:
    torch.manual_seed(0)
    module = SpatialTransformer(1)
    with torch.no_grad():
        module.localisation.affine.bias.copy_(torch.tensor(affine))
    return module


def test_attention_cnn_counts_as_by_hand() -> None:
    localisation = (49 * 8 + 8) + (25 * 8 * 10 + 10) + (640 * 32 + 32) + (32 * 6 + 6)
    features = (9 * 10 + 10) + 3 * (9 * 100 + 10) + 20
    head = (810 * 50 + 50) + (50 * 7 + 7)
    assert count_parameters(attention_cnn()) == localisation + features + head == 66_877


def test_behind_the_transformer_it_is_the_reimplementations_net() -> None:
    torch.manual_seed(0)
    module, faces = attention_cnn().eval(), torch.randn(3, 1, 48, 48)
    torch.nn.init.uniform_(module.bn4.bias, -1, 1)
    first = F.relu(F.max_pool2d(module.conv2(F.relu(module.conv1(module.transformer(faces)))), 2))
    second = F.relu(F.max_pool2d(module.bn4(module.conv4(F.relu(module.conv3(first)))), 2))  # there the pools come before the ReLU
    assert torch.equal(module(faces), module.logits(F.relu(module.fc1(second.flatten(1)))))


def test_a_fresh_transformer_passes_the_face_on() -> None:
    faces = torch.randn(2, 3, 48, 48)
    assert torch.allclose(SpatialTransformer(3)(faces), faces, atol=1e-5)


def test_the_grid_is_torchs_affine_grid() -> None:
    turned = (0.8 * math.cos(0.3), -0.8 * math.sin(0.3), 0.1, 0.8 * math.sin(0.3), 0.8 * math.cos(0.3), -0.2)
    grid = transformer(*turned).grid(torch.randn(2, 1, 48, 48))
    assert torch.allclose(grid, F.affine_grid(torch.tensor(turned).view(1, 2, 3).expand(2, 2, 3), [2, 1, 48, 48], align_corners=False), atol=1e-6)


def test_a_shift_by_a_quarter_moves_the_face_and_leaves_the_mean_behind() -> None:
    faces = torch.randn(1, 1, 48, 48)
    moved = transformer(1, 0, 0.5, 0, 1, 0)(faces)  # half of -1..1 is a quarter of the side: 12 pixels
    assert torch.allclose(moved[..., :36], faces[..., 12:], atol=1e-5)
    assert not moved[..., 36:].any()


def test_halving_reads_the_middle() -> None:
    faces = torch.randn(1, 1, 48, 48)
    middle = F.interpolate(faces[..., 11:37, 11:37], scale_factor=2, mode="bilinear")[..., 2:-2, 2:-2]
    assert torch.allclose(transformer(0.5, 0, 0, 0, 0.5, 0)(faces), middle, atol=1e-5)


def test_the_labels_move_the_attention() -> None:
    torch.manual_seed(0)
    module, faces = attention_cnn(), torch.randn(8, 1, 48, 48)
    F.cross_entropy(module(faces), torch.arange(8) % 7).backward()
    assert module.transformer.localisation.affine.bias.grad.abs().min() > 0


@pytest.mark.parametrize("channels_last", [False, True])
def test_half_precision_moves_no_pixel_of_a_fresh_net(channels_last: bool) -> None:
    faces = torch.randn(2, 1, 48, 48)
    with torch.autocast("cpu", torch.bfloat16):
        attended = SpatialTransformer(1)(faces.to(memory_format=torch.channels_last) if channels_last else faces)
    assert torch.allclose(attended.float(), faces, atol=1e-5)
