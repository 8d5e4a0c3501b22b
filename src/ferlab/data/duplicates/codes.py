"""Short codes of faces, and the pairs of faces whose codes are close.

A code is a perceptual hash of real numbers: the 63 lowest frequencies of a face's cosine transform at unit length, weighted by a linear
discriminant between faces and altered copies of one face. Each face queries the codes of all others 18 times: shifted by -1.3, 0 and 1.3
pixels of 48 along both axes, as it is and mirrored. Up to `EXACT` faces the search is exhaustive. Above, it uses an inverted file (IVF):
codes are clustered, and a query is compared with the codes of the nearest `PROBED` clusters.

References:
    Zauner (2010), Implementation and Benchmarking of Perceptual Image Hash Functions (low frequencies of the cosine transform).
    Fisher (1936), The Use of Multiple Measurements in Taxonomic Problems (the weights).
    Johnson, Douze and Jegou (2017), Billion-Scale Similarity Search with GPUs, arXiv 1702.08734 (faiss).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cv2
import faiss
import numpy as np
import pandas as pd
import scipy.fft
import scipy.linalg
from threadpoolctl import threadpool_limits

from ferlab.copies import alter, compress, move

SIDE, LOW, LENGTH = 48, 8, 32  # pixels that faces are compared at; frequencies per axis; numbers in a code
STEPS = (-1.3, 0.0, 1.3)  # pixels: a shift of up to 2 is within 0.7 of one of them
SHIFTS = np.array([(dx, dy) for dy, dx in product(STEPS, repeat=2)], np.float32)
UNSHIFTED = len(SHIFTS) // 2
SAMPLE, RECALL = 800, 0.997  # faces that codes are fitted to; share of their altered copies within the limit
MOST = 40  # nearest codes of a query, and candidates of a face
EXACT, PROBED = 10_000, 16  # faces up to which the search is exhaustive; clusters per query above, of 4 sqrt(N)
BLOCK = 256  # faces that query together
PAIR = ["first", "second", "mirrored"]


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Return grey faces, uint8 (N, 48, 48), of uint8 (N, H, W) or (N, H, W, 3); an array of such faces is returned unread."""
    if images.shape[1:] == (SIDE, SIDE):
        return images if isinstance(images, np.ndarray) else np.asarray(images)
    small = np.empty((len(images), SIDE, SIDE), np.uint8)
    interpolation = cv2.INTER_AREA if min(images.shape[1:3]) >= SIDE else cv2.INTER_LINEAR
    for number, image in enumerate(map(np.ascontiguousarray, images)):
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        cv2.resize(grey, (SIDE, SIDE), small[number], interpolation=interpolation)
    return small


@dataclass(frozen=True)
class CodeSpace:
    """Codes are frequencies less their `mean` (63,), times the `basis` (63, 32); up to the squared distance `limit` two are a candidate pair."""

    mean: np.ndarray
    basis: np.ndarray
    limit: float

    def encode(self, faces: np.ndarray) -> np.ndarray:
        """Return the 18 codes of each face, float32 (18, N, 32), in the order of `frequencies`."""
        return (frequencies(faces) - self.mean) @ self.basis


def frequencies(faces: np.ndarray) -> np.ndarray:
    """Return low frequencies at unit length.

    Args:
        faces: uint8 (N, 48, 48).

    Returns:
        float32 (18, N, 63): of the faces moved by each of `SHIFTS`, then of the mirrored faces moved by each.
    """
    across = (faces.reshape(-1, SIDE).astype(np.float32) @ _TRANSFORM.T).reshape(len(faces), SIDE, -1)  # (N, 48, 24)
    grid = (_TRANSFORM @ across).reshape(-1, len(STEPS), LOW, len(STEPS), LOW).transpose(1, 3, 0, 2, 4)
    mirrored = grid[:, ::-1] * np.resize(np.float32([1, -1]), LOW)  # odd frequencies along x change sign, and so does the shift
    low = np.concatenate([grid, mirrored]).reshape(2 * len(SHIFTS), len(faces), -1)[:, :, 1:]
    return low / (np.linalg.norm(low, axis=2, keepdims=True) + 1)


def fit_codes(faces: np.ndarray, *, seed: int = 0) -> CodeSpace:
    """Estimate the weights and the limit from a sample of the faces, uint8 (N, 48, 48), and altered copies of it.

    Args:
        faces: Thumbnails.
        seed: Of the sample and the copies.
    """
    rng = np.random.default_rng(seed)
    sample = faces[np.sort(rng.permutation(len(faces))[:SAMPLE])]
    sample = sample[np.arange(max(len(sample), SAMPLE)) % len(sample)]  # several copies each of few faces
    own = frequencies(sample)[UNSHIFTED]
    within = frequencies(np.stack([_nudge(face, rng) for face in sample]))[UNSHIFTED] - own
    between, noise = np.cov(own.T), within.T @ within / len(within)
    ridge = np.eye(len(noise)) * (1e-6 * np.trace(noise) + 1e-9)
    basis = scipy.linalg.eigh(between + ridge, noise + ridge)[1][:, : -LENGTH - 1 : -1].astype(np.float32)
    space = CodeSpace(own.mean(axis=0), basis, np.inf)
    copies = space.encode(np.stack([alter(face, "combined", rng) for face in sample]))[UNSHIFTED]
    nearest = ((space.encode(sample)[: len(SHIFTS)] - copies) ** 2).sum(axis=2).min(axis=0)
    return CodeSpace(space.mean, basis, float(np.quantile(nearest, RECALL)))


