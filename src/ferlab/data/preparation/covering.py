"""Covering regions in all faces of a prepared dataset, so that a model is trained and evaluated without them.

The template of regions is registered to the mean of the faces before they are covered; see `ferlab.data.regions`. It holds on average only: a turned
face shows a strip of what should be covered. Faces are covered last, so ids, splits and duplicates are those of the uncovered dataset.

References:
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823 (cs230): "retrain our network by occluding facial features irrelevant to emotion
    recognition", their future work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ferlab.data.faces import hash_images
from ferlab.data.regions import LEAST_CORRELATION, MID_GREY, Registration, covered_area, register_template
from ferlab.paths import InputError

CHUNK = 4096  # faces covered at once


def cover_file(path: Path, regions: Sequence[str]) -> tuple[list[str], Registration]:
    """Fill regions with mid-grey in a file of faces, in place.

    Args:
        path: An .npy file, uint8 (N, H, W) or (N, H, W, 3).
        regions: Names of `ferlab.data.regions.REGIONS`.

    Returns:
        The content hash of each covered face, and the placement of the template.

    Raises:
        InputError: The template does not fit the mean face; the file is then as it was.
    """
    images = np.load(path, mmap_mode="r+", allow_pickle=False)
    placed = register_template(images)
    if not placed.found:
        found = f"its correlation with their mean is {placed.correlation:.2f}; expected {LEAST_CORRELATION} or more"
        raise InputError(f"cover: the template of regions does not fit these faces: {found}. Crop or align the faces (`face`), or leave out `cover`.")
    area, hashes = covered_area(images.shape[1:3], regions, placed=placed), []
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        chunk[:, area] = MID_GREY
        hashes += list(hash_images(chunk))
    images.flush()
    return hashes, placed
