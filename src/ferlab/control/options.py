"""Options of the reader that change the table and not the faces: usages and label noise."""

from __future__ import annotations

import numpy as np

_USAGES, _NOISE = 18, 19  # streams of random numbers


def assign_usages(subject: np.ndarray, *, seed: int, test_share: float, val_share: float, overlap: float) -> tuple[np.ndarray, np.ndarray]:
    """Divide faces into Training, PublicTest and PrivateTest, by subject but for a planted overlap.

    Args:
        subject: Of each face (N,).
        seed: Of the set.
        test_share: Proportion of faces in PrivateTest.
        val_share: Proportion of faces in PublicTest.
        overlap: Proportion of PrivateTest faces whose subject has Training faces.

    Returns:
        Usages (N,), and bool (N,): the faces of the overlap.
    """
    rng = np.random.default_rng([seed, _USAGES])
    count = len(subject)
    order = rng.permutation(np.unique(subject))
    usage = np.full(count, "Training", dtype=object)
    place = 0
    for name, share in (("PublicTest", val_share), ("PrivateTest", test_share * (1 - overlap))):
        filled = 0
        while place < len(order) - 1 and filled < round(share * count):
            own = subject == order[place]
            usage[own] = name
            filled, place = filled + int(own.sum()), place + 1
    apart = int((usage == "PrivateTest").sum())
    wanted = round(test_share * count) if overlap == 1 else round(apart * overlap / (1 - overlap))
    crossing = _spread(subject, np.flatnonzero(usage == "Training"), wanted, rng=rng)
    usage[crossing] = "PrivateTest"
    crosses = np.zeros(count, bool)
    crosses[crossing] = True
    return usage, crosses


def _spread(subject: np.ndarray, rows: np.ndarray, wanted: int, *, rng: np.random.Generator) -> np.ndarray:
    """Choose `wanted` of `rows` at random, leaving every subject at least one."""
    shuffled = rng.permutation(rows)
    _, first = np.unique(subject[shuffled], return_index=True)  # kept back: one of each subject
    return np.delete(shuffled, first)[:wanted]


def spoil_labels(targets: np.ndarray, groups: np.ndarray, *, share: float, classes: np.ndarray, seed: int) -> np.ndarray:
    """Return labels (N,) of which a `share` of the groups have a wrong one, each other class as likely.

    Args:
        targets: True labels (N,).
        groups: Number of each face's group (N,), 0 to G - 1: a sequence, or a still face.
        share: Proportion of groups.
        classes: The K labels there are.
        seed: Of the set.
    """
    rng = np.random.default_rng([seed, _NOISE])
    count = int(groups.max()) + 1
    step = np.zeros(count, np.int64)
    chosen = rng.permutation(count)[: round(share * count)]
    step[chosen] = rng.integers(1, len(classes), len(chosen))
    return classes[(np.searchsorted(classes, targets) + step[groups]) % len(classes)]
