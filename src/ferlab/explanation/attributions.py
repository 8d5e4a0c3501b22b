"""Attribution maps of faces: Grad-CAM, HiResCAM and occlusion, all by captum, in batches large enough to be worth a forward pass.

Works on normalised faces; `maps` serves stored ones. What a map means for parts of the face is `shares`.
The class being explained is called `explained_class` everywhere: captum's `target`, which is not the true class of the face.

References:
    Selvaraju et al. (2017), Grad-CAM, arXiv 1610.02391: ReLU of the weighted sum, bilinear upsampling.
    Draelos & Carin (2020), Use HiResCAM instead of Grad-CAM for faithful explanations, arXiv 2011.08891: gradients are not averaged over space.
    Zeiler & Fergus (2014), Visualizing and Understanding Convolutional Networks, arXiv 1311.2901: occlusion.
    Khanzada, Bai & Celepcikay (2020), Facial Expression Recognition with Deep Learning, arXiv 2004.11823 (cs230): its
        8x8 window, stride 4, grey of .5.
    Kokhlikyan et al. (2020), Captum, arXiv 2009.07896.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from captum.attr import GradientAttribution, LayerAttribution, LayerGradCam, LayerGradientXActivation, Occlusion
from torch import Tensor, nn

from ferlab.paths import InputError


def grad_cam(module: nn.Module, images: Any, *, explained_class: Any, layer: str | nn.Module, batch_size: int = 256) -> np.ndarray:
    """Grad-CAM of one layer for one class per face, brought to the size of the face.

    Channels are weighted by the mean gradient of the explained class's logit, summed, cut at zero, upsampled bilinearly.

    Args:
        module: Model in eval mode that returns logits (N, K).
        images: Normalised faces (N, C, H, W) float32.
        explained_class: Class to explain per face (N,) int.
        layer: Layer whose output is a map (N, C', h, w), or its dotted name in `module`.
        batch_size: Faces per forward and backward pass.

    Returns:
        Attributions (N, H, W) float32, >= 0, in units of the logit. A face may have a map of zeros; see `dead_maps`.

    Raises:
        InputError: If the layer does not exist or puts out no map.
    """
    return _in_batches(_grad_cam, LayerGradCam(module, _found_layer(module, layer)), images, explained_class=explained_class, batch_size=batch_size)


def hires_cam(module: nn.Module, images: Any, *, explained_class: Any, layer: str | nn.Module, batch_size: int = 256) -> np.ndarray:
    """HiResCAM of one layer for one class per face, brought to the size of the face.

    Each activation is multiplied with its own gradient, summed over channels, cut at zero, upsampled bilinearly. Grad-CAM multiplies it with the
    gradient's mean over space: the same map where a global mean follows the layer, another one where features are flattened into a linear
    layer, which weighs every place on its own.

    Args:
        module: As for `grad_cam`.
        images: Likewise.
        explained_class: Likewise.
        layer: Likewise.
        batch_size: Likewise.

    Returns:
        Attributions (N, H, W) float32, >= 0, in units of the logit.

    Raises:
        InputError: If the layer does not exist or puts out no map.
    """
    products = LayerGradientXActivation(module, _found_layer(module, layer))
    return _in_batches(_hires_cam, products, images, explained_class=explained_class, batch_size=batch_size)


def flattens_maps(module: nn.Module, image: Any) -> bool:
    """Tell whether a linear layer of a model takes its maps place by place (flattened), instead of their mean over space.

    Args:
        module: Model in eval mode.
        image: A normalised face (1, C, H, W).

    Returns:
        True where the first linear layer after some map (1, C', h, w) has more inputs than the map has channels.
    """
    last: list[tuple[int, ...]] = []
    flattened = []

    def watch(layer: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        if isinstance(layer, nn.Linear):
            flattened.append(bool(last) and layer.in_features > last[0][1] and layer.in_features % last[0][1] == 0)
            last.clear()
        elif isinstance(outputs, Tensor) and outputs.ndim == 4:
            last[:] = [tuple(outputs.shape)]

    hooks = [layer.register_forward_hook(watch) for layer in module.modules() if not list(layer.children())]
    try:
        with torch.no_grad():
            module(torch.as_tensor(image).to(_device(module)))
    finally:
        for hook in hooks:
            hook.remove()
    return any(flattened)


def occlusion(
    module: nn.Module,
    images: Any,
    *,
    explained_class: Any,
    baseline: Any,
    window: int = 8,
    stride: int = 4,
    batch_size: int = 1024,
    num_classes: int | None = None,
) -> np.ndarray:
    """Drop of the explained class's softmax probability when a window of the face is covered.

    The probability and not the logit (Zeiler & Fergus): a drop in points can be compared between faces and nets. On a
    face of which the model is certain it saturates: several parts may each suffice, and covering one then changes little.

    captum evaluates faces x windows in one forward pass. A pass holds as many faces as `batch_size` allows and only then
    several windows, because captum builds one mask per window and pass, whatever the number of faces.

    Args:
        module: Model in eval mode that returns logits (N, K).
        images: Normalised faces (N, C, H, W) float32.
        explained_class: Class to explain per face (N,) int.
        baseline: What covers a window, normalised: a number, (C,) values or (C, H, W), e.g. of `grey_baseline`.
        window: Side of the square window in pixels; all channels are covered at once.
        stride: Step of the window in pixels, at most `window`; the last window of a row is cut at the border.
        batch_size: Perturbed faces per forward pass.
        num_classes: K, where the model puts out more than logits: values beside the expressions; None for all of its outputs.

    Returns:
        Attributions (N, H, W) float32, -1 to 1: at each pixel the mean drop over the windows that cover it. Negative where
        covering the face makes the class more probable.

    Raises:
        InputError: If window and stride do not fit the face.
    """
    images, classes = torch.as_tensor(images), _checked_classes(explained_class, images)
    channels, height, width = images.shape[1:]
    if not 1 <= stride <= window <= min(height, width):
        bound = f"1 <= stride <= window <= {min(height, width)}"
        raise InputError(f"occlusion: expected {bound}, got window {window} and stride {stride}")
    device = _device(module)
    # Keep: in large batches a CPU runs float32 convolutions twice as fast in this layout; a copy leaves the caller's model alone
    forward = copy.deepcopy(module).to(memory_format=torch.channels_last)
    method = Occlusion(lambda faces: forward(faces)[:, :num_classes].softmax(1))
    cover = torch.as_tensor(baseline, dtype=images.dtype, device=device)
    cover = cover if cover.ndim == 3 else cover.reshape(-1, 1, 1)
    settings = {
        "sliding_window_shapes": (channels, window, window),
        "strides": (channels, stride, stride),
        "baselines": cover.expand(1, *images.shape[1:]),
    }
    windows = (-(-(height - window) // stride) + 1) * (-(-(width - window) // stride) + 1)
    pieces = -(-len(images) // batch_size)  # equal pieces, none much smaller than the pass it could fill
    settings["perturbations_per_eval"] = min(windows, max(1, batch_size * pieces // len(images)))
    maps = [
        _occluded(method, faces.to(device), explained_class=chosen.to(device), settings=settings)
        for faces, chosen in zip(images.tensor_split(pieces), classes.tensor_split(pieces), strict=True)
    ]
    return torch.cat(maps).numpy()


def grey_baseline(mean: Any, std: Any, *, grey: float = 0.5) -> np.ndarray:
    """Return cs230's grey, given in image space (0 black to 1 white), as normalised values (C,) float32; (C, H, W) where `mean` is an image."""
    mean, std = np.asarray(mean, dtype=np.float32), np.asarray(std, dtype=np.float32)
    return np.atleast_1d((grey - mean) / (std.reshape(-1, 1, 1) if mean.ndim == 3 else std)).astype(np.float32)


def dead_maps(attributions: np.ndarray) -> np.ndarray:
    """Tell which maps (N, H, W) are zero everywhere.

    A map is zero where its ReLU leaves nothing. Grad-CAM's often is where features are flattened into a linear layer: a channel's gradient then
    changes its sign between places, and its mean over space may be negative for every active channel though the class has evidence; see
    `hires_cam`.

    Returns:
        (N,) bool.
    """
    return ~np.any(attributions, axis=(1, 2))


def _in_batches(explain: Callable[..., Tensor], method: GradientAttribution, images: Any, *, explained_class: Any, batch_size: int) -> np.ndarray:
    """Explain batch after batch on the model's device and return the maps, float32 (N, H, W)."""
    images, classes = torch.as_tensor(images), _checked_classes(explained_class, images)
    device = _device(method.forward_func)
    batches = zip(images.split(batch_size), classes.split(batch_size), strict=True)
    return torch.cat([explain(method, faces.to(device), explained_class=chosen.to(device)) for faces, chosen in batches]).numpy()


def _grad_cam(method: LayerGradCam, faces: Tensor, *, explained_class: Tensor) -> Tensor:
    # captum's own defaults are no ReLU and nearest: both are said here and in `_upsampled`, as in the paper
    return _upsampled(method.attribute(faces, target=explained_class, relu_attributions=True), faces)


def _hires_cam(method: LayerGradientXActivation, faces: Tensor, *, explained_class: Tensor) -> Tensor:
    products = method.attribute(faces, target=explained_class)  # (N, C', h, w)
    return _upsampled(products.sum(dim=1, keepdim=True).relu() if products.ndim == 4 else products, faces)


def _upsampled(maps: Tensor, faces: Tensor) -> Tensor:
    if maps.ndim != 4:
        raise InputError(f"grad_cam: expected a layer that puts out maps (N, C, h, w), got {tuple(maps.shape)}")
    return LayerAttribution.interpolate(maps, tuple(faces.shape[2:]), interpolate_mode="bilinear")[:, 0].detach().float().cpu()


def _occluded(method: Occlusion, faces: Tensor, *, explained_class: Tensor, settings: dict[str, Any]) -> Tensor:
    maps = method.attribute(faces, target=explained_class, **settings)
    return maps[:, 0].float().cpu()  # all channels are covered together, so they share one map


def _checked_classes(explained_class: Any, images: Tensor) -> Tensor:
    classes = torch.as_tensor(explained_class, dtype=torch.long)
    if classes.shape != images.shape[:1] or len(images) == 0:
        shapes = f"{tuple(classes.shape)} for {tuple(images.shape)}"
        raise ValueError(f"Expected one explained class for each of at least one face, got {shapes}")
    return classes


def _found_layer(module: nn.Module, layer: str | nn.Module) -> nn.Module:
    if isinstance(layer, nn.Module):
        return layer
    layers = dict(module.named_modules())
    if layer not in layers:
        raise InputError(f"grad_cam: no layer is called {layer!r}; the last ones are {', '.join(list(layers)[-4:])}")
    return layers[layer]


def _device(module: nn.Module) -> torch.device:
    return next((p.device for p in module.parameters()), torch.device("cpu"))
