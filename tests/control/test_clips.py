"""Drawn clips: what they show, and that their truth holds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ferlab.control.clips import Act, Person, draw_clip, draw_frame, draw_sample, write_clip
from ferlab.paths import InputError

SMILE = Act("happy", start=0.5, hold=0.4, rise=0.4)
SIZE = (160, 120)


def test_an_act_rises_is_held_and_falls_as_it_rose() -> None:
    times = (0.0, 0.5, 0.7, 0.9, 1.3, 1.5, 1.7, 2.0)
    assert [round(SMILE.level(time), 6) for time in times] == [0, 0, 0.5, 1, 1, 0.5, 0, 0]


def test_the_true_expression_is_the_acted_one_from_half_the_apex_on() -> None:
    frames = list(draw_clip([Person(1, (SMILE,))], seconds=2, fps=20, size=SIZE))
    assert len(frames) == 40
    for frame in frames:
        (face,) = frame.faces
        assert face.expression == ("happy" if face.intensity >= 2.5 else "neutral")
    shown = [frame.time for frame in frames if frame.faces[0].expression == "happy"]
    assert (shown[0], shown[-1]) == (pytest.approx(0.75, abs=0.06), pytest.approx(1.45, abs=0.06))


def test_the_same_arguments_draw_the_same_frames_and_another_seed_others() -> None:
    one, again, other = (draw_frame([Person(1, (SMILE,))], 1.0, size=SIZE, seed=seed).picture for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_a_person_comes_goes_moves_and_is_covered() -> None:
    person = Person(1, covered=(1.0, 2.0), present=(0.5, 3.0), drift=0.3)
    at = {time: draw_frame([person], time, size=SIZE) for time in (0.0, 0.6, 1.5, 2.5, 3.0)}
    assert [len(frame.faces) for frame in at.values()] == [0, 1, 1, 1, 0]
    assert [frame.faces[0].covered for frame in at.values() if frame.faces] == [False, True, False]
    assert at[0.6].faces[0].box != at[2.5].faces[0].box
    x, y, width, height = (int(value) for value in at[0.6].faces[0].box)
    assert np.abs(at[0.6].picture.astype(int) - at[0.0].picture)[y : y + height, x : x + width].mean() > 10
    outside = np.ones(SIZE[::-1], bool)
    outside[y : y + height, x : x + width] = False
    assert np.abs(at[0.6].picture.astype(int) - at[0.0].picture)[outside].mean() < 4


def test_a_face_may_leave_the_scene() -> None:
    assert draw_frame([Person(1, centre=(0.0, 1.0))], 0.0, size=SIZE).picture.shape == (120, 160, 3)
    assert draw_frame([Person(1, centre=(-3.0, 0.5)), Person(2, centre=(0.5, 9.0))], 0.0, size=SIZE).picture.shape == (120, 160, 3)


@pytest.mark.parametrize("ending", [".mp4", ".avi", ".mkv", ".webm"])
def test_a_written_clip_is_read_by_opencv(tmp_path, ending, capfd) -> None:
    frames = [frame.picture for frame in draw_clip([Person(1)], seconds=0.5, fps=10, size=SIZE)]
    assert write_clip(tmp_path / f"a{ending}", frames, fps=10) == 5
    capture = cv2.VideoCapture(str(tmp_path / f"a{ending}"), cv2.CAP_FFMPEG)
    _, first = capture.read()
    assert np.abs(first[..., ::-1].astype(int) - frames[0]).mean() < 4
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert capfd.readouterr().err == ""


def test_what_cannot_be_written_is_said_in_one_line(tmp_path) -> None:
    frame = np.zeros((24, 32, 3), np.uint8)
    for path, frames in ((tmp_path / "a.txt", [frame]), (tmp_path / "a.mp4", []), (tmp_path / "none" / "a.mp4", [frame])):
        with pytest.raises(InputError, match=r"^[^\n]+expected|^[^\n]+cannot write"):
            write_clip(path, frames)


def test_the_sample_clip_knows_the_truth_of_a_found_box(tmp_path) -> None:
    clip = draw_sample(tmp_path / "new" / "sample.mp4", fps=5)
    assert len(clip.faces) == 50
    for number, expected in ((2, ("neutral", "neutral")), (10, ("happy", "neutral")), (19, ("neutral", "surprise")), (27, ("neutral", None))):
        boxes = [(x + 0.1 * w, y + 0.1 * h, 0.8 * w, 0.8 * h) for x, y, w, h in (face.box for face in clip.faces[number])]
        assert tuple(clip.truth(number, box) for box in boxes) == expected
    assert clip.truth(0, (390.0, 290.0, 10.0, 10.0)) is None
