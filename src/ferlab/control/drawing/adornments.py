"""What frames and covers a control face: background, neck, ears, hair, beard, glasses and occluders.

None of it knows the expression; it is there so that a model meets what photographs are full of.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ferlab.control.drawing.geometry import FaceShape
from ferlab.control.drawing.raster import add, blend, cover, disc, moved, scale, within
from ferlab.control.drawing.relief import axis
from ferlab.control.specs import FaceSpec

_TEXTURES = 7  # grains of which a subject has one, shifted to a place of its own

# Front edge of the hair from right to left: x in half widths of the face, y in face units, share of the hairline in y.
_HAIR_FRONTS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "short": (
        *((0.93, -0.22, 0), (0.88, -0.45, 0), (0.55, -0.02, 1), (0, -0.04, 1)),
        *((-0.55, -0.02, 1), (-0.88, -0.45, 0), (-0.93, -0.22, 0)),
    ),
    "fringe": (
        *((0.94, -0.1, 0), (0.86, -0.42, 0), (0.5, 0.15, 1), (0, 0.17, 1)),
        *((-0.5, 0.15, 1), (-0.86, -0.42, 0), (-0.94, -0.1, 0)),
    ),
    "side": (
        *((0.95, -0.15, 0), (0.9, -0.4, 0), (0.6, 0.1, 1), (0.1, 0.02, 1)),
        *((-0.45, -0.14, 1), (-0.86, -0.48, 0), (-0.94, -0.18, 0)),
    ),
    "long": (
        *((0.98, 0.35, 0), (0.86, -0.2, 0), (0.62, 0.1, 1), (0.05, -0.18, 1)),
        *((-0.62, 0.1, 1), (-0.86, -0.2, 0), (-0.98, 0.35, 0)),
    ),
    "cap": (
        *((1.02, -0.42, 0), (0.7, 0.02, 1), (0.3, 0.05, 1), (0, 0.06, 1)),
        *((-0.3, 0.05, 1), (-0.7, 0.02, 1), (-1.02, -0.42, 0)),
    ),
}


def texture(number: int, size: int, *, amount: float, streaks: bool = False) -> np.ndarray:
    """Grain of skin, or with streaks of hair: a layer (S, S) float32 around 1 with this relative spread."""
    grain = _grain(number % _TEXTURES, size, streaks)
    down, right = (number // _TEXTURES) % size, (3 * number // _TEXTURES) % size
    return 1 + np.float32(amount) * grain[down : down + size, right : right + size]


@lru_cache(maxsize=64)
def _grain(number: int, size: int, streaks: bool) -> np.ndarray:
    rng = np.random.default_rng([number, size, int(streaks)])
    pad = size // 3
    noise = np.pad(rng.standard_normal((size, size)).astype(np.float32), pad, mode="wrap")  # no seam when rolled
    across, along = (0.007 * size, 0.09 * size) if streaks else (0.02 * size, 0.02 * size)
    fine = cv2.GaussianBlur(noise, (0, 0), across, sigmaY=along)[pad:-pad, pad:-pad]
    return np.tile(fine / fine.std(), (2, 2))


def backdrop(spec: FaceSpec, shape: FaceShape, size: int) -> np.ndarray:
    """All that lies behind the face: background, long hair, clothes, neck and ears, lit; (S, S) float32."""
    who, light = spec.identity, spec.light
    grid = axis(size)
    lean = 0.12 * np.sin(np.deg2rad(light.azimuth))
    tone = (0.06 + 0.75 * light.background) * spec.pigment.backdrop
    layer = tone * (1 + np.float32(lean) * grid[None, :] - np.float32(0.15) * grid[:, None]) * np.ones((size, 1), np.float32)
    w = who.face_width
    if who.hair == "long":
        right = np.array([(0.8, -0.92), (1.22, -0.4), (1.36, 0.5), (1.45, 1.05)])
        _hair_patch(layer, spec, smooth(np.vstack([right, right[::-1] * [-1, 1]]) * [w, 1]))
    right = np.array([(0.52, 0.45), (0.58, 0.9), (0.8, 1.1)])
    neck_outline = np.vstack([right, right[::-1] * [-1, 1]]) * [w, 1]
    neck = cover(neck_outline, size, blur=0.01)
    blend(layer, neck, 0.66 * who.skin_albedo)
    under_chin = np.array([(-0.6, 0.5), (0.6, 0.5), (0.4, shape.chin_y + 0.06), (-0.4, shape.chin_y + 0.06)])
    scale(layer, within(neck, cover(under_chin, size, blur=0.05)), 0.55)
    shirt = np.array([(-1.1, 1.1), (-1.05, 0.96), (-0.5, 0.93), (0.0, 1.02), (0.5, 0.93), (1.05, 0.96), (1.1, 1.1)])
    blend(layer, cover(shirt, size, blur=0.008), (0.08 + 0.6 * ((who.texture % 97) / 97)) * spec.pigment.shirt)
    for side in (-1, 1):
        ear = disc((side * 1.01 * w, -0.02), (0.065, 0.15))
        lit = light.ambient + (1 - light.ambient) * (0.75 + 0.6 * side * np.sin(np.deg2rad(light.azimuth)))
        blend(layer, cover(ear, size, blur=0.008), 0.85 * who.skin_albedo * lit)
        scale(layer, cover(disc((side * 1.015 * w, -0.02), (0.03, 0.09)), size, blur=0.02), 0.6)
    return layer


def smooth(points: np.ndarray) -> np.ndarray:
    """Closed curve through a polygon's edge midpoints, cornered by its points (quadratic B-spline)."""
    before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
    t = np.linspace(0, 1, 5, endpoint=False)[None, :, None]
    start, end = 0.5 * (before + points)[:, None], 0.5 * (points + after)[:, None]
    return ((1 - t) ** 2 * start + 2 * t * (1 - t) * points[:, None] + t**2 * end).reshape(-1, 2)


