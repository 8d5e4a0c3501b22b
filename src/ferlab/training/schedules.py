"""Learning rates as stateless functions of the step and the history, so that a resumed run needs nothing else.

Lightning steps a plateau scheduler after the checkpoint of the epoch is written, and a resumed run would lose that step.

References:
    Smith & Topin (2017), Super-Convergence, arXiv 1708.07120 (one_cycle; the values are those of PyTorch's OneCycleLR).
    Loshchilov & Hutter (2016), SGDR, arXiv 1608.03983 (cosine).
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823 (plateau: halved after 10 flat epochs, not below 1e-5, as Keras's
    ReduceLROnPlateau counts).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

START, END = 25.0, 1e4  # one_cycle begins at lr / 25 and ends at a ten-thousandth of that
FLAT_EPOCHS, FACTOR, LOWEST = 10, 0.5, 1e-5  # plateau
BETTER_BY = 1e-4  # plateau: a smaller gain counts as flat


def step_rate(step: int, *, schedule: str, lr: float, total: int, warmup: float) -> float:
    """Return the learning rate of one optimizer step.

    Args:
        step: From 0.
        schedule: "constant", "plateau" (both `lr`; `plateau_factor` gives the halvings), "one_cycle" or "cosine".
        lr: The highest rate.
        total: Steps of the whole schedule.
        warmup: Fraction of the steps over which the rate rises, for one_cycle (half cosine from lr / 25) and cosine (linear from 0).
    """
    if schedule in ("constant", "plateau"):
        return lr
    if schedule == "one_cycle":
        # As in PyTorch, the peak is at step warmup * total - 1, the end at total - 1.
        peak = max(warmup * total - 1, 0)
        if step <= peak:
            return _half_cosine(lr / START, lr, fraction=step / peak if peak else 1.0)
        return _half_cosine(lr, lr / START / END, fraction=(step - peak) / (total - 1 - peak))
    rising = warmup * total
    if step < rising:
        return lr * (step + 1) / (rising + 1)
    return _half_cosine(lr, 0.0, fraction=(step - rising) / max(total - rising, 1))


def plateau_factor(values: Sequence[float], *, higher_is_better: bool, lr: float) -> float:
    """Return the factor on `lr` in the next epoch: halved after every 10 epochs without improvement, with a product of at least 1e-5.

    Args:
        values: The monitored value after each epoch.
        higher_is_better: True for accuracy, False for loss.
        lr: The initial rate.
    """
    factor, best, flat = 1.0, -math.inf, 0
    for value in values:
        score = value if higher_is_better else -value
        if score > best + BETTER_BY:
            best, flat = score, 0
            continue
        flat += 1
        if flat >= FLAT_EPOCHS:
            factor, flat = factor * FACTOR, 0
    return min(1.0, max(factor, LOWEST / lr))


def _half_cosine(start: float, end: float, *, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2
