from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from ferlab.data.augmentation import COLUMNS, CROP_COLUMNS, Augmentation, affine_of, augment, changed_views, draw_epoch, draw_views, epoch_seed

NAMES = COLUMNS + CROP_COLUMNS
HALF = torch.full((1, len(NAMES)), 0.5)  # the middle of every range: nothing changes, no flip


def draws_of(**values: float) -> torch.Tensor:
    row = HALF.clone()
    for name, value in values.items():
        row[0, NAMES.index(name)] = value
    return row


@pytest.fixture
def face() -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((48, 48)), 2)).float().view(1, 1, 48, 48)


def test_draws_depend_on_seed_epoch_and_face_alone() -> None:
    assert torch.equal(draw_epoch(10, seed=1, epoch=2), draw_epoch(10, seed=1, epoch=2))
    assert not torch.equal(draw_epoch(10, seed=1, epoch=2), draw_epoch(10, seed=1, epoch=3))
    assert not torch.equal(draw_epoch(10, seed=1, epoch=2), draw_epoch(10, seed=2, epoch=1))


def test_every_purpose_has_a_seed_of_its_own() -> None:
    seeds = [epoch_seed(s, e, p) for s in range(5) for e in range(20) for p in ("order", "augmentation", "dropout")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= s < 2**63 for s in seeds)


def test_zeros_change_nothing(face: torch.Tensor) -> None:
    assert torch.equal(augment(face, torch.rand(1, len(NAMES)), Augmentation()), face)
    everything = Augmentation(flip=True, rotation=10, zoom=0.1, shift=0.1, brightness=0.2, contrast=0.2)
    assert torch.allclose(augment(face, HALF, everything), face, atol=1e-5)


def test_flip_is_the_mirror_image_alone_and_with_the_others(face: torch.Tensor) -> None:
    row = draws_of(flip=0.2)
    assert torch.equal(augment(face, row, Augmentation(flip=True)), face.flip(3))
    assert torch.allclose(augment(face, row, Augmentation(flip=True, rotation=10)), face.flip(3), atol=1e-5)


def test_half_of_the_faces_are_flipped() -> None:
    draws = draw_epoch(4000, seed=0, epoch=0)
    ramp = torch.arange(48.0).expand(4000, 1, 48, 48) / 48
    flipped = augment(ramp, draws, Augmentation(flip=True))[:, 0, 0, 0] > 0.5
    assert abs(flipped.float().mean().item() - 0.5) < 0.03


def test_alternating_flip_mirrors_each_face_in_every_other_epoch() -> None:
    changes = Augmentation(flip="alternating")
    mirrored = torch.stack([draw_views(2000, changes, seed=3, epoch=epoch)[:, 0] < 0.5 for epoch in range(4)])
    assert torch.equal(mirrored[0], draw_epoch(2000, seed=3, epoch=0)[:, 0] < 0.5)
    assert abs(mirrored[0].float().mean().item() - 0.5) < 0.04
    assert all(torch.equal(mirrored[epoch], ~mirrored[epoch - 1]) for epoch in (1, 2, 3))
    ramp = torch.arange(48.0).expand(2000, 1, 48, 48) / 48
    assert torch.equal(augment(ramp, draw_views(2000, changes, seed=3, epoch=1), changes)[:, 0, 0, 0] > 0.5, mirrored[1])


def test_alternating_flip_alternates_over_the_repeats_of_an_epoch_too() -> None:
    changes = Augmentation(flip="alternating", rotation=5.0)
    places = [(epoch, repeat) for epoch in range(3) for repeat in range(3)]
    mirrored = [draw_views(50, changes, seed=1, epoch=epoch, repeat=repeat, repeats=3)[:, 0] < 0.5 for epoch, repeat in places]
    assert all(torch.equal(one, ~other) for one, other in itertools.pairwise(mirrored))


def test_alternating_flip_leaves_the_other_draws_as_they_were() -> None:
    for flip in (True, "alternating"):
        drawn = draw_views(9, Augmentation(flip=flip), seed=1, epoch=5)
        assert torch.equal(drawn[:, 1:], draw_epoch(9, seed=1, epoch=5)[:, 1:])
    assert torch.equal(draw_views(9, Augmentation(flip=True), seed=1, epoch=5), draw_epoch(9, seed=1, epoch=5))


