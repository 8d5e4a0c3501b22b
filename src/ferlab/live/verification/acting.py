"""Simulated people for the expression check: control faces that act on prompts, drawn, seen by the model, and reported as frames.

A person has an identity, an apex intensity per expression, a reaction time and a pace; the model predicts the drawn face, pose, eyes and mouth
come from the drawing's own geometry with the jitter of landmarks. The drawing has no unit that closes the eyes: a closed eye is the upper lid
at its lowest (`Rest.lid_open`) with the lid tightener (AU 7), an opening of about a fifth of that at rest. All numbers are about control faces.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ferlab.control.action_units import amplitude, draw_units
from ferlab.control.drawing.geometry import shape_face
from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import FaceSpec, Identity, Light, Pose, Rest, sample_identity
from ferlab.live.frames import Frame, LiveFace
from ferlab.live.verification.check import BLINK, NEUTRAL, SIGNS, Check, Rules
from ferlab.live.verification.verdict import Verdict

SIZE = 64  # of a drawn face in pixels
STEPS = 16  # intensities drawn between rest and apex
YAW_STEP = 4.0  # degrees
FOLLOWS = 0.32  # how far the mesh follows a lid: eyes closed to 0.22 are reported at about 0.75 (`ferlab.live.verification.liveness`)
WIDTH = 200.0  # of the face's box, as a camera would report it
_PERSON, _HABITS, _JITTER = 31, 32, 33  # streams of random numbers


class Predicts(Protocol):
    """A model: `ferlab.deployment.Predictor`."""

    expressions: tuple[str, ...]

    def predict_faces(self, faces: np.ndarray) -> np.ndarray:
        """Return float32 (N, K) of uint8 (N, H, W)."""


@dataclass(frozen=True)
class Look:
    """What the camera is shown at one moment.

    Attributes:
        expression: Of the face.
        rise: Fraction of the apex.
        yaw: Turn of the head in degrees.
        closed: Whether the eyes are closed.
        tilt: Turn in degrees of a flat picture that shows the face; landmarks report it as a turn of the head.
        moved: Of the face in the camera's picture, in widths of its box.
    """

    expression: str = NEUTRAL
    rise: float = 0.0
    yaw: float = 0.0
    closed: bool = False
    tilt: float = 0.0
    moved: tuple[float, float] = (0.0, 0.0)

    def drawn(self) -> Look:
        """Return the nearest look that is drawn."""
        rise, yaw, tilt = round(self.rise * STEPS) / STEPS, *(round(angle / YAW_STEP) * YAW_STEP for angle in (self.yaw, self.tilt))
        return Look(self.expression if rise > 0 else NEUTRAL, rise, yaw, self.closed, tilt)


@dataclass
class Person:
    """A subject of control faces who acts.

    Attributes:
        seed: With `subject`, decides everything.
        subject: Number of the subject.
        intensity: Of the apex, 1 (barely visible) to 5.
        reaction: Seconds from a prompt to the start of the movement.
        onset: Seconds from rest to apex.
    """

    seed: int
    subject: int
    intensity: float = 5.0
    reaction: float = 0.7
    onset: float = 0.5
    identity: Identity = field(init=False)
    _pictures: dict[Look, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.identity = sample_identity(self.seed, self.subject)

    def spec(self, look: Look) -> FaceSpec:
        """The control face of a look."""
        habits = np.random.default_rng([self.seed, _HABITS, self.subject])
        units = draw_units(look.expression, habits=habits, chance=habits)
        level = self.intensity * look.rise
        strengths = {unit: min(1.0, amplitude(level)) for unit in units} if level > 0 else {}
        rest = Rest(lid_open=-0.1) if look.closed else Rest()
        noise = {"noise": 2.0, "noise_seed": (self.seed, self.subject, round(100 * level))}
        closed = {7: 1.0} if look.closed else {}
        pose, light = Pose(yaw=look.yaw, scale=1.1), Light(azimuth=10.0)
        shown = look.expression if strengths else NEUTRAL
        return FaceSpec(shown, level, {**strengths, **closed}, self.identity, subject=self.subject, pose=pose, rest=rest, light=light, **noise)

    def picture(self, look: Look) -> np.ndarray:
        """Draw a look as `Look.drawn` gives it, uint8 (SIZE, SIZE); once each."""
        if look not in self._pictures:
            self._pictures[look] = draw_image(self.spec(look), SIZE)
        return self._pictures[look]


def sample_person(seed: int, subject: int) -> Person:
    """Draw a person: apex of 3 to 5, reaction of 0.4 to 1.2 s, onset of 0.3 to 0.9 s."""
    rng = np.random.default_rng([seed, _PERSON, subject])
    return Person(seed, subject, *(float(rng.uniform(*reach)) for reach in ((3.0, 5.0), (0.4, 1.2), (0.3, 0.9))))


Medium = Callable[[np.ndarray, float, float], np.ndarray]
"""Changes a picture (H, W) as paper or a screen does; its tilt in degrees, and a phase of 0 to 1."""


@dataclass
class Booth:
    """Draws the looks of one person before a camera, and reports them as frames; what was drawn before is taken from memory.

    Attributes:
        person: Who is seen.
        model: Predicts the faces.
        medium: Between the person and the camera; None for nothing.
        phases: How many pictures of a look the medium gives.
        stored: Pictures that are not drawn but come from a recording.
    """

    person: Person
    model: Predicts
    medium: Medium | None = None
    phases: int = 1
    stored: dict[Look, np.ndarray] = field(default_factory=dict)
    _seen: dict[tuple[Look, int], tuple[np.ndarray, tuple[float, float], float]] = field(default_factory=dict)

    def picture(self, look: Look, phase: int = 0) -> np.ndarray:
        """Draw a look, uint8 (SIZE, SIZE)."""
        look = look.drawn()
        shown = self.stored[look] if look in self.stored else self.person.picture(replace(look, tilt=0.0))
        return shown if self.medium is None else self.medium(shown, look.tilt, phase / self.phases)

    def frame(self, look: Look, number: int, time: float, *, rng: np.random.Generator) -> Frame:
        """Report a look as frame `number` at `time` in seconds, with the jitter of landmarks from `rng`."""
        drawn, phase = look.drawn(), int(rng.integers(self.phases))
        if (drawn, phase) not in self._seen:
            probs = self.model.predict_faces(self.picture(drawn, phase)[None])[0]
            (rest, _), (eyes, mouth) = opening(self.person.spec(Look())), opening(self.person.spec(drawn))
            followed = tuple(FOLLOWS * now + (1 - FOLLOWS) * before for now, before in zip(eyes, rest, strict=True))
            self._seen[drawn, phase] = (probs, followed, mouth)
        probs, eyes, mouth = self._seen[drawn, phase]
        jitter = rng.normal(size=6).tolist()
        pose = (look.yaw + look.tilt + jitter[0], 0.7 * jitter[1], 0.5 * jitter[2])
        seen = tuple(value * (1 + 0.05 * one) for value, one in zip(eyes, jitter[3:5], strict=True))
        box = (220 + WIDTH * look.moved[0] + jitter[5], 140 + WIDTH * look.moved[1], WIDTH, WIDTH)
        face = LiveFace(0, box, 0.95, probs, pose, seen, max(0.0, mouth * (1 + 0.05 * jitter[5])))  # type: ignore[arg-type]
        return Frame(number, time, (face,), 8.0, 4.0, 15.0, (640, 480))


def opening(spec: FaceSpec) -> tuple[tuple[float, float], float]:
    """Return the openings of the right and the left eye and of the mouth over their widths, from the drawing's geometry."""
    shape = shape_face(replace(spec, pose=Pose()))
    eyes = tuple(float((eye.lower[:, 1] - eye.upper[:, 1]).max() / np.ptp(eye.upper[:, 0])) for eye in shape.eyes)
    mouth = shape.mouth
    return eyes, float((mouth.inner_lower[:, 1] - mouth.inner_upper[:, 1]).max() / np.ptp(mouth.inner_upper[:, 0]))  # type: ignore[return-value]


