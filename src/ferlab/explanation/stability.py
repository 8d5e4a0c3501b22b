"""Three numbers of a map that no removal order gives: how well it predicts small removals, how it moves with the face, how sparse it is.

References:
    Yeh et al. (2019), On the (In)fidelity and Sensitivity of Explanations, arXiv 1901.09392; computed by captum.
    Chalasani et al. (2020), Concise Explanations of Neural Networks using Adversarial Training: Gini index as sparseness.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor

from ferlab.explanation.imputation import impute

SIDES = (1 / 12, 1 / 3)  # of the removed squares, as fractions of the face's side: 4 to 16 of 48 pixels
RADIUS = 0.02  # captum's, of the uniform noise on faces in [0, 1]: five of 255 grey levels


def infidelities(
    predict: Callable[[Tensor], Tensor],
    faces: Tensor,
    *,
    maps: Mapping[str, np.ndarray],
    explained_class: Any,
    squares: int = 10,
    batch_size: int = 1024,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Return the error with which a map predicts the change of the probability when a random square becomes the face's mean.

    The prediction is the map's sum inside the square, times the factor that fits the face best (captum's `normalize`), since maps differ in units.

    Args:
        predict: Takes faces (B, C, H, W) in [0, 1], returns probabilities (B, K).
        faces: (N, C, H, W) in [0, 1].
        maps: Per method the attributions (N, H, W).
        explained_class: (N,) int.
        squares: Squares per face, the same for all faces and maps.
        batch_size: Perturbed faces per forward pass.
        seed: Of the squares.

    Returns:
        Per method (N,) float64, >= 0, in probability: the root of captum's infidelity.
    """
    faces, classes = torch.as_tensor(faces), torch.as_tensor(explained_class, dtype=torch.long)
    removed, remembered = _random_squares(squares, faces.shape[2], seed=seed), _remember(predict)

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        own = removed[torch.arange(len(inputs)) % squares]  # captum repeats each face `squares` times, side by side
        return own[:, None].expand_as(inputs).to(inputs.dtype), impute(inputs, own[:, None], imputation="mean")

    found: dict[str, list[Tensor]] = {method: [] for method in maps}
    for rows in torch.arange(len(faces)).split(max(1, batch_size // squares)):
        for method, values in maps.items():
            spread = torch.as_tensor(np.asarray(values)[rows.numpy()], dtype=faces.dtype)[:, None].expand_as(faces[rows]) / faces.shape[1]
            how = {"target": classes[rows], "n_perturb_samples": squares, "normalize": True}
            found[method].append(infidelity(remembered, perturb, faces[rows], spread, **how))
    return {method: torch.cat(parts).double().clamp(min=0).sqrt().numpy() for method, parts in found.items()}


def max_sensitivity(
    explain: Callable[[Tensor, Tensor], np.ndarray], faces: Tensor, *, maps: np.ndarray, explained_class: Any, samples: int = 10, seed: int = 0
) -> np.ndarray:
    """Return the largest relative change of a map under noise that a viewer hardly sees.

    Args:
        explain: Takes faces (B, C, H, W) in [0, 1] and classes (B,), returns maps (B, H, W).
        faces: (N, C, H, W) in [0, 1].
        maps: What `explain` returns for them (N, H, W).
        explained_class: (N,) int.
        samples: Noisy copies per face; all faces share their noise, uniform within RADIUS.
        seed: Of the noise.

    Returns:
        (N,) float64: Frobenius norm of the largest change by that of the map; captum divides by 1 where a map is zero.
    """
    faces, classes = torch.as_tensor(faces), torch.as_tensor(explained_class, dtype=torch.long)
    drawn = torch.rand((samples, *faces.shape[1:]), generator=torch.Generator().manual_seed(seed), dtype=faces.dtype)
    noise = (2 * drawn - 1) * RADIUS

    def explained(inputs: Any) -> tuple[Tensor]:
        given = inputs[0] if isinstance(inputs, tuple) else inputs
        if given is faces:  # known already
            return (torch.as_tensor(np.asarray(maps, dtype=np.float64)),)
        return (torch.as_tensor(explain(given, classes.repeat_interleave(len(given) // len(faces))).astype(np.float64)),)

    noisy = sensitivity_max(explained, faces, lambda inputs: inputs + noise[torch.arange(len(inputs)) % samples], n_perturb_samples=samples)
    return np.asarray(noisy.double().numpy())


def gini(maps: np.ndarray) -> np.ndarray:
    """Return the Gini index of the magnitudes of maps (N, H, W), (N,) float64: 0 for a uniform map, near 1 for a single pixel; NaN for a zero map."""
    values = np.sort(np.abs(np.asarray(maps, dtype=np.float64)).reshape(len(maps), -1), axis=1)
    count = values.shape[1]
    with np.errstate(invalid="ignore"):
        return np.asarray((values @ (2 * np.arange(1, count + 1) - count - 1)) / (count * values.sum(axis=1)))


def _random_squares(count: int, side: int, *, seed: int) -> Tensor:
    """Return random squares inside a frame of `side` pixels, bool (count, side, side)."""
    rng = np.random.default_rng(seed)
    low, high = (max(1, round(fraction * side)) for fraction in SIDES)
    masks = torch.zeros((count, side, side), dtype=torch.bool)
    for mask, length in zip(masks, rng.integers(low, high + 1, size=count), strict=True):
        top, left = rng.integers(side - length + 1, size=2)
        mask[top : top + length, left : left + length] = True
    return masks


def _remember(predict: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Return `predict` with a memory: all maps of the same faces are judged on the same squares, so one pass serves them all."""
    known: dict[bytes, Tensor] = {}

    def remembered(faces: Tensor) -> Tensor:
        key = hashlib.blake2b(np.ascontiguousarray(faces.numpy()).data).digest()
        if key not in known:
            with torch.inference_mode():
                known[key] = predict(faces).float().cpu()
        return known[key].clone()

    return remembered
