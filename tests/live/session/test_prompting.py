"""A prompted session: the order of its prompts, and which frames each prompt is scored by."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlab.expressions import ALL_EXPRESSIONS, EXPRESSIONS
from ferlab.live.frames import Frame, LiveFace, Still
from ferlab.live.session.prompting import Sitting, prompt_order
from ferlab.paths import InputError

HAPPY = np.array([0.1, 0.9], np.float32)
SAD = np.array([0.8, 0.2], np.float32)


def frame(time: float, *faces: LiveFace, total_ms: float = 0.0) -> Frame:
    return Frame(number=round(10 * time), time=time, faces=faces, search_ms=1.0, predict_ms=1.0, total_ms=total_ms, size=(640, 480))


def face(probs: np.ndarray | None = HAPPY, *, side: float = 100.0) -> LiveFace:
    return LiveFace(0, (0.0, 0.0, side, side), probs=probs)


@given(kinds=st.integers(2, 8), n=st.integers(1, 60), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=60)
def test_every_expression_is_prompted_equally_often_and_never_twice_in_succession(kinds: int, n: int, seed: int) -> None:
    order = prompt_order(ALL_EXPRESSIONS[:kinds], n, seed=seed)
    counts = Counter(order)
    assert len(order) == n
    assert {counts.get(one, 0) for one in ALL_EXPRESSIONS[:kinds]} <= {n // kinds, n // kinds + (n % kinds > 0)}
    assert all(one != other for one, other in itertools.pairwise(order))


def test_order_is_random_and_repeats_with_its_seed() -> None:
    orders = [prompt_order(EXPRESSIONS, 21, seed=seed) for seed in range(300)]
    assert orders[3] == prompt_order(EXPRESSIONS, 21, seed=3)
    assert len(set(orders)) == 300
    first = Counter(order[0] for order in orders)
    assert all(20 <= first[expression] <= 70 for expression in EXPRESSIONS)  # 300 / 7 = 43 +- 4 standard deviations


def test_number_of_prompts_is_checked() -> None:
    for n in (0, -1, 501):
        with pytest.raises(InputError, match="1 to 500 prompts"):
            prompt_order(EXPRESSIONS, n, seed=0)


def test_only_frames_of_the_window_are_averaged() -> None:
    sitting = Sitting(("happy", "sad"), lead_s=3, window_s=1)
    sitting.start(100.0)
    assert (sitting.phase, sitting.prompt) == ("prompt", "happy")
    sitting.see([frame(2.9, face(SAD))], 102.9)  # before the window
    sitting.advance(103.0)
    assert sitting.phase == "window"
    sitting.see([frame(2.95, face(SAD)), frame(3.0, face(HAPPY)), frame(3.5, face(SAD))], 103.5)  # 2.95: captured before it opened
    assert sitting.advance(103.6) is None
    sitting.see([frame(3.9, face(HAPPY)), frame(4.0, face(SAD))], 104.0)  # 4.0: after its end
    attempt = sitting.advance(104.0)
    assert (attempt.number, attempt.prompt, attempt.frames) == (1, "happy", 3)
    np.testing.assert_allclose(attempt.probs, (2 * HAPPY + SAD) / 3, rtol=1e-6)
    assert sitting.phase == "between"
    sitting.resume(105.0)
    assert (sitting.phase, sitting.prompt, sitting.ends) == ("prompt", "sad", 108.0)


def test_frames_that_take_long_are_waited_for() -> None:
    sitting = Sitting(("happy",), lead_s=1, window_s=1)
    sitting.start(0.0)
    sitting.see([frame(0.0, face(SAD), total_ms=800)], 0.8)
    sitting.advance(1.0)
    assert sitting.advance(2.1) is None  # the window is over, its frames are still being worked on
    sitting.see([frame(1.2, face(HAPPY), total_ms=800)], 2.2)
    assert sitting.advance(3.5).frames == 1


def test_a_window_without_a_face_is_no_wrong_answer_and_the_prompt_comes_again() -> None:
    sitting = Sitting(("happy", "sad"), lead_s=1, window_s=1, tries=2)
    sitting.start(0.0)
    for start in (1.0, 11.0):  # one frame of three shows a face: less than half
        sitting.advance(start)
        sitting.see([frame(start, face()), frame(start + 0.3), frame(start + 0.6)], start + 0.9)
        attempt = sitting.advance(start + 2.0)
        assert (attempt.prompt, attempt.probs) == ("happy", None)
        sitting.resume(start + 9.0)
    assert sitting.prompt == "sad"  # after two tries it goes on
    assert [attempt.number for attempt in sitting.attempts] == [1, 1]


def test_without_any_frame_the_window_ends_too() -> None:
    sitting = Sitting(("happy",), lead_s=0, window_s=1, tries=1)
    sitting.start(0.0)
    sitting.advance(0.0)
    assert sitting.advance(1.0) is None
    assert sitting.advance(2.0).probs is None
    assert sitting.phase == "done"


def test_the_largest_face_is_scored() -> None:
    sitting = Sitting(("happy",), lead_s=0, window_s=1)
    sitting.start(0.0)
    sitting.advance(0.0)
    sitting.see([frame(0.1, face(SAD, side=40), face(HAPPY, side=90), face(None, side=20))], 0.2)
    np.testing.assert_array_equal(sitting.advance(2.0).probs, HAPPY)


def test_being_ready_opens_the_window_and_stopping_ends_the_session() -> None:
    sitting = Sitting(("happy", "sad"), lead_s=30, window_s=1)
    sitting.start(0.0)
    sitting.hurry(2.0)
    assert sitting.phase == "window"
    sitting.see([frame(2.5, face())], 2.5)
    assert sitting.advance(9.0).frames == 1
    sitting.resume(9.0)
    sitting.stop()
    assert (sitting.phase, len(sitting.attempts), sitting.prompt) == ("done", 1, "")
    sitting.hurry(10.0)
    assert sitting.phase == "done"


def test_a_camera_that_is_started_again_counts_from_its_own_zero() -> None:
    sitting = Sitting(("happy",), lead_s=0, window_s=1)
    sitting.start(0.0)
    sitting.see([frame(500.0, face(SAD))], 0.0)
    sitting.advance(0.1)
    sitting.see([frame(0.0, face(SAD))], 0.3)
    sitting.see([frame(0.2, face(HAPPY)), frame(0.4, face(HAPPY))], 0.8)
    np.testing.assert_array_equal(sitting.advance(5.0).probs, HAPPY)


def test_one_still_scores_a_prompt() -> None:
    sitting = Sitting(("happy", "sad", "happy"), lead_s=1, window_s=0, tries=1)
    picture = np.zeros((8, 8, 3), np.uint8)
    still = Still(picture, (face(HAPPY),), 0, "", "camera")
    sitting.start(0.0)
    assert sitting.see_still(still) is None  # too early: it is not this prompt's
    sitting.advance(1.0)
    attempt = sitting.see_still(still)
    assert attempt.frames == 1
    assert attempt.still is still
    sitting.resume(2.0)
    sitting.advance(3.0)
    assert sitting.see_still(Still(picture, (), None, "", "camera")).probs is None
    sitting.resume(4.0)
    sitting.advance(5.0)
    assert sitting.advance(14.0) is None
    assert sitting.advance(15.0).probs is None  # no still came
