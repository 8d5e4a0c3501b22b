"""Whole sequences of one face, smoothed frame by frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ferlab.deployment.smoothing import GAP, Flicker, Segment, Smoother, Smoothing, TimeLine


def smooth_probs(times: Sequence[float] | np.ndarray, probs: np.ndarray, smoothing: Smoothing) -> tuple[np.ndarray, np.ndarray]:
    """Smooth the frames of one face.

    Args:
        times: Seconds, (N,), ascending.
        probs: (N, K).
        smoothing: Method and thresholds.

    Returns:
        Smoothed probabilities, float64 (N, K), and labels, int64 (N,).
    """
    smoother = Smoother(smoothing)
    steps = [smoother.add(float(time), row) for time, row in zip(times, probs, strict=True)]
    rows = np.array([smoothed for smoothed, _ in steps]).reshape(len(steps), probs.shape[1])
    return rows, np.array([label for _, label in steps], dtype=np.int64)


def flicker_rate(times: Sequence[float] | np.ndarray, labels: Sequence[int] | np.ndarray) -> float:
    """Return the label changes per second of one face; NaN for less than two frames.

    >>> flicker_rate([0.0, 0.5, 1.0, 2.0], [3, 3, 0, 3])
    1.0
    """
    flicker = Flicker()
    for time, label in zip(times, labels, strict=True):
        flicker.add(float(time), int(label))
    return flicker.per_second


def find_segments(times: Sequence[float] | np.ndarray, labels: np.ndarray, probs: np.ndarray, *, gap: float = GAP) -> list[Segment]:
    """Return the segments of one face from its labels (N,) and probabilities (N, K)."""
    line = TimeLine(gap=gap)
    for time, label, row in zip(times, labels, probs, strict=True):
        line.add(float(time), int(label), float(row[label]))
    return line.segments()
