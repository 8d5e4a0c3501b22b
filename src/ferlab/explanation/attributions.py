"""Attribution maps of faces by captum: Grad-CAM, HiResCAM and occlusion, at the size of the stored face, and their file.

The class that a map explains is `explained_class`: captum's `target`, not the true class of the face.

References:
    Selvaraju et al. (2017), Grad-CAM, arXiv 1610.02391: ReLU of the weighted sum, bilinear upsampling.
    Draelos & Carin (2020), Use HiResCAM instead of Grad-CAM for faithful explanations, arXiv 2011.08891.
    Zeiler & Fergus (2014), Visualizing and Understanding Convolutional Networks, arXiv 1311.2901: occlusion.
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823 (cs230): window 8x8, stride 4, grey 0.5.
    Kokhlikyan et al. (2020), Captum, arXiv 2009.07896.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam, LayerGradientXActivation, Occlusion
from torch import Tensor, nn
from torch.nn import functional

from ferlab.models import LoadedModel
from ferlab.paths import InputError, report_progress

FACES_AT_ONCE = 64  # between two reports of progress; bounds the memory at the model's input size


def explain_faces(
    model: LoadedModel,
    images: np.ndarray,
    *,
    explained_class: np.ndarray,
    methods: Sequence[str] | None = None,
    window: int = 8,
    stride: int = 4,
    batch_size: int = 1024,
) -> dict[str, np.ndarray]:
    """Explain one class per stored face.

    Args:
        model: Grad-CAM and HiResCAM use its `target_layer`.
        images: uint8 (N, H, W) or (N, H, W, 3).
        explained_class: Class to explain per face (N,) int, as a rule the predicted one.
        methods: Of "grad_cam", "hires_cam" and "occlusion"; None for those of `applicable_methods`.
        window: Side of the occluding square in pixels of the stored face; its colour is cs230's grey.
        stride: Step of the square, likewise.
        batch_size: Occluded faces per forward pass.

    Returns:
        Per method its maps (N, H, W) float32; units as in `grad_cam` and `occlusion`.

    Raises:
        InputError: If a method needs a target layer and the model has none.
    """
    size = images.shape[1:3]
    methods = applicable_methods(model, images) if methods is None else methods
    layered = {"grad_cam": grad_cam, "hires_cam": hires_cam}
    if model.target_layer is None and (asked := [method for method in methods if method in layered]):
        raise InputError(f"{model.name} has no convolution that {asked[0]} could explain; choose occlusion")
    sides = {key: scale_to_input(side, face=size[0], model=model.size) for key, side in (("window", window), ("stride", stride))}
    options = {"baseline": grey_baseline(model.mean, model.std), "num_classes": len(model.expressions), "batch_size": batch_size, **sides}
    parts: dict[str, list[np.ndarray]] = {method: [] for method in methods}
    for start in range(0, len(images), FACES_AT_ONCE):
        faces = model.normalise(np.asarray(images[start : start + FACES_AT_ONCE]))
        chosen = explained_class[start : start + FACES_AT_ONCE]
        for method in methods:
            if method in layered:
                maps = layered[method](model.module, faces, explained_class=chosen, layer=model.target_layer)
            else:
                maps = occlusion(model.module, faces, explained_class=chosen, **options)
            parts[method].append(resize_maps(maps, size))
        report_progress(done=start + len(faces), total=len(images), note="faces explained")
    return {method: np.concatenate(maps) for method, maps in parts.items()}


def applicable_methods(model: LoadedModel, images: np.ndarray) -> tuple[str, ...]:
    """Return the methods of a model: Grad-CAM where it has a target layer, HiResCAM where that differs, and occlusion."""
    if model.target_layer is None or not len(images):
        return ("occlusion",)
    flattened = flattens_maps(model.module, model.normalise(np.asarray(images[:1])))
    return ("grad_cam", "hires_cam", "occlusion") if flattened else ("grad_cam", "occlusion")


def grad_cam(module: nn.Module, images: Any, *, explained_class: Any, layer: str, batch_size: int = 256) -> np.ndarray:
    """Grad-CAM of one layer: channels weighted by the spatial mean of their gradient, summed, ReLU, bilinear upsampling.

    Args:
        module: Model in eval mode that returns logits (N, K).
        images: Normalised faces (N, C, H, W) float32.
        explained_class: Class to explain per face (N,) int.
        layer: Dotted name of a layer whose output is (N, C', h, w).
        batch_size: Faces per forward and backward pass.

    Returns:
        (N, H, W) float32, >= 0, in units of the logit. A map may be zero everywhere; see `dead_maps`.

    Raises:
        InputError: If the layer does not exist or its output is no map.
    """
    return _layer_maps(LayerGradCam(module, _find_layer(module, layer)), images, explained_class=explained_class, batch_size=batch_size)


def hires_cam(module: nn.Module, images: Any, *, explained_class: Any, layer: str, batch_size: int = 256) -> np.ndarray:
    """HiResCAM of one layer: each activation times its own gradient, summed over channels, ReLU, bilinear upsampling.

    Equal to Grad-CAM where a global mean follows the layer, different where its output is flattened into a linear layer. Arguments, result
    and errors as `grad_cam`.
    """
    products = LayerGradientXActivation(module, _find_layer(module, layer))
    return _layer_maps(products, images, explained_class=explained_class, batch_size=batch_size)


def flattens_maps(module: nn.Module, image: Any) -> bool:
    """Return whether a linear layer takes a feature map flattened rather than averaged over space.

    Args:
        module: Model in eval mode.
        image: A normalised face (1, C, H, W).
    """
    last: list[int] = []  # channels of the latest map
    flattened = []

    def watch(layer: nn.Module, inputs: tuple[Any, ...], outputs: Any) -> None:
        if isinstance(layer, nn.Linear):
            flattened.append(bool(last) and layer.in_features > last[0] and layer.in_features % last[0] == 0)
            last.clear()
        elif isinstance(outputs, Tensor) and outputs.ndim == 4:
            last[:] = [outputs.shape[1]]

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

    The probability and not the logit (Zeiler & Fergus): drops in points compare between faces and models. Where the model is certain the drop
    saturates: several parts may each suffice, and covering one changes little.

    Args:
        module: Model in eval mode that returns logits (N, K).
        images: Normalised faces (N, C, H, W) float32.
        explained_class: Class to explain per face (N,) int.
        baseline: Normalised values that cover a window: a number, (C,) or (C, H, W), e.g. of `grey_baseline`.
        window: Side of the square window in pixels; all channels are covered at once.
        stride: Step of the window in pixels, at most `window`; the last window of a row is cut at the border.
        batch_size: Occluded faces per forward pass.
        num_classes: K, where the model returns values beside the logits; None for all of its outputs.

    Returns:
        (N, H, W) float32, -1 to 1: at each pixel the mean drop over the windows that cover it. Negative where covering the face raises the
        probability.

    Raises:
        InputError: If window and stride do not fit the face.
    """
    images, classes = torch.as_tensor(images), _check_classes(explained_class, images)
    channels, height, width = images.shape[1:]
    if not 1 <= stride <= window <= min(height, width):
        raise InputError(f"occlusion: expected 1 <= stride <= window <= {min(height, width)}, got window {window} and stride {stride}")
    device = _device(module)
    # Keep: in large batches a CPU runs float32 convolutions twice as fast in this layout; a copy leaves the caller's model alone
    forward = copy.deepcopy(module).to(memory_format=torch.channels_last)
    method = Occlusion(lambda faces: forward(faces)[:, :num_classes].softmax(1))
    cover = torch.as_tensor(baseline, dtype=images.dtype, device=device)
    cover = cover if cover.ndim == 3 else cover.reshape(-1, 1, 1)
    windows = (-(-(height - window) // stride) + 1) * (-(-(width - window) // stride) + 1)
    pieces = -(-len(images) // batch_size)  # equal pieces, none much smaller than the pass it could fill
    options = {
        "sliding_window_shapes": (channels, window, window),
        "strides": (channels, stride, stride),
        "baselines": cover.expand(1, *images.shape[1:]),
        # captum builds a mask per window and pass, whatever the number of faces: fill a pass with faces first
        "perturbations_per_eval": min(windows, max(1, batch_size * pieces // len(images))),
    }
    maps = []
    for faces, chosen in zip(images.tensor_split(pieces), classes.tensor_split(pieces), strict=True):
        explained_class = chosen.to(device)
        maps.append(method.attribute(faces.to(device), target=explained_class, **options)[:, 0].float().cpu())  # all channels share one map
    return torch.cat(maps).numpy()


def grey_baseline(mean: Any, std: Any, *, grey: float = 0.5) -> np.ndarray:
    """Return a grey of image space (0 black, 1 white) as normalised values, float32 (C,); (C, H, W) where `mean` is an image."""
    mean, std = np.asarray(mean, dtype=np.float32), np.asarray(std, dtype=np.float32)
    return np.atleast_1d((grey - mean) / (std.reshape(-1, 1, 1) if mean.ndim == 3 else std)).astype(np.float32)


def resize_maps(attributions: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize maps (N, H, W) to (N, *size) float32, averaging where they shrink; unchanged where the size is right."""
    if attributions.shape[1:] == tuple(size):
        return attributions
    return functional.interpolate(torch.as_tensor(attributions)[:, None], size=size, mode="bilinear", antialias=True)[:, 0].numpy()


def scale_to_input(pixels: int, *, face: int, model: int) -> int:
    """Return a length in pixels of a face of side `face` in pixels of an input of side `model`, at least 1.

    >>> scale_to_input(8, face=48, model=192)
    32
    """
    return max(1, round(pixels * model / face))


def write_attributions(path: Path, *, face_id: Any, target: Any, explained_class: Any, probs: np.ndarray, **maps: np.ndarray) -> None:
    """Write maps as one npz; the same maps give the same bytes.

    Keep: `np.savez` stamps every member with 1980-01-01, not with the time of day; a test holds it to that.

    Args:
        path: Where to write.
        face_id: Keys of the faces (N,) str.
        target: True class per face (N,) int.
        explained_class: Explained class per face (N,) int.
        probs: Probabilities (N, K), stored as float32.
        **maps: Per method its maps (N, H, W), stored as float32.

    Raises:
        ValueError: If a value is not finite.
    """
    for name, values in maps.items():
        if not np.isfinite(values).all():
            raise ValueError(f"Expected {name} values that are finite")
    ids = np.asarray(face_id, dtype=np.str_)  # fixed width, so that no pickle is needed to read it
    classes = {"target": np.asarray(target, np.int64), "explained_class": np.asarray(explained_class, np.int64)}
    np.savez(path, face_id=ids, **classes, **{name: np.asarray(values, np.float32) for name, values in {"probs": probs, **maps}.items()})


def _layer_maps(method: LayerGradCam | LayerGradientXActivation, images: Any, *, explained_class: Any, batch_size: int) -> np.ndarray:
    """Sum a layer's attributions over channels, apply the ReLU and upsample; captum's defaults are no ReLU and nearest."""
    images, classes = torch.as_tensor(images), _check_classes(explained_class, images)
    device = _device(method.forward_func)
    parts = []
    for faces, chosen in zip(images.split(batch_size), classes.split(batch_size), strict=True):
        explained_class = chosen.to(device)
        maps = method.attribute(faces.to(device), target=explained_class)  # (N, C', h, w)
        if maps.ndim != 4:
            raise InputError(f"expected a layer that puts out maps (N, C, h, w), got {tuple(maps.shape)}")
        maps = maps.sum(dim=1, keepdim=True).relu()
        parts.append(LayerAttribution.interpolate(maps, tuple(faces.shape[2:]), interpolate_mode="bilinear")[:, 0].detach().float().cpu())
    return torch.cat(parts).numpy()


def _check_classes(explained_class: Any, images: Tensor) -> Tensor:
    classes = torch.as_tensor(explained_class, dtype=torch.long)
    if classes.shape != images.shape[:1] or len(images) == 0:
        shapes = f"{tuple(classes.shape)} for {tuple(images.shape)}"
        raise ValueError(f"Expected one explained class for each of at least one face, got {shapes}")
    return classes


def _find_layer(module: nn.Module, layer: str) -> nn.Module:
    layers = dict(module.named_modules())
    if layer not in layers:
        raise InputError(f"no layer is called {layer!r}; the last ones are {', '.join(list(layers)[-4:])}")
    return layers[layer]


def _device(module: nn.Module) -> torch.device:
    return next((p.device for p in module.parameters()), torch.device("cpu"))
