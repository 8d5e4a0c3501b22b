"""Shapes of a control face: identity, rest and action units become curves, folds and bulges in face units.

Owns where everything is, before pose; `drawing` owns how it looks, `masks` the regions. Curves run from the left of the
picture to its right; of a pair (brows, eyes) the first is at the left of the picture. Lengths are those of `specs`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ferlab.control.action_units import ACTION_UNITS, Unit, lopsided
from ferlab.control.drawing.folds import Fold, lower_folds, upper_folds
from ferlab.control.identity import Identity
from ferlab.control.specs import FaceSpec

CENTRE_Y, TOP_Y = -0.12, -0.93  # where the head is widest, and its top
T = np.linspace(-1.0, 1.0, 17)
_TOWARDS = np.clip((-T, T), 0, 1) ** 1.3  # share of a movement of one corner along the mouth: the left, then the right
_U = np.linspace(0.0, 1.0, 9)  # along a brow, from its inner end


@dataclass(frozen=True)
class Eye:
    """Lid curves (n, 2), from left to right, and the iris."""

    upper: np.ndarray
    lower: np.ndarray
    centre: tuple[float, float]
    iris: tuple[float, float]
    radius: float


@dataclass(frozen=True)
class Mouth:
    """Lip curves (n, 2) from the left corner to the right, and how much of the teeth and tongue shows, 0 to 1."""

    outer_upper: np.ndarray
    inner_upper: np.ndarray
    inner_lower: np.ndarray
    outer_lower: np.ndarray
    gap: float
    upper_teeth: float
    lower_teeth: float
    pressed: float


@dataclass(frozen=True)
class FaceShape:
    """Everything `drawing` and `masks` need to know about one face.

    Attributes:
        units: Strength of every action unit, 0 where it rests.
        outline: Closed outline of the head (n, 2).
        brows: Per side, centre line (n, 3): x, y and half thickness.
        nose: x and y of the tip, half width between the wings' outer ends.
        wing_y: Height of the nose wings.
        cheeks: Centre of each cheek's bulge.
    """

    units: dict[Unit, float]
    outline: np.ndarray
    brows: tuple[np.ndarray, np.ndarray]
    eyes: tuple[Eye, Eye]
    mouth: Mouth
    folds: tuple[Fold, ...]
    nose: tuple[float, float, float]
    wing_y: float
    cheeks: tuple[tuple[float, float], tuple[float, float]]
    chin_y: float


def shape_face(spec: FaceSpec) -> FaceShape:
    """Lay out a face from its identity, its state of rest and its action units."""
    who = spec.identity
    au: dict[Unit, float] = dict.fromkeys(ACTION_UNITS, 0.0) | dict(spec.action_units)
    chin_y = who.chin_y + 0.085 * au[26] - 0.012 * au[17]
    brows = (_brow(spec, au, -1), _brow(spec, au, 1))
    eyes = (_eye(spec, au, -1), _eye(spec, au, 1))
    mouth = _mouth(spec, au)
    nose_y = who.nose_y - 0.025 * au[9] - 0.008 * au[10]
    nose_width = who.nose_width * (1 + 0.16 * au[9] + 0.08 * au[10] + 0.08 * au[12])
    wing_y = nose_y + 0.015 - 0.022 * au[9] - 0.012 * au[10]
    lifted = 0.055 * au[6] + 0.045 * au[12] + 0.02 * au[9] + 0.015 * au[10]
    pulled = lopsided(au, 12)
    left, right = ((side * (0.355 + 0.02 * au[12]), 0.14 - lifted - 0.045 * more) for side, more in zip((-1, 1), pulled, strict=True))
    lips = (mouth.outer_upper, mouth.outer_lower)
    folds = upper_folds(who, au, brows) + lower_folds(who, au, lips=lips, wing=(nose_width, wing_y), chin_y=chin_y)
    return FaceShape(
        units=au,
        outline=_outline(who, chin_y),
        brows=brows,
        eyes=eyes,
        mouth=mouth,
        folds=tuple(folds),
        nose=(0.0, nose_y, nose_width),
        wing_y=wing_y,
        cheeks=(left, right),
        chin_y=chin_y,
    )


def half_width(who: Identity, chin_y: float, y: np.ndarray) -> np.ndarray:
    """Half the width of the head at heights y; 0 above its top and below the chin."""
    below = y > CENTRE_Y
    reach = np.clip(np.where(below, (y - CENTRE_Y) / (chin_y - CENTRE_Y), (CENTRE_Y - y) / (CENTRE_Y - TOP_Y)), 0, 1)
    return who.face_width * (1 - reach ** np.where(below, who.jaw, 2.2)) ** np.where(below, 0.56, 0.5)


def _outline(who: Identity, chin_y: float) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    down = np.sin(angle)
    y = CENTRE_Y + np.where(down > 0, chin_y - CENTRE_Y, CENTRE_Y - TOP_Y) * down
    return np.column_stack([np.sign(np.cos(angle)) * half_width(who, chin_y, y), y])


def _brow(spec: FaceSpec, au: dict[Unit, float], side: int) -> np.ndarray:
    who, rest = spec.identity, spec.rest
    inner = (1 - _U) ** 1.4
    outer = np.sin(np.pi * np.clip(_U * 0.95 - 0.12, 0, 1)) * _U**0.35
    x = 0.105 + 0.335 * _U - au[4] * 0.050 * (1 - _U) ** 1.2
    y = who.eye_y - who.brow_gap - who.brow_arch * np.sin(np.pi * np.clip(_U * 0.9, 0, 1)) + 0.02 * _U**3
    y = y + (who.brow_slope + rest.brow_slope) * (_U - 0.5) - rest.brow_raise + side * who.asymmetry
    y = y - 0.105 * au[1] * inner - 0.105 * au[2] * outer
    y = y + au[4] * (0.058 + 0.062 * inner * (1 - 0.8 * au[1])) + au[9] * 0.045 * inner + au[6] * 0.008 * _U
    thickness = who.brow_thickness * np.interp(_U, [0, 0.25, 0.6, 1], [0.75, 1.0, 0.8, 0.25])
    line = np.column_stack([side * x, y, thickness])
    return line if side > 0 else line[::-1]


def _eye(spec: FaceSpec, au: dict[Unit, float], side: int) -> Eye:
    who, rest = spec.identity, spec.rest
    centre = np.array([side * who.eye_x, who.eye_y + 0.3 * side * who.asymmetry])
    open_upper = (who.eye_open + rest.lid_open) * (1 - 0.32 * au[7] - 0.22 * au[9] - 0.16 * au[6] - 0.10 * au[4] * (1 - au[5]))
    open_upper = max(0.012, open_upper + 0.052 * au[5])
    open_lower = max(0.004, 0.045 + 0.010 * au[5] - 0.034 * au[7] - 0.034 * au[6] - 0.026 * au[9])
    x = centre[0] + who.eye_width * T
    tilt = -side * who.eye_tilt * T
    peak = 1 - np.abs(T + 0.12 * side) ** 2.1  # the upper lid is highest a little towards the nose
    upper = np.column_stack([x, centre[1] + tilt - open_upper * np.clip(peak, 0, 1)])
    lower = np.column_stack([x, centre[1] + tilt + open_lower * (1 - T**2)])
    iris = (float(centre[0] + rest.gaze_x), float(centre[1] - 0.008 + rest.gaze_y))
    return Eye(upper=upper, lower=lower, centre=(float(centre[0]), float(centre[1])), iris=iris, radius=0.060)


def _mouth(spec: FaceSpec, au: dict[Unit, float]) -> Mouth:
    who, rest = spec.identity, spec.rest
    pressed = min(1.0, 0.75 * au[23] + 0.6 * au[24])
    width = who.mouth_width + 0.075 * au[12] + 0.075 * au[20] - 0.012 * au[15] - 0.038 * au[26] - 0.030 * au[23] - 0.015 * au[17]
    corner = who.mouth_y - who.mouth_curve - rest.corner_raise - 0.105 * au[12] + 0.085 * au[15] + 0.030 * au[20]
    corner = corner + 0.055 * au[26] + 0.012 * au[10]
    gap = 0.055 * au[25] * (1 - 0.3 * au[26]) + 0.235 * au[26] + 0.030 * au[10] + 0.035 * au[16]
    gap = gap + au[12] * au[25] * 0.02
    middle = who.mouth_y - 0.010 * au[12] - 0.038 * au[10] - 0.040 * au[17] - 0.020 * au[15] + 0.008 * au[16]
    upper_lip = who.upper_lip * (1 - 0.75 * pressed - 0.35 * au[12] - 0.3 * au[20]) - rest.lip_press * 0.5
    lower_lip = who.lower_lip * (1 - 0.72 * pressed - 0.25 * au[12] - 0.2 * au[20] + 0.25 * au[17]) - rest.lip_press * 0.5
    x = width * T
    corners = corner + 0.8 * who.asymmetry * T
    bow = np.exp(-((T / 0.16) ** 2)) * 0.012 - np.exp(-(((np.abs(T) - 0.25) / 0.2) ** 2)) * 0.006
    taper = np.clip(1 - np.abs(T) ** 2.2, 0, 1)
    pulled, dimpled = lopsided(au, 12), lopsided(au, 14)
    if any(pulled) or any(dimpled):
        pull, dimple = (left * _TOWARDS[0] + right * _TOWARDS[1] for left, right in (pulled, dimpled))
        x = x + T * (0.075 * pull - 0.020 * dimple)
        corners = corners - 0.105 * pull - 0.030 * dimple
        taper = taper * (1 - 0.45 * dimple)
    square = np.clip(1 - np.abs(T) ** (1.7 + 1.6 * max(au[10], 0.6 * au[20])), 0, 1)
    low = np.clip(1 - np.abs(T) ** (1.9 + 1.0 * max(au[16], au[20], 0.5 * au[26])), 0, 1)
    inner_upper = corners + (middle - corners) * square + 0.25 * bow * (1 - au[26])
    inner_lower = corners + (middle + gap - corners) * low
    inner_lower = np.maximum(inner_lower, inner_upper)
    outer_upper = inner_upper - max(0.008, upper_lip) * taper + bow * (1 - 0.6 * pressed)
    outer_upper = np.minimum(outer_upper, inner_upper)
    outer_lower = inner_lower + max(0.010, lower_lip) * taper
    return Mouth(
        outer_upper=np.column_stack([x, outer_upper]),
        inner_upper=np.column_stack([x, inner_upper]),
        inner_lower=np.column_stack([x, inner_lower]),
        outer_lower=np.column_stack([x, outer_lower]),
        gap=float(gap),
        upper_teeth=float(np.clip(0.30 + max(0.75 * au[12], 0.7 * au[10], 0.55 * au[20]) - 0.2 * au[26], 0, 1)),
        lower_teeth=float(np.clip(0.9 * au[16] + 0.35 * au[20] * au[25], 0, 1)),
        pressed=pressed,
    )
