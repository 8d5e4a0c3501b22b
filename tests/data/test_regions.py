"""The template covers every pixel once, finds its own drawing again, and meets control faces better once registered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlab import control
from ferlab.data import regions
from ferlab.data.regions import REGIONS, Registration, register_template, template_masks
from ferlab.explanation.control_truth import iou, true_masks


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(24, 120),
    width=st.integers(24, 120),
    shift=st.floats(-0.1, 0.1),
    scale=st.floats(0.8, 1.2),
)
def test_template_covers_every_pixel_once(height: int, width: int, shift: float, scale: float) -> None:
    masks = template_masks((height, width), Registration(shift_y=shift, shift_x=-shift, scale_y=scale, scale_x=scale))
    assert tuple(masks) == REGIONS
    assert (np.sum(list(masks.values()), axis=0) == 1).all()


def test_template_is_its_own_mirror_image_and_runs_from_brows_to_mouth() -> None:
    masks = template_masks((48, 48))
    for mask in masks.values():
        np.testing.assert_array_equal(mask, mask[:, ::-1])
    heights = [np.flatnonzero(masks[region].any(axis=1)).mean() for region in ("brows", "eyes", "nose", "mouth")]
    assert heights == sorted(heights)


@pytest.mark.parametrize(
    "placed",
    [Registration(), Registration(2 / 48, 0.0, 1.1, 0.9), Registration(-1 / 48, 0.0, 0.85, 0.8), Registration(1 / 48, -1 / 48, 1.0, 1.05)],
)
def test_registration_finds_a_moved_drawing_again(placed: Registration) -> None:
    found = register_template(100 + 50 * regions._drawn_face((48, 48), placed)[None])
    assert found.found
    assert replace(found, correlation=0.0, found=False) == replace(placed, correlation=0.0)
    assert found.correlation > 0.95


def test_flat_or_random_pictures_leave_the_template_where_it_is() -> None:
    for picture in (np.full((48, 48), 128.0), np.random.default_rng(0).normal(128, 40, (48, 48))):
        found = register_template(picture[None])
        assert not found.found
        for region, mask in template_masks((48, 48), found).items():
            np.testing.assert_array_equal(mask, template_masks((48, 48))[region])


def test_registration_brings_the_template_nearer_to_the_truth_of_control_faces() -> None:
    images, faces = control.read(faces=140, subjects=70, seed=1)
    truth = true_masks(faces, size=48)
    placed = register_template(images)
    before, after = template_masks((48, 48)), template_masks((48, 48), placed)
    gains = {region: iou(after[region], truth[region]).mean() - iou(before[region], truth[region]).mean() for region in REGIONS}
    assert placed.found
    assert min(gains.values()) > 0.02
    assert min(iou(after[region], truth[region]).mean() for region in REGIONS) > 0.4
