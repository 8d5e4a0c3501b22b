"""Copies and synthetic faces: hand-computed, and only interpolated between two faces of one expression."""

import numpy as np
import pytest

from ferlab.control import read
from ferlab.data.preparation.resampling import copies_of, oversample, rotate
from ferlab.paths import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def faces():
    return read(faces=12, size=48)[0]


def unequal(counts, *, side=6):
    """Noise faces, `counts` of each target, each target around its own grey."""
    targets = np.repeat(np.arange(len(counts)), counts)
    return (40 * targets[:, None, None] + RNG.integers(0, 40, (len(targets), side, side))).astype(np.uint8), targets


def test_a_face_is_copied_once_per_derivation(faces):
    copies = copies_of(faces[5])
    assert list(copies) == ["mirrored", "rotated +10", "rotated -10"]
    np.testing.assert_array_equal(copies["mirrored"][:, ::-1], faces[5])
    np.testing.assert_array_equal(copies["rotated +10"], rotate(faces[5], 10))
    np.testing.assert_array_equal(copies["rotated -10"], rotate(faces[5], -10))


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


def test_a_colour_face_is_copied_channel_by_channel(faces):
    colour = np.stack([faces[0], faces[0] // 2, 255 - faces[0]], axis=-1)
    for name, copy in copies_of(colour).items():
        np.testing.assert_array_equal(copy[..., 0], copies_of(faces[0])[name])


@pytest.mark.parametrize("method", ["smote", "adasyn"])
def test_every_expression_reaches_the_commonest(method):
    images, targets = unequal([60, 9, 30])
    images[60:69] = images[:9] + RNG.integers(0, 9, (9, 6, 6), dtype=np.uint8)  # the rare ones lie among the common: work for ADASYN
    images[69:] = images[9:39] + RNG.integers(0, 9, (30, 6, 6), dtype=np.uint8)
    made, labels = oversample(images, targets, method=method, seed=0)
    counts = np.bincount(targets, minlength=3) + np.bincount(labels, minlength=3)
    assert (made.dtype, made.shape[1:]) == (np.uint8, (6, 6))
    assert counts[0] == 60
    assert (counts == 60).all() if method == "smote" else (np.abs(counts - 60) <= 12).all()


@pytest.mark.parametrize("method", ["smote", "adasyn"])
def test_a_synthetic_face_lies_between_two_faces_of_its_expression(method):
    images, targets = unequal([30, 8], side=4)
    images[30:] = images[:8] + RNG.integers(0, 30, (8, 4, 4), dtype=np.uint8)
    made, _ = oversample(images, targets, method=method, seed=1)
    own = images[targets == 1].reshape(8, -1).astype(float)
    for face in made.reshape(len(made), -1).astype(float):
        distances = []
        for one in own:
            lines = own - one
            share = np.clip(((face - one) * lines).sum(1) / np.maximum((lines**2).sum(1), 1e-9), 0, 1)
            distances.append(np.abs(one + share[:, None] * lines - face).max(axis=1).min())
        assert min(distances) <= 1.0  # the rounding to whole grey levels, and no wrap of uint8


def test_the_same_seed_gives_the_same_faces_and_another_does_not():
    images, targets = unequal([40, 10])
    one, again, other = (oversample(images, targets, method="smote", seed=seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_colour_faces_keep_their_shape():
    images, targets = unequal([20, 8])
    colour = np.stack([images, 255 - images, images // 2], axis=-1)
    made, _ = oversample(colour, targets, method="smote", seed=0)
    assert made.shape == (12, 6, 6, 3)
    assert np.abs(made[..., 0].astype(int) + made[..., 1] - 255).max() <= 1  # interpolated together


@pytest.mark.parametrize(
    ("counts", "options", "said"),
    [
        ([20, 5], {"method": "smote"}, "smote: disgust has 5 faces in train; expected more than the 5 neighbours"),
        ([20, 3], {"method": "adasyn"}, "adasyn: disgust has 3 faces in train"),
        ([20], {"method": "smote"}, "at least two expressions, got 1"),
        ([20, 8], {"method": "adasyn"}, "use smote"),  # 40 grey levels apart: no neighbour is of the other
        ([20, 5], {"method": "smote"}, "or exclude that expression by `labels: {disgust: null}`"),
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
