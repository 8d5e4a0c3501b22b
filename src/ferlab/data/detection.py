"""Where the face is: boxes by a detector, retried under looser parameters, and the one face that is meant.

A detector is a callable from one picture to `Detections`: OpenCV's Haar cascade (Viola & Jones 2001), or YuNet (Wu, Peng &
Yu 2023) from a file that the user supplies. Both search the picture as it is under the stated parameters; where nothing is
found they go down a fixed ladder of looser ones, and say which rung found the face. What no rung finds is None, never dropped
here: the caller lists it.

References:
    cs231a: "In cases where no bounding box was found, we ... ran it again using different detection parameters"; of several boxes
    "the one that was largest and/or most central". Its code states scaleFactor 1.1, minNeighbors 5, minSize 30 x 30, none of the
    other parameters, and sorts by size a copy that it throws away, so that there the first box wins.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ferlab.data.appearance import check_image, equalise_histogram, to_grey, to_rgb
from ferlab.paths import InputError

DETECTORS = ("haar", "yunet")
CASCADE = "haarcascade_frontalface_default.xml"
STATED = "as stated"
FRAME = 0.25  # width of the frame, as share of the picture's shorter side: a tight crop lacks the surroundings that the cascade knows
ENLARGED = 200  # pixels that the shorter side of a small picture is brought to
LARGEST = 4096  # pixels, a longer side is not enlarged beyond it: a sliver of 1024 x 1 would need 20 GB
YUNET_OVERLAP, YUNET_MOST = 0.3, 5000  # OpenCV's own


@dataclass(frozen=True)
class Rung:
    """One way to search: Haar reads the first three numbers, YuNet the score, both what is done to the picture before."""

    name: str
    scale_factor: float = 1.1
    min_neighbors: int = 5
    min_size: int = 30
    score: float = 0.9
    equalise: bool = False
    frame: bool = False
    enlarge: bool = False


@dataclass(frozen=True)
class Detections:
    """All faces found in one picture.

    Attributes:
        boxes: int64 (n, 4): x, y, width, height in pixels, sorted; a box may leave the picture.
        landmarks: float64 (n, 5, 2), x and y of the eye, eye, nose tip, mouth corner, mouth corner (of each pair the one at the left
            of the picture first); None where the detector gives none.
        rung: Name of the rung that found them; None if none did.
    """

    boxes: np.ndarray
    landmarks: np.ndarray | None
    rung: str | None


@dataclass(frozen=True)
class FoundFace:
    """The face that is meant: its box (x, y, width, height), the rung that found it, its landmarks, and how many other boxes there were."""

    box: tuple[int, int, int, int]
    rung: str
    landmarks: np.ndarray | None
    others: int


Detector = Callable[[np.ndarray], Detections]
Look = Callable[[np.ndarray, Rung], tuple[np.ndarray, np.ndarray | None]]


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
        scale_factor: Haar: ratio of one size of face searched to the next, above 1.
        min_neighbors: Haar: overlapping hits that make a face, 0 or more.
        min_size: Haar: side of the smallest face, in pixels.
        retries: Whether to go down the ladder where nothing is found.

    Raises:
        InputError: If the name or a parameter is not as expected, or the file is missing, another one, or no YuNet.
    """
    if scale_factor <= 1 or min_neighbors < 0 or min_size < 1:
        given = f"scale_factor={scale_factor}, min_neighbors={min_neighbors}, min_size={min_size}"
        raise InputError(f"{name}: expected scale_factor above 1, min_neighbors of at least 0 and min_size of at least 1, got {given}.")
    stated = Rung(STATED, scale_factor=scale_factor, min_neighbors=min_neighbors, min_size=min_size)
    if name == "haar":
        if file is not None:
            raise InputError(f"haar: got the file {file}; expected none, the cascade comes with OpenCV. Leave it out, or choose yunet.")
        look, ladder = partial(_look_haar, load_cascade(CASCADE)), haar_ladder(stated)
    elif name == "yunet":
        look, ladder = partial(_look_yunet, _load_yunet(file, sha256)), yunet_ladder(stated)
    else:
        near = difflib.get_close_matches(name, DETECTORS, n=1)
        raise InputError(f"No detector is named {name!r}{f' (did you mean {near[0]!r}?)' if near else ''}; expected {' or '.join(DETECTORS)}.")
    return partial(_search, look=look, ladder=ladder if retries else ladder[:1])


