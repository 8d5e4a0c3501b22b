"""The `ferlab` command: what a researcher types beside `dvc`.

    ferlab study            the studies at hand
    ferlab study cs230      write params.yaml for that study
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ferlab.params import check_params, nearest
from ferlab.paths import ROOT, InputError

BASE = "quick"  # the complete study; every other one is an overlay on it


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status. Bad input is told in one line."""
    parser = argparse.ArgumentParser(prog="ferlab", description="Research on facial expression recognition.")
    commands = parser.add_subparsers(dest="command", required=True)
    study = commands.add_parser("study", help="write params.yaml for a study of conf/study/")
    study.add_argument("name", nargs="?", help="leave it out to see what there is")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.name is None:
            print("\n".join(studies(ROOT)))
        else:
            write_study(ROOT, chosen.name)
    except (InputError, OSError) as error:
        print(f"ferlab: {error}", file=sys.stderr)
        return 1
    return 0


def studies(root: Path) -> list[str]:
    """Return the names of the studies of a clone, sorted."""
    return sorted(path.stem for path in (root / "conf" / "study").glob("*.yaml"))


def write_study(root: Path, name: str) -> None:
    """Check a study and write it as params.yaml, comments kept, `study: <name>` on top.

    A params.yaml that was edited by hand is kept beside data/scratch, and the terminal says so.

    Raises:
        InputError: An unknown study, or one that does not pass the checks of `ferlab.params`; params.yaml stays as it was.
    """
    text = study_text(root, name)
    path = root / "params.yaml"
    if path.is_file() and path.read_text() not in (text, *(study_text(root, known) for known in studies(root))):
        kept = root / "data" / "scratch" / "params-before.yaml"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(path.read_text())
        print(f"params.yaml had edits of yours; they are kept in {kept.relative_to(root)}")
    beside = path.with_name("params.yaml.new")
    beside.write_text(text)
    os.replace(beside, path)
    print(f"params.yaml now holds study {name}; next: dvc repro")


def study_text(root: Path, name: str) -> str:
    """Return what params.yaml holds for a study: the base study with the overlay's keys, sets and runs replaced whole."""
    from io import StringIO

    if name not in studies(root):
        raise InputError(f"no study is called {name!r}; {nearest(name, studies(root))}")
    base = _load(root, BASE)
    if name != BASE:
        _overlay(base, _load(root, name))
    base["study"] = name
    check_params(base, source=f"conf/study/{name}.yaml")
    stream = StringIO()
    _yaml().dump(base, stream)
    return stream.getvalue()


def _overlay(base: Any, over: Any) -> None:
    for key, value in over.items():
        if key in ("prepare", "runs") or not isinstance(value, dict) or not isinstance(base.get(key), dict):
            base[key] = value
        else:
            _overlay(base[key], value)
    for key in over:  # what a study says of a key stands with it
        if key in over.ca.items:
            base.ca.items[key] = over.ca.items[key]


def _load(root: Path, name: str) -> Any:
    path = root / "conf" / "study" / f"{name}.yaml"
    try:
        return _yaml().load(path)
    except YAMLError as error:
        raise InputError(f"conf/study/{name}.yaml: not YAML: {' '.join(str(error).split())}") from None


def _yaml() -> YAML:
    yaml = YAML()  # round trip: comments and order stay
    yaml.width = 130
    return yaml


if __name__ == "__main__":
    sys.exit(main())
