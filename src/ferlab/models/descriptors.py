"""Fixed descriptors of a face that models take as features: histograms of oriented gradients or of local binary patterns, Gabor energies.

References:
    Dalal & Triggs (2005), Histograms of Oriented Gradients for Human Detection: 9 unsigned orientations, cells of 8x8, blocks of 2x2 cells one
    cell apart, L2-Hys. The details are those of OpenCV's HOGDescriptor, without its gamma correction.
    Ojala, Pietikäinen & Mäenpää (2002), Multiresolution Gray-Scale and Rotation Invariant Texture Classification with Local Binary Patterns:
    uniform patterns. Shan, Gong & McOwan (2009), Facial expression recognition based on Local Binary Patterns: 59 labels on a grid.
    Lyons et al. (1998), Coding Facial Expressions with Gabor Wavelets; Bartlett et al. (2003), Real Time Face Detection and Facial Expression
    Recognition: energies of Gabor filters of 8 orientations at several frequencies.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELL = 8  # pixels
ORIENTATIONS = 9
BLOCK_VALUES = 4 * ORIENTATIONS
CLIP = 0.2  # of L2-Hys
PATTERNS = 59  # 58 uniform ones and one for all others
NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))  # rows down, columns right: once around
WAVELENGTHS, DIRECTIONS = (4.0, 5.7, 8.0, 11.3), 8  # pixels, half an octave apart; of 180 degrees
GABOR_STRIDE = 2  # pixels between two places of a filter


class GradientHistograms(nn.Module):
    """Histograms of oriented gradients, float32 (N, C, H, W) to (N, (H / 8 - 1) (W / 8 - 1) 36), in the order of OpenCV's HOGDescriptor."""

    weights: Tensor

    def __init__(self, *, grey_levels: float) -> None:
        super().__init__()
        self.grey_levels = grey_levels
        self.register_buffer("weights", _cell_weights(), persistent=False)  # (2, 16)

    def forward(self, faces: Tensor) -> Tensor:
        """Return the blocks' histograms, each of norm 1 or less."""
        votes = _orientation_votes(*_gradients(faces * self.grey_levels))
        cells = _sum_cells(votes, self.weights)  # (N, 9, H, w, 2): by columns
        cells = _sum_cells(cells.permute(0, 1, 3, 4, 2), self.weights)  # (N, 9, w, 2, h, 2)
        return _l2_hys(cells.permute(0, 2, 4, 3, 5, 1).flatten(3)).flatten(1)  # columns before rows, as in OpenCV


class PatternHistograms(nn.Module):
    """Frequencies of the 59 uniform local binary patterns in each cell, float32 (N, C, H, W) to (N, C 59 (H / 8) (W / 8))."""

    labels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("labels", uniform_labels(), persistent=False)  # (256,)

    def forward(self, faces: Tensor) -> Tensor:
        """Return the histograms; those of a cell sum to 1."""
        labels = self.labels[local_binary_patterns(faces)]  # (N, C, H, W)
        present = labels.unsqueeze(2) == torch.arange(PATTERNS, device=faces.device).view(1, 1, -1, 1, 1)
        return F.avg_pool2d(present.to(faces.dtype).flatten(1, 2), CELL).flatten(1)


