"""Ground truth of a table of control faces: each face's spec and masks, drawn again from its row at any size.

`source_path` and `subject` give the spec, `shortcut` the planted mark, `duplicate_kind` the kind of a near-duplicate, whose masks are moved as
its picture was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferlab.control.action_units import ACTION_UNITS, REGIONS, Unit, regions_of
from ferlab.control.drawing.masks import draw_mark_mask, draw_masks, draw_unit_masks
from ferlab.control.recipe import compose, parse_recipe
from ferlab.control.source import copy_rng
from ferlab.control.specs import FaceSpec
from ferlab.control.worlds import draw_decision_mask
from ferlab.copies import move_alike
from ferlab.opencv import one_thread
from ferlab.paths import InputError

Masks = Mapping[Any, np.ndarray]


def spec_of(face: pd.Series) -> FaceSpec:
    """The spec of one row of a control face table; of a copy, that of its original."""
    path, _, query = str(face["source_path"]).partition("?")
    seed, _, index = path.partition("/")
    subject = str(face["subject"])
    if not (seed.isdigit() and index.isdigit() and subject[1:].isdigit()):
        raise InputError(
            f"{face['face_id']}: expected source_path 'seed/index' and subject 's0001' of a control face, "
            f"got {face['source_path']!r} and {subject!r}; only faces drawn by ferlab.control have masks"
        )
    try:
        recipe = parse_recipe(query)
    except ValueError as error:
        raise InputError(f"{face['face_id']}: source_path {face['source_path']!r} is no control face's ({error}); draw the set again") from error
    return compose(recipe, seed=int(seed), index=int(index), subject=int(subject[1:]), mark=str(face.get("shortcut", "")))


def region_masks(faces: pd.DataFrame, *, size: int) -> dict[str, np.ndarray]:
    """Masks of the faces of a table: per region, and for "face" and "occluder", bool (N, S, S).

    Regions may overlap, and are marked whether or not something covers them.
    """
    return _draw_all(faces, (*REGIONS, "face", "occluder"), draw_masks, size=size)


def unit_masks(faces: pd.DataFrame, *, size: int) -> dict[Unit, np.ndarray]:
    """Masks of each action unit, active or not, in the faces of a table: per unit bool (N, S, S).

    The sides of one-sided units in a mirrored duplicate are those of its picture.
    """
    return _draw_all(faces, tuple(ACTION_UNITS), draw_unit_masks, size=size)


def shortcut_mask(faces: pd.DataFrame, *, size: int) -> np.ndarray:
    """Pixels of each face's planted mark, bool (N, S, S); none where it carries none, all where it is the brightness."""
    return _draw_one(faces, draw_mark_mask, size=size)


def carrying_mask(faces: pd.DataFrame, *, size: int, visible_only: bool = False) -> np.ndarray:
    """Ground-truth pixels of the expression, bool (N, S, S): the union of the regions of the active action units.

    None of a neutral face; in the world one_region the deciding region, of neutral faces too. `visible_only` excludes what an occluder covers.
    """
    masks = region_masks(faces, size=size)
    carried = np.zeros((len(faces), size, size), bool)
    specs = [spec_of(face) for _, face in faces.iterrows()]
    for number, spec in enumerate(specs):
        for region in () if spec.region else regions_of(spec.action_units):
            carried[number] |= masks[region][number]
    decided = np.array([bool(spec.region) for spec in specs])
    if decided.any():
        carried[decided] = _draw_one(faces[decided], draw_decision_mask, size=size)
    return carried & ~masks["occluder"] if visible_only else carried


def label_mask(faces: pd.DataFrame, *, size: int) -> np.ndarray:
    """Ground-truth pixels of the label, bool (N, S, S): the deciding region, the mark, in null none, else the expression's."""
    world = faces["world"] if "world" in faces.columns else pd.Series("faces", index=faces.index)
    mask = np.zeros((len(faces), size, size), bool)
    for name, draw in (("shortcut", shortcut_mask), ("one_region", carrying_mask), ("faces", carrying_mask)):
        rows = (world == name).to_numpy()
        if rows.any():
            mask[rows] = draw(faces[rows], size=size)
    return mask


def _draw_all(faces: pd.DataFrame, names: Iterable[Any], draw: Callable[[FaceSpec, int], Masks], *, size: int) -> dict[Any, np.ndarray]:
    masks = {name: np.zeros((len(faces), size, size), bool) for name in names}
    with one_thread():
        for number, (_, face) in enumerate(faces.iterrows()):
            kind = face.get("duplicate_kind", "")
            for name, mask in draw(spec_of(face), size).items():
                masks[name][number] = move_alike(mask, kind, _rng_of(face)) if kind else mask
    return masks


def _draw_one(faces: pd.DataFrame, draw: Callable[[FaceSpec, int], np.ndarray], *, size: int) -> np.ndarray:
    return _draw_all(faces, ("one",), lambda spec, side: {"one": draw(spec, side)}, size=size)["one"]


def _rng_of(face: pd.Series) -> np.random.Generator:
    seed, index = str(face["source_path"]).partition("/")[0], str(face["face_id"]).rpartition("/")[2]
    return copy_rng(int(seed), int(index))
