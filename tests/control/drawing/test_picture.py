from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import ferlab
from ferlab.control import ACTION_UNIT_REGIONS, ACTION_UNITS, REGIONS, FaceSpec, Light, Pose, draw_face, sample_spec
from ferlab.control.specs import OCCLUDERS

Builder = Callable[..., FaceSpec]
SIZE = 96


@pytest.mark.parametrize("size", [24, 48, 64, 100, 224])
def test_image_and_masks_have_the_size_asked_for(size: int) -> None:
    face = draw_face(sample_spec(0, 3), size)
    assert face.image.shape == (size, size)
    assert face.image.dtype == np.uint8
    assert set(face.masks) == {*REGIONS, "face", "occluder"}
    assert all(mask.shape == (size, size) and mask.dtype == bool for mask in face.masks.values())


@pytest.mark.parametrize("unit", list(ACTION_UNITS))
def test_an_action_unit_changes_its_own_regions_most(unit: int, plain_spec: Builder) -> None:
    for subject in (0, 5, 9):
        rest, moved = draw_face(plain_spec(subject), SIZE), draw_face(plain_spec(subject, {unit: 1.0}), SIZE)
        change = np.abs(moved.image.astype(float) - rest.image.astype(float))
        own = np.any([face.masks[region] for region in ACTION_UNIT_REGIONS[unit] for face in (rest, moved)], axis=0)
        assert change[own].mean() > 4 * change[~own].mean()
        assert change[own].sum() > 0.5 * change.sum()  # a dropped jaw also stretches the outline of the cheeks


@pytest.mark.parametrize("unit", list(ACTION_UNITS))
def test_half_an_action_unit_moves_less_than_all_of_it(unit: int, plain_spec: Builder) -> None:
    rest, half, full = (draw_face(plain_spec(1, {unit: strength}), SIZE).image.astype(float) for strength in (0.0, 0.5, 1.0))
    assert 0 < np.abs(half - rest).sum() < np.abs(full - rest).sum()


def test_regions_lie_where_a_face_has_them(plain_spec: Builder) -> None:
    masks = draw_face(plain_spec(2), SIZE).masks
    height = {region: np.argwhere(masks[region])[:, 0].mean() for region in REGIONS}
    assert height["forehead"] < height["brows"] < height["eyes"] < height["nose"] < height["mouth"] < height["chin"]
    for region in ("brows", "eyes", "cheeks"):  # in pairs, left and right
        columns = np.argwhere(masks[region])[:, 1]
        assert 0.3 < (columns < SIZE / 2).mean() < 0.7
    overlap = masks["mouth"] & masks["eyes"]
    assert not overlap.any()


def test_every_region_is_found_inside_every_face() -> None:
    for index in range(60):
        masks = draw_face(sample_spec(3, index), 48).masks
        for region in REGIONS:
            assert masks[region].sum() >= 20, (index, region)
            assert not (masks[region] & ~masks["face"]).any()
        assert 0.2 < masks["face"].mean() < 0.8


def test_masks_follow_the_pose(plain_spec: Builder) -> None:
    def centre(region: str, **pose: float) -> np.ndarray:
        mask = draw_face(plain_spec(6, pose=Pose(**pose)), SIZE).masks[region]
        return np.argwhere(mask).mean(axis=0) - (SIZE - 1) / 2  # y and x from the middle of the picture

    mouth, angle = centre("mouth"), np.deg2rad(20)
    assert centre("mouth", shift_x=0.1) - mouth == pytest.approx([0, 0.05 * SIZE], abs=0.6)
    assert centre("mouth", shift_y=0.1) - mouth == pytest.approx([0.05 * SIZE, 0], abs=0.6)
    assert centre("mouth", scale=1.2) == pytest.approx(1.2 * mouth, abs=0.6)
    assert centre("mouth", roll=20) == pytest.approx([mouth[0] * np.cos(angle), -mouth[0] * np.sin(angle)], abs=0.8)
    turned = {region: centre(region, yaw=15)[1] - centre(region)[1] for region in ("nose", "brows")}
    assert turned["nose"] > turned["brows"] + 1.5  # what stands out moves further


def test_pupils_are_dark_and_within_the_eye_mask_in_any_pose(plain_spec: Builder) -> None:
    turned = (Pose(), Pose(yaw=15), Pose(yaw=-15, roll=6), Pose(pitch=8, scale=1.2, shift_x=0.05), Pose(roll=-8))
    for pose in (*turned, Pose(shift_y=0.15), Pose(shift_x=-0.15)):
        face = draw_face(plain_spec(7, {5: 1.0}, pose=pose), SIZE)
        eyes = face.masks["eyes"]
        skin = np.median(face.image[face.masks["cheeks"]])
        assert np.percentile(face.image[eyes], 5) < 0.5 * skin
        ring = face.masks["cheeks"] | face.masks["chin"] | face.masks["forehead"]
        assert np.percentile(face.image[ring & ~eyes], 5) > 0.5 * skin


def test_light_from_the_right_brightens_the_right_half(plain_spec: Builder) -> None:
    left, right = (
        draw_face(plain_spec(3, light=Light(azimuth=azimuth, elevation=20, ambient=0.4)), SIZE) for azimuth in (-50, 50)
    )
    cheek = right.masks["cheeks"] & (np.arange(SIZE) > SIZE / 2)
    assert right.image[cheek].mean() > left.image[cheek].mean() + 15


@pytest.mark.parametrize("occluder", [name for name in OCCLUDERS if name != "none"])
def test_an_occluder_changes_what_its_mask_covers(occluder: str, plain_spec: Builder) -> None:
    free, covered = draw_face(plain_spec(4), SIZE), draw_face(plain_spec(4, occluder=occluder), SIZE)
    changed = free.image != covered.image
    mask = covered.masks["occluder"]
    assert not free.masks["occluder"].any()
    assert 0.02 < mask.mean() < 0.6
    assert changed[mask].mean() > 0.8
    assert changed[~mask].mean() < 0.35  # shadows and frames reach a little further


def test_noise_and_place_of_the_occluder_come_from_the_noise_seed(plain_spec: Builder) -> None:
    spec = plain_spec(4, occluder="bar", noise=4.0)
    first, again = draw_face(spec, 48), draw_face(spec, 48)
    other = draw_face(dataclasses.replace(spec, noise_seed=(1,)), 48)
    assert (first.image == again.image).all()
    assert (first.image != other.image).mean() > 0.5


def test_drawing_is_byte_identical_in_another_process() -> None:
    program = (
        "import hashlib; from ferlab.control import draw_face, sample_spec\n"
        "print(hashlib.sha256(b''.join(draw_face(sample_spec(5, i), 48).image.tobytes() for i in (8, 3, 5))).hexdigest())"
    )
    source = Path(ferlab.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(source)}  # with what chooses a processor's code paths
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    here = hashlib.sha256(b"".join(draw_face(sample_spec(5, i), 48).image.tobytes() for i in (8, 3, 5))).hexdigest()
    assert answer.stdout.strip() == here


def test_faces_fill_the_grey_scale_without_burning_out() -> None:
    images = np.stack([draw_face(sample_spec(0, index), 48).image for index in range(60)])
    assert images.std(axis=(1, 2)).min() > 12
    assert (images == 255).mean() < 0.02
    assert (images == 0).mean() < 0.05
