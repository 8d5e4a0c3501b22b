"""Interventions on control faces: one part of the face is removed or swapped, all else stays, so that what a model uses is measured, not assumed.

A part is what the action units of one region move; the planted mark is one more. Removing a part draws the face without its units; swapping draws it
with those of another expression. The effect is the drop of the explained class's logit.

References:
    Hesse, Schaub-Meyer & Roth (2023), FunnyBirds, arXiv 2308.06248: parts are removed or swapped in a drawn picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from ferlab.control import COMBINATIONS, FaceSpec
from ferlab.control.action_units import NAMES, Unit
from ferlab.control.drawing.masks import draw_mark_mask, draw_masks
from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import draw_strengths
from ferlab.control.worlds import DECIDING, carry_mark, decide_by_region
from ferlab.opencv import one_thread

PARTS: Mapping[str, tuple[Unit, ...]] = {
    "brows": (1, 2, 4),
    "eyes": (5, 6, 7),
    "nose": (9,),
    "mouth": (10, 12, 15, 16, 17, 20, 23, 24, 25, 26, "12R", "12L", "14R", "14L"),
}
AREAS: Mapping[str, tuple[str, ...]] = {"brows": ("forehead", "brows"), "eyes": ("eyes",), "nose": ("nose",), "mouth": ("mouth", "chin")}
"""Regions of the face in which each part lies."""
MARK = "mark"
NOTHING = "nothing"  # the same face under other sensor noise
SWAPS = 2  # other expressions that a part is taken from
LEVEL = 4.0  # intensity of a part that is put into a neutral face


def units_of(spec: FaceSpec, part: str) -> dict[Unit, float]:
    """Return the active action units of a part with their strengths."""
    return {unit: strength for unit, strength in spec.action_units.items() if unit in PARTS[part] and strength > 0}


def without_units(spec: FaceSpec, units: Sequence[Unit]) -> FaceSpec:
    """Return the face without some action units; all else is the same, sensor noise included."""
    return replace(spec, action_units={unit: strength for unit, strength in spec.action_units.items() if unit not in units})


def swap_part(spec: FaceSpec, part: str, expression: str) -> FaceSpec:
    """Return the face with the units that another expression always shows in a part, none if it shows none there."""
    wanted = [unit for unit in COMBINATIONS[expression].always if unit in PARTS[part]]
    wanted += [unit for pair in COMBINATIONS[expression].one_of for unit in pair[:1] if unit in PARTS[part]]
    rng = np.random.default_rng([*spec.noise_seed, NAMES.index(expression)])
    drawn = draw_strengths(wanted, spec.intensity or LEVEL, rng=rng)
    kept = {unit: strength for unit, strength in spec.action_units.items() if unit not in PARTS[part]}
    return replace(spec, action_units=kept | drawn)


def interventions_of(spec: FaceSpec, *, seed: int) -> dict[tuple[str, str], FaceSpec]:
    """Return the changed faces of one control face by (part, kind); a kind names one change of the part.

    Kinds: "remove" (of a part with active units), "swap <expression>", "unit <number>" (one unit removed), for the mark "swap <expression>", and
    (NOTHING, "noise"): the same face under other sensor noise.
    """
    rng = np.random.default_rng([seed, *spec.noise_seed])
    changed: dict[tuple[str, str], FaceSpec] = {(NOTHING, "noise"): replace(spec, noise_seed=(*spec.noise_seed, 1))}
    for part in PARTS:
        own = units_of(spec, part)
        if own:
            changed[part, "remove"] = without_units(spec, tuple(own))
            changed |= {(part, f"unit {unit}"): without_units(spec, (unit,)) for unit in own}
        others = [name for name in NAMES[:7] if name != spec.expression and set(units_of(swap_part(spec, part, name), part)) != set(own)]
        changed |= {(part, f"swap {name}"): swap_part(spec, part, name) for name in rng.permutation(others)[:SWAPS]}
    if spec.mark is not None:
        others = [name for name in NAMES[:7] if NAMES.index(name) != spec.mark.look]
        changed |= {(MARK, f"swap {name}"): carry_mark(spec, spec.mark.kind, name) for name in rng.permutation(others)[:SWAPS]}
    return changed


def region_interventions(spec: FaceSpec, *, seed: int, number: int) -> dict[tuple[str, str], FaceSpec]:
    """Likewise of a face of the world one_region: the deciding region is swapped, then all units elsewhere ("elsewhere"), then nothing."""
    rng = np.random.default_rng([seed, *spec.noise_seed])
    others = [name for name in DECIDING[spec.region] if name != spec.expression]
    changed: dict[tuple[str, str], FaceSpec] = {(NOTHING, "noise"): replace(spec, noise_seed=(*spec.noise_seed, 1))}
    for name in rng.permutation(others)[:SWAPS]:
        other = replace(spec, expression=str(name), intensity=spec.intensity or LEVEL)
        changed[spec.region, f"swap {name}"] = decide_by_region(other, spec.region, seed=seed, number=number)
    for again in range(SWAPS):
        redrawn = decide_by_region(spec, spec.region, seed=seed + 1 + again, number=number)
        elsewhere = {unit: strength for unit, strength in redrawn.action_units.items() if unit not in spec.deciding}
        own = {unit: strength for unit, strength in spec.action_units.items() if unit in spec.deciding}
        changed["elsewhere", f"swap {again}"] = replace(spec, action_units=elsewhere | own)
    return changed


def subsets_of(spec: FaceSpec) -> dict[frozenset[str], FaceSpec]:
    """Return the face with each set of its active parts kept and the others removed."""
    active = [part for part in PARTS if units_of(spec, part)]
    kept = [frozenset(chosen) for count in range(len(active) + 1) for chosen in combinations(active, count)]
    return {parts: without_units(spec, tuple(unit for part in active if part not in parts for unit in PARTS[part])) for parts in kept}


def measure_effects(logits: np.ndarray, kinds: Sequence[tuple[str, str]], *, explained_class: int) -> pd.DataFrame:
    """Measure what interventions on one face change.

    Args:
        logits: (1 + M, K), of the face as it is and then of the M changed ones.
        kinds: The (part, kind) of each change.
        explained_class: Class whose logit is followed.

    Returns:
        One row per intervention: `part`, `kind`, `effect` (drop of the logit), `drop` (of the probability) and `flip` (whether the predicted class
        changes).
    """
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    flips = logits.argmax(axis=1) != logits[0].argmax()
    own, chance = logits[:, explained_class], probs[:, explained_class]
    rows = pd.DataFrame(list(kinds), columns=["part", "kind"])
    return rows.assign(effect=own[0] - own[1:], drop=chance[0] - chance[1:], flip=flips[1:])


def draw_all(specs: Sequence[FaceSpec], *, size: int) -> np.ndarray:
    """Draw faces, uint8 (N, size, size)."""
    with one_thread():
        return np.stack([draw_image(spec, size) for spec in specs])


def part_masks(spec: FaceSpec, *, size: int) -> dict[str, np.ndarray]:
    """Return the pixels of each part, bool (size, size), and of the mark where the face carries one."""
    masks = draw_masks(spec, size)
    parts = {part: np.logical_or.reduce([masks[region] for region in regions]) for part, regions in AREAS.items()}
    return parts | ({MARK: draw_mark_mask(spec, size)} if spec.mark is not None else {})


def chimera(spec: FaceSpec, *, upper: str, lower: str) -> FaceSpec:
    """Return the face with the brows and eyes of one expression and the mouth of another; its nose is at rest."""
    rest = replace(spec, action_units={}, intensity=LEVEL, expression=upper)
    return swap_part(swap_part(swap_part(rest, "brows", upper), "eyes", upper), "mouth", lower)
