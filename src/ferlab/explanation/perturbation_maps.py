"""Attribution maps from perturbed faces: occlusion by a sliding window, and RISE's random masks. They need no gradient.

Both give the explained class's softmax probability, not its logit (Zeiler & Fergus): points compare between faces and models. Where the model is
certain they saturate: several parts may each suffice, and covering one changes little.

References:
    Zeiler & Fergus (2014), Visualizing and Understanding Convolutional Networks, arXiv 1311.2901: occlusion.
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823 (cs230): window 8x8, stride 4, grey 0.5.
    Petsiuk, Das & Saenko (2018), RISE, arXiv 1806.07421.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from captum.attr import Occlusion
from torch import Tensor, nn
from torch.nn import functional

from ferlab.explanation.passes import device_of, pieces, spread_baseline
from ferlab.paths import InputError

Probs = Callable[[Tensor], Tensor]


def occlusion(
    module: nn.Module,
    images: Tensor,
    *,
    explained_class: Tensor,
    baseline: Any = 0.0,
    window: int = 8,
    stride: int = 4,
    batch_size: int = 256,
    probs: Probs | None = None,
) -> Tensor:
    """Drop of the explained class's probability when a window of the face is covered.

    Args:
        module: Model in eval mode that returns logits (N, K).
        images: Normalised faces (N, C, H, W) float32.
        explained_class: Class to explain per face (N,) int.
        baseline: Normalised values that cover a window: a number, (C,) or (C, H, W), e.g. of `grey_baseline`.
        window: Side of the square window in pixels; all channels are covered at once.
        stride: Step of the window in pixels, at most `window`; the last window of a row is cut at the border.
        batch_size: Occluded faces per forward pass.
        probs: Probabilities (N, K) from the model's outputs; None for the softmax of all of them.

    Returns:
        (N, 1, H, W) float32, -1 to 1: at each pixel the mean drop over the windows that cover it. Negative where covering the face raises the
        probability.

    Raises:
        InputError: If window and stride do not fit the face.
    """
    channels, height, width = images.shape[1:]
    if not 1 <= stride <= window <= min(height, width):
        raise InputError(f"occlusion: expected 1 <= stride <= window <= {min(height, width)}, got window {window} and stride {stride}")
    device = device_of(module)
    method = Occlusion(_probabilities(module, probs))
    windows = (-(-(height - window) // stride) + 1) * (-(-(width - window) // stride) + 1)
    count = -(-len(images) // batch_size)
    options = {
        "sliding_window_shapes": (channels, window, window),
        "strides": (channels, stride, stride),
        "baselines": spread_baseline(baseline, images.to(device)),
        # captum builds a mask per window and pass, whatever the number of faces: fill a pass with faces first
        "perturbations_per_eval": min(windows, max(1, batch_size * count // len(images))),
    }
    maps = []
    with torch.no_grad():
        for faces, chosen in pieces(images, explained_class, at_most=batch_size):
            explained_class = chosen.to(device)
            maps.append(method.attribute(faces.to(device), target=explained_class, **options)[:, :1].float().cpu())  # all channels share one map
    return torch.cat(maps)


def rise(
    module: nn.Module,
    images: Tensor,
    *,
    explained_class: Tensor,
    baseline: Any = 0.0,
    seed: int = 0,
    masks: int = 1000,
    cells: int = 7,
    shown: float = 0.5,
    centred: bool = True,
    batch_size: int = 256,
    probs: Probs | None = None,
) -> Tensor:
    """RISE: mean probability of the explained class over random masks, each weighted by how much of the pixel it shows.

    Args:
        module: Model in eval mode that returns logits (N, K).
        images: Normalised faces (N, C, H, W) float32.
        explained_class: Class to explain per face (N,) int.
        baseline: Normalised values that cover a face where a mask is 0, as in `occlusion`; the paper's is black.
        seed: Of the masks; every face gets the same, so that its map depends on no other face.
        masks: Number of masks.
        cells: Cells of a mask's grid along each side.
        shown: Probability that a cell shows the face.
        centred: Subtract the mean probability over the masks. The paper does not: its map is this one plus that constant, which differs between
            faces and hides the contrast of a map; see below.
        batch_size: Masked faces per forward pass.
        probs: As in `occlusion`.

    Returns:
        (N, 1, H, W) float32. Centred: how much more probable the class is when the pixel is shown than on average, -1 to 1. Otherwise the paper's
        estimate of the probability given that the pixel is shown, >= 0; the number of masks that show a pixel varies, which is part of its noise.
    """
    device = device_of(module)
    forward, images, explained_class = _probabilities(module, probs), images.to(device), explained_class.to(device)
    cover = spread_baseline(baseline, images)
    sums = images.new_zeros(len(images), *images.shape[2:])
    at_once = min(len(images), batch_size)
    passes = list(pieces(images - cover, explained_class, at_most=at_once))
    every, mean = images.new_zeros(images.shape[2:]), images.new_zeros(len(images))
    with torch.no_grad():
        for mask in rise_masks(masks, images.shape[2:], cells=cells, shown=shown, seed=seed, at_once=max(1, batch_size // at_once)):
            mask = mask.to(device)
            scores = torch.cat([_masked_scores(forward, part, mask, cover=cover, chosen=chosen) for part, chosen in passes])  # (N, masks)
            sums += torch.einsum("nm,mhw->nhw", scores, mask)
            every += mask.sum(dim=0)
            mean += scores.sum(dim=1)
    if centred:
        sums -= (mean / masks)[:, None, None] * every
    return (sums / (masks * shown))[:, None].float().cpu()


def _masked_scores(forward: Probs, difference: Tensor, masks: Tensor, *, cover: Tensor, chosen: Tensor) -> Tensor:
    """Return the explained class's probability (N, M) of N faces under M masks; `difference`: faces minus `cover`."""
    masked = torch.addcmul(cover[:, None], difference[:, None], masks[None, :, None])  # (N, M, C, H, W)
    scores = forward(masked.flatten(0, 1)).unflatten(0, masked.shape[:2])
    return scores.gather(2, chosen[:, None, None].expand(-1, len(masks), 1))[..., 0]


