"""Maps that every attribution method must beat: three that need no model, and the mean of a method's own maps of a class. Without torch.

References:
    Zhang et al. (2018), Top-down Neural Attention by Excitation Backprop, arXiv 1608.00507: a centred blob as baseline.
    Adebayo et al. (2018), Sanity Checks for Saliency Maps, arXiv 1810.03292: an edge detector resembles an explanation.
"""

from __future__ import annotations

import zlib

import numpy as np
from scipy.ndimage import correlate1d, gaussian_filter

BASELINES = RANDOM, CENTRE, EDGES = ("random", "centre", "edges")
TITLES = {RANDOM: "random map", CENTRE: "centred blob", EDGES: "map of edges"}
GRAIN = 1 / 24  # standard deviation of the random map's smoothing, as a fraction of the side: it marks patches, as the methods do


def baseline_maps(images: np.ndarray, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Return maps that need no model: smoothed noise, a centred Gaussian, and Sobel's edges of each face.

    A face's maps depend on its pixels alone (and the noise on the seed), not on the other faces.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        seed: Of the noise.

    Returns:
        Per name of BASELINES (N, H, W) float64; noise has both signs, the others are >= 0.
    """
    grey = np.asarray(images, dtype=np.float64)
    grey = grey.mean(axis=-1) if grey.ndim == 4 else grey
    count, height, width = grey.shape
    point = np.zeros((height, width))
    point[height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1] = 1
    blob = gaussian_filter(point, (height / 6, width / 6), mode="constant")
    smooth = gaussian_filter(grey, (0, 1, 1))
    # Keep: Sobel's filter in two dimensions; scipy's `sobel` of a stack smooths over neighbouring faces too
    down, across = (correlate1d(correlate1d(smooth, [-1, 0, 1], axis=along), [1, 2, 1], axis=other) for along, other in ((1, 2), (2, 1)))
    noise = [np.random.default_rng([seed, zlib.crc32(np.ascontiguousarray(image).data)]).normal(size=(height, width)) for image in images]
    speckles = np.stack([gaussian_filter(field, GRAIN * height) for field in noise]) if count else np.zeros(grey.shape)
    return {RANDOM: speckles, CENTRE: np.repeat(blob[None], count, axis=0), EDGES: np.hypot(down, across)}


def class_mean_maps(maps: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return for each face the mean map of the other faces of its class (N, H, W): a map that does not depend on the face itself.

    Each map is divided by its positive sum first. A face that is alone in its class gets the mean over all other faces.

    Args:
        maps: Attributions (N, H, W).
        classes: Class of each face (N,) int.
    """
    positive = np.clip(np.asarray(maps, dtype=np.float64), 0, None)
    total = positive.sum(axis=(1, 2), keepdims=True)
    positive = np.divide(positive, total, out=np.zeros_like(positive), where=total > 0)
    same = classes[:, None] == classes[None]
    np.fill_diagonal(same, val=False)
    alone = ~same.any(axis=1)
    same[alone] = ~np.eye(len(classes), dtype=bool)[alone]
    return np.einsum("nm,mhw->nhw", same / np.maximum(same.sum(axis=1, keepdims=True), 1), positive)
