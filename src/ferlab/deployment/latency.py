"""How long one face takes on one CPU thread, against a budget.

The clock is the wall's, since that is what a user waits for; the median is steady, the 95th percentile shows what else the machine did. The
thread's own CPU clock leaves that out, for a model that runs in the caller's thread alone.

References:
    CS230 report (papers/001): 100 ms a frame is the budget for real-time use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def measure_latency(
    predict: Callable[[np.ndarray], Any], faces: np.ndarray, *, repeats: int, warm_up: int = 10, clock: Callable[[], float] | None = None
) -> np.ndarray:
    """Time single faces, one call each.

    Args:
        predict: Called with one face, (1, ...) of `faces`.
        faces: (N, ...); taken in turn, again from the start when they run out.
        repeats: Calls that are timed.
        warm_up: Calls before the clock starts: first calls allocate.
        clock: Seconds; None is the wall's, `time.thread_time` the CPU's.

    Returns:
        float64 (repeats,) milliseconds, in the order of the calls.
    """
    if len(faces) == 0 or repeats < 1:
        raise ValueError(f"Expected at least one face and one repeat, got {len(faces)} and {repeats}")
    clock = clock or time.perf_counter
    times = np.empty(repeats)
    for call in range(-warm_up, repeats):
        face = faces[[call % len(faces)]]
        start = clock()
        predict(face)
        if call >= 0:
            times[call] = clock() - start
    return 1000 * times


def measure_side_by_side(
    predicts: Mapping[str, Callable[[np.ndarray], Any]],
    faces: np.ndarray,
    *,
    repeats: int,
    rounds: int = 10,
    warm_up: int = 10,
    clock: Callable[[], float] | None = None,
) -> dict[str, np.ndarray]:
    """Time several ways to read a face, in turns, so that what else the machine does falls on all of them.

    Args:
        predicts: Name -> a callable as `measure_latency` takes it.
        faces: Likewise.
        repeats: Calls of each that are timed, dealt to the rounds.
        rounds: Turns; a way is called several times in a row, as in use, so that the others' data has left the caches.
        warm_up: Calls before the clock starts, of each and in each round.
        clock: As `measure_latency` takes it.

    Returns:
        Name -> float64 (repeats,) milliseconds.
    """
    times: dict[str, list[np.ndarray]] = {name: [] for name in predicts}
    for calls in np.diff(np.linspace(0, repeats, min(rounds, repeats) + 1).round().astype(int)):
        for name, predict in predicts.items():
            times[name].append(measure_latency(predict, faces, repeats=int(calls), warm_up=warm_up, clock=clock))
    return {name: np.concatenate(parts) for name, parts in times.items()}


def summarise_latency(milliseconds: np.ndarray, *, budget_ms: float) -> dict[str, float | int | bool]:
    """Return p50 and p95, how many calls kept the budget, and whether the p95 did.

    Args:
        milliseconds: (repeats,) from `measure_latency`.
        budget_ms: What one face may take.
    """
    p50, p95 = (float(value) for value in np.percentile(milliseconds, [50, 95]))
    return {
        "calls": len(milliseconds),
        "p50_ms": p50,
        "p95_ms": p95,
        "share_within_budget": float((milliseconds <= budget_ms).mean()),
        "budget_ms": budget_ms,
        "p95_within_budget": p95 <= budget_ms,
    }
