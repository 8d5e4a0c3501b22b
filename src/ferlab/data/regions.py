"""Regions of the face: a template of brows (with the furrow between them), eyes, nose, mouth and rest, registered to the mean face of a dataset.

Real faces have no region masks, so one template serves all faces of a dataset. It holds on average only; on control faces, whose regions are
known, the page prints its IoU with the truth.

References:
    Goodfellow et al. (2013), arXiv 1307.0414: FER2013. The template is read off the mean of its 28,709 Training faces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

REST = "rest"
REGIONS: tuple[str, ...] = ("brows", "eyes", "nose", "mouth", REST)

# Ellipses per region: centre (y, x) and half axes (y, x) as fractions of the frame. A pixel in two belongs to the first named.
TEMPLATE: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "eyes": ((0.370, 0.315, 0.075, 0.140), (0.370, 0.685, 0.075, 0.140)),
    "brows": ((0.280, 0.500, 0.060, 0.340),),
    "nose": ((0.540, 0.500, 0.160, 0.115),),
    "mouth": ((0.795, 0.500, 0.090, 0.190),),
}
# For registration only: the mean face as a drawing of added tones (skin 1; darker or brighter than skin).
_FACE = (0.520, 0.500, 0.480, 0.370)
_NOSTRILS = (0.660, 0.500, 0.035, 0.100)
_TONES = {"eyes": -1.0, "brows": -0.6, "nose": 0.3, "mouth": -0.8}

SHIFTS_Y = np.arange(-4, 5) / 48  # fractions of the frame
SHIFTS_X = np.arange(-4, 5) / 48
SCALES = np.arange(80, 121, 5) / 100  # about the centre of the frame
LEAST_CORRELATION = 0.4  # below it the mean face does not count as a frontal face
COVER, PLACEMENT = "cover", "placement"  # keys of a store's preparation: the regions that are covered in its faces, and where the template lies
MID_GREY = 128


@dataclass(frozen=True)
class Registration:
    """Placement of the template on a mean face: shifts as fractions of the frame, scales about its centre."""

    shift_y: float = 0.0
    shift_x: float = 0.0
    scale_y: float = 1.0
    scale_x: float = 1.0
    correlation: float = float("nan")
    found: bool = False  # False: correlation too low, the template was not moved


def template_masks(size: tuple[int, int], registration: Registration | None = None) -> dict[str, np.ndarray]:
    """Return the template's masks, one (H, W) bool per region of REGIONS; together they cover every pixel once.

    Args:
        size: Height and width of the faces in pixels.
        registration: Placement; None for FER2013's.
    """
    placed = registration or Registration()
    taken = np.zeros(size, dtype=bool)
    masks: dict[str, np.ndarray] = {}
    for region, ellipses in TEMPLATE.items():
        masks[region] = np.logical_or.reduce([_ellipse(ellipse, size, placed) for ellipse in ellipses]) & ~taken
        taken |= masks[region]
    masks[REST] = ~taken
    return {region: masks[region] for region in REGIONS}


def register_template(images: np.ndarray) -> Registration:
    """Find the shift and scale that fit the template best to the mean face of a dataset.

    Mean face and a drawing of the template (bright face, dark eyes, brows, nostrils and mouth) are band-passed; the placement with the highest
    correlation inside the face wins. Height and width are searched before the sideways shift, because crops are centred sideways.

    Args:
        images: Faces (N, H, W) or (N, H, W, 3), any numeric type; colours are averaged.

    Returns:
        The placement; the unmoved one with `found=False` where the best correlation is below LEAST_CORRELATION.
    """
    mean_face = np.mean(images, axis=0, dtype=np.float64)
    mean_face = mean_face.mean(axis=-1) if mean_face.ndim == 3 else mean_face
    inside = _ellipse(_FACE, mean_face.shape, Registration())
    detail = _detail(mean_face)[inside]
    if np.ptp(detail) < 1e-9:  # a flat picture correlates with nothing
        return Registration(correlation=0.0)
    upright = product(SHIFTS_Y.tolist(), SCALES.tolist(), SCALES.tolist())
    best = _scored([Registration(shift_y=y, scale_y=tall, scale_x=wide) for y, tall, wide in upright], detail, inside)[0]
    best = _scored([replace(best, shift_x=x) for x in SHIFTS_X.tolist()], detail, inside)[0]
    return replace(best, found=True) if best.correlation >= LEAST_CORRELATION else Registration(correlation=best.correlation)


def placement_of(images: np.ndarray, preparation: Mapping[str, Any]) -> Registration:
    """Return the placement of the template on a dataset: the recorded one where its faces are covered, since their mean is no face any more.

    Args:
        images: As in `register_template`.
        preparation: Of the dataset, see `ferlab.data.preparation.steps.prepared_as`.
    """
    return Registration(**preparation[PLACEMENT]) if preparation.get(COVER) else register_template(images)


def cover_regions(images: np.ndarray, regions: Sequence[str], *, placed: Registration) -> np.ndarray:
    """Return faces with regions filled with mid-grey.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3).
        regions: Names of REGIONS.
        placed: Placement of the template on them.
    """
    covered = np.array(images)
    covered[:, covered_area(covered.shape[1:3], regions, placed=placed)] = MID_GREY
    return covered


def covered_area(size: tuple[int, int], regions: Sequence[str], *, placed: Registration) -> np.ndarray:
    """Return the pixels of some regions, bool (H, W)."""
    masks = template_masks(size, placed)
    return np.logical_or.reduce([masks[region] for region in regions])


def _scored(placements: list[Registration], detail: np.ndarray, inside: np.ndarray) -> list[Registration]:
    """Return placements with their correlation, best first; of equal ones the first."""
    drawings = (_drawn_face(inside.shape, placed)[inside] for placed in placements)
    scored = [replace(placed, correlation=float(np.corrcoef(detail, drawn)[0, 1])) for placed, drawn in zip(placements, drawings, strict=True)]
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
    """Return the band-passed picture: what is darker or brighter than its surroundings."""
    side = min(picture.shape)
    return gaussian_filter(picture, side / 32) - gaussian_filter(picture, side / 8)
