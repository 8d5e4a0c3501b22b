"""Faces of a picture, cropped like the training faces: needs OpenCV and Pillow, no torch.

The default detector is cs231a's Haar cascade with its looser search levels, except the last, whose boxes are mostly no faces;
`ferlab.data.preparation.detection` states the size of the searched copy. A box whose centre lies in a larger one is dropped (a mouth, a nose).
Each face is the detector's square box without a margin, as in FER2013: on 400 faces of its Training usage in a frame of repeated edge pixels, the
348 boxes found have a median side of 0.98 of the face's and the same centre; a margin of 0.1 on each side lowers the median IoU from 0.82 to 0.67.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from ferlab.data.preparation.detection import Detector, for_reading, open_detector
from ferlab.data.readers.images import decode_picture, is_picture, read_plain_file
from ferlab.paths import InputError

Box = tuple[int, int, int, int]

NARROWEST = 1 / 20  # of the longer side: a sliver has no room for a face
DISTRUSTED = ("1 neighbour",)  # search levels whose boxes are dropped: see ferlab.data.preparation.detection.haar_levels
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:/{1,3}[^/]", re.IGNORECASE)
EXPECTED = "expected a path, or a uint8 picture (H, W) or (H, W, 3) in RGB"


@dataclass(frozen=True)
class Found:
    """The faces of a picture.

    Attributes:
        boxes: From left to right.
        scores: The detector's score of each (`ferlab.data.preparation.detection.Detections`); None where it has none.
        smallest: Side in pixels of the smallest face searched for; None where nothing was searched or it is unknown.
    """

    boxes: list[Box]
    scores: list[float | None]
    smallest: int | None


def read_picture(image: str | Path | np.ndarray) -> np.ndarray:
    """Return a picture as uint8 (H, W) or (H, W, 3) in RGB, upright.

    Args:
        image: A path (formats of `ferlab.data.readers.images`; a camera's rotation is undone), or the pixels.

    Raises:
        InputError: If the file is missing or no picture, or the pixels have another shape or dtype.
    """
    if isinstance(image, (str, Path)):
        _check_path(str(image))
        return decode_picture(read_plain_file(Path(image)), where=repr(str(image))[1:-1])
    if not isinstance(image, np.ndarray):
        raise InputError(f"{EXPECTED}, got {type(image).__name__}")
    if image.dtype != np.uint8:
        raise InputError(f"{EXPECTED}, got {image.dtype} {image.shape}: scale to 0-255 and use .astype('uint8')")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise InputError(f"{EXPECTED}, got {image.dtype} {image.shape}")
    return image


def find_faces(picture: np.ndarray, detector: Detector | None = None, *, small: bool = False) -> Found:
    """Find all faces in a picture.

    Args:
        picture: uint8 (H, W) or (H, W, 3).
        detector: From `ferlab.data.preparation.detection.open_detector`; None for Haar with cs231a's parameters.
        small: Whether to search a large picture at up to 4096 pixels as well, for small faces: slower, more false positives.
    """
    high, wide = picture.shape[:2]
    if min(high, wide) < NARROWEST * max(high, wide):
        return Found([], [], None)
    found = for_reading(detector or _haar(), small=small)(picture)
    if found.level is None or found.level in DISTRUSTED:
        return Found([], [], found.smallest)
    kept = drop_nested(found.boxes)
    boxes = [(int(x), int(y), int(width), int(height)) for x, y, width, height in found.boxes[kept]]
    scores = [None] * len(boxes) if found.scores is None else [float(score) for score in found.scores[kept]]
    return Found(boxes, scores, found.smallest)


def _check_path(name: str) -> None:
    if ADDRESS.match(name):
        raise InputError(f"{name}: nothing is downloaded: save the picture first, and name its file.")
    if os.path.isdir(name):
        endings = sorted({path.suffix for path in Path(name).iterdir() if is_picture(PurePosixPath(path.name))})
        raise InputError(f"{name} is a folder; expected pictures. Name them: {name.rstrip('/')}/*{endings[0] if endings else '.jpg'}")


def drop_nested(boxes: np.ndarray) -> np.ndarray:
    """Return the indices of the boxes (n, 4; x, y, width, height) whose centre lies in no larger one; of equal boxes the first stays.

    >>> drop_nested(np.array([[0, 0, 100, 100], [40, 60, 30, 30], [90, 0, 90, 90]])).tolist()
    [0, 2]
    """
    x, y, width, height = np.asarray(boxes).T
    centre_x, centre_y, area = x + width / 2, y + height / 2, width * height
    order = np.arange(len(boxes))
    across = (x[None] <= centre_x[:, None]) & (centre_x[:, None] <= (x + width)[None])  # [i, j]: whether i's centre lies in j
    down = (y[None] <= centre_y[:, None]) & (centre_y[:, None] <= (y + height)[None])
    larger = (area[None] > area[:, None]) | ((area[None] == area[:, None]) & (order[None] < order[:, None]))
    return np.flatnonzero(~(across & down & larger).any(axis=1))


@cache
def _haar() -> Detector:
    return open_detector("haar")