def name_search(faces: int) -> str:
    """Return the name of the search over so many faces."""
    return "exhaustive search" if faces <= EXACT else f"inverted-file index (faiss IVF, {PROBED} of {int(4 * faces**0.5):,} clusters per query)"


def build_index(faces: np.ndarray, space: CodeSpace, *, exact: bool = False) -> faiss.Index:
    """Return the searchable codes of the unshifted faces, exhaustively if `exact` or up to `EXACT` faces."""
    codes = np.concatenate([space.encode(faces[start : start + BLOCK])[UNSHIFTED].copy() for start in range(0, len(faces), BLOCK)])
    exact = exact or len(codes) <= EXACT
    index = faiss.index_factory(LENGTH, "Flat" if exact else f"IVF{int(4 * len(codes) ** 0.5)},Flat")
    if not exact:
        index.nprobe, index.cp.niter, index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = PROBED, 10, 1, 64
    index.train(codes)
    index.add(codes)
    return index


def find_candidates(faces: np.ndarray, space: CodeSpace) -> pd.DataFrame:
    """Find the pairs of faces whose codes are close.

    Args:
        faces: Thumbnails, uint8 (N, 48, 48).
        space: From `fit_codes`.

    Returns:
        One row per pair and orientation, in order: `first` < `second`, `mirrored` (the first face mirrored resembles the second), `shift` (row
        of `SHIFTS` that the first is moved by), `distance` (squared). A face is paired with later ones among its
        `MOST` nearest.
    """
    with threadpool_limits(1):  # results independent of the number of threads; products this small wait for each other on several
        index = build_index(faces, space)
        blocks = [np.arange(start, min(start + BLOCK, len(faces))) for start in range(0, len(faces), BLOCK)]
        pairs = pd.concat([find_nearest(index, space.encode(faces[rows]), rows, most=MOST, limit=space.limit) for rows in blocks])
    return pairs[pairs["first"] < pairs["second"]].sort_values(PAIR, ignore_index=True)


def find_nearest(
    index: faiss.Index, codes: np.ndarray, rows: np.ndarray, *, most: int, limit: float = np.inf, among: np.ndarray | None = None
) -> pd.DataFrame:
    """Find the `most` nearest other faces of each face.

    Args:
        index: From `build_index`.
        codes: Queries of the faces, (Q, R, 32): the first Q of their 18 codes.
        rows: Numbers of the faces, (R,).
        most: Nearest codes per query, and pairs per face.
        limit: Largest squared distance.
        among: Which faces of an exact index are searched, bool (N,); None for all.

    Returns:
        Columns as of `find_candidates`, `first` the asking face.
    """
    params = None if among is None else faiss.SearchParameters(sel=faiss.IDSelectorBitmap(np.packbits(among, bitorder="little")))
    distance, found = index.search(codes.swapaxes(0, 1).reshape(-1, LENGTH), most + 1, params=params)
    query, place = np.nonzero((found >= 0) & (distance <= limit))
    row, way = np.divmod(query, len(codes))
    columns = {"first": rows[row], "second": found[query, place], "mirrored": way >= len(SHIFTS), "shift": way % len(SHIFTS)}
    pairs = pd.DataFrame(columns | {"distance": distance[query, place]})
    pairs = pairs[pairs["first"] != pairs["second"]].sort_values(["first", "distance", "second", "mirrored", "shift"])
    return pairs.drop_duplicates(PAIR).groupby("first").head(most)


def _nudge(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a copy that differs by what the shifts leave: up to 0.8 pixel, 5 degrees, 4 % in size, and compression."""
    dx, dy = rng.uniform(-0.8, 0.8, 2)
    return compress(move(face, degrees=rng.uniform(-5.0, 5.0), dx=dx, dy=dy, scale=rng.uniform(0.96, 1.04)))


def _transform(shift: float) -> np.ndarray:
    """Return the lowest rows of the cosine transform of a line of 48 pixels moved by `shift`, float32 (8, 48)."""
    places = np.clip(np.arange(SIDE) - shift, 0, SIDE - 1)
    moved = np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(SIDE)))  # linear interpolation, the border repeated
    return scipy.fft.dct(moved, axis=0, norm="ortho")[:LOW].astype(np.float32)


_TRANSFORM = np.concatenate([_transform(shift) for shift in STEPS])  # (24, 48)
