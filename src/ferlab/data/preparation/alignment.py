"""Turn, shift and scale a face so that its eyes lie where every face's eyes lie.

Aligned by two eyes, given or found by OpenCV's eye cascade, or by supplied landmarks: 68 points in the order of iBUG (CK+,
AffectNet) or five (YuNet). fersys names alignment ("to ensure consistent orientation of facial features", with OpenCV and dlib)
and states no position; here the eyes lie where they do in FER2013's own crops on average, unless said otherwise: .38 of the height below
the upper edge and .37 of the width apart, which leaves room for a dropped jaw.

Points are x, y in pixels, 0 being the centre of the first pixel; left and right are those of the picture, not of the person.

References:
    Umeyama (1991), Least-squares estimation of transformation parameters between two point patterns, IEEE TPAMI 13(4).
    Sagonas et al. (2013), 300 faces in-the-wild challenge (iBUG): the order of the 68 points.
    Deng et al. (2019), ArcFace, arXiv 1801.07698: where nose and mouth lie below the eyes (its five points at 112 x 112).
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from ferlab.data.preparation.appearance import check_image, to_grey
from ferlab.data.preparation.detectors import load_cascade, one_thread
from ferlab.paths import InputError

EYE_DISTANCE, EYE_HEIGHT = 0.37, 0.38  # shares of the side: means over 273 Training faces of FER2013 whose eyes `find_eyes` found
# Half the distance between the mouth's corners, and how far nose tip and mouth lie below the eyes, in distances between the eyes.
MOUTH_HALF, NOSE_BELOW, MOUTH_BELOW = 0.414, 0.572, 1.157
LEFT_EYE, RIGHT_EYE, NOSE_TIP, MOUTH_CORNERS = slice(36, 42), slice(42, 48), 30, (48, 54)  # places among the 68
STEADY = 3  # of the five points, eyes and nose tip: the mouth's corners move with the expression
EYES = "haarcascade_eye.xml"
SEARCHED = (0.15, 0.62)  # rows of a face's box in which its eyes lie, as shares of its height
FACE_SIDE = 200  # pixels that a smaller box is enlarged to: the cascade knows eyes of 20 x 20 and more

Point = tuple[float, float]


def align_by_eyes(
    image: np.ndarray, left_eye: Point, right_eye: Point, *, size: int, eye_distance: float = EYE_DISTANCE, eye_height: float = EYE_HEIGHT
) -> np.ndarray:
    """Turn, scale and shift a face so that its eyes lie level and where they should.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        left_eye: Centre of the eye at the left of the picture (x, y).
        right_eye: Centre of the other.
        size: Side of the result.
        eye_distance: Between the eyes' centres, as share of the side.
        eye_height: Of the eyes below the upper edge, as share of the side.

    Returns:
        uint8 (size, size) or (size, size, 3); edge pixels are repeated where it leaves the picture.

    Raises:
        InputError: If the eyes coincide, or an option is out of range.
    """
    eyes = canonical_points(size, eye_distance=eye_distance, eye_height=eye_height)[:2]
    return _warp(image, fit_similarity(np.array([left_eye, right_eye], np.float64), eyes), size)


def align_by_landmarks(
    image: np.ndarray, landmarks: np.ndarray, *, size: int, eye_distance: float = EYE_DISTANCE, eye_height: float = EYE_HEIGHT
) -> np.ndarray:
    """Turn, scale and shift a face so that its eyes and nose tip come as near as they can to where they should lie, in least squares.

    The mouth's corners are left out: a smile draws them apart and up, and scaling it away would take the expression with it. On control faces
    the scale varies with one subject's expressions by .8 % (standard deviation), with the corners by 2.8 %.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        landmarks: (68, 2) in the order of iBUG, or (5, 2) in that of YuNet.
        size: Side of the result.
        eye_distance: As in `align_by_eyes`.
        eye_height: As in `align_by_eyes`.

    Raises:
        InputError: If the landmarks are of another number, no numbers, or all in one place, or an option is out of range.
    """
    wanted = canonical_points(size, eye_distance=eye_distance, eye_height=eye_height)
    return _warp(image, fit_similarity(five_points(landmarks)[:STEADY], wanted[:STEADY]), size)


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Return float64 (5, 2): eye, eye, nose tip, mouth corner, mouth corner, of each pair the one at the left of the picture first.

    Args:
        landmarks: (68, 2) in the order of iBUG, where an eye's centre is the mean of its six points; or five in that order already.

    Raises:
        InputError: If they are of another number, or not all numbers.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape not in ((68, 2), (5, 2)):
        raise InputError(f"Expected landmarks (68, 2) in the order of iBUG or (5, 2) in that of YuNet, got {points.shape}. Choose another alignment.")
    if not np.isfinite(points).all():
        raise InputError(f"Landmark {int(np.argmin(np.isfinite(points).all(axis=1)))} (from 0) is no number; expected x and y in pixels. Correct it.")
    if len(points) == 5:
        return points
    return np.stack([points[LEFT_EYE].mean(axis=0), points[RIGHT_EYE].mean(axis=0), points[NOSE_TIP], *points[list(MOUTH_CORNERS)]])


def canonical_points(size: int, *, eye_distance: float = EYE_DISTANCE, eye_height: float = EYE_HEIGHT) -> np.ndarray:
    """Return where the five points lie in an aligned face of size x size, float64 (5, 2), level and mirror-symmetric.

    Raises:
        InputError: If an option is out of range.
    """
    if size < 1 or not 0 < eye_distance < 1 or not 0 < eye_height < 1:
        given = f"size={size}, eye_distance={eye_distance}, eye_height={eye_height}"
        raise InputError(f"alignment: expected a size of at least 1 and shares above 0 and below 1, got {given}.")
    d = eye_distance
    across = np.array([-d / 2, d / 2, 0.0, -MOUTH_HALF * d, MOUTH_HALF * d]) + 0.5
    down = np.array([0.0, 0.0, NOSE_BELOW * d, MOUTH_BELOW * d, MOUTH_BELOW * d]) + eye_height
    return np.column_stack([across, down]) * size - 0.5


def fit_similarity(points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the rotation, scale and shift that bring `points` nearest to `wanted` in least squares, without mirroring (Umeyama 1991).

    In the plane a similarity is z -> a z + b in complex numbers, and its least squares are those of a line.

    Args:
        points: float64 (n, 2), n at least 2.
        wanted: float64 (n, 2).

    Returns:
        float64 (2, 3), as OpenCV takes it.

    Raises:
        InputError: If the points all lie in one place.
    """
    z, w = (np.asarray(p, np.float64) @ np.array([1, 1j]) for p in (points, wanted))
    spread = z - z.mean()
    if np.abs(spread).max() < 1e-6:
        raise InputError(f"The eyes or landmarks all lie at {points[0][0]:g}, {points[0][1]:g}; expected points apart. Leave this face unaligned.")
    a = np.vdot(spread, w - w.mean()) / np.vdot(spread, spread).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def find_eyes(image: np.ndarray, box: tuple[int, int, int, int]) -> tuple[Point, Point] | None:
    """Find both eyes of a face with OpenCV's eye cascade; None where no two hits are as two eyes are.

    Two eyes lie on either side of the box's middle, .25 to .6 of its width apart, at most 25 degrees from level, with their
    middle within .12 of the box's middle, and the larger at most 1.8 times the smaller. Of several such pairs the one whose
    middle, slope, sizes and distance (.4) fit best is meant.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        box: The face's x, y, width, height.

    Returns:
        Centres of the eye at the left of the picture and of the other (x, y), or None.
    """
    high, wide = check_image(image).shape[:2]
    x, y, width, height = box
    top, bottom = max(y + round(SEARCHED[0] * height), 0), min(y + round(SEARCHED[1] * height), high)
    left, right = max(x, 0), min(x + width, wide)
    if right - left < 8 or bottom - top < 4:
        return None
    scale = max(FACE_SIDE / width, 1.0)
    band = cv2.resize(to_grey(image[top:bottom, left:right]), None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    side = round(0.12 * width * scale)
    with one_thread():
        hits = _eye_cascade().detectMultiScale(band, scaleFactor=1.05, minNeighbors=3, minSize=(side, side), maxSize=(4 * side, 4 * side))
    eyes = np.asarray(hits, np.float64).reshape(-1, 4) / scale + np.array([left, top, 0, 0])
    return _choose_pair(eyes[np.lexsort(eyes.T[::-1])], middle=x + width / 2, width=width)


@cache
def _eye_cascade() -> cv2.CascadeClassifier:
    return load_cascade(EYES)


def _choose_pair(eyes: np.ndarray, *, middle: float, width: float) -> tuple[Point, Point] | None:
    """Return the centres of the two of `eyes` (n, 4) that are most like a pair; None if no two are."""
    centres, sides = eyes[:, :2] + (eyes[:, 2:] - 1) / 2, eyes[:, 2]
    best, pair = np.inf, None
    for one in np.flatnonzero(centres[:, 0] < middle):
        for other in np.flatnonzero(centres[:, 0] >= middle):
            across, down = (centres[other] - centres[one]) / width
            shift = abs((centres[one, 0] + centres[other, 0]) / 2 - middle) / width
            ratio = max(sides[one], sides[other]) / min(sides[one], sides[other])
            if not 0.25 <= across <= 0.6 or abs(down) > np.tan(np.radians(25)) * across or shift > 0.12 or ratio > 1.8:
                continue
            misfit = shift + abs(down) / across + np.log(ratio) + abs(across - 0.4)
            if misfit < best:
                best, pair = misfit, (one, other)
    return None if pair is None else tuple((float(centres[eye, 0]), float(centres[eye, 1])) for eye in pair)  # type: ignore[return-value]


def _warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Resample a picture; where it shrinks, on a finer grid first, whose cells are then averaged, so that nothing aliases."""
    finer = max(int(np.ceil(1 / np.hypot(*matrix[:, 0]) - 1e-9)), 1)
    grid = matrix * finer
    grid[:, 2] += (finer - 1) / 2  # the centre of the first pixel of the finer grid lies further out
    high, wide = check_image(image).shape[:2]
    if finer * size > 4 * max(high, wide, size):
        raise InputError(f"The eyes or landmarks lie further apart than a picture of {wide} x {high} allows. Leave this face unaligned.")
    warped = cv2.warpAffine(image, grid, (finer * size, finer * size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return warped if finer == 1 else cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA)
