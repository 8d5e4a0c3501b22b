"""Face detection: boxes by a detector, retried with looser parameters, and the face to use.

A detector maps one picture to `Detections`: OpenCV's Haar cascade (Viola & Jones 2001), or YuNet (Wu, Peng & Yu 2023) from a file of the user's. Both
search with the stated parameters; where nothing is found, a fixed sequence of looser search levels follows, and the level that found the face is
recorded. A face that no level finds is None; the caller lists it.

A picture is searched at no more than `SEARCHED` pixels on its longer side, so a face must have some 3 % of it: at full size Haar takes seconds on a
phone's photograph and finds faces in its textures. Where nothing is found there, or faces so small that others may have been missed, it is searched
again at twice the size. Of twenty faces of 110 pixels in 12 megapixels the first search finds six, the second all. `Detections.smallest` is the
smallest size that was searched for.

References:
    cs231a: "In cases where no bounding box was found, we ... ran it again using different detection parameters"; of several boxes
    "the one that was largest and/or most central". Its code states scaleFactor 1.1, minNeighbors 5, minSize 30 x 30, and sorts by size a copy that it
    discards, so that there the first box wins.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ferlab.data.preparation import detectors
from ferlab.data.preparation.appearance import check_image, equalise_histogram
from ferlab.data.preparation.detectors import SEARCHED, SearchLevel
from ferlab.opencv import one_thread
from ferlab.paths import InputError

DETECTORS = ("haar", "yunet")
SAME = 0.3  # intersection over union from which two boxes are one face
STATED = "as stated"
AGAIN, LARGEST_SEARCHED = 2048, 4096  # pixels of the longer side in the second search; and at most, 12 megapixels and 0.8 GB
LEAST = 30  # pixels in the searched copy: a stated min_size is in pixels of the picture, and noise has faces of any smaller size
FINEST = 1.01  # scale factor: at 1.0000001 OpenCV asks for 119 GB
FRAME = 0.25  # width of the frame, as a fraction of the picture's shorter side: the cascade expects surroundings
ENLARGED = 200  # pixels of the shorter side of an enlarged picture
LARGEST = 4096  # pixels of the longer side of an enlarged picture at most: a sliver of 1024 x 1 would need 20 GB


@dataclass(frozen=True)
class Detections:
    """All faces found in one picture.

    Attributes:
        boxes: int64 (n, 4): x, y, width, height in pixels, sorted; a box may leave the picture.
        landmarks: float64 (n, 5, 2), x and y of the eye, eye, nose tip, mouth corner, mouth corner (of each pair the one at the left
            of the picture first); None where the detector gives none.
        level: Search level that found them; None if none did.
        scores: float64 (n,), confidence of the detector; None where it has none, or Haar was not asked (`for_reading`). YuNet's lie in 0 to 1. Haar's
            is the sum of the cascade's last stage: of 226 boxes in scenes of noise (300 faces of FER2013, 40 to 120 pixels, as stated) the 208 faces
            had 6.8 on average (5 % below 2), the 18 others 2.0; it separates them with an AUC of 0.93, the number of overlapping hits with 0.90.
        smallest: Side in pixels of the smallest face that was searched for; None where the detector does not state it.
    """

    boxes: np.ndarray
    landmarks: np.ndarray | None
    level: str | None
    scores: np.ndarray | None = None
    smallest: int | None = None


@dataclass(frozen=True)
class FoundFace:
    """The chosen face: its box (x, y, width, height), the search level that found it, its landmarks, and the number of other boxes."""

    box: tuple[int, int, int, int]
    level: str
    landmarks: np.ndarray | None
    others: int


Detector = Callable[[np.ndarray], Detections]
Look = Callable[[np.ndarray, SearchLevel], tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]  # boxes, landmarks, scores


def open_detector(
    name: str,
    *,
    file: Path | str | None = None,
    sha256: str | None = None,
    scale_factor: float = 1.1,
    min_neighbors: int = 5,
    min_size: int = 30,
    retries: bool = True,
) -> Detector:
    """Make a detector.

    Args:
        name: "haar" or "yunet".
        file: YuNet's .onnx file; Haar's comes with OpenCV.
        sha256: Checksum of that file, 64 hexadecimal digits.
        scale_factor: Haar: ratio of one searched size to the next.
        min_neighbors: Haar: overlapping hits that make a face.
        min_size: Haar: side of the smallest face, in pixels.
        retries: Whether to try looser search levels where nothing is found.

    Raises:
        InputError: If the name or a parameter is out of range, or the file is missing, has another checksum, or is no YuNet.
    """
    if not (FINEST <= scale_factor <= 100 and 0 <= min_neighbors <= 10_000 and 1 <= min_size <= 100_000):
        given = f"scale_factor={scale_factor}, min_neighbors={min_neighbors}, min_size={min_size}"
        limits = f"scale_factor above 1 ({FINEST} to 100), min_neighbors of at least 0 and min_size of at least 1 (to 10,000 and 100,000)"
        raise InputError(f"{name}: expected {limits}, got {given}.")
    stated = SearchLevel(STATED, scale_factor=scale_factor, min_neighbors=min_neighbors, min_size=min_size)
    if name == "haar":
        if file is not None:
            raise InputError(f"haar: got the file {file}; expected none, the cascade comes with OpenCV. Leave it out, or choose yunet.")
        look, levels = partial(detectors.search_haar, detectors.load_cascade(detectors.CASCADE)), haar_levels(stated)
    elif name == "yunet":
        look = partial(detectors.search_yunet, detectors.load_yunet(file, sha256))
        levels = yunet_levels(SearchLevel(STATED, min_size=detectors.YUNET_LEAST))
    else:
        near = difflib.get_close_matches(name, DETECTORS, n=1)
        raise InputError(f"No detector is named {name!r}{f' (did you mean {near[0]!r}?)' if near else ''}; expected {' or '.join(DETECTORS)}.")
    return partial(_search, look=look, levels=levels if retries else levels[:1])


def for_reading(detector: Detector, *, small: bool = False) -> Detector:
    """Return a detector of `open_detector` whose boxes have scores; any other is returned unchanged.

    With `small`, large pictures are also searched at up to `LARGEST_SEARCHED` pixels: slower, with more false boxes.
    """
    return partial(detector, small=small, scored=True) if isinstance(detector, partial) and detector.func is _search else detector


def haar_levels(stated: SearchLevel) -> tuple[SearchLevel, ...]:
    """Return the search levels for Haar, each looser than the one before; a stated parameter that is looser still is kept.

    They are finer steps of size, then fewer neighbours, smaller faces, an equalised picture, a frame of repeated edge pixels (a tight crop has no
    surroundings), a small picture enlarged, a large one at twice the size. A single neighbour comes last: on 400 faces of FER2013 in scenes of noise
    three times as wide, 22 of its 33 boxes were no face, against 3 of 240 as stated.
    """
    finer = replace(stated, name="scale factor 1.05", scale_factor=min(stated.scale_factor, 1.05))
    fewer = replace(finer, name="3 neighbours", min_neighbors=min(stated.min_neighbors, 3))
    small = replace(fewer, name="from 20 px", min_size=min(stated.min_size, 20))
    framed = replace(small, name="framed", frame=True)
    enlarged = replace(framed, name="enlarged", enlarge=True)
    single = replace(enlarged, name="1 neighbour", min_neighbors=min(stated.min_neighbors, 1))
    return stated, finer, fewer, small, replace(small, name="equalised", equalise=True), framed, enlarged, _at_twice(stated), single


def yunet_levels(stated: SearchLevel) -> tuple[SearchLevel, ...]:
    """Return the search levels for YuNet: OpenCV's score of 0.9, then 0.6, equalised, framed, enlarged, at twice the size; a score of 0.3 last."""
    lower = replace(stated, name="score 0.6", score=0.6)
    framed = replace(lower, name="framed", frame=True)
    enlarged = replace(framed, name="enlarged", enlarge=True)
    last = replace(enlarged, name="score 0.3", score=0.3)
    return stated, lower, replace(lower, name="equalised", equalise=True), framed, enlarged, _at_twice(stated), last


