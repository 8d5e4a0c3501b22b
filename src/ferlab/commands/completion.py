"""`ferlab completion SHELL`: a script that completes commands, options and file names, written from the arguments of the commands by shtab."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from ferlab.commands.predict import GIVEN
from ferlab.paths import ROOT, InputError

SHELLS = ("bash", "zsh", "fish")
FILES = ("FILE", "ONNX", "LABELS", "MODEL", "FOLDER", "PHOTOS", "DIR", GIVEN)  # the names of arguments that may be paths
HELP = """Print a script that completes ferlab's commands in a shell:
  bash: ferlab completion bash > ~/.local/share/bash-completion/completions/ferlab
  zsh:  ferlab completion zsh > a folder of $fpath, as _ferlab
  fish: ferlab completion fish > ~/.config/fish/completions/ferlab.fish"""


def add_parser(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add the command to argparse's subparsers of `parser`."""
    completion = commands.add_parser(
        "completion", help="print a script that completes these commands in bash, zsh or fish", description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(run=partial(run, parser))


def run(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> int:
    """Print the script; return 0.

    Raises:
        InputError: shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise InputError("completion needs shtab, which the environment of a clone has: python -m pip install shtab") from None
    for command in _commands(parser):
        for action in command._actions:
            if action.metavar in FILES or action.dest == "folder":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
        if command.prog.endswith(" study"):
            (name,) = [action for action in command._actions if action.dest == "name"]
            name.choices = _known_studies()
    print(shtab.complete(parser, chosen.shell))
    return 0


def _commands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    return [command for action in parser._actions if isinstance(action, argparse._SubParsersAction) for command in action.choices.values()]


def _known_studies() -> list[str] | None:
    from ferlab.studies import studies

    try:
        return studies(ROOT)
    except InputError:  # outside a clone there are none
        return None
