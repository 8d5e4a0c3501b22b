"""The result of an expression check: the evidence of each part in numbers and words, and one flag.

A part fails where something speaks against a live person who answers, and is undecided where nothing could be measured. One failed part
fails the check; without one, an undecided part leaves it undecided. The flag is for a person to judge; nothing is raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ferlab.live.verification.liveness import Watched

if TYPE_CHECKING:
    from ferlab.live.verification.check import Rules

PASSED, FAILED, UNDECIDED, UNMEASURED = "passed", "failed", "not decided", "not measured"
FLAGS = (PASSED, FAILED, UNDECIDED)
LATE = "no answer in time"
ACTIONS = ("blink", "turn left", "turn right")
STILL_S = 1.5  # a camera's noise changes the numbers of every frame
REPEATS = 5  # frames whose numbers came back: a loop or exchanged stills
CUT = 0.7  # of the rise, from one frame to the next: between moved faces and exchanged stills (`largest_step`)
LEAST_RATE = 4.5  # frames a second
LEAST_SCORES = 5


@dataclass(frozen=True)
class Answer:
    """The answer to one step.

    Attributes:
        wanted: What was asked for.
        shown: What was seen, in words.
        passed: Whether it was what was asked for.
        seconds: From the prompt to the answer.
        strength: Smoothed probability of the expression at the end of the hold time; 0 for none.
        rise: Of the smoothed probability since the prompt.
        step: Part of the rise that one frame makes; None where not measured.
        yaw: Largest turn in degrees.
    """

    wanted: str
    shown: str
    passed: bool
    seconds: float
    strength: float = 0.0
    rise: float = 0.0
    step: float | None = None
    yaw: float = 0.0


@dataclass(frozen=True)
class Part:
    """One part of the evidence: its outcome, what was measured, what was needed."""

    name: str
    outcome: str
    measured: str
    needed: str


@dataclass(frozen=True)
class Verdict:
    """The result of a check.

    Attributes:
        flag: One of `FLAGS`.
        parts: Evidence.
        answers: To the steps that were reached.
        reasons: Why the flag is not "passed", in words; empty if it is.
        score: Lowest strength of the answers that are needed, the best first; 0 for a check that did not pass.
        seconds: Of the check.
        frames: With one face.
    """

    flag: str
    parts: tuple[Part, ...]
    answers: tuple[Answer, ...]
    reasons: tuple[str, ...]
    score: float
    seconds: float
    frames: int

    def table(self) -> pd.DataFrame:
        """Return the evidence, one row a part."""
        return pd.DataFrame([{"part": p.name, "result": p.outcome, "measured": p.measured, "needed": p.needed} for p in self.parts])


def judge(answers: Sequence[Answer], watched: Watched, rules: Rules, *, steps: Sequence[str], seconds: float, reason: str = "") -> Verdict:
    """Weigh the evidence of a check that has ended.

    Args:
        answers: To the steps that were reached.
        watched: What the frames showed.
        rules: Of the check.
        steps: The challenge.
        seconds: Since the first frame.
        reason: Why the check ended before its end, if not by its answers.
    """
    expressions = [answer for answer in answers if answer.wanted not in ACTIONS]
    parts = [
        _expressions(expressions, rules),
        _movement(expressions, rules),
        *([_blink(answers)] if rules.blink else []),
        *([_turn(answers, steps, rules)] if rules.turn else []),
        _scores("spoof model", watched.real, rules.least_real),
        _scores("liveness model", watched.live, rules.least_live),
        _steady(watched, rules, reason=reason),
        _changing(watched),
        _rate(watched.frames, seconds),
    ]
    outcomes = [part.outcome for part in parts]
    flag = FAILED if FAILED in outcomes else UNDECIDED if UNDECIDED in outcomes or reason else PASSED
    reasons = ((reason,) if reason else ()) + tuple(f"{part.name}: {part.measured}; needed: {part.needed}" for part in parts if part.outcome == flag)
    score = _score(expressions, rules) if flag == PASSED else 0.0
    return Verdict(flag, tuple(parts), tuple(answers), () if flag == PASSED else reasons, score, seconds, watched.frames)


def _score(expressions: Sequence[Answer], rules: Rules) -> float:
    return sorted((answer.strength for answer in expressions), reverse=True)[rules.prompts - rules.misses - 1]


def _expressions(answers: Sequence[Answer], rules: Rules) -> Part:
    right, missed = sum(answer.passed for answer in answers), sum(not answer.passed for answer in answers)
    outcome = FAILED if missed > rules.misses else PASSED if len(answers) == rules.prompts else UNDECIDED
    wrong = ", ".join(
        f"{answer.wanted}: {answer.shown if answer.shown == LATE else f'seen as {answer.shown}'}" for answer in answers if not answer.passed
    )
    measured = f"{right} of {len(answers)} answered" + (f" ({wrong})" if wrong else "")
    return Part("expressions", outcome, measured, f"{rules.prompts - rules.misses} of {rules.prompts}")


def _movement(answers: Sequence[Answer], rules: Rules) -> Part:
    """Expressions that arise after the prompt, over several frames; half of them may be too quick to be seen."""
    steps = [answer.step for answer in answers if answer.passed and answer.step is not None]
    needed = f"a rise of {rules.rise:.2f} after each prompt, in half of the answers less than {CUT:.0%} of it from one frame to the next"
    rises = [answer.rise for answer in answers if answer.passed]
    if not rises:
        return Part("neutral to apex", UNDECIDED, "no expression arose", needed)
    lowest = f"smallest rise {min(rises):.2f}"
    if not steps:
        return Part("neutral to apex", UNMEASURED, f"{lowest}; too few frames a second to see the movement", needed)
    outcome = PASSED if float(np.median(steps)) < CUT else FAILED
    return Part("neutral to apex", outcome, f"{lowest}; largest step {np.median(steps):.0%} of the rise (median)", needed)


def _blink(answers: Sequence[Answer]) -> Part:
    asked = [answer for answer in answers if answer.wanted == "blink"]
    if not asked:
        return Part("blink", UNDECIDED, "not reached", "eyes closed and opened on request")
    return Part("blink", PASSED if asked[0].passed else FAILED, asked[0].shown, "eyes closed and opened on request")


def _turn(answers: Sequence[Answer], steps: Sequence[str], rules: Rules) -> Part:
    wanted = next((step for step in steps if step.startswith("turn")), "turn")
    needed = f"{wanted} by {rules.yaw:.0f}°"
    asked = [answer for answer in answers if answer.wanted == wanted]
    if not asked:
        return Part("head turn", UNDECIDED, "not reached", needed)
    side = "left" if asked[0].yaw > 0 else "right"
    return Part("head turn", PASSED if asked[0].passed else FAILED, f"by {abs(asked[0].yaw):.0f}° to the {side}", needed)


def _scores(name: str, values: Sequence[float], least: float | None) -> Part:
    if least is None:
        return Part(name, UNMEASURED, "not used in this check", "none")
    if len(values) < LEAST_SCORES:
        return Part(name, UNDECIDED, f"{len(values)} scores", f"median of at least {least:.2f} over {LEAST_SCORES} frames or more")
    median = float(np.median(values))
    return Part(name, PASSED if median >= least else FAILED, f"median {median:.2f} of {len(values)} scores", f"at least {least:.2f}")


def _steady(watched: Watched, rules: Rules, *, reason: str) -> Part:
    outcome = FAILED if watched.jumps > rules.jumps else UNDECIDED if reason or not watched.frames else PASSED
    needed = f"the same face throughout, at most {rules.jumps} jumps"
    return Part("one face, the same", outcome, f"{watched.frames} frames, {watched.jumps} jumps", needed)


def _changing(watched: Watched) -> Part:
    stopped = watched.still_s >= STILL_S or watched.repeats >= REPEATS
    measured = f"unchanged for at most {watched.still_s:.1f} s; {watched.repeats} frames came again"
    outcome = FAILED if stopped else PASSED if watched.frames > 1 else UNDECIDED
    return Part("picture changes", outcome, measured, f"no stop of {STILL_S:.1f} s, fewer than {REPEATS} frames again")


def _rate(frames: int, seconds: float) -> Part:
    rate = (frames - 1) / seconds if seconds > 0 else 0.0
    return Part("frame rate", PASSED if rate >= LEAST_RATE else UNDECIDED, f"{rate:.0f} frames/s with one face", "about 5 or more")
