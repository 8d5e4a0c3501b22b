"""How a set of control faces is drawn: what decides a face's pixels beyond seed, number and subject, sequences included.

A row's `source_path` holds the recipe ("seed/index", then what differs from the default: "0/12?frames=8&skin=5,6"), so that a face and its
masks can be drawn again from its row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

from ferlab.control.action_units import NAMES, amplitude
from ferlab.control.specs import SKIN_ALBEDO, FaceSpec, Identity, Light, Pose, Rest, sample_spec
from ferlab.control.worlds import DECIDING, carry_mark, decide_by_region
from ferlab.expressions import FER2013_COUNTS

_JITTER, _SKIN, _GLASSES, _LIGHT, _CLASS = 13, 14, 15, 16, 17  # streams of random numbers
_GOLDEN = 0.6180339887498949
_COMMONEST_FIRST = (*sorted(NAMES[:7], key=lambda name: -FER2013_COUNTS["Training"][NAMES.index(name)]), NAMES[7])
_POSE_JITTER = {"yaw": 0.5, "pitch": 0.4, "roll": 0.3, "scale": 0.003, "shift_x": 0.003, "shift_y": 0.003}
_REST_JITTER = {spec.name: 0.0006 for spec in fields(Rest)} | {"gaze_x": 0.002, "gaze_y": 0.001}
Part = TypeVar("Part", Light, Pose, Rest)


class Recipe(BaseModel, frozen=True, extra="forbid"):
    """What decides the pixels of a set's faces; see `ferlab.control.source.read` for each."""

    expressions: int = Field(7, ge=7, le=8)
    frames: int = Field(1, ge=1)
    world: Literal["faces", "one_region", "shortcut", "null"] = "faces"
    region: Literal["mouth", "brows", "eyes", "nose"] = "mouth"
    shortcut: Literal["corner", "glasses", "brightness"] = "corner"
    imbalance: float = Field(1.0, ge=1)
    skin: tuple[Annotated[int, Field(ge=1, le=6)], ...] = ()
    glasses: float | None = Field(None, ge=0, le=1)
    light: tuple[Annotated[float, Field(ge=-90, le=90)], ...] = Field((), max_length=2)

    @field_validator("light")
    @classmethod
    def _rising(cls, light: tuple[float, ...]) -> tuple[float, ...]:
        if list(light) != sorted(light):
            raise PydanticCustomError("rising", "Input should be one angle or [lowest, highest]")
        return light

    @property
    def names(self) -> tuple[str, ...]:
        """The expressions that are drawn, in their fixed order."""
        names = NAMES[: self.expressions]
        return tuple(name for name in names if name in DECIDING[self.region]) if self.world == "one_region" else names

    def text(self) -> str:
        """What differs from the default, as a query: "?frames=8&light=-40.0", or empty."""
        changed = self.model_dump(exclude_defaults=True)
        parts = [f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}" for name, value in changed.items()]
        return "?" + "&".join(parts) if parts else ""


@lru_cache(maxsize=256)
def parse_recipe(text: str) -> Recipe:
    """Read what `Recipe.text` wrote, without its "?"; a ValueError if it is not such a text."""
    values = dict(part.split("=", 1) for part in text.split("&")) if text else {}
    return Recipe.model_validate({name: value.split(",") if name in ("skin", "light") else value for name, value in values.items()})


