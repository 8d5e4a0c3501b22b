"""Captured faces (`dataset: captured`): readable by their owner alone, and removed when consent is withdrawn.

DVC's cache keeps earlier stores and executed notebooks; interrupted and failed runs leave more. `ferlab forget` removes these, and names what it
cannot reach; with a pseudonym it erases that person (`ferlab.forgetting`).
"""

from __future__ import annotations

import configparser
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ferlab import paths
from ferlab.locks import held, lock_of
from ferlab.params import Params, Prepare
from ferlab.paths import InputError

CONSENTED = "captured"
WITHDRAWN = "consent withdrawn"  # as the reader gives the reason
PRIVATE = ("data", "reports/notebooks", "reports/evaluations", "reports/_failed", "reports/site", "reports/changes", ".dvc/tmp")  # hold faces
PARTIALS = "data/.partial"  # where stages work, with a lock each
BUILT = "reports/.site.work"  # where the report is built, with a lock beside it
CHECKPOINTS = "reports/notebooks/.ipynb_checkpoints"  # what Jupyter keeps of executed notebooks that were opened
LEFTOVERS = (PARTIALS, "data/scratch", "reports/_failed", "reports/changes", BUILT, CHECKPOINTS, ".dvc/tmp/exps")
BEYOND = (
    "Not reached: DVC remotes (`dvc gc --workspace --cloud`), models that were trained on them and what was exported or shipped from these, "
    "sets and runs that params.yaml no longer names (data/prepared, reports/notebooks), pages of `ferlab evaluate` (reports/evaluations) and pages "
    "written elsewhere (`ferlab changes --output`), notebooks that were executed by hand and saved, other clones, backups, Git history where "
    "pictures were committed, and the pictures themselves in data/raw: delete those by hand"
)


def is_captured(prepare: Prepare) -> bool:
    """Return whether a dataset holds captured faces."""
    return any(source["dataset"] == CONSENTED for source in prepare.all_sources.values())


def guard(params: Params) -> None:
    """With captured faces, restrict what this process writes and the folders of faces to their owner."""
    if any(map(is_captured, params.prepare.values())):
        restrict()


def restrict() -> None:
    """Restrict what this process writes and the folders of faces to their owner."""
    os.umask(0o077)
    for folder in [*(paths.ROOT / private for private in PRIVATE), cache_folder(paths.ROOT)]:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            folder.chmod(0o700)


def cache_folder(root: Path) -> Path:
    """Return the folder of DVC's cache, by .dvc/config and .dvc/config.local."""
    config = configparser.ConfigParser(interpolation=None, strict=False)
    config.read([root / ".dvc" / "config", root / ".dvc" / "config.local"], encoding="utf-8")
    return (root / ".dvc" / config.get("cache", "dir", fallback="cache")).resolve()


def tell_withdrawn(prepare: Prepare, metrics: Path) -> None:
    """After a dataset was prepared, report the pictures of people who withdrew, and that the cache still holds them."""
    gone = paths.read_json(metrics, made_by="stage prepare").get("excluded", {}).get(WITHDRAWN, 0) if is_captured(prepare) else 0
    if gone:
        told = f"{gone} pictures of people who withdrew are not in the set"
        print(f"{told}; after this dvc repro, `ferlab forget` removes them from the cache too", flush=True)


def forget(root: Path, params: Params) -> list[str]:
    """Remove earlier results of a clone from DVC's cache, and what interrupted, failed or exploring runs left; return a report in lines.

    Raises:
        InputError: Results older than the consent record, which `dvc repro` renews; or DVC refuses.
    """
    if not any(map(is_captured, params.prepare.values())):
        raise InputError(f"params.yaml names no set with dataset: {CONSENTED}; `ferlab study NAME` first, where another study does")
    status = _dvc(root, "status", "--quiet")
    if status.returncode:
        raise InputError(f"some results are older than data/raw or params.yaml: run `dvc repro` first, which removes who withdrew {_told(status)}")
    with while_nothing_runs(root):
        for leftover in LEFTOVERS:
            for path in sorted((root / leftover).glob("*")):  # of a link to a folder, its content
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            with contextlib.suppress(OSError):  # a link stays
                (root / leftover).rmdir()
    if refused := clean_cache(root):
        raise InputError(refused)
    return [f"removed: all results but the current ones from {cache_folder(root)}, and {', '.join(LEFTOVERS)}", BEYOND]


@contextlib.contextmanager
def while_nothing_runs(root: Path, *, stages: Iterable[tuple[str, str]] = ()) -> Iterator[None]:
    """Hold what running stages of this clone and its experiments hold while the block runs, since what they work on is removed.

    Args:
        root: The clone.
        stages: With their set or run, "" for none: these cannot start either.

    Raises:
        InputError: A stage runs, the report is built, or another process forgets.
    """
    locks = {root / PARTIALS / f"{stage}-{name}.lock" for stage, name in stages}
    locks |= {*(root / PARTIALS).glob("*.lock"), *(root / ".dvc" / "tmp" / "exps").rglob(f"{PARTIALS}/*.lock")}
    with contextlib.ExitStack() as holding:
        holding.enter_context(held(root / "data" / ".forgetting.lock", what="ferlab forget"))
        holding.enter_context(held(lock_of(root / BUILT), what="the report"))
        for lock in sorted(locks):
            holding.enter_context(held(lock, what=lock.stem.replace("-", " ", 1).strip()))
        yield


def clean_cache(root: Path) -> str:
    """Remove from DVC's cache all but what dvc.lock names now; return why it was refused, or ""."""
    cleaned = _dvc(root, "gc", "--workspace", "--force")
    return f"dvc gc --workspace --force: {_told(cleaned)}" if cleaned.returncode else ""


def _dvc(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, capture_output=True, text=True, check=False)


def _told(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return f"({lines[-1]})" if lines else ""
