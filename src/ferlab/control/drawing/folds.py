"""Folds of the skin of a control face: brow and forehead lines, crow's feet, nasolabial folds, chin.

Depth is 0 to 1; `relief` presses each fold into the surface and `drawing` darkens it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ferlab.control.action_units import Unit, lopsided
from ferlab.control.identity import Identity

_U = np.linspace(0.0, 1.0, 9)
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
