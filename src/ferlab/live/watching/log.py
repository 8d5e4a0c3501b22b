"""What is kept of watched frames: smoothed faces, time lines, flicker, latencies, and the newest rows of the per-frame table.

Memory is bounded, however long a camera runs: `ROWS` rows of the table (an hour of one face at 25 frames a second; older ones are overwritten), the
`FACES` faces seen last with `SEGMENTS` segments each, and a histogram of latencies. Sums and counts are over all frames.
"""

from __future__ import annotations

import csv
import io
import math
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ferlab.deployment.smoothing import Segment, Smoother, Smoothing
from ferlab.deployment.video import FaceTrack
from ferlab.live.frames import Frame, LiveFace

ROWS = 100_000
FACES = 12
SEGMENTS = 400
SPAN = 60.0  # seconds that a changed smoothing is applied to, and that the time line shows
RECENT = 5.0  # seconds over which the frame rate is measured
MOST_RECENT = 512  # frames of those
LARGEST_MS = 2000  # of the histogram: larger latencies count as this
STEP_MS = 0.5
NO_FACE = -1


class Latencies:
    """A histogram of latencies in steps of `STEP_MS`; percentiles are exact to one step."""

    def __init__(self) -> None:
        self._counts = np.zeros(round(LARGEST_MS / STEP_MS) + 1, np.int64)

    def add(self, milliseconds: float) -> None:
        """Count one latency."""
        self._counts[min(max(round(milliseconds / STEP_MS), 0), len(self._counts) - 1)] += 1

    def percentile(self, percent: float) -> float:
        """Return the latency that `percent` of the frames do not exceed; NaN without frames."""
        total = self._counts.sum()
        return float(np.searchsorted(self._counts.cumsum(), math.ceil(percent / 100 * total))) * STEP_MS if total else math.nan

    def share_within(self, milliseconds: float) -> float:
        """Return the fraction of the frames of at most this latency; NaN without frames."""
        total = self._counts.sum()
        return float(self._counts[: round(milliseconds / STEP_MS) + 1].sum() / total) if total else math.nan


@dataclass
class WatchedFace:
    """One face that is or was watched: `track` over all its frames, `smoothed` (K,) and `label` as of its last frame."""

    track: FaceTrack
    smoother: Smoother
    smoothed: np.ndarray
    label: int = 0
    visible: bool = True

    @property
    def segments(self) -> list[Segment]:
        """The newest segments of its time line."""
        return self.track.line.segments()


