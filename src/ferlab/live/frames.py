"""What the camera widget reports: stills with their faces, and frames of a live picture or a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LiveFace:
    """One face of a picture or a frame.

    Attributes:
        id: Stays the same while the face is tracked from frame to frame; 0, 1, ... from left to right in a still.
        box: x, y, width, height of the square that is cropped for the model, in pixels of the upright picture; it may extend beyond it.
        score: The detector's, in [0, 1]; None for a box drawn by hand.
        probs: float32 (K,), calibrated; None where no model ran.
        pose: yaw, pitch and roll in degrees, from the face's landmarks; None without landmarks. Positive yaw: turned to the person's own left.
        eyes: Opening of the person's right and left eye over its width; None without landmarks.
        mouth: Opening of the mouth over its width; None without landmarks.
        real: Score of the spoof model in [0, 1], 1 for a real face; None where it did not run.
        live: Score of the liveness model in [0, 1]; None where it did not run.
    """

    id: int
    box: Box
    score: float | None = None
    probs: np.ndarray | None = None
    pose: tuple[float, float, float] | None = None
    eyes: tuple[float, float] | None = None
    mouth: float | None = None
    real: float | None = None
    live: float | None = None


@dataclass(frozen=True)
class Frame:
    """The faces of one frame.

    Attributes:
        number: Counted from 0 since the camera or the video was started.
        time: Seconds since then, by the camera's or the video's clock.
        faces: From left to right.
        search_ms: Time to find and track the faces.
        predict_ms: Time to crop, prepare and predict all of them.
        total_ms: From the capture of the frame to its result.
        size: Width and height in pixels.
    """

    number: int
    time: float
    faces: tuple[LiveFace, ...]
    search_ms: float
    predict_ms: float
    total_ms: float
    size: tuple[int, int]


@dataclass(frozen=True)
class Still:
    """One picture that a person took, chose, dropped or pasted.

    Attributes:
        picture: uint8 (H, W) or (H, W, 3) in RGB, upright.
        faces: From left to right.
        chosen: Index in `faces` of the face that the person selected; None without faces.
        name: The file's name; "" for a picture of the camera.
        source: "camera", "file", "drop", "paste" or "sample".
        content: The file as it came; b"" where `picture` was handed over by the kernel.
    """

    picture: np.ndarray
    faces: tuple[LiveFace, ...]
    chosen: int | None
    name: str
    source: str
    content: bytes = b""

    @property
    def face(self) -> LiveFace | None:
        """The selected face."""
        return None if self.chosen is None else self.faces[self.chosen]


def read_faces(rows: Sequence[Mapping[str, Any]]) -> tuple[LiveFace, ...]:
    """Return the faces of a message from the browser, from left to right."""
    faces = [_read_face(row) for row in rows]
    return tuple(sorted(faces, key=lambda face: face.box[0]))


def read_frame(row: Mapping[str, Any]) -> Frame:
    """Return one frame of a message from the browser."""
    times = {key: float(row[key]) for key in ("time", "search_ms", "predict_ms", "total_ms")}
    width, height = row["size"]
    return Frame(number=int(row["number"]), faces=read_faces(row["faces"]), size=(int(width), int(height)), **times)


def _read_face(row: Mapping[str, Any]) -> LiveFace:
    probs = row.get("probs")
    single = {key: None if row.get(key) is None else float(row[key]) for key in ("score", "mouth", "real", "live")}
    several = {key: None if row.get(key) is None else tuple(float(value) for value in row[key]) for key in ("pose", "eyes")}
    x, y, width, height = (float(value) for value in row["box"])
    return LiveFace(int(row["id"]), (x, y, width, height), probs=None if probs is None else np.asarray(probs, np.float32), **single, **several)
