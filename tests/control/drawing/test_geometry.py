from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from ferlab.control import FaceSpec
from ferlab.control.drawing.geometry import FaceShape, shape_face

Builder = Callable[..., FaceSpec]
Measure = Callable[[FaceShape], float]


def corner_height(shape: FaceShape) -> float:
    """How far the corners of the mouth lie above its middle."""
    line = shape.mouth.inner_upper[:, 1]
    return float(line[8] - 0.5 * (line[0] + line[-1]))


def lip_thickness(shape: FaceShape) -> float:
    mouth = shape.mouth
    return float((mouth.inner_upper - mouth.outer_upper)[8, 1] + (mouth.outer_lower - mouth.inner_lower)[8, 1])


MEASURES: dict[str, Measure] = {
    "inner brow": lambda shape: -float(shape.brows[1][0, 1]),
    "outer brow": lambda shape: -float(shape.brows[1][6, 1]),
    "brow gap": lambda shape: float(shape.brows[1][0, 0] - shape.brows[0][-1, 0]),
    "eye opening": lambda shape: float((shape.eyes[0].lower - shape.eyes[0].upper)[8, 1]),
    "nose wing": lambda shape: -shape.wing_y,
    "mouth corners": corner_height,
    "mouth width": lambda shape: float(np.ptp(shape.mouth.inner_upper[:, 0])),
    "upper lip": lambda shape: -float(shape.mouth.outer_upper[8, 1]),
    "lower lip": lambda shape: -float(shape.mouth.outer_lower[8, 1]),
    "lips apart": lambda shape: float((shape.mouth.inner_lower - shape.mouth.inner_upper)[8, 1]),
    "lip thickness": lip_thickness,
    "cheek": lambda shape: -shape.cheeks[1][1],
    "chin": lambda shape: -shape.chin_y,
}


@pytest.mark.parametrize(
    ("unit", "measure", "sign"),
    [
        *((1, "inner brow", 1), (2, "outer brow", 1), (4, "inner brow", -1), (4, "outer brow", -1), (4, "brow gap", -1)),
        *((5, "eye opening", 1), (6, "eye opening", -1), (6, "cheek", 1), (7, "eye opening", -1), (9, "nose wing", 1)),
        *((10, "upper lip", 1), (12, "mouth corners", 1), (12, "mouth width", 1), (15, "mouth corners", -1)),
        *((16, "lower lip", -1), (17, "lower lip", 1), (20, "mouth width", 1), (23, "lip thickness", -1)),
        *((24, "lip thickness", -1), (25, "lips apart", 1), (26, "lips apart", 1), (26, "chin", -1)),
    ],
)
def test_an_action_unit_moves_its_part_in_its_direction(unit: int, measure: str, sign: int, plain_spec: Builder) -> None:
    for subject in range(5):
        shapes = [shape_face(plain_spec(subject, {unit: strength})) for strength in (0.0, 0.5, 1.0)]
        rest, half, full = (MEASURES[measure](shape) for shape in shapes)
        assert sign * (half - rest) > 0.001
        assert sign * (full - half) > 0.001


def test_inner_and_outer_brow_are_raised_apart(plain_spec: Builder) -> None:
    rest, inner, outer = (shape_face(plain_spec(0, units)) for units in ({}, {1: 1.0}, {2: 1.0}))

    def rise(part: str, shape: FaceShape) -> float:
        return MEASURES[part](shape) - MEASURES[part](rest)

    assert rise("inner brow", inner) > 3 * rise("inner brow", outer)
    assert rise("outer brow", outer) > 3 * rise("outer brow", inner)


def test_lips_never_cross(plain_spec: Builder) -> None:
    rng = np.random.default_rng(0)
    for number in range(200):
        chosen = rng.choice([10, 12, 15, 16, 17, 20, 23, 24, 25, 26], 4, replace=False)
        units = {int(unit): float(rng.random()) for unit in chosen}
        mouth = shape_face(plain_spec(number % 20, units)).mouth
        lines = [line[:, 1] for line in (mouth.outer_upper, mouth.inner_upper, mouth.inner_lower, mouth.outer_lower)]
        for above, below in pairwise(lines):
            assert (below - above).min() >= 0, units
