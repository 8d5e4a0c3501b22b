"""Parts of the face: a stated template, laid on the mean face of a set.

Real faces have no region masks, so one template serves all faces of a set: brows (with the furrow between them), eyes, nose, mouth
and the rest. It is right on average only; on control faces, whose regions are known, its IoU with the truth is printed beside
every share. How much of a map falls on each part is `shares`.

References:
    Goodfellow et al. (2013), arXiv 1307.0414: FER2013. The template is read off the mean of its 28,709 Training faces, where eyes,
        brows, nostrils and mouth stand out; fractions of the frame, so that any size of face is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter

from ferlab.paths import InputError

REST = "rest"
REGIONS: tuple[str, ...] = ("brows", "eyes", "nose", "mouth", REST)

# Ellipses per region: centre (y, x) and half axes (y, x) as fractions of the frame. A pixel in two belongs to the first named.
TEMPLATE: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "eyes": ((0.370, 0.315, 0.075, 0.140), (0.370, 0.685, 0.075, 0.140)),
    "brows": ((0.280, 0.500, 0.060, 0.340),),
    "nose": ((0.540, 0.500, 0.160, 0.115),),
    "mouth": ((0.795, 0.500, 0.090, 0.190),),
}
# For registration only: the same mean face as a drawing, tones added one upon the other (skin 1; darker or brighter than skin).
_FACE = (0.520, 0.500, 0.480, 0.370)
_NOSTRILS = (0.660, 0.500, 0.035, 0.100)
_TONES = {"eyes": -1.0, "brows": -0.6, "nose": 0.3, "mouth": -0.8}

SHIFTS_Y = np.arange(-4, 5) / 48  # fractions of the frame
SHIFTS_X = np.arange(-4, 5) / 48
SCALES = np.arange(80, 121, 5) / 100  # about the centre of the frame
LEAST_CORRELATION = 0.4  # below it the mean face is no frontal face, and the template stays where it is


@dataclass(frozen=True)
class Registration:
    """How the template was moved to meet a mean face: shifts as fractions of the frame, scales about its centre."""

    shift_y: float = 0.0
    shift_x: float = 0.0
    scale_y: float = 1.0
    scale_x: float = 1.0
    correlation: float = float("nan")
    found: bool = False  # False: too little likeness, the template was left where it is


def template_masks(size: tuple[int, int], registration: Registration | None = None) -> dict[str, np.ndarray]:
    """Draw the template.

    Args:
        size: Height and width of the faces in pixels.
        registration: How to move it; None leaves it where FER2013 has it.

    Returns:
        One (H, W) bool mask per region in REGIONS; together they cover every pixel once.
    """
    placed = registration or Registration()
    taken = np.zeros(size, dtype=bool)
    masks: dict[str, np.ndarray] = {}
    for region, ellipses in TEMPLATE.items():
        masks[region] = np.logical_or.reduce([_ellipse(ellipse, size, placed) for ellipse in ellipses]) & ~taken
        taken |= masks[region]
    masks[REST] = ~taken
    return {region: masks[region] for region in REGIONS}


def mean_face(images: np.ndarray) -> np.ndarray:
    """Return the mean (H, W) float64 of faces, uint8 (N, H, W) or (N, H, W, 3); colours are averaged too."""
    mean = np.mean(images, axis=0, dtype=np.float64)
    return mean.mean(axis=-1) if mean.ndim == 3 else mean


def register_template(mean_face: np.ndarray) -> Registration:
    """Find the shift and the scale that lay the template best on the mean face of a set.

    Both the mean face and a drawing of the template (bright face, dark eyes, brows, nostrils and mouth) lose their slow changes
    of brightness; the placement with the highest correlation inside the face wins. Height and width are searched first, then the
    shift to the side, because faces are cropped about their middle.

    Args:
        mean_face: (H, W), any numeric type.

    Returns:
        The registration; the unmoved template with `found=False` where the best correlation is below LEAST_CORRELATION.
    """
    inside = _ellipse(_FACE, mean_face.shape, Registration())
    detail = _detail(np.asarray(mean_face, dtype=np.float64))[inside]
    if np.ptp(detail) < 1e-9:  # a flat picture correlates with nothing
        return Registration(correlation=0.0)
    upright = product(SHIFTS_Y.tolist(), SCALES.tolist(), SCALES.tolist())
    best = _scored([Registration(shift_y=y, scale_y=tall, scale_x=wide) for y, tall, wide in upright], detail, inside)[0]
    best = _scored([replace(best, shift_x=x) for x in SHIFTS_X.tolist()], detail, inside)[0]
    return replace(best, found=True) if best.correlation >= LEAST_CORRELATION else Registration(correlation=best.correlation)


def iou(template: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Intersection over union of one template mask (H, W) with the true masks (N, H, W).

    Returns:
        (N,) float64, 0 to 1; NaN where both are empty.
    """
    both, either = (template & truth).sum(axis=(1, 2)), (template | truth).sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return np.asarray(both / either, dtype=np.float64)


def with_rest(masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Keep the regions that the template has of masks (N, H, W), and add the rest: what none of them covers.

    Raises:
        InputError: If a region is missing.
    """
    named = [region for region in REGIONS if region != REST]
    missing = [region for region in named if region not in masks]
    if missing:
        raise InputError(f"with_rest: expected masks of {', '.join(named)}, got none of {', '.join(missing)}")
    kept = {region: np.asarray(masks[region], dtype=bool) for region in named}
    return kept | {REST: ~np.logical_or.reduce(list(kept.values()))}


def _scored(placements: list[Registration], detail: np.ndarray, inside: np.ndarray) -> list[Registration]:
    """Placements with their correlation, best first; of two equally good ones the first."""
    drawings = (_drawn_face(inside.shape, placed)[inside] for placed in placements)
    scored = [replace(placed, correlation=_correlation(detail, drawn)) for placed, drawn in zip(placements, drawings, strict=True)]
    return sorted(scored, key=lambda placed: -placed.correlation)


def _ellipse(ellipse: tuple[float, float, float, float], size: tuple[int, int], placed: Registration) -> np.ndarray:
    centre_y, centre_x, half_y, half_x = ellipse
    y = (np.arange(size[0]) + 0.5) / size[0] - 0.5 - placed.shift_y  # pixel centres, from the middle of the frame
    x = (np.arange(size[1]) + 0.5) / size[1] - 0.5 - placed.shift_x
    down = (y / placed.scale_y + 0.5 - centre_y) / half_y
    across = (x / placed.scale_x + 0.5 - centre_x) / half_x
    return down[:, None] ** 2 + across[None, :] ** 2 <= 1


def _drawn_face(size: tuple[int, int], placed: Registration) -> np.ndarray:
    picture = _ellipse(_FACE, size, placed).astype(np.float64)
    picture -= 0.5 * _ellipse(_NOSTRILS, size, placed)
    for region, mask in template_masks(size, placed).items():
        picture += _TONES.get(region, 0.0) * mask
    return _detail(picture)


def _detail(picture: np.ndarray) -> np.ndarray:
    """Picture less its slow changes, lightly smoothed: what is darker or brighter than its surroundings."""
    side = min(picture.shape)
    return gaussian_filter(picture, side / 32) - gaussian_filter(picture, side / 8)


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1])
