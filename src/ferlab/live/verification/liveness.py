"""Signs of a live face in the numbers of frames: smoothed probabilities, blinks, head turns, onsets, one steady face, a picture that changes.

All of it is counted in seconds of `Frame.time`, so that 5 and 60 frames a second give the same result. Nothing here knows a prompt
(`ferlab.live.verification.check`) or a picture.

References:
    Soukupova & Cech (2016), Real-time eye blink detection using facial landmarks: opening of an eye over its width; a blink takes 0.1 to 0.4 s.

`CLOSED`: the mesh follows lids only in part. Of 12 drawn people, eyes at a quarter of their opening are reported at 0.58 to 0.87 of that at rest, a
smile's at 0.83 to 1.00 (tests/bench/spoof_scores.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ferlab.live.frames import Box, Frame, LiveFace

CLOSED, OPEN = 0.80, 0.92  # opening of the eyes, of the person's own at rest
BLINK_S = (0.1, 2.0)  # from the last open frame to the next; on request people close their eyes for longer than a blink
BLINK_POSE = 12.0  # degrees: a face that tilts by more in the meantime shows smaller eyes without closing them
TURN_HELD_S = 0.2
JUMP = 6.0  # widths of the face per second
CUT_S = 0.07  # frames further apart cannot show whether a movement lies between them
REPEAT_S = 2.0  # the same numbers again after so long: a loop, or stills exchanged


@dataclass
class Smoothed:
    """Exponential mean of probabilities over time; starts anew after a gap.

    Attributes:
        seconds: Time constant.
        gap: Seconds without a face after which nothing of the past counts.
        probs: float64 (K,); None before the first.
        time: Of the last update.
    """

    seconds: float
    gap: float = 1.0
    probs: np.ndarray | None = None
    time: float = 0.0

    def update(self, time: float, probs: np.ndarray) -> np.ndarray:
        """Take in the probabilities (K,) of a frame and return the mean."""
        passed = time - self.time
        if self.probs is None or passed > self.gap:
            self.probs = np.asarray(probs, np.float64).copy()
        else:
            self.probs = self.probs + (1 - np.exp(-passed / self.seconds)) * (probs - self.probs)
        self.time = time
        return self.probs


@dataclass
class Blinks:
    """Eyes that close and open again.

    Attributes:
        at_rest: Opening of the person's eyes over their width at rest.
        ended: Times at which a blink ended.
    """

    at_rest: float
    ended: list[float] = field(default_factory=list)
    _open: tuple[float, np.ndarray] | None = None
    _closed: bool = False

    def update(self, time: float, face: LiveFace) -> bool:
        """Take in a frame; return whether a blink ended in it."""
        if face.eyes is None or self.at_rest <= 0:
            return False
        opening, pose = float(np.mean(face.eyes)) / self.at_rest, np.array(face.pose or (0.0, 0.0, 0.0))
        if opening < CLOSED:
            self._closed = self._open is not None
        elif opening > OPEN:
            ended = self._closed and self._open is not None and self._is_blink(time, pose)
            self._open, self._closed = (time, pose), False
            if ended:
                self.ended.append(time)
            return ended
        return False

    def restart(self) -> None:
        """Forget eyes that are closing: what began before a prompt does not answer it."""
        self._open, self._closed = None, False

    def _is_blink(self, time: float, pose: np.ndarray) -> bool:
        since, before = self._open or (time, pose)
        return BLINK_S[0] <= time - since <= BLINK_S[1] and float(np.abs(pose - before)[:2].max()) <= BLINK_POSE


@dataclass
class Turn:
    """The first definite turn of the head away from where it was.

    Attributes:
        from_yaw: Degrees at rest.
        least: Degrees of a definite turn.
        largest: Of the turns so far, signed; positive to the person's own left.
    """

    from_yaw: float
    least: float
    largest: float = 0.0
    _since: float | None = None
    _sign: int = 0

    def update(self, time: float, face: LiveFace) -> int:
        """Take in a frame; return 1 for a held turn to the person's own left, -1 to the right, else 0."""
        if face.pose is None:
            return 0
        by = face.pose[0] - self.from_yaw
        if abs(by) > abs(self.largest):
            self.largest = by
        sign = int(np.sign(by)) if abs(by) >= self.least else 0
        if sign != self._sign:
            self._sign, self._since = sign, time
        return sign if sign and self._since is not None and time - self._since >= TURN_HELD_S else 0


