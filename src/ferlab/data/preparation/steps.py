"""The steps from a picture to a prepared face: find it, crop or align it, convert colour and size, equalise, smooth.

Only the face is changed here; what a model needs beyond that is a transform of its batches. Every step has the papers' parameters and is chosen in
params.yaml. A picture without a face is excluded with that reason, or kept whole (`not_found: whole`).

References:
    cs231a: Haar cascade (scale factor 1.1, 5 neighbours, from 30 px), crops of 250 x 250, 5 x 5 Gaussian.
    fersys: face detection, alignment, histogram equalisation.  fers: a box chosen by hand, RGB of 224 x 224.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.preparation import appearance
from ferlab.data.preparation.alignment import align, find_eyes
from ferlab.data.preparation.building import NotAFace
from ferlab.data.preparation.detection import Detector, FoundFace, crop_box, find_box, open_detector
from ferlab.data.preparation.sources import find_below, read_listed
from ferlab.data.readers.tables import BOX, near_face
from ferlab.data.regions import COVER, PLACEMENT, Registration, cover_regions
from ferlab.paths import InputError

Box = tuple[int, int, int, int]
BOX_COLUMNS = ("face_id", "x", "y", "width", "height")
WHOLE = re.compile(r"-?[0-9]{1,9}")
COLOURS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"grey": appearance.to_grey, "rgb": appearance.to_rgb}
EQUALISERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"histogram": appearance.equalise_histogram, "clahe": appearance.clahe}


@dataclass(frozen=True)
class Stages:
    """The stages of one picture.

    Attributes:
        images: Name of each step that was taken, and its result, in order; the first is the picture as delivered.
        box: The face in the picture as delivered: x, y, width, height; None where none was searched for or found.
        eyes: Its eyes, (2, 2), x and y of the one at the left of the picture first; None where they were not searched for or found.
        found: The record of the detection.
    """

    images: dict[str, np.ndarray]
    box: Box | None = None
    eyes: np.ndarray | None = None
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def face(self) -> np.ndarray:
        """The prepared face."""
        return list(self.images.values())[-1]


@dataclass(frozen=True)
class Preparation:
    """The steps of a dataset. None, "none", "as_is" and 0 skip a step.

    Attributes:
        detector: From `open_detector`; None: no face is searched for.
        boxes: Boxes chosen by hand or given by the dataset, by face_id; they precede the detector.
        margin: Added around a box on each side, as a fraction of its longer side.
        align: "none"; "eyes", found by Haar; "landmarks", the dataset's or the detector's.
        whole: Keep the whole picture where no face is found.
        size: Side of the face in pixels; None as it comes.
        colour: "as_is", "grey" or "rgb".
        equalise: "none", "histogram" or "clahe".
        blur: Side of the Gaussian kernel in pixels.
        cover: Regions of the face that are filled with mid-grey; while a dataset is prepared none, since its mean face is not known yet.
        placement: Of the template of regions on the dataset's mean face.
    """

    detector: Detector | None = None
    boxes: Mapping[str, Box] = field(default_factory=dict)
    margin: float = 0.0
    align: str = "none"
    whole: bool = False
    size: int | None = None
    colour: str = "as_is"
    equalise: str = "none"
    blur: int = 0
    cover: tuple[str, ...] = ()
    placement: Registration = field(default_factory=Registration)

    @property
    def detects_faces(self) -> bool:
        """Whether a picture may turn out to show no face."""
        return self.detector is not None or bool(self.boxes)

    def stages(self, picture: np.ndarray, face_id: str, landmarks: np.ndarray | None = None) -> Stages:
        """Take one picture through all steps.

        Args:
            picture: uint8 (H, W) or (H, W, 3).
            face_id: Selects its given box.
            landmarks: The dataset's.

        Raises:
            NotAFace: If there is no face, or no landmarks to align by.
        """
        images = {"as delivered": picture}
        found = self._find(picture, face_id)
        if self.detects_faces and found is None and not self.whole:
            raise NotAFace("no face found")
        box = found.box if found else None
        face, eyes = self.cut(picture, found, landmarks)
        if face is not picture:
            images["aligned" if eyes is not None or self.align == "landmarks" else "cropped"] = face
        images |= self.change(face)
        return Stages(images=images, box=box, eyes=eyes, found=_record(found, eyes=eyes, aligned=self.align) if self.detects_faces else {})

    def cut(self, picture: np.ndarray, found: FoundFace | None, landmarks: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Crop the face, aligned where `align` is set, and return the eyes by which it was aligned, as in `Stages`.

        Without a face, the picture is the face. The dataset's landmarks precede the detector's.

        Raises:
            NotAFace: If there are no landmarks to align by.
        """
        size = self.size or min(picture.shape[:2])
        if self.align == "landmarks":
            points = landmarks if landmarks is not None else found.landmarks if found else None
            if points is None:
                raise NotAFace("no landmarks to align by")
            return align(picture, np.asarray(points).reshape(-1, 2), size=size), None
        if self.align == "eyes":
            box = found.box if found else (0, 0, picture.shape[1], picture.shape[0])
            eyes = find_eyes(picture, box)
            if eyes is not None:
                return align(picture, np.asarray(eyes), size=size), np.asarray(eyes)
        return (crop_box(picture, found.box, margin=self.margin) if found else picture), None

    def change(self, face: np.ndarray) -> dict[str, np.ndarray]:
        """Return the face after each step that follows the crop, by the step's name, in order: colour, size, grey levels, blur, cover."""
        images = {}
        if self.colour != "as_is" and COLOURS[self.colour](face).shape != face.shape:
            images[self.colour] = face = COLOURS[self.colour](face)
        if self.size is not None and face.shape[:2] != (self.size, self.size):
            images[f"{self.size} x {self.size}"] = face = appearance.resize(face, self.size)
        if self.equalise != "none":
            images["equalised" if self.equalise == "histogram" else "CLAHE"] = face = EQUALISERS[self.equalise](face)
        if self.blur:
            images[f"smoothed {self.blur} x {self.blur}"] = face = appearance.gaussian_blur(face, kernel=self.blur)
        if self.cover:
            images["covered"] = cover_regions(face[None], self.cover, placed=self.placement)[0]
        return images

    def _find(self, picture: np.ndarray, face_id: str) -> FoundFace | None:
        if face_id in self.boxes:
            return FoundFace(box=self.boxes[face_id], level="box given", landmarks=None, others=0)
        return find_box(picture, self.detector) if self.detector is not None else None


