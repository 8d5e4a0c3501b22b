"""Attribution maps from gradients of the logit with respect to the pixels: gradients, SmoothGrad, integrated gradients, guided Grad-CAM.

All take a model in eval mode, normalised faces (N, C, H, W) float32 and the class to explain per face (N,) int, and return float32 (N, 1, H, W),
channels summed. A unit of a pixel is a unit of the model's input, as a rule one standard deviation of the training faces. A model without finite
gradients (histograms of patterns) is refused by InputError.

References:
    Simonyan, Vedaldi & Zisserman (2013), Deep Inside Convolutional Networks, arXiv 1312.6034.
    Smilkov et al. (2017), SmoothGrad, arXiv 1706.03825.
    Sundararajan, Taly & Yan (2017), Axiomatic Attribution for Deep Networks, arXiv 1703.01365.
    Springenberg et al. (2014), Striving for Simplicity, arXiv 1412.6806: guided backpropagation.
    Selvaraju et al. (2017), Grad-CAM, arXiv 1610.02391: guided Grad-CAM.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from captum.attr import GuidedGradCam, IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor, nn

from ferlab.explanation.passes import FACES_PER_GRADIENT, check_gradient, device_of, find_layer, leaf, pieces, spread_baseline, sum_channels
from ferlab.paths import InputError


def gradients(module: nn.Module, images: Tensor, *, explained_class: Tensor, batch_size: int = FACES_PER_GRADIENT) -> Tensor:
    """Magnitude of the logit's gradient at each pixel, >= 0."""
    check_gradient(module, images[:1])
    method, device, parts = Saliency(module), device_of(module), []
    for faces, chosen in pieces(images, explained_class, at_most=min(batch_size, FACES_PER_GRADIENT)):
        explained_class = chosen.to(device)
        parts.append(sum_channels(method.attribute(leaf(faces, device), target=explained_class, abs=True)))
    return torch.cat(parts)


def smooth_grad(module: nn.Module, images: Tensor, *, explained_class: Tensor, seed: int = 0, samples: int = 25, noise: float = 0.15) -> Tensor:
    """Magnitude of the mean gradient over noisy copies of the face, >= 0.

    Args:
        module: Model in eval mode.
        images: Normalised faces (N, C, H, W) float32.
        explained_class: Class to explain per face (N,) int.
        seed: Of the noise; every face gets the same, so that its map depends on no other face.
        samples: Noisy copies of a face.
        noise: Standard deviation of the Gaussian noise as a fraction of the face's range of values.
    """
    check_gradient(module, images[:1])
    method, device, parts = NoiseTunnel(Saliency(module)), device_of(module), []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for face, chosen in pieces(images, explained_class, at_most=1):
            torch.manual_seed(seed)
            explained_class = chosen.to(device)
            how = {"nt_samples": samples, "nt_samples_batch_size": min(samples, FACES_PER_GRADIENT), "stdevs": noise * float(face.max() - face.min())}
            # Keep: abs=False, for the paper averages gradients and takes the magnitude of the mean; captum averages magnitudes
            parts.append(sum_channels(method.attribute(leaf(face, device), target=explained_class, nt_type="smoothgrad", abs=False, **how).abs()))
    return torch.cat(parts)


def integrated_gradients(
    module: nn.Module, images: Tensor, *, explained_class: Tensor, baseline: Any = 0.0, steps: int = 50, batch_size: int = FACES_PER_GRADIENT
) -> Tensor:
    """Integral of the gradient from the baseline to the face, times their difference; signed.

    A map sums to the difference of the logit between face and baseline (completeness), up to the error of `steps` quadrature points.

    Args:
        module: Model in eval mode.
        images: Normalised faces (N, C, H, W) float32.
        explained_class: Class to explain per face (N,) int.
        baseline: Normalised values where the integral starts: a number, (C,) or (C, H, W).
        steps: Points of the Gauss-Legendre quadrature.
        batch_size: Faces per forward and backward pass.
    """
    check_gradient(module, images[:1])
    method, device, parts = IntegratedGradients(module), device_of(module), []
    at_once = max(1, min(batch_size, FACES_PER_GRADIENT))
    start = spread_baseline(baseline, images.to(device))
    for faces, chosen in pieces(images, explained_class, at_most=max(1, at_once // steps)):
        explained_class = chosen.to(device)
        maps = method.attribute(leaf(faces, device), baselines=start, target=explained_class, n_steps=steps, internal_batch_size=at_once)
        parts.append(sum_channels(maps))
    return torch.cat(parts)


def guided_grad_cam(module: nn.Module, images: Tensor, *, explained_class: Tensor, layer: str, batch_size: int = FACES_PER_GRADIENT) -> Tensor:
    """Guided backpropagation times Grad-CAM of a layer; signed.

    Guided backpropagation changes the gradient of ReLU modules alone. It recovers edges of the face whatever the weights are (Adebayo et al.,
    2018, arXiv 1810.03292).

    Raises:
        InputError: If the model has no ReLU, or one that is no module.
    """
    method, device, parts = GuidedGradCam(module, find_layer(module, layer)), device_of(module), []
    check_relus(module, images[:1])
    for faces, chosen in pieces(images, explained_class, at_most=min(batch_size, FACES_PER_GRADIENT)):
        explained_class = chosen.to(device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting backward hooks on ReLU")
            maps = method.attribute(leaf(faces, device), target=explained_class, interpolate_mode="bilinear")
        if maps.shape[1:] != faces.shape[1:]:
            raise InputError(f"expected a layer that puts out maps (N, C, h, w); {layer} does not")
        parts.append(sum_channels(maps))
    return torch.cat(parts)


def check_relus(module: nn.Module, image: Tensor) -> None:
    """Refuse a model in which a ReLU of the graph is no nn.ReLU: guided backpropagation would pass it by.

    Raises:
        InputError: If it is such a model, or one without ReLUs.
    """
    image = image.to(device_of(module))
    calls: list[nn.Module] = []
    hooks = [layer.register_forward_hook(lambda layer, *_: calls.append(layer)) for layer in module.modules() if isinstance(layer, nn.ReLU)]
    try:
        with torch.enable_grad():
            outputs = module(leaf(image, image.device))
    finally:
        for hook in hooks:
            hook.remove()
    found, nodes, seen = 0, [outputs.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found += node.name().startswith("ReluBackward")
        nodes += [following for following, _ in node.next_functions]
    if not calls or found != len(calls):
        raise InputError(f"guided Grad-CAM needs a model whose ReLUs are nn.ReLU modules; {len(calls)} of its {found} are")
