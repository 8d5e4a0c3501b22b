"""Which faces are explained: a seeded sample of right answers per expression, and a few wrong ones to look at beside them; and which of their maps are empty."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np


def sample_faces(target: np.ndarray, pred: np.ndarray, *, faces_per_class: int, wrong_per_class: int = 1, seed: int = 0) -> np.ndarray:
    """Choose faces to explain.

    Args:
        target: True classes (N,) int.
        pred: Predicted classes (N,) int.
        faces_per_class: Rightly predicted faces per true class, or all there are.
        wrong_per_class: Wrongly predicted faces per true class, or all there are.
        seed: Of the choice; a class's faces depend on it and on the faces of that class alone.

    Returns:
        Ascending row numbers.
    """
    target, pred = np.asarray(target), np.asarray(pred)
    chosen = []
    for c in np.unique(target):
        rng = np.random.default_rng([seed, int(c)])
        for rows, most in (
            (np.flatnonzero((target == c) & (pred == c)), faces_per_class),
            (np.flatnonzero((target == c) & (pred != c)), wrong_per_class),
        ):
            chosen.append(rng.permutation(rows)[:most])
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, dtype=np.int64)


def typical_pairs(target: np.ndarray, probs: np.ndarray, *, num_classes: int) -> list[tuple[int | None, int | None]]:
    """Pick a right and a wrong face of every class for the gallery: of each kind the one whose top probability is the median.

    Args:
        target: True classes (N,) int.
        probs: Probabilities (N, K).
        num_classes: K.

    Returns:
        K pairs (row of the right face, row of the wrong one); None where the class has none.
    """
    target, pred, top = np.asarray(target), probs.argmax(axis=1), probs.max(axis=1)
    return [(_median_row((target == c) & (pred == c), top), _median_row((target == c) & (pred != c), top)) for c in range(num_classes)]


def _median_row(chosen: np.ndarray, values: np.ndarray) -> int | None:
    rows = np.flatnonzero(chosen)
    return int(rows[np.argsort(values[rows], kind="stable")[len(rows) // 2]]) if len(rows) else None


def count_dead(maps: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Count per method the maps (N, H, W) that are zero everywhere."""
    return {method: int(dead_maps(values).sum()) for method, values in maps.items()}


def dead_maps(attributions: np.ndarray) -> np.ndarray:
    """Return which maps (N, H, W) are zero everywhere, (N,) bool.

    Grad-CAM's often are where features are flattened into a linear layer: a channel's gradient changes its sign over space, and its mean may
    be negative for every active channel although the class has evidence.
    """
    return ~np.any(attributions, axis=(1, 2))
