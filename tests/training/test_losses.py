from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from ferlab.training.losses import cross_entropy

LOGITS = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]))
TARGET = torch.tensor([0, 1])


def test_plain_loss_is_the_mean_negative_log_probability() -> None:
    assert cross_entropy(LOGITS, TARGET).item() == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2)


def test_smoothing_is_pytorchs() -> None:
    assert torch.allclose(cross_entropy(LOGITS, TARGET, label_smoothing=0.1), F.cross_entropy(LOGITS, TARGET, label_smoothing=0.1))


def test_weights_multiply_each_face_and_the_sum_is_divided_by_n() -> None:
    weights = torch.tensor([0.5, 4.0, 1.0])
    by_hand = -(0.5 * math.log(0.7) + 4.0 * math.log(0.3)) / 2
    assert cross_entropy(LOGITS, TARGET, class_weights=weights).item() == pytest.approx(by_hand)


def test_a_batch_of_one_class_is_not_weighted_back_to_one() -> None:
    weights = torch.tensor([3.0, 1.0, 1.0])
    target = torch.tensor([0, 0])
    assert torch.allclose(cross_entropy(LOGITS, target, class_weights=weights), 3 * cross_entropy(LOGITS, target))
