"""A prompted session without a camera: drawn people act on the prompts, and the model predicts their frames. Numbers on control faces only.

Each prompt is a sequence from neutral to apex, drawn by `ferlab.control`; its frames pass through the same `Sitting` as a camera's. In the condition
remembered the drawn people show half of the intensity: a difference that is known, and that the page should find where there are enough prompts.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from ferlab.control.action_units import amplitude
from ferlab.control.drawing.picture import draw_image
from ferlab.control.recipe import frame_of
from ferlab.control.specs import FaceSpec, sample_spec
from ferlab.live.frames import Frame, LiveFace
from ferlab.live.model import LiveModel
from ferlab.live.session.files import DRAWN, SessionFacts, attempts_table
from ferlab.live.session.prompting import MOST_PROMPTS, Sitting, prompt_order

SIDE = 64  # pixels of a drawn face
CLIP = 9  # frames from neutral to apex, which the window then holds
HELD = 2  # frames of the window
INTENSITY = {"acted": 1.0, "remembered": 0.5}  # of the sampled intensity
DRAWN_ON = "2026-01-01T00:00:00+00:00"  # no clock: the same arguments give the same table


def run_session(model: LiveModel, *, person: int = 1, condition: str = "acted", n: int = 21, seed: int = 0) -> pd.DataFrame:
    """Return the attempts of one drawn person, as `ferlab.live.session.files` describes them; nothing is stored.

    Args:
        model: Predicts the frames.
        person: Number of the subject.
        condition: A key of `INTENSITY`.
        n: Number of prompts.
        seed: Of prompts and faces.
    """
    order_seed = int(np.random.default_rng([seed, person, list(INTENSITY).index(condition)]).integers(2**31))
    facts = SessionFacts(
        f"drawn-{person}", condition, n, order_seed, model.name, tuple(model.expressions), source=DRAWN, session=f"drawn-{person}-{condition}"
    )
    sitting = Sitting(prompt_order(facts.expressions, n, seed=order_seed), lead_s=CLIP, window_s=HELD)
    moment = 0
    sitting.start(moment)
    while sitting.phase != "done":
        moment = _act(sitting, model, facts=facts, began=moment)
        sitting.resume(moment)
    return attempts_table(facts, sitting.attempts, [DRAWN_ON] * len(sitting.attempts))


def demonstrate(model: LiveModel, *, people: int = 2, n: int = 21, seed: int = 0) -> pd.DataFrame:
    """Return the sessions of some drawn people in both conditions, n prompts each."""
    sessions = [run_session(model, person=person, condition=condition, n=n, seed=seed) for person in range(1, people + 1) for condition in INTENSITY]
    return pd.concat(sessions, ignore_index=True)


def clip_of(prompt: str, *, person: int, number: int, share: float = 1.0, seed: int = 0) -> list[FaceSpec]:
    """Return a sequence from neutral to apex, which is then held, `CLIP` + `HELD` frames.

    Args:
        prompt: Expression.
        person: Number of the subject.
        number: Of the sequence; each has its own intensity, light and pose.
        share: Of the sampled intensity that the apex shows.
        seed: Of all of it.
    """
    sampled = sample_spec(seed, number, subject=person, expression=prompt)
    weaker = amplitude(share * sampled.intensity) / amplitude(sampled.intensity) if sampled.action_units else 1.0
    units = {unit: strength * weaker for unit, strength in sampled.action_units.items()}
    apex = replace(sampled, occluder="none", intensity=share * sampled.intensity, action_units=units)
    rising = [frame_of(apex, frame, frames=CLIP, seed=seed, number=number) for frame in range(CLIP)]
    return [*rising, *(replace(rising[-1], frame=CLIP + held) for held in range(HELD))]


def _act(sitting: Sitting, model: LiveModel, *, facts: SessionFacts, began: int) -> int:
    """Show the frames of the current prompt until its attempt ends; return the time of that."""
    number = facts.seed % 10**6 * MOST_PROMPTS + sitting.number
    clip = clip_of(sitting.prompt, person=int(facts.person.removeprefix("drawn-")), number=number, share=INTENSITY[facts.condition])
    for place, spec in enumerate(clip):
        moment = began + place  # one frame a second: whole numbers are exact
        sitting.advance(moment)
        if sitting.phase == "window":  # only these count: the others need not be drawn
            probs = model.predict(draw_image(spec, SIDE), (0, 0, SIDE, SIDE))
            face = LiveFace(0, (0.0, 0.0, float(SIDE), float(SIDE)), probs=probs)
            sitting.see([Frame(place, moment, (face,), 0.0, 0.0, 0.0, (SIDE, SIDE))], moment)
    sitting.advance(sitting.ends)
    return math.ceil(sitting.ends)
