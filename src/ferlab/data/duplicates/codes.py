"""Short codes of faces, and the pairs whose codes are close: the cheap first half of the search for near-duplicates.

A code is a perceptual hash kept as real numbers: the 63 lowest frequencies of a face's cosine transform, at unit length, so that brightness
and contrast drop out. A hash keeps their signs alone; at the recall wanted here that leaves ten to a hundred times more pairs to look at.
The frequencies are then weighed as in a linear discriminant: up where faces differ, down where copies of one face do. Shifts are not left
to the code: each face asks nine times, moved by -1.3, 0 and 1.3 pixels of 48 both ways, and nine times mirrored.

References:
    Zauner (2010), Implementation and Benchmarking of Perceptual Image Hash Functions (the 32-pixel cosine transform, low frequencies).
    Fisher (1936), The Use of Multiple Measurements in Taxonomic Problems (the weights).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
import scipy.fft
import scipy.linalg
from threadpoolctl import threadpool_limits

from ferlab.copies import alter, compress, move

SIDE = 48  # a face is compared at this size
LOW = 8  # frequencies per axis
LENGTH = 32  # numbers in a code
STEP = 1.3  # pixels between two questions; moves of up to 2 lie within 0.7 of one
SHIFTS: tuple[tuple[float, float], ...] = tuple((dx, dy) for dy, dx in product((-STEP, 0.0, STEP), repeat=2))
SAMPLE = 800  # faces that the weights and the limit are learnt from
RECALL = 0.997  # of altered copies, that the limit lets through
MOST = 40  # closest faces looked at per face
ROWS, COLUMNS = 48, 1024  # a block of scores: 48 * 18 * 1024 float32 = 3.5 MB, which stays in the cache
CHUNK = 2048


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Return grey faces of 48 x 48, uint8 (N, 48, 48); an array of such faces is returned as it is, unread.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), may be a memory map larger than memory.
    """
    if images.shape[1:] == (SIDE, SIDE):
        return images if isinstance(images, np.ndarray) else np.asarray(images)
    small = np.empty((len(images), SIDE, SIDE), np.uint8)
    way = cv2.INTER_AREA if min(images.shape[1:3]) >= SIDE else cv2.INTER_LINEAR
    for number, image in enumerate(images):
        grey = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
        small[number] = cv2.resize(np.ascontiguousarray(grey), (SIDE, SIDE), interpolation=way)
    return small


@dataclass(frozen=True)
class CodeSpace:
    """How a face becomes a code.

    Attributes:
        mean: Of the frequencies, (63,).
        basis: Weights, (63, D).
        limit: Squared distance up to which two codes are a candidate pair.
    """

    mean: np.ndarray
    basis: np.ndarray
    limit: float

    def encode(self, frequencies: np.ndarray) -> np.ndarray:
        """Return codes float32 (..., D) of frequencies (..., 63)."""
        return (frequencies - self.mean) @ self.basis


