"""Shapes of a control face: identity, rest and action units become curves, folds and bulges, before pose.

Curves run from the left of the picture to its right; of a pair (brows, eyes) the first is at the left. Lengths are those of `specs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ferlab.control.action_units import ACTION_UNITS, Unit, lopsided
from ferlab.control.specs import FaceSpec, Identity

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


_QUADRATIC = np.stack([(1 - _U) ** 2, 2 * _U * (1 - _U), _U**2])[:, :, None]  # Bernstein polynomials (3, 9, 1)


@dataclass(frozen=True)
class Fold:
    """A crease of the skin: its line (n, 2), width and depth (0 to 1)."""

    line: np.ndarray
    width: float
    depth: float


def _arc(start: tuple[float, float], through: tuple[float, float], end: tuple[float, float]) -> np.ndarray:
    """Quadratic curve (9, 2) from start to end, drawn towards `through`."""
    return (_QUADRATIC * np.array((start, through, end))[:, None]).sum(axis=0)


def upper_folds(who: Identity, au: Mapping[Unit, float], brows: tuple[np.ndarray, np.ndarray]) -> list[Fold]:
    """Forehead lines, frown lines, nose wrinkles, crow's feet and the folds under the eyes."""
    folds = []
    raised = max(au[1], au[2])
    brow_top = min(float(brows[0][:, 1].min()), float(brows[1][:, 1].min()))
    half = 0.17 + 0.2 * au[2]
    for step in (1, 2, 3):
        depth = (0.15 + 0.35 * who.age) * raised + 0.12 * who.age
        y = brow_top - 0.02 - 0.058 * step
        dip = 0.03 * (au[2] - au[1] * (1 - au[2]))
        folds.append(Fold(_arc((-half, y + dip), (0, y - dip), (half, y + dip)), 0.016, min(0.6, depth)))
    for side in (-1, 1):
        inner_y = float(brows[0][-1, 1] if side < 0 else brows[1][0, 1])
        frown = min(1.0, 0.85 * au[4] + 0.4 * au[9]) + 0.12 * who.age
        line = _arc((side * 0.040, inner_y - 0.035), (side * 0.034, inner_y + 0.01), (side * 0.050, inner_y + 0.05))
        folds.append(Fold(line, 0.024, 0.75 * frown))
        for step in (0, 1, 2):
            y = who.eye_y - 0.01 + 0.045 * step
            line = _arc((side * 0.012, y), (side * 0.045, y - 0.005), (side * 0.10, y + 0.045))
            folds.append(Fold(line, 0.022, 0.6 * au[9]))
            start = (side * (who.eye_x + who.eye_width + 0.015), who.eye_y + 0.015 * step)
            end = (side * (who.eye_x + who.eye_width + 0.10), who.eye_y - 0.035 + 0.05 * step)
            folds.append(Fold(_arc(start, start, end), 0.013, (0.25 + 0.4 * who.age) * au[6]))
        under = who.eye_y + 0.085 - 0.022 * max(au[6], au[7])
        left, right = side * (who.eye_x - 0.10), side * (who.eye_x + 0.11)
        bag = _arc((left, under - 0.02), (side * who.eye_x, under + 0.035), (right, under - 0.02))
        folds.append(Fold(bag, 0.022, 0.15 + 0.2 * who.age + 0.45 * au[6] + 0.35 * au[7]))
    return folds


def lower_folds(
    who: Identity, au: Mapping[Unit, float], *, lips: tuple[np.ndarray, np.ndarray], wing: tuple[float, float], chin_y: float
) -> list[Fold]:
    """Nasolabial and marionette folds, dimples, the groove under the lip and the chin's puckers.

    Args:
        who: The subject.
        au: Strength of every action unit.
        lips: Outer curve of the upper and of the lower lip.
        wing: Half width of the nose and height of its wings.
        chin_y: Height of the chin.
    """
    folds = []
    for side, corner, pull, dimpled in zip((-1, 1), lips[0][[0, -1]], lopsided(au, 12), lopsided(au, 14), strict=True):
        deep = 0.60 * pull + 0.14 + 0.25 * who.age + 0.60 * au[12] + 0.60 * au[10] + 0.45 * au[9] + 0.2 * au[6] + 0.25 * au[20]
        start = (side * (wing[0] + 0.03), wing[1] - 0.045)
        reach = 0.06
        end = (float(corner[0]) + side * reach, float(corner[1]) + 0.035 - 0.02 * au[10])
        bent = (0.5 * (start[0] + end[0]) + side * (0.035 + 0.03 * au[10]), 0.5 * (start[1] + end[1]) - 0.02)
        folds.append(Fold(_arc(start, bent, end), 0.026, min(0.75, deep)))
        x, y = float(corner[0]), float(corner[1])
        marionette = _arc((x + side * 0.02, y + 0.005), (x + side * 0.05, y + 0.03), (x + side * 0.06, y + 0.10))
        folds.append(Fold(marionette, 0.026, 0.5 * au[15] + 0.12 * who.age))
        dimple = _arc((x + side * 0.02, y - 0.03), (x + side * 0.035, y), (x + side * 0.02, y + 0.03))
        folds.append(Fold(dimple, 0.018, 0.5 * max(au[12], pull, 0.7 * au[20], 0.4 * au[23])))
        if dimpled:
            pit = _arc((x + side * 0.030, y - 0.060), (x + side * 0.075, y), (x + side * 0.030, y + 0.060))
            folds.append(Fold(pit, 0.026, 0.70 * dimpled))
    lip = float(lips[1][:, 1].max())
    sulcus = _arc((-0.11, lip + 0.05), (0, lip + 0.02 + 0.03 * (1 - au[17])), (0.11, lip + 0.05))
    folds.append(Fold(sulcus, 0.03, min(1.0, 0.35 + 0.4 * au[17] + 0.25 * au[23])))
    for x, y in ((-0.06, -0.12), (0.06, -0.12), (0.0, -0.085)):
        folds.append(Fold(np.array([[x - 0.012, chin_y + y], [x + 0.012, chin_y + y + 0.01]]), 0.035, 0.5 * au[17]))
    return folds