def rise_masks(count: int, size: Any, *, cells: int, shown: float, seed: int, at_once: int) -> Iterator[Tensor]:
    """Yield masks (M, H, W) in [0, 1]: a random grid, upsampled by a cell more than the face and cropped at a random offset of less than a cell.

    Keep: grids and offsets are drawn on the CPU, all at once, so that neither batch size nor device changes a mask.
    """
    height, width = size
    rng = torch.Generator().manual_seed(seed)
    grids = (torch.rand(count, 1, cells, cells, generator=rng) < shown).float()
    tall, wide = -(-height // cells), -(-width // cells)  # a cell in pixels
    down, right = (torch.randint(side, (count,), generator=rng).tolist() for side in (tall, wide))
    for start in range(0, count, at_once):
        large = functional.interpolate(grids[start : start + at_once], size=((cells + 1) * tall, (cells + 1) * wide), mode="bilinear")[:, 0]
        offsets = zip(down[start : start + at_once], right[start : start + at_once], strict=True)
        yield torch.stack([mask[y : y + height, x : x + width] for mask, (y, x) in zip(large, offsets, strict=True)])


def _probabilities(module: nn.Module, probs: Probs | None) -> Probs:
    """Return a forward pass to probabilities by a copy of the model in the layout that is fast for large batches.

    Keep: in large batches a CPU runs float32 convolutions twice as fast in this layout; a copy leaves the caller's model alone.
    """
    forward = copy.deepcopy(module).to(memory_format=torch.channels_last)
    return lambda faces: probs(forward(faces)) if probs else forward(faces).softmax(dim=1)
