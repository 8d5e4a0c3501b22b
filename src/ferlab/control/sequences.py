"""Sequences of control faces: one subject, one expression, from neutral to its apex.

Light and pose drift a little around those of the sequence's face; the occluder stays. Intensity rises from 0 in frame 0 to the
apex in the last frame, slowly at both ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from ferlab.control.action_units import amplitude
from ferlab.control.specs import FaceSpec, Light, Pose, Rest

_JITTER = 13  # stream of random numbers
_POSE_JITTER = {"yaw": 0.5, "pitch": 0.4, "roll": 0.3, "scale": 0.003, "shift_x": 0.003, "shift_y": 0.003}
_REST_JITTER = {spec.name: 0.0006 for spec in fields(Rest)} | {"gaze_x": 0.002, "gaze_y": 0.001}
Part = TypeVar("Part", Light, Pose, Rest)


def rise(frame: int, frames: int) -> float:
    """Share of the apex' intensity that a frame shows, 0 to 1, never falling.

    >>> [round(rise(frame, 5), 2) for frame in range(5)]
    [0.0, 0.15, 0.5, 0.85, 1.0]
    """
    return float(0.5 - 0.5 * np.cos(np.pi * frame / (frames - 1)))


def frame_of(apex: FaceSpec, frame: int, *, frames: int, seed: int, number: int) -> FaceSpec:
    """One frame of the sequence that ends in a face.

    Args:
        apex: The face of the last frame, before jitter.
        frame: Its number, from 0.
        frames: How many there are, at least 2.
        seed: Seed of the set.
        number: Of the sequence.

    Returns:
        The frame's spec; frame 0 has intensity 0 and no active unit, whatever the expression.
    """
    rng = np.random.default_rng([seed, _JITTER, number, frame])
    intensity = apex.intensity * rise(frame, frames)
    share = amplitude(intensity) / amplitude(apex.intensity) if apex.intensity > 0 else 0.0
    units = {unit: strength * share for unit, strength in apex.action_units.items()} if share > 0 else {}
    return replace(
        apex,
        intensity=intensity,
        action_units=units,
        light=_jittered(apex.light, {"azimuth": 0.5, "exposure": 0.004}, rng=rng),
        pose=_jittered(apex.pose, _POSE_JITTER, rng=rng),
        rest=_jittered(apex.rest, _REST_JITTER, rng=rng),
        frame=frame,
    )


def _jittered(still: Part, spreads: Mapping[str, float], *, rng: np.random.Generator) -> Part:
    return replace(still, **{name: getattr(still, name) + spread * float(np.clip(rng.normal(), -2, 2)) for name, spread in spreads.items()})
