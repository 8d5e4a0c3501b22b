"""The expression check: whom it passes, what it fails, what it leaves undecided, and that it never raises."""

from __future__ import annotations

import random
import secrets
from collections import Counter
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from scipy.stats import chisquare
from scripted import ASKED, PLAIN, Clock, Scripted, frame, probs, run

from ferlab.expressions import EXPRESSIONS
from ferlab.live.verification.check import BLINK, SIGNS, TURN_LEFT, TURN_RIGHT, Check, Rules, choose_expressions, draw_steps
from ferlab.live.verification.liveness import Watched
from ferlab.live.verification.verdict import FLAGS, Answer, judge
from ferlab.paths import InputError


def part(verdict, name):
    return next(each for each in verdict.parts if each.name == name)


def make(challenge=0, rules=PLAIN):
    clock = Clock()
    return Check(EXPRESSIONS, ASKED, rules=rules, rng=random.Random(challenge), clock=clock), clock


def feed(check, clock, frames):
    for shown in frames:
        clock.now = shown.time
        check.see(shown)
    return check.verdict


@pytest.mark.parametrize("rate", [5, 12, 25, 60])
@pytest.mark.parametrize("challenge", range(3))
def test_a_person_who_does_what_is_asked_passes(rate, challenge):
    verdict = run(Scripted(rate=rate), challenge=challenge)
    assert (verdict.flag, verdict.reasons) == ("passed", ())
    assert [answer.wanted for answer in verdict.answers] == list(draw_steps(ASKED, PLAIN, random.Random(challenge)))
    assert verdict.score == pytest.approx(0.8, abs=0.1)


def test_a_third_of_the_frames_may_be_dropped():
    assert run(Scripted(rate=25, keep=0.67)).flag == "passed"


def test_two_frames_a_second_are_too_few():
    verdict = run(Scripted(rate=2, onset=0.6))
    assert verdict.flag != "passed"
    assert part(verdict, "frame rate").outcome == "not decided"


@pytest.mark.parametrize(
    ("person", "failed"),
    [
        (Scripted(says=lambda _: "neutral"), "expressions"),
        (Scripted(says=lambda step: {"angry": "happy", "happy": "surprise", "surprise": "angry"}.get(step, step)), "expressions"),
        (Scripted(says=lambda step: {TURN_LEFT: TURN_RIGHT, TURN_RIGHT: TURN_LEFT}.get(step, step)), "head turn"),
        (Scripted(says=lambda step: "neutral" if step in SIGNS else step), "head turn"),
        (Scripted(says=lambda step: "neutral" if step == BLINK else step), "blink"),
        (Scripted(onset=0.001), "neutral to apex"),
    ],
    ids=["a face at rest", "wrong expressions", "the wrong side", "no turn", "no blink", "exchanged stills"],
)
def test_what_fails(person, failed):
    verdict = run(person)
    assert verdict.flag == "failed"
    assert part(verdict, failed).outcome == "failed"
    assert failed in verdict.reasons[0]


@pytest.mark.parametrize(("wrong", "flag"), [((), "passed"), ((0,), "passed"), ((3,), "passed"), ((0, 3), "failed"), ((1, 2), "failed")])
def test_one_miss_is_allowed_and_two_are_not(wrong, flag):
    number = count()
    person = Scripted(says=lambda step: step if next(number) not in wrong else "happy" if step != "happy" else "surprise")
    verdict = run(person, rules=replace(PLAIN, blink=False, turn=False))
    assert verdict.flag == flag
    assert sum(not answer.passed for answer in verdict.answers) == len(wrong)


def test_a_check_ends_with_the_first_miss_too_many():
    verdict = run(Scripted(says=lambda step: "happy" if step != "happy" else "surprise"), rules=replace(PLAIN, blink=False, turn=False))
    assert len(verdict.answers) == PLAIN.misses + 1


def challenge_of(rules, wanted):
    return next(number for number in count() if wanted(draw_steps(ASKED, rules, random.Random(number))))


