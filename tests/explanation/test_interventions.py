"""Interventions change one part and nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.control import read, region_masks, spec_of
from ferlab.control.truth import label_mask
from ferlab.explanation import interventions
from ferlab.explanation.interventions import PARTS, chimera, draw_all, interventions_of, measure_effects, subsets_of, units_of

SIZE = 48


@pytest.fixture(scope="module")
def faces() -> pd.DataFrame:
    table = read(faces=40, subjects=20, pictures=False, world="shortcut", seed=3)[1]
    return table[(table["intensity"] > 3) & (table["occluder"] == "none")].head(4).reset_index(drop=True)


def test_all_units_belong_to_one_part():
    from ferlab.control import ACTION_UNITS

    assert sorted(map(str, ACTION_UNITS)) == sorted(str(unit) for units in PARTS.values() for unit in units)


def test_swapping_a_part_changes_pixels_near_it_and_no_others(faces):
    """Far from the part, the picture is the same to a grey level: noise and light are those of the face."""
    for _, face in faces.iterrows():
        spec = spec_of(face)
        own = draw_all([spec], size=SIZE)[0].astype(int)
        for (part, kind), changed in interventions_of(spec, seed=0).items():
            moved = np.abs(draw_all([changed], size=SIZE)[0].astype(int) - own) > 8
            if part == "mark":
                assert moved.any()
                assert not moved[SIZE // 4 :].any()
                assert not moved[:, SIZE // 4 :].any()
            elif part == "brows":
                assert not moved[2 * SIZE // 3 :].any(), kind
            elif part == "mouth":
                assert not moved[: SIZE // 3].any(), kind


def test_removing_units_leaves_the_others_as_they_are(faces):
    spec = spec_of(faces.iloc[0])
    for (part, kind), changed in interventions_of(spec, seed=0).items():
        if kind == "remove":
            assert changed.action_units == {unit: strength for unit, strength in spec.action_units.items() if unit not in PARTS[part]}
        elif kind.startswith("unit "):
            assert len(changed.action_units) == len(spec.action_units) - 1
        assert changed.noise_seed == spec.noise_seed or part == "nothing"


def test_subsets_hold_the_face_itself_and_one_without_any_unit(faces):
    spec = spec_of(faces.iloc[0])
    active = frozenset(part for part in PARTS if units_of(spec, part))
    found = subsets_of(spec)
    assert len(found) == 2 ** len(active)
    assert found[active].action_units == spec.action_units
    assert not found[frozenset()].action_units


def test_effects_are_those_of_a_model_that_reads_one_part(faces):
    """A model that sums the brightness of the mark's corner reacts to the mark alone."""
    spec = spec_of(faces.iloc[0])

    def predict(images: np.ndarray) -> np.ndarray:
        corner = images[:, : SIZE // 6, : SIZE // 6].astype(float)
        left, right = corner[:, : SIZE // 12].mean(axis=(1, 2)), corner[:, SIZE // 12 :].mean(axis=(1, 2))
        return np.stack([left, right], axis=1)

    changed = interventions_of(spec, seed=0)
    table = measure_effects(predict(draw_all([spec, *changed.values()], size=SIZE)), list(changed), explained_class=0)
    size = table.assign(size=table["effect"].abs()).groupby("part")["size"].max()
    assert size["mark"] > 10 * size.drop(["mark", "nothing"]).max()
    assert {"effect", "drop", "flip", "part", "kind"} == set(table.columns)


def test_the_deciding_region_is_swapped_within_its_mask():
    table = read(faces=12, subjects=12, pictures=False, world="one_region", region="mouth", seed=1)[1].head(3)
    masks = label_mask(table, size=SIZE)
    for place, (_, face) in enumerate(table.iterrows()):
        spec = spec_of(face)
        own = draw_all([spec], size=SIZE)[0]
        changed = interventions.region_interventions(spec, seed=1, number=int(face["source_path"].split("/")[1].split("?")[0]))
        assert {part for part, _ in changed} == {"mouth", "elsewhere", "nothing"}
        for (part, _), other in changed.items():
            moved = draw_all([other], size=SIZE)[0] != own
            if part == "mouth":
                assert not (moved & ~masks[place]).any()


def test_a_chimera_shows_one_expression_above_and_another_below(faces):
    mixed = chimera(spec_of(faces.iloc[0]), upper="angry", lower="happy")
    assert {4, 5, 7} <= set(mixed.action_units)
    assert 12 in mixed.action_units
    assert not {1, 2, 23, 15} & set(mixed.action_units)


def test_masks_of_parts_are_those_of_the_face(faces):
    truth = region_masks(faces.head(1), size=SIZE)
    found = interventions.part_masks(spec_of(faces.iloc[0]), size=SIZE)
    assert set(found) == {*PARTS, "mark"}
    assert (found["eyes"] == truth["eyes"][0]).all()
    assert (found["mouth"] == (truth["mouth"][0] | truth["chin"][0])).all()
