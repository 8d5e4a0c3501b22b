"""The faces to explain, a seeded sample of correctly and misclassified ones per expression, and which of their maps are zero."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def sample_faces(target: np.ndarray, pred: np.ndarray, *, faces_per_class: int, wrong_per_class: int = 1, seed: int = 0) -> np.ndarray:
    """Choose faces to explain, in ascending rows.

    Args:
        target: True classes (N,) int.
        pred: Predicted classes (N,) int.
        faces_per_class: Correctly classified faces per true class, at most.
        wrong_per_class: Misclassified faces per true class, at most.
        seed: Of the choice; a class's faces depend on it and on the faces of that class alone.
    """
    target, pred = np.asarray(target), np.asarray(pred)
    chosen = [np.empty(0, dtype=np.int64)]
    for c in np.unique(target):
        rng = np.random.default_rng([seed, int(c)])
        for correct, most in ((True, faces_per_class), (False, wrong_per_class)):
            chosen.append(rng.permutation(np.flatnonzero((target == c) & ((pred == c) == correct)))[:most])
    return np.sort(np.concatenate(chosen))


def typical_pairs(target: np.ndarray, probs: np.ndarray, *, num_classes: int) -> list[tuple[int | None, int | None]]:
    """Return per class the rows of a correctly and a misclassified face of median confidence; None where the class has none.

    Args:
        target: True classes (N,) int.
        probs: Probabilities (N, K).
        num_classes: K.
    """
    target, pred, top = np.asarray(target), probs.argmax(axis=1), probs.max(axis=1)
    return [(_median_row((target == c) & (pred == c), top), _median_row((target == c) & (pred != c), top)) for c in range(num_classes)]


def dead_maps(attributions: np.ndarray) -> np.ndarray:
    """Return which maps (N, H, W) are zero everywhere, (N,) bool.

    Grad-CAM's often are where features are flattened into a linear layer: a channel's gradient changes its sign over space, and its mean may
    be negative for every active channel although the class has evidence.
    """
    return ~np.any(attributions, axis=(1, 2))


def count_dead(maps: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Count per method the maps (N, H, W) that are zero everywhere."""
    return {method: int(dead_maps(values).sum()) for method, values in maps.items()}


def _median_row(chosen: np.ndarray, values: np.ndarray) -> int | None:
    rows = np.flatnonzero(chosen)
    return int(rows[np.argsort(values[rows], kind="stable")[len(rows) // 2]]) if len(rows) else None
