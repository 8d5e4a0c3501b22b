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


def test_shares_that_are_one_hot_give_the_loss_of_their_class() -> None:
    logits, target, weights = torch.randn(8, 4), torch.tensor([0, 1, 2, 3] * 2), torch.tensor([0.5, 1.0, 2.0, 4.0])
    shares = torch.nn.functional.one_hot(target, 4).float()
    for options in ({}, {"class_weights": weights}, {"label_smoothing": 0.2, "class_weights": weights}):
        assert cross_entropy(logits, shares, **options).item() == pytest.approx(cross_entropy(logits, target, **options).item(), rel=1e-6)
