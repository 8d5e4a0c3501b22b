"""Attribution maps of faces: every method of `METHODS` by one signature, at the size of the stored face, and their file.

The class that a map explains is `explained_class`: captum's `target`, not the true class of the face. The maps come from captum (Kokhlikyan et
al., 2020, arXiv 2009.07896) wherever it has the method; see `layer_maps`, `gradient_maps`, `perturbation_maps` and `segment_maps` for their sources.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ferlab.explanation import gradient_maps, layer_maps, perturbation_maps, segment_maps
from ferlab.explanation.layer_maps import flattens_maps
from ferlab.explanation.methods import METHODS
from ferlab.explanation.passes import check_gradient
from ferlab.models import LoadedModel
from ferlab.paths import InputError, report_progress

FACES_AT_ONCE = 64  # between two reports of progress; bounds the memory at the model's input size
FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "grad_cam": layer_maps.grad_cam,
    "grad_cam_pp": layer_maps.grad_cam_pp,
    "hires_cam": layer_maps.hires_cam,
    "layer_cam": layer_maps.layer_cam,
    "guided_grad_cam": gradient_maps.guided_grad_cam,
    "gradients": gradient_maps.gradients,
    "smooth_grad": gradient_maps.smooth_grad,
    "integrated_gradients": gradient_maps.integrated_gradients,
    "occlusion": perturbation_maps.occlusion,
    "rise": perturbation_maps.rise,
    "xrai": segment_maps.xrai,
}


def attribute(
    method: str,
    module: nn.Module,
    images: Any,
    *,
    explained_class: Any,
    layer: str | None = None,
    baseline: Any = 0.0,
    seed: int = 0,
    batch_size: int = 256,
    **options: Any,
) -> Tensor:
    """Explain one class per face by a method of `METHODS`, at the model's input size.

    A face's map depends on the face alone: on no other face of the call, and not on `batch_size`.

    Args:
        method: A name of `METHODS`.
        module: Model in eval mode that returns logits (N, K).
        images: Normalised faces (N, C, H, W) float32.
        explained_class: Class to explain per face (N,) int.
        layer: Dotted name of a layer whose output is (N, C', h, w); used by methods that need one.
        baseline: Normalised values that stand for a missing pixel: a number, (C,) or (C, H, W); 0 is the mean of the training faces as a rule.
            Used by integrated gradients, occlusion and RISE.
        seed: Of SmoothGrad's noise and RISE's masks.
        batch_size: Faces, perturbed or not, per forward pass; a backward pass takes fewer, see `passes.FACES_PER_GRADIENT`.
        **options: Of the method's own function, e.g. `window` of occlusion.

    Returns:
        float32 (N, 1, H, W), on the CPU; >= 0 where the method has no sign. Units as `METHODS` says.

    Raises:
        InputError: Unknown method or option; a layer is missing, or does not fit; guided Grad-CAM of a model without ReLU modules.
        ValueError: Not one class for each of at least one face.
    """
    if method not in METHODS:
        raise InputError(f"no attribution method is called {method!r}; known: {', '.join(METHODS)}")
    if METHODS[method].needs_layer and layer is None:
        raise InputError(f"{METHODS[method].title} explains a layer, and none was named; choose occlusion or another method without a layer")
    images = torch.as_tensor(images, dtype=torch.float32)
    classes = torch.as_tensor(explained_class, dtype=torch.long)
    if classes.shape != images.shape[:1] or len(images) == 0:
        shapes = f"{tuple(classes.shape)} for {tuple(images.shape)}"
        raise ValueError(f"Expected one explained class for each of at least one face, got {shapes}")
    takes = method_options(method)
    if unknown := set(options) - set(takes):
        raise InputError(f"{METHODS[method].title} has no option {sorted(unknown)[0]!r}; it has {', '.join(takes)}")
    shared = {"layer": layer, "baseline": baseline, "seed": seed, "batch_size": batch_size}
    given = {name: value for name, value in shared.items() if name in takes} | options
    return FUNCTIONS[method](module, images, explained_class=classes, **given)


def method_options(method: str) -> tuple[str, ...]:
    """Return the names of a method's options, the shared ones of `attribute` among them."""
    return tuple(name for name in inspect.signature(FUNCTIONS[method]).parameters if name not in ("module", "images", "explained_class"))


def explain_faces(
    model: LoadedModel,
    images: np.ndarray,
    *,
    explained_class: np.ndarray,
    methods: Sequence[str] | None = None,
    window: int = 8,
    stride: int = 4,
    batch_size: int = 256,
    seed: int = 0,
    **options: Any,
) -> dict[str, np.ndarray]:
    """Explain one class per stored face. What is missing is covered by mid-grey, cs230's.

    Args:
        model: Methods that need a layer explain its `target_layer`.
        images: uint8 (N, H, W) or (N, H, W, 3).
        explained_class: Class to explain per face (N,) int, as a rule the predicted one.
        methods: Names of `METHODS`; None for those of `applicable_methods`.
        window: Side of the occluding square in pixels of the stored face.
        stride: Step of the square, likewise.
        batch_size: Faces, perturbed or not, per forward pass.
        seed: Of SmoothGrad's noise and RISE's masks.
        **options: `steps` of integrated gradients and XRAI, `samples` and `noise` of SmoothGrad, `masks`, `cells` and `shown` of RISE.

    Returns:
        Per method its maps (N, H, W) float32; units as `METHODS` says.

    Raises:
        InputError: As `check_method`, and an option that no method has.
    """
    size = images.shape[1:3]
    methods = applicable_methods(model, images) if methods is None else methods
    own = {}
    for method in methods:
        check_method(model, images, method)
        own[method] = explain_settings(model, method, side=size[0], window=window, stride=stride, batch_size=batch_size, seed=seed, **options)
    parts: dict[str, list[np.ndarray]] = {method: [] for method in methods}
    for start in range(0, len(images), FACES_AT_ONCE):
        faces = model.normalise(np.asarray(images[start : start + FACES_AT_ONCE]))
        chosen = explained_class[start : start + FACES_AT_ONCE]
        for method in methods:
            maps = attribute(method, model.module, faces, explained_class=chosen, **own[method])
            parts[method].append(resize_maps(maps[:, 0].numpy(), size))
        report_progress(done=start + len(faces), total=len(images), note="faces explained")
    return {method: np.concatenate(maps) for method, maps in parts.items()}


def explain_settings(
    model: LoadedModel, method: str, *, side: int, window: int = 8, stride: int = 4, batch_size: int = 256, seed: int = 0, **options: Any
) -> dict[str, Any]:
    """Return the arguments with which `explain_faces` calls `attribute` for faces of `side` pixels.

    Raises:
        InputError: An option that no method has.
    """
    known = {name for each in FUNCTIONS for name in method_options(each)}
    if unknown := set(options) - known:
        raise InputError(f"no attribution method has an option {sorted(unknown)[0]!r}; known: {', '.join(sorted(known))}")
    sides = {name: scale_to_input(length, face=side, model=model.size) for name, length in (("window", window), ("stride", stride))}
    own = {name: value for name, value in {**sides, "probs": model.probs, **options}.items() if name in method_options(method)}
    return own | {"layer": model.target_layer, "baseline": grey_baseline(model.mean, model.std), "seed": seed, "batch_size": batch_size}


def applicable_methods(model: LoadedModel, images: np.ndarray) -> tuple[str, ...]:
    """Return a model's methods on the default page: Grad-CAM where it has a target layer, HiResCAM where that differs, and occlusion."""
    if model.target_layer is None or not len(images):
        return ("occlusion",)
    flattened = flattens_maps(model.module, model.normalise(np.asarray(images[:1])))
    return ("grad_cam", "hires_cam", "occlusion") if flattened else ("grad_cam", "occlusion")


def possible_methods(model: LoadedModel, images: np.ndarray, methods: Sequence[str]) -> tuple[str, ...]:
    """Return those of the methods that a model allows, in order and once; see `check_method`."""
    possible = []
    for method in dict.fromkeys(methods):
        with suppress(InputError):
            check_method(model, images, method)
            possible.append(method)
    return tuple(possible)


def check_method(model: LoadedModel, images: np.ndarray, method: str) -> None:
    """Refuse a method that a model does not allow, by trying the first of `images` (N, H, W) or (N, H, W, 3).

    Raises:
        InputError: Unknown method; no target layer for one that needs a layer; no finite gradient for one that needs gradients; a ReLU that
            is no module for guided Grad-CAM.
    """
    if method not in METHODS:
        raise InputError(f"no attribution method is called {method!r}; known: {', '.join(METHODS)}")
    if METHODS[method].needs_layer and model.target_layer is None:
        raise InputError(f"{model.name} has no convolution that {method} could explain; choose occlusion")
    if len(images) and METHODS[method].unit != "probability":
        face = model.normalise(np.asarray(images[:1]))
        check_gradient(model.module, face)
        if method == "guided_grad_cam":
            gradient_maps.check_relus(model.module, face)


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
