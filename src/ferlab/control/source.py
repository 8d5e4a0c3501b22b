"""Control faces as a dataset: the reader draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from ferlab.control.action_units import ACTION_UNITS, NAMES, affect
from ferlab.control.drawing.picture import draw_image
from ferlab.control.options import assign_usages, spoil_labels
from ferlab.control.recipe import Recipe, compose
from ferlab.control.specs import FaceSpec
from ferlab.control.worlds import carry_mark, meaningless_labels, plant_marks
from ferlab.copies import KINDS, alter
from ferlab.opencv import one_thread
from ferlab.paths import InputError

SIZES = (24, 224)
SEVERAL = {"skin": "skin tones of 1 (lightest) to 6", "light": "one angle or [lowest, highest], of -90 to 90 degrees"}  # options of several values
NEAR_KINDS = KINDS[:-1]  # of near-duplicates; "combined" is for measuring a search
_DUPLICATES, _NEAR = 7, 20  # streams of random numbers, apart from those of `specs`


def read(
    raw: Path | str | None = None,
    *,
    faces: int = 3000,
    subjects: int = 150,
    size: int = 48,
    seed: int = 0,
    colour: bool = False,
    expressions: int = 7,
    frames: int = 1,
    world: str = "faces",
    region: str = "mouth",
    shortcut: str = "corner",
    rho: float = 0.9,
    overlap: float | None = None,
    test_share: float = 0.2,
    val_share: float = 0.1,
    duplicates: float = 0.0,
    near_duplicates: float = 0.0,
    label_noise: float = 0.0,
    imbalance: float = 1.0,
    skin: int | Sequence[int] = (),
    glasses: float | None = None,
    light: float | Sequence[float] | None = None,
    pictures: bool = True,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw a set of control faces.

    Args:
        raw: Ignored; every reader takes a path.
        faces: Number of faces N.
        subjects: Number of subjects.
        size: Side S of a face in pixels.
        seed: Face i depends on (seed, i), its subject and the options that change how faces are drawn.
        colour: RGB instead of grey; the faces are the same.
        expressions: 7, or 8 with contempt (target 7).
        frames: Faces per sequence, from neutral to apex, all with the sequence's label; 1: still faces.
        world: What decides the label, see `ferlab.control.worlds`: faces, one_region, shortcut or null.
        region: The deciding region of one_region: mouth, brows, eyes or nose. Only expressions that it separates are drawn.
        shortcut: The mark of the world shortcut: corner, glasses or brightness, with a look per expression.
        rho: Proportion of Training and PublicTest faces whose mark agrees with their label; in PrivateTest it is independent.
        overlap: Proportion of PrivateTest faces whose subject also has Training faces. None: usage is "Training" throughout, but in
            the world shortcut, where it is 0.
        test_share: Proportion of faces in PrivateTest where usages are assigned, by subject.
        val_share: Proportion of faces in PublicTest, likewise.
        duplicates: Proportion of faces that are exact duplicates of another face of the subject.
        near_duplicates: Proportion of faces that are near-duplicates, of the six kinds of `ferlab.copies` in turn. Their row describes the
            original; `duplicate_kind` names the kind.
        label_noise: Proportion of faces, or sequences, with a wrong label; `true_target` is the right one.
        imbalance: Ratio of the commonest expression to the rarest; the others lie between them, evenly on a log scale.
        skin: Skin tones, of 1 (lightest) to 6, that subjects may have; empty: all.
        glasses: Proportion of subjects who wear glasses; None: as sampled, 0.15.
        light: Direction of the lamp in degrees, from the right positive: one angle, or lowest and highest; None: as sampled.
        pictures: False: no face is drawn, and no image returned, for who needs the table alone.

    Returns:
        Images uint8 (N, S, S), in colour (N, S, S, 3), and their face table without `content_hash` and `split`.

    Raises:
        InputError: If an option is out of range.
    """
    recipe = _checked_recipe(expressions=expressions, frames=frames, world=world, region=region, shortcut=shortcut, imbalance=imbalance,
                             skin=_several(skin), glasses=glasses, light=_several(light))  # fmt: skip
    shares = {"rho": rho, "overlap": overlap or 0.0, "test_share": test_share, "val_share": val_share, "label_noise": label_noise}
    copies = {"duplicates": duplicates, "near_duplicates": near_duplicates, "duplicates + near_duplicates": duplicates + near_duplicates}
    _check_limits({"faces": faces, "subjects": subjects}, 1, np.inf)
    _check_limits({"size": size}, *SIZES)
    _check_limits(shares, 0, 1)
    if test_share + val_share > 1 - 1e-9:
        together = f"{test_share + val_share:g} together"
        raise InputError(f"control faces: expected test_share and val_share to leave faces for Training, got {together}")
    _check_limits(copies, 0, 0.5)
    _check_sequences(recipe, faces=faces, copies=duplicates + near_duplicates)
    specs = [compose(recipe, seed=seed, index=index, subjects=subjects) for index in range(faces)]
    drawn_from, kinds = _choose_copies(np.array([spec.subject for spec in specs]), seed=seed, duplicates=duplicates, near_duplicates=near_duplicates)
    columns = _labels(specs, recipe, drawn_from=drawn_from, seed=seed, label_noise=label_noise)
    if overlap is not None or world == "shortcut":
        columns |= _usages(specs, recipe, seed=seed, test_share=test_share, val_share=val_share, overlap=overlap or 0.0)
    if world == "shortcut":
        marks = _marks(columns, recipe, rho=rho, seed=seed)[drawn_from]
        specs = [carry_mark(spec, shortcut, mark) for spec, mark in zip(specs, marks, strict=True)]
        columns["shortcut"] = marks
    images = _draw(specs if pictures else [], drawn_from, kinds, size=size, seed=seed, colour=colour)
    rows = [
        _row(specs[origin], index=index, origin=int(origin), kind=kind, path=f"{seed}/{origin}{recipe.text()}")
        for index, (origin, kind) in enumerate(zip(drawn_from, kinds, strict=True))
    ]
    return images, pd.DataFrame(rows).assign(**columns).astype({"target": "int64"})