def _at_twice(stated: SearchLevel) -> SearchLevel:
    return replace(stated, name=f"at {AGAIN} px", side=AGAIN)


def find_box(image: np.ndarray, detector: Detector) -> FoundFace | None:
    """Return the face to use in a picture, uint8 (H, W) or (H, W, 3), or None if no search level found one."""
    found = detector(image)
    if len(found.boxes) == 0:
        return None
    chosen = choose_face(found.boxes, image.shape)
    x, y, width, height = (int(value) for value in found.boxes[chosen])
    landmarks = None if found.landmarks is None else found.landmarks[chosen]
    return FoundFace(box=(x, y, width, height), level=found.level or STATED, landmarks=landmarks, others=len(found.boxes) - 1)


def choose_face(boxes: np.ndarray, image_shape: tuple[int, ...]) -> int:
    """Return the index of the largest and most central box of (n, 4) x, y, width, height, n at least 1.

    The score is area times closeness, which falls linearly from 1 where the box's centre is the picture's to 0 at the picture's corners and beyond.
    Ties go to the highest box, then the leftmost, then the first.
    """
    x, y, width, height = np.asarray(boxes, dtype=np.float64).T
    high, wide = image_shape[:2]
    away = np.hypot(x + width / 2 - wide / 2, y + height / 2 - high / 2)
    score = width * height * np.clip(1 - away / np.hypot(wide / 2, high / 2), 0, 1)
    return int(np.lexsort((x, y, -score))[0])


