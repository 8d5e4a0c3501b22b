from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ferlab import clone


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with DVC's config in it, in no Git repository."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    (tmp_path / "dvc.yaml").write_text("stages:\n  one:\n    cmd: echo done\n")
    return tmp_path


def dvc_status(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvc", "status"], cwd=root, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_dvc_works_in_a_downloaded_folder_and_after_a_full_disk(bare: Path) -> None:
    assert "is not a git repository" in dvc_status(bare).stderr
    assert "No Git repository here" in clone.tell_dvc_of_git(bare)
    assert dvc_status(bare).returncode == 0
    (bare / ".dvc" / "tmp" / "rwlock").write_text('{"read": {"dvc')
    assert "removed" in clone.remove_broken_lock(bare)
    (bare / "dvc.lock").write_text("")
    assert dvc_status(bare).returncode != 0
    assert "removed" in clone.remove_empty_record(bare)
    assert dvc_status(bare).returncode == 0


def test_config_changes_when_git_comes_and_goes_and_not_in_between(bare: Path) -> None:
    local = bare / ".dvc" / "config.local"
    clone.tell_dvc_of_git(bare)
    assert local.read_text() == "[core]\n    no_scm = True\n"
    assert clone.tell_dvc_of_git(bare) == ""
    (bare / ".git").mkdir()
    assert "Git is here now" in clone.tell_dvc_of_git(bare)
    assert "no_scm" not in local.read_text()
    assert clone.tell_dvc_of_git(bare) == ""


def test_a_folder_inside_a_repository_has_git(bare: Path) -> None:
    (bare / ".git").mkdir()
    below = bare / "thesis" / "ferlab"
    (below / ".dvc").mkdir(parents=True)
    assert clone.tell_dvc_of_git(below) == ""
    assert not (below / ".dvc" / "config.local").exists()


@pytest.mark.parametrize("content", ["", '{"read": {"dvc', "[1]", '{"write": {"a": {"pid": "x"}}}', "\x00" * 40])
def test_a_lock_that_cannot_be_read_is_removed(bare: Path, content: str) -> None:
    lock = bare / ".dvc" / "tmp" / "rwlock"
    lock.write_text(content)
    assert clone.remove_broken_lock(bare) == ".dvc/tmp/rwlock was cut off, as by a full disk: removed."
    assert not lock.exists()


@pytest.mark.parametrize("content", ["{}", '{"read": {"/a": [{"pid": 1, "cmd": "dvc repro"}]}}'])
def test_a_whole_lock_stays(bare: Path, content: str) -> None:
    lock = bare / ".dvc" / "tmp" / "rwlock"
    lock.write_text(content)
    assert clone.remove_broken_lock(bare) == ""
    assert lock.read_text() == content


def test_a_record_that_holds_anything_stays(bare: Path) -> None:
    assert clone.remove_empty_record(bare) == ""
    (bare / "dvc.lock").write_text("schema: '2.0'\n")
    assert clone.remove_empty_record(bare) == ""
    assert (bare / "dvc.lock").exists()


def test_a_broken_lock_stays_while_dvc_runs_here(bare: Path) -> None:
    lock = bare / ".dvc" / "tmp" / "rwlock"
    lock.write_text("{")
    (bare / "dvc").write_text("import sys; print('up', flush=True); sys.stdin.read()")  # a stand-in of that name
    with subprocess.Popen([sys.executable, "dvc"], cwd=bare, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)) as running:
        assert running.stdout is not None
        running.stdout.readline()
        assert f"process {running.pid}" in clone.remove_broken_lock(bare)
        running.communicate(b"")
    assert lock.exists()
    assert "removed" in clone.remove_broken_lock(bare)
