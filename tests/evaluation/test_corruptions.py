"""Corruptions against scikit-image, SciPy and Pillow, and what must hold of all: monotone, seeded by face, visible and recognisable."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import convolve, zoom
from skimage.util import random_noise

from ferlab import control
from ferlab.evaluation import corruptions
from ferlab.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt, corruptions_for, rngs
from ferlab.paths import InputError

IDS = [f"control/{number}" for number in range(12)]
FLAT = np.full((1, 48, 48), 128, np.uint8)


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    return np.stack([control.draw_face(control.sample_spec(0, number), 48).image for number in range(12)])


@pytest.fixture(scope="module")
def colour() -> np.ndarray:
    return np.stack([control.draw_face(control.sample_spec(0, number), 96, colour=True).image for number in range(4)])


def change(images: np.ndarray, name: str, severity: int) -> np.ndarray:
    changed = corrupt(images, name, severity=severity, face_ids=IDS[: len(images)])
    return np.abs(changed.astype(float) - images).mean(axis=tuple(range(1, images.ndim)))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_each_severity_changes_a_face_more_than_the_one_before(name, grey, colour):
    images = colour if CORRUPTIONS[name].colour else grey
    means = [change(images, name, severity).mean() for severity in SEVERITIES]
    assert means[0] > 1, "severity 1 is visible: more than a grey level on average"
    assert np.all(np.diff(means) > 0)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if not CORRUPTIONS[name].colour])
def test_a_face_is_recognisable_at_severity_5(name, grey):
    """The coarse structure (8 x 8 means) still correlates with the face's own, and more than with other faces' on average."""

    def coarse(images: np.ndarray) -> np.ndarray:
        blocks = images.reshape(len(images), 8, 6, 8, 6).mean(axis=(2, 4)).reshape(len(images), -1)
        blocks = blocks - blocks.mean(axis=1, keepdims=True)
        return blocks / np.linalg.norm(blocks, axis=1, keepdims=True)

    likeness = coarse(grey) @ coarse(corrupt(grey, name, severity=5, face_ids=IDS)).T
    assert np.diagonal(likeness).mean() > 0.5
    assert np.diagonal(likeness).mean() > likeness[~np.eye(12, dtype=bool)].mean() + 0.02


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_what_a_face_meets_depends_on_its_id_and_not_on_its_row(name, colour):
    images, ids = np.concatenate([colour, colour[:1]]), [*IDS[:4], "control/another"]
    whole = corrupt(images, name, severity=3, face_ids=ids)
    order = np.array([2, 4, 0, 3, 1])
    np.testing.assert_array_equal(corrupt(images[order], name, severity=3, face_ids=[ids[row] for row in order]), whole[order])
    assert whole.dtype == np.uint8
    assert whole.shape == images.shape
    drawn = ("gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "fog", "spatter")
    assert np.array_equal(whole[0], whole[4]) == (name not in drawn)
    assert np.array_equal(corrupt(images, name, severity=3, face_ids=ids, seed=1), whole) == (name not in drawn)


def test_noise_is_scikit_images_under_the_generator_of_the_face(grey):
    face, level = grey[0] / np.float32(255), CORRUPTIONS["gaussian_noise"].levels[2]
    expected = random_noise(face, mode="gaussian", var=level**2, rng=next(rngs(IDS, "gaussian_noise", 0)))
    np.testing.assert_array_equal(corrupt(grey[:1], "gaussian_noise", severity=3, face_ids=IDS[:1])[0], np.rint(255 * expected))


def test_noise_grows_as_the_root_of_the_side():
    for side, factor in ((48, 1), (192, 2)):
        flat = np.full((1, side, side), 128, np.uint8)
        for name in ("gaussian_noise", "shot_noise"):
            noise = corrupt(flat, name, severity=1, face_ids=IDS[:1]).astype(float) - 128
            deviation = CORRUPTIONS[name].levels[0] * factor * (np.sqrt(128 / 255) if name == "shot_noise" else 1)
            assert noise.std() == pytest.approx(255 * deviation, rel=0.08)
    pixels = corrupt(np.full((1, 192, 192), 128, np.uint8), "impulse_noise", severity=5, face_ids=IDS[:1])
    assert np.isin(pixels, (0, 255)).mean() == pytest.approx(0.24, abs=0.02)


def test_the_pixels_of_impulse_noise_stay_hit_at_higher_severities():
    hit = [corrupt(FLAT, "impulse_noise", severity=severity, face_ids=IDS[:1]) != 128 for severity in SEVERITIES]
    assert all((less <= more).all() for less, more in pairwise(hit))


def test_defocus_is_a_convolution_with_a_disc(grey):
    radius = 2.4
    distance = np.hypot(*np.mgrid[-3:4, -3:4])
    disc = np.clip(radius + 0.5 - distance, 0, 1)
    expected = convolve(grey[0].astype(float), disc / disc.sum(), mode="nearest")
    np.testing.assert_allclose(corrupt(grey[:1], "defocus_blur", severity=5, face_ids=IDS[:1])[0], expected, atol=0.51)


def test_motion_blur_keeps_a_line_along_its_direction_and_spreads_one_across_it(monkeypatch):
    monkeypatch.setattr(corruptions, "rngs", lambda ids, name, seed: [type("Still", (), {"uniform": lambda self, low, high: 0.0})()])
    line = np.zeros((1, 48, 48), np.uint8)
    line[0, 24] = 240
    np.testing.assert_allclose(corrupt(line, "motion_blur", severity=5, face_ids=IDS[:1]), line, atol=1)
    spread = corrupt(line.transpose(0, 2, 1), "motion_blur", severity=5, face_ids=IDS[:1])[0, 10].astype(float)
    assert spread.sum() == pytest.approx(240, rel=0.03)
    assert (spread > 14).sum() in (8, 9), "as long as the blur: 8.5 pixels"


def test_zoom_blur_is_the_mean_of_magnifications(grey):
    expected = []
    for factor in np.linspace(1, 1.3, 9):
        large = zoom(grey[0].astype(float), factor, order=1, grid_mode=True, mode="nearest")
        start = [(size - 48) / 2 for size in large.shape]
        expected.append(large[round(start[0]) :, round(start[1]) :][:48, :48])
    got = corrupt(grey[:1], "zoom_blur", severity=5, face_ids=IDS[:1])[0].astype(float)
    assert np.corrcoef(got.ravel(), np.mean(expected, axis=0).ravel())[0, 1] > 0.995


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("brightness", lambda face, level: face + level),
        ("darkness", lambda face, level: face * (1 - level)),
        ("low_contrast", lambda face, level: (face - face.mean()) * level + face.mean()),
        ("high_contrast", lambda face, level: (face - face.mean()) * level + face.mean()),
        ("gamma", lambda face, level: face**level),
    ],
)
def test_light_follows_its_formula(name, expected, grey):
    got = corrupt(grey[:1], name, severity=3, face_ids=IDS[:1])[0].astype(float)
    np.testing.assert_allclose(got, 255 * np.clip(expected(grey[0] / 255, CORRUPTIONS[name].levels[2]), 0, 1), atol=0.51)


def test_jpeg_is_near_pillows_of_the_same_quality(grey):
    stored = io.BytesIO()
    Image.fromarray(grey[0]).save(stored, "JPEG", quality=24)
    got = corrupt(grey[:1], "jpeg", severity=3, face_ids=IDS[:1])[0].astype(float)
    assert np.abs(got - np.asarray(Image.open(stored))).mean() < 0.5


def test_pixels_of_a_block_have_one_tone():
    face = np.random.default_rng(0).integers(0, 256, (1, 200, 200), dtype=np.uint8)
    got = corrupt(face, "pixelate", severity=1, face_ids=IDS[:1])[0]
    small = Image.fromarray(face[0]).resize((28, 28), Image.Resampling.BOX)
    np.testing.assert_array_equal(got, np.asarray(small.resize((200, 200), Image.Resampling.NEAREST)))


def test_fog_brightens_dark_faces_and_hides_contrast():
    dark = np.tile(np.array([20, 90], np.uint8), (1, 48, 24))
    got = corrupt(dark, "fog", severity=5, face_ids=IDS[:1]).astype(float)
    assert got.mean() > dark.mean() + 60
    assert 5 < np.abs(np.diff(got, axis=2)).mean() < 35


def test_spatter_covers_the_stated_fraction():
    for severity, covered in zip(SEVERITIES, CORRUPTIONS["spatter"].levels, strict=True):
        got = corrupt(np.full((1, 96, 96), 200, np.uint8), "spatter", severity=severity, face_ids=IDS[:1])
        assert (got < 122).mean() == pytest.approx(covered, abs=0.01)


def test_desaturation_ends_at_grey_and_needs_colour(grey, colour):
    got = corrupt(colour, "desaturation", severity=5, face_ids=IDS[:4])
    assert np.ptp(got.astype(int), axis=-1).max() == 0
    assert "desaturation" not in corruptions_for(3)
    with pytest.raises(InputError, match="RGB faces"):
        corrupt(grey, "desaturation", severity=1, face_ids=IDS)


def test_errors_name_what_was_given(grey):
    with pytest.raises(InputError, match="did you mean 'jpeg'"):
        corrupt(grey, "jpg", severity=1, face_ids=IDS)
    with pytest.raises(InputError, match="severity from 1 to 5, got 6"):
        corrupt(grey, "jpeg", severity=6, face_ids=IDS)
    with pytest.raises(InputError, match="one face_id per face, got 1 for 12"):
        corrupt(grey, "jpeg", severity=1, face_ids=["a"])
    with pytest.raises(InputError, match="float64"):
        corrupt(grey / 255, "jpeg", severity=1, face_ids=IDS)
    assert corrupt(grey[:0], "fog", severity=1, face_ids=[]).shape == (0, 48, 48)
