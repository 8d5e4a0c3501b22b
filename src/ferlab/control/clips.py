"""Drawn clips of control faces: people who act expressions in a scene, with the truth about every frame.

A person is a subject of `ferlab.control.specs` who rests neutral and rises to an apex and back, as `ferlab.control.recipe.frame_of` draws sequences.
The face drifts a little across the scene, and may be covered for a while. A frame's true expression is the acted one from half of the apex's
intensity on, and neutral below.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ferlab.control.drawing.picture import draw_image
from ferlab.control.recipe import frame_of
from ferlab.control.specs import sample_spec
from ferlab.opencv import one_thread
from ferlab.paths import InputError
from ferlab.terminal import quiet_stderr

LEVELS = 12  # drawn steps from neutral to apex
HALF = 0.5  # of the apex's intensity: where the true expression changes
_DRIFT, _GRAIN = 41, 42  # streams of random numbers
CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".mkv": "mp4v", ".mov": "mp4v", ".webm": "VP80"}


@dataclass(frozen=True)
class Act:
    """One acted expression: it rises from `start` for `rise` seconds, is held, and falls back as it rose."""

    expression: str
    start: float
    hold: float
    rise: float = 0.6

    def level(self, time: float) -> float:
        """Return the fraction of the rise that a time shows, 0 to 1."""
        up, down = (time - self.start) / self.rise, (self.start + 2 * self.rise + self.hold - time) / self.rise
        return float(np.clip(min(up, down), 0, 1))


@dataclass(frozen=True)
class Person:
    """A drawn person.

    Attributes:
        subject: Number of the subject.
        acts: In order of time, without overlap.
        centre: Of the face's picture, as fractions of the scene's width and height.
        side: Of the face's picture, as a fraction of the scene's height.
        drift: How far the face moves from its centre, as a fraction of its side.
        covered: Start and end in seconds of a time in which something covers the face; None for never.
        present: Start and end in seconds of the time in which the person is in the scene; None for always.
    """

    subject: int
    acts: tuple[Act, ...] = ()
    centre: tuple[float, float] = (0.5, 0.5)
    side: float = 0.6
    drift: float = 0.15
    covered: tuple[float, float] | None = None
    present: tuple[float, float] | None = None


@dataclass(frozen=True)
class FaceTruth:
    """What is true of one face of one frame.

    Attributes:
        person: Place in the list of people.
        box: x, y, width, height of the drawn face picture in pixels: wider than a detector's box.
        expression: See the module.
        intensity: 0 to 5.
        covered: Whether something covers the face.
    """

    person: int
    box: tuple[float, float, float, float]
    expression: str
    intensity: float
    covered: bool


@dataclass(frozen=True)
class DrawnFrame:
    """One frame: its time in seconds, uint8 (H, W, 3) in RGB, and the truth of each face in it."""

    time: float
    picture: np.ndarray
    faces: tuple[FaceTruth, ...]


@dataclass(frozen=True)
class DrawnClip:
    """A written clip and the truth of each face of each frame."""

    path: Path
    faces: tuple[tuple[FaceTruth, ...], ...]

    def truth(self, number: int, box: tuple[float, float, float, float]) -> str | None:
        """Return the true expression of the face of a frame whose middle lies in a box; None for no face, and for one that is covered."""
        x, y, width, height = box
        for face in self.faces[number]:
            middle, centre = face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2
            if x < middle < x + width and y < centre < y + height:
                return None if face.covered else face.expression
        return None


def draw_clip(
    people: Sequence[Person], *, seconds: float, fps: float = 25.0, size: tuple[int, int] = (640, 480), seed: int = 0
) -> Iterator[DrawnFrame]:
    """Yield the frames of a clip; the same arguments give the same frames.

    Args:
        people: Who is in the scene; a later one is drawn over an earlier one.
        seconds: Length.
        fps: Frames per second.
        size: Width and height in pixels.
        seed: Of the subjects, their faces and the noise.
    """
    for number in range(round(seconds * fps)):
        time = number / fps
        yield draw_frame(people, time, size=size, seed=seed, number=number)


def draw_frame(people: Sequence[Person], time: float, *, size: tuple[int, int] = (640, 480), seed: int = 0, number: int = 0) -> DrawnFrame:
    """Draw the scene at one time; `number` seeds the sensor noise."""
    scene, faces = _backdrop(size, seed).copy(), []
    with one_thread():
        for place, person in enumerate(people):
            if person.present is None or person.present[0] <= time < person.present[1]:
                faces.append(_paint(scene, person, time, place=place, seed=seed))
    grain = np.random.default_rng([seed, _GRAIN, number]).normal(0, 2, scene.shape)
    grey = np.clip(np.rint(scene + grain), 0, 255).astype(np.uint8)
    return DrawnFrame(time, np.repeat(grey[..., None], 3, axis=2), tuple(faces))


def draw_sample(path: Path, *, fps: float = 25.0) -> DrawnClip:
    """Draw and write the sample clip, 400 x 300: two people for ten seconds, four acted expressions, and a second in which one is covered."""
    people = (
        Person(1, (Act("happy", 1.0, 1.2), Act("surprise", 5.5, 1.2)), centre=(0.27, 0.5), side=0.62),
        Person(8, (Act("surprise", 2.5, 1.0), Act("happy", 7.0, 1.2)), centre=(0.75, 0.5), side=0.56, covered=(5.0, 6.0)),
    )
    faces: list[tuple[FaceTruth, ...]] = []

    def pictures() -> Iterator[np.ndarray]:
        for frame in draw_clip(people, seconds=10, fps=fps, size=(400, 300)):
            faces.append(frame.faces)
            yield frame.picture

    path.parent.mkdir(parents=True, exist_ok=True)
    write_clip(path, pictures(), fps=fps)
    return DrawnClip(path, tuple(faces))


def write_clip(path: Path, pictures: Iterable[np.ndarray], *, fps: float = 25.0) -> int:
    """Write pictures, uint8 (H, W, 3) in RGB, all of one size, as a video file; return their number.

    Raises:
        InputError: If the ending is none of `CODECS`, there is no picture, or OpenCV cannot write there.
    """
    if path.suffix.lower() not in CODECS:
        raise InputError(f"{path}: expected a name that ends in {', '.join(CODECS)}")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # Keep: FFmpeg's messages go past Python to the terminal
    writer, count = None, 0
    try:
        for picture in pictures:
            if writer is None:
                code = cv2.VideoWriter.fourcc(*CODECS[path.suffix.lower()])
                with quiet_stderr():
                    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, (picture.shape[1], picture.shape[0]))
                if not writer.isOpened():
                    raise InputError(f"{path}: OpenCV cannot write a video there; see that its folder exists and can be written")
            writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            count += 1
    finally:
        if writer is not None:
            writer.release()
    if count == 0:
        raise InputError(f"{path}: expected one picture or more, got none")
    return count


def _paint(scene: np.ndarray, person: Person, time: float, *, place: int, seed: int) -> FaceTruth:
    """Paint a person into the scene; return the truth."""
    high, wide = scene.shape
    side = round(person.side * high)
    act = next((act for act in person.acts if act.level(time) > 0), None)
    level = 0 if act is None else round(act.level(time) * (LEVELS - 1))
    picture, intensity, apex = _face(person.subject, act.expression if act else "neutral", level, side, seed)
    phases = np.random.default_rng([seed, _DRIFT, place]).uniform(0, 2 * np.pi, 2)
    shift = person.drift * side * np.sin(2 * np.pi * np.array([0.23, 0.31]) * time + phases)
    left, top = (round(float(value)) for value in np.array(person.centre) * (wide, high) - side / 2 + shift)
    covered = person.covered is not None and person.covered[0] <= time < person.covered[1]
    _paste(scene, _cover(side) if covered else picture, left, top)
    expression = act.expression if act and apex and intensity >= HALF * apex else "neutral"
    return FaceTruth(place, (left, top, side, side), expression, intensity, covered)


def _paste(scene: np.ndarray, picture: np.ndarray, left: int, top: int) -> None:
    """Mix a square picture into the scene, softly at its rim; what lies outside is cut."""
    side, (high, wide) = len(picture), scene.shape
    away = np.minimum(np.arange(side), np.arange(side)[::-1]) / (0.08 * side)
    share = np.clip(np.minimum(away[:, None], away[None]), 0, 1).astype(np.float32)
    rows, columns = slice(max(-top, 0), max(min(side, high - top), 0)), slice(max(-left, 0), max(min(side, wide - left), 0))
    part = scene[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
    part += share[rows, columns] * (picture[rows, columns] - part)


@lru_cache(maxsize=4 * LEVELS)
def _face(subject: int, expression: str, level: int, side: int, seed: int) -> tuple[np.ndarray, float, float]:
    """Return a face's picture, its intensity, and that of the apex; the same light, pose and take in all of a subject's acts."""
    spec = sample_spec(seed, subject, subject=subject, expression=expression)
    still = sample_spec(seed, subject, subject=subject, expression="neutral")
    apex = replace(spec, occluder="none", light=still.light, pose=still.pose, rest=still.rest, noise=0.0, blur=still.blur)
    if expression != "neutral" and apex.intensity > 0:
        apex = replace(
            apex, intensity=5.0, action_units={unit: min(1.0, value / max(apex.action_units.values())) for unit, value in apex.action_units.items()}
        )
    drawn = frame_of(apex, level, frames=LEVELS, seed=seed, number=subject)
    # Keep: frames of one face jitter in light and pose by drawing; here the face holds still, and the scene moves it
    drawn = replace(drawn, light=apex.light, pose=apex.pose, rest=apex.rest)
    most = 224  # pixels: the largest face that is drawn
    picture = draw_image(drawn, int(np.clip(side, 24, most))).astype(np.float32)
    return (picture if len(picture) == side else cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)), drawn.intensity, apex.intensity


@lru_cache(maxsize=4)
def _cover(side: int) -> np.ndarray:
    """Return what covers a face: a sheet of paper."""
    ramp = np.linspace(0, 30, side, dtype=np.float32)
    return 190 + ramp[:, None] - ramp[None] / 2


@lru_cache(maxsize=4)
def _backdrop(size: tuple[int, int], seed: int) -> np.ndarray:
    """Return a room without people, float32 (H, W): a soft pattern in which a detector finds no face."""
    rng = np.random.default_rng([seed, _GRAIN])
    coarse = rng.uniform(90, 150, (6, 8)).astype(np.float32)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
