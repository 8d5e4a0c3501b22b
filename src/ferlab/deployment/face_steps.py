"""From a face in a picture to the face that a model's set would hold: the set's own steps, read from the model's card.

Which step a face is taken through, in the order of `ferlab.data.preparation.steps`:

    a picture, searched      the set's detector and its settings, margin or alignment; then as a cropped face
    a cropped face           colour, size (the side of the set's faces), histogram equalisation or CLAHE, Gaussian
    a face of a set's store  none: it has been through all of them

Behind them `ferlab.deployment.inputs` brings the face to the network's own size and channels, and the graph scales it. What a set did and a
picture from elsewhere cannot have done to it (boxes or landmarks that came with a dataset, a detector whose file is not here) is replaced and
said in a note. Without a card's `preparation`, as in models exported before it was kept, none of these steps is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import ValidationError

from ferlab.data.faces import CONTROL
from ferlab.data.preparation.detection import Detector, FoundFace, open_detector
from ferlab.data.preparation.steps import Preparation
from ferlab.params import Prepare
from ferlab.paths import InputError

STEPS = ("face", "size", "colour", "equalise", "blur")
BLENDS = ("smote", "adasyn")  # sources of faces that were made of others
DRAWN = "it was trained on control faces alone, which are drawn; its predictions for photographs are untested"
HAAR = "faces are searched for by Haar instead"


@dataclass(frozen=True)
class FaceSteps:
    """The steps of a set, ready to be taken.

    Attributes:
        preparation: The set's, without its detector.
        detector: The set's; None: as `ferlab.deployment.face_search` searches.
        notes: What could not be done as the set did it, a line each.
    """

    preparation: Preparation
    detector: Detector | None = None
    notes: tuple[str, ...] = ()

    def cut(self, picture: np.ndarray, boxes: Sequence[tuple[int, int, int, int]]) -> list[np.ndarray]:
        """Return the faces in these boxes, cut out or aligned and changed as the set's, uint8 (H, W) or (H, W, 3) each.

        Args:
            picture: uint8 (H, W) or (H, W, 3).
            boxes: x, y, width, height of each.

        Raises:
            InputError: If a box with its margin is more than four times as large as the picture.
        """
        landmarks = self._landmarks(picture, boxes)
        found = [FoundFace(box=box, rung="", landmarks=points, others=0) for box, points in zip(boxes, landmarks, strict=True)]
        return [self._changed(self._way(face).cut(picture, face)[0]) for face in found]

    def change(self, faces: np.ndarray) -> np.ndarray:
        """Return cropped faces, uint8 (N, H, W) or (N, H, W, 3), in the set's colour and size, equalised and blurred as the set's."""
        return np.stack([self._changed(face) for face in faces]) if len(faces) else faces

    def _way(self, face: FoundFace) -> Preparation:
        """Return the set's preparation; for a face without landmarks, aligned by the eyes where the set is by landmarks."""
        lacking = self.preparation.align == "landmarks" and face.landmarks is None
        return replace(self.preparation, align="eyes") if lacking else self.preparation

    def _changed(self, face: np.ndarray) -> np.ndarray:
        return next(reversed(self.preparation.change(face).values()), face)

    def _landmarks(self, picture: np.ndarray, boxes: Sequence[tuple[int, int, int, int]]) -> list[np.ndarray | None]:
        """Return the detector's landmarks of the nearest box that it finds, for each box, where the set is aligned by them."""
        if self.preparation.align != "landmarks" or self.detector is None or not boxes:
            return [None] * len(boxes)
        seen = self.detector(picture)
        if seen.landmarks is None or len(seen.boxes) == 0:
            return [None] * len(boxes)
        centres = seen.boxes[:, :2] + seen.boxes[:, 2:] / 2
        return [seen.landmarks[np.hypot(*(centres - (x + w / 2, y + h / 2)).T).argmin()] for x, y, w, h in boxes]


def read_steps(recorded: Any, *, where: str) -> FaceSteps | None:
    """Return the steps that a card records; None where it records none.

    Args:
        recorded: The card's `preparation`, see `ferlab.data.preparation.steps.prepared_as`.
        where: What to call the model in an error.

    Raises:
        InputError: If it is not what a card has, one line that names the key.
    """
    if not recorded:
        return None
    if not isinstance(recorded, Mapping) or (unknown := [key for key in recorded if key not in STEPS]):
        found = f"has {unknown[0]!r}" if isinstance(recorded, Mapping) else f"is a {type(recorded).__name__}"
        raise InputError(f"{where}: `preparation` of its card {found}; expected {', '.join(STEPS)}. Export the model again.")
    try:
        steps = Prepare.model_validate(recorded)
    except ValidationError as errors:
        error = errors.errors()[0]
        key = ".".join(map(str, error["loc"]))
        got = f"{error['msg'].lower()}, got {str(error['input'])[:60]!r}"
        raise InputError(f"{where}: `preparation.{key}` of its card: {got}; export the model again.") from None
    detector, notes = _detector(steps)
    align = steps.face.align
    if align == "landmarks" and (detector is None or steps.face.detector != "yunet"):
        align = "eyes"
        notes += ("its set's faces were aligned by landmarks that a picture does not come with; they are aligned by the eyes that Haar finds",)
    look = {key: getattr(steps, key) for key in ("size", "colour", "equalise", "blur")}
    return FaceSteps(Preparation(margin=steps.face.margin, align=align, **look), detector=detector, notes=notes)


def source_notes(sources: Sequence[str]) -> tuple[str, ...]:
    """Return a line where a model has only met drawn faces, by the sources of the faces it was trained on."""
    met = [source for source in sources if source not in BLENDS]
    return (DRAWN,) if met and all(source.split(":")[0] == CONTROL for source in met) else ()


def _detector(steps: Prepare) -> tuple[Detector | None, tuple[str, ...]]:
    """Return the set's detector, or None and what is done in its place."""
    face = steps.face
    if face.detector == "dataset":
        return None, (f"its set's faces were cut by boxes that came with the dataset; {HAAR}, with the same margin",)
    if face.detector == "none":
        return None, ()
    search = {key: getattr(face, key) for key in ("scale_factor", "min_neighbors", "min_size", "retries")}
    try:
        return open_detector(face.detector, file=face.file or None, sha256=face.sha256 or None, **search), ()
    except InputError as error:
        return None, (f"its set's detector cannot be opened ({str(error).rstrip('.')}); {HAAR}",)
