"""Signs of a live face, counted in seconds: the same at 5 and at 60 frames a second."""

from __future__ import annotations

import numpy as np
import pytest
from scripted import frame, probs

from ferlab.live.verification.liveness import Blinks, Smoothed, Turn, Watched, largest_step

REST = probs("neutral")


@pytest.mark.parametrize("rate", [10, 20, 60])
def test_the_mean_covers_63_percent_of_a_step_in_its_time_constant(rate):
    smoothed = Smoothed(0.4)
    smoothed.update(0.0, np.zeros(3))
    for number in range(1, round(0.4 * rate) + 1):
        mean = smoothed.update(number / rate, np.ones(3))
    assert mean == pytest.approx([1 - np.exp(-1)] * 3)


def test_the_mean_forgets_what_was_before_a_gap():
    smoothed = Smoothed(0.4, gap=1.0)
    smoothed.update(0.0, np.zeros(3))
    assert smoothed.update(1.5, np.ones(3)) == pytest.approx([1, 1, 1])


def blinks(openings, *, rate, pitch=lambda _: 0.0):
    found = Blinks(at_rest=0.4)
    for number, opening in enumerate(openings):
        found.update(number / rate, frame(number, number / rate, REST, eyes=(opening, opening), pose=(0.0, pitch(number), 0.0)).faces[0])
    return len(found.ended)


@pytest.mark.parametrize("rate", [5, 12, 25, 60])
def test_eyes_that_close_and_open_are_one_blink(rate):
    open_s, closed_s = [0.4] * rate, [0.1] * max(1, round(0.4 * rate))
    assert blinks([*open_s, *closed_s, *open_s], rate=rate) == 1
    assert blinks([*open_s, *closed_s, *open_s, *closed_s, *open_s], rate=rate) == 2


@pytest.mark.parametrize(
    ("openings", "why"),
    [
        ([0.4] * 25 + [0.34] * 8 + [0.4] * 25, "narrowed, as in a smile"),
        ([0.4] * 25 + [0.1] * 80 + [0.4] * 25, "closed for 3 s"),
        ([0.4] * 25 + [0.1] * 80, "never opened"),
        ([0.4] * 25 + [0.1] + [0.4] * 25, "one frame of 0.04 s, as landmarks err"),
        ([0.1] * 25 + [0.4] * 25, "never seen open before"),
    ],
)
def test_what_is_no_blink(openings, why):
    assert blinks(openings, rate=25) == 0, why


def test_a_tilted_picture_does_not_blink():
    openings = [0.4] * 25 + [0.2] * 10 + [0.4] * 25
    assert blinks(openings, rate=25) == 1
    assert blinks(openings, rate=25, pitch=lambda number: 20.0 if number > 30 else 0.0) == 0


def test_eyes_that_were_closing_before_a_prompt_do_not_answer_it():
    found = Blinks(at_rest=0.4)
    for number, opening in enumerate([0.4, 0.1]):
        found.update(number / 25, frame(number, number / 25, REST, eyes=(opening, opening)).faces[0])
    found.restart()
    assert not found.update(0.12, frame(3, 0.12, REST).faces[0])


@pytest.mark.parametrize(("yaw", "sign"), [(25.0, 1), (-25.0, -1), (8.0, 0)])
def test_a_turn_has_the_sign_of_its_yaw(yaw, sign):
    turn = Turn(from_yaw=2.0, least=15.0)
    seen = [turn.update(number / 25, frame(number, number / 25, REST, pose=(yaw + 2, 0.0, 0.0)).faces[0]) for number in range(20)]
    assert seen[-1] == sign
    assert turn.largest == pytest.approx(yaw)


def test_a_turn_that_is_not_held_is_none():
    turn = Turn(from_yaw=0.0, least=15.0)
    seen = [turn.update(number / 25, frame(number, number / 25, REST, pose=(30.0 * (number % 4 == 0), 0, 0)).faces[0]) for number in range(50)]
    assert not any(seen)


@pytest.mark.parametrize("rate", [15, 25, 60])
def test_a_ramp_has_small_steps_and_an_exchange_one_large_one(rate):
    times = [number / rate for number in range(2 * rate)]
    ramp = [0.1 + 0.8 * min(time / 0.4, 1) for time in times]
    assert largest_step(times, ramp) == pytest.approx(min(1 / (0.4 * rate), 1), abs=1e-9)
    assert largest_step(times, [0.1 if time < 0.5 else 0.9 for time in times]) == pytest.approx(1)


def test_steps_between_distant_frames_are_not_measured():
    assert largest_step([0.0, 0.2, 0.4], [0.1, 0.9, 0.9]) is None
    assert largest_step([0.0, 0.04], [0.9, 0.1]) is None


def watched(faces, *, rate=25):
    found = Watched()
    for number, values in enumerate(faces):
        found.update(frame(number, number / rate, values.pop("probs", REST), **values))
    return found


def test_a_face_that_jumps_is_counted_and_one_that_walks_is_not():
    walking = [{"box": (100.0 + 8 * number, 50.0, 180.0, 180.0)} for number in range(50)]
    assert watched(walking).jumps == 0
    trembling = [{"box": (100.0 + 40 * (number % 2), 50.0, 180.0, 180.0)} for number in range(50)]  # by 0.22 of its width: a detector, not a jump
    assert watched(trembling, rate=30).jumps == 0
    jumping = [{"box": (100.0 + 150 * (number >= 25), 50.0, 180.0, 180.0)} for number in range(50)]
    assert watched(jumping).jumps == 1
    assert watched([{"box": (100.0 + 50 * number, 50.0, 180.0, 180.0)} for number in range(10)], rate=5).jumps == 0  # the same speed, fewer frames


def test_a_picture_that_stops_is_timed():
    stopped = watched([{"pose": (0.001 * min(number, 10), 0.0, 0.0)} for number in range(60)])
    assert stopped.still_s == pytest.approx(49 / 25)
    assert watched([{"pose": (0.001 * number, 0.0, 0.0)} for number in range(60)]).still_s == 0


def test_a_loop_of_pictures_repeats_its_numbers():
    loop = watched([{"pose": (0.001 * (number % 75), 0.0, 0.0)} for number in range(150)])
    assert loop.repeats == 75
    assert watched([{"pose": (0.001 * number, 0.0, 0.0)} for number in range(150)]).repeats == 0
