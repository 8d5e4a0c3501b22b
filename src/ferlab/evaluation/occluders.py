"""Occluded faces: regions painted over, and a mask, glasses, sunglasses or a hand pasted on. Without torch.

Regions and places come from a template registered to the mean face of the dataset; where faces have no landmarks it holds on average only. Shapes
are drawn in the template's frame: fractions of height and width, y downwards.

References:
    Greco et al. (2022), doi 10.1007/s11042-022-12790-7. Yang et al. (2020), Facial expression recognition with masked faces (lower-face mask).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ferlab.evaluation.corruptions import check_faces_array, rngs
from ferlab.opencv import one_thread
from ferlab.params import nearest
from ferlab.paths import InputError

PARTS = ("brows", "eyes", "nose", "mouth")  # painted over in the median tone of the face
PASTED = ("mask", "glasses", "sunglasses", "hand")
OCCLUSIONS = (*PARTS, *PASTED)
FINER = 8  # pictures are covered on a grid this many times finer, so that edges are smooth
EYES, EYE_Y = (0.315, 0.685), 0.395
LENS = (0.078, 0.118)  # half axes (y, x)
HALF_FACE = 0.40  # half the width of the face at the cheeks


@dataclass(frozen=True)
class Template:
    """Where the parts of a face lie in the pictures of a dataset.

    Attributes:
        masks: Of each of PARTS, bool (H, W).
        shift: (y, x) of the template, as fractions of the frame.
        scale: (y, x) about the centre of the frame.
    """

    masks: Mapping[str, np.ndarray]
    shift: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)


def occlude(images: np.ndarray, name: str, *, template: Template, face_ids: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return occluded faces, uint8 of the shape of `images`.

    Args:
        images: uint8 (N, H, W) or RGB (N, H, W, 3).
        name: One of OCCLUSIONS.
        template: Of these pictures.
        face_ids: (N,) ids; each seeds the tone of its mask, and the side of its hand.
        seed: Of all draws.

    Raises:
        InputError: An unknown occlusion, or images that are not uint8 faces.
    """
    images = check_faces_array(images, face_ids)
    if name not in OCCLUSIONS:
        raise InputError(f"no occlusion is called {name!r}; {nearest(name, OCCLUSIONS)}")
    whole = np.logical_or.reduce(list(template.masks.values()))
    changed = []
    with one_thread():
        for face, rng in zip(images, rngs(face_ids, name, seed), strict=True):
            canvas, skin = face.astype(np.float32), np.median(face[whole], axis=0)
            for opacity, tone in _layers(name, rng, skin=skin, template=template, size=face.shape[:2]):
                opacity = opacity.reshape(opacity.shape + (1,) * (face.ndim - 2))
                canvas += opacity * (np.float32(tone) - canvas)
            changed.append(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))
    return np.stack(changed) if changed else images.copy()


def covered(name: str, *, template: Template, size: tuple[int, int], face_id: str, seed: int = 0) -> np.ndarray:
    """Return the pixels that an occlusion covers by half or more, bool (H, W); arguments as for `occlude`."""
    layers = _layers(name, next(rngs([face_id], name, seed)), skin=np.float64(128), template=template, size=size)
    return np.maximum.reduce([opacity for opacity, _ in layers]) >= 0.5


def _layers(
    name: str, rng: np.random.Generator, *, skin: np.ndarray | np.floating, template: Template, size: tuple[int, int]
) -> list[tuple[np.ndarray, np.ndarray | float]]:
    """Return opacities (H, W) and tones, 0 to 255, in the order in which they are painted."""
    if name in PARTS:
        return [(template.masks[name].astype(np.float32), np.asarray(skin))]
    shapes, tone = {"mask": _mask, "glasses": _glasses, "sunglasses": _sunglasses, "hand": _hand}[name](rng, skin)
    return [(_cover(points, template, size, width=width), part * tone) for points, width, part in shapes]


Shapes = list[tuple[np.ndarray, float, float]]  # polygon or line (n, 2) of (y, x); width of a line, 0 for a polygon; brightness


