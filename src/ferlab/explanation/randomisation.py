"""Whether maps depend on the trained weights: they are randomised, layer by layer from the output, and another class is explained.

A map that stays the same when the weights are random shows the face, not the model. Rank correlations of pixel-level maps fall by noise alone, so
maps are averaged over noisy copies of the face (smooth MPRT), and the entropy of the maps is compared too (efficient MPRT).

References:
    Adebayo et al. (2018), Sanity Checks for Saliency Maps, arXiv 1810.03292: cascading randomisation of weights.
    Sixt, Granz & Landgraf (2020), When Explanations Lie, arXiv 1912.09818: random-logit test.
    Hedstroem et al. (2023), Sanity Checks Revisited, arXiv 2401.06465: smooth and efficient MPRT.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.stats import entropy, rankdata
from torch import Tensor, nn

from ferlab.explanation.passes import device_of

NOISE = 0.1  # of the copies, as a fraction of a face's range of values
BINS = 100  # of a map's histogram

Explain = Callable[[nn.Module, Tensor, np.ndarray], np.ndarray]  # model, faces (N, C, H, W), classes (N,) -> maps (N, H, W)


def randomised_models(module: nn.Module, *, stages: int, seed: int = 0) -> Iterator[tuple[float, nn.Module]]:
    """Yield copies of a model whose layers are initialised anew, from the output to the input, more of them in each.

    Args:
        module: Left alone.
        stages: Copies; layers are divided among them evenly. There are at most as many copies as layers.
        seed: Of the new weights.

    Yields:
        The fraction of the layers that are random, rising to 1, and the copy, in eval mode; nothing for a model without parameters.
    """
    random = copy.deepcopy(module).eval()
    layers = [layer for layer in random.modules() if next(layer.parameters(recurse=False), None) is not None][::-1]
    done, device = 0, device_of(module)
    for stage, part in enumerate(np.array_split(np.arange(len(layers)), min(stages, len(layers))) if layers else []):
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed + stage)
            for place in part:
                _initialise(layers[place])
        done += len(part)
        yield done / len(layers), random


def randomise_weights(
    explain: Explain, module: nn.Module, faces: Tensor, *, explained_class: np.ndarray, maps: np.ndarray | None = None, stages: int = 4,
    copies: int = 1, seed: int = 0,
) -> tuple[dict[float, np.ndarray], np.ndarray]:  # fmt: skip
    """Compare the maps of a trained model with those after its weights are randomised.

    Args:
        explain: Computes maps of a model's faces.
        module: The trained model.
        faces: Normalised faces (N, C, H, W).
        explained_class: (N,) int.
        maps: Its maps of these faces (N, H, W), where known; used for one copy.
        stages: See `randomised_models`.
        copies: Noisy copies of each face that a map is averaged over; 1: the face itself, without noise (MPRT; more: smooth MPRT).
        seed: Of the weights and the noise; all faces share the noise.

    Returns:
        Per fraction of random layers Spearman's correlation of each face's maps (N,), and the rise of their entropy with all layers random (N,).
    """
    given = {"explained_class": explained_class, "copies": copies, "seed": seed}
    before = maps if copies == 1 and maps is not None else smoothed_maps(explain, module, faces, **given)
    found, after = {}, before
    for fraction, random in randomised_models(module, stages=stages, seed=seed):
        after = smoothed_maps(explain, random, faces, **given)
        found[fraction] = similarity(before, after)
    return found, complexity_rise(before, after)


def complexity_rise(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the relative rise of the entropy of maps (N, H, W) from the trained to the random model, (N,): above 0 for a map that follows it."""
    start = map_entropy(before)
    return np.divide(map_entropy(after) - start, start, out=np.full(len(start), np.nan), where=start > 0)


def map_entropy(maps: np.ndarray) -> np.ndarray:
    """Return the entropy, in nats, of the histogram of each map's magnitudes, (N,); 0 for a constant map."""
    magnitudes = np.abs(np.asarray(maps, dtype=np.float64)).reshape(len(maps), -1)
    return np.array([entropy(np.histogram(values, bins=BINS)[0]) for values in magnitudes])


def other_class_similarity(
    explain: Explain, module: nn.Module, faces: Tensor, *, maps: np.ndarray, explained_class: np.ndarray, num_classes: int
) -> np.ndarray:
    """Return the rank correlation of each map (N, H, W) with that of another class, the next in order, (N,)."""
    return similarity(maps, explain(module, faces, (np.asarray(explained_class) + 1) % num_classes))


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return Spearman's correlation of each pair of maps (N, H, W), (N,) float64; 0 where a map is constant: it has no order to share."""
    ranks = [rankdata(np.asarray(maps).reshape(len(maps), -1), axis=1) for maps in (first, second)]
    apart = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    scale = np.sqrt((apart[0] ** 2).sum(axis=1) * (apart[1] ** 2).sum(axis=1))
    return np.divide((apart[0] * apart[1]).sum(axis=1), scale, out=np.zeros(len(scale)), where=scale > 0)


def smoothed_maps(explain: Explain, module: nn.Module, faces: Tensor, *, explained_class: np.ndarray, copies: int, seed: int = 0) -> np.ndarray:
    """Return the mean of the maps over noisy copies of each face (N, H, W); the maps of the faces themselves for one copy."""
    if copies == 1:
        return explain(module, faces, np.asarray(explained_class))
    noise = torch.randn((copies, *faces.shape[1:]), generator=torch.Generator().manual_seed(seed)).to(faces)
    reach = NOISE * (faces.amax(dim=(1, 2, 3)) - faces.amin(dim=(1, 2, 3)))
    noisy = faces[:, None] + reach[:, None, None, None, None] * noise[None]
    maps = explain(module, noisy.flatten(0, 1), np.repeat(np.asarray(explained_class), copies))
    return np.asarray(maps.reshape(len(faces), copies, *maps.shape[1:]).mean(axis=1))


def _initialise(layer: nn.Module) -> None:
    """Draw the layer's own parameters anew: as PyTorch initialises it, or with the spread that they have where a layer does not say how."""
    if hasattr(layer, "reset_parameters"):
        layer.reset_parameters()
        return
    with torch.no_grad():
        for weights in layer.parameters(recurse=False):
            spread = float(weights.std()) if weights.numel() > 1 else 0.0
            weights.normal_(float(weights.mean()), spread or 1.0)
