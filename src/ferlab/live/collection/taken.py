"""A face that was taken and is not stored: cut out of its still, with what is known about it. It lives in memory alone.

The face is kept with a margin of half its side around it, clipped to the picture and in the camera's pixels: enough for another detector, alignment
or crop later, and no more of the room than that. A picture with a second face in that region is refused: that person was not asked.
"""

from __future__ import annotations

import datetime
import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ferlab.live.collection.light import Light, hints, measure_light
from ferlab.live.frames import Box, LiveFace, Still
from ferlab.live.model import LiveModel
from ferlab.paths import InputError

MARGIN = 0.5  # of the box's longer side, on each side


@dataclass(frozen=True)
class TakenFace:
    """One face, before its person decides.

    Attributes:
        picture: uint8 (H, W) or (H, W, 3) in RGB, the region that would be stored.
        box: x, y, width, height of the face in `picture`.
        probs: float32 (K,) of `expressions`, by the model.
        expressions: K names.
        model: Name of the model.
        model_sha256: Of its file.
        light: On the face.
        pose: Yaw, pitch and roll in degrees; None without landmarks.
        prompt: The expression that was asked for; "" for none.
        origin: Where the still came from, as `Still.source`.
        time: When it was taken, UTC, such as 2026-05-31T12:00:00Z.
    """

    picture: np.ndarray
    box: Box
    probs: np.ndarray
    expressions: tuple[str, ...]
    model: str
    model_sha256: str
    light: Light
    pose: tuple[float, float, float] | None
    prompt: str
    origin: str
    time: str

    @property
    def predicted(self) -> str:
        """The most probable expression."""
        return self.expressions[int(np.argmax(self.probs))]

    @property
    def hints(self) -> list[str]:
        """What to mend before it is stored."""
        return hints(self.light, self.pose)

    def png(self) -> bytes:
        """Return the picture as a PNG: without loss, and without metadata."""
        content = io.BytesIO()
        Image.fromarray(self.picture).save(content, "PNG")
        return content.getvalue()

    def record(self) -> dict[str, str]:
        """Return the columns of captures.csv but file, person, expression and consent_version."""
        row = {"time": self.time, "prompt": self.prompt, "origin": self.origin}
        row |= {f"box_{side}": f"{value:.1f}" for side, value in zip("xywh", self.box, strict=True)}
        row |= {f"pose_{name}": f"{value:.1f}" for name, value in zip(("yaw", "pitch", "roll"), self.pose or (), strict=False)}
        row |= {f"light_{name}": f"{getattr(self.light, name):.4f}" for name in ("mean", "contrast", "side")}
        row |= {"live_model": self.model, "live_model_sha256": self.model_sha256, "live_predicted": self.predicted}
        return row | {f"live_prob_{name}": f"{prob:.6f}" for name, prob in zip(self.expressions, self.probs, strict=True)}


def take_face(still: Still, model: LiveModel, *, prompt: str = "") -> TakenFace:
    """Cut the selected face out of a still and predict it.

    The probabilities are the browser's where it ran the model, else the kernel's.

    Raises:
        InputError: If there is no face, or another face lies in the region that would be stored.
    """
    face = still.face
    if face is None:
        raise InputError("No face in this picture. Come closer, turn on a light, or draw the box by hand; then take it again.")
    left, top, right, bottom = _region(still.picture, face.box)
    others = [other for other in still.faces if other is not face and _overlap(other, (left, top, right, bottom))]
    if others:
        raise InputError("A second face is in the picture beside yours. Only faces of people who agreed are stored: take it again alone.")
    x, y, width, height = face.box
    probs = model.predict(still.picture, face.box) if face.probs is None else face.probs
    return TakenFace(
        picture=np.ascontiguousarray(still.picture[top:bottom, left:right]),
        box=(x - left, y - top, width, height),
        probs=np.asarray(probs, np.float32),
        expressions=tuple(model.expressions),
        model=model.name,
        model_sha256=hashlib.sha256(model.content).hexdigest(),
        light=measure_light(still.picture, face.box),
        pose=face.pose,
        prompt=prompt,
        origin=still.source,
        time=now(),
    )


def now() -> str:
    """Return the time in UTC, such as 2026-05-31T12:00:00Z."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _region(picture: np.ndarray, box: Box) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the face with its margin, within the picture."""
    x, y, width, height = box
    side = max(width, height) * (1 + 2 * MARGIN)
    left, top = x + width / 2 - side / 2, y + height / 2 - side / 2
    high, wide = picture.shape[:2]
    ends = (max(0, round(left)), max(0, round(top)), min(wide, round(left + side)), min(high, round(top + side)))
    if ends[2] <= ends[0] or ends[3] <= ends[1]:
        raise InputError("The box lies outside the picture. Draw it around the face, then take it again.")
    return ends


def _overlap(other: LiveFace, region: tuple[int, int, int, int]) -> bool:
    x, y, width, height = other.box
    left, top, right, bottom = region
    return x < right and x + width > left and y < bottom and y + height > top
