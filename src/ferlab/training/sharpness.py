"""Sharpness-aware minimisation (SAM): the step of an optimizer from the gradient at the worst weights nearby.

Each step has two passes over the batch. The first gives the gradient g at the weights w; the second the gradient at w + rho g / |g|, with the same
dropout, and from there the optimizer steps from w. The norm is that of all trained weights together, and with several processes g is the gradient of
the whole batch. Weight decay belongs to the optimizer and acts on w. Gradients are clipped after the second pass.

References:
    Foret, Kleiner, Mobahi & Neyshabur (2020), Sharpness-Aware Minimization for Efficiently Improving Generalization, arXiv 2010.01412.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

TINY = 1e-12  # beside the norm, so that a gradient of zeros moves nothing


def two_passes(first: Callable[[], Any], second: Callable[[], Any], net: nn.Module, *, rho: float) -> Callable[[], Any]:
    """Return the closure of a step, which leaves the gradient of `second` and returns what `first` does.

    Args:
        first: A pass that sets the gradients of `net`.
        second: Likewise; it is called at the nearby weights.
        net: The network in training.
        rho: Their distance from its own weights.
    """

    def closure() -> Any:
        device = next(net.parameters()).device
        drawn = torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        result = first()
        torch.set_rng_state(drawn[0])
        if drawn[1] is not None:
            torch.cuda.set_rng_state(drawn[1], device)
        with nearby(net, rho=rho):
            second()
        return result

    return closure


@contextmanager
def nearby(net: nn.Module, *, rho: float) -> Iterator[None]:
    """Move weights by `rho` along their gradient; afterwards they are as before, to the bit.

    Within, batch normalisation updates no running statistics: they describe the model's own weights.
    """
    weights = [weight for weight in net.parameters() if weight.grad is not None]
    norms = [layer for layer in net.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    own = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        length = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(weight.grad) for weight in weights]))
        for weight in weights:
            weight.add_(weight.grad * (rho / (length + TINY)))
    for layer in norms:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in norms:
            layer.track_running_stats = True
        with torch.no_grad():
            for weight, before in zip(weights, own):
                weight.copy_(before)
