"""What stages took when they last ran in this clone: CPU seconds, memory, and when. `pipeline` notes it, `ferlab status`, `ferlab repro -j` and the
report's first page read it.

The file is no output of a stage: DVC does not know it, and nothing compares its bytes.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil

from ferlab import paths
from ferlab.hashes import digest
from ferlab.locks import hold, let_go
from ferlab.paths import write_whole
from ferlab.results import STAGES, kept_record

COSTS = Path("data", ".costs.json")
COMPUTED, PAGE = "computed", "page"
MINUTES = 120  # seconds from which a duration is told in minutes


def keep_cost(stage: str, name: str, kind: str, *, whole: bool = False) -> None:
    """Note what this process and its children took, as the cost of a stage: CPU seconds, and the memory of the largest of them in bytes.

    Args:
        stage: The stage.
        name: Its set or run, "" where it has neither.
        kind: COMPUTED, or PAGE where its result was taken.
        whole: Whether this process alone computed the result that lies there, from beginning to end; then when it did so is noted beside it.
    """
    used = [resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = round(sum(each.ru_utime + each.ru_stime for each in used), 1)
    noted: dict[str, Any] = {kind: seconds, "memory": max(each.ru_maxrss for each in used) * (1 if sys.platform == "darwin" else 1024)}
    if whole:
        span = [round(psutil.Process().create_time(), 1), round(time.time(), 1)]
        noted["made"] = {"of": _made(stage, name), "span": span, "machine": digest(platform.node())}
    lock = paths.ROOT / COSTS.with_suffix(".lock")
    hold(lock, what=str(COSTS), wait=60.0)  # stages that run side by side end at once
    try:
        costs, key = read_costs(), key_of(stage, name)
        write_whole(paths.ROOT / COSTS, json.dumps({**costs, key: {**costs.get(key, {}), **noted}}, sort_keys=True).encode())
    finally:
        let_go(lock)


def key_of(stage: str, name: str) -> str:
    """Return what dvc.yaml calls a stage of a set or run.

    >>> key_of("train", "five_layer"), key_of("compare", "")
    ('train@five_layer', 'compare')
    """
    return f"{stage}@{name}" if name else stage


def read_costs() -> dict[str, dict[str, Any]]:
    """Return what is noted per stage, nothing where the file is none of ours."""
    try:
        costs = json.loads((paths.ROOT / COSTS).read_text())
    except (OSError, ValueError):
        return {}
    return costs if isinstance(costs, dict) and all(isinstance(each, dict) for each in costs.values()) else {}


def peak_memory(key: str) -> int | None:
    """Return the bytes that the largest process of a stage, such as "train@five_layer", took when it last ran here; None where it never did."""
    return read_costs().get(key, {}).get("memory")


def duration_sentence(stages: Iterable[tuple[str, str]]) -> str:
    """Say how long the results of some stages took to compute here, "" unless that is known of each: a time is of one result and no other.

    Args:
        stages: Stage and its set or run, "" where it has neither.
    """
    costs, found = read_costs(), []
    for stage, name in stages:
        made = costs.get(key_of(stage, name), {}).get("made") or {}
        if not made or not made["of"] or made["of"] != _made(stage, name):
            return ""
        found.append((stage, made["span"], made["machine"]))
    if not found:
        return ""
    trained = _covered([span for stage, span, _ in found if stage == "train"])
    machines = len({machine for *_, machine in found})
    at_once = _at_once([span for _, span, _ in found])
    how = "stages one after the other" if at_once == 1 else f"up to {at_once} stages at once"
    training = f" (training {_in_words(trained)})" if trained else ""
    where = "one machine" if machines == 1 else f"{machines} machines"
    return f"computed in {_in_words(_covered([span for _, span, _ in found]))}{training}, {where}, {how}"


def _made(stage: str, name: str) -> str:
    """Return a fingerprint of the result that lies there: of its record, or of the provenance in its metrics where it has none; "" without both."""
    if STAGES[stage].modules:
        made: Any = kept_record(stage, name)
    else:
        metrics = paths.artefact(stage, "metrics", name)
        made = paths.read_json(metrics, made_by=f"stage {stage}").get("provenance") if metrics.is_file() else {}
    return digest(json.dumps(made, sort_keys=True)) if made else ""


def _covered(spans: list[list[float]]) -> float:
    """Return the seconds in which at least one of some stages ran.

    >>> _covered([[0, 10], [5, 12], [20, 21]])
    13.0
    """
    total, until = 0.0, float("-inf")
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def _at_once(spans: list[list[float]]) -> int:
    """Return how many stages ran at once at most; one that begins as another ends does not run beside it.

    >>> _at_once([[0, 10], [5, 12], [10, 21]])
    2
    """
    return max(sum(began <= start < ended for began, ended in spans) for start, _ in spans)


def _in_words(seconds: float) -> str:
    """Return a duration.

    >>> _in_words(84.6), _in_words(540), _in_words(9000)
    ('85 s', '9 min', '2.5 h')
    """
    if seconds < MINUTES:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 60 * MINUTES else f"{seconds / 3600:.1f} h"
