"""Worlds in which the evidence for a label is known, to validate attributions.

    faces       the label is the expression, and every action unit of it shows
    one_region  the label decides the units of one region; all other units are independent of it
    shortcut    the label is the expression, and a planted mark agrees with it in training and is independent of it at test
    null        the label is independent of the face

References:
    Adebayo et al. (2018), Sanity Checks for Saliency Maps, arXiv 1810.03292: labels that mean nothing.
    Yang and Kim (2019), Benchmarking Attribution Methods with Relative Feature Importance (BAM), arXiv 1907.09701: a part of
    the picture that is known to matter in one world and not in the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ferlab.control.action_units import ACTION_UNIT_REGIONS, NAMES, Unit, draw_units
from ferlab.control.drawing.geometry import shape_face
from ferlab.control.drawing.layers import cover, fine_side
from ferlab.control.drawing.masks import region_outlines, seen_share
from ferlab.control.specs import LEVEL_SHARES, FaceSpec, Identity, Mark, draw_strengths

_OTHERS, _LABELS, _MARKS = 10, 11, 12  # streams of random numbers

DECIDING: dict[str, dict[str, tuple[Unit, ...]]] = {
    "mouth": {
        "angry": (23, 24),
        "disgust": (10, 16),
        "fear": (20, 25),
        "happy": (12, 25),
        "sad": (15, 17),
        "surprise": (25, 26),
        "neutral": (),
        "contempt": ("12R", "14R"),
    },
    "brows": {"angry": (4,), "fear": (1, 2, 4), "sad": (1, 4), "surprise": (1, 2), "neutral": ()},
    "eyes": {"angry": (7,), "happy": (6, 7), "surprise": (5,), "neutral": ()},
    "nose": {"disgust": (9,), "neutral": ()},
}
"""Per region the expressions that it separates, with their deciding units; other expressions are not drawn there."""

_SEEN = 0.01  # share of a pixel below which the deciding units cannot be seen
_JAW_WITHIN = 0.55  # most of a jaw drop that a mouth can show above a chin that stays


def decide_by_region(spec: FaceSpec, region: str, *, seed: int, number: int) -> FaceSpec:
    """Let the expression of face `number` show in one region; units elsewhere are those of another expression, independent of the label."""
    rng = np.random.default_rng([seed, _OTHERS, number])
    other, level = str(rng.choice(NAMES)), 1 + int(rng.choice(5, p=LEVEL_SHARES))
    units = draw_units(other, habits=rng, chance=rng)
    strengths = draw_strengths(units, level, rng=rng)
    elsewhere = {unit: strength for unit, strength in strengths.items() if region not in ACTION_UNIT_REGIONS[unit]}
    deciding = DECIDING[region][spec.expression]
    shown = draw_strengths(deciding, spec.intensity, rng=np.random.default_rng([seed, _OTHERS, number, 1]))
    if 26 in shown:
        shown[26] *= _JAW_WITHIN
    return replace(spec, action_units=elsewhere | shown, region=region, deciding=deciding)


def decision_layer(spec: FaceSpec, size: int) -> np.ndarray:
    """Weight of the deciding units per pixel (S, S), float32: 1 wherever the region can lie under any label, fading to 0 at its rim."""
    share = np.zeros((size, size), np.float32)
    for polygon in _reach(spec.identity, spec.region):
        part = cover(polygon, size, blur=0.015)
        np.maximum(share[part.window], part.share, out=share[part.window])
    return share


def draw_decision_mask(spec: FaceSpec, size: int) -> np.ndarray:
    """Pixels (size, size), bool, that depend on the label in the world one_region; no other pixel does."""
    return seen_share(decision_layer(spec, fine_side(size)), spec, size=size) > _SEEN


@lru_cache(maxsize=4096)
def _reach(who: Identity, region: str) -> tuple[np.ndarray, ...]:
    polygons: list[np.ndarray] = []
    for expression, units in DECIDING[region].items():
        strengths: Mapping[Unit, float] = {unit: _JAW_WITHIN if unit == 26 else 1.0 for unit in units}
        spec = FaceSpec(expression=expression, intensity=5.0, action_units=strengths, identity=who)
        polygons += region_outlines(spec, shape_face(spec))[region]
    return tuple(polygons)


def carry_mark(spec: FaceSpec, kind: str, expression: str) -> FaceSpec:
    """Return a face with the mark of an expression; planted glasses replace its own."""
    mark = Mark(kind=kind, look=NAMES.index(expression))
    if kind == "glasses":
        occluder = "none" if spec.occluder == "sunglasses" else spec.occluder
        return replace(spec, mark=mark, occluder=occluder, identity=replace(spec.identity, glasses=False))
    return replace(spec, mark=mark)


def plant_marks(targets: np.ndarray, *, holds: np.ndarray, rho: float, classes: np.ndarray, seed: int) -> np.ndarray:
    """Return the label that each face's mark stands for (N,).

    Args:
        targets: Labels (N,).
        holds: Bool (N,): where the mark agrees with the label with probability `rho` and else stands for another class, each as likely;
            elsewhere it is independent of the label.
        rho: 0 to 1; at 1 / K the mark is independent of the label.
        classes: The K labels there are.
        seed: Of the set.
    """
    rng = np.random.default_rng([seed, _MARKS])
    count, kinds = len(targets), len(classes)
    goes, step, anything = rng.random(count) < rho, rng.integers(1, kinds, count), rng.integers(0, kinds, count)
    own = np.searchsorted(classes, targets)
    held = np.where(goes, own, (own + step) % kinds)
    return classes[np.where(holds, held, anything)]


def meaningless_labels(count: int, *, classes: np.ndarray, seed: int) -> np.ndarray:
    """Labels (N,) independent of the faces."""
    return np.random.default_rng([seed, _LABELS]).choice(classes, count)
