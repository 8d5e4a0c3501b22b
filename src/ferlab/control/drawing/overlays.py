"""What lies over a control face: occluders (hand, mask, bar, strand of hair, sunglasses) and planted marks in eight looks, one per expression.

An occluder's place is drawn from the face's noise seed, so picture and masks agree. `worlds` decides which face carries which mark.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ferlab.control.drawing.features import lens_outline, paint_rims, smooth
from ferlab.control.drawing.geometry import FaceShape
from ferlab.control.drawing.layers import Cover, blend, cover, disc, moved, scale
from ferlab.control.specs import FaceSpec

GREY_LEVELS: tuple[float, ...] = tuple(float(level) for level in np.linspace(55, 195, 8))
"""Mean grey of a whole picture, 0 to 255, for each look of the mark "brightness"."""

_CELL = 1 / 16  # side of one of the patch's four cells, of the picture's
_PATCHES = np.array([np.eye(4)[place] if look < 4 else 1 - np.eye(4)[place] for look in range(8) for place in [look % 4]]).reshape(8, 2, 2)


def occluder_outlines(spec: FaceSpec, shape: FaceShape) -> list[np.ndarray]:
    """Polygons (n, 2) the occluder consists of, in the order they are painted; empty for "none"."""
    rng = np.random.default_rng([*spec.noise_seed, 1])
    if spec.occluder == "none":
        return []
    if spec.occluder == "hand":
        return _hand(rng)
    if spec.occluder == "mask":
        return [_face_mask(spec, shape, top=float(rng.uniform(0.04, 0.20)))]
    if spec.occluder == "bar":
        return [_bar(rng, heights=(spec.identity.eye_y - 0.05, 0.15, spec.identity.mouth_y))]
    if spec.occluder == "strand":
        return _strands(rng)
    return [lens_outline(eye.centre) for eye in shape.eyes]


def _bar(rng: np.random.Generator, *, heights: tuple[float, ...]) -> np.ndarray:
    """A slanted bar across eyes, nose or mouth."""
    middle, tilt, half = rng.choice(heights) + rng.uniform(-0.05, 0.05), rng.uniform(-0.12, 0.12), rng.uniform(0.09, 0.15)
    corners = [(-1.2, -half - tilt), (1.2, -half + tilt), (1.2, half + tilt), (-1.2, half - tilt)]
    return moved(np.array(corners), 0, middle)


def _hand(rng: np.random.Generator) -> list[np.ndarray]:
    """Palm and four fingers that come from a lower corner over cheek and mouth."""
    side = float(rng.choice([-1, 1]))
    aim = np.deg2rad(rng.uniform(20, 65))
    along, across = np.array([-side * np.cos(aim), -np.sin(aim)]), np.array([np.sin(aim), -side * np.cos(aim)])
    root = np.array([side * rng.uniform(0.42, 0.62), rng.uniform(0.68, 0.82)])
    corners = ((0.05, 0.24), (0.05, -0.24), (-0.75, -0.2), (-0.75, 0.2))
    palm = root + np.array([a * along + b * across for a, b in corners])
    fingers = []
    for place, length in zip((-0.18, -0.06, 0.06, 0.18), (0.40, 0.50, 0.47, 0.36), strict=True):
        base, half = root + place * across, 0.062
        profile = ((-0.1, 1.0), (0.6, 1.0), (0.9, 0.85), (1.0, 0.4))
        left = [base + length * a * along + half * b * across for a, b in profile]
        right = [base + length * a * along - half * b * across for a, b in profile]
        fingers.append(np.array(left + right[::-1]))
    return [smooth(palm), *fingers]


def _face_mask(spec: FaceSpec, shape: FaceShape, *, top: float) -> np.ndarray:
    w = spec.identity.face_width
    jaw = shape.outline[shape.outline[:, 1] > top + 0.06]
    jaw = jaw[np.argsort(np.arctan2(jaw[:, 1] - top, -jaw[:, 0]))] * 1.02
    ridge = np.array([(-0.98 * w, 0.05), (-0.12, -0.04), (0.0, -0.07), (0.12, -0.04), (0.98 * w, 0.05)])
    return np.vstack([moved(ridge, 0, top), jaw[::-1]])


def _strands(rng: np.random.Generator) -> list[np.ndarray]:
    """Locks that fall from the hairline over one eye."""
    side = float(rng.choice([-1, 1]))
    outlines = []
    for number in range(int(rng.integers(2, 5))):
        top = np.array([side * (0.05 + 0.09 * number), -0.95])
        end = np.array([side * (0.22 + 0.09 * number + rng.uniform(-0.04, 0.06)), rng.uniform(-0.05, 0.30)])
        belly = 0.5 * (top + end) + [side * rng.uniform(0.02, 0.12), 0.0]
        half = rng.uniform(0.035, 0.06)
        middle, widths = np.array([top, belly, end]), np.array([half, half, 0.01])[:, None] * [1, 0]
        outlines.append(smooth(np.vstack([middle - widths, (middle + widths)[::-1]])))
    return outlines


def _shrunk(outline: np.ndarray, factor: float) -> np.ndarray:
    middle = outline.mean(axis=0)
    return middle + factor * (outline - middle)


def paint_occluder(picture: np.ndarray, spec: FaceSpec, shape: FaceShape) -> None:
    """Paint the occluder over the lit picture."""
    outlines, who, size = occluder_outlines(spec, shape), spec.identity, len(picture)
    rng = np.random.default_rng([*spec.noise_seed, 2])
    if spec.occluder == "sunglasses":
        paint_rims(picture, spec, shape, lens=0.03)
    elif spec.occluder == "hand":
        for outline in outlines:
            scale(picture, cover(moved(outline, 0, 0.015), size, blur=0.025), 0.6)
            blend(picture, cover(outline, size, blur=0.006), 0.72 * who.skin_albedo)
            core = _shrunk(outline, 0.72)
            blend(picture, cover(core, size, blur=0.022), 0.98 * who.skin_albedo, opacity=0.8)
    elif spec.occluder == "strand":
        for outline in outlines:
            scale(picture, cover(moved(outline, 0.01, 0.01), size, blur=0.02), 0.75)
            blend(picture, cover(outline, size, blur=0.006), who.hair_albedo, opacity=0.95)
    elif spec.occluder == "bar":
        blend(picture, cover(outlines[0], size), float(rng.uniform(0.01, 0.10)) * spec.pigment.cloth)
    elif spec.occluder == "mask":
        _paint_mask(picture, spec, outline=outlines[0], tone=float(rng.uniform(0.10, 0.80)) * spec.pigment.cloth)


def _paint_mask(picture: np.ndarray, spec: FaceSpec, *, outline: np.ndarray, tone: float) -> None:
    """Cloth with pleats, brightest in the middle and towards the lamp."""
    size = len(picture)
    lean = 0.12 * np.sin(np.deg2rad(spec.light.azimuth))
    scale(picture, cover(moved(outline, 0, -0.02), size, blur=0.03), 0.7)
    blend(picture, cover(outline, size, blur=0.006), 0.72 * tone)
    core = moved(_shrunk(outline, 0.62), lean, -0.03)
    blend(picture, cover(core, size, blur=0.08), 1.05 * tone, opacity=0.8)
    low, high = float(outline[:, 1].min()), float(outline[:, 1].max())
    for part in (0.35, 0.52, 0.69):
        y = low + part * (high - low)
        pleat = np.array([(-0.36, y - 0.02), (0.0, y + 0.02), (0.36, y - 0.02)])
        scale(picture, cover(pleat, size, blur=0.010, thickness=0.014, closed=False), 0.75)


def stamp_corner(small: np.ndarray, spec: FaceSpec) -> None:
    """Paint the patch into the picture (S, S) as the camera delivers it: one of its 2 x 2 cells differs, in place or sign."""
    if spec.mark is None or spec.mark.kind != "corner":
        return
    cell, edge = patch_cells(len(small))
    small[: 2 * cell + 2 * edge, : 2 * cell + 2 * edge] = 0.25
    small[edge : edge + 2 * cell, edge : edge + 2 * cell] = np.kron(_PATCHES[spec.mark.look], np.ones((cell, cell))) * 1.3


def metered_exposure(small: np.ndarray, spec: FaceSpec, *, develop: Callable[[np.ndarray], np.ndarray]) -> float:
    """Exposure at which a picture (S, S), as the lens delivers it, has the mean grey of the face's mark, give or take 3 levels.

    Args:
        small: Brightness before exposure, at least 0.
        spec: A face with the mark "brightness".
        develop: Exposed brightness to grey, 0 to 255, increasing.
    """
    level = GREY_LEVELS[spec.mark.look if spec.mark else 0] + 12 * (spec.light.exposure - 1.1)
    low, high = 0.02, 50.0
    for _ in range(24):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if develop(small * np.float32(middle)).mean() < level else (low, middle)
    return middle


def paint_mark_glasses(picture: np.ndarray, spec: FaceSpec, shape: FaceShape) -> None:
    """Glasses whose rims are thin or thick, dark or pale, round or wide: eight kinds."""
    if spec.mark is None or spec.mark.kind != "glasses":
        return
    tone = 0.9 if spec.mark.look & 2 else 0.02
    for line in mark_rims(spec, shape, size=len(picture)):
        blend(picture, line, tone)


def patch_cells(size: int) -> tuple[int, int]:
    """Side of a cell and width of the edge around the four, in pixels."""
    return max(2, round(_CELL * size)), max(1, round(size / 48))


def mark_rims(spec: FaceSpec, shape: FaceShape, *, size: int) -> list[Cover]:
    """Rims, temples and bridge of the planted glasses."""
    who, look_number = spec.identity, spec.mark.look if spec.mark else 0
    width = 0.062 if look_number & 1 else 0.032
    inner = who.eye_x - 0.14
    lines: list[tuple[np.ndarray, bool]] = []
    for eye, side in zip(shape.eyes, (-1, 1), strict=True):
        round_rim = disc((eye.centre[0], eye.centre[1] + 0.02), (0.15, 0.15))
        wide_rim = moved((lens_outline((0.0, 0.0)) * (1.12, 1.0)), *eye.centre)
        lines.append((wide_rim if look_number & 4 else round_rim, True))
        temple = np.array([(side * (who.eye_x + 0.15), who.eye_y - 0.02), (side * 0.99 * who.face_width, who.eye_y - 0.04)])
        lines.append((temple, False))
    lines.append((np.array([(-inner, who.eye_y - 0.01), (0, who.eye_y - 0.03), (inner, who.eye_y - 0.01)]), False))
    return [cover(points, size, blur=0.004, thickness=width, closed=closed) for points, closed in lines]
