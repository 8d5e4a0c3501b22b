"""Latency of one face on one CPU thread, against a budget.

Wall-clock time by default: it is what a user waits for. The thread's CPU clock excludes other load, for a model that runs in the caller's
thread alone.

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
    """Time calls of one face each.

    Args:
        predict: Called with one face, (1, ...) of `faces`.
        faces: (N, ...), used cyclically.
        repeats: Timed calls.
        warm_up: Untimed calls before them: first calls allocate.
        clock: Returns seconds; None for `time.perf_counter`.

    Returns:
        Milliseconds, float64 (repeats,), in the order of the calls.
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
    predicts: Mapping[str, Callable[[np.ndarray], Any]], faces: np.ndarray, *, repeats: int, rounds: int = 10, **options: Any
) -> dict[str, np.ndarray]:
    """Time several models in turns, so that other load of the machine affects all of them.

    Args:
        predicts: Name -> `predict` of `measure_latency`.
        faces: As there.
        repeats: Timed calls of each, distributed over the rounds.
        rounds: Turns; within one a model is called several times in a row, as in use, so that the caches hold its own data.
        **options: `warm_up` (of each, in each round) and `clock`, as there.

    Returns:
        Name -> milliseconds, float64 (repeats,).
    """
    times: dict[str, list[np.ndarray]] = {name: [] for name in predicts}
    for calls in np.diff(np.linspace(0, repeats, min(rounds, repeats) + 1).round().astype(int)):
        for name, predict in predicts.items():
            times[name].append(measure_latency(predict, faces, repeats=int(calls), **options))
    return {name: np.concatenate(parts) for name, parts in times.items()}


def summarise_latency(milliseconds: np.ndarray, *, budget_ms: float) -> dict[str, float | int | bool]:
    """Return median, 95th percentile and the fraction of calls within the budget, from the result of `measure_latency`."""
    p50, p95 = (float(value) for value in np.percentile(milliseconds, [50, 95]))
    within = float((milliseconds <= budget_ms).mean())
    summary = {"calls": len(milliseconds), "p50_ms": p50, "p95_ms": p95, "fraction_within_budget": within, "budget_ms": budget_ms}
    return summary | {"p95_within_budget": p95 <= budget_ms}