def frequencies(faces: np.ndarray, *, shift: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Return the low frequencies, float32 (N, 63) of unit length, of faces uint8 (N, 48, 48) as if moved by `shift` (x, y) pixels."""
    across, down = (_transform(pixels) for pixels in shift)
    low = (down @ faces.astype(np.float32) @ across.T).reshape(len(faces), -1)[:, 1:]
    return low / (np.linalg.norm(low, axis=1, keepdims=True) + 1.0)


def fit_codes(faces: np.ndarray, *, seed: int = 0) -> CodeSpace:
    """Learn weights and limit from a sample of the set itself and altered copies of it.

    Args:
        faces: Thumbnails, uint8 (N, 48, 48).
        seed: Of the sample and the copies.
    """
    rng = np.random.default_rng(seed)
    sample = faces[np.sort(rng.permutation(len(faces))[:SAMPLE])]
    sample = sample[np.arange(max(len(sample), SAMPLE)) % len(sample)]  # of few faces, several copies each
    own = frequencies(sample)
    within = frequencies(np.stack([_nudge(face, rng) for face in sample])) - own
    spread, noise = np.cov(own.T), within.T @ within / len(within)
    ridge = np.eye(len(noise)) * (1e-6 * np.trace(noise) + 1e-9)
    _, weights = scipy.linalg.eigh(spread + ridge, noise + ridge)
    space = CodeSpace(own.mean(axis=0), weights[:, ::-1][:, :LENGTH].astype(np.float32), 0.0)
    copies = space.encode(frequencies(np.stack([alter(face, "combined", rng) for face in sample])))
    asked = np.stack([space.encode(frequencies(sample, shift=shift)) for shift in SHIFTS])
    nearest = ((asked - copies) ** 2).sum(axis=2).min(axis=0)
    return CodeSpace(space.mean, space.basis, float(np.quantile(nearest, RECALL)))


def find_candidates(faces: np.ndarray, space: CodeSpace | None) -> np.ndarray:
    """Find the pairs of faces whose codes are close, over all pairs.

    Args:
        faces: Thumbnails, uint8 (N, 48, 48).
        space: From `fit_codes`; None where there are no faces to compare.

    Returns:
        A structured array with one row per pair and orientation, in order: `first` < `second`, `mirrored` (the first face mirrored resembles
        the second), `shift` (which of `SHIFTS` of the first resembles the second most), `distance`. At most `MOST` per first face.
    """
    if space is None:
        return np.empty(0, PAIR)
    codes = _all_codes(faces, space)
    columns = np.concatenate([codes, -0.5 * (codes**2).sum(axis=1, keepdims=True), np.ones((len(codes), 1), np.float32)], axis=1)
    with threadpool_limits(1):  # products this small wait for each other on several threads: ten times the CPU seconds
        blocks = [_search_rows(faces[start : start + ROWS], columns, space, start=start) for start in range(0, len(faces), ROWS)]
    return np.concatenate(blocks)


def find_nearest(faces: np.ndarray, space: CodeSpace, *, rows: np.ndarray, most: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Find the other faces whose codes are closest, however far they are.

    Args:
        faces: Thumbnails, uint8 (N, 48, 48).
        space: From `fit_codes`.
        rows: Faces that ask, (R,).
        most: How many others for each, fewer for all where some face has fewer.
        labels: Whole numbers (N,), of at least two values: only faces of another label than the asking one are looked at; None for all others.

    Returns:
        Structured as of `find_candidates`, (R, M), each row's pairs in no order.
    """
    labels = np.arange(len(faces)) if labels is None else labels
    most = min(most, len(faces) - int(np.unique(labels, return_counts=True)[1].max()))
    codes = _all_codes(faces, space)
    length = 0.5 * (codes**2).sum(axis=1)
    pairs = np.empty((len(rows), most), PAIR)
    pairs["first"], pairs["mirrored"] = rows[:, None], False
    with threadpool_limits(1):
        asked = np.stack([space.encode(frequencies(faces[rows], shift=shift)) for shift in SHIFTS])
        for number, row in enumerate(rows):
            scores = asked[:, number] @ codes.T - length - 0.5 * (asked[:, number] ** 2).sum(axis=1, keepdims=True)  # minus half the squared distance
            scores[:, labels == labels[row]] = -np.inf
            nearest = scores.max(axis=0)
            others = np.sort(np.argpartition(-nearest, most - 1)[:most])
            pairs["second"][number], pairs["shift"][number] = others, scores[:, others].argmax(axis=0)
            pairs["distance"][number] = -2 * nearest[others]
    return pairs


PAIR = np.dtype([("first", np.int64), ("second", np.int64), ("mirrored", np.bool_), ("shift", np.int8), ("distance", np.float32)])


def _search_rows(rows: np.ndarray, columns: np.ndarray, space: CodeSpace, *, start: int) -> np.ndarray:
    """Compare a block of faces, in all its shifts and mirrored, with every later face."""
    asked = np.concatenate([space.encode(frequencies(way, shift=shift)) for way in (rows, rows[:, :, ::-1]) for shift in SHIFTS])
    # |a - b|^2 <= limit, written so that one product and one comparison with 0 decide: a.b - |b|^2 / 2 - (|a|^2 - limit) / 2 >= 0.
    floor = 0.5 * ((asked**2).sum(axis=1) - space.limit)
    asked = np.concatenate([asked, np.ones((len(asked), 1), np.float32), -floor[:, None]], axis=1)
    kept, room = np.empty(0, PAIR), np.empty((len(asked), COLUMNS), np.float32)
    for begin in range(start, len(columns), COLUMNS):
        block = columns[begin : begin + COLUMNS]
        scores = np.matmul(asked, block.T, out=room if len(block) == COLUMNS else None)
        hits = np.flatnonzero(scores.ravel() >= 0)
        if len(hits):
            found = _pairs_of(hits, scores, rows=len(rows), start=start, begin=begin, limit=space.limit)
            kept = _closest(np.concatenate([kept, found]))
    return kept


def _pairs_of(hits: np.ndarray, scores: np.ndarray, *, rows: int, start: int, begin: int, limit: float) -> np.ndarray:
    question, column = np.divmod(hits, scores.shape[1])
    way, row = np.divmod(question, rows)
    pairs = np.empty(len(hits), PAIR)
    pairs["first"], pairs["second"] = start + row, begin + column
    pairs["mirrored"], pairs["shift"] = way >= len(SHIFTS), way % len(SHIFTS)
    pairs["distance"] = limit - 2 * scores.ravel()[hits]
    return pairs[pairs["first"] < pairs["second"]]


def _closest(pairs: np.ndarray) -> np.ndarray:
    """Keep the best shift of every pair, and of every first face the `MOST` closest pairs."""
    order = np.lexsort((pairs["shift"], pairs["distance"], pairs["mirrored"], pairs["second"], pairs["first"]))
    pairs = pairs[order]
    same = np.zeros(len(pairs), bool)
    same[1:] = np.logical_and.reduce([pairs[name][1:] == pairs[name][:-1] for name in ("first", "second", "mirrored")])
    pairs = pairs[~same]
    ranked = pairs[np.lexsort((pairs["mirrored"], pairs["second"], pairs["distance"], pairs["first"]))]
    begins = np.searchsorted(ranked["first"], ranked["first"])
    closest = ranked[np.arange(len(ranked)) - begins < MOST]
    return closest[np.lexsort((closest["mirrored"], closest["second"], closest["first"]))]


def _all_codes(faces: np.ndarray, space: CodeSpace) -> np.ndarray:
    codes = np.empty((len(faces), space.basis.shape[1]), np.float32)
    for start in range(0, len(faces), CHUNK):
        codes[start : start + CHUNK] = space.encode(frequencies(faces[start : start + CHUNK]))
    return codes


def _nudge(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy that differs by what the questions leave: up to 0.8 pixel, 5 degrees, 4 % in size, and compression."""
    dx, dy = rng.uniform(-0.8, 0.8, 2)
    return compress(move(face, degrees=rng.uniform(-5.0, 5.0), dx=dx, dy=dy, scale=rng.uniform(0.96, 1.04)))


def _transform(shift: float) -> np.ndarray:
    """The lowest rows of the cosine transform of a line of 48 pixels moved by `shift`, float32 (8, 48)."""
    places = np.clip(np.arange(SIDE) - shift, 0, SIDE - 1)
    moved = np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(SIDE)))  # linear interpolation, the border repeated
    return scipy.fft.dct(moved, axis=0, norm="ortho")[:LOW].astype(np.float32)
