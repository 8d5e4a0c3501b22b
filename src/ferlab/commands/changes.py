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
    """Write the page; return 0. With captured faces, here or in one of the two states, its owner alone can read it."""
    from ferlab import paths
    from ferlab.params import load_params
    from ferlab.privacy import CONSENTED, guard, restrict
    from ferlab.reporting.site import changed

    guard(load_params())
    old, new = changed.state_at(chosen.old), changed.state_at(chosen.new) if chosen.new else changed.state_here()
    if CONSENTED in changed.datasets(old) | changed.datasets(new):
        restrict()
    named = "-".join(name.replace("/", "_") for name in (chosen.old, chosen.new or "here"))
    output = chosen.output or paths.ROOT / "reports" / "changes" / f"{named}.html"
    changed.write_changes(old, new, output)
    print(f"page: {output}")
    return 0
