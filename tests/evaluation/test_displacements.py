from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import rotate

from ferlab import control
from ferlab.evaluation.displacements import LEVELS, UNCHANGED, displace, levels_for
from ferlab.paths import InputError

IDS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.stack([control.draw_face(control.sample_spec(0, number), 48).image for number in range(4)])


def centre_of(image: np.ndarray) -> np.ndarray:
    ys, xs = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(ys * image).sum(), (xs * image).sum()]) / image.sum()


def test_a_shift_has_its_length_and_a_direction_of_the_face():
    spot = np.zeros((4, 48, 48), np.uint8)
    spot[:, 22:26, 22:26] = 200
    moved = [centre_of(image.astype(float)) - 23.5 for image in displace(spot, "shift", level=0.2, face_ids=IDS)]
    assert [np.hypot(*by) for by in moved] == pytest.approx([9.6] * 4, abs=0.1)
    directions = [np.arctan2(*by) for by in moved]
    assert np.ptp(directions) > 0.5
    half = [centre_of(image.astype(float)) - 23.5 for image in displace(spot, "shift", level=0.1, face_ids=IDS)]
    assert [np.arctan2(*by) for by in half] == pytest.approx(directions, abs=0.03)


def test_a_rotation_is_scipys_either_way(faces):
    turned = displace(faces, "rotation", level=20, face_ids=IDS)
    inner = (slice(12, 36), slice(12, 36))
    signs = []
    for face, got in zip(faces, turned, strict=True):
        errors = {sign: np.abs(rotate(face.astype(float), sign * 20, reshape=False, order=1)[inner] - got[inner]).mean() for sign in (1, -1)}
        signs.append(min(errors, key=lambda sign: errors[sign]))
        assert min(errors.values()) < 1
    assert len(displace(faces, "rotation", level=20, face_ids=[str(n) for n in range(4)])) == 4
    many = displace(np.repeat(faces[:1], 40, axis=0), "rotation", level=20, face_ids=[str(n) for n in range(40)])
    assert 8 < (many == many[0]).all(axis=(1, 2)).sum() < 32, "both signs occur"


def test_a_scale_changes_the_size_about_the_centre():
    spot = np.zeros((1, 48, 48), np.uint8)
    spot[0, 18:30, 18:30] = 200
    for level in LEVELS["scale"]:
        got = displace(spot, "scale", level=level, face_ids=IDS[:1])[0].astype(float)
        assert got.sum() / spot.sum() == pytest.approx(level**2, rel=0.08)
        assert centre_of(got) == pytest.approx([23.5, 23.5], abs=0.1)


def test_a_resolution_leaves_no_finer_detail():
    board = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (1, 24, 24))
    assert np.ptp(displace(board, "resolution", level=24, face_ids=IDS[:1])) <= 1
    coarse = np.kron(np.array([[40, 200], [200, 40]], np.uint8), np.ones((24, 24), np.uint8))[None]
    got = displace(coarse, "resolution", level=8, face_ids=IDS[:1])
    assert np.abs(got[:, 8:16, 8:16].astype(int) - 40).max() <= 12


def test_the_unchanged_level_changes_nothing(faces):
    for name, level in UNCHANGED.items():
        np.testing.assert_array_equal(displace(faces, name, level=level, face_ids=IDS), faces)


def test_resolutions_are_below_the_side():
    assert levels_for("resolution", 48) == (8, 10, 12, 16, 24, 32)
    assert levels_for("shift", 48) == LEVELS["shift"]


@pytest.mark.parametrize("name", LEVELS)
def test_rows_do_not_matter_and_colour_is_kept(name, faces):
    colour = np.repeat(faces[..., None], 3, axis=-1)
    level, order = LEVELS[name][-1] if name != "resolution" else 12, np.array([3, 1, 0, 2])
    got = displace(colour, name, level=level, face_ids=IDS)
    np.testing.assert_array_equal(displace(colour[order], name, level=level, face_ids=[IDS[row] for row in order]), got[order])
    np.testing.assert_array_equal(got[..., 0], displace(faces, name, level=level, face_ids=IDS))


def test_an_unknown_displacement_is_refused(faces):
    with pytest.raises(InputError, match="did you mean 'rotation'"):
        displace(faces, "rotations", level=1, face_ids=IDS)
