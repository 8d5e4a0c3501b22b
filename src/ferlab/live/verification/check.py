"""Expression check: prompts in random order, answered by expressions, a blink and a head turn; the result is a flag for a person to judge.

A state machine over frames and a clock. The check starts at rest, asks for one thing after another, and waits for rest in between; the first
expression that the person holds is the answer, so that nobody can pass by showing all expressions in turn.
`ferlab.live.verification.liveness` measures, this module asks and decides. It knows no picture, no widget and no browser.

References:
    Singh & Saharan (2025), FER-Sys: a check by emoji prompts with a spoof model on the live camera.
    vladmandic/human 3.3, demo/faceid: real and live scores of at least 0.6, `Rules.least_real` and `Rules.least_live`.
    ISO/IEC 30107-3 (2023): a presentation can be classified as an attack, as bona fide, or not at all (non-response).
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ferlab.expressions import CONTEMPT
from ferlab.live.frames import Frame, LiveFace
from ferlab.live.verification.liveness import Blinks, Smoothed, Turn, Watched, largest_step
from ferlab.live.verification.verdict import LATE, STILL_S, Answer, Verdict, judge
from ferlab.paths import InputError

NEUTRAL = "neutral"
EMOJI: dict[str, str] = {"angry": "😠", "disgust": "🤢", "fear": "😨", "happy": "😀", "sad": "😢", "surprise": "😮", CONTEMPT: "😏", NEUTRAL: "😐"}
BLINK, TURN_LEFT, TURN_RIGHT = "blink", "turn left", "turn right"
GAP_S = 0.5
WARM_UP_S = 12.0  # a browser's first frames take seconds: until the first prompt, late frames begin the check anew
SIGNS = {TURN_LEFT: 1, TURN_RIGHT: -1}  # of the yaw: positive to the person's own left


@dataclass(frozen=True)
class Rules:
    """What a check asks for. Times in seconds, probabilities calibrated.

    Attributes:
        prompts: Expressions asked for.
        misses: Of them, how many may be missed.
        seconds: To answer one prompt.
        rest: At rest before the first prompt and between prompts.
        hold: How long an expression must lead.
        smoothing: Time constant of the mean of the probabilities.
        least: Smoothed probability of an expression that counts as shown.
        rise: By how much it must exceed its level at rest and at the prompt.
        yaw: Degrees of a head turn, as the mesh reports it: half of the true turn (28 degrees of drawn people: 14).
        blink: Whether a blink is asked for.
        turn: Whether a head turn is asked for.
        least_real: Of the spoof model's median score; None: not asked for.
        least_live: Of the liveness model's median score; None: not asked for.
        jumps: Allowed: a detector errs once in a while.
        lost: Without a face or a frame, until the check ends undecided; also the time by which frames and clock may differ.
    """

    prompts: int = 4
    misses: int = 1
    seconds: float = 7.0
    rest: float = 0.5
    hold: float = 0.5
    smoothing: float = 0.2
    least: float = 0.4
    rise: float = 0.25
    yaw: float = 12.0
    blink: bool = True
    turn: bool = True
    least_real: float | None = 0.6
    least_live: float | None = 0.6
    jumps: int = 1
    lost: float = 3.0

    def __post_init__(self) -> None:
        if not 1 <= self.prompts <= 20 or not 0 <= self.misses < self.prompts:
            raise InputError(f"expected 1 to 20 prompts and fewer allowed misses, got {self.prompts} and {self.misses}")
        if min(self.seconds, self.rest, self.hold, self.smoothing, self.lost) <= 0 or self.seconds <= self.hold:
            raise InputError("expected times above 0 and more time for a prompt than an expression must be held")


@dataclass(frozen=True)
class Prompt:
    """What the check asks for at this moment.

    Attributes:
        step: An expression, "blink", "turn left", "turn right", or "" at rest.
        number: Of the step, from 1; of `of`.
        left: Fraction of the step's time that is left.
        held: Fraction of the hold time that the expression has led.
        ready: Whether the check waits for a face at rest before it asks on.
    """

    step: str
    number: int
    of: int
    left: float
    held: float
    ready: bool


def choose_expressions(recalls: Mapping[str, float], *, least: float = 0.6) -> tuple[str, ...]:
    """Return the expressions to ask for: all but neutral that the model recalls often enough, in their order.

    Args:
        recalls: Per expression, in [0, 1]; NaN where unknown.
        least: The lowest recall that is asked of people.

    Raises:
        InputError: If fewer than two remain: a check that asks for one expression has nothing to guess.
    """
    chosen = tuple(name for name, recall in recalls.items() if name != NEUTRAL and recall >= least)
    if len(chosen) < 2:
        shown = ", ".join(f"{name} {recall:.2f}" for name, recall in recalls.items())
        raise InputError(f"{len(chosen)} expressions have a recall of at least {least:.2f} ({shown}); expected 2 or more: lower the least recall")
    return chosen


def draw_steps(expressions: Sequence[str], rules: Rules, rng: random.Random) -> tuple[str, ...]:
    """Draw a challenge: each prompt independently of the others, so that one seen prompt tells nothing; the blink and the turn at random places."""
    if len(set(expressions)) < 2:
        raise InputError(f"expected at least two expressions to ask for, got {', '.join(expressions) or 'none'}")
    steps = [rng.choice(list(expressions)) for _ in range(rules.prompts)]
    for action in [BLINK] * rules.blink + [rng.choice((TURN_LEFT, TURN_RIGHT))] * rules.turn:
        steps.insert(rng.randrange(len(steps) + 1), action)
    return tuple(steps)


@dataclass
class _Step:
    """The step that is being answered."""

    began: float
    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)  # of the prompted expression, unsmoothed
    smoothed: list[float] = field(default_factory=list)
    leader: str = ""
    since: float = 0.0


class Check:
    """See the module. Feed `see` with frames and call `tick` now and then; read `prompt` and `verdict`.

    Attributes:
        steps: The challenge.
        answers: To the steps so far.
        verdict: None until the check has ended.
    """

    def __init__(
        self,
        expressions: Sequence[str],
        asked: Sequence[str],
        *,
        rules: Rules | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a check.

        Args:
            expressions: (K,) names, in the order of the probabilities.
            asked: Those to ask for (`choose_expressions`).
            rules: None for the defaults.
            rng: None for one that nobody can predict; tests pass a seeded one.
            clock: Seconds that run on without frames.
        """
        self.expressions, self.rules = tuple(expressions), rules or Rules()
        self.steps = draw_steps(asked, self.rules, rng or secrets.SystemRandom())
        self.answers: list[Answer] = []
        self.verdict: Verdict | None = None
        self._clock, self._arrived = clock, clock()
        self._offset: float | None = None  # of the clock against the frames' times
        self._smoothed, self._watched = Smoothed(self.rules.smoothing), Watched()
        self._now, self._began, self._face_at, self._read_at, self._resting = 0.0, 0.0, 0.0, 0.0, 0.0
        self._first, self._opened, self._number = 0.0, 0.0, -1
        self._several: float | None = None
        self._baseline: np.ndarray | None = None
        self._at_rest: list[tuple[np.ndarray, float, float]] = []  # probabilities, opening of the eyes, yaw
        self._blinks, self._yaw = Blinks(0.0), 0.0
        self._step: _Step | None = None
        self._turn: Turn | None = None

    @property
    def prompt(self) -> Prompt:
        """What the person is asked for now."""
        of, number = len(self.steps), min(len(self.answers) + 1, len(self.steps))
        if self._step is None or self.verdict is not None:
            return Prompt("", number, of, 1.0, 0.0, ready=self.verdict is None)
        left = 1 - (self._now - self._step.began) / self.rules.seconds
        wanted = self.steps[len(self.answers)]
        held = (self._now - self._step.since) / self.rules.hold if self._step.leader == wanted else 0.0
        return Prompt(wanted, number, of, float(np.clip(left, 0, 1)), float(np.clip(held, 0, 1)), ready=False)

    def see(self, frame: Frame) -> None:
        """Take in a frame."""
        if self.verdict is not None or frame.number == self._number:
            return  # a frame that came twice proves nothing, and `tick` ends a check to which nothing else comes
        if self._offset is None:
            self._opened = self._clock()
            self._offset, self._first, self._began, self._face_at, self._read_at = self._clock() - frame.time, *4 * (frame.time,)
        elif frame.time < self._now or frame.number < self._number:
            return self.end("The camera's clock ran backwards.")
        self._now, self._number, self._arrived = frame.time, frame.number, self._clock()
        if abs(self._arrived - self._offset - frame.time) > self.rules.lost:
            self._be_late(frame)
        if self.verdict is None:
            self._see_faces(frame)
        if self.verdict is None and self._step is not None and self._now - self._step.began >= self.rules.seconds:
            self._answer(LATE, passed=False)

    @property
    def started(self) -> bool:
        """Whether a frame has come."""
        return self._offset is not None

    def wait(self) -> None:
        """Do not count the time until now against the camera, before its first frame: it still gets ready."""
        if self._offset is None:
            self._arrived = self._clock()

    def tick(self) -> None:
        """Let time pass without a frame."""
        if self.verdict is None and self._clock() - self._arrived > self.rules.lost + WARM_UP_S * (self._baseline is None):
            self.end("No frames came from the camera.")

    def end(self, reason: str) -> None:
        """End the check undecided, for a reason in words."""
        if self.verdict is None:
            self._judge(reason)

    def _judge(self, reason: str = "") -> None:
        seconds = self._now - self._first if self._offset is not None else 0.0
        self.verdict = judge(self.answers, self._watched, self.rules, steps=self.steps, seconds=seconds, reason=reason)

    def _see_faces(self, frame: Frame) -> None:
        if len(frame.faces) == 1:
            self._several = None
            self._follow(frame)
            self._face_at = frame.time
        elif frame.faces:
            self._several = frame.time if self._several is None else self._several
            if frame.time - self._several > 0.5:
                self.end("Several faces are in the picture.")
        elif frame.time - self._face_at > self.rules.lost:
            self.end("No face was in the picture.")

    def _be_late(self, frame: Frame) -> None:
        """End a check whose frames and clock differ; begin it anew while the browser warms up."""
        if self._baseline is not None or self._arrived - self._opened > WARM_UP_S:
            return self.end("The frames do not come at the pace of this machine's clock.")
        self._offset, self._began = self._arrived - frame.time, frame.time
        self._at_rest.clear()

    def _follow(self, frame: Frame) -> None:
        face = frame.faces[0]
        self._watched.update(frame)
        if face.id != self._watched.id:
            return self.end("Another face came into the picture, or the face was lost.")
        if face.probs is None or len(face.probs) != len(self.expressions) or not np.isfinite(face.probs).all():
            if frame.time - self._read_at > self.rules.lost:
                self.end("The frames carry no probabilities of the expressions.")
            return None
        self._read_at = frame.time
        if self._watched.still_s >= STILL_S:
            return self._judge()
        if self._step is not None and frame.time - self._face_at > GAP_S:
            self._step.leader = ""  # what happened without a face is not held
        smoothed = self._smoothed.update(frame.time, face.probs)
        blinked = self._blinks.update(frame.time, face)
        if self._step is None:
            self._wait_for_rest(frame.time, face, smoothed)
        elif (wanted := self.steps[len(self.answers)]) == BLINK:
            if blinked:
                self._answer("eyes closed and opened", passed=True)
        elif wanted in SIGNS:
            self._see_turn(frame.time, face, SIGNS[wanted])
        else:
            self._see_expression(frame.time, face, smoothed)

    def _wait_for_rest(self, now: float, face: LiveFace, smoothed: np.ndarray) -> None:
        """Measure the face at rest before the first prompt; before the others wait until it is back, at most the time of a prompt."""
        if self._baseline is None:
            eyes, yaw = float(np.mean(face.eyes)) if face.eyes else 0.0, face.pose[0] if face.pose else 0.0
            self._at_rest.append((np.asarray(face.probs, np.float64), eyes, yaw))
            if now - self._began >= 2 * self.rules.rest and len(self._at_rest) >= 3:
                probs, opening, yaws = zip(*self._at_rest, strict=True)
                self._baseline, self._yaw = np.mean(probs, axis=0), float(np.median(yaws))
                self._blinks.at_rest = float(np.median(opening))
                self._ask(now, smoothed)
            return
        away = abs(face.pose[0] - self._yaw) if face.pose else 0.0
        rested = self._leader(smoothed) == "" and away < self.rules.yaw / 2
        self._resting = self._resting if rested else now
        if now - self._resting >= self.rules.rest or now - self._began >= self.rules.seconds:
            self._ask(now, smoothed)

    def _ask(self, now: float, smoothed: np.ndarray) -> None:
        wanted = self.steps[len(self.answers)]
        self._step = _Step(began=now)
        self._blinks.restart()
        self._turn = Turn(self._yaw, self.rules.yaw)
        if wanted in self.expressions:
            self._step.smoothed.append(float(smoothed[self.expressions.index(wanted)]))

    def _leader(self, smoothed: np.ndarray) -> str:
        """The expression that is shown: more probable than all others and risen from rest; "" for none."""
        top = int(smoothed.argmax())
        risen = smoothed[top] - (self._baseline[top] if self._baseline is not None else 0.0)
        shown = self.expressions[top] != NEUTRAL and smoothed[top] >= self.rules.least and risen >= self.rules.rise
        return self.expressions[top] if shown else ""

    def _see_expression(self, now: float, face: LiveFace, smoothed: np.ndarray) -> None:
        wanted, step = self.steps[len(self.answers)], self._step
        assert step is not None
        assert face.probs is not None
        place = self.expressions.index(wanted)
        step.times.append(now)
        step.values.append(float(face.probs[place]))
        step.smoothed.append(float(smoothed[place]))
        leader = self._leader(smoothed)
        if leader == wanted and smoothed[place] - min(step.smoothed) < self.rules.rise:
            leader = ""  # it was there before the prompt
        if leader != step.leader:
            step.leader, step.since = leader, now
        elif leader and now - step.since >= self.rules.hold:
            self._answer(leader, passed=leader == wanted)

    def _see_turn(self, now: float, face: LiveFace, sign: int) -> None:
        assert self._turn is not None
        if turned := self._turn.update(now, face):
            self._answer(TURN_LEFT if turned > 0 else TURN_RIGHT, passed=turned == sign)

    def _answer(self, shown: str, *, passed: bool) -> None:
        step, wanted = self._step, self.steps[len(self.answers)]
        assert step is not None
        strength = step.smoothed[-1] if passed and step.times else 0.0
        largest = largest_step(step.times, step.values) if passed and step.times else None
        rise = max(step.smoothed) - step.smoothed[0] if step.times else 0.0
        yaw = self._turn.largest if self._turn is not None and wanted in SIGNS else 0.0
        self.answers.append(Answer(wanted, shown, passed, self._now - step.began, strength=strength, rise=rise, step=largest, yaw=yaw))
        self._step, self._began, self._resting = None, self._now, self._now
        missed = sum(not answer.passed for answer in self.answers if answer.wanted in self.expressions)
        if len(self.answers) == len(self.steps) or missed > self.rules.misses:
            self._judge()