def _hair_patch(layer: np.ndarray, spec: FaceSpec, outline: np.ndarray) -> None:
    """Paint hair: streaked, with a shine across the top that follows the lamp."""
    who, light = spec.identity, spec.light
    patch = cover(outline, len(layer), blur=0.012)
    x, y = axis(len(layer))[None, patch.window[1]], axis(len(layer))[patch.window[0], None]
    lamp = np.deg2rad(light.azimuth)
    shine = np.exp(-0.5 * np.square((y + 0.72) / 0.14)) * (0.5 + 0.5 * np.cos(lamp - 1.6 * x))
    lit = light.ambient + (1 - light.ambient) * np.clip(0.75 + np.sin(lamp) * x, 0.2, None)
    tone = who.hair_albedo * lit * texture(who.texture, len(layer), amount=0.15, streaks=True)[patch.window] + 0.10 * shine
    part = layer[patch.window]
    part += (tone.astype(np.float32) - part) * patch.share


def paint_hair(picture: np.ndarray, spec: FaceSpec, shape: FaceShape) -> None:
    """Hair in front of the head, by style, with the shadow it throws on the forehead."""
    who, size = spec.identity, len(picture)
    if who.hair == "bald":
        return
    ends = (1.2, 0.45) if who.hair == "long" else (1.08, -0.25)
    crown = np.array([(-ends[0], ends[1]), (-1.12, -0.6), (-0.75, -1.0), (0, -1.12), (0.75, -1.0), (1.12, -0.6), ends])
    front = np.array(_HAIR_FRONTS[who.hair])
    outline = np.vstack([crown, front[:, :2] + front[:, 2:] * [0, who.hairline]]) * [who.face_width, 1]
    if who.texture % 2:  # partings and locks fall to either side
        outline[:, 0] *= -1
    outline = smooth(outline)
    scale(picture, cover(moved(outline, 0.01, 0.035), size, blur=0.025), 0.72)
    if who.hair == "cap":
        _paint_cap(picture, spec, outline)
    else:
        _hair_patch(picture, spec, outline)


def _paint_cap(picture: np.ndarray, spec: FaceSpec, outline: np.ndarray) -> None:
    w, line, size = spec.identity.face_width, spec.identity.hairline, len(picture)
    tone = (0.04 + 0.40 * ((spec.identity.texture % 53) / 53) ** 2) * spec.pigment.cap
    blend(picture, cover(outline, size, blur=0.006), tone)
    shine = smooth(np.array([(-0.3, -1.0), (0.3, -1.0), (0.25, -0.72), (-0.25, -0.72)]))
    blend(picture, cover(shine, size, blur=0.09), 1.5 * tone + 0.02)
    rise, dip = np.array((-0.06, -0.10, -0.06, 0.10, 0.17, 0.10)), np.array((-0.85, 0.0, 0.85, 0.6, 0.0, -0.6))
    brim = smooth(np.column_stack([dip * w, line + rise]))
    scale(picture, cover(moved(brim, 0, 0.05), size, blur=0.03), 0.6)
    blend(picture, cover(brim, size, blur=0.006), 0.7 * tone)