def compose(recipe: Recipe, *, seed: int, index: int, subjects: int = 150, subject: int | None = None, mark: str = "") -> FaceSpec:
    """The spec of face `index` of a set; with sequences, `frames` consecutive faces are one.

    Args:
        recipe: Of the set.
        seed: Of the set.
        index: Number of the face.
        subjects: Number of subjects.
        subject: Overrides the one that `subjects` gives.
        mark: Expression that the face's planted mark stands for; empty: it has none.
    """
    if recipe == Recipe():
        return sample_spec(seed, index, subjects=subjects, subject=subject)
    number, frame = divmod(index, recipe.frames)
    name = _long_tailed(recipe, seed, number) if recipe.imbalance > 1 else None
    spec = sample_spec(seed, number, subjects=subjects, subject=subject, expressions=recipe.names, expression=name)
    spec = replace(spec, identity=_chosen_identity(spec.identity, recipe, (seed, spec.subject)))
    if recipe.light:
        angle = float(np.random.default_rng([seed, _LIGHT, number]).uniform(recipe.light[0], recipe.light[-1]))
        spec = replace(spec, light=replace(spec.light, azimuth=angle))
    if recipe.world == "one_region":
        spec = decide_by_region(spec, recipe.region, seed=seed, number=number)
    if recipe.frames > 1:
        spec = frame_of(spec, frame, frames=recipe.frames, seed=seed, number=number)
    return carry_mark(spec, recipe.shortcut, mark) if mark else spec


def rise(frame: int, frames: int) -> float:
    """Fraction of the apex intensity that a frame shows, 0 to 1, not decreasing.

    >>> [round(rise(frame, 5), 2) for frame in range(5)]
    [0.0, 0.15, 0.5, 0.85, 1.0]
    """
    return float(0.5 - 0.5 * np.cos(np.pi * frame / (frames - 1)))


def frame_of(apex: FaceSpec, frame: int, *, frames: int, seed: int, number: int) -> FaceSpec:
    """Frame `frame` of `frames`, from 0, of sequence `number`, which ends in the face `apex`; light and pose drift a little.

    Frame 0 has intensity 0 and no active unit, whatever the expression.
    """
    rng = np.random.default_rng([seed, _JITTER, number, frame])
    intensity = apex.intensity * rise(frame, frames)
    share = amplitude(intensity) / amplitude(apex.intensity) if apex.intensity > 0 else 0.0
    units = {unit: strength * share for unit, strength in apex.action_units.items()} if share > 0 else {}
    return replace(
        apex,
        intensity=intensity,
        action_units=units,
        light=_jittered(apex.light, {"azimuth": 0.5, "exposure": 0.004}, rng=rng),
        pose=_jittered(apex.pose, _POSE_JITTER, rng=rng),
        rest=_jittered(apex.rest, _REST_JITTER, rng=rng),
        frame=frame,
    )


def _jittered(still: Part, spreads: Mapping[str, float], *, rng: np.random.Generator) -> Part:
    return replace(still, **{name: getattr(still, name) + spread * float(np.clip(rng.normal(), -2, 2)) for name, spread in spreads.items()})


def _long_tailed(recipe: Recipe, seed: int, number: int) -> str:
    """Expression of a face; frequencies fall evenly on a log scale, in FER2013's order.

    Steps of the golden ratio keep the counts of any run of faces within a few of their expectation.
    """
    names = [name for name in _COMMONEST_FIRST if name in recipe.names]
    shares = recipe.imbalance ** -np.linspace(0, 1, len(names))
    start = np.random.default_rng([seed, _CLASS]).random()
    return names[int(np.searchsorted(np.cumsum(shares) / shares.sum(), (start + _GOLDEN * number) % 1.0))]


@lru_cache(maxsize=4096)
def _chosen_identity(who: Identity, recipe: Recipe, key: tuple[int, int]) -> Identity:
    """The subject with the recipe's skin and glasses."""
    seed, subject = key
    if recipe.glasses is not None:
        who = replace(who, glasses=bool(np.random.default_rng([seed, _GLASSES, subject]).random() < recipe.glasses))
    if recipe.skin and who.skin not in recipe.skin:
        rng = np.random.default_rng([seed, _SKIN, subject])
        skin = int(rng.choice(recipe.skin))
        hair = who.hair_albedo if skin <= 3 else min(who.hair_albedo, 0.10)
        iris = float(rng.uniform(0.05, 0.30)) if skin <= 3 else 0.06
        albedo = SKIN_ALBEDO[skin - 1] * who.skin_albedo / SKIN_ALBEDO[who.skin - 1]
        who = replace(who, skin=skin, skin_albedo=albedo, hair_albedo=hair, iris_albedo=iris)
    return who
