from __future__ import annotations

import pytest
import torch

from ferlab.training.schedules import plateau_factor, step_rate


@pytest.mark.parametrize("warmup", [0.2, 0.3])
@pytest.mark.parametrize("total", [50, 238])
def test_one_cycle_is_pytorchs(total: int, warmup: float) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=total, pct_start=warmup, cycle_momentum=False)
    rates = []
    for _ in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(rates) < total:
            reference.step()
    ours = [step_rate(step, schedule="one_cycle", lr=0.1, total=total, warmup=warmup) for step in range(total)]
    assert ours == pytest.approx(rates, rel=1e-9)


def test_cosine_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = [step_rate(step, schedule="cosine", lr=0.1, total=100, warmup=0.1) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == rates[10] == pytest.approx(0.1)
    assert rates[55] == pytest.approx(0.05)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 1e-4


@pytest.mark.parametrize("schedule", ["one_cycle", "cosine"])
def test_shortest_plans_and_no_warmup_give_usable_rates(schedule: str) -> None:
    for total in (1, 2, 3):
        for warmup in (0.0, 0.2, 0.99):
            rates = [step_rate(step, schedule=schedule, lr=0.1, total=total, warmup=warmup) for step in range(total)]
            assert all(0 <= rate <= 0.1 for rate in rates)


def test_constant_stays() -> None:
    assert {step_rate(step, schedule="constant", lr=0.01, total=9, warmup=0.5) for step in range(9)} == {0.01}


def test_plateau_halves_after_ten_flat_epochs_and_again_after_ten_more() -> None:
    rising = [0.1, 0.2, 0.3]
    factor = [plateau_factor(rising + [0.3] * flat, higher_is_better=True, lr=0.1) for flat in (0, 9, 10, 19, 20)]
    assert factor == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_plateau_starts_counting_afresh_when_something_better_comes() -> None:
    values = [0.3] + [0.3] * 9 + [0.4] + [0.4] * 9
    assert plateau_factor(values, higher_is_better=True, lr=0.1) == 1.0
    assert plateau_factor([*values, 0.4], higher_is_better=True, lr=0.1) == 0.5


def test_plateau_of_a_loss_counts_the_other_way_and_has_a_floor() -> None:
    assert plateau_factor([1.0, 0.9, 0.8, *[0.9] * 10], higher_is_better=False, lr=0.1) == 0.5
    assert plateau_factor([1.0] * 500, higher_is_better=False, lr=0.1) == pytest.approx(1e-4)
