"""`ferlab completion`: the script of bash completes in bash; those of zsh and fish name the same commands."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from ferlab.cli import main
from ferlab.paths import ROOT
from ferlab.studies import studies


@pytest.fixture(scope="module")
def script() -> str:
    return subprocess.run([sys.executable, "-m", "ferlab.cli", "completion", "bash"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def complete(script: str, *words: str, folder=ROOT) -> list[str]:
    """What bash offers for the last of some words."""
    asked = (
        f"COMP_WORDS=(ferlab {' '.join(repr(word) for word in words)}); COMP_CWORD={len(words)}; _shtab_ferlab; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_completes_commands_options_studies_and_files(script, tmp_path):
    assert complete(script, "re") == ["repro"]
    assert set(complete(script, "s")) == {"status", "ship", "study", "serve", "submit"}
    assert complete(script, "repro", "--sl") == ["--slurm"]
    assert complete(script, "study", "cs231") == ["cs231a", "cs231a_short"]
    assert set(complete(script, "study", "")) >= set(studies(ROOT))
    assert set(complete(script, "completion", "")) >= {"bash", "zsh", "fish"}
    (tmp_path / "photographs").mkdir()
    assert complete(script, "audit", "phot", folder=tmp_path) == ["photographs"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_know_the_commands(shell, capsys):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("repro", "slurm", "audit", "cs231a"))
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=text, text=True, check=True)


def test_without_shtab_it_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 1
    assert capsys.readouterr().err.startswith("ferlab: completion needs shtab")
