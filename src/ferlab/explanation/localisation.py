"""How well attribution maps find pixels that are known to matter: six measures against a ground-truth mask, one value per face.

Only positive attribution counts. A map without any has a mass of 0 and, as all its pixels are tied, the AUC of a constant.

References:
    Arras, Osman & Samek (2022), CLEVR-XAI, arXiv 2003.07258: relevance mass accuracy and relevance rank accuracy.
    Cohen (1960), A Coefficient of Agreement for Nominal Scales: kappa, (accuracy - chance) / (1 - chance).
    Zhang et al. (2018), Top-down Neural Attention by Excitation Backprop, arXiv 1608.00507: the pointing game.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

MEASURES = ("mass", "rank", "pointing", "auc", "iou", "kappa")
TITLES = {"mass": "mass accuracy", "rank": "rank accuracy", "pointing": "pointing game", "auc": "AUC", "iou": "top-k IoU", "kappa": "kappa"}


def localise(maps: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    """Compare maps with ground-truth masks.

    Tied pixels are counted in expectation, as if their order were random, so that a constant map scores what chance gives.

    Args:
        maps: Attributions (N, H, W).
        masks: Ground truth, bool (N, H, W); neither empty nor full in any face.

    Returns:
        Per name of `MEASURES` its values (N,) float64. Where the mask has k pixels: `mass`, the attribution mass inside the mask; `rank`, the
        fraction of the k highest pixels that lie inside; `pointing`, whether the highest pixel lies inside; `auc`, the probability that a pixel
        inside is above one outside; `iou`, of the k highest pixels with the mask; and `kappa`, Cohen's, of these and the mask: 0 where they agree as
        chance would have it, 1 where they are the same, negative below chance. The others lie between 0 and 1.

    Raises:
        ValueError: Masks of another shape, or one that is empty or full.
    """
    if maps.shape != masks.shape:
        raise ValueError(f"Expected masks of the maps' shape {maps.shape}, got {masks.shape}")
    inside = np.asarray(masks, dtype=bool).reshape(len(masks), -1)
    area = inside.sum(axis=1)
    if ((area == 0) | (area == inside.shape[1])).any():
        raise ValueError("Expected masks with pixels inside and outside in every face")
    positive = np.clip(np.asarray(maps, dtype=np.float64), 0, None).reshape(inside.shape)
    total = positive.sum(axis=1)
    top = (positive == positive.max(axis=1, keepdims=True)) if positive.size else positive.astype(bool)
    hits = np.array([_hits(values, mask, k) for values, mask, k in zip(positive, inside, area, strict=True)])
    ranks = rankdata(positive, axis=1)
    above = (ranks * inside).sum(axis=1) - area * (area + 1) / 2  # Mann and Whitney's U
    chance = area / inside.shape[1]
    return {
        "mass": np.divide((positive * inside).sum(axis=1), total, out=np.zeros(len(total)), where=total > 0),
        "rank": hits / area,
        "pointing": (top & inside).sum(axis=1) / top.sum(axis=1),
        "auc": above / (area * (inside.shape[1] - area)),
        "iou": hits / (2 * area - hits),
        "kappa": (hits / area - chance) / (1 - chance),
    }


def _hits(values: np.ndarray, inside: np.ndarray, k: int) -> float:
    """Return how many of the k highest pixels lie inside; of pixels tied with the k-th the expected number."""
    least = np.partition(values, -k)[-k]
    surely, tied = values > least, values == least
    return float(inside[surely].sum() + (k - surely.sum()) * inside[tied].mean())
