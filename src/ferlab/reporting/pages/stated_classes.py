"""Precision, recall and F1 of each expression: what papers state beside ours, on the comparison page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.reporting.tables import MISSING, captioned, cell

MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1"}

PerClass = Mapping[str, Mapping[str, Mapping[str, Any]]]  # system or run -> expression -> precision, recall, f1


def stated_classes_sentence(stated: PerClass) -> str:
    """Say which systems state how many values per expression; "" where none does.

    Args:
        stated: From `ferlab.evaluation.published.stated_per_class`.
    """
    if not stated:
        return ""
    counts = {system: sum(value is not None for values in of.values() for value in values.values()) for system, of in stated.items()}
    told = ", ".join(f"{system} {count}" for system, count in counts.items())
    return (
        f"Values per expression that the paper states ({told}) are without interval, since it does not state the faces behind each. Ours, of the "
        "first run of each group, have 95 % intervals."
    )


def stated_classes_table(stated: PerClass, per_class: PerClass, runs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row per measure and expression, in percent: a column per system, then one per group of runs; without rows where no system states any.

    Args:
        stated: From `ferlab.evaluation.published.stated_per_class`.
        per_class: Of our runs on test, with bounds, from `ferlab.evaluation.runs.per_class_of`.
        runs: As in params; of each `group` the first run is shown.
    """
    first: dict[str, str] = {}
    for name, run in runs.items():
        first.setdefault(run["group"], name)
    ours = list(first.values())
    names = _in_order([*stated.values(), *(per_class[run] for run in ours)])
    rows = [
        {"measure, %": measure, "expression": name}
        | {f"{system}, stated": _as_stated(of.get(name, {}).get(key)) for system, of in stated.items()}
        | {run: cell(per_class[run].get(name, {}), key) for run in ours}
        for key, measure in MEASURES.items()
        for name in names
    ]
    table = pd.DataFrame(rows if stated else [], columns=list(rows[0])).set_index(["measure, %", "expression"])
    return captioned(table, "Published scores of each expression beside ours on test")


def _as_stated(value: float | None) -> str:
    """Return a fraction in percent with the digits that it is stated with."""
    return MISSING if value is None else f"{100 * value:g}"


def _in_order(tables: Iterable[Mapping[str, Any]]) -> list[str]:
    known = {name for table in tables for name in table}
    return [name for name in ALL_EXPRESSIONS if name in known]