def plan_preparation(
    raw: Path, faces: pd.DataFrame, face: Mapping[str, Any], *, size: int | None, colour: str, equalise: str, blur: int
) -> Preparation:
    """Make a dataset's steps from params.yaml.

    Args:
        raw: Folder of the dataset; the file of boxes lies below it.
        faces: Gathered face table, with the dataset's own boxes and the ids that given boxes name.
        face: The section `face` of params.yaml.
        size: As in `Preparation`, likewise `colour`, `equalise` and `blur`.

    Raises:
        InputError: If a file is missing or wrong, or the dataset lacks the boxes or landmarks that are asked for.
    """
    detector, boxes = None, {}
    if face["detector"] == "dataset":
        boxes = _dataset_boxes(faces)
    elif face["detector"] != "none":
        search = {key: face[key] for key in ("scale_factor", "min_neighbors", "min_size", "retries")}
        detector = open_detector(face["detector"], file=face["file"] or None, sha256=face["sha256"] or None, **search)
    if face["boxes"]:
        boxes = boxes | read_boxes(find_below(raw, face["boxes"], key="face.boxes"), known=faces["face_id"])
    if face["align"] == "landmarks" and "landmarks" not in faces and face["detector"] != "yunet":
        raise InputError("face.align is 'landmarks', but the dataset gives none and only yunet finds some; expected 68 or 5 points. Align by eyes.")
    whole = face["not_found"] == "whole"
    steps = {"size": size, "colour": colour, "equalise": equalise, "blur": blur}
    return Preparation(detector=detector, boxes=boxes, margin=face["margin"], align=face["align"], whole=whole, **steps)


