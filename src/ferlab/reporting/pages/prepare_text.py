"""What the prepare page says and shows of a set's steps, from the gathered pictures and the finished store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.data.preparation.appearance import grey_to_three, subtract_mean, unit_range
from ferlab.data.preparation.building import NotAFace
from ferlab.data.preparation.prepared import Raw
from ferlab.data.preparation.sets import MEAN_IMAGE
from ferlab.data.preparation.steps import Stages
from ferlab.data.readers.jaffe import count_differences
from ferlab.data.store import Store
from ferlab.paths import InputError
from ferlab.reporting.faces import draw_face, pick_faces
from ferlab.reporting.pages.prepare import before_and_after, found_sentence

MOST_ROWS = 7
CELL = 1.35  # inches per picture
NOT_FOUND = "no face found"
INPUTS: dict[str, str] = {
    "cs231a": "cs231a: grey, 250 x 250, less the mean of the training faces",
    "cs230": "cs230: grey in three equal channels, 197 x 197, in [0, 1]",
    "cs230_224": "cs230: grey in three equal channels, 224 x 224, in [0, 1]",
    "fers": "fers: RGB, 224 x 224, in [0, 1]",
}


def steps_sentence(settings: Mapping[str, Any]) -> str:
    """Say which steps a set's pictures go through.

    Args:
        settings: The set's section of params.yaml, with defaults filled in.
    """
    face, steps = settings["face"], []
    if face["detector"] == "dataset":
        steps.append("the box that came with the dataset is cut out")
    elif face["detector"] == "haar":
        numbers = f"scale factor {face['scale_factor']:g}, {face['min_neighbors']} neighbours, from {face['min_size']} px"
        retries = ", looser where none is found" if face["retries"] else ""
        steps.append(f"the largest and most central face is found by OpenCV's Haar cascade ({numbers}{retries})")
    elif face["detector"] == "yunet":
        steps.append(f"the largest and most central face is found by YuNet (sha256 {face['sha256'][:12]}...)")
    if face["boxes"]:
        steps.append(f"boxes chosen by hand come first ({face['boxes']})")
    if face["align"] != "none":
        steps.append(f"the face is aligned by its {face['align']}")
    if settings["colour"] != "as_is":
        steps.append(f"colour becomes {'grey' if settings['colour'] == 'grey' else 'RGB'}")
    if settings["size"]:
        steps.append(f"the face is brought to {settings['size']} x {settings['size']} pixels")
    if settings["equalise"] != "none":
        steps.append("its histogram is equalised" if settings["equalise"] == "histogram" else "its contrast is equalised in tiles (CLAHE)")
    if settings["blur"]:
        steps.append(f"it is smoothed by a Gaussian of {settings['blur']} x {settings['blur']} pixels")
    return "The pictures of this set are kept as they come." if not steps else f"In this set {'; '.join(steps)}."


def try_steps(raw: Raw, *, seed: int = 0) -> list[Stages]:
    """Take a picture of each expression through the steps, for looking at; none where the set takes no step."""
    if not raw.has_steps:
        return []
    faces, shown = raw.gathered.faces, []
    landmarks = faces.get("landmarks")
    for row in pick_faces(faces, per_class=1, seed=seed).tolist()[:MOST_ROWS]:
        try:
            picture = raw.gathered.pictures[row]
        except InputError:  # preparing it stops there or excludes it
            continue
        try:
            shown.append(raw.preparation.stages(picture, faces["face_id"].iloc[row], None if landmarks is None else landmarks.iloc[row]))
        except NotAFace:
            shown.append(Stages(images={"as delivered": picture}))
    return shown if any(len(stages.images) > 1 for stages in shown) else []


def stages_figure(stages: Sequence[Stages], *, looked: bool) -> Figure:
    """Draw pictures in rows, as delivered and after each step; `looked` says whether faces were looked for."""
    boxes = [one.box for one in stages] if looked else None
    return before_and_after([one.images for one in stages], boxes=boxes, eyes=[one.eyes for one in stages])


def stages_alt(stages: Sequence[Stages]) -> str:
    """Return alt text for `stages_figure`."""
    longest = max(stages, key=lambda one: len(one.images))
    return f"{len(stages)} pictures in rows, with a column for each step: {', '.join(longest.images)}."


def search_sentence(faces: pd.DataFrame, excluded: pd.DataFrame) -> str:
    """Say how the faces of a set were found, those that were not found among them.

    Args:
        faces: Face table of the store.
        excluded: Pictures that the store does not hold.
    """
    if "found_by" not in faces:
        return "No face was looked for: the pictures are faces already."
    missed = int((excluded["reason"] == NOT_FOUND).sum())
    return found_sentence([*faces["found_by"], *[""] * missed])


def two_labels_sentence(faces: pd.DataFrame) -> str:
    """Say how the two labels of JAFFE's faces differ: what was posed, and what was rated highest."""
    if "poser_target" not in faces:
        return "Each face of this set has one label."
    _, counts = count_differences(faces)
    return (
        f"**The poser's expression and the highest rating differ on {counts['differ']:,} of {counts['rated']:,} rated faces;** "
        f"{counts['neutral_mislabelled']:,} of them are neutral poses, for which the ratings have no name. cs231a trained on the ratings."
    )


def two_labels_table(faces: pd.DataFrame) -> pd.DataFrame | None:
    """Return how often each posed expression (rows) was rated as which (columns); None where faces have one label."""
    return count_differences(faces)[0] if "poser_target" in faces else None


def network_inputs(store: Store, form: str, *, rows: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return faces as stored and as a paper's models take them, the latter scaled to be looked at.

    Args:
        store: The set, opened from disk; its folder holds the mean image.
        form: A key of `INPUTS`.
        rows: Which faces.
    """
    faces = np.asarray(store.images[np.asarray(rows)])
    if form == "cs231a" and store.folder:
        mean = np.load(store.folder / MEAN_IMAGE)
        return list(faces), [face / 510 + 0.5 for face in subtract_mean(faces, mean)]  # -255 to 255, 0 in the middle
    taken = unit_range(faces) if form == "fers" else grey_to_three(faces, 224 if form == "cs230_224" else 197)
    return list(faces), [np.moveaxis(face, 0, 2) for face in taken]


def inputs_figure(faces: Sequence[np.ndarray], taken: Sequence[np.ndarray], form: str) -> Figure:
    """Draw faces as kept, above, and as a paper's models take them, below."""
    figure, axes = plt.subplots(2, len(faces), squeeze=False, figsize=(len(faces) * CELL, 2 * CELL + 0.5), layout="constrained")
    for column, (face, net) in enumerate(zip(faces, taken, strict=True)):
        for row, (image, limits) in enumerate(((face, (0, 255)), (np.clip(net, 0, 1), (0, 1)))):
            draw_face(axes[row, column], image, note=f"{image.shape[1]} x {image.shape[0]}", limits=limits)
    axes[0, 0].set_ylabel("kept")
    axes[1, 0].set_ylabel("taken")
    figure.suptitle(INPUTS[form], fontsize=10)
    return figure
