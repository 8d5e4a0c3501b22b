from __future__ import annotations

import torch

from ferlab.models import count_parameters
from ferlab.models.resemotenet import resemotenet_cnn


def test_three_stage_cnn_counts_as_by_hand() -> None:
    convolutions = sum(9 * a * b + b for a, b in [(1, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256)])
    norms = 2 * 2 * (64 + 128 + 256) + 2 * 128
    head = 256 * 128 + 128 + 128 * 7 + 7
    module = resemotenet_cnn()
    assert count_parameters(module) == convolutions + norms + head == 1_180_103
    assert count_parameters(module) + sum(b.numel() for n, b in module.named_buffers() if "running" in n) == 1_182_151


def test_dropout_grows_from_25_to_45_percent() -> None:
    assert [m.p for m in resemotenet_cnn().modules() if isinstance(m, torch.nn.Dropout)] == [0.25, 0.35, 0.45, 0.5]
