"""Altered copies of a face: amounts within their bounds, masks that move with the face, the same copy under the same generator."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ferlab.control import read
from ferlab.copies import DEGREES, KINDS, SHIFT, alter, move_alike


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return read(faces=1, subjects=1, size=48, seed=5)[0][0]


def copies(image: np.ndarray, kind: str, count: int = 40) -> list[np.ndarray]:
    return [alter(image, kind, np.random.default_rng(number)) for number in range(count)]


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel().astype(float), second.ravel().astype(float))[0, 1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_keeps_shape_and_source_and_repeats_under_the_same_generator(kind: str, face: np.ndarray) -> None:
    for image in (face, np.dstack([face, face // 2, 255 - face])):
        before = image.copy()
        one, again = (alter(image, kind, np.random.default_rng(8)) for _ in range(2))
        assert one.shape == image.shape
        assert one.dtype == np.uint8
        assert (one == again).all()
        assert (image == before).all()
        assert (one == image).all() == (kind == "exact")


def test_a_mirrored_copy_is_the_face_from_right_to_left(face: np.ndarray) -> None:
    assert (copies(face, "mirrored", 1)[0] == face[:, ::-1]).all()


@pytest.mark.parametrize("side", [48, 192])
def test_a_shift_reaches_two_pixels_of_48_and_grows_with_the_picture(side: int) -> None:
    ramp = np.tile(np.arange(side, dtype=np.uint8), (side, 1))
    middle = slice(side // 4, 3 * side // 4)
    shifts = [float((ramp[middle, middle].astype(float) - copy[middle, middle]).mean()) for copy in copies(ramp, "shifted", 200)]
    assert 0.8 * SHIFT * side < max(shifts) <= SHIFT * side + 0.5
    assert -SHIFT * side - 0.5 <= min(shifts) < -0.8 * SHIFT * side


def test_rotations_are_up_to_five_degrees_either_way() -> None:
    bar = np.zeros((193, 193), np.uint8)
    bar[96, :] = 255
    rises = [np.argmax(image[:, 156].astype(int)) - np.argmax(image[:, 36].astype(int)) for image in copies(bar, "rotated")]
    angles = np.degrees(np.arctan(np.array(rises) / 120))
    assert np.abs(angles).max() <= DEGREES + 0.5
    assert min(angles) < -2
    assert max(angles) > 2


def test_brightness_changes_levels_and_keeps_the_picture(face: np.ndarray) -> None:
    for image in copies(face, "brightness"):
        assert likeness(image, face) > 0.98
    assert np.mean([np.abs(image.astype(int) - face).mean() for image in copies(face, "brightness")]) > 5


def test_jpeg_is_quality_60_of_an_rgb_picture(face: np.ndarray) -> None:
    encoded = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    assert (copies(face, "jpeg", 1)[0] == cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)).all()
    red = alter(np.dstack([face, face * 0, face * 0]), "jpeg", np.random.default_rng(0))
    assert red[..., 0].mean() > 4 * red[..., 2].mean()  # RGB in, RGB out


def test_an_unknown_kind_is_refused(face: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"kind of copy .*blurred"):
        alter(face, "blurred", np.random.default_rng(0))


@pytest.mark.parametrize("kind", ["mirrored", "shifted", "rotated", "jpeg"])
def test_a_mask_moves_as_its_face_does(face: np.ndarray, kind: str) -> None:
    bright = face > 120
    moved, mask = (image for image in (alter(face, kind, np.random.default_rng(3)) > 120, move_alike(bright, kind, np.random.default_rng(3))))
    assert mask.dtype == bool
    assert (moved == mask).mean() > 0.9
    assert (moved == mask).all() or kind != "mirrored"