def crop_box(image: np.ndarray, box: tuple[int, int, int, int], *, margin: float = 0.0) -> np.ndarray:
    """Crop the square about a box x, y, width, height in pixels; edge pixels are repeated outside the picture.

    `margin` is added on each side, as a fraction of the box's longer side; negative crops closer.

    Raises:
        InputError: If the box is empty, lies outside the picture, or is more than four times as large.
    """
    high, wide = check_image(image).shape[:2]
    x, y, width, height = (int(value) for value in box)
    side = round((1 + 2 * margin) * max(width, height))
    where = f"The box {x}, {y}, {width} x {height} with margin {margin}"
    if min(width, height, side) < 1:
        raise InputError(f"{where} is empty; expected a width and height of at least 1 pixel. Correct the box or the margin.")
    left, top = x + (width - side) // 2, y + (height - side) // 2
    if left >= wide or top >= high or left + side <= 0 or top + side <= 0:
        raise InputError(f"{where} lies outside its picture of {wide} x {high}; expected it to overlap. Correct the box.")
    if side > 4 * max(wide, high):
        raise InputError(f"{where} is more than four times as large as its picture of {wide} x {high}. Correct the box or the margin.")
    rows, columns = (np.clip(np.arange(start, start + side), 0, end - 1) for start, end in ((top, high), (left, wide)))
    return image[rows[:, None], columns]


def _search(image: np.ndarray, *, look: Look, levels: tuple[SearchLevel, ...], small: bool = False, scored: bool = False) -> Detections:
    levels = tuple(replace(level, scored=scored) for level in levels)
    longer = max(check_image(image).shape[:2])
    least, found = [], None
    with one_thread():
        for level in levels:
            if level.side > SEARCHED and longer <= SEARCHED:
                continue  # the picture as it is has been searched
            found = _look_once(image, level, look)
            least.append(found.smallest or 0)
            if len(found.boxes):
                break
        found = replace(found or _look_once(image, levels[0], look), smallest=min(least))
        return _look_closer(image, found, look=look, stated=levels[0], small=small) if found.level or small else found


