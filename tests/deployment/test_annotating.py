"""Annotated pictures: boxes in the expression's colour, words that can be read, and maps on their faces."""

from __future__ import annotations

import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageColor

from ferlab.colours import COLOURS, INKS
from ferlab.control.clips import write_clip
from ferlab.deployment.annotating import SMALLEST, Mark, annotate, save_clip, save_image
from ferlab.paths import InputError

PICTURE = np.full((600, 800, 3), 120, np.uint8)


def colour_at(image: Image.Image, place: tuple[int, int]) -> tuple[int, ...]:
    return image.getpixel(place)


@pytest.mark.parametrize("expression", COLOURS)
def test_a_box_has_the_expressions_colour_and_its_label_white_letters_on_its_dark_one(expression) -> None:
    image = annotate(PICTURE, [Mark((200, 150, 240, 240), expression, f"{expression} 93 %")])
    assert image.size == (800, 600)
    for place in ((200, 270), (440, 270), (320, 390)):
        assert colour_at(image, place) == ImageColor.getrgb(COLOURS[expression])
    label = np.asarray(image)[120:149, 205:250].reshape(-1, 3)
    assert (label == ImageColor.getrgb(INKS[expression])).all(axis=1).mean() > 0.3
    assert (label > 240).all(axis=1).sum() > 20
    assert (np.asarray(image)[200:380, 210:430] == 120).all()  # the face itself is left as it is


def test_an_uncertain_face_has_a_dashed_box() -> None:
    whole, dashed = (annotate(PICTURE, [Mark((200, 150, 240, 240), "sad", "sad 40 %", uncertain)]) for uncertain in (False, True))
    sides = [(np.asarray(image)[160:380, 200] == ImageColor.getrgb(COLOURS["sad"])).all(axis=1).mean() for image in (whole, dashed)]
    assert sides[0] == 1
    assert 0.3 < sides[1] < 0.7


@pytest.mark.parametrize("shape", [(48, 48), (20, 90, 3), (480, 200, 3)])
def test_a_small_picture_is_enlarged_so_that_its_words_can_be_read(shape) -> None:
    image = annotate(np.full(shape, 90, np.uint8), [Mark((0, 0, shape[1], shape[0]), "angry", "angry 53 %")])
    factor = image.width // shape[1]
    assert image.size == (shape[1] * factor, shape[0] * factor)
    assert SMALLEST <= max(image.size) < SMALLEST + max(shape[:2])
    ink = (np.asarray(image) == ImageColor.getrgb(INKS["angry"])).all(axis=2)
    assert np.flatnonzero(ink.any(axis=1)).size >= 14


def labels(marks: list[Mark]) -> dict[str, np.ndarray]:
    image = np.asarray(annotate(PICTURE, marks))
    return {mark.expression: np.argwhere((image == ImageColor.getrgb(INKS[mark.expression])).all(axis=2)) for mark in marks}


def test_labels_lie_in_the_picture_and_on_no_other_label_or_face() -> None:
    boxes = {"angry": (0, 0, 60, 60), "fear": (62, 0, 60, 60), "happy": (740, 540, 90, 90)}
    boxes |= {"surprise": (300, 200, 30, 30), "disgust": (332, 200, 30, 30)}
    found = labels([Mark(box, name, f"{name} 55 %") for name, box in boxes.items()])
    areas = {name: (*points.min(axis=0), *points.max(axis=0)) for name, points in found.items()}
    assert all(len(points) > 100 for points in found.values())
    for name, (top, left, bottom, right) in areas.items():
        assert bottom - top >= 10
        for other, (up, west, down, east) in areas.items():
            assert name == other or bottom < up or down < top or right < west or east < left
        x, y, width, height = boxes["disgust" if name == "surprise" else "surprise"]
        assert bottom <= y or top > y + height or right < x or left > x + width


def test_a_map_is_red_where_it_is_positive_blue_where_negative_and_grey_between() -> None:
    heat = np.zeros((6, 6), np.float32)
    heat[:, :2], heat[:, 4:] = 1, -1
    picture = np.full((600, 800, 3), (200, 120, 100), np.uint8)
    image = np.asarray(annotate(picture, [Mark((300, 200, 180, 180), "happy", "happy 90 %", heat=heat)], note="occlusion: red for it")).astype(int)
    left, middle, right = (image[290, x] for x in (315, 390, 465))
    assert left[0] - left[2] > 100
    assert right[2] - right[0] > 100
    assert np.ptp(middle) == 0
    assert (image[100, 100] == (200, 120, 100)).all()
    assert image.shape[0] > 600
    assert (image[600:] < 100).any()  # the note


def test_an_aligned_face_is_shown_under_its_own_map() -> None:
    seen = np.zeros((8, 8), np.uint8)
    image = np.asarray(annotate(PICTURE, [Mark((300, 200, 160, 160), "happy", "happy", heat=np.zeros((8, 8), np.float32), seen=seen)]))
    assert (image[230:330, 330:430] == 0).all()


def test_boxes_that_leave_the_picture_and_expressions_of_other_names_are_drawn() -> None:
    large = Mark((-50, -50, 900, 700), "joy", "joy 20 %", heat=np.ones((4, 4), np.float32))
    image = annotate(PICTURE, [large, Mark((790, 590, 40, 40), "ennui", "ennui 20 %")])
    assert image.size == (800, 600)


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("b/c.jpg", "JPEG")])
def test_a_copy_is_written_with_its_folder(name, kind, tmp_path) -> None:
    save_image(Image.new("RGB", (20, 10), "red"), tmp_path / name)
    with Image.open(tmp_path / name) as read:
        assert (read.format, read.size) == (kind, (20, 10))
    assert [path.name for path in (tmp_path / name).parent.iterdir()] == [(tmp_path / name).name]


@pytest.fixture
def clip(tmp_path, monkeypatch) -> Path:
    """A video of 30 frames of noise, in the folder in which the test runs."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    write_clip(tmp_path / "noise.avi", (rng.integers(0, 256, (120, 160, 3)).astype(np.uint8) for _ in range(30)), fps=10)
    return Path("noise.avi")


@pytest.mark.parametrize("rate", [0.25, 29.97, 66.123, 701.234])
def test_a_video_of_any_rate_is_written_into_a_folder_of_any_name(clip, rate) -> None:
    save_clip(clip, Path("at10:30/copy.mp4"), dict.fromkeys(range(30), ()), rate=rate)
    copy = cv2.VideoCapture(str(Path("at10:30/copy.mp4").absolute()))
    assert copy.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert copy.get(cv2.CAP_PROP_FPS) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("room", [0, 20_000])
def test_a_video_for_which_the_disk_has_no_room_is_an_error_and_leaves_nothing(clip, room) -> None:
    """A limit on the size of a file stands for the full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(InputError, match="cannot be written; see that its folder can be, and has room"):
            save_clip(clip, Path("out/copy.mp4"), dict.fromkeys(range(30), ()), rate=10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(Path("out").iterdir()) == []