def haar_ladder(stated: Rung) -> tuple[Rung, ...]:
    """Return the rungs for Haar, each looser than the one before; a stated parameter that is looser still is kept.

    Finer steps of size, then fewer neighbours, smaller faces, an equalised picture, a frame of repeated edge pixels around it (a
    tight crop has no surroundings), a small picture enlarged. A single neighbour comes last: with 400 faces of FER2013, each somewhere in
    a scene of noise three times as wide, 22 of the 33 boxes it gave were no face, against 3 of 240 as stated.
    """
    finer = replace(stated, name="scale factor 1.05", scale_factor=min(stated.scale_factor, 1.05))
    fewer = replace(finer, name="3 neighbours", min_neighbors=min(stated.min_neighbors, 3))
    small = replace(fewer, name="from 20 px", min_size=min(stated.min_size, 20))
    framed = replace(small, name="framed", frame=True)
    enlarged = replace(framed, name="enlarged", enlarge=True)
    single = replace(enlarged, name="1 neighbour", min_neighbors=min(stated.min_neighbors, 1))
    return stated, finer, fewer, small, replace(small, name="equalised", equalise=True), framed, enlarged, single


def yunet_ladder(stated: Rung) -> tuple[Rung, ...]:
    """Return the rungs for YuNet: OpenCV's score of .9, then .6, an equalised picture, framed, enlarged, and a score of .3 last."""
    lower = replace(stated, name="score 0.6", score=0.6)
    framed = replace(lower, name="framed", frame=True)
    enlarged = replace(framed, name="enlarged", enlarge=True)
    return stated, lower, replace(lower, name="equalised", equalise=True), framed, enlarged, replace(enlarged, name="score 0.3", score=0.3)


def find_box(image: np.ndarray, detector: Detector) -> FoundFace | None:
    """Find the face that a picture is of; None if no rung found one.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        detector: From `open_detector`, or any callable like it.
    """
    found = detector(image)
    if len(found.boxes) == 0:
        return None
    chosen = choose_face(found.boxes, image.shape)
    x, y, width, height = (int(value) for value in found.boxes[chosen])
    landmarks = None if found.landmarks is None else found.landmarks[chosen]
    return FoundFace(box=(x, y, width, height), rung=found.rung or STATED, landmarks=landmarks, others=len(found.boxes) - 1)


def choose_face(boxes: np.ndarray, image_shape: tuple[int, ...]) -> int:
    """Return the place of the largest and most central box.

    The score is area times closeness, and closeness falls in a line from 1 where the box's centre is the picture's to 0 at the
    picture's corners and beyond. Ties go to the highest box, then the leftmost, then the first.

    Args:
        boxes: (n, 4) x, y, width, height; n at least 1.
        image_shape: The picture's (H, W) or (H, W, 3).

    Raises:
        ValueError: If there are no boxes.
    """
    if len(boxes) == 0:
        raise ValueError("Expected at least one box to choose from, got none")
    x, y, width, height = np.asarray(boxes, dtype=np.float64).T
    high, wide = image_shape[:2]
    away = np.hypot(x + width / 2 - wide / 2, y + height / 2 - high / 2)
    score = width * height * np.clip(1 - away / np.hypot(wide / 2, high / 2), 0, 1)
    return int(np.lexsort((x, y, -score))[0])


def crop_box(image: np.ndarray, box: tuple[int, int, int, int], *, margin: float = 0.0, square: bool = True) -> np.ndarray:
    """Cut a box out of a picture; edge pixels are repeated where it leaves the picture.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        box: x, y, width, height in pixels: a detector's, a dataset's, or one chosen by hand (fers).
        margin: Added on each side, as share of the box's longer side; negative cuts closer.
        square: Whether the shorter side grows to the longer one, about the same centre.

    Returns:
        uint8 (h, w) or (h, w, 3).

    Raises:
        InputError: If the box is empty, lies outside the picture, or is more than four times as large.
    """
    high, wide = check_image(image).shape[:2]
    x, y, width, height = (int(value) for value in box)
    longer = max(width, height)
    across, down = (round(side + 2 * margin * longer) for side in ((longer, longer) if square else (width, height)))
    where = f"The box {x}, {y}, {width} x {height} with margin {margin}"
    if min(width, height, across, down) < 1:
        raise InputError(f"{where} is empty; expected a width and height of at least 1 pixel. Correct the box or the margin.")
    left, top = x + (width - across) // 2, y + (height - down) // 2
    if left >= wide or top >= high or left + across <= 0 or top + down <= 0:
        raise InputError(f"{where} lies outside its picture of {wide} x {high}; expected it to overlap. Correct the box.")
    if max(across, down) > 4 * max(wide, high):
        raise InputError(f"{where} is more than four times as large as its picture of {wide} x {high}. Correct the box or the margin.")
    rows, columns = (np.clip(np.arange(start, start + count), 0, end - 1) for start, count, end in ((top, down, high), (left, across, wide)))
    return image[rows[:, None], columns]


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep OpenCV on one thread: its threads collect hits in the order they end, and on small pictures cost more than they save."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def load_cascade(name: str) -> cv2.CascadeClassifier:
    """Open one of the cascades that come with OpenCV.

    Raises:
        InputError: If OpenCV lacks it.
    """
    path = Path(cv2.data.haarcascades) / name
    cascade = cv2.CascadeClassifier(str(path)) if path.is_file() else None
    if cascade is None or cascade.empty():
        raise InputError(f"{name} is missing from OpenCV {cv2.__version__}; expected opencv-python-headless 4. Install requirements.lock again.")
    return cascade


