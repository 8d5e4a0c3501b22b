"""Make a clone ready for DVC; `make repro` runs this first.

Without Git (a zip, a container's copy) DVC refuses every command until its config has `no_scm`. After a full disk its `rwlock` may be truncated or
dvc.lock empty, which it refuses too.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psutil
from dvc.config import Config
from dvc.rwlock import SCHEMA
from voluptuous import Invalid

from ferlab.paths import ROOT


def main() -> int:
    """Make the clone ready and report what was done; return the exit status."""
    for done in (tell_dvc_of_git(ROOT), remove_broken_lock(ROOT), remove_empty_record(ROOT)):
        if done:
            print(done, file=sys.stderr)
    return 0


def tell_dvc_of_git(root: Path) -> str:
    """Set DVC's `core.no_scm` outside of a Git repository and remove it inside; return a sentence if it changed, else ''."""
    has_git = any((folder / ".git").exists() for folder in (root, *root.parents))
    config = Config(str(root / ".dvc"))
    if has_git != ("no_scm" in config.load_one("local").get("core", {})):
        return ""
    with config.edit("local") as local:
        if has_git:
            del local["core"]["no_scm"]
            return "Git is here now: DVC uses it (.dvc/config.local)."
        local.setdefault("core", {})["no_scm"] = True
    return "No Git repository here: DVC runs without one (.dvc/config.local). `dvc exp` needs `git init` and a first commit."


def remove_broken_lock(root: Path) -> str:
    """Remove DVC's `.dvc/tmp/rwlock` if it cannot be read and DVC does not run here; return a sentence if it cannot be read, else ''."""
    lock = root / ".dvc" / "tmp" / "rwlock"
    if not lock.is_file() or _is_whole(lock):
        return ""
    if running := _running_dvc(root):
        return f"{lock.relative_to(root)} cannot be read, but DVC runs here (process {running}); once it has ended, run this again."
    lock.unlink()
    return f"{lock.relative_to(root)} was cut off, as by a full disk: removed."


def remove_empty_record(root: Path) -> str:
    """Remove an empty dvc.lock; return a sentence if there was one, else ''."""
    record = root / "dvc.lock"
    if not record.is_file() or record.read_bytes().strip() or _running_dvc(root):
        return ""
    record.unlink()
    return "dvc.lock was empty, as after a full disk: removed, so all stages run (or stop, and take the committed one: git restore dvc.lock)."


def _is_whole(lock: Path) -> bool:
    try:
        SCHEMA(json.loads(lock.read_text()))
    except (ValueError, Invalid):
        return False
    return True


def _running_dvc(root: Path) -> int | None:
    """Return the id of a process of DVC in this clone."""
    for process in psutil.process_iter(["pid", "cwd", "cmdline"]):
        words = [Path(word).name for word in (process.info["cmdline"] or [])[:3]]
        here = process.info["cwd"] and Path(process.info["cwd"]).is_relative_to(root)
        if here and "dvc" in words:  # python -m dvc, .venv/bin/python .venv/bin/dvc, or dvc
            return int(process.info["pid"])
    return None


if __name__ == "__main__":
    sys.exit(main())
