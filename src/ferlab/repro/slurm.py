"""Stages as jobs of SLURM, by submitit: those of one kind that are ready are one array, so forty runs are trained by one.

A job runs the stage's command, which takes no lock of DVC; the process that submits keeps each result in dvc.lock as its job ends. The clone, with
data/ and models/, lies on a disk that all machines see under one path.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from ferlab.paths import InputError, first_line
from ferlab.repro.local import environment
from ferlab.repro.stage_graph import Task

JOBS = Path("data", ".partial", "jobs")  # scripts and logs
MOST = 1000  # jobs of an array at once, where nothing else is asked for
DAY = 24 * 60  # minutes that a job may take
MOMENT = 1.0  # seconds between two looks at what has ended


class Jobs:
    """Runs stages on a cluster; see `scheduling.Workers`."""

    def __init__(self, root: Path, options: Mapping[str, Any], tell: Callable[[str, str], None], *, at_once: int = MOST, threads: int = 2) -> None:
        """Submit nothing yet.

        Args:
            root: The clone.
            options: Of `submitit.AutoExecutor.update_parameters`, e.g. {"slurm_partition": "gpu", "mem_gb": 16}.
            tell: Is called with a stage's name and a line about its job.
            at_once: Jobs of an array that may run at once.
            threads: Cores of a job.

        Raises:
            InputError: No SLURM here, or an option that submitit does not know.
        """
        import submitit

        self._root, self._tell, self._jobs = root, tell, dict[str, Any]()
        os.environ["PYTHONPATH"] = environment(root, "")["PYTHONPATH"]  # that of this process goes to the jobs
        given = {"name": "ferlab", "timeout_min": DAY, "nodes": 1, "cpus_per_task": threads, "slurm_array_parallelism": at_once}
        try:
            self._executor = submitit.AutoExecutor(folder=root / JOBS, cluster="slurm")
            self._executor.update_parameters(**given | dict(options))
        except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
            raise InputError(f"SLURM: {' '.join(str(error).split())}") from None

    def start(self, ready: Sequence[Task], waiting: Sequence[Task]) -> list[str]:
        """Submit an array for each kind of stage of which all are ready; where no job is left, of those that are ready.

        Raises:
            InputError: sbatch refuses.
        """
        started = []
        kinds = groupby(sorted(ready, key=lambda task: task.kind), key=lambda task: task.kind)
        for kind, tasks in [(kind, list(tasks)) for kind, tasks in kinds]:
            if self._jobs and sum(task.kind == kind for task in waiting) > len(tasks):
                continue
            commands, names = [task.command for task in tasks], [task.name for task in tasks]
            try:
                jobs = self._executor.map_array(run_command, commands, names, [self._root] * len(tasks))
            except Exception as error:  # noqa: BLE001 - submitit passes on whatever sbatch and the disk raise
                raise InputError(f"SLURM takes no job of {kind}: {' '.join(str(error).split())}") from None
            for task, job in zip(tasks, jobs, strict=True):
                self._jobs[task.name] = job
                self._tell(task.name, f"{task.name}: job {job.job_id}, of an array of {len(tasks)}: started")
            started += names
        return started

    def ended(self) -> list[tuple[str, str]]:
        """Wait a moment; return the stages whose jobs have ended since, and why they failed."""
        time.sleep(MOMENT)
        ended = {name: job for name, job in self._jobs.items() if job.done()}
        self._jobs = {name: job for name, job in self._jobs.items() if name not in ended}
        return [(name, _cause(job)) for name, job in ended.items()]

    def stop(self) -> None:
        """Cancel all jobs."""
        for job in self._jobs.values():
            job.cancel(check=False)
        self._jobs.clear()


def run_command(command: str, name: str, root: Path) -> str:
    """Run a stage where a job runs, and return why it failed, "" where it did not. What it prints is the job's log."""
    last = ""
    with subprocess.Popen(
        command, shell=True, cwd=root, env=environment(root, name), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            last = line.strip() or last
    return (last or f"exit status {process.returncode}") if process.returncode else ""


def _cause(job: Any) -> str:
    error = job.exception()
    return f"job {job.job_id}: {first_line(error)}; its log: {job.paths.stderr}" if error else job.result()
