"""Starting stages as soon as those that they wait for are done, whoever runs them; a failure stops only what waits for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from ferlab.paths import InputError
from ferlab.repro.stage_graph import Task


class Graph(Protocol):
    """What is to be run, as `stage_graph.StageGraph` knows it."""

    tasks: dict[str, Task]

    def stale(self, names: Iterable[str]) -> set[str]:
        """Return those of some stages that have to run."""

    def keep(self, name: str) -> None:
        """Note what a stage has written."""


class Workers(Protocol):
    """Who runs stages."""

    def start(self, ready: Sequence[Task], waiting: Sequence[Task]) -> list[str]:
        """Start some of those that are ready, at least one where none runs; return their names. `waiting`: all that have not started."""

    def ended(self) -> list[tuple[str, str]]:
        """Wait a moment; return the stages that have ended since, each with why it failed, "" where it did not."""

    def stop(self) -> None:
        """End all that run."""


class Display(Protocol):
    """Who is told."""

    def started(self, name: str) -> None:
        """Stage `name` runs, or waits for its turn in a queue."""

    def settled(self, name: str, how: str) -> None:
        """Stage `name` needs no more: it is done, failed, up to date, or waits for one that failed."""


def run_stages(graph: Graph, workers: Workers, display: Display) -> dict[str, str]:
    """Run the stages that have to run, in an order that holds, and keep what each has written as soon as it ends.

    Returns:
        Why each stage failed; those that wait for one of them did not run.

    Raises:
        KeyboardInterrupt: And whatever else ends the work early: all that runs is stopped first.
    """
    waiting, done, ran, failed = dict(graph.tasks), set[str](), set[str](), dict[str, str]()
    stale, asked_again, running = graph.stale(waiting), set[str](), set[str]()
    try:
        while waiting or running:
            for name in _blocked(waiting, failed):
                del waiting[name]
                display.settled(name, "not run: it waits for a stage that failed")
            ready = [task for task in waiting.values() if task.needs <= done]
            again = {task.name for task in ready if task.needs & ran} - asked_again  # what it reads may be the same as before
            stale, asked_again = (stale - again) | graph.stale(again), asked_again | again
            if fresh := [task.name for task in ready if task.name not in stale]:
                for name in fresh:
                    del waiting[name]
                    done.add(name)
                    display.settled(name, "up to date")
                continue
            started = workers.start(ready, list(waiting.values())) if ready else []
            for name in started:
                display.started(name)
            running |= set(started)
            waiting = {name: task for name, task in waiting.items() if name not in running}
            for name, cause in workers.ended() if running else ():
                running.discard(name)
                cause = cause or _keep(graph, name)
                if cause:
                    failed[name] = cause
                else:
                    done.add(name)
                    ran.add(name)
                display.settled(name, f"failed: {cause}" if cause else "done")
    except BaseException:
        workers.stop()
        raise
    return failed


def _keep(graph: Graph, name: str) -> str:
    try:
        graph.keep(name)
    except InputError as error:
        return str(error)
    return ""


def _blocked(waiting: dict[str, Task], failed: Iterable[str]) -> list[str]:
    """Return the stages that wait for one that failed, directly or not."""
    lost, found = set(failed), list[str]()
    while more := [name for name, task in waiting.items() if name not in lost and task.needs & lost]:
        lost |= set(more)
        found += more
    return found