def paint_beard(skin: np.ndarray, spec: FaceSpec, shape: FaceShape) -> None:
    """Stubble, moustache or full beard, on the skin and so under the same light."""
    who, size, mouth = spec.identity, len(skin), shape.mouth
    if who.beard == "none":
        return
    tone = min(who.hair_albedo + 0.02, 0.6 * who.skin_albedo)
    strength = {"stubble": 0.32, "moustache": 0.0, "full": 0.85}[who.beard]
    tip_y, width = shape.nose[1], float(mouth.outer_upper[-1, 0])
    top = mouth.outer_upper[::2]
    ends = [[-1.12 * width, float(top[0, 1]) + 0.03], [1.12 * width, float(top[-1, 1]) + 0.03]]
    under_nose = [[-0.6 * width, tip_y + 0.14], [0.0, tip_y + 0.115], [0.6 * width, tip_y + 0.14]]
    moustache = np.vstack([ends[0], *under_nose, ends[1], moved(top[::-1], 0, -0.004)])
    if strength:
        jaw = shape.outline[shape.outline[:, 1] > 0.08]
        jaw = jaw[np.argsort(-np.arctan2(jaw[:, 0], 1.0))]
        lips = moved(mouth.outer_lower[::2], 0, 0.012)
        sides = np.array([(0.72 * who.face_width, 0.30), (1.15 * width, 0.46)])
        inner = np.vstack([sides * [-1, 1], lips, sides[::-1]])
        blend(skin, cover(np.vstack([jaw, inner]), size, blur=0.045), tone, opacity=strength)
    blend(skin, cover(moustache, size, blur=0.016), tone, opacity=max(strength, 0.8 if who.beard == "moustache" else 0.0))


def paint_glasses(picture: np.ndarray, spec: FaceSpec, shape: FaceShape) -> None:
    """Rims, bridge and temples, and a faint reflection."""
    if not spec.identity.glasses or spec.occluder == "sunglasses":
        return
    paint_rims(picture, spec, shape, lens=None)


def paint_rims(picture: np.ndarray, spec: FaceSpec, shape: FaceShape, *, lens: float | None) -> None:
    """Frame of glasses over both eyes; `lens` is the grey value of dark lenses, None leaves them clear."""
    who, size = spec.identity, len(picture)
    tone = 0.03 + 0.25 * ((who.texture % 31) / 31) ** 2
    glare = np.array([(-0.07, 0.04), (0.01, -0.085), (0.05, -0.085), (-0.03, 0.04)])
    inner, outer = who.eye_x - 0.15, who.eye_x + 0.15
    for eye, side in zip(shape.eyes, (-1, 1), strict=True):
        rim = lens_outline(eye.centre)
        if lens is not None:
            blend(picture, cover(rim, size, blur=0.004), lens)
        add(picture, cover(moved(glare, *eye.centre), size, blur=0.02), 0.07)
        blend(picture, cover(rim, size, blur=0.004, thickness=0.020), tone)
        temple = np.array([(side * outer, who.eye_y - 0.03), (side * 0.99 * who.face_width, who.eye_y - 0.05)])
        blend(picture, cover(temple, size, blur=0.004, thickness=0.020, closed=False), tone)
    bridge = np.array([(-inner, who.eye_y - 0.01), (0, who.eye_y - 0.04), (inner, who.eye_y - 0.01)])
    blend(picture, cover(bridge, size, blur=0.004, thickness=0.020, closed=False), tone)


def lens_outline(centre: tuple[float, float]) -> np.ndarray:
    """Outline (n, 2) of a lens in front of an eye."""
    corners = np.array([(-0.165, -0.105), (0, -0.115), (0.165, -0.105), (0.16, 0.085), (0, 0.165), (-0.16, 0.085)])
    return smooth(moved(corners, *centre))
