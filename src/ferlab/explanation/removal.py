"""Deletion and insertion: how fast the probability of the explained class falls as a map's pixels are removed, and rises as they are put in.

Pixels go in the order of their attribution, highest first. Deletion removes them from the face, insertion puts them into an imputed face; both end
where the other starts. The area under the insertion curve less that under the deletion curve, the symmetric relevance gain, is 0 for an order
without information and depends less on the imputation than either area.

References:
    Bach et al. (2015), On Pixel-Wise Explanations for Non-Linear Classifier Decisions: pixel flipping.
    Petsiuk, Das & Saenko (2018), RISE, arXiv 1806.07421: deletion, insertion and their areas.
    Bluecher, Vielhaben & Strodthoff (2024), Decoupling Pixel Flipping and Occlusion Strategy, arXiv 2401.06654: symmetric relevance gain.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ferlab.explanation.imputation import impute
from ferlab.models import LoadedModel

FRACTIONS = (0.05, 0.1, 0.2, 0.4, 0.7)  # of the pixels; closer where curves are steep
DELETION, INSERTION = 0, 1  # second axis of the curves
BATCH = 1024


def removal_curves(
    predict: Callable[[Tensor], Tensor],
    faces: Tensor,
    *,
    maps: Mapping[str, np.ndarray],
    explained_class: Any,
    imputation: str = "noisy_linear",
    fractions: Sequence[float] = FRACTIONS,
    batch_size: int = BATCH,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return the probability of the explained class along deletion and insertion.

    Args:
        predict: Takes faces (B, C, H, W) in [0, 1], returns probabilities (B, K), e.g. `predictor` of a model.
        faces: (N, C, H, W) float in [0, 1].
        maps: Per method the attributions (N, H, W).
        explained_class: (N,) int.
        imputation: See `ferlab.explanation.imputation.impute`.
        fractions: Of the pixels that are removed, or put in, between 0 and 1; ascending.
        batch_size: Perturbed faces per forward pass.
        seed: Of the order of pixels with the same attribution, and of the imputation's noise.

    Returns:
        Per method (N, 2, F + 2) float64: deletion, then insertion, at the fractions 0, `fractions` and 1.
    """
    faces, classes = torch.as_tensor(faces), torch.as_tensor(explained_class, dtype=torch.long)
    counts = torch.as_tensor([round(fraction * faces[0, 0].numel()) for fraction in fractions])
    one = torch.arange(len(faces))
    ends = _probabilities(predict, faces, torch.stack([torch.zeros_like(faces[:, 0]), torch.ones_like(faces[:, 0])], dim=1).bool(), one, classes,
                          imputation=imputation, batch_size=batch_size, seed=seed)  # (N, 2): the face, and the imputed face  # fmt: skip
    ranks = torch.cat([pixel_ranks(values, seed=seed) for values in maps.values()])  # (M * N, H, W)
    rows = one.repeat(len(maps))
    middle = []
    for part in torch.arange(len(rows)).split(max(1, batch_size // (2 * len(counts)))):
        among_first = ranks[part][:, None] < counts[:, None, None]  # (n, F, H, W)
        removed = torch.cat([among_first, ~among_first], dim=1)
        middle.append(_probabilities(predict, faces, removed, rows[part], classes, imputation=imputation, batch_size=batch_size, seed=seed))
    curves = torch.cat(middle).reshape(len(maps), len(faces), 2, len(counts)).numpy()
    start, end = ends[:, :1].numpy(), ends[:, 1:].numpy()
    bounds = np.stack([start, end], axis=1), np.stack([end, start], axis=1)  # (N, 2, 1) each: where both curves start and end
    return {method: np.concatenate([bounds[0], values, bounds[1]], axis=2) for method, values in zip(maps, curves, strict=True)}


def pixel_ranks(maps: np.ndarray, *, seed: int = 0) -> Tensor:
    """Return the rank of each pixel of maps (N, H, W) in its map, int64 (N, H, W): 0 for the highest attribution; equal ones in one random order."""
    values = np.asarray(maps, dtype=np.float32).reshape(len(maps), -1)
    shuffled = np.random.default_rng(seed).permutation(values.shape[1])
    order = shuffled[np.argsort(-values[:, shuffled], axis=1, kind="stable")]
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(values.shape[1])[None], axis=1)
    return torch.from_numpy(ranks.reshape(np.shape(maps)))


def areas(curves: np.ndarray, *, fractions: Sequence[float] = FRACTIONS) -> np.ndarray:
    """Return the areas under curves (..., F + 2) by the trapezoid rule, (...): a mean probability."""
    return np.asarray(np.trapezoid(curves, np.array([0.0, *fractions, 1.0]), axis=-1))


def predictor(model: LoadedModel) -> Callable[[Tensor], Tensor]:
    """Return a function from faces (B, C, H, W) in [0, 1], at the model's size, to its probabilities (B, K), for many faces at once."""
    device = next((weight.device for weight in model.module.parameters()), torch.device("cpu"))
    # Keep: in large batches a CPU runs float32 convolutions twice as fast in this layout; a copy leaves the caller's model alone
    forward = copy.deepcopy(model.module).to(memory_format=torch.channels_last)
    return lambda faces: model.probs(forward(model.scale(faces.to(device)).contiguous(memory_format=torch.channels_last)))


@torch.inference_mode()
def _probabilities(
    predict: Callable[[Tensor], Tensor], faces: Tensor, removed: Tensor, rows: Tensor, classes: Tensor, *, batch_size: int, **options: Any
) -> Tensor:
    """Return the probability of the explained class for V perturbed copies of each of the named rows, (n, V); `removed` (n, V, H, W)."""
    perturbed = impute(faces[rows], removed, **options)
    probs = torch.cat([predict(part).double().cpu() for part in perturbed.split(batch_size)])
    return probs.gather(1, classes[rows].repeat_interleave(removed.shape[1])[:, None]).reshape(removed.shape[:2])