def _look_once(image: np.ndarray, level: SearchLevel, look: Look) -> Detections:
    """Search one copy of a picture; results are in pixels of the picture itself."""
    picture, scale, offset = _change(image, level)
    if level.side < max(image.shape[:2]):
        level = replace(level, min_size=max(round(level.min_size * scale), min(level.min_size, LEAST)))
    boxes, landmarks, scores = look(picture, level)
    smallest = int(np.ceil(level.min_size / scale))
    if not len(boxes):
        return Detections(np.zeros((0, 4), np.int64), None, None, smallest=smallest)
    order = np.lexsort(boxes.T[::-1])
    corners = boxes[order] / scale - np.array([offset, offset, 0, 0])
    points = None if landmarks is None else (landmarks[order] + 0.5) / scale - 0.5 - offset
    return Detections(np.rint(corners).astype(np.int64), points, level.name, scores=None if scores is None else scores[order], smallest=smallest)


def _look_closer(image: np.ndarray, found: Detections, *, look: Look, stated: SearchLevel, small: bool) -> Detections:
    """Search again at twice the size while a face was found that is less than twice as large as the smallest that was searched for."""
    side = SEARCHED
    while side < min(max(image.shape[:2]), LARGEST_SEARCHED):
        least = found.smallest or 0
        if least <= 1.1 * stated.min_size or (not small and (not len(found.boxes) or found.boxes[:, 2:].min() >= 2 * least)):
            break  # as small as was stated, rounding aside; or what was found is large
        side *= 2
        found = _joined(found, _look_once(image, replace(stated, name=f"at {side} px", side=side), look))
    return found


def _joined(first: Detections, closer: Detections) -> Detections:
    """Return the faces of two searches, each once: of both, the box of the closer search."""
    smallest = min(first.smallest or 0, closer.smallest or 0)
    if not len(closer.boxes):
        return replace(first, smallest=smallest)
    kept = ~(overlaps(first.boxes, closer.boxes) > SAME).any(axis=1)
    boxes = np.concatenate([first.boxes[kept], closer.boxes])
    order = np.lexsort(boxes.T[::-1])
    points, scores = (
        None if new is None else np.concatenate([old[kept] if old is not None else new[:0], new])[order]
        for old, new in ((first.landmarks, closer.landmarks), (first.scores, closer.scores))
    )
    return Detections(boxes[order], points, first.level or closer.level, scores=scores, smallest=smallest)


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the intersection over union of all pairs of boxes (n, 4) and (m, 4), x, y, width and height each, float64 (n, m).

    >>> overlaps(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 2, 2], [5, 5, 1, 1]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum((one[:, :2] + one[:, 2:])[:, None], (other[:, :2] + other[:, 2:])[None])
    both = np.clip(high - low, 0, None).prod(axis=2)
    return both / (one[:, 2:].prod(axis=1)[:, None] + other[:, 2:].prod(axis=1)[None] - both)


def _change(image: np.ndarray, level: SearchLevel) -> tuple[np.ndarray, float, float]:
    """Return the picture that a search level uses, its scale, and the width of its frame in pixels of the original."""
    reduced = min(1.0, level.side / max(image.shape[:2]))
    picture, scale, offset = image, reduced, 0
    if reduced < 1:
        size = [max(1, round(reduced * pixels)) for pixels in image.shape[1::-1]]
        picture = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    if level.frame:
        offset = round(FRAME * min(picture.shape[:2]))
        picture = cv2.copyMakeBorder(picture, offset, offset, offset, offset, cv2.BORDER_REPLICATE)
    if level.equalise:
        picture = equalise_histogram(picture)
    if level.enlarge and min(picture.shape[:2]) < ENLARGED:
        larger = max(1.0, min(ENLARGED / min(picture.shape[:2]), LARGEST / max(picture.shape[:2])))
        picture = cv2.resize(picture, None, fx=larger, fy=larger, interpolation=cv2.INTER_LINEAR)
        scale = reduced * larger
    return picture, scale, offset / reduced