def copy_rng(seed: int, index: int) -> np.random.Generator:
    """Generator of the parameters of near-duplicate `index` of a set."""
    return np.random.default_rng([seed, _NEAR, index])


def _draw(specs: list[FaceSpec], drawn_from: np.ndarray, kinds: list[str], *, size: int, seed: int, colour: bool) -> np.ndarray:
    images = np.empty((len(specs), size, size, 3) if colour else (len(specs), size, size), np.uint8)
    with one_thread():
        own = (drawn_from == np.arange(len(drawn_from)))[: len(specs)]
        for index in np.flatnonzero(own):
            images[index] = draw_image(specs[index], size, colour=colour)
        for index in np.flatnonzero(~own):
            images[index] = alter(images[drawn_from[index]], kinds[index], copy_rng(seed, index))
    return images


def _choose_copies(subject: np.ndarray, *, seed: int, duplicates: float, near_duplicates: float) -> tuple[np.ndarray, list[str]]:
    """Index each face is drawn from (N,), and the kind of copy: "" for an original."""
    copied = _choose_duplicates(subject, rng=np.random.default_rng([seed, _DUPLICATES]), share=duplicates)
    kinds = np.where(copied != np.arange(len(subject)), "exact", "").astype(object)
    rng = np.random.default_rng([seed, _NEAR])
    near = _choose_duplicates(subject, rng=rng, share=near_duplicates, taken=copied)
    rows = rng.permutation(np.flatnonzero(near != copied))
    kinds[rows] = np.resize(np.array(NEAR_KINDS, dtype=object), len(rows))
    return near, kinds.tolist()


def _choose_duplicates(subject: np.ndarray, *, rng: np.random.Generator, share: float, taken: np.ndarray | None = None) -> np.ndarray:
    """Choose the copies: of each face (N,) the index it is drawn from, its own or that of an original of its subject.

    A `share` of the faces become copies, fewer where subjects have too few faces. Copies of an earlier choice (`taken`) and their originals
    stay.
    """
    own = np.arange(len(subject))
    drawn_from = own.copy() if taken is None else taken.copy()
    fixed = set(np.flatnonzero(drawn_from != own).tolist()) | set(drawn_from[drawn_from != own].tolist())
    wanted = round(share * len(subject))
    originals: set[int] = set()
    for index in rng.permutation(len(subject)):
        if wanted == 0:
            break
        if index in originals or index in fixed:
            continue
        others = [other for other in np.flatnonzero(subject == subject[index]) if other != index and drawn_from[other] == other]
        if others:
            drawn_from[index] = int(rng.choice(others))
            originals.add(int(drawn_from[index]))
            wanted -= 1
    return drawn_from


