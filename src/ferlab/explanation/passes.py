"""What the attribution methods share: the faces of one pass, the layer they explain, and the value that stands for a missing pixel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ferlab.paths import InputError

FACES_PER_GRADIENT = 64  # at most, per backward pass, which keeps every activation


def pieces(images: Tensor, classes: Tensor, *, at_most: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield faces and their classes in equal pieces of at most `at_most`: none is much smaller than the pass it could fill."""
    count = -(-len(images) // max(1, at_most))
    yield from zip(images.tensor_split(count), classes.tensor_split(count), strict=True)


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a model's weights."""
    return next((p.device for p in module.parameters()), torch.device("cpu"))


def find_layer(module: nn.Module, layer: str) -> nn.Module:
    """Return a layer by its dotted name.

    Raises:
        InputError: If there is none; names the last ones.
    """
    layers = dict(module.named_modules())
    if layer not in layers:
        raise InputError(f"no layer is called {layer!r}; the last ones are {', '.join(list(layers)[-4:])}")
    return layers[layer]


def leaf(faces: Tensor, device: torch.device) -> Tensor:
    """Return faces on a device as the start of a graph; captum warns where it has to ask for that."""
    return faces.to(device).detach().requires_grad_()


def check_gradient(module: nn.Module, image: Tensor) -> None:
    """Refuse a model whose logits have no finite gradient with respect to a face (1, C, H, W), e.g. one on local binary patterns.

    Raises:
        InputError: If it is such a model.
    """
    face = leaf(image, device_of(module))
    with torch.enable_grad():
        logits = module(face)
        found = torch.autograd.grad(logits.sum(), face, allow_unused=True)[0] if logits.requires_grad else None
    if found is None or not found.isfinite().all():
        raise InputError("the model's logits have no finite gradient with respect to the pixels; choose occlusion or RISE")


def spread_baseline(baseline: Any, images: Tensor) -> Tensor:
    """Return normalised baseline values, a number, (C,) or (C, H, W), as a tensor (1, C, H, W) of the kind of `images`."""
    values = torch.as_tensor(baseline, dtype=images.dtype, device=images.device)
    values = values if values.ndim == 3 else values.reshape(-1, 1, 1)
    return values.expand(1, *images.shape[1:])


def sum_channels(maps: Tensor) -> Tensor:
    """Return maps (N, C, H, W) summed over channels, float32 (N, 1, H, W), on the CPU."""
    return maps.detach().sum(dim=1, keepdim=True).float().cpu()
