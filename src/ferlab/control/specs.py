"""What there is to know about one control face and its subject, and how both are sampled from (seed, index) and (seed, subject).

A face depends on (seed, index, subject) and a subject on (seed, subject) only. Lengths are in face units: the picture spans -1 to 1 both ways,
x to the right, y down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

import numpy as np

from ferlab.control.action_units import NAMES, Unit, amplitude, draw_units
from ferlab.expressions import EXPRESSIONS

HAIR_STYLES: tuple[str, ...] = ("short", "bald", "fringe", "side", "long", "cap")
HAIR_SHARES: tuple[float, ...] = (0.28, 0.07, 0.15, 0.18, 0.24, 0.08)
BEARDS: tuple[str, ...] = ("none", "stubble", "moustache", "full")
BEARD_SHARES: tuple[float, ...] = (0.58, 0.18, 0.11, 0.13)
SKIN_ALBEDO: tuple[float, ...] = (0.82, 0.72, 0.60, 0.47, 0.34, 0.23)
"""Reflectance of skin tones 1 (lightest) to 6."""
OCCLUDERS: tuple[str, ...] = ("none", "hand", "mask", "bar", "strand", "sunglasses")
OCCLUDER_SHARES: tuple[float, ...] = (0.80, 0.05, 0.04, 0.04, 0.04, 0.03)
LEVEL_SHARES: tuple[float, ...] = (0.14, 0.18, 0.22, 0.23, 0.23)
"""Shares of intensities 1 to 5."""
# Streams of random numbers: the second element of a seed. Other modules number theirs from 7 on.
_IDENTITY, _HABITS, _FACE, _NOISE, _EXPRESSION_ORDER, _SUBJECT_ORDER = range(1, 7)


def _length(mean: float, spread: float) -> float:
    """A length with its mean and standard deviation over subjects, in face units."""
    return field(metadata={"spread": (mean, spread)})  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A subject: proportions in face units, tones as reflectance 0 to 1, styles by name.

    The spread of lengths over subjects is of the size of a weak expression's movement, so that a weak expression cannot be read without
    knowing the subject.
    """

    face_width: float = _length(0.59, 0.033)  # half
    jaw: float = _length(3.0, 0.4)  # exponent of the lower outline: larger is squarer
    chin_y: float = _length(0.86, 0.03)
    hairline: float = _length(-0.62, 0.05)
    eye_x: float = _length(0.265, 0.016)
    eye_y: float = _length(-0.14, 0.018)
    eye_width: float = _length(0.122, 0.009)  # half
    eye_open: float = _length(0.060, 0.007)
    eye_tilt: float = _length(0.0, 0.016)
    brow_gap: float = _length(0.165, 0.016)
    brow_thickness: float = _length(0.036, 0.008)
    brow_arch: float = _length(0.030, 0.012)
    brow_slope: float = _length(0.0, 0.016)
    nose_y: float = _length(0.20, 0.022)
    nose_width: float = _length(0.118, 0.014)
    nose_height: float = _length(0.15, 0.02)
    mouth_y: float = _length(0.475, 0.022)
    mouth_width: float = _length(0.225, 0.020)  # half
    upper_lip: float = _length(0.040, 0.009)
    lower_lip: float = _length(0.056, 0.010)
    mouth_curve: float = _length(0.0, 0.012)
    cheeks: float = _length(1.0, 0.3)  # times the mean bulge
    asymmetry: float = _length(0.0, 0.010)
    age: float  # 0 smooth to 1 deeply lined
    skin: int  # 1 lightest to 6
    skin_albedo: float
    hair_albedo: float
    iris_albedo: float
    hair: str
    beard: str
    glasses: bool
    texture: int  # offset into the skin and hair texture


@dataclass(frozen=True)
class Light:
    """One lamp and its surroundings: angles in degrees, ambient share and exposure as factors."""

    azimuth: float = 0.0  # positive: from the right of the picture
    elevation: float = 30.0
    ambient: float = 0.5
    exposure: float = 1.0
    background: float = 0.5