def test_repeats_of_an_epoch_have_draws_of_their_own() -> None:
    drawn = [draw_epoch(5, seed=1, epoch=epoch, repeat=repeat) for epoch in (0, 1) for repeat in (0, 1, 2)]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(drawn, 2))


def test_shift_moves_by_a_share_of_the_side_and_repeats_the_border(face: torch.Tensor) -> None:
    # The upper end of the range takes each point from 12 pixels further right: a quarter of 48.
    out = augment(face, draws_of(shift_x=1.0), Augmentation(shift=0.25))
    assert torch.allclose(out[..., :36], face[..., 12:], atol=1e-5)
    assert torch.allclose(out[..., 36:], face[..., -1:].expand(1, 1, 48, 12), atol=1e-5)
    down = augment(face, draws_of(shift_y=0.0), Augmentation(shift=0.25))
    assert torch.allclose(down[..., 12:, :], face[..., :36, :], atol=1e-5)


@pytest.mark.parametrize(("x", "y", "left", "top"), [(0.0, 0.0, 0, 0), (1.0, 0.0, 8, 0), (0.25, 0.75, 2, 6)])
def test_a_crop_is_the_square_enlarged(face: torch.Tensor, x: float, y: float, left: int, top: int) -> None:
    square = face[..., top : top + 40, left : left + 40]
    wanted = torch.nn.functional.interpolate(square, size=(48, 48), mode="bilinear", align_corners=False)
    row, changes = draws_of(crop_x=x, crop_y=y), Augmentation(crop=40 / 48)
    assert torch.allclose(augment(face, row, changes)[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], atol=1e-5)  # its edge sees the pixels beyond
    row[0, 0] = 0.2
    mirrored = augment(face, row, Augmentation(flip=True, crop=40 / 48))
    assert torch.allclose(mirrored[..., 1:-1, 1:-1], wanted.flip(3)[..., 1:-1, 1:-1], atol=1e-5)


def test_a_crop_leaves_the_other_draws_as_they_were() -> None:
    draws = draw_epoch(3, seed=0, epoch=0)
    alone = torch.rand((3, len(COLUMNS)), generator=torch.Generator().manual_seed(epoch_seed(0, 0, "augmentation")))
    assert torch.equal(draws[:, : len(COLUMNS)], alone)


def test_rotation_by_90_degrees_is_a_transpose_and_flip(face: torch.Tensor) -> None:
    out = augment(face, draws_of(rotation=1.0), Augmentation(rotation=90))
    assert torch.allclose(out, torch.rot90(face, 1, (2, 3)), atol=1e-4) or torch.allclose(out, torch.rot90(face, -1, (2, 3)), atol=1e-4)