def prepared_as(
    face: Mapping[str, Any],
    *,
    size: int | None,
    colour: str,
    equalise: str,
    blur: int,
    shape: tuple[int, ...],
    cover: Sequence[str] = (),
    placed: Registration | None = None,
) -> dict[str, Any]:
    """Return how a dataset's faces were prepared, in plain values: a model carries it, so that a picture is prepared as its dataset was.

    The arguments are those of `plan_preparation`; `shape` is that of the prepared faces, which replaces a size or colour kept as delivered. "face" is
    empty where no face was searched for or aligned, and never names the file of boxes. "cover" (regions) and "placement" (of the template, where
    `placed`) are there only where faces are covered.
    """
    searched = face["detector"] != "none" or face["boxes"] or face["align"] != "none"
    found = {key: value for key, value in face.items() if key != "boxes"} if searched else {}
    if found.get("file") and Path(found["file"]).is_absolute():
        found["file"] = Path(found["file"]).name
    square = shape[0] if shape[0] == shape[1] else None
    held = {"as_is": "grey" if len(shape) == 2 else "rgb"}
    covered = {COVER: list(cover), PLACEMENT: vars(placed)} if cover and placed else {}
    return {"face": found, "size": size or square, "colour": held.get(colour, colour), "equalise": equalise, "blur": blur, **covered}


def step_of(preparation: Preparation, faces: pd.DataFrame) -> Callable[[int, np.ndarray], tuple[np.ndarray, dict[str, Any]]]:
    """Return the preparation as `building.prepare_pictures` calls it: (row, picture) -> (face, what is recorded)."""
    ids = faces["face_id"].tolist()
    landmarks = faces["landmarks"].tolist() if "landmarks" in faces else None

    def step(row: int, picture: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        stages = preparation.stages(picture, ids[row], landmarks[row] if landmarks else None)
        return stages.face, stages.found

    return step


def read_boxes(path: Path, *, known: pd.Series) -> dict[str, Box]:
    """Read boxes chosen by hand: a csv with face_id, x, y, width, height in pixels of the picture as delivered.

    Raises:
        InputError: If the file is missing or no csv, a column lacks, a number is none, or a face is unknown or comes twice.
    """
    table = read_listed(path, BOX_COLUMNS, key="face.boxes")
    boxes: dict[str, Box] = {}
    ids = set(known)
    for number, (name, *texts) in enumerate(table.itertuples(index=False), start=1):
        place = f"{path}, data row {number}"
        if name not in ids or name in boxes:
            wrong = "comes twice" if name in boxes else f"is no face of the dataset{near_face(name, known)}"
            raise InputError(f"{place}: {name!r} {wrong}. Mend the row.")
        if not all(WHOLE.fullmatch(text) for text in texts) or int(texts[2]) < 1 or int(texts[3]) < 1:
            given = ", ".join(text[:20] for text in texts)
            raise InputError(f"{place}: the box is {given}; expected four whole numbers, width and height at least 1. Mend the row.")
        boxes[name] = tuple(int(text) for text in texts)  # type: ignore[assignment]
    return boxes


def _dataset_boxes(faces: pd.DataFrame) -> dict[str, Box]:
    if any(column not in faces for column in BOX):
        raise InputError("face.detector is 'dataset', but the dataset gives no boxes; expected box_x, box_y, box_w, box_h. Choose haar or none.")
    given = faces[list(BOX)].notna().all(axis=1)
    values = faces.loc[given, list(BOX)].round().astype("int64").to_numpy().tolist()
    return dict(zip(faces.loc[given, "face_id"], map(tuple, values), strict=True))


def _record(found: FoundFace | None, *, eyes: np.ndarray | None, aligned: str) -> dict[str, Any]:
    """Return the record of a detection; the same keys for every face."""
    x, y, width, height = found.box if found else (None, None, None, None)
    record = {"found_x": x, "found_y": y, "found_w": width, "found_h": height}
    record |= {"found_by": found.level if found else "", "other_faces": found.others if found else 0}
    return record | ({"eyes_found": eyes is not None} if aligned == "eyes" else {})
