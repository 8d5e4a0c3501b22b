"""`ferlab audit FOLDER`: duplicates, conflicting labels, blank and unreadable pictures of any folder of faces."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ferlab.paths import InputError, write_whole

FOUND = 3  # exit status where there is something to look at


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    told = "duplicates, conflicting labels and blank pictures of any folder of faces"
    audit = commands.add_parser("audit", help=told, description=f"Report {told}. Exit status: 0 where nothing is found, {FOUND} where something is.")
    audit.add_argument("folder", metavar="FOLDER", help="class folders, or pictures without labels; or a .zip or .tar of them")
    audit.add_argument("--json", action="store_true", help="print counts and every finding as JSON")
    audit.add_argument("--csv", metavar="FILE", help="write a row for each finding to a new .csv as well")
    audit.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Audit a folder; return 0 or FOUND.

    Raises:
        InputError: No pictures there, or a table that exists or whose folder is missing.
    """
    table = Path(chosen.csv) if chosen.csv else None
    if table and (table.suffix != ".csv" or table.exists()):
        raise InputError(f"--csv {table}: expected a new file that ends in .csv")
    if table and not table.parent.is_dir():
        raise InputError(f"--csv {table}: {table.parent} is missing; expected a folder that exists")
    from ferlab.data.duplicates.folder import audit_folder, facts_of, summary_lines, table_of_findings

    with _progress() as progress:
        audit = audit_folder(Path(chosen.folder), progress=progress)
    if table:
        write_whole(table, table_of_findings(audit).to_csv(index=False, lineterminator="\n").encode())
    print(json.dumps(facts_of(audit), ensure_ascii=False, indent=2) if chosen.json else "\n".join(summary_lines(audit)))
    return FOUND if audit.found() else 0


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, on the stream of errors, so that what is printed can be read by a program."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("reading pictures")
        yield lambda done, total: bars.update(bar, completed=done, total=total)
