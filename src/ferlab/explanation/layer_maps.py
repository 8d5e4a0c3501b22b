"""Attribution maps of a layer's feature map, upsampled to the face: Grad-CAM, Grad-CAM++, HiResCAM and LayerCAM.

A is the layer's output (C', h, w) for a face, g the gradient of the explained class's logit with respect to it. Every map is a ReLU of a sum over
channels of A times a weight, in units of the logit:

    Grad-CAM     mean of g over space                       Selvaraju et al. (2017), arXiv 1610.02391
    Grad-CAM++   sum over space of alpha * relu(g)          Chattopadhay et al. (2018), arXiv 1710.11063
    HiResCAM     g, at each place                           Draelos & Carin (2020), arXiv 2011.08891
    LayerCAM     relu(g), at each place                     Jiang et al. (2021), IEEE TIP, doi 10.1109/TIP.2021.3089943

All share arguments, result and errors:

    module: Model in eval mode that returns logits (N, K).
    images: Normalised faces (N, C, H, W) float32.
    explained_class: Class to explain per face (N,) int.
    layer: Dotted name of a layer whose output is (N, C', h, w).
    batch_size: Faces per forward and backward pass.

    Returns float32 (N, 1, H, W), >= 0. A map may be zero everywhere; see `ferlab.explanation.sample.dead_maps`.
    Raises InputError if the layer does not exist or its output is no map.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from captum._utils.gradient import compute_layer_gradients_and_eval
from captum.attr import LayerAttribution, LayerGradCam, LayerGradientXActivation
from torch import Tensor, nn

from ferlab.explanation.passes import FACES_PER_GRADIENT, device_of, find_layer, pieces, sum_channels
from ferlab.paths import InputError


def grad_cam(module: nn.Module, images: Tensor, *, explained_class: Tensor, layer: str, batch_size: int = FACES_PER_GRADIENT) -> Tensor:
    """Grad-CAM: each channel weighted by the spatial mean of its gradient."""
    method = LayerGradCam(module, find_layer(module, layer))
    return _upsampled(method.attribute, images, explained_class=explained_class, batch_size=batch_size, device=device_of(module))


def hires_cam(module: nn.Module, images: Tensor, *, explained_class: Tensor, layer: str, batch_size: int = FACES_PER_GRADIENT) -> Tensor:
    """HiResCAM: each activation times its own gradient.

    Equal to Grad-CAM where a global mean follows the layer, different where its output is flattened into a linear layer.
    """
    method = LayerGradientXActivation(module, find_layer(module, layer))
    return _upsampled(method.attribute, images, explained_class=explained_class, batch_size=batch_size, device=device_of(module))


def grad_cam_pp(module: nn.Module, images: Tensor, *, explained_class: Tensor, layer: str, batch_size: int = FACES_PER_GRADIENT) -> Tensor:
    """Grad-CAM++: each channel weighted by the sum over space of alpha * relu(g), alpha = g^2 / (2 g^2 + g^3 * sum of A over space).

    The paper explains exp(logit), whose derivatives share the factor exp(logit); it cancels in alpha and scales a face's map in the weight,
    where it is omitted. The paper assumes A >= 0, the output of a ReLU: activations below 0 count as 0 in the sum.
    """

    def attribute(faces: Tensor, *, target: Tensor) -> Tensor:
        gradients, activations = _layer_gradients(module, layer, faces, target)
        total = activations.relu().sum(dim=(2, 3), keepdim=True)
        weights = (gradients.relu() / (2 + gradients.relu() * total)).sum(dim=(2, 3), keepdim=True)  # alpha * relu(g); g^2 cancels
        return weights * activations

    return _upsampled(attribute, images, explained_class=explained_class, batch_size=batch_size, device=device_of(module))


def layer_cam(module: nn.Module, images: Tensor, *, explained_class: Tensor, layer: str, batch_size: int = FACES_PER_GRADIENT) -> Tensor:
    """LayerCAM: each activation times its own gradient where that is positive."""

    def attribute(faces: Tensor, *, target: Tensor) -> Tensor:
        gradients, activations = _layer_gradients(module, layer, faces, target)
        return gradients.relu() * activations

    return _upsampled(attribute, images, explained_class=explained_class, batch_size=batch_size, device=device_of(module))


def flattens_maps(module: nn.Module, image: Any) -> bool:
    """Return whether a linear layer takes a feature map flattened rather than averaged over space, alone or beside other features.

    Args:
        module: Model in eval mode.
        image: A normalised face (1, C, H, W).
    """
    last: list[int] = []  # channels and values of the latest map
    flattened = []

    def watch(layer: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        if isinstance(layer, nn.Linear):
            takes = layer.in_features
            flattened.append(bool(last) and ((takes > last[0] and takes % last[0] == 0) or takes >= last[1] > last[0]))
            last.clear()
        elif isinstance(outputs, Tensor) and outputs.ndim == 4:
            last[:] = [outputs.shape[1], outputs[0].numel()]

    hooks = [layer.register_forward_hook(watch) for layer in module.modules() if not list(layer.children())]
    try:
        with torch.no_grad():
            module(torch.as_tensor(image).to(device_of(module)))
    finally:
        for hook in hooks:
            hook.remove()
    return any(flattened)


def _layer_gradients(module: nn.Module, layer: str, faces: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of the explained logit and the activations of a layer, each (N, C', h, w)."""
    (gradients,), (activations,) = compute_layer_gradients_and_eval(module, find_layer(module, layer), faces, target_ind=target)
    _check_map(gradients)
    return gradients, activations


def _check_map(maps: Tensor) -> None:
    if maps.ndim != 4:
        raise InputError(f"expected a layer that puts out maps (N, C, h, w), got {tuple(maps.shape)}")


def _upsampled(attribute: Callable[..., Tensor], images: Tensor, *, explained_class: Tensor, batch_size: int, device: torch.device) -> Tensor:
    """Sum a layer's attributions over channels, apply the ReLU and upsample; captum's defaults are no ReLU and nearest."""
    parts = []
    for faces, chosen in pieces(images, explained_class, at_most=min(batch_size, FACES_PER_GRADIENT)):
        explained_class = chosen.to(device)
        maps = attribute(faces.to(device), target=explained_class)  # (N, C', h, w)
        _check_map(maps)
        maps = maps.detach().sum(dim=1, keepdim=True).relu()
        parts.append(sum_channels(LayerAttribution.interpolate(maps, tuple(faces.shape[2:]), interpolate_mode="bilinear")))
    return torch.cat(parts)
