"""`ferlab changes OLD [NEW]`: a page of what changed between two commits or DVC experiments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    changes = commands.add_parser("changes", help="a page of what changed between two commits or DVC experiments")
    changes.add_argument("old", metavar="OLD", help="a commit, branch, tag or DVC experiment")
    changes.add_argument("new", metavar="NEW", nargs="?", help="another one (what lies here)")
    changes.add_argument("--output", metavar="FILE", type=Path, help="where to write the page (reports/changes/OLD-NEW.html)")
    changes.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Write the page; return 0."""
    from ferlab.reporting.site.changed import write_changes

    print(f"page: {write_changes(chosen.old, chosen.new, chosen.output)}")
    return 0
