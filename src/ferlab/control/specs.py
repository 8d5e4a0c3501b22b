"""What there is to know about one control face, and how it is sampled from (seed, index).

A face depends on (seed, index, subject) only, an identity on (seed, subject) only; so order and number of faces do not
matter. Lengths are in face units: the picture spans -1 to 1 both ways, x to the right, y down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

import numpy as np

from ferlab.control.action_units import NAMES, Unit, amplitude, draw_units
from ferlab.control.identity import Identity, sample_identity
from ferlab.expressions import EXPRESSIONS

OCCLUDERS: tuple[str, ...] = ("none", "hand", "mask", "bar", "strand", "sunglasses")
OCCLUDER_SHARES: tuple[float, ...] = (0.80, 0.05, 0.04, 0.04, 0.04, 0.03)
LEVEL_SHARES: tuple[float, ...] = (0.14, 0.18, 0.22, 0.23, 0.23)
"""Shares of intensities 1 to 5."""
# Streams of random numbers, kept apart by this second word of the seed; `identity` has 1, others number theirs from 7 on.
_HABITS, _FACE, _NOISE, _EXPRESSION_ORDER, _SUBJECT_ORDER = range(2, 7)


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
    """Small differences between two faces of a subject at rest, in face units: what a model must not mistake for an action unit."""

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
        noise_seed: Words that seed the sensor noise and the occluder's exact place.
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


def sample_spec(
    seed: int,
    index: int,
    *,
    subjects: int = 150,
    subject: int | None = None,
    expressions: Sequence[str] = EXPRESSIONS,
    expression: str | None = None,
) -> FaceSpec:
    """Draw the spec of face `index`.

    Expressions are balanced in every round of as many faces as there are expressions, subjects in every `subjects` faces.

    Args:
        seed: Seed of the whole set.
        index: Number of the face, from 0.
        subjects: Number of subjects the faces are shared among.
        subject: Overrides the subject that `subjects` would give.
        expressions: Those that are dealt.
        expression: Overrides the one that is dealt.

    Returns:
        A spec that depends on the arguments only.
    """
    if subject is None:
        subject = _dealt(index, subjects, (seed, _SUBJECT_ORDER))
    if expression is None:
        expression = expressions[_dealt(index, len(expressions), (seed, _EXPRESSION_ORDER))]
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
    """The face outside the region that decides its label: without that region's units. A face drawn as one is returned as it is."""
    if not spec.region:
        return spec
    others = {unit: strength for unit, strength in spec.action_units.items() if unit not in spec.deciding}
    return replace(spec, action_units=others, region="", deciding=())


def draw_strengths(units: Sequence[Unit], intensity: float, *, rng: np.random.Generator) -> dict[Unit, float]:
    """Strength of each unit, 0.01 to 1, around what the intensity stands for."""
    return {unit: float(np.clip(amplitude(intensity) * rng.uniform(0.75, 1.2), 0.01, 1.0)) for unit in units}


def _dealt(index: int, count: int, words: tuple[int, ...]) -> int:
    """Deal numbers 0 to count - 1 round after round, each round in an order of its own."""
    turn, place = divmod(index, count)
    return _shuffled(count, (*words, turn))[place]


@lru_cache(maxsize=64)
def _shuffled(count: int, words: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(np.random.default_rng(words).permutation(count).tolist())


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
