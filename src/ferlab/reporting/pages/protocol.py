"""Which task a table's rows were measured on, and where a published row's task differs: sentences and tables of several pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from ferlab.evaluation.tasks import Task, differences_from_ours
from ferlab.reporting.tables import MISSING, captioned, markdown_table

# Fields as the table of published rows calls them.
WORDS = {"usage": "split", "preparation": "covered regions", "expressions": "expressions", "n": "n", "dataset": "dataset"}
Tasks = Mapping[str, Task]  # split -> task


def task_sentence(tasks: Tasks, *, val: bool = False) -> str:
    """Name the task of test and, where it has other faces, of test without duplicates, or the faces of `val`; "" where none is recorded."""
    if "test" not in tasks:
        return ""
    dedup = tasks.get("test_dedup")
    fewer = f"; *test, deduplicated*: n {dedup.n:,}, faces {dedup.digest or 'not recorded'}" if dedup and dedup.n != tasks["test"].n else ""
    more = f"; *val*: n {tasks['val'].n:,}, faces {tasks['val'].digest or 'not recorded'}" if "val" in tasks else ""
    return f"Task: {tasks['test'].name}{more if val else fewer}."


def tasks_sentence(tasks: Mapping[str, Tasks], *, val: bool = False) -> str:
    """Name the task of each set, which the rows of a table state by its name; with the faces of `val` where a table has them."""
    told = {name: task_sentence(of, val=val) for name, of in tasks.items()}
    if len(told) < 2:
        return "".join(told.values())
    return " ".join(f"**{name}**: {sentence}" for name, sentence in told.items() if sentence) + " Rows of different tasks do not compare."


def by_task(headline: pd.DataFrame, tasks: Mapping[str, Tasks]) -> list[pd.DataFrame | str]:
    """Return the table of runs in one table per set, each with its task below, so that no row stands beside one of another task.

    Args:
        headline: A row per run, with the column `dataset` that names its set.
        tasks: From `ferlab.evaluation.tasks.one_task_per_set`.
    """
    parts: list[pd.DataFrame | str] = []
    for name, of in tasks.items():
        parts += [captioned(headline[headline["dataset"] == name], f"Scores of each run on {name}"), task_sentence(of)]
    return [part for part in parts if len(part)]


def under_task(task: str, *tables: pd.DataFrame | None) -> list[pd.DataFrame | str]:
    """Return tables below the sentence that names the task of their rows; nothing where none has rows."""
    filled = [table for table in tables if table is not None and len(table)]
    return [task, *filled] if filled else []


def as_markdown(parts: Iterable[pd.DataFrame | str]) -> str:
    """Return sentences and tables as Markdown, an empty line between them; empty ones are excluded."""
    return "\n\n".join(markdown_table(part) if isinstance(part, pd.DataFrame) else part for part in parts if len(part))


def with_task_differences(table: pd.DataFrame, published: pd.DataFrame, tasks: Mapping[str, Tasks]) -> pd.DataFrame:
    """Return the table of published rows with the column "task differs in", a dash where it does not as far as the paper states it.

    Args:
        table: From `ferlab.reporting.tables.published_table`.
        published: The rows that it shows.
        tasks: Of our sets.
    """
    ours = [of["test"] for of in tasks.values() if "test" in of]
    marked = table.copy()
    marked.insert(5, "task differs in", [differing(row, ours) for row in published.to_dict("records")])
    return marked


def differing(row: Mapping[str, Any], ours: Iterable[Task]) -> str:
    """Name the fields in which the task of a published row differs from the most similar one of ours, a dash for none."""
    found = differences_from_ours(row, ours)
    if not found:
        return MISSING
    if "dataset" in found:
        return "dataset"
    return ", ".join(f"n ({found[key][1]:,} here)" if key == "n" else WORDS[key] for key in found)


def published_tasks_sentence(published: pd.DataFrame, tasks: Mapping[str, Tasks]) -> str:
    """Say how many published rows on a split of ours were scored on another number of faces or expressions, or on faces without the regions that
    ours cover; "" where none has our split.
    """
    ours = [of["test"] for of in tasks.values() if "test" in of]
    found = [differences_from_ours(row, ours) for row in published.to_dict("records")]
    on_split = [of for of in found if not {"dataset", "usage"} & set(of)]
    if not on_split:
        return ""
    other = sum(bool(of) for of in on_split)
    if not other:
        return "As far as the papers state it, those on the same split are of our task."
    if any("preparation" in of for of in on_split):
        return f"Of those on the same split {other} of {len(on_split)} are not comparable: here regions of every face are covered."
    return f"Of those on the same split {other} of {len(on_split)} state another number of faces or expressions: their task differs."
