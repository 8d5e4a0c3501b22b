"""The prepare page where regions of the face are covered: which area that is, and faces before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from ferlab.data.preparation.building import NotAFace
from ferlab.data.preparation.prepared import Raw
from ferlab.data.regions import COVER, MID_GREY, REST, covered_area, placement_of
from ferlab.data.store import Store
from ferlab.reporting.faces import draw_face, pick_faces
from ferlab.reporting.tables import percent
from ferlab.reporting.template import registration_sentence
from ferlab.roles import listed

MOST = 6  # faces; more could not be seen on a phone
CELL = 1.25  # inches per picture
MARK = "#E69F00"
REST_IS = "The rest is what brows, eyes, nose and mouth leave of the frame. "


def covered_sentence(store: Store) -> str:
    """Report the regions that are covered and their area; "" where none is."""
    if not (regions := store.preparation.get(COVER)):
        return ""
    size = store.images.shape[1:3]
    placed = placement_of(store.images, store.preparation)
    area = covered_area(size, regions, placed=placed)
    named = listed([f"the {region}" for region in regions])
    return (
        f"**Covered in every face: {named}, {percent(area.mean())} of the frame, filled with mid-grey ({MID_GREY}).** "
        f"{REST_IS if REST in regions else ''}"
        f"{registration_sentence(placed, size[0])} One template serves all faces, so that of a turned face parts of these remain visible. "
        "Duplicates are searched for, and faces split, before they are covered."
    )


def covered_figure(store: Store, raw: Raw, *, seed: int = 0) -> dict[str, Any]:
    """Draw a face of each of six expressions: prepared, above, with the outline of the covered area, and as stored, below.

    Args:
        store: A dataset with covered faces.
        raw: Its pictures.
        seed: Of the choice.

    Returns:
        `figure` and `alt`, as `ferlab.reporting.style.show` takes them.
    """
    rows = pick_faces(store.faces, per_class=1, seed=seed)[:MOST]
    size = store.images.shape[1:3]
    area = covered_area(size, store.preparation[COVER], placed=placement_of(store.images, store.preparation))
    figure, axes = plt.subplots(2, len(rows), squeeze=False, figsize=(len(rows) * CELL, 2 * CELL + 0.5), layout="constrained")
    for (above, below), row, whole in zip(axes.T, rows.tolist(), _uncovered(raw, store.faces["face_id"].iloc[rows]), strict=True):
        if whole is not None:
            draw_face(above, whole, title=store.expressions[int(store.faces["target"].iloc[row])])
            above.contour(area, levels=[0.5], colors=MARK, linewidths=1.2)
        else:
            above.set_axis_off()
        draw_face(below, np.asarray(store.images[row]))
    axes[0, 0].set_ylabel("prepared")
    axes[1, 0].set_ylabel("stored")
    alt = f"{len(rows)} faces with the outline of the covered area, {percent(area.mean())} of the frame, and below the same faces covered."
    return {"figure": figure, "alt": alt}


def _uncovered(raw: Raw, face_ids: Sequence[str]) -> list[np.ndarray | None]:
    """Return faces prepared but not covered; None for a derived one, which has no picture of its own."""
    faces = raw.gathered.faces
    places, landmarks = {face_id: place for place, face_id in enumerate(faces["face_id"])}, faces.get("landmarks")
    whole: list[np.ndarray | None] = []
    for face_id in face_ids:
        place = places.get(face_id)
        whole.append(None if place is None else _prepared(raw, place, face_id, None if landmarks is None else landmarks.iloc[place]))
    return whole


def _prepared(raw: Raw, place: int, face_id: str, landmarks: np.ndarray | None) -> np.ndarray | None:
    try:
        return raw.preparation.stages(raw.gathered.pictures[place], face_id, landmarks).face
    except NotAFace:
        return None
