"""The control faces as a dataset: the reader, and the masks of a table's faces.

The reader draws instead of reading. A row's `source_path` ("seed/index") and `subject` are all that is needed to draw
its face again, at any size, or its masks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ferlab.control.action_units import ACTION_UNITS, REGIONS, regions_of
from ferlab.control.drawing import draw_image
from ferlab.control.masks import draw_masks
from ferlab.control.specs import FaceSpec, sample_spec
from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError

SIZES = (24, 224)
_TWINS = 7  # stream of random numbers, apart from those of `specs`


def read(
    raw: Path | str | None = None,
    *,
    faces: int = 3000,
    subjects: int = 150,
    size: int = 48,
    seed: int = 0,
    twins: float = 0.0,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw a set of control faces.

    Args:
        raw: Ignored; every reader takes a path.
        faces: Number of faces N.
        subjects: Number of subjects they are shared among.
        size: Side S of a face in pixels.
        seed: Seed of the set; face i depends on (seed, i) and its subject alone.
        twins: Share of faces that are byte copies of another face of the same subject, to be found by an audit.

    Returns:
        Images uint8 (N, S, S) and their face table, without `content_hash` and `split`, which the data room adds.

    Raises:
        InputError: If an option is out of range.
    """
    _check_options(faces=faces, subjects=subjects, size=size, twins=twins)
    specs = [sample_spec(seed, index, subjects=subjects) for index in range(faces)]
    drawn_from = _choose_twins(np.array([spec.subject for spec in specs]), seed=seed, share=twins)
    images = np.empty((faces, size, size), np.uint8)
    with _one_thread():
        for index in np.flatnonzero(drawn_from == np.arange(faces)):
            images[index] = draw_image(specs[index], size)
    images = images[drawn_from]
    rows = [_row(specs[origin], seed=seed, index=index, origin=int(origin)) for index, origin in enumerate(drawn_from)]
    return images, pd.DataFrame(rows).astype({"target": "int64"})


def spec_of(face: pd.Series) -> FaceSpec:
    """The spec of one row of a control face table, from its `source_path` and `subject`."""
    seed, _, index = str(face["source_path"]).partition("/")
    subject = str(face["subject"])
    if not (seed.isdigit() and index.isdigit() and subject[1:].isdigit()):
        raise InputError(
            f"{face['face_id']}: expected source_path 'seed/index' and subject 's0001' of a control face, "
            f"got {face['source_path']!r} and {subject!r}; only faces drawn by ferlab.control have masks"
        )
    return sample_spec(int(seed), int(index), subject=int(subject[1:]))


def region_masks(faces: pd.DataFrame, *, size: int) -> dict[str, np.ndarray]:
    """Masks of every face of a table, drawn again from its geometry.

    Args:
        faces: Rows of a control face table (N).
        size: Side S of the masks in pixels.

    Returns:
        Per region, and for "face" and "occluder", a bool array (N, S, S). Regions may overlap and are marked whether or not
        something covers them.
    """
    masks = {name: np.zeros((len(faces), size, size), bool) for name in (*REGIONS, "face", "occluder")}
    with _one_thread():
        for number, (_, face) in enumerate(faces.iterrows()):
            for name, mask in draw_masks(spec_of(face), size).items():
                masks[name][number] = mask
    return masks


def carrying_mask(faces: pd.DataFrame, *, size: int, visible_only: bool = False) -> np.ndarray:
    """Pixels that carry each face's expression: the union of the regions of its active action units.

    Args:
        faces: Rows of a control face table (N).
        size: Side S of the masks in pixels.
        visible_only: Leave out what an occluder covers.

    Returns:
        Bool (N, S, S); empty for neutral faces, whose expression is the absence of movement.
    """
    masks = region_masks(faces, size=size)
    carried = np.zeros((len(faces), size, size), bool)
    for number, (_, face) in enumerate(faces.iterrows()):
        for region in regions_of(spec_of(face).action_units):
            carried[number] |= masks[region][number]
    return carried & ~masks["occluder"] if visible_only else carried


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep OpenCV on one thread: on pictures this small its thread pool doubles the CPU time and saves none."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _check_options(*, faces: int, subjects: int, size: int, twins: float) -> None:
    if faces < 1 or subjects < 1:
        raise InputError(f"control faces: expected at least 1 face and 1 subject, got faces={faces}, subjects={subjects}")
    if not SIZES[0] <= size <= SIZES[1]:
        raise InputError(f"control faces: expected a size of {SIZES[0]} to {SIZES[1]} pixels, got {size}")
    if not 0.0 <= twins <= 0.5:
        raise InputError(f"control faces: expected a share of twins of 0 to 0.5, got {twins}")


def _choose_twins(subject: np.ndarray, *, seed: int, share: float) -> np.ndarray:
    """Index each face is drawn from (N,): its own, or for a twin that of another face of its subject that is no twin."""
    drawn_from = np.arange(len(subject))
    rng = np.random.default_rng([seed, _TWINS])
    wanted = round(share * len(subject))
    originals: set[int] = set()
    for index in rng.permutation(len(subject)):
        if wanted == 0:
            break
        if index in originals:
            continue
        others = [other for other in np.flatnonzero(subject == subject[index]) if other != index and drawn_from[other] == other]
        if others:
            drawn_from[index] = int(rng.choice(others))
            originals.add(int(drawn_from[index]))
            wanted -= 1
    return drawn_from


def _row(spec: FaceSpec, *, seed: int, index: int, origin: int) -> dict[str, object]:
    who, light, pose = spec.identity, spec.light, spec.pose
    strengths = {f"au{unit}": round(spec.action_units.get(unit, 0.0), 4) for unit in ACTION_UNITS}
    return {
        "face_id": f"control/{index:07d}",
        "source": "control",
        "source_path": f"{seed}/{origin}",
        "usage": "Training",
        "target": EXPRESSIONS.index(spec.expression),
        "subject": f"s{spec.subject:04d}",
        "intensity": round(spec.intensity, 4),
        "twin_of": f"control/{origin:07d}" if origin != index else "",
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
