"""`ferlab runs`: the runs of params.yaml with their accuracy on val and test, and whether that still holds."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from ferlab.paths import artefact, read_json
from ferlab.roles import recorded

if TYPE_CHECKING:
    from ferlab.params import Params

SCORED = ("val", "test")
MARK = "*"  # of a test split that the run has seen


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    runs = commands.add_parser("runs", help="the runs of params.yaml with accuracy on val and test, and whether it still holds")
    runs.add_argument("--json", action="store_true", help="print them as a JSON list")
    runs.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Print the runs; return 0."""
    from ferlab.params import load_params
    from ferlab.status import FRESH, STALE

    found = list_runs(load_params())
    if chosen.json:
        print(json.dumps(found, indent=2))
        return 0
    rows = [
        (each["run"], f"{each['family']} {each['model']}", each["set"], _cell(each["val"]), _cell(each["test"], marked=True), _state(each))
        for each in found
    ]
    head = ("run", "model", "set", "val accuracy", "test accuracy", "state")
    if sys.stdout.isatty():
        from rich import print as show
        from rich.markup import escape
        from rich.table import Table

        table, colours = Table(*head, box=None), {FRESH: "green", STALE: "red"}
        for row, each in zip(rows, found, strict=True):
            table.add_row(*map(escape, row[:-1]), f"[{colours.get(each['state'], 'yellow')}]{escape(row[-1])}[/]")
        show(table)
    else:
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        print("\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)))
    if any(row[4].endswith(MARK) for row in rows):
        print(f"{MARK} test was used to train the model or to select its epoch")
    return 0


def list_runs(params: Params) -> list[dict[str, Any]]:
    """Return each run of params.yaml.

    Returns:
        `run`, `family`, `model`, `set`, `seed`, `group`, `state` (of its training and evaluation, the worse) and `why`; `val` and `test` hold `n`,
        `accuracy`, the bounds of its 95 % interval, and `role`, what the split is to the run (trained, selected_on or untouched): null where the run
        was not evaluated.
    """
    from ferlab.status import FRESH, PAGE, STALE, read_status

    worst_first = (STALE, PAGE, FRESH)
    states = {each.stage: each for each in read_status(params)}
    rows = []
    for name, of in params.runs.items():
        path = artefact("evaluate", "metrics", name)
        metrics = read_json(path, made_by=f"dvc repro evaluate@{name}") if path.is_file() else {}
        state = min((states[f"{stage}@{name}"] for stage in ("train", "evaluate")), key=lambda each: worst_first.index(each.state))
        row = {"run": name, "family": of.family, "model": of.model, "set": of.data, "seed": of.seed, "group": of.group}
        rows.append(row | {"state": state.state, "why": state.why} | {split: _scores(metrics, split) for split in SCORED})
    return rows


def _scores(metrics: dict[str, Any], split: str) -> dict[str, Any]:
    scores = metrics.get(split, {})
    keys = ("accuracy", "accuracy_ci_low", "accuracy_ci_high")
    return {
        "n": metrics.get("n", {}).get(split),
        **{key: scores.get(key) for key in keys},
        "role": recorded(metrics).role(split) if metrics else None,
    }


def _cell(scores: dict[str, Any], *, marked: bool = False) -> str:
    if scores["accuracy"] is None:
        return "-"
    value, low, high = (100 * scores[key] for key in ("accuracy", "accuracy_ci_low", "accuracy_ci_high"))
    return f"{value:.1f} % [{low:.1f}, {high:.1f}]{MARK if marked and scores['role'] != 'untouched' else ''}"


def _state(row: dict[str, Any]) -> str:
    return f"{row['state']}: {row['why']}" if row["why"] else row["state"]