@pytest.mark.parametrize(("rotation", "zoom_x", "zoom_y", "shift_x", "shift_y"), [(0.9, 0.1, 0.7, 0.3, 0.8), (0.2, 1.0, 0.0, 0.5, 0.1)])
def test_resampling_is_scipys_with_kerass_order(
    face: torch.Tensor, rotation: float, zoom_x: float, zoom_y: float, shift_x: float, shift_y: float
) -> None:
    changes = Augmentation(rotation=20, zoom=0.2, shift=0.1)
    row = draws_of(rotation=rotation, zoom_x=zoom_x, zoom_y=zoom_y, shift_x=shift_x, shift_y=shift_y)
    out = augment(face, row, changes)[0, 0].numpy()
    # Keras: the output point, about the centre, is zoomed, then shifted, then turned; scipy counts (row, column).
    angle = np.deg2rad((2 * rotation - 1) * 20)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([1 + (2 * zoom_y - 1) * 0.2, 1 + (2 * zoom_x - 1) * 0.2])
    moved = turn @ (np.array([2 * shift_y - 1, 2 * shift_x - 1]) * 0.1 * 48)
    centre = np.array([23.5, 23.5])
    reference = ndimage.affine_transform(face[0, 0].numpy(), matrix, offset=centre - matrix @ centre + moved, order=1, mode="nearest")
    assert np.abs(out - reference).max() < 1e-4


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), rotation=st.floats(0, 180), zoom=st.floats(0, 0.9), shift=st.floats(0, 0.9))
def test_faces_stay_in_range_and_shape(seed: int, rotation: float, zoom: float, shift: float) -> None:
    images = torch.rand((3, 1, 16, 16), generator=torch.Generator().manual_seed(seed))
    changes = Augmentation(flip=True, rotation=rotation, zoom=zoom, shift=shift, brightness=0.5, contrast=0.9, erasing=0.5)
    out = augment(images, draw_epoch(3, seed=seed, epoch=0), changes)
    assert out.shape == images.shape
    assert out.dtype == torch.float32
    assert 0 <= out.min().item() <= out.max().item() <= 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_face_is_changed_alike_in_every_batch(seed: int) -> None:
    images = torch.rand((4, 1, 16, 16), generator=torch.Generator().manual_seed(seed))
    draws = draw_epoch(4, seed=seed, epoch=1)
    changes = Augmentation(flip=True, rotation=10, zoom=0.1, shift=0.1)
    order = torch.tensor([2, 0, 3, 1])
    whole = augment(images, draws, changes)[order]
    parts = torch.cat([augment(images[part], draws[part], changes) for part in (order[:1], order[1:])])
    assert torch.allclose(whole, parts, atol=1e-6)


def test_angles_shifts_and_zooms_fill_their_range_and_no_more() -> None:
    affine = affine_of(draw_epoch(5000, seed=0, epoch=0), Augmentation(rotation=10))
    angles = torch.rad2deg(torch.atan2(affine[:, 1, 0], affine[:, 0, 0]))
    assert angles.min().item() == pytest.approx(-10, abs=0.05)
    assert angles.max().item() == pytest.approx(10, abs=0.05)
    zooms = affine_of(draw_epoch(5000, seed=0, epoch=0), Augmentation(zoom=0.1))[:, 0, 0]
    assert zooms.min().item() == pytest.approx(0.9, abs=1e-3)
    assert zooms.max().item() == pytest.approx(1.1, abs=1e-3)


def test_brightness_and_contrast_as_by_hand() -> None:
    image = torch.tensor([0.4, 0.6]).view(1, 1, 1, 2)
    brighter = augment(image, draws_of(brightness=1.0), Augmentation(brightness=0.3))
    assert torch.allclose(brighter.flatten(), torch.tensor([0.7, 0.9]))
    steeper = augment(image, draws_of(contrast=1.0), Augmentation(contrast=0.5))
    assert torch.allclose(steeper.flatten(), torch.tensor([0.35, 0.65]))


def test_erasing_fills_a_rectangle_of_the_asked_area_with_the_mean() -> None:
    image = torch.arange(48.0).expand(1, 1, 48, 48) / 48
    aspect_1 = float(np.log(1 / 0.3) / np.log(3.3 / 0.3))
    out = augment(image, draws_of(erase=0.0, area=1.0, aspect=aspect_1), Augmentation(erasing=0.5))
    erased = (out == image.mean()) & (image != image.mean())
    assert erased[0, 0].any(dim=0).sum() == erased[0, 0].any(dim=1).sum() == 24  # a quarter of the face: half of each side
    assert torch.equal(augment(image, draws_of(erase=0.9), Augmentation(erasing=0.5)), image)


def test_views_to_look_at_are_those_of_the_epochs() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16)).astype(np.uint8)
    changes = Augmentation(flip=True, rotation=10)
    views = changed_views(images, changes, count=2, seed=5)
    second = augment(torch.from_numpy(images).float().unsqueeze(1) / 255, draw_epoch(3, seed=5, epoch=1), changes)
    assert views.dtype == np.uint8
    assert np.abs(views[1] - second[:, 0].numpy() * 255).max() <= 0.5
    assert changed_views(np.stack([images] * 3, axis=-1), changes, count=2, seed=5).shape == (2, 3, 16, 16, 3)