def _mask(rng: np.random.Generator, skin: np.ndarray | np.floating) -> tuple[Shapes, np.ndarray | float]:
    """Cloth from the bridge of the nose to the chin, with three pleats."""
    top = rng.uniform(0.50, 0.58)
    left = [(top + 0.06, 0.5 - HALF_FACE), (top + 0.01, 0.42), (top - 0.03, 0.5)]
    chin = [(0.74, 0.5 + 0.92 * HALF_FACE), (0.89, 0.5 + 0.62 * HALF_FACE), (0.985, 0.5 + 0.22 * HALF_FACE)]
    half = np.array([*left[:-1], *[(y, 1 - x) for y, x in chin]])  # the left half, ends at the middle
    right = half * [1, -1] + [0, 1]
    outline = np.vstack([half[:2], [left[-1]], right[:2][::-1], right[2:], half[2:][::-1]])
    pleats = [np.array([(y - 0.01, 0.32), (y + 0.01, 0.5), (y - 0.01, 0.68)]) for y in np.linspace(top + 0.12, 0.88, 3)]
    return [(outline, 0, 1.0), *((pleat, 0.012, 0.8) for pleat in pleats)], rng.uniform(50, 220)


def _rims() -> Shapes:
    bridge = np.array([(EYE_Y, EYES[0] + LENS[1]), (EYE_Y - 0.02, 0.5), (EYE_Y, EYES[1] - LENS[1])])
    temples = [
        np.array([(EYE_Y - 0.01, x + side * LENS[1]), (EYE_Y - 0.02, x + side * (LENS[1] + 0.09))]) for x, side in zip(EYES, (-1, 1), strict=True)
    ]
    return [(_ellipse((EYE_Y, x)), 0.028, 1.0) for x in EYES] + [(line, 0.028, 1.0) for line in (bridge, *temples)]


def _glasses(rng: np.random.Generator, skin: np.ndarray | np.floating) -> tuple[Shapes, float]:
    return _rims(), rng.uniform(5, 70)


def _sunglasses(rng: np.random.Generator, skin: np.ndarray | np.floating) -> tuple[Shapes, float]:
    return [(_ellipse((EYE_Y + 0.01, x)), 0.0, 1.0) for x in EYES] + _rims(), rng.uniform(5, 40)


def _hand(rng: np.random.Generator, skin: np.ndarray | np.floating) -> tuple[Shapes, np.ndarray]:
    """Palm and four fingers from a lower corner over cheek and mouth, in the tone of the skin with darker gaps."""
    side, aim = rng.choice([-1.0, 1.0]), np.deg2rad(rng.uniform(20, 65))
    along, across = np.array([-np.sin(aim), -side * np.cos(aim)]), np.array([side * np.cos(aim), -np.sin(aim)]) * side
    root = np.array([rng.uniform(0.84, 0.90), 0.5 + side * rng.uniform(0.25, 0.34)])
    palm = root + np.array([a * along + b * across for a, b in ((0.03, 0.14), (0.03, -0.14), (-0.45, -0.13), (-0.45, 0.13))])
    shapes: Shapes = [(palm, 0, 0.95)]
    for place, length in zip((-0.105, -0.035, 0.035, 0.105), (0.24, 0.30, 0.28, 0.21), strict=True):
        base = root + place * across
        finger = np.array([base + length * a * along + 0.037 * b * across for a, b in ((-0.1, 1), (0.9, 0.85), (1, 0), (0.9, -0.85), (-0.1, -1))])
        shapes += [(finger, 0, 0.95), (np.vstack([finger, finger[:1]]), 0.012, 0.62)]
    return shapes, np.asarray(skin)


def _ellipse(centre: tuple[float, float], *, grown: float = 1.0) -> np.ndarray:
    turn = np.linspace(0, 2 * np.pi, 33)
    return np.array(centre) + grown * np.stack([LENS[0] * np.sin(turn), LENS[1] * np.cos(turn)], axis=1)


def _cover(points: np.ndarray, template: Template, size: tuple[int, int], *, width: float) -> np.ndarray:
    """Return how much of each pixel a polygon, or a line of some width, covers, float32 (H, W)."""
    placed = (points - 0.5) * template.scale + 0.5 + template.shift
    grid = np.array(size) * FINER
    corners = np.rint(placed * grid)[:, ::-1].astype(np.int32)
    drawn = np.zeros(grid, dtype=np.uint8)
    if width:
        thick = max(1, round(width * template.scale[1] * float(grid.min())))
        cv2.polylines(drawn, [corners], isClosed=False, color=255, thickness=thick)
    else:
        cv2.fillPoly(drawn, [corners], color=255)
    return cv2.resize(drawn, size[::-1], interpolation=cv2.INTER_AREA).astype(np.float32) / 255
