"""What removed pixels of a face are replaced by: a blurred face, the face's mean, or a noisy linear interpolation of the pixels that are left.

A black square is outside the training distribution, and its outline tells which pixels were removed; the three imputations differ in how much of
either they leave, and a finding that one of them alone gives is a finding about the imputation.

References:
    Rong et al. (2022), A Consistent and Efficient Evaluation Strategy for Attribution Methods, arXiv 2202.00449 (ROAD): noisy linear imputation.
    Petsiuk, Das & Saenko (2018), RISE, arXiv 1806.07421: insertion starts from a blurred picture.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ferlab.paths import InputError

IMPUTATIONS = ("blur", "mean", "noisy_linear")
BLUR = 1 / 8  # standard deviation of the Gaussian, as a fraction of the face's side: brows, eyes and mouth vanish, the light remains
NOISE = 0.01  # ROAD's standard deviation of the noise, for faces in [0, 1]
TOLERANCE = 2e-4  # of the residual of the linear system; errors of the solution then stay below the noise
MOST_STEPS = 400
DIAGONAL = 1 / 12  # ROAD's weight of a diagonal neighbour; a direct one has twice as much
AT_ONCE = 2**16  # values of the systems that are solved together: what a core's cache holds


def impute(faces: Tensor, removed: Tensor, *, imputation: str, tolerance: float = TOLERANCE, noise: float = NOISE, seed: int = 0) -> Tensor:
    """Replace the removed pixels of faces, the same pixels in every channel.

    Args:
        faces: (N, C, H, W) float in [0, 1].
        removed: (N, V, H, W) bool: V different sets of pixels per face.
        imputation: "blur", "mean" or "noisy_linear".
        tolerance: Of "noisy_linear", see `interpolate_linearly`.
        noise: Of "noisy_linear": standard deviation of the normal noise. All faces and sets share one field of noise.
        seed: Of this field.

    Returns:
        (N * V, C, H, W), the sets of one face side by side.

    Raises:
        InputError: An unknown imputation.
    """
    if imputation not in IMPUTATIONS:
        raise InputError(f"no imputation is called {imputation!r}; expected {', '.join(IMPUTATIONS)}")
    if imputation == "noisy_linear":
        shape = (len(faces), removed.shape[1], *faces.shape[1:])
        copies = faces[:, None].expand(shape).flatten(0, 1)
        missing, together = removed.flatten(0, 1), max(1, AT_ONCE // faces[0].numel())
        parts = zip(copies.split(together), missing.split(together), strict=True)
        filled = torch.cat([interpolate_linearly(*part, tolerance=tolerance) for part in parts])
        field = torch.randn(faces.shape[1:], generator=torch.Generator().manual_seed(seed)).to(faces)
        return torch.where(missing[:, None], filled + noise * field, filled)
    replaced = blur_faces(faces) if imputation == "blur" else faces.mean(dim=(2, 3), keepdim=True)
    return torch.where(removed[:, :, None], replaced[:, None], faces[:, None]).flatten(0, 1)


def blur_faces(faces: Tensor) -> Tensor:
    """Return faces (N, C, H, W) blurred by a Gaussian of BLUR times their side; the edge is repeated beyond the frame."""
    blurred = faces
    for dim in (2, 3):
        side = faces.shape[dim]
        sigma = BLUR * side
        reach = min(side - 1, round(3 * sigma))
        weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=faces.dtype, device=faces.device) / sigma) ** 2)
        kernel = (weights / weights.sum()).reshape(1, 1, *((-1, 1) if dim == 2 else (1, -1)))
        pad = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
        padded = functional.pad(blurred.flatten(0, 1)[:, None], pad, mode="replicate")
        blurred = functional.conv2d(padded, kernel)[:, 0].unflatten(0, faces.shape[:2])
    return blurred


def interpolate_linearly(faces: Tensor, removed: Tensor, *, tolerance: float = TOLERANCE) -> Tensor:
    """Replace each removed pixel by the weighted mean of its neighbours, all removed pixels at once: a sparse linear system per face.

    ROAD's system, `sum_j w_ij x_i = sum_j w_ij x_j` over the neighbours inside the frame, is symmetric and positive definite; conjugate gradients
    solve it for all faces together, from a coarse-to-fine guess.

    Args:
        faces: (N, C, H, W) float.
        removed: (N, H, W) bool.
        tolerance: Largest residual of any equation, in units of the faces.

    Returns:
        (N, C, H, W); a face of which no pixel is left becomes its mean.
    """
    known = (~removed[:, None]).to(faces.dtype)
    missing = 1 - known.numpy()
    filled = torch.where(removed[:, None], _coarse_guess(faces, known), faces).numpy()
    total = _neighbour_sum(np.ones_like(filled[:1, :1]))
    tiny = np.finfo(filled.dtype).tiny
    residual = missing * (_neighbour_sum(filled) - total * filled)
    direction, squared = residual, _per_face(residual, residual)
    # Keep: NumPy and not PyTorch, which splits each of these small steps over threads and spends more on that than on the arithmetic
    for _ in range(MOST_STEPS):
        going = np.abs(residual).max(axis=(1, 2, 3), keepdims=True) > tolerance
        if not going.any():
            break
        applied = missing * (total * direction - _neighbour_sum(direction))
        # Keep: a solved face waits for the others as it is, so that its solution does not depend on them
        length = going * (squared / np.maximum(_per_face(direction, applied), tiny))
        filled += length * direction
        residual = residual - length * applied
        before, squared = squared, _per_face(residual, residual)
        direction = residual + (squared / np.maximum(before, tiny)) * direction
    return torch.from_numpy(filled)


def _neighbour_sum(faces: np.ndarray) -> np.ndarray:
    """Return the weighted sum of the eight neighbours of each pixel, zero beyond the frame: (1, 2, 1) down, then across, less the centre."""
    down = 2 * faces
    down[:, :, 1:] += faces[:, :, :-1]
    down[:, :, :-1] += faces[:, :, 1:]
    across = 2 * down
    across[..., 1:] += down[..., :-1]
    across[..., :-1] += down[..., 1:]
    across -= 4 * faces
    across *= DIAGONAL
    return across


def _per_face(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.einsum("nchw,nchw->nc", first, second)[:, :, None, None]


def _coarse_guess(faces: Tensor, known: Tensor) -> Tensor:
    """Return faces whose unknown pixels come from coarser copies of the known ones; the mean of the face where nothing is known."""
    height, width = faces.shape[2:]
    if min(height, width) < 4:
        weight = known.sum(dim=(2, 3), keepdim=True)
        mean = torch.where(weight > 0, (faces * known).sum(dim=(2, 3), keepdim=True) / weight.clamp(min=1e-6), faces.mean(dim=(2, 3), keepdim=True))
        return torch.where(known > 0, faces, mean)
    weight = functional.avg_pool2d(known, 2, ceil_mode=True)
    means = functional.avg_pool2d(faces * known, 2, ceil_mode=True) / weight.clamp(min=1e-6)
    # a coarse pixel of which nothing is known takes the plain mean, so that the coarsest level has one for a face without known pixels
    coarse = torch.where(weight > 0, means, functional.avg_pool2d(faces, 2, ceil_mode=True))
    guess = _coarse_guess(coarse, (weight > 0).to(faces.dtype))
    return torch.where(known > 0, faces, functional.interpolate(guess, size=(height, width), mode="bilinear", align_corners=False))