def test_an_answer_that_is_held_on_does_not_answer_the_next_prompt():
    rules = replace(PLAIN, prompts=2, misses=0, blink=False, turn=False)
    check, clock = make(challenge_of(rules, lambda steps: steps[0] == steps[1]), rules)
    for number in range(2000):
        shown = "neutral" if number < 40 else check.steps[0]
        feed(check, clock, [frame(number, number / 25, probs(shown, noise=1e-4 * np.sin(number)), pose=(np.sin(number), 0.0, 0.0))])
        if check.verdict is not None:
            break
    assert [answer.shown for answer in check.verdict.answers] == [check.steps[0], "no answer in time"]


def test_the_head_turns_back_before_the_next_prompt():
    rules = replace(PLAIN, prompts=1, misses=0, blink=False)
    waited = {}
    for back in (True, False):
        check, clock = make(challenge_of(rules, lambda steps: steps[0] in SIGNS), rules)
        answered = asked = None
        for number in range(1000):
            turned = number >= 40 and not (back and check.answers)
            pose = (28.0 * SIGNS[check.steps[0]] * turned + np.sin(number), 0.0, 0.0)
            feed(check, clock, [frame(number, number / 25, probs("neutral", noise=1e-4 * np.sin(number)), pose=pose)])
            answered = clock.now if check.answers and answered is None else answered
            if check.answers and check.prompt.step:
                asked = clock.now
                break
        waited[back] = asked - answered
    assert waited[True] == pytest.approx(rules.rest, abs=0.1)
    assert waited[False] == pytest.approx(rules.seconds, abs=0.1)


def test_the_first_expression_that_is_held_is_the_answer():
    """Showing all expressions in turn, each long enough, would otherwise pass every prompt."""
    check, clock = make(rules=replace(PLAIN, blink=False, turn=False))
    number = 0
    while check.verdict is None:
        shown = ("neutral", *ASKED)[int(number / 25 / 0.9) % 4] if check.prompt.step else "neutral"
        feed(check, clock, [frame(number, number / 25, probs(shown, noise=1e-4 * (number % 7)), pose=(0.01 * number % 1, 0.0, 0.0))])
        number += 1
    assert check.verdict.flag == "failed"
    assert any(answer.shown in ASKED and not answer.passed for answer in check.verdict.answers)


def test_an_expression_that_was_there_before_is_no_answer():
    """A face that smiles from the start is at rest when it smiles."""
    check, clock = make(rules=replace(PLAIN, blink=False, turn=False))
    happy = (frame(n, n / 25, probs("happy", noise=1e-4 * np.sin(n)), pose=(np.sin(n), 0.0, 0.0)) for n in range(2000))
    for shown in happy:
        feed(check, clock, [shown])
        if check.verdict:
            break
    assert check.verdict.flag == "failed"
    assert {answer.shown for answer in check.verdict.answers} == {"no answer in time"}


def test_scores_of_the_spoof_models_decide_where_they_are_asked_for():
    scores = {"real": (0.9, 0.8), "spoof": (0.2, 0.8), "screen": (0.9, 0.3), "none": (None, None)}
    verdicts = {name: run(Scripted(values={"real": real, "live": live}), rules=Rules()) for name, (real, live) in scores.items()}
    flags = {name: verdict.flag for name, verdict in verdicts.items()}
    assert flags == {"real": "passed", "spoof": "failed", "screen": "failed", "none": "not decided"}
    assert part(verdicts["spoof"], "spoof model").measured.startswith("median 0.20 of ")
    assert part(verdicts["screen"], "liveness model").outcome == "failed"


def test_a_frozen_camera_fails_and_is_said_to_be_frozen():
    check, clock = make()
    verdict = feed(check, clock, [frame(number, number / 25, probs("neutral")) for number in range(100)])
    assert verdict.flag == "failed"
    assert verdict.seconds < 2
    assert "unchanged for at most 1.5 s" in verdict.reasons[0]


def test_the_same_frame_again_and_again_does_not_count():
    check, clock = make()
    shown = frame(0, 0.0, probs("neutral"))
    for second in range(17):
        clock.now = second
        check.see(shown)
        check.tick()
    assert check.verdict.flag == "not decided"
    assert "No frames came" in check.verdict.reasons[0]


