"""Paints the features of a control face on its skin: folds, nose, mouth, brows and eyes.

Functions change the layers they are given, each float32 (S, S): `skin` holds reflectance, `relief` height in face units.
Eyes are painted after the light, since they are wet and lie in the shade of lids and brows.
"""

from __future__ import annotations

import numpy as np

from ferlab.control.drawing.folds import Fold
from ferlab.control.drawing.geometry import Eye, FaceShape, Mouth
from ferlab.control.drawing.raster import add, blend, cover, disc, moved, scale, within
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
    shadow = np.array([
        (-0.75 * width, tip_y + 0.02), (0.75 * width, tip_y + 0.02),
        (0.6 * width - 0.10 * np.sin(lamp), tip_y + 0.03 + drop), (-0.6 * width - 0.10 * np.sin(lamp), tip_y + 0.03 + drop),
    ])
    scale(skin, cover(shadow, size, blur=0.028), 0.55 + 0.3 * spec.light.ambient)
    for side in (-1, 1):
        wing = np.array([(side * 0.80 * width, shape.wing_y - 0.055), (side * 1.02 * width, shape.wing_y - 0.01),
                         (side * 0.92 * width, shape.wing_y + 0.035)])
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
