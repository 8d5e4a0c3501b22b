"""Pictures are read upright, faces found under the stated rule, and cut out as the nets were fitted."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from ferlab.data.detection import Detections
from ferlab.deployment.face_search import SEARCHED, drop_nested, find_faces, read_picture
from ferlab.paths import InputError

PORTRAIT = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"  # a photograph in the public domain, which comes with matplotlib


def finder(*boxes, rung="as stated"):
    seen = []

    def detector(picture):
        seen.append(picture)
        return Detections(np.array(boxes, np.int64).reshape(-1, 4), None, rung)

    return detector, seen


def test_the_face_of_a_portrait_is_found() -> None:
    ((x, y, width, height),) = find_faces(read_picture(PORTRAIT))
    assert width == height
    assert (200 < width < 250, 230 < x + width / 2 < 300, 180 < y + height / 2 < 250) == (True, True, True)


def test_a_large_picture_is_searched_small_and_its_boxes_are_in_its_own_pixels() -> None:
    detector, seen = finder([10, 20, 60, 60])
    assert find_faces(np.zeros((3 * SEARCHED, 2 * SEARCHED), np.uint8), detector) == [(30, 60, 180, 180)]
    assert max(seen[0].shape) == SEARCHED


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1, 3)])
def test_slivers_hold_no_face(shape) -> None:
    assert find_faces(np.zeros(shape, np.uint8)) == []


def test_boxes_of_the_last_rung_are_not_believed() -> None:
    for rung, count in (("as stated", 1), ("enlarged", 1), ("1 neighbour", 0), (None, 0)):
        assert len(find_faces(np.zeros((99, 99), np.uint8), finder([1, 2, 30, 30], rung=rung)[0])) == count


def test_a_box_inside_a_face_is_dropped_and_a_neighbour_stays() -> None:
    boxes = np.array([[0, 0, 100, 100], [40, 60, 30, 30], [0, 0, 100, 100], [90, 0, 90, 90]])
    assert drop_nested(boxes).tolist() == [[0, 0, 100, 100], [90, 0, 90, 90]]


def test_a_cameras_rotation_is_undone(tmp_path) -> None:
    upright = Image.open(PORTRAIT).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_picture(tmp_path / "turned.png"), np.asarray(upright))


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((5, 5), np.float32), r"got float32 \(5, 5\): scale to 0-255"),
        (np.zeros((5, 5, 4), np.uint8), r"got uint8 \(5, 5, 4\)"),
        (np.zeros((0, 5), np.uint8), r"got uint8 \(0, 5\)"),
        ([[1]], "got list"),
        ("nowhere.jpg", "nowhere.jpg is missing"),
        (".", "is a folder"),
    ],
)
def test_other_input_is_refused_in_one_line(image, said) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_picture(image)
    assert "\n" not in str(error.value)
