from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ferlab.training.fit import FitResult, fit
from ferlab.training.phases import Task, select_phase
from ferlab.training.sharpness import nearby, two_passes

Make = Callable[..., Any]


class Bowl(nn.Module):
    """The loss (3 x^2 + y^2) / 2, whose gradient is (3 x, y)."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.x, self.y = nn.Parameter(torch.tensor([x])), nn.Parameter(torch.tensor([y]))

    def descend(self) -> float:
        self.zero_grad()
        loss = ((3 * self.x**2 + self.y**2) / 2).sum()
        loss.backward()
        return loss.item()


def test_the_gradient_is_that_of_the_weights_nearby_and_the_step_starts_from_the_models_own() -> None:
    """At (1, 4) the gradient is (3, 4), so at distance 0.5 lies (1.3, 4.4) with the gradient (3.9, 4.4)."""
    bowl = Bowl(1.0, 4.0)
    optimizer = torch.optim.SGD(bowl.parameters(), lr=0.1)
    loss = optimizer.step(two_passes(bowl.descend, bowl.descend, bowl, rho=0.5))
    assert loss == (3 + 16) / 2
    assert bowl.x.grad.item() == pytest.approx(3.9, abs=1e-6)
    assert bowl.y.grad.item() == pytest.approx(4.4, abs=1e-6)
    assert (bowl.x.item(), bowl.y.item()) == pytest.approx((1 - 0.39, 4 - 0.44), abs=1e-6)


def test_weights_come_back_to_the_bit_also_after_an_error_and_zeros_move_nothing() -> None:
    torch.manual_seed(0)
    net = nn.Linear(50, 3)
    net(torch.randn(4, 50)).square().mean().backward()
    before = [weight.detach().clone() for weight in net.parameters()]
    with suppress(ZeroDivisionError), nearby(net, rho=0.05):
        moved = torch.cat([(weight - own).flatten() for weight, own in zip(net.parameters(), before)])
        raise ZeroDivisionError
    assert moved.norm().item() == pytest.approx(0.05, rel=1e-4)
    assert all(torch.equal(weight, own) for weight, own in zip(net.parameters(), before))
    flat = Bowl(0.0, 0.0)
    flat.descend()
    with nearby(flat, rho=0.05):
        assert (flat.x.item(), flat.y.item()) == (0, 0)


def test_frozen_weights_do_not_move_and_do_not_count() -> None:
    bowl = Bowl(1.0, 4.0)
    bowl.x.requires_grad_(False)
    bowl.descend()
    with nearby(bowl, rho=0.5):
        assert (bowl.x.item(), bowl.y.item()) == (1.0, 4.5)


def test_both_passes_have_the_same_dropout() -> None:
    masks = []
    net = nn.Linear(1, 1)

    def descend() -> None:
        masks.append(F.dropout(torch.ones(64), 0.5))
        net(torch.ones(1, 1)).sum().backward()

    two_passes(descend, descend, net, rho=0.1)()
    assert torch.equal(*masks)
    assert not torch.equal(masks[0], F.dropout(torch.ones(64), 0.5))


def one_step(toy_store: Make, settings: Make, folder: Path, **changes: Any) -> tuple[FitResult, nn.Module, tuple[torch.Tensor, ...]]:
    """Train for one step; return the result, the network before it, and the batch."""
    plain = {"epochs": 1, "batch_size": 72, "schedule": "constant", "lr": 0.1, "momentum": 0.0, "flip": False, "rotation": 0.0, "shift": 0.0}
    chosen = settings(**{**plain, "channels_last": False, "weight_decay": 0.0, **changes})
    options = {"widths": [4, 4, 4, 8], "block": "plain", "dropout": 0.0}
    task = {"store": toy_store(), "run": "toy", "model": "compact", "options": options, "seed": 1, "settings": chosen}
    phase = select_phase(Task(**task))
    return fit(**task, partial=folder), phase.module.net, next(iter(phase.data.train_batches))


@pytest.mark.parametrize("clip", [0.0, 0.01])
def test_a_training_step_is_the_one_by_hand(toy_store: Make, settings: Make, tmp_path: Path, clip: float) -> None:
    result, net, (images, targets) = one_step(toy_store, settings, tmp_path, sam=0.3, gradient_clip=clip)
    outputs = net(images)
    loss = F.cross_entropy(outputs, targets)
    slopes = torch.autograd.grad(loss, list(net.parameters()))
    moved = copy.deepcopy(net)
    length = torch.cat([slope.flatten() for slope in slopes]).norm()
    with torch.no_grad():
        for weight, slope in zip(moved.parameters(), slopes):
            weight += 0.3 * slope / length
    steps = torch.autograd.grad(F.cross_entropy(moved(images), targets), list(moved.parameters()))
    norm = torch.cat([step.flatten() for step in steps]).norm()
    scale = min(1.0, clip / norm.item()) if clip else 1.0
    for weight, step, found in zip(net.parameters(), steps, result.module.parameters()):
        torch.testing.assert_close(found, weight - 0.1 * scale * step, rtol=1e-4, atol=5e-5)  # sums of other orders: 1e-5 was seen
    beside = max((0.1 * scale * (step - slope)).abs().max().item() for step, slope in zip(steps, slopes))
    assert beside > (1e-3 if clip == 0 else 2e-4), beside  # a plain step is further away than that
    for name, value in net.named_buffers():  # of the first pass; the second would show
        torch.testing.assert_close(dict(result.module.named_buffers())[name], value, msg=name)
    assert not torch.allclose(moved.stem.bn.running_mean, net.stem.bn.running_mean, atol=1e-4)
    assert result.train["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert result.train["accuracy"] == pytest.approx((outputs.argmax(1) == targets).float().mean().item())


def test_sam_goes_with_bf16_and_ema(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    chosen = {"sam": 0.05, "precision": "bf16-mixed", "averaging": "ema", "ema_decay": 0.5, "channels_last": True}
    result, net, _ = one_step(toy_store, settings, tmp_path, **chosen)
    assert result.val["loss"] > 0
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in result.module.parameters())
    assert not torch.equal(result.module.stem.conv.weight, net.stem.conv.weight)
