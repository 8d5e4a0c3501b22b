"""How a set of control faces is drawn: everything beyond seed, number and subject that decides a face's pixels.

A recipe travels in each row's `source_path` ("seed/index", then what differs from the default: "0/12?frames=8&skin=5,6"), so that
a face and its masks can be drawn again from its row alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np

from ferlab.control.action_units import NAMES
from ferlab.control.drawing.marks import MARKS
from ferlab.control.identity import SKIN_ALBEDO, Identity
from ferlab.control.sequences import frame_of
from ferlab.control.specs import FaceSpec, sample_spec
from ferlab.control.worlds import DECIDING, WORLDS, carry_mark, decide_by_region
from ferlab.expressions import FER2013_COUNTS
from ferlab.paths import InputError

_SKIN, _GLASSES, _LIGHT, _CLASS = 14, 15, 16, 17  # streams of random numbers
_GOLDEN = 0.6180339887498949
_COMMONEST_FIRST = (*sorted(NAMES[:7], key=lambda name: -FER2013_COUNTS["Training"][NAMES.index(name)]), NAMES[7])


@dataclass(frozen=True)
class Recipe:
    """What decides the pixels of a set's faces; see `ferlab.control.source.read` for each."""

    expressions: int = 7
    frames: int = 1
    world: str = "faces"
    region: str = "mouth"
    shortcut: str = "corner"
    imbalance: float = 1.0
    skin: tuple[int, ...] = ()
    glasses: float | None = None
    light: tuple[float, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The expressions that are drawn, in their fixed order."""
        names = NAMES[: self.expressions]
        return tuple(name for name in names if name in DECIDING[self.region]) if self.world == "one_region" else names

    def text(self) -> str:
        """What differs from the default, as a query: "?frames=8&light=-40.0", or empty."""
        defaults, parts = Recipe(), []
        for name in (spec.name for spec in fields(self)):
            value = getattr(self, name)
            if value != getattr(defaults, name):
                parts.append(f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
        return "?" + "&".join(parts) if parts else ""


@lru_cache(maxsize=256)
def parse_recipe(text: str) -> Recipe:
    """Read what `Recipe.text` wrote, without its "?".

    Raises:
        ValueError: If it is not such a text.
    """
    words = dict(part.split("=", 1) for part in text.split("&")) if text else {}
    readers = {"expressions": int, "frames": int, "world": str, "region": str, "shortcut": str, "imbalance": float, "glasses": float}
    tuples = {"skin": int, "light": float}
    values: dict[str, object] = {name: readers[name](word) for name, word in words.items() if name in readers}
    values |= {name: tuple(tuples[name](one) for one in word.split(",")) for name, word in words.items() if name in tuples}
    if set(words) - set(values):
        raise ValueError(f"Unknown words {sorted(set(words) - set(values))}")
    return Recipe(**values)  # type: ignore[arg-type]


def check_recipe(recipe: Recipe) -> None:
    """Raise an `InputError` in one line if a value is out of range."""
    rules: Sequence[tuple[bool, str, object]] = (
        (recipe.expressions in (7, 8), "expressions of 7 or 8 (with contempt)", recipe.expressions),
        (recipe.frames >= 1, "at least 1 frame a sequence", recipe.frames),
        (recipe.world in WORLDS, f"a world of {', '.join(WORLDS)}", recipe.world),
        (recipe.region in DECIDING, f"a region of {', '.join(DECIDING)}", recipe.region),
        (recipe.shortcut in MARKS, f"a shortcut of {', '.join(MARKS)}", recipe.shortcut),
        (recipe.imbalance >= 1, "an imbalance of at least 1", recipe.imbalance),
        (set(recipe.skin) <= set(range(1, 7)), "skin tones of 1 to 6", list(recipe.skin)),
        (recipe.glasses is None or 0 <= recipe.glasses <= 1, "a share of glasses of 0 to 1", recipe.glasses),
        (len(recipe.light) <= 2 and list(recipe.light) == sorted(recipe.light), "light as one angle or [lowest, highest]", list(recipe.light)),
        (all(-90 <= angle <= 90 for angle in recipe.light), "light of -90 to 90 degrees", list(recipe.light)),
    )
    for holds, expected, value in rules:
        if not holds:
            raise InputError(f"control faces: expected {expected}, got {value!r}")


def compose(recipe: Recipe, *, seed: int, index: int, subjects: int = 150, subject: int | None = None, mark: str = "") -> FaceSpec:
    """The spec of face `index` of a set drawn by a recipe.

    Args:
        recipe: Of the set.
        seed: Of the set.
        index: Number of the face; with sequences, `frames` consecutive faces are one.
        subjects: Number of subjects the faces are shared among.
        subject: Overrides the subject that `subjects` would give.
        mark: Expression for which the face's planted mark stands; empty: it carries none.
    """
    if recipe == _PLAIN:
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


_PLAIN = Recipe()


def _long_tailed(recipe: Recipe, seed: int, number: int) -> str:
    """Expression of a face where shares fall evenly, on a log scale, from the commonest of FER2013 to the rarest.

    Dealt by steps of the golden ratio, so that the counts of any run of faces are within a few of their shares.
    """
    names = [name for name in _COMMONEST_FIRST if name in recipe.names]
    shares = recipe.imbalance ** -np.linspace(0, 1, len(names))
    start = np.random.default_rng([seed, _CLASS]).random()
    return names[int(np.searchsorted(np.cumsum(shares) / shares.sum(), (start + _GOLDEN * number) % 1.0))]


@lru_cache(maxsize=4096)
def _chosen_identity(who: Identity, recipe: Recipe, words: tuple[int, int]) -> Identity:
    """The subject with skin and glasses as the recipe wants them; what it leaves open stays as sampled."""
    seed, subject = words
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
