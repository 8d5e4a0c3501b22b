"""Expressions of the faces of a video: every frame's faces, and what each face shows over the clip.

Frames are read one at a time (`ferlab.deployment.clip_files`), faces are found and followed (`ferlab.deployment.following`), predicted in batches
across frames, and smoothed per face (`ferlab.deployment.smoothing`). Memory does not grow with the length of the clip: frames are handed on, and
per face only sums, counts and the segments of its time line are kept.

References:
    resemotenet: "predictions averaged across the frames to determine the overall emotion" (`FaceTrack.probs`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ferlab.deployment.clip_files import ClipFile, ClipFrame
from ferlab.deployment.face_search import Box
from ferlab.deployment.following import EVERY, FaceFollower, FollowedFace
from ferlab.deployment.predictor import Predictor
from ferlab.deployment.smoothing import Flicker, Smoother, Smoothing, TimeLine

BATCH = 32  # faces that are predicted in one call, of consecutive frames
HELD = 64  # frames without a face that wait with them, at most


@dataclass(frozen=True)
class ClipFace:
    """One face of one frame.

    Attributes:
        id: Of the face in this clip.
        box: x, y, width, height in pixels of the upright frame; it may extend beyond it.
        score: The detector's when the face was last found; None where it has none.
        found: Whether this frame was searched and the face found; otherwise it was followed from an earlier frame.
        probs: float32 (K,).
        smoothed: float64 (K,).
        label: Index of the smoothed expression.
    """

    id: int
    box: Box
    score: float | None
    found: bool
    probs: np.ndarray
    smoothed: np.ndarray
    label: int


@dataclass(frozen=True)
class ReadFrame:
    """One frame: its number in the file, its time in seconds, and its faces from left to right."""

    number: int
    time: float
    faces: tuple[ClipFace, ...]


@dataclass
class FaceTrack:
    """What is known of one face over a clip, without its frames.

    Attributes:
        id: Of the face.
        start: Time of its first frame in seconds.
        end: Of its last.
        frames: Frames in which it was predicted.
        total: Sum of its probabilities, float64 (K,).
        counts: Frames in which each expression was the most probable, int64 (K,).
        raw: Label changes without smoothing.
        smooth: Label changes after smoothing.
        line: Its time line.
    """

    id: int
    start: float
    total: np.ndarray
    counts: np.ndarray
    end: float = 0.0
    frames: int = 0
    raw: Flicker = field(default_factory=Flicker)
    smooth: Flicker = field(default_factory=Flicker)
    line: TimeLine = field(default_factory=TimeLine)

    @classmethod
    def begin(cls, face: int, time: float, classes: int, *, most: int | None = None) -> FaceTrack:
        """Return an empty track whose time line keeps at most `most` finished segments."""
        return cls(face, time, np.zeros(classes), np.zeros(classes, np.int64), line=TimeLine(most=most))

    def add(self, time: float, probs: np.ndarray, smoothed: np.ndarray, *, label: int) -> None:
        """Count a frame of the face."""
        best = int(np.argmax(probs))
        self.end, self.frames = time, self.frames + 1
        self.total += probs
        self.counts[best] += 1
        self.raw.add(time, best)
        self.smooth.add(time, label)
        self.line.add(time, label, float(smoothed[label]))

    @property
    def probs(self) -> np.ndarray:
        """Mean probabilities over the frames, float64 (K,)."""
        return self.total / max(self.frames, 1)

    @property
    def label(self) -> int:
        """Index of the expression of the whole clip: the largest mean probability."""
        return int(self.probs.argmax())

    @property
    def share(self) -> float:
        """Fraction of the frames whose most probable expression is `label`."""
        return float(self.counts[self.label] / max(self.frames, 1))


@dataclass
class ReadClip:
    """What was read from a video.

    Attributes:
        clip: The file, read to its end.
        expressions: The K names.
        tracks: By id, in order of appearance.
        frames: Frames in which faces were looked for: all, or every n-th.
        empty: Those of them without a face.
        searches: Those in which the detector ran.
    """

    clip: ClipFile
    expressions: tuple[str, ...]
    tracks: dict[int, FaceTrack] = field(default_factory=dict)
    frames: int = 0
    empty: int = 0
    searches: int = 0

    def expression(self, track: FaceTrack) -> str:
        """Return the expression of a face over the whole clip."""
        return self.expressions[track.label]


def read_clip(
    clip: ClipFile,
    predictor: Predictor,
    *,
    every: int = 1,
    smoothing: Smoothing | None = None,
    flip: bool = True,
    search_every: float = EVERY,
    small: bool = False,
    on_frame: Callable[[ReadFrame], None] | None = None,
) -> ReadClip:
    """Read a video from beginning to end.

    Args:
        clip: From `ferlab.deployment.clip_files.open_clip`.
        predictor: The model; its own detector is used where its training dataset had one.
        every: Look at every n-th frame.
        smoothing: None for the default.
        flip: Average over each face and its mirror image: twice the time of a prediction.
        search_every: Seconds between two face searches; 0 for every frame.
        small: Whether small faces are searched for too.
        on_frame: Called with each frame that was looked at, in order.

    Raises:
        InputError: If the file holds no frame, or the model returns no probabilities.
    """
    follower = FaceFollower(predictor.steps.detector if predictor.steps else None, every=search_every, small=small)
    read = ReadClip(clip, predictor.expressions)
    batch = _Batch(predictor, read, smoothing or Smoothing(), flip=flip, on_frame=on_frame)
    for frame in clip.frames(every=every):
        batch.add(frame, follower.update(frame.time, frame.picture))
    batch.predict()
    read.searches = follower.searches
    return read


class _Batch:
    """Frames whose faces wait to be predicted together; the pictures themselves are not kept."""

    def __init__(
        self, predictor: Predictor, read: ReadClip, smoothing: Smoothing, *, flip: bool, on_frame: Callable[[ReadFrame], None] | None
    ) -> None:
        self._predictor, self._read, self._smoothing, self._flip, self._on_frame = predictor, read, smoothing, flip, on_frame
        self._smoothers: dict[int, Smoother] = {}
        self._waiting: list[tuple[int, float, list[FollowedFace]]] = []
        self._inputs: list[np.ndarray] = []

    def add(self, frame: ClipFrame, faces: list[FollowedFace]) -> None:
        self._waiting.append((frame.number, frame.time, faces))
        if faces:
            self._inputs.append(self._predictor.prepare_boxes(frame.picture, [face.box for face in faces]))
        if sum(map(len, self._inputs)) >= BATCH or len(self._waiting) >= HELD:
            self.predict()

    def predict(self) -> None:
        rows = iter(self._predictor.predict_inputs(np.concatenate(self._inputs), flip=self._flip) if self._inputs else ())
        for number, time, faces in self._waiting:
            self._read.frames += 1
            self._read.empty += not faces
            frame = ReadFrame(number, time, tuple(self._finish(face, time, next(rows)) for face in faces))
            if self._on_frame is not None:
                self._on_frame(frame)
        self._waiting, self._inputs = [], []

    def _finish(self, face: FollowedFace, time: float, probs: np.ndarray) -> ClipFace:
        tracks = self._read.tracks
        smoother = self._smoothers.setdefault(face.id, Smoother(self._smoothing))
        smoothed, label = smoother.add(time, probs)
        tracks.setdefault(face.id, FaceTrack.begin(face.id, time, len(probs))).add(time, probs, smoothed, label=label)
        return ClipFace(face.id, face.box, face.score, face.found, probs, smoothed, label)
