"""Control faces in colour: a face is drawn three times, in red, green and blue light, each with the albedos of that light.

Geometry, light and noise are those of the grey picture, so its masks hold, and the luminance of a colour face is close to the grey face.

References:
    Fitzpatrick (1988), the six skin types; the tints follow the sRGB swatches in common use for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np

from ferlab.control.specs import FaceSpec, Identity, Pigment

LUMINANCE = np.array((0.2126, 0.7152, 0.0722))
"""Weights of linear red, green and blue (ITU-R BT.709)."""

_SUBJECT, _FACE = 8, 9  # streams of random numbers
SKIN_TINTS: tuple[tuple[float, float, float], ...] = (
    (1.34, 0.935, 0.68),
    (1.36, 0.93, 0.64),
    (1.38, 0.925, 0.60),
    (1.42, 0.92, 0.56),
    (1.44, 0.91, 0.58),
    (1.40, 0.91, 0.66),
)
_HAIR_TINTS = {
    "black": (1.06, 0.98, 0.98),
    "brown": (1.42, 0.92, 0.58),
    "auburn": (1.75, 0.83, 0.45),
    "blond": (1.36, 0.95, 0.48),
    "grey": (1.0, 1.0, 1.04),
}
_IRIS_TINTS = {
    "brown": (1.75, 0.84, 0.42),
    "hazel": (1.25, 1.0, 0.45),
    "green": (0.95, 1.06, 0.70),
    "blue": (0.68, 1.02, 1.75),
    "grey": (0.9, 1.01, 1.2),
}
_CLOTHES = ((1.0, 1.0, 1.0), (0.6, 0.95, 2.2), (2.3, 0.65, 0.65), (0.75, 1.1, 0.8), (1.5, 0.9, 0.5), (0.8, 1.02, 1.4), (1.3, 0.85, 1.6))


def colour_specs(spec: FaceSpec) -> tuple[FaceSpec, FaceSpec, FaceSpec]:
    """The face in red, green and blue light."""
    tints = _tints(spec)
    return tuple(_in_light(spec, {name: float(tint[channel]) for name, tint in tints.items()}) for channel in range(3))  # type: ignore[return-value]


def _in_light(spec: FaceSpec, tints: Mapping[str, float]) -> FaceSpec:
    who = spec.identity
    identity = replace(who, **{f"{name}_albedo": getattr(who, f"{name}_albedo") * tints[name] for name in ("skin", "hair", "iris")})
    light = replace(spec.light, exposure=spec.light.exposure * tints["light"])
    return replace(spec, identity=identity, light=light, pigment=Pigment(**{one.name: tints[one.name] for one in fields(Pigment)}))


def _tints(spec: FaceSpec) -> dict[str, np.ndarray]:
    """Red, green and blue of each thing (3,), as factors of its grey."""
    who = spec.identity
    subject = np.random.default_rng([who.texture, _SUBJECT])
    face = np.random.default_rng([*spec.noise_seed, _FACE])
    warmth = float(np.clip(face.normal(0, 0.03), -0.06, 0.06))
    skin = _level(np.array(SKIN_TINTS[who.skin - 1]) * (1, 1 + subject.normal(0, 0.01), 1 + subject.normal(0, 0.04)))
    lips = np.array((1.16, 0.78, 0.86)) ** float(subject.uniform(0.8, 1.5 if who.beard == "none" else 1.0))
    hair = _level(np.array(_HAIR_TINTS[_hair_colour(who, subject)]))
    iris = _level(np.array(_IRIS_TINTS[_iris_colour(who, subject)]))
    shirt, cap = (_pale(_CLOTHES[int(subject.integers(len(_CLOTHES)))], float(subject.uniform(0.2, 0.9))) for _ in range(2))
    cloth, backdrop = (_pale(_CLOTHES[int(face.integers(len(_CLOTHES)))], float(face.uniform(*reach))) for reach in ((0.0, 0.6), (0.0, 0.35)))
    return {
        **{"skin": skin, "hair": hair, "iris": iris, "light": np.array((1 + warmth, 1.0, 1 - warmth)), "lips": lips},
        **{"tongue": np.array((1.9, 0.75, 0.8)), "flush": np.array((1.07, 0.95, 0.96))},
        **{"shirt": shirt, "cap": cap, "cloth": cloth, "backdrop": backdrop},
    }


def _level(tint: np.ndarray) -> np.ndarray:
    """Keep the hue of a tint and give it the luminance of its grey."""
    return tint / (LUMINANCE * tint).sum()


def _pale(tint: tuple[float, float, float], strength: float) -> np.ndarray:
    return _level(1 + strength * (np.array(tint) - 1))


def _hair_colour(who: Identity, rng: np.random.Generator) -> str:
    chance = rng.random()
    if who.age > 0.6 and who.hair_albedo > 0.38:
        return "grey"
    if who.hair_albedo < 0.12:
        return "black" if who.skin > 3 or chance < 0.4 else "brown"
    if who.hair_albedo < 0.26:
        return "auburn" if chance < 0.2 else "brown"
    return "blond"


def _iris_colour(who: Identity, rng: np.random.Generator) -> str:
    if who.iris_albedo < 0.12:
        return "brown"
    return str(rng.choice(("hazel", "green", "blue", "grey"), p=(0.25, 0.15, 0.45, 0.15)))