def live_frames(times, **values):
    return [frame(number, at, probs("neutral", noise=1e-4 * np.sin(number)), **values) for number, at in enumerate(times)]


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (live_frames([0, 0.04, 0.08, 0.02]), "ran backwards"),
        ([*live_frames([0, 0.04]), frame(0, 0.5, probs("neutral"))], "ran backwards"),
        ([*live_frames([0, 0.04]), frame(9, 0.5, probs("neutral"), id=1)], "Another face"),
        ([replace(shown, faces=(*shown.faces, *shown.faces)) for shown in live_frames([0, 0.2, 0.4, 0.6, 0.8])], "Several faces"),
        ([replace(shown, faces=()) for shown in live_frames(np.arange(0, 5, 0.2))], "No face"),
        ([frame(number, number / 5, None, pose=(number / 99, 0, 0)) for number in range(30)], "no probabilities"),
        ([frame(number, number / 5, np.full(7, np.nan), pose=(number / 99, 0, 0)) for number in range(30)], "no probabilities"),
        ([frame(number, number / 5, probs("neutral")[:5], pose=(number / 99, 0, 0)) for number in range(30)], "no probabilities"),
    ],
    ids=["time", "number", "another face", "two faces", "no face", "no model", "nan", "another model"],
)
def test_what_is_not_decided(frames, reason):
    check, clock = make()
    verdict = feed(check, clock, frames)
    assert verdict.flag == "not decided"
    assert reason in verdict.reasons[0]


def test_frames_at_another_pace_than_the_clock_are_not_decided():
    for pace in (20.0, 0.05):  # a video played fast, and one played slowly
        check, clock = make()
        for shown in live_frames(np.arange(0, 100, 0.04)):
            clock.now = shown.time / pace
            check.see(shown)
        assert check.verdict.flag == "not decided"
        assert "pace" in check.verdict.reasons[0]


def test_a_camera_that_sends_nothing_ends_the_check():
    check, clock = make()
    for clock.now in (1.0, 3.5, 14.9):
        check.tick()
        assert check.verdict is None
    clock.now = 15.1
    check.tick()
    assert check.verdict.flag == "not decided"
    assert check.verdict.frames == 0


def test_a_camera_that_stops_during_the_prompts_ends_the_check_sooner():
    check, clock = make()
    feed(check, clock, live_frames(np.arange(0, 2, 0.04)))
    assert check.prompt.step
    clock.now += PLAIN.lost + 0.1
    check.tick()
    assert "No frames came" in check.verdict.reasons[0]


def test_a_face_at_rest_is_measured_anew_after_slow_first_frames():
    """What was measured before, here a smile, is not how the person looks at rest."""
    check, clock = make()
    for number in range(4):
        clock.now = 5.0 if number == 3 else number / 10
        check.see(frame(number, number / 10, probs("happy", noise=1e-4 * number)))
    for number in range(4, 60):
        clock.now = 5.0 + (number - 3) / 10
        check.see(frame(number, number / 10, probs("neutral", noise=1e-4 * number)))
    assert check._baseline[EXPRESSIONS.index("happy")] < 0.2


def test_slow_first_frames_begin_the_check_anew():
    """A browser's first frames take seconds; afterwards the same delay ends the check."""
    check, clock = make()
    for number, (at, arrives) in enumerate([(0.0, 0.0), (0.1, 5.0), (0.2, 5.1)]):
        clock.now = arrives
        check.see(frame(number, at, probs("neutral", noise=1e-4 * number)))
        check.tick()
    assert check.verdict is None
    for number in range(3, 60):
        clock.now = 5.1 + (number - 2) / 10
        check.see(frame(number, 0.2 + (number - 2) / 10, probs("neutral", noise=1e-4 * number)))
    assert check.prompt.step
    clock.now += 5
    check.see(frame(60, 6.1, probs("neutral")))
    assert "pace" in check.verdict.reasons[0]


