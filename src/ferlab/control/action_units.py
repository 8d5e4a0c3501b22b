"""Facial action units of the control faces: what each unit is, where it shows, which expression it makes.

Owns the tables. Knows nothing of drawing: `geometry` turns strengths of action units into shapes.

References:
    Ekman, Friesen and Hager (2002), Facial Action Coding System. The combinations per expression follow EMFACS as
    summarised by Lucey et al. (2010, Table 1) and Du, Tao and Martinez (2014, PNAS, "Compound facial expressions").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

REGIONS: tuple[str, ...] = ("forehead", "brows", "eyes", "nose", "cheeks", "mouth", "chin")
"""Parts of the face that have a mask of their own, from the top down."""

ACTION_UNITS: dict[int, str] = {
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
}

ACTION_UNIT_REGIONS: dict[int, tuple[str, ...]] = {
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
}
"""Regions in which an action unit changes the drawing most, strongest first."""


@dataclass(frozen=True)
class Combination:
    """Action units that make one expression.

    Attributes:
        always: Units every face of the expression shows.
        one_of: Pairs of units of which a face shows exactly one.
        sometimes: Units a subject adds by habit, each with its probability.
    """

    always: tuple[int, ...] = ()
    one_of: tuple[tuple[int, int], ...] = ()
    sometimes: tuple[tuple[int, float], ...] = ()


COMBINATIONS: dict[str, Combination] = {
    "angry": Combination(always=(4, 5, 7, 23), sometimes=((24, 0.5),)),
    "disgust": Combination(always=(9, 10), one_of=((15, 16),), sometimes=((17, 0.4),)),
    "fear": Combination(always=(1, 2, 4, 5, 20), one_of=((25, 26),)),
    "happy": Combination(always=(6, 12), sometimes=((25, 0.65),)),
    "sad": Combination(always=(1, 4, 15), sometimes=((17, 0.5),)),
    "surprise": Combination(always=(1, 2, 5, 26), sometimes=((25, 0.7),)),
    "neutral": Combination(),
}


def draw_units(expression: str, *, habits: np.random.Generator, chance: np.random.Generator) -> tuple[int, ...]:
    """Choose the action units of one face.

    Args:
        expression: A key of `COMBINATIONS`.
        habits: Generator of the subject, so that optional units are the same in all the subject's faces.
        chance: Generator of the face, for units of which one or the other shows.

    Returns:
        Numbers of the active units, ascending; empty for neutral.
    """
    combination = COMBINATIONS[expression]
    chosen = set(combination.always)
    for pair in combination.one_of:
        chosen.add(pair[int(chance.integers(2))])
    for unit, probability in combination.sometimes:
        if habits.random() < probability:
            chosen.add(unit)
    return tuple(sorted(chosen))


def amplitude(intensity: float) -> float:
    """Strength of an action unit, 0 to 1, at a face's intensity of 0 to 5.

    A little steeper than linear: a face of intensity 1 shows a sixth of the full movement, one of 4 four fifths.
    """
    return float((max(intensity, 0.0) / 5.0) ** 1.1)


def regions_of(action_units: Mapping[int, float]) -> tuple[str, ...]:
    """Regions that carry an expression: the union over its active action units, in the order of `REGIONS`.

    >>> regions_of({6: 0.5, 12: 0.8})
    ('eyes', 'cheeks', 'mouth')
    """
    carried = {region for unit, strength in action_units.items() if strength > 0 for region in ACTION_UNIT_REGIONS[unit]}
    return tuple(region for region in REGIONS if region in carried)
