"""Facial action units: what each is, where it shows, and which expressions they make.

References:
    Ekman, Friesen and Hager (2002), Facial Action Coding System. The combinations per expression follow EMFACS as
    summarised by Lucey et al. (2010, Table 1) and Du, Tao and Martinez (2014, PNAS, "Compound facial expressions").
    Russell and Mehrabian (1977), Evidence for a three-factor theory of emotions, J. Research in Personality 11: pleasure
    and arousal of the terms angry, disgusted, fearful, happy, sad, surprised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ferlab.expressions import CONTEMPT, EXPRESSIONS

Unit = int | str
"""Number of an action unit; of one that shows on one side only with R or L, the person's own: R lies at the picture's left."""

NAMES: tuple[str, ...] = (*EXPRESSIONS, CONTEMPT)
"""The eight expressions that can be drawn; their places are the targets."""

REGIONS: tuple[str, ...] = ("forehead", "brows", "eyes", "nose", "cheeks", "mouth", "chin")
"""Parts of the face that have a mask of their own, from the top down."""

ACTION_UNITS: dict[Unit, str] = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    20: "lip stretcher",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    "12R": "right lip corner puller",
    "12L": "left lip corner puller",
    "14R": "right dimpler",
    "14L": "left dimpler",
}

_SIDES: dict[int, tuple[str, str]] = {12: ("12R", "12L"), 14: ("14R", "14L")}

ACTION_UNIT_REGIONS: dict[Unit, tuple[str, ...]] = {
    1: ("forehead", "brows"),
    2: ("forehead", "brows"),
    4: ("brows",),
    5: ("eyes",),
    6: ("eyes", "cheeks"),
    7: ("eyes",),
    9: ("nose", "brows", "cheeks"),
    10: ("mouth", "cheeks"),
    12: ("mouth", "cheeks"),
    15: ("mouth",),
    16: ("mouth",),
    17: ("mouth", "chin"),
    20: ("mouth",),
    23: ("mouth",),
    24: ("mouth",),
    25: ("mouth",),
    26: ("mouth", "chin"),
    "12R": ("mouth", "cheeks"),
    "12L": ("mouth", "cheeks"),
    "14R": ("mouth", "cheeks"),
    "14L": ("mouth", "cheeks"),
}
"""Regions in which an action unit changes the drawing most, strongest first."""


@dataclass(frozen=True)
class Combination:
    """Action units that make one expression.

    Attributes:
        always: Units every face of the expression shows.
        one_of: Pairs of units of which a face shows exactly one.
        sometimes: Units a subject adds by habit, each with its probability.
        one_sided: Units shown on one side of the face, all on that which is the subject's habit.
    """

    always: tuple[int, ...] = ()
    one_of: tuple[tuple[int, int], ...] = ()
    sometimes: tuple[tuple[int, float], ...] = ()
    one_sided: tuple[int, ...] = ()


COMBINATIONS: dict[str, Combination] = {
    "angry": Combination(always=(4, 5, 7, 23), sometimes=((24, 0.5),)),
    "disgust": Combination(always=(9, 10), one_of=((15, 16),), sometimes=((17, 0.4),)),
    "fear": Combination(always=(1, 2, 4, 5, 20), one_of=((25, 26),)),
    "happy": Combination(always=(6, 12), sometimes=((25, 0.65),)),
    "sad": Combination(always=(1, 4, 15), sometimes=((17, 0.5),)),
    "surprise": Combination(always=(1, 2, 5, 26), sometimes=((25, 0.7),)),
    "neutral": Combination(),
    "contempt": Combination(one_sided=(12, 14)),  # R12A + R14A
}

CIRCUMPLEX: dict[str, tuple[float, float]] = {
    "angry": (-0.51, 0.59),
    "disgust": (-0.60, 0.35),
    "fear": (-0.64, 0.60),
    "happy": (0.81, 0.51),
    "sad": (-0.63, -0.27),
    "surprise": (0.40, 0.67),
    "neutral": (0.0, 0.0),
    "contempt": (-0.555, 0.47),  # not among their terms: midway between anger and disgust, its neighbours
}
"""Valence and arousal of an expression at full intensity, -1 to 1 (Russell and Mehrabian, 1977)."""


def draw_units(expression: str, *, habits: np.random.Generator, chance: np.random.Generator) -> tuple[Unit, ...]:
    """Choose the active units of one face, in the order of `ACTION_UNITS`.

    Args:
        expression: A key of `COMBINATIONS`.
        habits: Generator of the subject: optional units are the same in all its faces.
        chance: Generator of the face: which of two alternative units shows.
    """
    combination = COMBINATIONS[expression]
    chosen: set[Unit] = set(combination.always)
    for pair in combination.one_of:
        chosen.add(pair[int(chance.integers(2))])
    for unit, probability in combination.sometimes:
        if habits.random() < probability:
            chosen.add(unit)
    if combination.one_sided:
        side = "R" if habits.random() < 0.5 else "L"
        chosen |= {f"{unit}{side}" for unit in combination.one_sided}
    return tuple(unit for unit in ACTION_UNITS if unit in chosen)


def amplitude(intensity: float) -> float:
    """Strength of an action unit, 0 to 1, at an intensity of 0 to 5; a little steeper than linear."""
    return float((max(intensity, 0.0) / 5.0) ** 1.1)


def affect(expression: str, intensity: float) -> tuple[float, float]:
    """Valence and arousal, -1 to 1, of a face: its expression's place on the circumplex, drawn in towards neutral by intensity / 5."""
    valence, arousal = CIRCUMPLEX[expression]
    share = intensity / 5
    return valence * share + 0.0, arousal * share + 0.0  # never -0.0


def lopsided(units: Mapping[Unit, float], unit: int) -> tuple[float, float]:
    """How much stronger a unit is at the left and at the right of the picture than on both sides, each 0 to 1.

    >>> lopsided({12: 0.2, "12R": 1.0}, 12)
    (0.8, 0.0)
    """
    right, left = _SIDES[unit]
    both = units.get(unit, 0.0)
    return max(units.get(right, 0.0) - both, 0.0), max(units.get(left, 0.0) - both, 0.0)


def regions_of(action_units: Mapping[Unit, float]) -> tuple[str, ...]:
    """Regions that carry an expression: the union over its active action units, in the order of `REGIONS`.

    >>> regions_of({6: 0.5, 12: 0.8})
    ('eyes', 'cheeks', 'mouth')
    """
    carried = {region for unit, strength in action_units.items() if strength > 0 for region in ACTION_UNIT_REGIONS[unit]}
    return tuple(region for region in REGIONS if region in carried)