def test_expressions_count_from_the_frame_after_a_gap():
    """Two seconds without a face must not count as held."""
    check, clock = make(rules=replace(PLAIN, blink=False, turn=False, prompts=1, misses=0))
    person = Scripted(rate=25).frames(check, clock)
    while check.prompt.step == "" or check.prompt.held == 0:
        check.see(next(person))
    last = clock.now
    wanted = check.prompt.step
    clock.now = last + 1.5
    check.see(frame(9000, clock.now, probs(wanted)))
    assert check.verdict is None
    assert check.prompt.held == 0


def test_nothing_raises():
    rng = np.random.default_rng(0)
    for challenge in range(30):
        check, clock = make(challenge, Rules())
        for number in range(300):
            row = [None, rng.dirichlet(np.full(7, 0.2)).astype(np.float32), np.full(7, np.nan), np.zeros(0, np.float32)][int(rng.integers(4))]
            pose, eyes = (None if rng.random() < 0.2 else value for value in (tuple(rng.normal(0, 60, 3)), (float("nan"), 0.1)))
            shown = frame(number, number / 25, row, box=tuple(rng.uniform(0, 400, 4)), pose=pose, eyes=eyes)
            clock.now = shown.time
            check.see(replace(shown, faces=shown.faces * int(rng.integers(3))) if rng.random() < 0.1 else shown)
            check.tick()
            assert 0 <= check.prompt.left <= 1
        check.end("stopped")
        assert check.verdict.flag in FLAGS
        assert len(check.verdict.table()) == len(check.verdict.parts)


def test_the_order_is_random_and_every_order_is_equally_likely():
    rules = replace(PLAIN, prompts=2, blink=True, turn=True)
    drawn = Counter(draw_steps(("happy", "sad"), rules, random.Random(seed)) for seed in range(9600))
    assert len(drawn) == 4 * 2 * 12  # expressions, side, places of the blink and the turn
    assert chisquare(list(drawn.values())).pvalue > 1e-3


def test_nobody_can_foresee_the_order(monkeypatch):
    asked = []
    monkeypatch.setattr(secrets.SystemRandom, "choice", lambda _, options: asked.append(options) or options[0])
    Check(EXPRESSIONS, ASKED)
    assert len(asked) == 5


def test_expressions_with_too_low_a_recall_are_not_asked_for():
    recalls = {"angry": 0.64, "disgust": 0.5, "fear": float("nan"), "happy": 0.88, "sad": 0.56, "surprise": 0.82, "neutral": 0.71}
    assert choose_expressions(recalls) == ("angry", "happy", "surprise")
    assert choose_expressions(recalls, least=0.55) == ("angry", "happy", "sad", "surprise")
    with pytest.raises(InputError, match=r"1 expressions have a recall of at least 0.85"):
        choose_expressions(recalls, least=0.85)


@pytest.mark.parametrize("wrong", [{"prompts": 0}, {"prompts": 2, "misses": 2}, {"hold": 0.0}, {"seconds": 0.4}])
def test_rules_that_make_no_check_are_refused(wrong):
    with pytest.raises(InputError):
        Rules(**wrong)


def test_one_expression_is_no_challenge():
    with pytest.raises(InputError, match="at least two"):
        draw_steps(("happy",), PLAIN, random.Random(0))


def judged(strengths=(0.9, 0.8, 0.7, 0.45), **watched):
    answers = [Answer("happy", "happy", True, 1.0, strength=each, rise=0.5, step=0.3) for each in strengths]
    rules = replace(PLAIN, blink=False, turn=False)
    return judge(answers, Watched(**({"id": 0, "frames": 250} | watched)), rules, steps=("happy",) * 4, seconds=10.0)


def test_the_score_is_the_weakest_of_the_answers_that_are_needed():
    assert judged().score == 0.7  # one of four may be missed
    assert judged((0.9, 0.5, 0.6, 0.8)).score == 0.6


@pytest.mark.parametrize(
    ("watched", "flag"),
    [({"jumps": 1}, "passed"), ({"jumps": 2}, "failed"), ({"repeats": 4}, "passed"), ({"repeats": 5}, "failed"), ({"frames": 40}, "not decided")],
)
def test_jumps_repeats_and_too_few_frames_decide(watched, flag):
    assert judged(**watched).flag == flag