def _labels(specs: list[FaceSpec], recipe: Recipe, *, drawn_from: np.ndarray, seed: int, label_noise: float) -> dict[str, Any]:
    """Columns `target`, and what is known where the label is not what is drawn."""
    drawn = np.array([NAMES.index(spec.expression) for spec in specs])[drawn_from]
    groups, classes = np.arange(len(specs)) // recipe.frames, np.array([NAMES.index(name) for name in recipe.names])
    columns: dict[str, Any] = {"target": drawn}
    if recipe.world == "null":
        columns["target"] = meaningless_labels(int(groups[-1]) + 1, classes=classes, seed=seed)[groups]
        columns["drawn_expression"] = [NAMES[target] for target in drawn]
    if label_noise:
        columns["true_target"] = columns["target"]
        columns["target"] = spoil_labels(columns["target"], groups, share=label_noise, classes=classes, seed=seed)
    if recipe.world != "faces":
        columns["world"] = recipe.world
    if recipe.world == "one_region":
        columns["region"] = recipe.region
    if recipe.frames > 1:
        columns |= {"sequence": [f"control/q{group:06d}" for group in groups], "frame": np.arange(len(specs)) % recipe.frames}
    return columns


def _usages(specs: list[FaceSpec], recipe: Recipe, *, seed: int, test_share: float, val_share: float, overlap: float) -> dict[str, Any]:
    groups = np.arange(len(specs)) // recipe.frames
    subject = np.array([spec.subject for spec in specs])[:: recipe.frames]
    usage, crosses = assign_usages(subject, seed=seed, test_share=test_share, val_share=val_share, overlap=overlap)
    return {"usage": usage[groups], "overlap": crosses[groups]}


def _marks(columns: dict[str, Any], recipe: Recipe, *, rho: float, seed: int) -> np.ndarray:
    """Expression that each face's mark stands for (N,), one per sequence."""
    targets, usage = np.asarray(columns["target"]), columns["usage"]
    classes = np.array([NAMES.index(name) for name in recipe.names])
    first = slice(None, None, recipe.frames)
    stands_for = plant_marks(targets[first], holds=usage[first] != "PrivateTest", rho=rho, classes=classes, seed=seed)
    return np.array(NAMES, dtype=object)[stands_for][np.arange(len(targets)) // recipe.frames]


def _row(spec: FaceSpec, *, index: int, origin: int, kind: str, path: str) -> dict[str, object]:
    who, light, pose = spec.identity, spec.light, spec.pose
    valence, arousal = affect(spec.expression, spec.intensity)
    strengths = {f"au{unit}": round(spec.action_units.get(unit, 0.0), 4) for unit in ACTION_UNITS}
    return {
        "face_id": f"control/{index:07d}",
        "source": "control",
        "source_path": path,
        "usage": "Training",
        "target": NAMES.index(spec.expression),
        "subject": f"s{spec.subject:04d}",
        "intensity": round(spec.intensity, 4),
        "valence": round(valence, 4),
        "arousal": round(arousal, 4),
        "duplicate_of": f"control/{origin:07d}" if origin != index else "",
        "duplicate_kind": kind,
        "skin": who.skin,
        "hair": who.hair,
        "beard": who.beard,
        "glasses": who.glasses,
        "age": round(who.age, 4),
        "occluder": spec.occluder,
        "light": round(light.azimuth, 2),
        "ambient": round(light.ambient, 4),
        "exposure": round(light.exposure, 4),
        "yaw": round(pose.yaw, 2),
        "pitch": round(pose.pitch, 2),
        "roll": round(pose.roll, 2),
        "noise": round(spec.noise, 3),
        "blur": round(spec.blur, 4),
    } | strengths


def _several(value: Any) -> tuple[Any, ...]:
    """Return one value, several or none, as an option in params.yaml gives them."""
    return () if value is None else (value,) if isinstance(value, (int, float, str)) else tuple(value)


def _checked_recipe(**options: Any) -> Recipe:
    try:
        return Recipe(**options)
    except ValidationError as errors:
        error = errors.errors()[0]
        expected = SEVERAL.get(error["loc"][0], error["msg"].lower().removeprefix("input should be "))
        got = list(error["input"]) if isinstance(error["input"], tuple) else error["input"]
        raise InputError(f"control faces: expected {error['loc'][0]} to be {expected}, got {got!r}") from None


def _check_limits(values: Mapping[str, float], low: float, high: float) -> None:
    for name, value in values.items():
        if not low <= value <= high:
            raise InputError(f"control faces: expected {name} of {low} to {high}, got {value:g}".replace(f"of {low} to inf", f"of at least {low}"))


def _check_sequences(recipe: Recipe, *, faces: int, copies: float) -> None:
    if recipe.frames > 1 and faces % recipe.frames:
        whole = faces // recipe.frames * recipe.frames
        nearest = f"{whole} or {whole + recipe.frames}" if whole else recipe.frames
        raise InputError(f"control faces: expected whole sequences of {recipe.frames} frames, got faces={faces}; give {nearest}")
    if recipe.frames > 1 and copies:
        raise InputError("control faces: expected no duplicates among sequences, whose frames are near-duplicates; give frames 1 or no duplicates")
