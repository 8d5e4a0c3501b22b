"""Lay one face over another as well as a shift, a turn and a scale can, and say how alike they are then.

Both faces are band-passed first: what is left are brows, eyes, nose and mouth, neither the light that all faces share nor the grain of the
camera. The warp is found by Gauss-Newton steps on the normalised correlation (inverse compositional, to a fraction of a pixel), on faces of
24 pixels first and, where those agree, of 48.

References:
    Baker and Matthews (2004), Lucas-Kanade 20 Years On: A Unifying Framework (inverse compositional steps).
    Evangelidis and Psarakis (2008), Parametric Image Alignment Using Enhanced Correlation Coefficient Maximization.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

SIDE = 48
FINE, COARSE = 1.0, 3.0  # standard deviations of the band, in pixels of 48
MARGIN = 4  # pixels of 48 left out along the border, which a shift of 2 pixels and a turn of 5 degrees bring in from outside
TURN, REACH = 0.15, 4.0  # largest change of size or turn (radians, about 9 degrees), largest shift in pixels of 48
STEPS = (3, 3)  # at 24 and at 48 pixels
HOPELESS = 0.75  # below this correlation at 24 pixels a pair is not looked at again
BATCH = 512


def compare_pairs(first: np.ndarray, second: np.ndarray, *, shifts: np.ndarray) -> np.ndarray:
    """Align the second face of every pair with the first and return their correlation, float32 (P,), -1 to 1.

    Args:
        first: uint8 (P, 48, 48).
        second: uint8 (P, 48, 48).
        shifts: Where to begin: how many pixels (x, y) the second lies to the right of and below the first, (P, 2).

    Returns:
        Correlation of the aligned, band-passed faces. Pairs given up at 24 pixels have the correlation found there.
    """
    template, moved = _band(first), _band(second)
    start = np.concatenate([np.zeros((len(first), 2)), shifts / 2], axis=1).astype(np.float32)
    score, warp = _align(_halve(template), _halve(moved), start, steps=STEPS[0])
    near = np.flatnonzero(score >= HOPELESS)
    if len(near):
        score[near], _ = _align(template[near], moved[near], warp[near] * np.float32([1, 1, 2, 2]), steps=STEPS[1])
    return score


def _align(template: np.ndarray, moved: np.ndarray, warp: np.ndarray, *, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the best correlation (P,) and its warp (P, 4), the border left out."""
    side = template.shape[1]
    margin = MARGIN * side // SIDE
    inner = slice(margin, side - margin)
    target, slopes, inverse = _prepare(template, margin)
    best, best_warp = np.full(len(template), -1, np.float32), warp.copy()
    limit = np.float32([TURN, TURN, REACH * side / SIDE, REACH * side / SIDE])
    for step in range(steps + 1):
        face = _unit(_warp(moved, warp)[:, inner, inner].reshape(len(moved), -1))
        score = np.einsum("pn,pn->p", face, target)
        better = score > best
        best[better], best_warp[better] = score[better], warp[better]
        if step < steps:
            rest = face / np.maximum(score, 0.2)[:, None] - target
            change = np.einsum("pij,pj->pi", inverse, np.einsum("pin,pn->pi", slopes, rest))
            warp = np.clip(_undo(warp, change), -limit, limit)
    return best, best_warp


def _prepare(template: np.ndarray, margin: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the unit-length template (P, n), its slopes along the four parameters (P, 4, n) and the inverse of their products (P, 4, 4)."""
    side = template.shape[1]
    inner = slice(margin, side - margin)
    across, down = np.zeros_like(template), np.zeros_like(template)
    across[:, :, 1:-1] = (template[:, :, 2:] - template[:, :, :-2]) / 2
    down[:, 1:-1] = (template[:, 2:] - template[:, :-2]) / 2
    across, down = across[:, inner, inner], down[:, inner, inner]
    y, x = np.mgrid[inner, inner].astype(np.float32) - (side - 1) / 2
    slopes = np.stack([across * x + down * y, down * x - across * y, across, down], axis=1).reshape(len(template), 4, -1)
    target = template[:, inner, inner].reshape(len(template), -1)
    target = target - target.mean(axis=1, keepdims=True)
    length = np.linalg.norm(target, axis=1) + 1e-6
    target, slopes = target / length[:, None], slopes / length[:, None, None]
    slopes -= slopes.mean(axis=2, keepdims=True)
    slopes -= np.einsum("pin,pn->pi", slopes, target)[:, :, None] * target[:, None]  # what a change of contrast does is no motion
    products = np.einsum("pin,pjn->pij", slopes, slopes)
    products += (1e-4 * np.trace(products, axis1=1, axis2=2) + 1e-9)[:, None, None] * np.eye(4, dtype=np.float32)
    return target, slopes, np.linalg.inv(products)


def _warp(faces: np.ndarray, warp: np.ndarray) -> np.ndarray:
    """Read faces (P, S, S) at warped places: (1 + a, b) turns and scales about the centre, then (x, y) shifts."""
    side = faces.shape[1]
    a, b, x, y = warp.astype(np.float64).T
    c = (side - 1) / 2
    matrix = np.stack([1 + a, -b, x + c * (b - a), b, 1 + a, y - c * (a + b)], axis=1).reshape(-1, 2, 3)
    warped = np.empty_like(faces)
    for number in range(len(faces)):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(faces[number], matrix[number], (side, side), warped[number], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return warped


def _undo(warp: np.ndarray, change: np.ndarray) -> np.ndarray:
    """Return the warp that first undoes `change`: similarities as complex numbers, z -> (1 + a + ib) z + (x + iy)."""
    turn = (1 + warp[:, 0] + 1j * warp[:, 1]) / (1 + change[:, 0] + 1j * change[:, 1])
    shift = warp[:, 2] + 1j * warp[:, 3] - turn * (change[:, 2] + 1j * change[:, 3])
    return np.stack([turn.real - 1, turn.imag, shift.real, shift.imag], axis=1).astype(np.float32)


def _unit(faces: np.ndarray) -> np.ndarray:
    faces = faces - faces.mean(axis=1, keepdims=True)
    return faces / (np.linalg.norm(faces, axis=1, keepdims=True) + 1e-6)


def _halve(faces: np.ndarray) -> np.ndarray:
    half = faces.shape[1] // 2
    return np.ascontiguousarray(faces.reshape(-1, half, 2, half, 2).mean(axis=(2, 4)))


def _band(faces: np.ndarray) -> np.ndarray:
    fine, coarse = _blur(FINE), _blur(COARSE)
    faces = faces.astype(np.float32)
    return fine @ faces @ fine.T - coarse @ faces @ coarse.T


@cache
def _blur(deviation: float) -> np.ndarray:
    """A Gaussian blur along a line of 48 pixels, as a matrix."""
    return gaussian_filter1d(np.eye(SIDE, dtype=np.float32), deviation, axis=0, mode="nearest")
