"""Alignment: eyes land where they should, turning is undone, and eyes that are none are not found."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlab.control import draw_face, read, region_masks, sample_spec
from ferlab.data.preparation.alignment import EYE_DISTANCE, EYE_HEIGHT, align, canonical_points, find_eyes, fit_similarity
from ferlab.data.preparation.detection import find_box, open_detector
from ferlab.paths import InputError

SIDES = st.integers(24, 224)


def spots(points, *, side=300, radius=9.0):
    """A dark picture with a bright Gaussian spot at each point, exact to a fraction of a pixel."""
    y, x = np.mgrid[:side, :side]
    light = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * radius**2)) for px, py in points)
    return np.rint(255 * np.minimum(light, 1)).astype(np.uint8)


def five(points):
    """Eyes and nose tip with corners of a mouth."""
    return np.vstack([points, points[:2] + np.array([0, 40])])


def spot_near(image, point, *, reach):
    """Centre of brightness within `reach` pixels of a point."""
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = np.where(np.hypot(x - point[0], y - point[1]) < reach, image.astype(float), 0)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@settings(max_examples=25, deadline=None)
@given(left=st.tuples(st.floats(80, 130), st.floats(110, 190)), right=st.tuples(st.floats(170, 220), st.floats(110, 190)), size=SIDES)
def test_eyes_land_where_they_should_to_half_a_pixel(left, right, size):
    aligned = align(spots([left, right]), np.array([left, right]), size=size)
    assert aligned.shape == (size, size)
    for wanted in canonical_points(size)[:2]:
        assert np.abs(spot_near(aligned, wanted, reach=0.18 * size) - wanted).max() < 0.5


@settings(max_examples=25, deadline=None)
@given(degrees=st.floats(-30, 30), scale=st.floats(0.6, 1.6))
def test_turning_and_scaling_the_picture_is_undone(degrees, scale):
    eyes = np.array([[120.0, 130.0], [180.0, 134.0]])
    face = spots([*eyes, (150, 175), (130, 200), (170, 200)], radius=7)
    matrix = cv2.getRotationMatrix2D((150, 150), degrees, scale)
    turned = cv2.warpAffine(face, matrix, (300, 300), borderMode=cv2.BORDER_REPLICATE)
    there = eyes @ matrix[:, :2].T + matrix[:, 2]
    as_it_was, undone = align(face, eyes, size=96), align(turned, there, size=96)
    assert np.abs(as_it_was.astype(int) - undone).max() < 16
    assert np.abs(align(turned, eyes, size=96).astype(int) - as_it_was).max() > 16 or abs(degrees) + 20 * abs(scale - 1) < 4


def test_a_face_that_lies_as_it_should_is_left_as_it_is():
    face = read(faces=1, size=96)[0][0]
    points = canonical_points(96)
    np.testing.assert_array_equal(align(face, points[:2], size=96), face)
    np.testing.assert_array_equal(align(face, five(points), size=96), face)
    colour = np.dstack([face, face // 2, 255 - face])
    np.testing.assert_array_equal(align(colour, five(points), size=96), colour)


def test_shrinking_averages_and_does_not_alias():
    stripes = np.tile(np.array([0, 255], np.uint8), (400, 200))  # one pixel wide: anything but an average shows them
    points = canonical_points(400)
    shrunk = align(stripes, points[:2], size=50)
    assert np.abs(shrunk[1:-1, 1:-1].astype(int) - 127).max() <= 1


def test_canonical_points_by_hand():
    points = canonical_points(100)
    assert (EYE_DISTANCE, EYE_HEIGHT) == (0.37, 0.38)
    np.testing.assert_allclose(points[:2], [[31, 37.5], [68, 37.5]])
    np.testing.assert_allclose(points + points[[1, 0, 2]] * [1, -1], [[99, 0]] * 3)  # mirror-symmetric about the middle
    # Eyes and nose tip of ArcFace at 112 x 112, brought to the same eyes, in hundredths of the side.
    arcface = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366]])
    matrix = fit_similarity(arcface[:2], points[:2])
    assert np.abs(arcface @ matrix[:, :2].T + matrix[:, 2] - points).max() < 0.6


@given(st.integers(2, 9), st.integers(0, 10**6))
def test_the_similarity_is_the_least_squares_one(count, seed):
    points, wanted = np.random.default_rng(seed).normal(size=(2, count, 2))
    matrix = fit_similarity(points, wanted)
    # x' = a x - b y + c, y' = b x + a y + d, solved by numpy
    x, y = points.T
    one, nil = np.ones(count), np.zeros(count)
    system = np.vstack([np.column_stack([x, -y, one, nil]), np.column_stack([y, x, nil, one])])
    a, b, c, d = np.linalg.lstsq(system, wanted.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(matrix, [[a, -b, c], [b, a, d]], atol=1e-8)
    assert np.linalg.det(matrix[:, :2]) >= 0  # never mirrored


def test_sixty_eight_points_become_three_in_the_order_of_ibug():
    points = np.zeros((68, 2))
    points[36:42] = [[30, 40], [33, 38], [37, 38], [40, 40], [37, 42], [33, 42]]
    points[42:48] = points[36:42] + np.array([30, 1])
    points[30] = (50, 60)
    face = read(faces=1, size=96)[0][0]
    np.testing.assert_array_equal(align(face, points, size=48), align(face, five(np.array([[35.0, 40], [65, 41], [50, 60]])), size=48))


def test_a_wider_mouth_does_not_change_the_alignment_and_the_nose_does():
    points = five(canonical_points(96) @ np.array([[0.9, 0.2], [-0.2, 0.9]]) + [12, -3])
    face = read(faces=1, size=96)[0][0]
    aligned = align(face, points, size=48)
    np.testing.assert_array_equal(aligned, align(face, points + np.array([[0, 0], [0, 0], [0, 0], [-8, -6], [8, -6]]), size=48))
    assert (align(face, points + np.array([[0, 0], [0, 0], [0, 9], [0, 0], [0, 0]]), size=48) != aligned).any()


@pytest.mark.parametrize(("size", "count"), [(48, 40), (96, 16)])
def test_eyes_of_control_faces_are_found_where_they_are_drawn(size, count):
    images, faces = read(faces=count, size=size)
    masks, detector = region_masks(faces, size=size)["eyes"], open_detector("haar")
    errors = []
    for image, mask in zip(images, masks, strict=True):
        found = find_box(image, detector)
        eyes = find_eyes(image, found.box) if found else None
        if eyes is None:
            continue
        y, x = np.nonzero(mask)
        left = x < x.mean()
        truth = np.array([[x[side].mean(), y[side].mean()] for side in (left, ~left)])
        errors.append(np.linalg.norm(np.array(eyes) - truth, axis=1).max() / (truth[1, 0] - truth[0, 0]))
        assert eyes[0][0] < eyes[1][0]
    assert len(errors) > 0.8 * len(images)
    assert np.quantile(errors, 0.9) < 0.125  # of the distance between the eyes


def test_found_eyes_move_with_the_picture():
    face = draw_face(sample_spec(0, 3), 96).image
    plain = find_eyes(face, (0, 0, 96, 96))
    moved = np.full((160, 200), face[0, 0], np.uint8)
    moved[40:136, 70:166] = face
    np.testing.assert_allclose(np.array(find_eyes(moved, (70, 40, 96, 96))), np.array(plain) + np.array([70, 40]))


def test_no_eyes_where_none_are_or_where_they_are_not_a_pair():
    assert find_eyes(np.full((96, 96), 128, np.uint8), (0, 0, 96, 96)) is None
    assert find_eyes(np.full((96, 96), 128, np.uint8), (0, 0, 4, 4)) is None
    assert find_eyes(np.full((96, 96), 128, np.uint8), (-90, 0, 96, 96)) is None
    face = draw_face(sample_spec(0, 3), 96).image
    assert find_eyes(face, (0, 0, 96, 96)) is not None
    one_eye = face.copy()
    one_eye[:, 48:] = int(face[:, 48:].mean())
    assert find_eyes(one_eye, (0, 0, 96, 96)) is None
    assert find_eyes(np.roll(face, 30, axis=1), (0, 0, 96, 96)) is None


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda face: align(face, np.array([(5, 5), (5, 5)]), size=48), "all lie at 5, 5"),
        (lambda face: align(face, np.array([(5, 5), (9000, 5)]), size=48), "further apart than a picture of 48 x 48"),
        (lambda face: align(face, np.zeros((5, 2)), size=48), "all lie at 0, 0"),
        (lambda face: align(face, np.zeros((49, 2)), size=48), r"got \(49, 2\)"),
        (lambda face: align(face, np.full((5, 2), np.nan), size=48), "Landmark 0"),
        (lambda face: align(face.astype(float), np.array([(5, 5), (9, 5)]), size=48), "float64"),
    ],
)
def test_wrong_input_is_told_in_one_line(call, said):
    with pytest.raises(InputError, match=said) as caught:
        call(np.zeros((48, 48), np.uint8))
    assert "\n" not in str(caught.value)
