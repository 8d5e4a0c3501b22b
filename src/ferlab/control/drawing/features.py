"""Paints a control face: folds, nose, mouth, brows, eyes, and what frames it: background, neck, ears, hair, beard, glasses.

Functions change the layers they are given: `skin` holds reflectance, `relief` height in face units. Eyes are painted after the light,
since they are wet and lie in the shade of lids and brows. What frames the face does not know the expression.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ferlab.control.drawing.geometry import Eye, FaceShape, Fold, Mouth
from ferlab.control.drawing.layers import add, axis, blend, cover, disc, moved, scale, within
from ferlab.control.specs import FaceSpec


def paint_folds(skin: np.ndarray, relief: np.ndarray, folds: tuple[Fold, ...]) -> None:
    """Press folds into the relief and darken their ground."""
    for fold in folds:
        if fold.depth < 0.03:
            continue
        groove = cover(fold.line, len(skin), blur=0.55 * fold.width, thickness=fold.width, closed=False)
        add(relief, groove, -0.016 * fold.depth)
        scale(skin, groove, 1 - 0.45 * fold.depth)


def paint_nose(skin: np.ndarray, relief: np.ndarray, spec: FaceSpec, shape: FaceShape) -> None:
    """Nostrils, the rim of the wings and the shadow the nose casts."""
    size = len(skin)
    _, tip_y, width = shape.nose
    lamp = np.deg2rad(spec.light.azimuth)
    drop = 0.03 + 0.05 * np.sin(np.deg2rad(spec.light.elevation))
    shadow = np.array(
        [
            (-0.75 * width, tip_y + 0.02),
            (0.75 * width, tip_y + 0.02),
            (0.6 * width - 0.10 * np.sin(lamp), tip_y + 0.03 + drop),
            (-0.6 * width - 0.10 * np.sin(lamp), tip_y + 0.03 + drop),
        ]
    )
    scale(skin, cover(shadow, size, blur=0.028), 0.55 + 0.3 * spec.light.ambient)
    for side in (-1, 1):
        wing = np.array(
            [(side * 0.80 * width, shape.wing_y - 0.055), (side * 1.02 * width, shape.wing_y - 0.01), (side * 0.92 * width, shape.wing_y + 0.035)]
        )
        groove = cover(wing, size, blur=0.010, thickness=0.020, closed=False)
        scale(skin, groove, 0.62)
        add(relief, groove, -0.012)
        nostril = disc((side * 0.48 * width, shape.wing_y + 0.026), (0.30 * width, 0.017))
        scale(skin, cover(nostril, size, blur=0.008), 0.22)
        scale(skin, cover(disc((side * 0.55 * width, shape.wing_y - 0.11), (0.02, 0.07)), size, blur=0.03), 0.88)


def paint_mouth(skin: np.ndarray, relief: np.ndarray, spec: FaceSpec, shape: FaceShape) -> None:
    """Lips with volume, the line between them, or teeth and tongue in an open mouth."""
    size, mouth = len(skin), shape.mouth
    tone = spec.identity.skin_albedo * (0.66 if spec.identity.skin <= 4 else 0.80)
    upper = np.vstack([mouth.outer_upper, mouth.inner_upper[::-1]])
    lower = np.vstack([mouth.inner_lower, mouth.outer_lower[::-1]])
    under = moved(mouth.outer_lower, 0, 0.035)
    scale(skin, cover(np.vstack([mouth.outer_lower[3:-3], under[-4:2:-1]]), size, blur=0.022), 0.72)
    blend(skin, cover(upper, size, blur=0.007), 0.88 * tone * spec.pigment.lips, opacity=0.92)
    blend(skin, cover(lower, size, blur=0.007), 1.02 * tone * spec.pigment.lips, opacity=0.88)
    add(relief, cover(upper, size, blur=0.016), 0.024 - 0.010 * shape.units[12])
    add(relief, cover(lower, size, blur=0.016), 0.042)
    opening = float((mouth.inner_lower[:, 1] - mouth.inner_upper[:, 1]).max())
    if opening > 0.012:
        _paint_opening(skin, relief, mouth, tongue_tone=0.16 * spec.pigment.tongue)
    line = cover(mouth.inner_upper, size, blur=0.006, thickness=0.016 + 0.006 * mouth.pressed, closed=False)
    scale(skin, line, 0.30)
    add(relief, line, -0.02)
    for corner, side in ((mouth.inner_upper[0], -1), (mouth.inner_upper[-1], 1)):
        scale(skin, cover(disc((corner[0] + 0.008 * side, corner[1]), (0.020, 0.016)), size, blur=0.012), 0.55)


def _paint_opening(skin: np.ndarray, relief: np.ndarray, mouth: Mouth, *, tongue_tone: float) -> None:
    size = len(skin)
    hole = cover(np.vstack([mouth.inner_upper, mouth.inner_lower[::-1]]), size)
    blend(skin, hole, 0.030)
    add(relief, hole, -0.02)
    if mouth.gap > 0.12:
        middle = mouth.inner_lower[8]
        tongue = disc((float(middle[0]), float(middle[1]) - 0.012), (0.55 * float(mouth.inner_lower[-1, 0]), 0.30 * mouth.gap))
        blend(skin, within(cover(tongue, size, blur=0.02), hole), tongue_tone)
    inset = 1 - 0.12 * np.linspace(-1, 1, len(mouth.inner_upper))[:, None] ** 2 * [1, 0]
    for rim, drop, show in ((mouth.inner_upper, 0.058, mouth.upper_teeth), (mouth.inner_lower, -0.050, mouth.lower_teeth)):
        if show > 0.05:
            row = np.vstack([rim * inset, moved(rim * inset, 0, drop * show)[::-1]])
            blend(skin, within(cover(row, size, blur=0.005), hole), 0.72, opacity=0.9)


def paint_brow(skin: np.ndarray, relief: np.ndarray, spec: FaceSpec, brow: np.ndarray) -> None:
    """A tapering band of hair with soft edges."""
    size = len(skin)
    band = np.vstack([brow[:, :2] - brow[:, 2:] * [0, 1], (brow[:, :2] + brow[:, 2:] * [0, 0.8])[::-1]])
    tone = min(0.7 * spec.identity.hair_albedo + 0.02, 0.48 * spec.identity.skin_albedo)
    blend(skin, cover(band, size, blur=0.011), tone, opacity=0.88)
    add(relief, cover(band, size, blur=0.02), 0.012)


def paint_eye(lit: np.ndarray, diffuse: np.ndarray, spec: FaceSpec, eye: Eye) -> None:
    """Socket shade, lids, eyeball with iris, pupil and catch light, lashes."""
    size, skin = len(lit), spec.identity.skin_albedo
    opened = float((eye.lower[:, 1] - eye.upper[:, 1]).max())
    crease = moved(eye.upper, 0, -0.022 - 0.12 * opened)
    scale(lit, cover(np.vstack([moved(crease, 0, -0.012), eye.lower[::-1]]), size, blur=0.022), 0.80)
    scale(lit, cover(crease[1:-1], size, blur=0.007, thickness=0.012, closed=False), 0.62)
    ball = cover(np.vstack([eye.upper, eye.lower[::-1]]), size)
    light = float(diffuse[int((eye.centre[1] + 1) * size / 2), int((eye.centre[0] + 1) * size / 2)])
    blend(lit, ball, (0.62 + 0.10 * (skin > 0.5)) * min(1.0, 0.35 + 0.55 * light))
    iris = within(cover(disc(eye.iris, (eye.radius, eye.radius)), size, blur=0.004), ball)
    blend(lit, iris, 0.55 * spec.identity.iris_albedo + 0.015)
    blend(lit, within(cover(disc(eye.iris, (0.026, 0.026)), size), ball), 0.012)
    lid_shade = np.vstack([eye.upper, moved(eye.upper, 0, 0.030)[::-1]])
    scale(lit, within(cover(lid_shade, size, blur=0.010), ball), 0.55)
    lamp = np.deg2rad(spec.light.azimuth)
    spark = (eye.iris[0] + 0.020 * np.sin(lamp), eye.iris[1] - 0.016)
    blend(lit, within(cover(disc(spark, (0.013, 0.013)), size), ball), 0.95, opacity=0.9)
    scale(lit, cover(eye.upper, size, blur=0.004, thickness=0.024, closed=False), 0.20)
    scale(lit, cover(eye.lower, size, blur=0.006, thickness=0.012, closed=False), 0.62)


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
