"""A prompted session of one person: the order of the prompts, when each is scored, and what is scored.

A prompt is shown for `lead_s` seconds, then the frames of the next `window_s` seconds are averaged, by the camera's clock. A window in which less
than half of the frames show a face is an attempt without a face: it is not scored, and the prompt comes again. Knows no widget and no clock of its
own: times are handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ferlab.live.frames import Frame, LiveFace, Still
from ferlab.paths import InputError

MOST_PROMPTS = 500
SEEN_SHARE = 0.5  # of a window's frames that must show a face
LATEST_S = 0.6  # how long after a window its last frames may be reported, beyond the time that a frame takes
STILL_S = 10.0  # how long a still may take


def prompt_order(expressions: Sequence[str], n: int, *, seed: int) -> tuple[str, ...]:
    """Return n prompts in random order: each expression n / K times, rounded up or down, never twice in succession (K > 1).

    Raises:
        InputError: If n is not from 1 to `MOST_PROMPTS`.
    """
    if not 1 <= n <= MOST_PROMPTS:
        raise InputError(f"a session has 1 to {MOST_PROMPTS} prompts, got {n}; choose another number")
    rng = np.random.default_rng(seed)
    left = np.full(len(expressions), n // len(expressions))
    left[rng.permutation(len(expressions))[: n % len(expressions)]] += 1
    order: list[int] = []
    while left.sum() > 0:
        chances = left.astype(float)
        if order and len(expressions) > 1:
            chances[order[-1]] = 0
        must = int(np.argmax(left))
        if 2 * left[must] > left.sum() and chances[must]:  # any other choice would leave two of it side by side
            chances[:] = np.arange(len(left)) == must
        order.append(int(rng.choice(len(left), p=chances / chances.sum())))
        left[order[-1]] -= 1
    return tuple(expressions[place] for place in order)


@dataclass(frozen=True)
class Attempt:
    """One attempt at one prompt.

    Attributes:
        number: Place of the prompt in the session, from 1.
        prompt: The true class.
        probs: float32 (K,), mean of the frames; None where no face was seen.
        frames: Frames that were averaged; 1 for a still.
        still: The still, where one was taken.
    """

    number: int
    prompt: str
    probs: np.ndarray | None
    frames: int
    still: Still | None = None


@dataclass
class Sitting:
    """The prompts of one person, one after the other; times are in seconds on any one clock.

    Attributes:
        prompts: See `prompt_order`.
        lead_s: Time to read a prompt and act it.
        window_s: Length of the window that is averaged; 0 for one still.
        tries: Attempts at a prompt, where no face is seen.
        phase: "ready", "prompt" (shown), "window" (scored), "between" (an attempt ended) or "done".
        number: Place of the current prompt, from 0.
        ends: When the current phase ends.
        attempts: What happened so far.
    """

    prompts: tuple[str, ...]
    lead_s: float = 3.0
    window_s: float = 1.5
    tries: int = 3
    phase: str = "ready"
    number: int = 0
    ends: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    _probs: list[np.ndarray] = field(default_factory=list)
    _frames: int = 0
    _latest: Frame | None = None  # the last frame reported, and when that was
    _reported: float = 0.0
    _opens: float | None = None  # of the window, by the camera's clock
    _tried: int = 0

    @property
    def prompt(self) -> str:
        """The current prompt; "" before the first and after the last."""
        return self.prompts[self.number] if self.phase in ("prompt", "window") else ""

    @property
    def takes_still(self) -> bool:
        """Whether prompts are scored by a still."""
        return self.window_s == 0

    def start(self, now: float) -> None:
        """Show the first prompt."""
        self.phase, self.ends = "prompt", now + self.lead_s

    def stop(self) -> None:
        """End here; a prompt that was not scored yet is dropped."""
        self.phase = "done"

    def hurry(self, now: float) -> None:
        """Open the window now: the person is ready."""
        if self.phase == "prompt":
            self.ends = now
            self.advance(now)

    def see(self, frames: Sequence[Frame], now: float) -> None:
        """Take the frames that the camera reports."""
        if not frames:
            return
        if self.phase == "window" and not self.takes_still:
            for frame in frames:
                self._weigh(frame)
            if frames[-1].time >= self._opens + self.window_s:  # nothing of the window is still to come
                self.ends = now
        if self._latest is not None and frames[-1].time < self._latest.time:  # the camera was started again
            self._opens = None
        self._latest, self._reported = frames[-1], now

    def see_still(self, still: Still) -> Attempt | None:
        """Take the still of the current prompt; its face may lack probabilities only where it has no face."""
        if self.phase != "window" or not self.takes_still:
            return None
        face = still.face
        return self._close(None if face is None else face.probs, frames=1, still=still)

    def advance(self, now: float) -> Attempt | None:
        """Go on to the next phase where its time has come; return the attempt that ended by it."""
        if self.phase == "prompt" and now >= self.ends:
            self._open(now)
        elif self.phase == "window" and now >= self.ends:
            seen = len(self._probs) >= max(1, SEEN_SHARE * self._frames)
            return self._close(np.mean(self._probs, axis=0) if seen else None, frames=len(self._probs))
        return None

    def resume(self, now: float) -> None:
        """Show the next prompt, or the same one again where no face was seen."""
        if self.phase == "between":
            self.phase, self.ends = "prompt", now + self.lead_s

    def _open(self, now: float) -> None:
        self.phase, self._probs, self._frames = "window", [], 0
        late = self._latest.total_ms / 1000 if self._latest else 0.0
        self.ends = now + (STILL_S if self.takes_still else self.window_s + LATEST_S + late)
        self._opens = self._latest.time + late + now - self._reported if self._latest else None

    def _weigh(self, frame: Frame) -> None:
        self._opens = frame.time if self._opens is None else self._opens
        if not self._opens <= frame.time < self._opens + self.window_s:
            return
        self._frames += 1
        face = largest_face(frame)
        if face is not None and face.probs is not None:
            self._probs.append(face.probs)

    def _close(self, probs: np.ndarray | None, *, frames: int, still: Still | None = None) -> Attempt:
        attempt = Attempt(self.number + 1, self.prompts[self.number], None if probs is None else np.asarray(probs, np.float32), frames, still)
        self.attempts.append(attempt)
        self._tried += 1
        if probs is not None or self._tried == self.tries:
            self.number, self._tried = self.number + 1, 0
        self.phase = "done" if self.number == len(self.prompts) else "between"
        return attempt


def largest_face(frame: Frame) -> LiveFace | None:
    """Return the face nearest to the camera, by the area of its box."""
    return max(frame.faces, key=lambda face: face.box[2] * face.box[3], default=None)