class GaborEnergies(nn.Module):
    """Mean magnitude of each Gabor filter in each cell, float32 (N, C, H, W) to (N, C 32 (H / 8) (W / 8)), as log(1 + magnitude)."""

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernels", gabor_kernels(), persistent=False)  # (64, 1, S, S)

    def forward(self, faces: Tensor) -> Tensor:
        """Return the magnitudes; those of a uniform face are 0."""
        half = self.kernels.shape[-1] // 2
        padded = F.pad(faces, (half,) * 4, mode="replicate").flatten(0, 1).unsqueeze(1)  # (N C, 1, H', W')
        kind = "cpu" if faces.is_meta else faces.device.type
        with torch.autocast(kind, enabled=False):  # Keep: it would round the filters to half precision, in training alone
            even, odd = F.conv2d(padded.float(), self.kernels, stride=GABOR_STRIDE).chunk(2, dim=1)
        energies = F.avg_pool2d((even.square() + odd.square() + 1e-12).sqrt(), CELL // GABOR_STRIDE)
        return energies.log1p().unflatten(0, (len(faces), -1)).flatten(1)


def gabor_kernels() -> Tensor:
    """Return scikit-image's Gabor kernels, float32 (64, 1, S, S): 32 even ones, each without its mean, then their odd partners."""
    from skimage.filters import gabor_kernel  # Keep: importing it costs more than building any model

    turns = [np.pi * turn / DIRECTIONS for turn in range(DIRECTIONS)]
    kernels = [gabor_kernel(1 / wave, theta=turn, bandwidth=1.0, n_stds=2) for wave in WAVELENGTHS for turn in turns]
    side = max(max(kernel.shape) for kernel in kernels)
    padded = np.stack([np.pad(kernel, [((side - n) // 2, (side - n) // 2) for n in kernel.shape]) for kernel in kernels])  # all sides are odd
    even = padded.real - padded.real.mean(axis=(1, 2), keepdims=True)
    return torch.from_numpy(np.concatenate([even, padded.imag])[:, None]).float()


def local_binary_patterns(faces: Tensor) -> Tensor:
    """Return the pattern of each pixel (N, C, H, W), int64 in 0 to 255: one bit for each neighbour that is not darker than the pixel.

    The neighbours are the eight adjacent pixels, without interpolation, so patterns are invariant to increasing maps of the grey values. Edges
    are replicated.
    """
    height, width = faces.shape[2:]
    padded = F.pad(faces, (1, 1, 1, 1), mode="replicate")
    patterns = torch.zeros_like(faces, dtype=torch.int64)
    for bit, (down, right) in enumerate(NEIGHBOURS):
        neighbour = padded[:, :, 1 + down : 1 + down + height, 1 + right : 1 + right + width]
        patterns = patterns + (neighbour >= faces).to(torch.int64) * 2**bit
    return patterns


def uniform_labels() -> Tensor:
    """Return the label of each of 256 patterns, int64: 0 to 57 for the uniform ones (at most two changes around the circle), 58 for others."""
    labels, next_label = [], 0
    for pattern in range(256):
        turned = pattern >> 1 | (pattern & 1) << 7
        uniform = (pattern ^ turned).bit_count() <= 2
        labels.append(next_label if uniform else PATTERNS - 1)
        next_label += uniform
    return torch.tensor(labels)


def _gradients(faces: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences of the neighbours right and left, below and above (N, 1, H, W), mirrored at the edges."""
    padded = F.pad(faces, (1, 1, 1, 1), mode="reflect")
    across, down = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2], padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    strongest = (across.square() + down.square()).argmax(dim=1, keepdim=True)
    return across.gather(1, strongest), down.gather(1, strongest)


def _orientation_votes(across: Tensor, down: Tensor) -> Tensor:
    """Interpolate the length of each gradient between the two nearest orientations, (N, 1, H, W) to (N, 9, H, W).

    Orientation k is at (k + 1/2) 20 degrees, unsigned.
    """
    place = _angle(across, down) * (ORIENTATIONS / torch.pi) - 0.5
    centres = torch.arange(ORIENTATIONS, dtype=place.dtype, device=place.device).view(1, -1, 1, 1)
    away = torch.remainder(place - centres, ORIENTATIONS)  # on a circle of 9
    return (across.square() + down.square()).sqrt() * (1 - torch.minimum(away, ORIENTATIONS - away)).clamp(min=0)


def _angle(across: Tensor, down: Tensor) -> Tensor:
    """Return the angle of each gradient in radians, by OpenCV's polynomial for the arc tangent, off by 0.01 degrees at most."""
    wide, high = across.abs(), down.abs()
    ratio = torch.minimum(wide, high) / torch.maximum(wide, high).clamp(min=torch.finfo(wide.dtype).tiny)
    square = ratio * ratio
    angle = ratio * (0.9997878412794807 + square * (-0.3258083974640975 + square * (0.1555786518463281 - square * 0.04432655554792128)))
    angle = torch.where(wide >= high, angle, torch.pi / 2 - angle)
    angle = torch.where(across < 0, torch.pi - angle, angle)
    return torch.where(down < 0, -angle, angle)


def _l2_hys(blocks: Tensor) -> Tensor:
    """Normalise each block to length 1, clip at 0.2, normalise again; the small terms are OpenCV's."""
    blocks = blocks / (blocks.square().sum(-1, keepdim=True).sqrt() + 0.1 * BLOCK_VALUES)
    blocks = blocks.clamp(max=CLIP)
    return blocks / (blocks.square().sum(-1, keepdim=True).sqrt() + 1e-3)


def _sum_cells(votes: Tensor, weights: Tensor) -> Tensor:
    """Sum along the last axis into the two cells of each block of 16 pixels, blocks 8 apart: (..., W) to (..., W / 8 - 1, 2).

    Keep: a product and a sum; autocast would round a convolution to half precision, in training alone.
    """
    return (votes.unfold(-1, 2 * CELL, CELL).unsqueeze(-2) * weights).sum(-1)


def _cell_weights() -> Tensor:
    """Return the weight of a block's pixels in its two cells, along one axis, (2, 16): a Gaussian (sigma a quarter block) times a linear ramp."""
    pixels = torch.arange(2 * CELL, dtype=torch.float64)
    gauss = torch.exp(-((pixels - CELL) ** 2) / (2 * (2 * CELL / 4) ** 2))  # Keep: OpenCV's centre is half a pixel to the right and below
    centres = torch.tensor([0.5, 1.5], dtype=torch.float64).view(2, 1) * CELL
    return (gauss * (1 - (pixels + 0.5 - centres).abs() / CELL).clamp(min=0)).float()
