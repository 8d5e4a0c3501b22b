"""Where a stage works: one process at a time, and its outputs take the place of the last good ones together or not at all.

The work folder `data/.partial/<stage>-<name>-<fingerprint>/` holds what survives a kill (`kept`), and per process what the notebook
writes (`staging-<process>`), so that a kernel which outlives its runner by a moment writes nothing that another run moves.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ferlab import paths
from ferlab.locks import held, hold, let_go, lock_of
from ferlab.paths import InputError

ORPHAN = 10.0  # seconds that a kernel without its runner may take to end
# What is opened before it is moved: the name of an output -> "module:function", by name since the runner imports no room.
OPENED = {"store": "ferlab.data.store:open_store"}


@contextmanager
def alone(stage: str, name: str) -> Iterator[Path]:
    """Hold the work of a stage for this process while the block runs, and give the folder of all partial work.

    Raises:
        InputError: Another process works on it, as one that outlived a killed `dvc repro`.
    """
    partials = paths.ROOT / "data" / ".partial"
    with held(partials / f"{stage}-{name}.lock", what=f"{stage} {name}".strip()):
        yield partials


def open_work(partials: Path, stage: str, name: str, fingerprint: str) -> Path:
    """Return the work folder of a fingerprint; partial work under another belongs to other params, inputs or code and is dropped, which is said."""
    keep = partials / f"{stage}-{name}-{fingerprint}"
    for other in sorted(partials.glob(f"{stage}-{name}-????????????")):
        _await_orphan(other)
        if other != keep:
            print(f"{stage} {name}: params, inputs or code changed since the interrupted run: starting afresh", flush=True)
            shutil.rmtree(other)
    if has_kept(keep):
        print(f"{stage} {name}: going on where the interrupted run stopped", flush=True)
    for stale in keep.glob("staging-*"):
        shutil.rmtree(stale)
    staging_of(keep).mkdir(parents=True)
    return keep


def staging_of(work: Path) -> Path:
    """Return the folder to which the notebook of this process writes its outputs."""
    return work / f"staging-{os.getpid()}"


def has_kept(work: Path) -> bool:
    """Whether something lies there from which an interrupted stage goes on."""
    return (work / "kept").is_dir() and any((work / "kept").iterdir())


def check_outputs(moves: dict[Path, Path], outputs: dict[str, str], *, staging: Path) -> None:
    """Open what can be opened, before anything is moved.

    Args:
        moves: New output -> its place.
        outputs: What each is called -> its path below `staging`.
        staging: Where the notebook wrote.

    Raises:
        InputError: An output that was not written, or cannot be opened.
    """
    for new in moves:
        if not new.exists():
            raise InputError(f"the notebook did not write {new.relative_to(staging)}")
    for what in OPENED.keys() & outputs.keys():
        module, function = OPENED[what].split(":")
        getattr(importlib.import_module(module), function)(staging / outputs[what])


def move_into_place(moves: dict[Path, Path]) -> None:
    """Replace the last good outputs by new ones: all are copied beside their places and written through to the disk, then renamed.

    Args:
        moves: New output -> its place.
    """
    beside = {}
    for new, place in moves.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        beside[place] = place.with_name(f".{place.name}.new")
        _remove(beside[place])
        shutil.move(new, beside[place])
        _write_through(beside[place])
    for place, ready in beside.items():
        if place.is_dir():  # a folder cannot be replaced in one step: aside, in, away
            aside = _aside(place)
            _remove(aside)
            os.rename(place, aside)
            os.rename(ready, place)
            _remove(aside)
        else:
            os.replace(ready, place)
            ready.unlink(missing_ok=True)  # Keep: of two names of one file, as a result that was taken again has, a rename leaves both
        _sync(place.parent)


def put_back(places: list[Path]) -> None:
    """Put back what a kill between the two renames of a folder left aside."""
    for place in places:
        if not place.exists() and _aside(place).is_dir():
            os.rename(_aside(place), place)


def _aside(place: Path) -> Path:
    return place.with_name(f".{place.name}.old")


def _await_orphan(work: Path) -> None:
    lock = lock_of(work / "kept")
    if lock.is_file():
        hold(lock, what=work.name, wait=ORPHAN)
        let_go(lock)


def _write_through(path: Path) -> None:
    """Ask the disk to keep a file, or all files of a folder: after a power cut a renamed file may otherwise be empty."""
    for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
        _sync(each)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
