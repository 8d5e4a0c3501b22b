"""Appearance: against OpenCV's and numpy's own, hand-computed cases, and what the models are given in training."""

import cv2
import numpy as np
import pytest
from scipy import ndimage

from ferlab.control import read
from ferlab.data.preparation import appearance
from ferlab.data.preparation.appearance import (
    clahe,
    equalise_histogram,
    gaussian_blur,
    grey_to_three,
    mean_image,
    resize,
    subtract_mean,
    to_grey,
    to_rgb,
    unit_range,
)
from ferlab.models.inputs import prepare_images
from ferlab.paths import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def faces():
    return read(faces=8, size=48)[0]


def colour(face):
    """A face in warm colours: RGB whose channels differ."""
    return np.dstack([face, (face * 0.7).astype(np.uint8), (face * 0.5).astype(np.uint8)])


def test_luma_by_hand_and_its_rounding():
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]], np.uint8)
    np.testing.assert_array_equal(to_grey(pixels), [[76, 150, 29, 18]])  # 76.2, 149.7, 29.1, 18.2


def test_grey_survives_the_way_to_rgb_and_back(faces):
    np.testing.assert_array_equal(to_grey(to_rgb(faces[0])), faces[0])
    np.testing.assert_array_equal(to_grey(faces[0]), faces[0])


def test_equalised_levels_are_spread_evenly(faces):
    ramp = np.repeat(np.arange(64, dtype=np.uint8), 8).reshape(16, 32)
    assert set(np.diff(np.unique(equalise_histogram(ramp)))) == {4, 5}  # 64 levels over 255
    for face in faces:
        spread = np.sort(equalise_histogram(face).ravel()) / 255
        assert np.abs(spread - np.linspace(0, 1, spread.size)).max() < 0.15


def test_equalising_depends_on_the_order_of_levels_alone(faces):
    darker = (faces[0].astype(float) * 0.5 + 10).astype(np.uint8)
    twice = darker * np.uint8(2)
    np.testing.assert_array_equal(equalise_histogram(darker), equalise_histogram(twice))


def test_of_rgb_the_luma_is_equalised_and_the_hue_stays(faces):
    picture = colour(faces[1] // 2 + 60)
    for change in (equalise_histogram, clahe):
        changed = change(picture)
        assert changed.shape == picture.shape
        assert np.abs(to_grey(changed).astype(int) - change(to_grey(picture)))[2:-2, 2:-2].mean() < 6
        unclipped = (changed > 0).all(axis=2) & (changed < 255).all(axis=2)
        before, after = (np.diff(x.astype(int), axis=2)[unclipped] for x in (picture, changed))
        assert np.abs(before - after).max() <= 3  # differences between channels are chroma


def test_clahe_limits_contrast(faces):
    flat = np.full((48, 48), 120, np.uint8) + RNG.integers(0, 3, (48, 48), dtype=np.uint8)
    assert np.ptp(clahe(flat)) < np.ptp(equalise_histogram(flat))
    np.testing.assert_array_equal(clahe(faces[0]), cv2.createCLAHE(2.0, (8, 8)).apply(faces[0]))


def test_the_blur_of_five_is_the_binomial_filter(faces):
    kernel = np.array([1, 4, 6, 4, 1]) / 16
    want = ndimage.convolve1d(ndimage.convolve1d(faces[0].astype(float), kernel, axis=0, mode="mirror"), kernel, axis=1, mode="mirror")
    assert np.abs(gaussian_blur(faces[0]) - want).max() <= 0.51
    assert gaussian_blur(faces[0], kernel=1).tolist() == faces[0].tolist()
    assert gaussian_blur(colour(faces[0])).shape == (48, 48, 3)


def test_shrinking_by_a_whole_ratio_is_the_mean_of_blocks():
    image = RNG.integers(0, 256, (96, 96), dtype=np.uint8)
    blocks = image.reshape(48, 2, 48, 2).mean(axis=(1, 3))
    assert np.abs(resize(image, 48) - blocks).max() <= 0.5
    assert resize(image, 96) is not image


def test_resizing_agrees_with_what_the_nets_are_given(faces):
    for size in (24, 48, 64, 197):
        given = prepare_images(faces, size=size, channels=1).numpy()[:, 0] * 255
        ours = np.stack([resize(face, size) for face in faces])
        assert np.abs(ours - given).max() <= 1.01


def test_papers_batches_agree_with_what_the_nets_are_given(faces):
    np.testing.assert_allclose(grey_to_three(faces, 197), prepare_images(faces, size=197, channels=3).numpy(), atol=2e-6)
    pictures = np.stack([colour(face) for face in faces])
    np.testing.assert_allclose(unit_range(pictures), prepare_images(pictures, size=224, channels=3).numpy(), atol=2e-6)
    assert grey_to_three(pictures[:2], 224).shape == unit_range(faces[:2]).shape == (2, 3, 224, 224)
    three = grey_to_three(faces, 197)
    assert three.dtype == unit_range(pictures).dtype == np.float32
    np.testing.assert_array_equal(three[:, 0], three[:, 2])


def test_the_mean_image_is_that_of_the_training_rows_alone_whatever_the_chunks(monkeypatch, tmp_path):
    images = RNG.integers(0, 256, (50, 6, 5), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    rows = RNG.permutation(50)[:37]
    mean = mean_image(mapped, rows)
    np.testing.assert_array_equal(mean, images[rows].mean(axis=0).astype(np.float32))
    monkeypatch.setattr(appearance, "CHUNK", 4)
    np.testing.assert_array_equal(mean_image(mapped, rows[::-1]), mean)
    centred = subtract_mean(images[rows], mean)
    assert (centred.dtype, mean.dtype) == (np.float32, np.float32)
    assert np.abs(centred.mean(axis=0)).max() < 1e-4


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda face: resize(face, 0), "at least 1 pixel, got 0"),
        (lambda face: gaussian_blur(face, kernel=4), "an odd kernel"),
        (lambda face: equalise_histogram(face.astype(np.float32)), "float32"),
        (lambda face: to_rgb(face[..., None]), "got uint8"),
        (lambda face: mean_image(face[None], np.array([], int)), "at least one row"),
        (lambda face: subtract_mean(face[None], np.zeros((250, 250), np.float32)), "resize the faces first"),
    ],
)
def test_wrong_input_is_told_in_one_line(faces, call, said):
    with pytest.raises(InputError, match=said) as caught:
        call(faces[0])
    assert "\n" not in str(caught.value)
