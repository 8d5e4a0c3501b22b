"""Alignment of pairs of faces by shift, rotation and scale, and their correlation once aligned.

Faces are band-passed first: brows, eyes, nose and mouth remain, lighting and sensor noise do not. The warp is found by Gauss-Newton steps on
the normalised correlation (inverse compositional, subpixel), at 24 pixels and, where the correlation is high enough, at 48.

References:
    Baker and Matthews (2004), Lucas-Kanade 20 Years On: A Unifying Framework (inverse compositional steps).
    Evangelidis and Psarakis (2008), Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

SIDE = 48
FINE, COARSE = 1.0, 3.0  # standard deviations of the band-pass, in pixels of 48
MARGIN = 1 / 12  # of the side, excluded along the border: a shift of 2 pixels and a rotation of 5 degrees fill it from outside
TURN, REACH = 0.15, 1 / 12  # largest change of scale or angle (radians, about 9 degrees); largest shift as a share of the side
STEPS = 3  # at each size
HOPELESS = 0.75  # correlation at 24 pixels below which a pair is not aligned at 48


def compare_pairs(first: np.ndarray, second: np.ndarray, *, shifts: np.ndarray) -> np.ndarray:
    """Align the second face of every pair with the first and return their correlation, float32 (P,), -1 to 1.

    Args:
        first: uint8 (P, 48, 48).
        second: uint8 (P, 48, 48).
        shifts: Initial shift (x, y) of the second face against the first, in pixels, (P, 2).
    """
    start = np.pad(shifts / 2, ((0, 0), (2, 0))).astype(np.float32)
    score, warp = _align(_band(first, SIDE // 2), _band(second, SIDE // 2), start)
    near = np.flatnonzero(score >= HOPELESS)
    if len(near):
        score[near], _ = _align(_band(first[near], SIDE), _band(second[near], SIDE), warp[near] * np.float32([1, 1, 2, 2]))
    return score


def _align(template: np.ndarray, moved: np.ndarray, warp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best correlation (P,) of faces (P, S, S) without their borders, and its warp (P, 4)."""
    side = template.shape[1]
    inner = slice(round(side * MARGIN), side - round(side * MARGIN))
    target, slopes, inverse = _linearise(template, inner)
    best, best_warp = np.full(len(template), -1, np.float32), warp.copy()
    limit = np.float32([TURN, TURN, REACH * side, REACH * side])
    for step in range(STEPS + 1):
        face = _warp(moved, warp)[:, inner, inner].reshape(len(moved), -1)
        face -= face.mean(axis=1, keepdims=True)
        face /= np.linalg.norm(face, axis=1, keepdims=True) + 1e-6
        score = np.einsum("pn,pn->p", face, target)
        better = score > best
        best[better], best_warp[better] = score[better], warp[better]
        if step < STEPS:
            rest = face / np.maximum(score, 0.2)[:, None] - target
            change = np.einsum("pij,pj->pi", inverse, np.einsum("pin,pn->pi", slopes, rest))
            warp = np.clip(_undo(warp, change), -limit, limit)
    return best, best_warp


def _linearise(template: np.ndarray, inner: slice) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the unit-length template (P, n), its derivatives by the warp (P, 4, n) and the inverse of their products (P, 4, 4)."""
    down, across = (slope[:, inner, inner] for slope in np.gradient(template, axis=(1, 2)))
    y, x = np.mgrid[inner, inner].astype(np.float32) - (template.shape[1] - 1) / 2
    slopes = np.stack([across * x + down * y, down * x - across * y, across, down], axis=1).reshape(len(template), 4, -1)
    target = template[:, inner, inner].reshape(len(template), -1)
    target = target - target.mean(axis=1, keepdims=True)
    length = np.linalg.norm(target, axis=1, keepdims=True) + 1e-6
    target, slopes = target / length, slopes / length[:, None]
    slopes -= slopes.mean(axis=2, keepdims=True)
    slopes -= np.einsum("pin,pn->pi", slopes, target)[:, :, None] * target[:, None]  # a change of contrast is no motion
    products = slopes @ slopes.swapaxes(1, 2)
    products += (1e-4 * np.trace(products, axis1=1, axis2=2) + 1e-9)[:, None, None] * np.eye(4, dtype=np.float32)
    return target, slopes, np.linalg.inv(products)


def _warp(faces: np.ndarray, warp: np.ndarray) -> np.ndarray:
    """Sample faces (P, S, S) at warped positions: (1 + a, b) scales and rotates about the centre, then (x, y) shifts."""
    a, b, x, y = warp.astype(np.float64).T
    c = (faces.shape[1] - 1) / 2
    matrices = np.stack([1 + a, -b, x + c * (b - a), b, 1 + a, y - c * (a + b)], axis=1).reshape(-1, 2, 3)
    warped = np.empty_like(faces)
    for face, matrix, out in zip(faces, matrices, warped, strict=True):
        cv2.warpAffine(face, matrix, face.shape, out, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
    return warped


def _undo(warp: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return the warp that first undoes `change`: similarities as complex numbers, z -> (1 + a + ib) z + (x + iy)."""
    turn = (1 + warp[:, 0] + 1j * warp[:, 1]) / (1 + change[:, 0] + 1j * change[:, 1])
    shift = warp[:, 2] + 1j * warp[:, 3] - turn * (change[:, 2] + 1j * change[:, 3])
    return np.stack([turn.real - 1, turn.imag, shift.real, shift.imag], axis=1).astype(np.float32)


def _band(faces: np.ndarray, side: int) -> np.ndarray:
    """Return faces uint8 (P, 48, 48), band-passed, at a size: float32 (P, side, side)."""
    blurs = (gaussian_filter1d(np.eye(SIDE, dtype=np.float32), deviation, axis=0, mode="nearest") for deviation in (FINE, COARSE))
    fine, coarse = (blur.reshape(side, -1, SIDE).mean(axis=1) for blur in blurs)  # (side, 48)
    faces = faces.astype(np.float32)
    return fine @ faces @ fine.T - coarse @ faces @ coarse.T
