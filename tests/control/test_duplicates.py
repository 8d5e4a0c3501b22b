from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import pandas as pd
import pytest

from ferlab.control import NEAR_KINDS, near_copy, read, region_masks
from ferlab.control.duplicates import moved_like


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return read(faces=1, subjects=1, size=48, seed=5)[0][0]


def copies(image: np.ndarray, kind: str, count: int = 40) -> list[np.ndarray]:
    return [near_copy(image, kind=kind, rng=np.random.default_rng(number)) for number in range(count)]


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel().astype(float), second.ravel().astype(float))[0, 1])


@pytest.mark.parametrize("kind", NEAR_KINDS)
def test_a_copy_keeps_shape_and_source_and_repeats_under_the_same_generator(kind: str, face: np.ndarray) -> None:
    for image in (face, np.dstack([face, face // 2, 255 - face])):
        before = image.copy()
        one, again = (near_copy(image, kind=kind, rng=np.random.default_rng(8)) for _ in range(2))
        assert one.shape == image.shape
        assert one.dtype == np.uint8
        assert (one == again).all()
        assert (image == before).all()
        assert (one == image).all() == (kind == "exact")


def test_mirrored_twice_is_the_face_itself(face: np.ndarray) -> None:
    assert (copies(face, "mirrored", 1)[0] == face[:, ::-1]).all()


def test_shifts_are_whole_pixels_up_to_two_and_never_none(face: np.ndarray) -> None:
    seen = Counter()
    for image in copies(face, "shifted", 200):
        found = [
            (right, down)
            for right in range(-2, 3)
            for down in range(-2, 3)
            if (image[2 + down : 46 + down, 2 + right : 46 + right] == face[2:46, 2:46]).all()
        ]
        assert len(found) == 1
        seen[found[0]] += 1
    assert (0, 0) not in seen
    assert len(seen) == 24


def test_a_shift_grows_with_the_picture() -> None:
    dot = np.zeros((192, 192), np.uint8)
    dot[96, 96] = 255
    reach = [np.abs(np.argwhere(image)[0] - 96).max() for image in copies(dot, "shifted")]
    assert set(reach) == {4, 8}


def test_rotations_are_one_to_five_degrees_either_way() -> None:
    bar = np.zeros((193, 193), np.uint8)
    bar[96, :] = 255
    rises = [np.argmax(image[:, 156].astype(int)) - np.argmax(image[:, 36].astype(int)) for image in copies(bar, "rotated")]
    angles = np.degrees(np.arctan(np.array(rises) / 120))
    assert np.abs(angles).max() <= 5.5
    assert np.abs(angles).min() >= 0.5
    assert min(angles) < -2
    assert max(angles) > 2


def test_brightness_changes_levels_and_keeps_the_picture(face: np.ndarray) -> None:
    for image in copies(face, "brightness"):
        assert likeness(image, face) > 0.98
        assert np.abs(image.astype(int) - face).mean() > 3


def test_jpeg_is_quality_60(face: np.ndarray) -> None:
    duplicate = copies(face, "jpeg", 1)[0]
    encoded = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    assert (duplicate == cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)).all()
    red = near_copy(np.dstack([face, face * 0, face * 0]), kind="jpeg", rng=np.random.default_rng(0))
    assert red[..., 0].mean() > 4 * red[..., 2].mean()  # RGB in, RGB out


def test_an_unknown_kind_is_refused(face: np.ndarray) -> None:
    with pytest.raises(ValueError, match="blurred"):
        near_copy(face, kind="blurred", rng=np.random.default_rng(0))


def test_planted_near_duplicates_are_of_every_kind_and_say_of_whom() -> None:
    images, faces = read(faces=240, subjects=20, size=48, near_duplicates=0.25, duplicates=0.1)
    plain, _ = read(faces=240, subjects=20, size=48)
    copied = faces["duplicate_of"] != ""
    assert copied.sum() == 84
    assert Counter(faces["duplicate_kind"][copied]) == Counter(exact=24) + Counter(dict.fromkeys(NEAR_KINDS, 10))
    place = {face_id: number for number, face_id in enumerate(faces["face_id"])}
    for number, duplicate in faces[copied].iterrows():
        original = place[duplicate["duplicate_of"]]
        assert faces["duplicate_of"][original] == ""
        assert (faces.loc[original, ["subject", "target", "intensity"]] == duplicate[["subject", "target", "intensity"]]).all()
        upright = images[number][:, ::-1] if duplicate["duplicate_kind"] == "mirrored" else images[number]
        assert likeness(upright, images[original]) > 0.5
        assert (images[number] == images[original]).all() == (duplicate["duplicate_kind"] == "exact")
    assert (images[~copied] == plain[~copied]).all()
    assert (faces["duplicate_kind"][~copied] == "").all()


def test_byte_copies_stay_where_they_were_when_near_ones_are_planted() -> None:
    with_near, without = (read(faces=120, subjects=12, size=24, duplicates=0.2, near_duplicates=share)[1] for share in (0.2, 0.0))
    exact = without["duplicate_of"] != ""
    pd.testing.assert_series_equal(with_near["duplicate_of"][exact], without["duplicate_of"][exact])


def test_masks_of_a_near_duplicate_moved_with_its_picture() -> None:
    _, faces = read(faces=240, subjects=20, size=48, near_duplicates=0.3)
    masks = region_masks(faces, size=64)["mouth"]
    place = {face_id: number for number, face_id in enumerate(faces["face_id"])}
    for kind in NEAR_KINDS:
        number = int(np.flatnonzero(faces["duplicate_kind"] == kind)[0])
        original = masks[place[faces["duplicate_of"][number]]]
        if kind == "mirrored":
            assert (masks[number] == original[:, ::-1]).all()
        elif kind in ("shifted", "rotated"):
            assert (masks[number] != original).any()
            assert (masks[number] & original).sum() > 0.4 * original.sum()
        else:
            assert (masks[number] == original).all()


def test_a_mask_moves_as_its_face_does(face: np.ndarray) -> None:
    bright = face > 120
    for kind in ("mirrored", "shifted"):
        moved = near_copy(face, kind=kind, rng=np.random.default_rng(3)) > 120
        assert (moved_like(bright, kind=kind, rng=np.random.default_rng(3)) == moved).all()
