"""Probabilities of one face over time: smoothed, turned into labels that do not flicker, and into a time line of expressions.

Frames come at uneven times (variable frame rate, a browser under load), so windows are in seconds. All is causal: a frame depends on earlier frames
only, and live and recorded faces are smoothed by the same code.

References:
    resemotenet: probabilities are averaged over the frames of a clip (`Smoothing("mean", seconds=math.inf)`; its last frame is the clip's mean).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

METHODS = ("none", "mean", "exponential")
MOST_FRAMES = 1024  # of one window: 17 s at 60 frames a second; a longer window keeps the newest
ROUNDING = 1e-6  # seconds: time stamps are sums of frame durations
GAP = 1.0  # seconds without a frame, after which an expression counts as ended


@dataclass(frozen=True)
class Smoothing:
    """How probabilities are smoothed, and when the label changes.

    The defaults were chosen on the sample clip of `ferlab.control.clips` with sensor noise of 22 grey levels: of 32 label changes they leave 8, as
    many as were acted. 88 % of the frames have the acted expression, against 95 % unsmoothed: what is smoothed comes later.

    Attributes:
        method: Of `METHODS`: as they are; mean over the frames of the last `seconds`; exponential moving average with time constant `seconds`.
        seconds: See `method`; above 0, `math.inf` for the mean of all frames so far.
        margin: Lead that another expression's probability needs over the current label's, 0 to 1.
        hold: Seconds for which it must keep that lead; where frames come further apart, one is enough. With margin and hold of 0 the label is the
            most probable expression.
    """

    method: str = "mean"
    seconds: float = 0.4
    margin: float = 0.05
    hold: float = 0.08

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"Expected method in {METHODS}, got {self.method!r}")
        if not self.seconds > 0 or not 0 <= self.margin <= 1 or not 0 <= self.hold < math.inf:
            raise ValueError(f"Expected seconds above 0, margin in [0, 1] and hold of at least 0, got {self}")
        if self.method == "exponential" and math.isinf(self.seconds):
            raise ValueError(f"Expected finite seconds for an exponential average, which else stays at the first frame, got {self}")


NONE = Smoothing("none", margin=0, hold=0)


class Smoother:
    """Smooths the probabilities of one face, frame by frame; holds at most `MOST_FRAMES` of them."""

    def __init__(self, smoothing: Smoothing) -> None:
        self.smoothing = smoothing
        self.label: int | None = None
        self._window: deque[tuple[float, np.ndarray]] = deque(maxlen=MOST_FRAMES)
        self._mean: np.ndarray | None = None
        self._count = 0
        self._time = -math.inf
        self._lead: tuple[int, float] | None = None  # the expression that leads by the margin, and since when

    def add(self, time: float, probs: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the smoothed probabilities, float64 (K,), and the label after a frame.

        Args:
            time: Seconds; one before the last frame's counts as the last frame's.
            probs: (K,), finite.
        """
        time, probs = max(time, self._time), np.asarray(probs, np.float64)
        smoothed = self._smooth(time, probs)
        gap, self._time = time - self._time, time
        self.label = self._choose(time, smoothed, gap=gap)
        return smoothed, self.label

    def _smooth(self, time: float, probs: np.ndarray) -> np.ndarray:
        seconds = self.smoothing.seconds
        if self.smoothing.method == "none":
            return probs
        if self.smoothing.method == "mean" and math.isfinite(seconds):
            self._window.append((time, probs))
            while self._window[0][0] <= time - seconds + ROUNDING:
                self._window.popleft()
            return np.mean([each for _, each in self._window], axis=0)
        self._count += 1
        if self._mean is None:
            self._mean = probs
        else:
            weight = 1 / self._count if self.smoothing.method == "mean" else -math.expm1(-(time - self._time) / seconds)
            self._mean = self._mean + weight * (probs - self._mean)
        return self._mean

    def _choose(self, time: float, smoothed: np.ndarray, *, gap: float) -> int:
        best = int(smoothed.argmax())
        if self.label is None or best == self.label or smoothed[best] - smoothed[self.label] < self.smoothing.margin:
            self._lead = None
            return best if self.label is None else self.label
        if self._lead is None or self._lead[0] != best:
            self._lead = (best, time)
        if max(time - self._lead[1], gap) < self.smoothing.hold - ROUNDING:
            return self.label
        self._lead = None
        return best


@dataclass
class Flicker:
    """Counts label changes; `per_second` is their rate over the time between the first and the last frame."""

    changes: int = 0
    seconds: float = 0.0
    _last: tuple[float, int] | None = None

    def add(self, time: float, label: int) -> None:
        """Count a frame."""
        if self._last is not None:
            self.changes += label != self._last[1]
            self.seconds += max(time - self._last[0], 0.0)
        self._last = (time, label)

    @property
    def per_second(self) -> float:
        """Label changes per second; NaN for less than two frames."""
        return self.changes / self.seconds if self.seconds > 0 else math.nan


@dataclass(frozen=True)
class Segment:
    """A stretch of time in which one face keeps its label.

    Attributes:
        start: Seconds, of its first frame.
        end: Start of the next segment; of the last one, and before a gap, the time of its last frame.
        label: Index of the expression.
        confidence: Mean probability of that expression over its frames.
        frames: Number of frames.
    """

    start: float
    end: float
    label: int
    confidence: float
    frames: int


class TimeLine:
    """The segments of one face, built frame by frame.

    Args:
        gap: Seconds without a frame after which a segment ends.
        most: Finished segments that are kept, the newest; None for all.
    """

    def __init__(self, *, gap: float = GAP, most: int | None = None) -> None:
        self._gap = gap
        self._finished: deque[Segment] = deque(maxlen=most)
        self._open: Segment | None = None
        self.dropped = 0

    def add(self, time: float, label: int, confidence: float) -> None:
        """Continue the time line by a frame."""
        last = self._open
        near = last is not None and time - last.end <= self._gap
        if last is not None and near and last.label == label:
            mean = last.confidence + (confidence - last.confidence) / (last.frames + 1)
            self._open = Segment(last.start, time, label, mean, last.frames + 1)
            return
        if last is not None:
            self.dropped += len(self._finished) == self._finished.maxlen
            self._finished.append(Segment(last.start, time if near else last.end, last.label, last.confidence, last.frames))
        self._open = Segment(time, time, label, confidence, 1)

    def segments(self, *, since: float = -math.inf) -> list[Segment]:
        """Return the segments that end at `since` or later, in order of time."""
        everything = [*self._finished, *([self._open] if self._open else [])]
        return [segment for segment in everything if segment.end >= since]
