"""Captured faces (`dataset: captured`): readable by their owner alone, and removed everywhere when consent is withdrawn.

DVC's cache keeps every earlier store and executed notebook; interrupted and failed runs leave more. `ferlab forget` removes these, and names
what it cannot reach.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

from ferlab import paths
from ferlab.params import Params, Prepare
from ferlab.paths import InputError

CONSENTED = "captured"
WITHDRAWN = "consent withdrawn"  # as the reader gives the reason
# Where faces lie, below a clone.
PRIVATE = ("data", "reports/notebooks", "reports/_failed", "reports/site", ".dvc/tmp")
LEFTOVERS = ("data/.partial", "data/scratch", "reports/_failed", ".dvc/tmp/exps")
BEYOND = (
    "Not reached: DVC remotes (`dvc gc --workspace --cloud`), models that were trained on them and what was exported or shipped from these, "
    "sets and runs that params.yaml no longer names (data/prepared, reports/notebooks), other clones, backups, Git history where pictures were "
    "committed, and the pictures themselves in data/raw: delete those by hand"
)


def is_captured(prepare: Prepare) -> bool:
    """Whether a set holds faces that are used by consent."""
    return any(source["dataset"] == CONSENTED for source in prepare.all_sources.values())


def guard(params: Params) -> None:
    """Where some set holds captured faces, keep what this process writes, and the folders where faces lie, to their owner."""
    if not any(map(is_captured, params.prepare.values())):
        return
    os.umask(0o077)
    for folder in [*(paths.ROOT / private for private in PRIVATE), cache_folder(paths.ROOT)]:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)


def cache_folder(root: Path) -> Path:
    """Return the folder of DVC's cache, as .dvc/config and .dvc/config.local say."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"], encoding="utf-8")
    return (root / ".dvc" / config.get("cache", "dir", fallback="cache")).resolve()


def tell_withdrawn(prepare: Prepare, metrics: Path) -> None:
    """Say after a set was prepared that faces of people who withdrew are out of it, and where they are not yet out of."""
    gone = paths.read_json(metrics, made_by="stage prepare").get("excluded", {}).get(WITHDRAWN, 0) if is_captured(prepare) else 0
    if gone:
        told = f"{gone} pictures of people who withdrew are not in the set"
        print(f"{told}; after this dvc repro, `ferlab forget` removes them from the cache too", flush=True)


def forget(root: Path, params: Params) -> list[str]:
    """Remove every earlier state of a clone's results: from DVC's cache, and what interrupted, failed or exploring runs left.

    Args:
        root: The clone.
        params: Its params.

    Returns:
        What was done, and what cannot be done here, a line each.

    Raises:
        InputError: Results that are older than the consent record, which `dvc repro` makes anew; or DVC refuses.
    """
    if not any(map(is_captured, params.prepare.values())):
        raise InputError(f"params.yaml names no set with dataset: {CONSENTED}; `ferlab study NAME` first, where another study does")
    status = _dvc(root, "status", "--quiet")
    if status.returncode:
        raise InputError(f"some results are older than data/raw or params.yaml: run `dvc repro` first, which takes out who withdrew {_told(status)}")
    for leftover in LEFTOVERS:
        shutil.rmtree(root / leftover, ignore_errors=True)
    cleaned = _dvc(root, "gc", "--workspace", "--force")
    if cleaned.returncode:
        raise InputError(f"dvc gc --workspace --force: {_told(cleaned)}")
    done = f"removed: every state of the results but today's from {cache_folder(root)}, and {', '.join(LEFTOVERS)}"
    return [done, BEYOND]


def _dvc(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, capture_output=True, text=True, check=False)


def _told(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return f"({lines[-1]})" if lines else ""
