"""CPU seconds (user + system) and memory of `dvc repro`: the whole quick study in a fresh clone, then with nothing to do (median of 3).

    python tests/bench/bench_repro.py

Limits: 480 CPU seconds and 3 GB resident for the whole study with two runs; 5 CPU seconds with nothing to do.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]


def cpu_seconds() -> float:
    """User and system seconds of all children that have ended, theirs included."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def watched(command: list[str], folder: Path) -> tuple[float, float, str]:
    """Run a command; return CPU seconds, the highest sum of its processes' resident bytes in GB, and what it printed."""
    before = cpu_seconds()
    environment = {**os.environ, "PYTHONPATH": str(folder / "src"), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=subprocess.STDOUT)
        peak, stop = [0], threading.Event()

        def watch() -> None:
            while not stop.wait(0.2):
                try:
                    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                    peak[0] = max(peak[0], sum(member.memory_info().rss for member in family))
                except psutil.NoSuchProcess:
                    continue

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = process.wait()
        stop.set()
        watcher.join()
        said.seek(0)
        text = said.read()
    if status:
        sys.exit(f"{' '.join(command)} failed:\n{text[-3000:]}")
    return cpu_seconds() - before, peak[0] / 1e9, text


def main() -> None:
    """Clone the committed state into a temporary folder and measure."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        repro = [sys.executable, "-m", "dvc", "repro"]
        seconds, memory, _ = watched(repro, clone)
        print(f"whole quick study: {seconds:.0f} CPU seconds (limit 480), {memory:.2f} GB resident at most (limit 3)")
        idle = [watched(repro, clone) for _ in range(3)]
        print(f"nothing to do: {statistics.median(row[0] for row in idle):.1f} CPU seconds (limit 5); it said: {idle[0][2].strip().splitlines()[-1]}")


if __name__ == "__main__":
    main()
