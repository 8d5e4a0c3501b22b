"""Draws a control face: reflectances on a fine canvas, lit, turned, blurred by the lens and exposed with sensor noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ferlab.control.drawing import features
from ferlab.control.drawing.colour import colour_specs
from ferlab.control.drawing.geometry import FaceShape, shape_face
from ferlab.control.drawing.layers import cover, disc, fine_side, head_form, hills, look, posed_view, raise_hills, scale, shade
from ferlab.control.drawing.masks import draw_masks
from ferlab.control.drawing.overlays import metered_exposure, paint_mark_glasses, paint_occluder, stamp_corner
from ferlab.control.specs import FaceSpec, without_deciding
from ferlab.control.worlds import decision_layer, draw_decision_mask


@dataclass(frozen=True)
class DrawnFace:
    """A control face and the truth about it.

    Attributes:
        image: Grey picture (H, W) or in colour (H, W, 3), uint8.
        masks: Per region, and for "face" and "occluder", the pixels it takes (H, W), bool. Regions are marked whether or not
            something covers them.
    """

    image: np.ndarray
    masks: dict[str, np.ndarray]


def draw_face(spec: FaceSpec, size: int, *, colour: bool = False) -> DrawnFace:
    """Draw a face with its masks, `size` (24 to 224) pixels wide; the same bytes for the same arguments."""
    return DrawnFace(image=draw_image(spec, size, colour=colour), masks=draw_masks(spec, size))


def draw_image(spec: FaceSpec, size: int, *, colour: bool = False) -> np.ndarray:
    """Draw the picture of one control face, uint8 (size, size) or in colour (size, size, 3), without its masks."""
    if spec.mark is not None and spec.mark.kind == "brightness":
        exposure = metered_exposure(_shrink(_lens(spec, _paint_outside(spec, size)), size), spec, develop=_develop)
        spec = replace(spec, mark=None, light=replace(spec.light, exposure=exposure))
    if colour:
        return np.dstack([draw_image(one, size) for one in colour_specs(spec)])
    painted = _paint_outside(spec, size)
    image = _expose(_lens(spec, painted), spec, size)
    if not spec.region:
        return image
    outside = without_deciding(spec)  # to the last bit what it is under any label
    return np.where(draw_decision_mask(spec, size), image, _expose(_lens(outside, painted), outside, size))


def _paint_outside(spec: FaceSpec, size: int) -> np.ndarray:
    """The frontal picture without the units of the deciding region, finer than `size`."""
    outside = without_deciding(spec)
    return _paint(outside, shape_face(outside), fine_side(size))


def _lens(spec: FaceSpec, painted: np.ndarray) -> np.ndarray:
    """The posed picture as light through the lens, float32; `painted` is what `_paint_outside` gave, and stays as it is."""
    fine, outside = len(painted), without_deciding(spec)
    if spec.region:
        painted = painted + decision_layer(spec, fine) * (_paint(spec, shape_face(spec), fine) - painted)
    picture = look(painted, *posed_view(outside, shape_face(outside), size=fine))
    sigma = spec.blur * fine / 2
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma > 0.3 else picture


def _paint(spec: FaceSpec, shape: FaceShape, size: int) -> np.ndarray:
    """The frontal picture (S, S) before pose and camera, float32 0 to about 1."""
    who = spec.identity
    head = cover(0.985 * shape.outline, size, blur=0.006)  # inside the rim, where the relief drops
    relief = head_form(spec, shape, size=size) + raise_hills(hills(spec, shape), size)
    skin = np.full((size, size), who.skin_albedo, np.float32)
    skin *= features.texture(who.texture, size, amount=0.03 + 0.04 * who.age)
    cheek_flush = (0.94 if who.skin <= 3 else 0.97) * spec.pigment.flush
    for cheek in shape.cheeks:
        scale(skin, cover(disc(cheek, (0.13, 0.10)), size, blur=0.05), cheek_flush)
    features.paint_folds(skin, relief, shape.folds)
    features.paint_nose(skin, relief, spec, shape)
    features.paint_mouth(skin, relief, spec, shape)
    features.paint_beard(skin, spec, shape)
    for brow in shape.brows:
        features.paint_brow(skin, relief, spec, brow)
    diffuse, gloss = shade(relief, spec.light, spec.pose)
    lit = skin * diffuse + gloss * np.float32(0.10)
    for eye in shape.eyes:
        features.paint_eye(lit, diffuse, spec, eye)
    picture = features.backdrop(spec, shape, size)
    part = picture[head.window]
    part += (lit[head.window] - part) * head.share
    features.paint_hair(picture, spec, shape)
    features.paint_glasses(picture, spec, shape)
    paint_mark_glasses(picture, spec, shape)
    paint_occluder(picture, spec, shape)
    return picture


def _expose(picture: np.ndarray, spec: FaceSpec, size: int) -> np.ndarray:
    """Pixels, tone curve and sensor noise: float32 (S, S) to uint8 (size, size)."""
    small = _shrink(picture, size) * np.float32(spec.light.exposure)
    stamp_corner(small, spec)
    grey = _develop(small)
    rng = np.random.default_rng([*spec.noise_seed, 3, spec.frame] if spec.frame else spec.noise_seed)
    grain = rng.standard_normal((size, size)) * spec.noise * (0.6 + 0.4 * np.sqrt(np.clip(grey, 0, 255) / 128))
    return np.clip(np.rint(grey + grain), 0, 255).astype(np.uint8)


def _shrink(picture: np.ndarray, size: int) -> np.ndarray:
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def _develop(exposed: np.ndarray) -> np.ndarray:
    """Film: highlights bend, none burn out; 0 and more to grey of 0 to 255."""
    return 255 * (1 - np.exp(-1.5 * np.clip(exposed, 0, None))) ** 0.85