def _search(image: np.ndarray, *, look: Look, ladder: tuple[Rung, ...]) -> Detections:
    check_image(image)
    with one_thread():
        for rung in ladder:
            picture, scale, offset = _change(image, rung)
            boxes, landmarks = look(picture, rung)
            if len(boxes):
                order = np.lexsort(boxes.T[::-1])
                corners = boxes[order] / scale - np.array([offset, offset, 0, 0])
                points = None if landmarks is None else (landmarks[order] + 0.5) / scale - 0.5 - offset
                return Detections(np.rint(corners).astype(np.int64), points, rung.name)
    return Detections(np.zeros((0, 4), np.int64), None, None)


def _change(image: np.ndarray, rung: Rung) -> tuple[np.ndarray, float, int]:
    """Return the picture that a rung searches, its scale, and the width of its frame in pixels of the original."""
    picture, scale, offset = image, 1.0, 0
    if rung.frame:
        offset = round(FRAME * min(image.shape[:2]))
        picture = cv2.copyMakeBorder(picture, offset, offset, offset, offset, cv2.BORDER_REPLICATE)
    if rung.equalise:
        picture = equalise_histogram(picture)
    if rung.enlarge and min(picture.shape[:2]) < ENLARGED:
        scale = max(1.0, min(ENLARGED / min(picture.shape[:2]), LARGEST / max(picture.shape[:2])))
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    return picture, scale, offset


def _look_haar(cascade: cv2.CascadeClassifier, picture: np.ndarray, rung: Rung) -> tuple[np.ndarray, None]:
    size = (rung.min_size, rung.min_size)
    boxes = cascade.detectMultiScale(to_grey(picture), scaleFactor=rung.scale_factor, minNeighbors=rung.min_neighbors, minSize=size)
    return np.asarray(boxes, np.float64).reshape(-1, 4), None


def _look_yunet(net: cv2.FaceDetectorYN, picture: np.ndarray, rung: Rung) -> tuple[np.ndarray, np.ndarray]:
    net.setInputSize((picture.shape[1], picture.shape[0]))
    net.setScoreThreshold(rung.score)
    _, faces = net.detect(cv2.cvtColor(to_rgb(picture), cv2.COLOR_RGB2BGR))
    rows = np.zeros((0, 15)) if faces is None else np.asarray(faces, np.float64)  # x, y, w, h, five points, score
    return rows[:, :4], rows[:, 4:14].reshape(-1, 5, 2)


def _load_yunet(file: Path | str | None, sha256: str | None) -> cv2.FaceDetectorYN:
    if file is None or not Path(file).is_file():
        missing = "no file was given" if file is None else f"{file} is missing"
        raise InputError(f"yunet: {missing}; expected the .onnx file of YuNet (face_detection_yunet in OpenCV's model zoo). Get it and name it.")
    if Path(file).suffix != ".onnx":
        raise InputError(f"yunet: {file} is no .onnx file; expected YuNet's, as in OpenCV's model zoo. Name that one.")
    found = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    if sha256 is None or found != sha256.lower():
        stated = "none was stated" if sha256 is None else f"expected {sha256}"
        raise InputError(f"yunet: {file} has the sha256 {found}; {stated}. State that one if the file is the one you mean, or get it again.")
    try:
        return cv2.FaceDetectorYN.create(str(file), "", (320, 320), nms_threshold=YUNET_OVERLAP, top_k=YUNET_MOST)
    except cv2.error:
        raise InputError(f"yunet: OpenCV cannot read {file} as a net; expected YuNet's .onnx file. Get it again.") from None
