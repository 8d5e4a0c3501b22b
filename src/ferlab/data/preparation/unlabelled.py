"""Faces that no prepared dataset holds, prepared by the steps of one: what a model of that dataset is given, picture by picture.

Nothing is computed over these faces: the only step that depends on several faces, where covered regions lie, is taken as it was found on the dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ferlab.data.preparation.building import NotAFace
from ferlab.data.preparation.steps import plan_preparation, step_of
from ferlab.data.regions import PLACEMENT, Registration
from ferlab.data.store import Store
from ferlab.params import Prepare
from ferlab.paths import InputError

LOOK = ("size", "colour", "equalise", "blur")


def prepare_as(store: Store, settings: Prepare, pictures: np.ndarray, *, face_ids: Sequence[str], raw: Path) -> np.ndarray:
    """Prepare pictures as those of a store were.

    Args:
        store: The prepared dataset.
        settings: Its section of params.yaml.
        pictures: uint8 (N, H, W) or (N, H, W, 3), N > 0.
        face_ids: Of each picture, for errors.
        raw: Folder of the dataset.

    Returns:
        uint8 (N, H', W') or (N, H', W', 3), one face per picture, of the shape of the store's.

    Raises:
        InputError: Boxes that were chosen by hand, a picture without a face, or faces of another shape than the store's.
    """
    face = settings.face.model_dump()
    if face["boxes"]:
        raise InputError(f"face.boxes: {face['boxes']} names no box for {face_ids[0]} and others; expected faces by a detector, or whole")
    faces = pd.DataFrame({"face_id": list(face_ids)})
    steps = plan_preparation(raw, faces, face, **{key: getattr(settings, key) for key in LOOK})
    if settings.cover:
        steps = replace(steps, cover=tuple(settings.cover), placement=Registration(**store.preparation[PLACEMENT]))
    step, prepared = step_of(steps, faces), []
    for row, picture in enumerate(pictures):
        try:
            prepared.append(step(row, picture)[0])
        except NotAFace as reason:
            raise InputError(f"{face_ids[row]}: {reason}; expected a face in every picture. Set face.not_found: whole, and train again.") from None
    shape = store.images.shape[1:]
    if odd := [row for row, image in enumerate(prepared) if image.shape != shape]:
        raise InputError(f"{face_ids[odd[0]]} is prepared to {prepared[odd[0]].shape}; expected {shape}, as the dataset's. Set its size and colour.")
    return np.stack(prepared)