@dataclass
class WatchLog:
    """See the module.

    Attributes:
        expressions: The K names, in the order of the probabilities.
        smoothing: Set it by `smooth`.
        rows: Rows of the table that are kept.
        faces: By id, the one seen last at the end.
        frames: Frames since the start.
        empty: Those without a face.
        time: Of the last frame, in seconds since the start.
        forgotten: Faces that were dropped for newer ones.
        total: Latency from capture to result, face search included.
        search: Latency of the face search alone.
    """

    expressions: tuple[str, ...]
    smoothing: Smoothing = field(default_factory=Smoothing)
    rows: int = ROWS
    faces: OrderedDict[int, WatchedFace] = field(default_factory=OrderedDict, init=False)

    def __post_init__(self) -> None:
        kinds = [("frame", np.int64), ("time", np.float64), ("face", np.int32), ("box", np.float32, 4), ("score", np.float32), ("label", np.int8)]
        self._table = np.full(self.rows, 0, np.dtype([*kinds, ("probs", np.float32, len(self.expressions))]))
        self.clear()

    def clear(self) -> None:
        """Forget all frames."""
        self.faces.clear()
        self.frames = self.empty = self.written = self.forgotten = 0
        self.time, self._number = 0.0, -1
        self.total, self.search = Latencies(), Latencies()
        self._recent: deque[float] = deque(maxlen=MOST_RECENT)

    def add(self, frames: Sequence[Frame]) -> None:
        """Take frames in; a number that is not above the last one's, or an earlier time, means that the video was started anew or sought back."""
        for frame in frames:
            if frame.number <= self._number or frame.time < self.time:
                self.clear()
            self._add(frame)

    def smooth(self, smoothing: Smoothing) -> None:
        """Smooth otherwise from now on. The last `SPAN` seconds of time lines and flicker are computed anew; what lies before is dropped."""
        self.smoothing = smoothing
        rows = self._kept()
        rows = rows[(rows["time"] > self.time - SPAN) & (rows["face"] != NO_FACE)]
        for face, known in list(self.faces.items()):
            own = rows[rows["face"] == face]
            if len(own):
                self.faces[face] = self._begin(face, float(own["time"][0]))
                for time, probs in zip(own["time"], own["probs"], strict=True):
                    self._step(self.faces[face], float(time), probs)
                self._restore(self.faces[face], known)

    def _restore(self, face: WatchedFace, before: WatchedFace) -> None:
        """Keep the sums over all frames: smoothing does not change them."""
        face.visible = before.visible
        for name in ("start", "frames", "total", "counts"):
            setattr(face.track, name, getattr(before.track, name))

    def _add(self, frame: Frame) -> None:
        predicted = [face for face in frame.faces if face.probs is not None and len(face.probs) == len(self.expressions)]
        self._number, self.time, self.frames = frame.number, frame.time, self.frames + 1
        self.empty += not frame.faces
        self._recent.append(frame.time)
        if frame.faces:
            self.total.add(frame.total_ms)
            self.search.add(frame.search_ms)
        for known in self.faces.values():
            known.visible = False
        for face in predicted:
            self._see(frame, face)
        if not predicted:
            self._write(frame, None, 0)

    def _see(self, frame: Frame, face: LiveFace) -> None:
        known = self.faces.get(face.id)
        if known is None:
            known = self.faces[face.id] = self._begin(face.id, frame.time)
            while len(self.faces) > FACES:
                self.faces.popitem(last=False)
                self.forgotten += 1
        self.faces.move_to_end(face.id)
        self._step(known, frame.time, face.probs)
        self._write(frame, face, known.label)

    def _begin(self, face: int, time: float) -> WatchedFace:
        classes = len(self.expressions)
        return WatchedFace(FaceTrack.begin(face, time, classes, most=SEGMENTS), Smoother(self.smoothing), np.zeros(classes))

    @staticmethod
    def _step(known: WatchedFace, time: float, probs: np.ndarray) -> None:
        known.smoothed, known.label = known.smoother.add(time, probs)
        known.visible = True
        known.track.add(time, probs, known.smoothed, label=known.label)

    def _write(self, frame: Frame, face: LiveFace | None, label: int) -> None:
        row = self._table[self.written % self.rows]
        row["frame"], row["time"], row["face"], row["label"] = frame.number, frame.time, NO_FACE if face is None else face.id, label
        if face is not None:
            row["box"], row["score"], row["probs"] = face.box, np.nan if face.score is None else face.score, face.probs
        self.written += 1

    def _kept(self) -> np.ndarray:
        """Return the kept rows of the table in order of time."""
        place = self.written % self.rows
        return self._table[: self.written] if self.written <= self.rows else np.concatenate([self._table[place:], self._table[:place]])

    @property
    def rate(self) -> float:
        """Frames per second over the last seconds; NaN for less than two frames."""
        times = [time for time in self._recent if time > self.time - RECENT]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else math.nan

    def visible(self) -> list[WatchedFace]:
        """Return the faces of the last frame, by id."""
        return sorted((face for face in self.faces.values() if face.visible), key=lambda face: face.track.id)

    def flicker(self) -> tuple[float, float]:
        """Return label changes per second and face, without smoothing and after; NaN for less than two frames of one face."""
        tracks = [face.track for face in self.faces.values()]
        seconds = sum(track.raw.seconds for track in tracks)
        if seconds <= 0:
            return math.nan, math.nan
        return sum(track.raw.changes for track in tracks) / seconds, sum(track.smooth.changes for track in tracks) / seconds

    def csv_lines(self) -> Iterator[str]:
        """Yield the kept rows as CSV, the header first; a frame without a face has empty cells."""
        head = ["frame", "time", "face", "x", "y", "width", "height", "score", "expression", "smoothed"]
        yield _line([*head, *(f"prob_{name}" for name in self.expressions)])
        for row in self._kept():
            cells: list[object] = [row["frame"], f"{row['time']:.4f}"]
            if row["face"] == NO_FACE:
                yield _line([*cells, *[""] * (len(head) - 2 + len(self.expressions))])
                continue
            score = "" if np.isnan(row["score"]) else f"{row['score']:.3f}"
            box = [f"{value:.1f}" for value in row["box"]]
            names = [self.expressions[int(row["probs"].argmax())], self.expressions[int(row["label"])]]
            yield _line([*cells, row["face"] + 1, *box, score, *names, *(f"{prob:.6f}" for prob in row["probs"])])


def _line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
