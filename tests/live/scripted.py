"""People who go through an expression check by numbers: frames without pictures."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ferlab.expressions import EXPRESSIONS
from ferlab.live.frames import Frame, LiveFace
from ferlab.live.verification.check import BLINK, SIGNS, Check, Rules
from ferlab.live.verification.verdict import Verdict

ASKED = ("angry", "happy", "surprise")
PLAIN = Rules(least_real=None, least_live=None)


def probs(expression: str, rise: float = 1.0, *, noise: float = 0.0) -> np.ndarray:
    """Return probabilities between rest (neutral) and an expression."""
    rest, apex = np.full(7, 0.02), np.full(7, 0.02)
    rest[EXPRESSIONS.index("neutral")], apex[EXPRESSIONS.index(expression)] = 0.88, 0.88
    return ((1 - rise) * rest + rise * apex + noise).astype(np.float32)


def frame(number: int, time: float, row: np.ndarray | None, **values) -> Frame:
    """Return a frame of one face."""
    given = {"id": 0, "box": (200.0, 100.0, 180.0, 180.0), "pose": (0.0, 0.0, 0.0), "eyes": (0.4, 0.4), "mouth": 0.05} | values
    return Frame(number, time, (LiveFace(probs=row, **given),), 5.0, 3.0, 12.0, (640, 480))


@dataclass
class Clock:
    """A clock that tests set."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Scripted:
    """Answers prompts `reaction` seconds after they appear, by a movement of `onset` seconds.

    Attributes:
        says: What is acted for a prompt, asked once each; the prompt itself for an obedient person.
        values: Further values of the face.
        keep: Fraction of the frames that arrive.
    """

    rate: float = 25.0
    reaction: float = 0.6
    onset: float = 0.4
    says: Callable[[str], str] = str
    values: dict = field(default_factory=dict)
    keep: float = 1.0
    seed: int = 0

    def frames(self, check: Check, clock: Clock) -> Iterator[Frame]:
        """Yield frames for as long as the check asks."""
        rng, step, since, number, last = random.Random(self.seed), "", 0.0, 0, "neutral"
        while True:
            time = number / self.rate
            clock.now = time
            if check.prompt.step != step:
                step, since = check.prompt.step, time
                last = self.says(step) if step else last
            moved = min(max((time - since - (self.reaction if step else 0.1)) / self.onset, 0.0), 1.0)
            yield self._face(number, time, last, moved if step else 1 - moved, rng=rng)
            number += 1
            while rng.random() > self.keep:
                number += 1

    def _face(self, number: int, time: float, act: str, rise: float, *, rng: random.Random) -> Frame:
        jitter = [rng.gauss(0, 1) for _ in range(4)]
        closed, yaw = act == BLINK and 0.2 < rise < 0.95, 30 * SIGNS[act] * rise if act in SIGNS else 0.0
        eye = (0.08 if closed else 0.4) * (1 + 0.03 * jitter[0])
        row = probs(act, rise, noise=0.001 * jitter[1]) if act in EXPRESSIONS else probs("neutral", noise=0.001 * jitter[1])
        return frame(number, time, row, **{"pose": (yaw + jitter[2], jitter[3], 0.0), "eyes": (eye, eye), **self.values})


def run(person: Scripted, *, rules: Rules = PLAIN, challenge: int = 0, seconds: float = 120.0) -> Verdict:
    """Let a person go through a check; a check that never ends is an error."""
    clock = Clock()
    check = Check(EXPRESSIONS, ASKED, rules=rules, rng=random.Random(challenge), clock=clock)
    for shown in person.frames(check, clock):
        check.see(shown)
        if check.verdict is not None:
            return check.verdict
        assert shown.time < seconds, "the check does not end"
    raise AssertionError