@dataclass(frozen=True)
class Pose:
    """Head rotation in degrees, and how the crop was taken."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0


@dataclass(frozen=True)
class Rest:
    """Small differences between two faces of a subject at rest, in face units."""

    brow_raise: float = 0.0
    brow_slope: float = 0.0
    lid_open: float = 0.0
    corner_raise: float = 0.0
    lip_press: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0


@dataclass(frozen=True)
class Mark:
    """A planted mark: its kind (corner, glasses or brightness) and which of its eight looks, 0 to 7."""

    kind: str
    look: int


@dataclass(frozen=True)
class Pigment:
    """How much of the light of one colour a thing returns, as a factor of its grey: 1 throughout for a grey picture."""

    lips: float = 1.0
    tongue: float = 1.0
    flush: float = 1.0
    shirt: float = 1.0
    cap: float = 1.0
    cloth: float = 1.0
    backdrop: float = 1.0


@dataclass(frozen=True)
class FaceSpec:
    """Everything that decides the pixels of one control face.

    Attributes:
        expression: One of the eight expressions.
        intensity: 0 (neutral) to 5.
        action_units: Active units and their strengths in (0, 1]; empty for neutral.
        noise_seed: Integers that seed the sensor noise and the occluder's exact place.
        blur: Standard deviation of the lens blur, in face units.
        noise: Standard deviation of the sensor noise, in grey levels of 0 to 255.
        frame: Number of the face within its sequence: sensor noise of its own, an occluder in its place.
        region: Where the face is drawn with the units in `deciding`; all else is drawn without them. Empty: drawn as one.
        mark: A planted mark.
        pigment: Of the colour of light in which the face is drawn.
    """

    expression: str
    intensity: float
    action_units: Mapping[Unit, float]
    identity: Identity
    subject: int = 0
    light: Light = field(default_factory=Light)
    pose: Pose = field(default_factory=Pose)
    rest: Rest = field(default_factory=Rest)
    occluder: str = "none"
    blur: float = 0.0
    noise: float = 0.0
    noise_seed: tuple[int, ...] = (0,)
    frame: int = 0
    region: str = ""
    deciding: tuple[Unit, ...] = ()
    mark: Mark | None = None
    pigment: Pigment = field(default_factory=Pigment)


@lru_cache(maxsize=4096)
def sample_identity(seed: int, subject: int) -> Identity:
    """Draw the subject with this number; the same for every face, size and number of subjects."""
    rng = np.random.default_rng([seed, _IDENTITY, subject])
    spreads = {one.name: one.metadata["spread"] for one in fields(Identity) if one.metadata}
    lengths = {name: mean + spread * float(np.clip(rng.normal(), -2, 2)) for name, (mean, spread) in spreads.items()}
    skin = int(rng.integers(1, len(SKIN_ALBEDO) + 1))
    age = float(rng.beta(1.6, 2.4))
    darkest_hair = 0.05 + 0.05 * float(rng.random())
    lightness = float(rng.beta(1.2, 2.0)) if skin <= 3 else 0.0
    grey = 0.35 if age > 0.6 and rng.random() < 0.5 else 0.0
    hair, beard = str(rng.choice(HAIR_STYLES, p=HAIR_SHARES)), str(rng.choice(BEARDS, p=BEARD_SHARES))
    return Identity(
        **lengths,
        age=age,
        skin=skin,
        skin_albedo=SKIN_ALBEDO[skin - 1] * float(rng.uniform(0.95, 1.05)),
        hair_albedo=darkest_hair + 0.35 * lightness + grey,
        iris_albedo=float(rng.uniform(0.05, 0.30)) if skin <= 3 else 0.06,
        hair=hair,
        beard=beard if hair not in {"long", "fringe"} else "none",
        glasses=bool(rng.random() < 0.15),
        texture=int(rng.integers(1 << 16)),
    )


def sample_spec(
    seed: int,
    index: int,
    *,
    subjects: int = 150,
    subject: int | None = None,
    expressions: Sequence[str] = EXPRESSIONS,
    expression: str | None = None,
) -> FaceSpec:
    """Sample the spec of face `index`.

    Expressions are balanced in every round of as many faces as there are expressions, subjects in every `subjects` faces.

    Args:
        seed: Of the set.
        index: Number of the face, from 0.
        subjects: Number of subjects.
        subject: Overrides the one that `subjects` gives.
        expressions: Those that are drawn.
        expression: Overrides the one that the order gives.
    """
    if subject is None:
        subject = _in_rounds(index, subjects, (seed, _SUBJECT_ORDER))
    if expression is None:
        expression = expressions[_in_rounds(index, len(expressions), (seed, _EXPRESSION_ORDER))]
    rng = np.random.default_rng([seed, _FACE, index])
    habits = np.random.default_rng([seed, _HABITS, subject, NAMES.index(expression)])
    level = 1 + int(rng.choice(5, p=LEVEL_SHARES))
    intensity = 0.0 if expression == "neutral" else min(5.0, level + float(rng.uniform(-0.4, 0.4)))
    units = draw_units(expression, habits=habits, chance=rng)
    strengths = draw_strengths(units, intensity, rng=rng)
    return FaceSpec(
        expression=expression,
        intensity=intensity,
        action_units=strengths,
        identity=sample_identity(seed, subject),
        subject=subject,
        light=_sample_light(rng),
        pose=_sample_pose(rng),
        rest=_sample_rest(rng),
        occluder=str(rng.choice(OCCLUDERS, p=OCCLUDER_SHARES)),
        blur=float(rng.uniform(0.0, 0.022)),
        noise=float(min(7.0, rng.gamma(2.0, 1.3))),
        noise_seed=(seed, _NOISE, index),
    )


def without_deciding(spec: FaceSpec) -> FaceSpec:
    """The face without the units of its deciding region; another face as it is."""
    if not spec.region:
        return spec
    others = {unit: strength for unit, strength in spec.action_units.items() if unit not in spec.deciding}
    return replace(spec, action_units=others, region="", deciding=())


def draw_strengths(units: Sequence[Unit], intensity: float, *, rng: np.random.Generator) -> dict[Unit, float]:
    """Sample the strength of each unit, 0.01 to 1, around the amplitude of the intensity."""
    return {unit: float(np.clip(amplitude(intensity) * rng.uniform(0.75, 1.2), 0.01, 1.0)) for unit in units}


def _in_rounds(index: int, count: int, key: tuple[int, ...]) -> int:
    """Return a number from 0 to count - 1: each round of `count` is a permutation of its own."""
    turn, place = divmod(index, count)
    return _shuffled(count, (*key, turn))[place]


@lru_cache(maxsize=64)
def _shuffled(count: int, key: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(np.random.default_rng(key).permutation(count).tolist())


def _clipped(rng: np.random.Generator, spread: float) -> float:
    return spread * float(np.clip(rng.normal(), -2, 2))


def _sample_light(rng: np.random.Generator) -> Light:
    return Light(
        azimuth=_clipped(rng, 30.0),
        elevation=float(rng.uniform(5.0, 50.0)),
        ambient=float(rng.uniform(0.28, 0.58)),
        exposure=float(rng.uniform(0.85, 1.35)),
        background=float(rng.beta(1.3, 1.6)),
    )


def _sample_pose(rng: np.random.Generator) -> Pose:
    return Pose(
        yaw=_clipped(rng, 9.0),
        pitch=_clipped(rng, 5.0),
        roll=_clipped(rng, 4.0),
        scale=float(rng.uniform(1.08, 1.22)),
        shift_x=_clipped(rng, 0.02),
        shift_y=_clipped(rng, 0.02) - 0.03,
    )


def _sample_rest(rng: np.random.Generator) -> Rest:
    spreads = {spec.name: 0.006 for spec in fields(Rest)} | {"lid_open": 0.004, "gaze_x": 0.014, "gaze_y": 0.006}
    return Rest(**{name: _clipped(rng, spread) for name, spread in spreads.items()})
