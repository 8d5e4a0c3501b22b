"""From a picture to the faces in it, cropped as the nets were fitted: needs OpenCV and Pillow, no torch.

The rule, stated once. The picture is searched at no more than `SEARCHED` pixels on its longer side, so a face has to be some 3 % of that long;
the detector is cs231a's Haar cascade with its ladder of looser parameters, all of it but the last rung, whose boxes are mostly no faces.
A box whose centre lies in a larger one is dropped (a mouth, a nose). Each face is the detector's own square box without a margin: FER2013's
faces were cut so. On 400 faces of its Training usage in a frame of repeated edge pixels, the 348 boxes found by these rungs have a median
side of .98 of the face's own and the same centre; a margin of .1 on each side lowers the median overlap (IoU) from .82 to .67.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from ferlab.data.detection import Detector, open_detector
from ferlab.data.pictures import decode_picture, read_plain_file
from ferlab.paths import InputError

Box = tuple[int, int, int, int]

SEARCHED = 1024  # pixels of the longer side: Haar takes seconds on a phone's photograph, and finds faces in its textures
NARROWEST = 1 / 20  # of the longer side: a sliver has no room for a face
DISTRUSTED = ("1 neighbour",)  # rungs whose boxes are not believed: see ferlab.data.detection.haar_ladder
EXPECTED = "expected a path, or a uint8 picture (H, W) or (H, W, 3) in RGB"


def read_picture(image: str | Path | np.ndarray) -> np.ndarray:
    """Return a picture as uint8 (H, W) or (H, W, 3) in RGB, upright.

    Args:
        image: A path (formats as `ferlab.data.pictures` reads them; a camera's rotation is undone), or the pixels.

    Raises:
        InputError: If there is no such file, it is no picture, or the pixels have another shape or dtype.
    """
    if isinstance(image, (str, Path)):
        return decode_picture(read_plain_file(Path(image)), where=repr(str(image))[1:-1])
    if not isinstance(image, np.ndarray):
        raise InputError(f"{EXPECTED}, got {type(image).__name__}")
    if image.dtype != np.uint8:
        raise InputError(f"{EXPECTED}, got {image.dtype} {image.shape}: scale to 0-255 and use .astype('uint8')")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise InputError(f"{EXPECTED}, got {image.dtype} {image.shape}")
    return image


def find_faces(picture: np.ndarray, detector: Detector | None = None) -> list[Box]:
    """Return the boxes (x, y, width, height) of all faces in a picture, from left to right; none found is an empty list.

    Args:
        picture: uint8 (H, W) or (H, W, 3).
        detector: From `ferlab.data.detection.open_detector`; None is Haar with cs231a's parameters.
    """
    high, wide = picture.shape[:2]
    if min(high, wide) < NARROWEST * max(high, wide):
        return []
    scale = min(1.0, SEARCHED / max(high, wide))
    searched = picture if scale == 1 else cv2.resize(picture, (round(scale * wide), round(scale * high)), interpolation=cv2.INTER_AREA)
    found = (detector or _haar())(np.ascontiguousarray(searched))
    if found.rung is None or found.rung in DISTRUSTED:
        return []
    boxes = np.rint(found.boxes / scale).astype(int)
    return [(int(x), int(y), int(width), int(height)) for x, y, width, height in drop_nested(boxes)]


def drop_nested(boxes: np.ndarray) -> np.ndarray:
    """Return the boxes, in their order, whose centre lies in no larger one; of equal boxes the first stays.

    Args:
        boxes: int (n, 4), x, y, width, height.

    >>> drop_nested(np.array([[0, 0, 100, 100], [40, 60, 30, 30], [90, 0, 90, 90]])).tolist()
    [[0, 0, 100, 100], [90, 0, 90, 90]]
    """
    x, y, width, height = np.asarray(boxes).T
    centre_x, centre_y, area = x + width / 2, y + height / 2, width * height
    order = np.arange(len(boxes))
    across = (x[None] <= centre_x[:, None]) & (centre_x[:, None] <= (x + width)[None])  # [i, j]: whether i's centre lies in j
    down = (y[None] <= centre_y[:, None]) & (centre_y[:, None] <= (y + height)[None])
    larger = (area[None] > area[:, None]) | ((area[None] == area[:, None]) & (order[None] < order[:, None]))
    return np.asarray(boxes)[~(across & down & larger).any(axis=1)]


@cache
def _haar() -> Detector:
    return open_detector("haar")
