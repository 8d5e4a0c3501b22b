"""More training faces: mirrored and rotated copies, and synthetic samples by SMOTE and ADASYN.

Both are for the TRAINING split alone, after splitting: a copy or synthetic sample across a split is a leak. The caller passes training faces only.

References:
    cs231a: every image mirrored, and rotated by 10 degrees in either direction.
    cs230 (Khanzada, Bai & Celepcikay 2020, arXiv 2004.11823): SMOTE, with which its models "quickly overfit"; ADASYN as future work.
    Chawla, Bowyer, Hall & Kegelmeyer (2002), SMOTE, JAIR 16.   He, Bai, Garcia & Li (2008), ADASYN, IJCNN.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ferlab.expressions import EXPRESSIONS
from ferlab.paths import InputError, first_line

DEGREES = 10.0
NEIGHBOURS = 5  # nearest faces to choose from


def copies_of(face: np.ndarray) -> dict[str, np.ndarray]:
    """Return the copies that cs231a adds to a training face, uint8 (H, W) or (H, W, 3): mirrored, and rotated by 10 degrees both ways."""
    return {"mirrored": face[:, ::-1], **{f"rotated {angle:+g}": rotate(face, angle) for angle in (DEGREES, -DEGREES)}}


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate a face, uint8 (H, W) or (H, W, 3), counter-clockwise about its middle, bilinearly; edge pixels are repeated."""
    high, wide = image.shape[:2]
    matrix = cv2.getRotationMatrix2D(((wide - 1) / 2, (high - 1) / 2), degrees, 1.0)
    return cv2.warpAffine(image, matrix, (wide, high), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def oversample(
    images: np.ndarray, targets: np.ndarray, *, method: str, seed: int, expressions: Sequence[str] = EXPRESSIONS
) -> tuple[np.ndarray, np.ndarray]:
    """Return synthetic faces and their targets: every expression gets as many faces as the commonest (SMOTE), or nearly (ADASYN).

    A new face is a face plus a random part of its difference from one of its nearest faces of the same expression, pixel by pixel, which looks like a
    double exposure. Pixels are float32: 265 MB for FER2013's 28,709 training faces of 48 x 48. imbalanced-learn copies them and stacks old and new
    faces, with a peak of about 1.3 GB; at 224 x 224 in RGB neither method fits in memory.

    Args:
        images: uint8 (N, H, W) or (N, H, W, 3), of the training split and no other.
        targets: Whole numbers (N,).
        method: "smote" or "adasyn".
        seed: Of the choice of neighbours and parts.
        expressions: Names of the targets, for errors.

    Raises:
        InputError: If an expression has too few faces, or ADASYN can add none.
    """
    targets = np.asarray(targets)
    _check_counts(targets, method=method, expressions=expressions)
    # Keep: imbalanced-learn imports scikit-learn, two thirds of a second that only this function needs.
    from imblearn.over_sampling import ADASYN, SMOTE

    sampler = SMOTE(random_state=seed, k_neighbors=NEIGHBOURS) if method == "smote" else ADASYN(random_state=seed, n_neighbors=NEIGHBOURS)
    pixels = images.reshape(len(images), -1).astype(np.float32)  # Keep: differences of uint8 would wrap round
    try:
        made, labels = sampler.fit_resample(pixels, targets)
    except (ValueError, RuntimeError) as error:
        if method != "adasyn" or not any(said in str(error) for said in ("majority", "No samples will be generated")):
            raise
        # No face of some expression has a neighbour of another one, or the counts are nearly equal.
        raise InputError(f"adasyn: {first_line(error)} On these {len(targets):,} faces it can add none to some expression; use smote.") from None
    made = np.rint(made[len(images) :]).clip(0, 255).astype(np.uint8)
    return made.reshape(-1, *images.shape[1:]), labels[len(images) :].astype(np.int64)


def _check_counts(targets: np.ndarray, *, method: str, expressions: Sequence[str]) -> None:
    present, counts = np.unique(targets, return_counts=True)
    if len(present) < 2:
        raise InputError(f"{method}: expected faces of at least two expressions, got {len(present)}; there is nothing to balance.")
    rarest = int(counts.argmin())
    if counts[rarest] <= NEIGHBOURS:
        name = expressions[int(present[rarest])]
        told = f"{method}: {name} has {counts[rarest]} faces in train; expected more than the {NEIGHBOURS} neighbours"
        raise InputError(f"{told}. Set `oversample: none`, or exclude that expression by `labels: {{{name}: null}}`.")
