"""Copies and synthetic faces: hand-computed, and only ever blends of two faces of one expression."""

import numpy as np
import pytest

from ferlab.control import read
from ferlab.data.preparation.resampling import copy_faces, oversample, rotate
from ferlab.paths import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def faces():
    return read(faces=12, size=48)[0]


def unequal(counts, *, side=6):
    """Noise faces, `counts` of each target, each target around its own grey."""
    targets = np.repeat(np.arange(len(counts)), counts)
    return (40 * targets[:, None, None] + RNG.integers(0, 40, (len(targets), side, side))).astype(np.uint8), targets


def test_each_face_is_copied_once_per_derivation_and_knows_where_from(faces):
    copies = copy_faces(faces)
    assert copies.images.shape == (36, 48, 48)
    assert copies.derivations == ("mirrored",) * 12 + ("rotated +10",) * 12 + ("rotated -10",) * 12
    np.testing.assert_array_equal(copies.rows, np.tile(np.arange(12), 3))
    np.testing.assert_array_equal(copies.images[:12, :, ::-1], faces)
    np.testing.assert_array_equal(copies.images[12 + 5], rotate(faces[5], 10))


def test_a_mirrored_face_turned_one_way_is_the_face_turned_the_other_and_mirrored(faces):
    one = rotate(faces[0, :, ::-1].copy(), 10)
    assert np.abs(one[:, ::-1].astype(int) - rotate(faces[0], -10)).max() <= 3


def test_plus_is_counter_clockwise_by_a_quarter():
    face = RNG.integers(0, 256, (9, 9), dtype=np.uint8)
    np.testing.assert_array_equal(rotate(face, 90), np.rot90(face))


def test_turning_back_gives_the_face_again_and_edges_are_repeated(faces):
    back = rotate(rotate(faces[1], 10), -10)[10:-10, 10:-10].astype(int)
    assert np.abs(back - faces[1, 10:-10, 10:-10]).mean() < 8
    assert (rotate(np.full((20, 20), 77, np.uint8), 10) == 77).all()  # nothing black comes in


def test_colour_and_a_choice_of_derivations(faces):
    colour = np.stack([faces, faces // 2, 255 - faces], axis=-1)
    copies = copy_faces(colour)
    np.testing.assert_array_equal(copies.images[..., 0], copy_faces(faces).images)
    assert set(copy_faces(faces, degrees=0).derivations) == {"mirrored"}
    assert set(copy_faces(faces, mirror=False, degrees=2.5).derivations) == {"rotated +2.5", "rotated -2.5"}


@pytest.mark.parametrize("method", ["smote", "adasyn"])
def test_every_expression_reaches_the_commonest(method):
    images, targets = unequal([60, 9, 30])
    images[60:69] = images[:9] + RNG.integers(0, 9, (9, 6, 6), dtype=np.uint8)  # the rare ones lie among the common: work for ADASYN
    images[69:] = images[9:39] + RNG.integers(0, 9, (30, 6, 6), dtype=np.uint8)
    made = oversample(images, targets, method=method, seed=0)
    counts = np.bincount(targets, minlength=3) + np.bincount(made.targets, minlength=3)
    assert (made.method, made.images.dtype, made.images.shape[1:]) == (method, np.uint8, (6, 6))
    assert counts[0] == 60
    assert (counts == 60).all() if method == "smote" else (np.abs(counts - 60) <= 12).all()


@pytest.mark.parametrize("method", ["smote", "adasyn"])
def test_a_synthetic_face_lies_between_two_faces_of_its_expression(method):
    images, targets = unequal([30, 8], side=4)
    images[30:] = images[:8] + RNG.integers(0, 30, (8, 4, 4), dtype=np.uint8)
    made = oversample(images, targets, method=method, seed=1)
    own = images[targets == 1].reshape(8, -1).astype(float)
    for face in made.images.reshape(len(made.images), -1).astype(float):
        distances = []
        for one in own:
            lines = own - one
            share = np.clip(((face - one) * lines).sum(1) / np.maximum((lines**2).sum(1), 1e-9), 0, 1)
            distances.append(np.abs(one + share[:, None] * lines - face).max(axis=1).min())
        assert min(distances) <= 1.0  # the rounding to whole grey levels, and no wrap of uint8


def test_the_same_seed_gives_the_same_faces_and_another_does_not():
    images, targets = unequal([40, 10])
    one, again, other = (oversample(images, targets, method="smote", seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.images, again.images)
    assert (one.images != other.images).any()


def test_colour_faces_keep_their_shape():
    images, targets = unequal([20, 8])
    colour = np.stack([images, 255 - images, images // 2], axis=-1)
    made = oversample(colour, targets, method="smote", seed=0)
    assert made.images.shape == (12, 6, 6, 3)
    assert np.abs(made.images[..., 0].astype(int) + made.images[..., 1] - 255).max() <= 1  # blended together


@pytest.mark.parametrize(
    ("counts", "options", "said"),
    [
        ([20, 5], {"method": "smote"}, "smote: disgust has 5 faces in train; expected more than the 5 neighbours"),
        ([20, 3], {"method": "adasyn", "neighbours": 3}, "adasyn: disgust has 3 faces in train"),
        ([20], {"method": "smote"}, "at least two expressions, got 1"),
        ([20, 8], {"method": "adasyn"}, "use smote"),  # 40 grey levels apart: no neighbour is of the other
        ([20, 8], {"method": "smote", "neighbours": 0}, "or exclude that expression by `labels: {disgust: null}`"),
    ],
)
def test_what_cannot_be_oversampled_says_why_in_one_line(counts, options, said):
    images, targets = unequal(counts)
    with pytest.raises(InputError, match=said) as caught:
        oversample(images, targets, seed=0, **options)
    assert "\n" not in str(caught.value)


def test_counts_too_near_for_adasyn_are_said():
    images, targets = unequal([31, 30])
    images[31:] = images[:30]  # all alike: one face to make, shared among thirty, rounds to none
    with pytest.raises(InputError, match="No samples will be generated"):
        oversample(images, targets, method="adasyn", seed=0)


def test_an_angle_must_change_something(faces):
    for options in ({"mirror": False, "degrees": 0}, {"degrees": -1}, {"degrees": 180}):
        with pytest.raises(InputError, match="expected degrees from 0"):
            copy_faces(faces, **options)
