"""Frames of a video file with their own time stamps, one at a time: OpenCV's FFmpeg, no other program.

A file is untrusted. Its first bytes decide whether it is a video, so that a playlist, an address or a pattern of file names, all of which FFmpeg
would follow, is never opened; its size is checked before the first frame is decoded. A file that ends early is read as far as it goes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ferlab.data.readers.images import FORMATS, picture_format
from ferlab.paths import InputError, check_plain_file

ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".ogv", ".3gp")
NAMED = "MP4, MOV, AVI, Matroska, WebM, MPEG, WMV, FLV or Ogg"
MOST_SIDE = 8192  # pixels: 8K; a frame takes 0.2 GB
USUAL_FPS = 25.0  # where a file states none
FASTEST = 1000.0  # frames per second that are believed
TRIES = 8  # reads past a damaged frame
SHORT = 0.98  # of the stated frames and length: below, the file is reported as cut
SIGNATURES = (  # of containers that `picture_format` does not know: place, bytes
    *((4, kind) for kind in (b"moov", b"mdat", b"wide", b"free", b"skip")),
    (0, b"\x00\x00\x01\xba"),
    (0, b"\x00\x00\x01\xb3"),
    (0, b"FLV\x01"),
    (0, b"OggS"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
)


@dataclass(frozen=True)
class ClipFrame:
    """One frame.

    Attributes:
        number: Counted from 0, skipped frames included.
        time: Seconds since the first frame, by the file's time stamps.
        picture: uint8 (H, W, 3) in RGB, upright.
    """

    number: int
    time: float
    picture: np.ndarray


class ClipFile:
    """A video that is read from beginning to end, once; made by `open_clip`.

    Attributes:
        name: In errors and lines.
        size: Width and height of a frame as stored.
        fps: Frames per second as the file states them; `USUAL_FPS` where it states none.
        expected: Number of frames that the file states; None where it states none.
        read: Frames read so far, skipped ones included.
        seconds: Time of the last of them.
        gaps: Shortest and longest time between two frames in seconds.
        damaged: Frames that could not be decoded.
    """

    def __init__(self, capture: cv2.VideoCapture, name: str) -> None:
        self.name, self._capture = name, capture
        self.size = (round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        fps = capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= FASTEST else USUAL_FPS
        count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.expected = round(count) if 0 < count < 1e9 else None
        self.read, self.seconds, self.damaged = 0, 0.0, 0
        self.gaps = (math.inf, 0.0)
        self._first = 0.0

    def frames(self, *, every: int = 1) -> Iterator[ClipFrame]:
        """Yield every `every`-th frame; only the one that was yielded last is held.

        Raises:
            InputError: If there is no frame at all.
        """
        try:
            while self._next():
                number = self.read - 1
                if number % every:
                    continue
                whole, picture = self._capture.retrieve()
                if whole and picture is not None:
                    yield ClipFrame(number, self.seconds, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
                else:
                    self.damaged += 1
        finally:
            self._capture.release()
        if self.read == 0:
            raise InputError(f"{self.name} has no frame that can be read; expected a video. Get it again, or convert it to MP4.")

    def _next(self) -> bool:
        """Go to the next frame, past damaged ones; False at the end."""
        with _quiet():
            for tried in range(TRIES):
                if self._capture.grab():
                    self.damaged += tried
                    self._stamp(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
                    self.read += 1
                    return True
        return False

    def _stamp(self, stated: float) -> None:
        """Take the time of a frame from the file; where it has none, or it goes back, a frame's usual duration is added."""
        if self.read == 0:
            self._first, self.seconds = stated if math.isfinite(stated) else 0.0, 0.0
            return
        time = stated - self._first
        time = time if math.isfinite(time) and time > self.seconds else self.seconds + 1 / self.fps
        gap = time - self.seconds
        self.gaps = (min(self.gaps[0], gap), max(self.gaps[1], gap))
        self.seconds = time

    @property
    def rate(self) -> float:
        """Frames per second as measured, of all frames read; NaN for a single one."""
        return (self.read - 1) / self.seconds if self.seconds > 0 else math.nan

    @property
    def problems(self) -> list[str]:
        """What was wrong with the file, a line each, after its last frame."""
        lines, stated = [], self.expected or 0
        if self.read + self.damaged < SHORT * stated - 1 and self.seconds < SHORT * stated / self.fps - 0.1:
            where = f"frame {self.read:,} of {stated:,}, {self.seconds:.2f} of {stated / self.fps:.2f} s"
            lines.append(f"{self.name} ends at {where}: it is cut or damaged; what lies before is reported. Get the file again.")
        if self.damaged:
            lines.append(f"{self.name}: {self.damaged:,} damaged frames were skipped")
        return lines


def is_clip(path: Path | str) -> bool:
    """Return whether a file is a video by its first bytes; one that is neither video nor picture, by its name."""
    try:
        head = _head(Path(path))
    except OSError:
        head = b""
    return _is_video(head) or (Path(path).suffix.lower() in ENDINGS and picture_format(head) not in FORMATS)


def open_clip(path: Path | str) -> ClipFile:
    """Open a video file.

    Raises:
        InputError: If it is missing, empty, no video, cut before its index, without a picture track, or larger than `MOST_SIDE` a side.
    """
    path = Path(path)
    name = repr(str(path))[1:-1]
    try:
        check_plain_file(path, expected="a video")
        head = _head(path)
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); expected a video.") from None
    if not head:
        raise InputError(f"{name} is empty (0 bytes); expected a video as {NAMED}. Get it again.")
    if not _is_video(head):
        kind = picture_format(head)
        raise InputError(f"{name} is {kind or 'no video'}; expected a video as {NAMED}. {'Name it as it is' if kind else 'Get it again'}.")
    capture = _open(path)
    if not capture.isOpened():
        raise InputError(f"{name} is cut before its index, damaged, or has no picture track; expected a video. Get it again, or convert it to MP4.")
    clip = ClipFile(capture, name)
    if max(clip.size) > MOST_SIDE:
        capture.release()
        raise InputError(f"{name} is {clip.size[0]:,} x {clip.size[1]:,} pixels; expected at most {MOST_SIDE:,} a side. Scale it down.")
    return clip


def _open(path: Path) -> cv2.VideoCapture:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # Keep: read when OpenCV first uses FFmpeg, which else writes to the terminal
    with _quiet():
        return cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024)


def _is_video(head: bytes) -> bool:
    stream = len(head) > 376 and head[0] == head[188] == head[376] == 0x47  # MPEG's transport stream: packets of 188 bytes
    return stream or picture_format(head) == "a video" or any(head[place : place + len(start)] == start for place, start in SIGNATURES)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenCV's own warnings about a damaged file from the terminal: the error that follows says it."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
