"""Preparation of a face as in the model's training dataset, read from the model's card.

Steps by kind of input, in the order of `ferlab.data.preparation.steps`:

    a picture, searched      the dataset's detector and settings, margin or alignment; then as a cropped face
    a cropped face           colour, size (of the dataset's faces), histogram equalisation or CLAHE, Gaussian, covered regions
    a face of a store        none: it is prepared

`ferlab.deployment.inputs` then resizes to the network's input, and the graph scales. A step that a new picture does not allow (boxes or landmarks
of a dataset, a detector whose file is missing) is replaced, and a note reports it. A card without `preparation` has no steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from ferlab.data.preparation.detection import Detector, FoundFace, open_detector
from ferlab.data.preparation.steps import Preparation
from ferlab.data.regions import COVER, PLACEMENT, Registration
from ferlab.params import Prepare
from ferlab.paths import InputError

STEPS = ("face", "size", "colour", "equalise", "blur", COVER, PLACEMENT)
HAAR = "faces are searched for by Haar instead"


@dataclass(frozen=True)
class FaceSteps:
    """The preparation of a dataset.

    Attributes:
        preparation: Its steps after detection.
        detector: Its detector; None for that of `ferlab.deployment.face_search`.
        notes: One line for each replaced step.
    """

    preparation: Preparation
    detector: Detector | None = None
    notes: tuple[str, ...] = ()

    def cut(self, picture: np.ndarray, boxes: Sequence[tuple[int, int, int, int]]) -> list[np.ndarray]:
        """Return the faces in these boxes, cropped or aligned and prepared, uint8 (H, W) or (H, W, 3) each.

        Args:
            picture: uint8 (H, W) or (H, W, 3).
            boxes: x, y, width, height of each.

        Raises:
            InputError: If a box with its margin is more than four times as large as the picture.
        """
        landmarks = self._landmarks(picture, boxes)
        faces = []
        for box, points in zip(boxes, landmarks, strict=True):
            # without landmarks a face is aligned by the eyes instead
            steps = replace(self.preparation, align="eyes") if self.preparation.align == "landmarks" and points is None else self.preparation
            faces.append(self._changed(steps.cut(picture, FoundFace(box=box, level="", landmarks=points, others=0))[0]))
        return faces

    def change(self, faces: np.ndarray) -> np.ndarray:
        """Return cropped faces, uint8 (N, H, W) or (N, H, W, 3), in the dataset's colour and size, equalised, blurred and covered as those are."""
        return np.stack([self._changed(face) for face in faces]) if len(faces) else faces

    def _changed(self, face: np.ndarray) -> np.ndarray:
        return next(reversed(self.preparation.change(face).values()), face)

    def _landmarks(self, picture: np.ndarray, boxes: Sequence[tuple[int, int, int, int]]) -> list[np.ndarray | None]:
        """Return for each box the landmarks of the detector's nearest box, where the dataset is aligned by them."""
        if self.preparation.align != "landmarks" or self.detector is None or not boxes:
            return [None] * len(boxes)
        seen = self.detector(picture)
        if seen.landmarks is None or len(seen.boxes) == 0:
            return [None] * len(boxes)
        centres = seen.boxes[:, :2] + seen.boxes[:, 2:] / 2
        return [seen.landmarks[np.hypot(*(centres - (x + w / 2, y + h / 2)).T).argmin()] for x, y, w, h in boxes]


def read_steps(recorded: Any, *, where: str) -> FaceSteps | None:
    """Return the steps of a card's `preparation`; None where it has none.

    Args:
        recorded: As `ferlab.data.preparation.steps.prepared_as` writes it.
        where: The model's name in errors.

    Raises:
        InputError: If a key or value is not one of a card.
    """
    if not recorded:
        return None
    if not isinstance(recorded, Mapping) or (unknown := [key for key in recorded if key not in STEPS]):
        found = f"has {unknown[0]!r}" if isinstance(recorded, Mapping) else f"is a {type(recorded).__name__}"
        raise InputError(f"{where}: `preparation` of its card {found}; expected {', '.join(STEPS)}. Export the model again.")
    try:
        steps = Prepare.model_validate({key: value for key, value in recorded.items() if key != PLACEMENT})
    except ValidationError as errors:
        error = errors.errors()[0]
        key = ".".join(map(str, error["loc"]))
        got = f"{error['msg'].lower()}, got {str(error['input'])[:60]!r}"
        raise InputError(f"{where}: `preparation.{key}` of its card: {got}; export the model again.") from None
    detector, notes = _detector(steps)
    align = steps.face.align
    if align == "landmarks" and (detector is None or steps.face.detector != "yunet"):
        align = "eyes"
        notes += ("its training faces were aligned by landmarks of the dataset; faces of a picture are aligned by the eyes that Haar finds",)
    look = {key: getattr(steps, key) for key in ("size", "colour", "equalise", "blur")}
    look |= {COVER: tuple(steps.cover), PLACEMENT: _placement(recorded.get(PLACEMENT), where=where)} if steps.cover else {}
    return FaceSteps(Preparation(margin=steps.face.margin, align=align, **look), detector=detector, notes=notes)


def _placement(recorded: Any, *, where: str) -> Registration:
    """Return where the covered regions lie."""
    known = {field.name for field in fields(Registration)}
    if not isinstance(recorded, Mapping) or set(recorded) != known or not all(isinstance(value, (int, float)) for value in recorded.values()):
        raise InputError(f"{where}: `preparation.{PLACEMENT}` of its card: expected the numbers {', '.join(sorted(known))}; export the model again.")
    return Registration(**recorded)


def _detector(steps: Prepare) -> tuple[Detector | None, tuple[str, ...]]:
    """Return the dataset's detector, or None and a note on its replacement."""
    face = steps.face
    if face.detector == "dataset":
        return None, (f"its training faces were cropped by boxes of the dataset; {HAAR}, with the same margin",)
    if face.detector == "none":
        return None, ()
    search = {key: getattr(face, key) for key in ("scale_factor", "min_neighbors", "min_size", "retries")}
    try:
        return open_detector(face.detector, file=face.file or None, sha256=face.sha256 or None, **search), ()
    except InputError as error:
        return None, (f"its training dataset's detector cannot be opened ({str(error).rstrip('.')}); {HAAR}",)
