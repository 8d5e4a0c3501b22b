"""One search of one picture by OpenCV's Haar cascade or YuNet, with the parameters of one search level; and loading the two.

Boxes are in pixels of the picture that is searched. Every error of OpenCV is one line; an untrusted model is tried in a process of its own.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from ferlab.data.preparation.appearance import to_grey, to_rgb
from ferlab.paths import InputError

YUNET_SECONDS = 60  # for a trial; 0.5 are usual
YUNET_OURS = "Expected YuNet's .onnx file (face_detection_yunet in OpenCV's model zoo); get it again."
CASCADE = "haarcascade_frontalface_default.xml"
YUNET_OVERLAP, YUNET_MOST, YUNET_LEAST = 0.3, 5000, 10  # OpenCV's own; it finds faces from some 10 pixels on
SEARCHED = 1024  # pixels of the longer side of the copy that is searched first


@dataclass(frozen=True)
class SearchLevel:
    """Parameters of a search: Haar reads the first three numbers, YuNet the score; the others change the picture before."""

    name: str
    scale_factor: float = 1.1
    min_neighbors: int = 5
    min_size: int = 30
    score: float = 0.9
    equalise: bool = False
    frame: bool = False
    enlarge: bool = False
    side: int = SEARCHED
    scored: bool = False


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


def search_haar(cascade: cv2.CascadeClassifier, picture: np.ndarray, level: SearchLevel) -> tuple[np.ndarray, None, np.ndarray | None]:
    """Return Haar's boxes (n, 4) in a picture, no landmarks, and its scores (n,) if `level.scored`, which costs half as much again.

    Raises:
        InputError: If OpenCV cannot search it.
    """
    grey, size = to_grey(picture), (level.min_size, level.min_size)
    try:
        boxes = cascade.detectMultiScale(grey, scaleFactor=level.scale_factor, minNeighbors=level.min_neighbors, minSize=size)
        boxes = np.asarray(boxes, np.int64).reshape(-1, 4)
        scores = np.array([_haar_score(cascade, grey, box) for box in boxes.tolist()]) if level.scored else None
        return boxes.astype(np.float64), None, scores
    except cv2.error as error:
        raise InputError(f"haar: cannot search a picture of {grey.shape[1]} x {grey.shape[0]} ({_words(error)}). Exclude it.") from None


def _haar_score(cascade: cv2.CascadeClassifier, grey: np.ndarray, box: list[int]) -> float:
    """Return the largest sum of the last stage near a box, among windows of about its size; 0 if no window passes alone."""
    x, y, side = box[:3]
    around = np.ascontiguousarray(grey[max(y - side // 3, 0) : y + side + side // 3, max(x - side // 3, 0) : x + side + side // 3])
    sizes = {"minSize": (round(0.8 * side),) * 2, "maxSize": (round(1.25 * side),) * 2}
    _, stages, votes = cascade.detectMultiScale3(around, scaleFactor=1.05, minNeighbors=1, outputRejectLevels=True, **sizes)
    last = [vote for stage, vote in zip(np.ravel(stages), np.ravel(votes), strict=True) if stage == np.max(stages)]
    return float(max(last, default=0.0))


def search_yunet(net: cv2.FaceDetectorYN, picture: np.ndarray, level: SearchLevel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return YuNet's boxes (n, 4) in a picture, five points each (n, 5, 2), and its scores (n,).

    Raises:
        InputError: If OpenCV cannot search it, as with another model than YuNet.
    """
    try:
        net.setInputSize((picture.shape[1], picture.shape[0]))
        net.setScoreThreshold(level.score)
        _, faces = net.detect(cv2.cvtColor(to_rgb(picture), cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise InputError(
            f"yunet: its file is no model for pictures of {picture.shape[1]} x {picture.shape[0]} ({_words(error)}). {YUNET_OURS}"
        ) from None
    rows = np.zeros((0, 15)) if faces is None else np.asarray(faces, np.float64)  # x, y, w, h, five points, score
    rows = rows[np.isfinite(rows).all(axis=1) & (np.abs(rows) < 1e6).all(axis=1)]
    return rows[:, :4], rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14]


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def load_yunet(file: Path | str | None, sha256: str | None) -> cv2.FaceDetectorYN:
    """Open YuNet's file, after a trial in a process of its own.

    Raises:
        InputError: If it is missing, has another checksum, or OpenCV cannot run it.
    """
    if file is None or not Path(file).is_file():
        missing = "no file was given" if file is None else f"{file} is missing"
        raise InputError(f"yunet: {missing}; expected the .onnx file of YuNet (face_detection_yunet in OpenCV's model zoo). Get it and name it.")
    if Path(file).suffix != ".onnx":
        raise InputError(f"yunet: {file} is no .onnx file; expected YuNet's, as in OpenCV's model zoo. Name that one.")
    found = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    if sha256 is None or found != sha256.lower():
        stated = "none was stated" if sha256 is None else f"expected {sha256}"
        raise InputError(f"yunet: {file} has the sha256 {found}; {stated}. State that one if the file is the one you mean, or get it again.")
    if (status := _try_yunet(str(Path(file).absolute()), found)) != 0:
        what = "cannot read it" if status == 1 else "crashes on it" if status < 0 else "does not come to an end with it"
        raise InputError(f"yunet: OpenCV {what}: {file} cannot be read as a model. {YUNET_OURS}")
    return cv2.FaceDetectorYN.create(str(file), "", (320, 320), nms_threshold=YUNET_OVERLAP, top_k=YUNET_MOST)


TRIAL = """
import resource, sys, cv2, numpy
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
try:
    net = cv2.FaceDetectorYN.create(sys.argv[1], "", (320, 320), score_threshold=0.0)
    for size in ((320, 320), (200, 264)):
        net.setInputSize(size)
        net.detect(numpy.full((size[1], size[0], 3), 128, numpy.uint8))
except cv2.error:
    sys.exit(1)
"""


@cache
def _try_yunet(file: str, sha256: str) -> int:
    """Run a model once in a process of its own, and return its exit status: a damaged one crashes OpenCV and its caller."""
    try:
        return subprocess.run([sys.executable, "-c", TRIAL, file], check=False, capture_output=True, timeout=YUNET_SECONDS).returncode
    except subprocess.TimeoutExpired:
        return 124
