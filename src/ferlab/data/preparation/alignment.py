"""Alignment of faces: rotation, scale and shift that bring the eyes to a canonical position.

Faces are aligned by two eyes, given or found by OpenCV's eye cascade, or by landmarks: 68 points in iBUG's order (CK+, AffectNet) or five (YuNet).
fersys names alignment ("to ensure consistent orientation of facial features", with OpenCV and dlib) and states no position. By default the eyes lie
where they do in FER2013's crops on average: 0.38 of the height below the upper edge and 0.37 of the width apart, which leaves room for a dropped jaw.

Points are x, y in pixels; 0 is the centre of the first pixel. Left and right are those of the picture.

References:
    Umeyama (1991), Least-squares estimation of transformation parameters between two point patterns, IEEE TPAMI 13(4).
    Sagonas et al. (2013), 300 faces in-the-wild challenge (iBUG): the order of the 68 points.
    Deng et al. (2019), ArcFace, arXiv 1801.07698: the nose tip below the eyes (its five points at 112 x 112).
"""

from __future__ import annotations

from functools import cache, partial

import cv2
import numpy as np

from ferlab.data.preparation.appearance import check_image, to_grey
from ferlab.data.preparation.detectors import load_cascade
from ferlab.opencv import one_thread
from ferlab.paths import InputError

EYE_DISTANCE, EYE_HEIGHT = 0.37, 0.38  # fractions of the side: means over 273 Training faces of FER2013 whose eyes `find_eyes` found
NOSE_BELOW = 0.572  # of the distance between the eyes, as in ArcFace
LEFT_EYE, RIGHT_EYE, NOSE_TIP = slice(36, 42), slice(42, 48), 30  # places among the 68
EYES = "haarcascade_eye.xml"
SEARCHED = (0.15, 0.62)  # rows of a face's box in which its eyes lie, as fractions of its height
FACE_SIDE = 200  # pixels to which a smaller box is enlarged: the cascade finds eyes from 20 x 20
_eye_cascade = cache(partial(load_cascade, EYES))

Point = tuple[float, float]


def align(image: np.ndarray, landmarks: np.ndarray, *, size: int) -> np.ndarray:
    """Align a face by its eyes, or by least squares of its eyes and nose tip.

    The mouth's corners are not used, since they move with the expression: on control faces the scale varies over one subject's expressions by 0.8 %
    (standard deviation), with the corners by 2.8 %.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        landmarks: (2, 2), both eyes, (5, 2) in YuNet's order or (68, 2) in iBUG's; x and y, of each pair the one at the left of the picture first.
        size: Side of the result.

    Returns:
        uint8 (size, size) or (size, size, 3); edge pixels are repeated outside the picture.

    Raises:
        InputError: If the landmarks are of another number, not finite, or all at one point, or further apart than the picture allows.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape not in ((2, 2), (5, 2), (68, 2)):
        raise InputError(f"Expected landmarks (68, 2) in the order of iBUG or (5, 2) in that of YuNet, got {points.shape}. Choose another alignment.")
    if not np.isfinite(points).all():
        raise InputError(f"Landmark {int(np.argmin(np.isfinite(points).all(axis=1)))} (from 0) is no number; expected x and y in pixels. Correct it.")
    if len(points) == 68:
        points = np.stack([points[LEFT_EYE].mean(axis=0), points[RIGHT_EYE].mean(axis=0), points[NOSE_TIP]])
    points = points[:3]
    return _warp(image, fit_similarity(points, canonical_points(size)[: len(points)]), size)


def canonical_points(size: int) -> np.ndarray:
    """Return eye, eye and nose tip of an aligned face of size x size, float64 (3, 2), level and mirror-symmetric."""
    d, h = EYE_DISTANCE, EYE_HEIGHT
    return np.array([[0.5 - d / 2, h], [0.5 + d / 2, h], [0.5, h + NOSE_BELOW * d]]) * size - 0.5


def fit_similarity(points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the similarity, float64 (2, 3), that brings `points` (n, 2) nearest to `wanted` in least squares, without mirroring (Umeyama 1991).

    In the plane a similarity is z -> a z + b in complex numbers, and its least squares are those of a line.

    Raises:
        InputError: If all points coincide.
    """
    z, w = (p @ np.array([1, 1j]) for p in (points, wanted))
    spread = z - z.mean()
    if np.abs(spread).max() < 1e-6:
        raise InputError(f"The eyes or landmarks all lie at {points[0][0]:g}, {points[0][1]:g}; expected points apart. Leave this face unaligned.")
    a = np.vdot(spread, w - w.mean()) / np.vdot(spread, spread).real
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def find_eyes(image: np.ndarray, box: tuple[int, int, int, int]) -> tuple[Point, Point] | None:
    """Find both eyes in a face's box (x, y, width, height) with OpenCV's eye cascade; None if no two hits form a pair.

    A pair lies on either side of the box's middle, 0.25 to 0.6 of its width apart, at most 25 degrees from level, its middle within 0.12 of the
    box's, and its larger eye at most 1.8 times the smaller. Of several pairs the one with the best middle, slope, sizes and distance (0.4) is chosen.
    The eye at the left of the picture comes first.
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


def _choose_pair(eyes: np.ndarray, *, middle: float, width: float) -> tuple[Point, Point] | None:
    """Return the centres of the best pair of `eyes` (n, 4), or None."""
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
    """Resample a picture; where it shrinks, on a finer grid whose cells are then averaged, against aliasing."""
    finer = max(int(np.ceil(1 / np.hypot(*matrix[:, 0]) - 1e-9)), 1)
    grid = matrix * finer
    grid[:, 2] += (finer - 1) / 2  # the centre of the first pixel of the finer grid lies further out
    high, wide = check_image(image).shape[:2]
    if finer * size > 4 * max(high, wide, size):
        raise InputError(f"The eyes or landmarks lie further apart than a picture of {wide} x {high} allows. Leave this face unaligned.")
    warped = cv2.warpAffine(image, grid, (finer * size, finer * size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return warped if finer == 1 else cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA)
