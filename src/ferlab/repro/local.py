"""Stages as processes of this machine: so many at once, within the memory that is free.

A stage starts beside others only where the memory that is available (psutil's `virtual_memory().available`), less what those that run may still
take, covers what its largest process took when it last ran here, or GUESS where it never did. Stages that measure latencies run alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ferlab.costs import peak_memory
from ferlab.repro.stage_graph import Task

GUESS = 2 * 2**30  # bytes of a stage that never ran here
ALONE = ("deploy",)  # measures latencies: with other work beside it they would be that work's
MOMENT = 0.5  # seconds between two looks at what has ended
PATIENCE = 20.0  # seconds that a stopped stage has to end by itself


@dataclass
class _Running:
    task: Task
    process: subprocess.Popen[str]
    reader: threading.Thread
    last: str = ""


class Processes:
    """Runs stages on this machine; see `scheduling.Workers`."""

    def __init__(self, root: Path, at_once: int, tell: Callable[[str, str], None]) -> None:
        """Start nothing yet.

        Args:
            root: The clone.
            at_once: Stages at once.
            tell: Is called with a stage's name and each line that it prints, from any thread.
        """
        self._root, self._at_once, self._tell = root, at_once, tell
        self._running: dict[str, _Running] = {}

    def start(self, ready: Sequence[Task], waiting: Sequence[Task]) -> list[str]:
        """Start as many stages as there are places, memory and silence for."""
        del waiting
        started = []
        for task in sorted(ready, key=lambda each: each.kind in ALONE):
            if len(self._running) < self._at_once and self._fits(task):
                self._run(task)
                started.append(task.name)
        return started

    def ended(self) -> list[tuple[str, str]]:
        """Wait a moment; return the stages that have ended since, and why they failed."""
        time.sleep(MOMENT)
        ended = [each for each in self._running.values() if each.process.poll() is not None]
        for each in ended:
            each.reader.join()
            del self._running[each.task.name]
        return [(each.task.name, _cause(each)) for each in ended]

    def stop(self) -> None:
        """End all stages with their kernels: each may say first where it resumes."""
        for each in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.process.pid, signal.SIGTERM)
        until = time.monotonic() + PATIENCE
        for each in self._running.values():
            family = _family(each.process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                each.process.wait(max(0.0, until - time.monotonic()))
            for process in family:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(family, MOMENT)
            each.reader.join(1.0)
        self._running.clear()

    def _run(self, task: Task) -> None:
        process = subprocess.Popen(
            task.command, shell=True, cwd=self._root, env=environment(self._root, task.name), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        running = _Running(task, process, threading.Thread(target=lambda: self._read(running), daemon=True))
        self._running[task.name] = running
        running.reader.start()

    def _read(self, running: _Running) -> None:
        assert running.process.stdout
        with running.process.stdout as lines:
            for line in filter(str.strip, lines):
                running.last = line.strip()
                self._tell(running.task.name, running.last)

    def _fits(self, task: Task) -> bool:
        if not self._running:
            return True
        if task.kind in ALONE or any(each.task.kind in ALONE for each in self._running.values()):
            return False
        growth = sum(max(0, _needed(each.task) - _resident(each.process.pid)) for each in self._running.values())
        return psutil.virtual_memory().available - growth >= _needed(task)


def environment(root: Path, name: str) -> dict[str, str]:
    """Return the environment in which DVC runs the command of a stage: this Python and this clone's code first."""
    own = {"PATH": Path(sys.executable).parent, "PYTHONPATH": root / "src"}
    first = {key: os.pathsep.join(filter(None, [str(place), os.environ.get(key, "")])) for key, place in own.items()}
    return {**os.environ, **first, "DVC_STAGE": name, "DVC_ROOT": str(root)}


def _needed(task: Task) -> int:
    return peak_memory(task.name) or GUESS


def _resident(pid: int) -> int:
    total = 0
    for process in _family(pid):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _family(pid: int) -> list[psutil.Process]:
    try:
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cause(ended: _Running) -> str:
    status = ended.process.returncode
    if status < 0:
        return f"killed by {signal.Signals(-status).name}" + (", as happens where memory runs out" if -status == signal.SIGKILL else "")
    return (ended.last or f"exit status {status}") if status else ""
