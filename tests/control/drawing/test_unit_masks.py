from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ferlab.control import ACTION_UNITS, FaceSpec, Pose, draw_face, read, unit_masks
from ferlab.control.drawing.masks import draw_unit_masks

Builder = Callable[..., FaceSpec]
SIZE = 96


@pytest.mark.parametrize("unit", list(ACTION_UNITS), ids=str)
def test_what_a_unit_moves_lies_in_its_mask(unit: int | str, plain_spec: Builder) -> None:
    for subject in (0, 5, 9):
        spec = plain_spec(subject, {unit: 1.0})
        rest, moved = draw_face(plain_spec(subject), SIZE).image.astype(float), draw_face(spec, SIZE).image.astype(float)
        mask = draw_unit_masks(plain_spec(subject), SIZE)[unit] | draw_unit_masks(spec, SIZE)[unit]
        change = np.abs(moved - rest)
        assert change[mask].sum() > 0.6 * change.sum()
        assert change[mask].mean() > 10 * change[~mask].mean()
        assert mask.mean() < 0.15
        assert change.max() >= 25  # grey levels: seen at a glance


def test_masks_of_the_two_sides_mirror_each_other_and_add_up_to_both(plain_spec: Builder) -> None:
    masks = draw_unit_masks(plain_spec(2), SIZE)
    for unit in (12, 14):
        right, left = masks[f"{unit}R"], masks[f"{unit}L"]
        assert np.argwhere(right)[:, 1].mean() < SIZE / 2 < np.argwhere(left)[:, 1].mean()  # R is the person's own right
        assert (right & left[:, ::-1]).sum() > 0.7 * (right | left[:, ::-1]).sum()
    assert ((masks["12R"] | masks["12L"]) == masks[12]).all()


def test_inner_and_outer_brow_raiser_have_masks_of_their_own(plain_spec: Builder) -> None:
    masks = draw_unit_masks(plain_spec(2), SIZE)
    width = {unit: np.ptp(np.argwhere(masks[unit])[:, 1]) for unit in (1, 2)}
    assert width[2] > 1.2 * width[1]
    assert not (masks[1] & masks[25]).any()
    assert masks[25].sum() < masks[26].sum()  # a dropped jaw moves more than parted lips


def test_unit_masks_follow_the_pose(plain_spec: Builder) -> None:
    still, shifted = (draw_unit_masks(plain_spec(3, pose=pose), SIZE)[12] for pose in (Pose(), Pose(shift_x=0.125)))
    moved = np.zeros_like(still)
    moved[:, 6:] = still[:, :-6]
    assert (moved & shifted).sum() > 0.95 * (moved | shifted).sum()


def test_unit_masks_of_a_table_are_those_of_its_faces_and_lie_within_them() -> None:
    _, faces = read(faces=10, subjects=5, size=32, expressions=8)
    masks = unit_masks(faces, size=40)
    assert set(masks) == set(ACTION_UNITS)
    for unit, mask in masks.items():
        assert mask.shape == (10, 40, 40)
        assert mask.dtype == bool
        assert mask.any(axis=(1, 2)).all(), unit