def largest_step(times: Sequence[float], values: Sequence[float]) -> float | None:
    """Return the part of an onset that one frame makes: near 1 where one picture was exchanged for another.

    On control faces at 15 to 25 frames a second, 90 % of the onsets of 0.3 to 0.9 s lie between 0.22 and 0.55, those of exchanged stills above
    0.76.

    Args:
        times: Seconds of the frames since the prompt.
        values: Unsmoothed probability of the prompted expression; the first is at rest, the last five at the apex.

    Returns:
        None where no probability rose, or the frames are too far apart (`CUT_S`) to see a movement.

    >>> largest_step([0.0, 0.04, 0.08, 0.12, 0.16], [0.25, 0.5, 0.75, 0.75, 0.75]), largest_step([0.0, 0.2], [0.1, 0.9])
    (0.5, None)
    """
    apex, steps = float(np.median(values[-5:])), np.diff(values)
    if apex <= values[0] or not len(steps):
        return None
    place = int(steps.argmax())
    return float(steps[place] / (apex - values[0])) if times[place + 1] - times[place] <= CUT_S else None


@dataclass
class Watched:
    """Whether the frames show one face, the same, that does not jump, in a picture that changes, by a clock that runs forwards.

    Attributes:
        id: Of the face; None before the first.
        frames: With exactly one face.
        jumps: Places where the face moved faster than `JUMP`.
        still_s: Longest time without any change in the numbers.
        repeats: Frames whose numbers had been there `REPEAT_S` before, without a still picture in between.
        real: Scores of the spoof model.
        live: Scores of the liveness model.
    """

    id: int | None = None
    frames: int = 0
    jumps: int = 0
    still_s: float = 0.0
    repeats: int = 0
    real: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    _last: tuple[float, Box] | None = None
    _seen: dict[int, float] = field(default_factory=dict)
    _same: tuple[int, float] | None = None

    def update(self, frame: Frame) -> None:
        """Take in a frame with exactly one face."""
        face = frame.faces[0]
        self.frames += 1
        self.id = face.id if self.id is None else self.id
        self._count_jump(frame.time, face.box)
        self._compare(frame.time, _fingerprint(face))
        self.real += [] if face.real is None else [face.real]
        self.live += [] if face.live is None else [face.live]

    def _count_jump(self, time: float, box: Box) -> None:
        if self._last is not None and (passed := time - self._last[0]) > 0:
            before = self._last[1]
            moved = np.hypot(box[0] + box[2] / 2 - before[0] - before[2] / 2, box[1] + box[3] / 2 - before[1] - before[3] / 2)
            self.jumps += int(moved / before[2] > max(JUMP * passed, 0.25))
        self._last = (time, box)

    def _compare(self, time: float, fingerprint: int) -> None:
        if self._same is not None and self._same[0] == fingerprint:
            self.still_s = max(self.still_s, time - self._same[1])
            return
        self._same = (fingerprint, time)
        self.repeats += int(time - self._seen.setdefault(fingerprint, time) >= REPEAT_S)


def _fingerprint(face: LiveFace) -> int:
    """Hash everything measured in a face: two pictures of a camera differ at least by the sensor's noise."""
    probs = b"" if face.probs is None else np.ascontiguousarray(face.probs).tobytes()
    return hash((face.box, face.pose, face.eyes, face.mouth, probs))
