"""`ferlab study`: the studies at hand, what one would change, and writing it as params.yaml."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from ferlab.paths import ROOT, InputError

if TYPE_CHECKING:
    from ferlab.studies import StudyFacts


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    study = commands.add_parser("study", help="list the studies of conf/study/, or write params.yaml for one")
    study.add_argument("name", nargs="?", help="none: a table of all, with paper, cost, and what lies in data/raw")
    study.add_argument("--diff", action="store_true", help="print what would change in params.yaml, and write nothing")
    study.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """List, compare or write; return 0.

    Raises:
        InputError: No clone, an unknown study, or --diff without one.
    """
    from ferlab.studies import list_studies, study_diff, write_study

    if chosen.diff and chosen.name is None:
        raise InputError("--diff: expected a study, as in ferlab study cs230 --diff")
    if chosen.name is None:
        _list(list_studies(ROOT))
    elif chosen.diff:
        print(study_diff(ROOT, chosen.name).rstrip("\n") or f"params.yaml holds study {chosen.name} already")
    else:
        write_study(ROOT, chosen.name)
    return 0


def _list(found: list[StudyFacts]) -> None:
    if not sys.stdout.isatty():
        print("\n".join(each.line() for each in found))
        return
    from rich import print as show
    from rich.markup import escape
    from rich.table import Table

    table = Table("study", "paper", "recipe", "cost", "data/raw", box=None, padding=(0, 2, 1, 0))
    for each in found:
        data = "\n".join(f"[{'red' if line.endswith('missing') else 'green'}]{escape(line)}[/]" for line in each.data)
        table.add_row(each.name, each.paper, escape(each.recipe), escape(each.cost), data or "nothing needed")
    show(table)
    print("ferlab study NAME writes params.yaml for one, --diff prints what would change")