class Actor(Protocol):
    """Whoever presents a face to the check: a person or an attack."""

    booth: Booth

    def show(self, time: float, prompt: str, since: float) -> Look:
        """Return the look at a time.

        Args:
            time: Seconds since the start.
            prompt: What the check asks for; "" at rest.
            since: Seconds since this was asked.
        """


def movement(seconds: float, onset: float) -> float:
    """Return the fraction of the way that a movement of `onset` seconds has made after `seconds`.

    >>> [movement(at, 1.0) for at in (-1, 0, 0.5, 1, 3)]
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    return float(0.5 - 0.5 * np.cos(np.pi * np.clip(seconds / onset, 0, 1)))


def act(prompt: str, since: float, onset: float) -> Look:
    """Return what a person shows `since` seconds after starting: an expression that is held, eyes closed for 0.5 s, a turn by 28 degrees."""
    if prompt == BLINK:
        return Look(closed=since >= 0 and since % 1.5 < 0.5)
    if prompt in SIGNS:
        return Look(yaw=28.0 * SIGNS[prompt] * movement(since, onset))
    return Look(prompt, movement(since, onset))


def relax(last: Look, since: float, onset: float) -> Look:
    """Return what a person shows `since` seconds after the prompt has gone."""
    left = 1 - movement(since - 0.2, onset)
    return replace(last, rise=last.rise * left, yaw=last.yaw * left, closed=False)


@dataclass
class Obedient:
    """A person who does what is asked, and relaxes when nothing is."""

    booth: Booth
    _last: Look = field(default_factory=Look)

    def show(self, time: float, prompt: str, since: float) -> Look:
        """See `Actor`."""
        person = self.booth.person
        if not prompt:
            return relax(self._last, since, person.onset)
        self._last = act(prompt, since - person.reaction, person.onset)
        return self._last


@dataclass(frozen=True)
class Shown:
    """A check that an actor went through.

    Attributes:
        verdict: Its result.
        steps: Its challenge.
        looks: What was shown in each frame.
        rate: Frames a second.
    """

    verdict: Verdict
    steps: tuple[str, ...]
    looks: tuple[Look, ...]
    rate: float


def present(actor: Actor, asked: Sequence[str], *, rules: Rules, challenge: int, rate: float = 20.0, seed: int = 0) -> Shown:
    """Let an actor go through a check, frame by frame.

    Args:
        actor: Who presents a face.
        asked: Expressions that the check asks for.
        rules: Of the check.
        challenge: Seed of the order of prompts.
        rate: Frames a second.
        seed: Of the jitter of landmarks.
    """
    now = [0.0]
    check = Check(actor.booth.model.expressions, asked, rules=rules, rng=random.Random(challenge), clock=lambda: now[0])
    rng, step, since, looks = np.random.default_rng([seed, _JITTER]), "", 0.0, []
    while check.verdict is None:
        now[0] = len(looks) / rate
        if check.prompt.step != step:
            step, since = check.prompt.step, now[0]
        looks.append(actor.show(now[0], step, now[0] - since))
        check.see(actor.booth.frame(looks[-1], len(looks) - 1, now[0], rng=rng))
    return Shown(check.verdict, check.steps, tuple(looks), rate)
