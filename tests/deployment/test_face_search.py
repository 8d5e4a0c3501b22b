"""Pictures are read upright, faces found under the stated rule, and cut out as the models were fitted."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from ferlab.data.preparation.detection import Detections
from ferlab.deployment.face_search import drop_nested, find_faces, read_picture
from ferlab.paths import InputError

PORTRAIT = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"  # a photograph in the public domain, which comes with matplotlib


def finder(*boxes, level="as stated"):
    seen = []

    def detector(picture):
        seen.append(picture)
        return Detections(np.array(boxes, np.int64).reshape(-1, 4), None, level)

    return detector, seen


def test_the_face_of_a_portrait_is_found() -> None:
    found = find_faces(read_picture(PORTRAIT))
    ((x, y, width, height),) = found.boxes
    assert found.scores[0] > 3
    assert found.smallest == 30
    assert width == height
    assert (200 < width < 250, 230 < x + width / 2 < 300, 180 < y + height / 2 < 250) == (True, True, True)


ABOUT = (125, 75, 405, 355)  # a square about its face, whose side is 225


def group(columns, rows, *, side, size=(3000, 4000), ground=120):
    """Copies of the portrait's face, `side` pixels wide, on an even ground, and where they lie."""
    face = Image.open(PORTRAIT).convert("L").crop(ABOUT).resize((round(side * 1.24),) * 2)
    scene, places = np.full(size, ground, np.uint8), []
    for column in range(columns):
        for row in range(rows):
            x, y = 120 + column * (size[1] - 240) // columns, 120 + row * (size[0] - 240) // rows
            scene[y : y + face.height, x : x + face.width] = np.asarray(face)
            places.append((x + face.width / 2, y + face.height / 2))
    return scene, np.array(places)


def hits(boxes, places):
    """Return how many of the places lie in the middle half of a box."""
    return sum(any(max(abs(x + width / 2 - px), abs(y + height / 2 - py)) < width / 4 for x, y, width, height in boxes) for px, py in places)


@pytest.mark.parametrize("side", [65, 90, 110, 150])
def test_all_faces_of_a_group_in_twelve_megapixels_are_found(side) -> None:
    scene, places = group(5, 4, side=side)
    found = find_faces(scene)
    assert hits(found.boxes, places) >= 19  # 20 here; pictures are shrunk a little otherwise on other processors
    assert len(found.boxes) <= 21
    assert np.median(found.scores) > 2


def test_faces_that_are_too_small_are_said_not_to_have_been_looked_for() -> None:
    scene, places = group(4, 2, side=40, size=(2250, 3000))
    found = find_faces(scene)
    assert hits(found.boxes, places) == 0
    assert found.smallest == 44
    found = find_faces(scene, small=True)
    assert hits(found.boxes, places) >= 7
    assert found.smallest == 30


def test_a_small_face_beside_a_large_one_is_found_where_it_is_asked_for() -> None:
    scene, places = group(2, 2, side=70)
    scene[200:1100, 2800:3700] = np.asarray(Image.open(PORTRAIT).convert("L").crop(ABOUT).resize((900, 900)))
    assert hits(find_faces(scene, small=True).boxes, [*places[[0, 1, 3]], (3250, 650)]) == 4


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1, 3)])
def test_slivers_hold_no_face(shape) -> None:
    assert find_faces(np.zeros(shape, np.uint8)).boxes == []


def test_boxes_of_the_last_rung_are_not_believed() -> None:
    for level, count in (("as stated", 1), ("enlarged", 1), ("1 neighbour", 0), (None, 0)):
        assert len(find_faces(np.zeros((99, 99), np.uint8), finder([1, 2, 30, 30], level=level)[0]).boxes) == count


def test_a_box_inside_a_face_is_dropped_and_a_neighbour_stays() -> None:
    boxes = np.array([[0, 0, 100, 100], [40, 60, 30, 30], [0, 0, 100, 100], [90, 0, 90, 90]])
    assert drop_nested(boxes).tolist() == [0, 3]


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
        (".", r"\. is a folder; expected pictures. Name them: \./\*\.jpg"),
        (str(PORTRAIT.parent), r"Name them: .*/sample_data/\*\.jpg"),
        ("https://example.org/photo.jpg", r"https://example\.org/photo\.jpg: nothing is downloaded: save the picture first"),
        (Path("https://example.org/photo.jpg"), "nothing is downloaded"),
        ("/dev/zero", "is no plain file"),
    ],
)
def test_other_input_is_refused_in_one_line(image, said) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_picture(image)
    assert "\n" not in str(error.value)
