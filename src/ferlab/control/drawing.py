"""Draws a control face: paints skin, features and what covers them on a fine canvas, lights it, turns it, takes the picture.

Grey values are reflectances until `_expose` turns them into a picture with lens blur and sensor noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ferlab.control import adornments
from ferlab.control.features import paint_brow, paint_eye, paint_folds, paint_mouth, paint_nose
from ferlab.control.geometry import FaceShape, shape_face
from ferlab.control.masks import draw_masks
from ferlab.control.occluders import paint_occluder
from ferlab.control.raster import Cover, cover, disc, scale
from ferlab.control.relief import head_form, hills, look, posed_view, raise_hills, shade
from ferlab.control.specs import FaceSpec


@dataclass(frozen=True)
class DrawnFace:
    """A control face and the truth about it.

    Attributes:
        image: Grey picture (H, W), uint8.
        masks: Per region, and for "face" and "occluder", the pixels it takes (H, W), bool. Regions are marked whether or not
            something covers them.
    """

    image: np.ndarray
    masks: dict[str, np.ndarray]


def draw_face(spec: FaceSpec, size: int) -> DrawnFace:
    """Draw one control face.

    Args:
        spec: Everything that decides its pixels.
        size: Side of the picture in pixels, 24 to 224.

    Returns:
        Picture and masks; the same bytes for the same arguments.
    """
    return DrawnFace(image=draw_image(spec, size), masks=draw_masks(spec, size))


def draw_image(spec: FaceSpec, size: int) -> np.ndarray:
    """Draw the picture of one control face, uint8 (size, size), without its masks."""
    fine = size * (3 if size <= 64 else 2)
    shape = shape_face(spec)
    picture = _paint(spec, shape, fine)
    return _expose(look(picture, *posed_view(spec, shape, size=fine)), spec, size)


def _paint(spec: FaceSpec, shape: FaceShape, size: int) -> np.ndarray:
    """The frontal picture (S, S) before pose and camera, float32 0 to about 1."""
    who = spec.identity
    head = cover(0.985 * shape.outline, size, blur=0.006)  # inside the rim, where the relief drops
    relief = head_form(spec, shape, size=size) + raise_hills(hills(spec, shape), size)
    skin = np.full((size, size), who.skin_albedo, np.float32)
    skin *= adornments.texture(who.texture, size, amount=0.03 + 0.04 * who.age)
    cheek_flush = 0.94 if who.skin <= 3 else 0.97
    for cheek in shape.cheeks:
        scale(skin, _spot(cheek, (0.13, 0.10), size), cheek_flush)
    paint_folds(skin, relief, shape.folds)
    paint_nose(skin, relief, spec, shape)
    paint_mouth(skin, relief, spec, shape)
    adornments.paint_beard(skin, spec, shape)
    for brow in shape.brows:
        paint_brow(skin, relief, spec, brow)
    diffuse, gloss = shade(relief, spec.light, spec.pose)
    lit = skin * diffuse + gloss * np.float32(0.10)
    for eye in shape.eyes:
        paint_eye(lit, diffuse, spec, eye)
    picture = adornments.backdrop(spec, shape, size)
    _compose(picture, head, lit)
    adornments.paint_hair(picture, spec, shape)
    adornments.paint_glasses(picture, spec, shape)
    paint_occluder(picture, spec, shape)
    return picture


def _spot(centre: tuple[float, float], radius: tuple[float, float], size: int) -> Cover:
    return cover(disc(centre, radius), size, blur=0.05)


def _compose(picture: np.ndarray, shape: Cover, front: np.ndarray) -> None:
    part = picture[shape.window]
    part += (front[shape.window] - part) * shape.share


def _expose(picture: np.ndarray, spec: FaceSpec, size: int) -> np.ndarray:
    """Lens blur, pixels, tone curve and sensor noise: float32 (S, S) to uint8 (size, size)."""
    sigma = spec.blur * len(picture) / 2
    if sigma > 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) * np.float32(spec.light.exposure)
    grey = 255 * (1 - np.exp(-1.5 * np.clip(small, 0, None))) ** 0.85  # film: highlights bend, none burn out
    rng = np.random.default_rng(spec.noise_seed)
    grain = rng.standard_normal((size, size)) * spec.noise * (0.6 + 0.4 * np.sqrt(np.clip(grey, 0, 255) / 128))
    return np.clip(np.rint(grey + grain), 0, 255).astype(np.uint8)
