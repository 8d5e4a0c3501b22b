"""Bench: reading fer2013.csv into a store against the barest parse of the same file.

    python tests/bench/bench_reading.py [fer2013.csv]

The bare parse is pyarrow.csv and numpy, without a check, a hash or a file written. Each is run three times in a process of its own;
CPU seconds (median) and peak memory are printed, and their ratio against the limit. Without a csv (an argument,
FERLAB_FER2013_CSV, or data/raw/fer2013.csv) it says so and ends.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

LIMIT = 1.3
TIMES = 3
ROOT = Path(__file__).parents[2]


def read_bare(csv: Path) -> None:
    """Parse the csv and its pixels, trusting every byte."""
    import numpy as np
    import pyarrow.csv

    table = pyarrow.csv.read_csv(csv)
    np.stack([np.fromstring(text.as_py(), dtype=np.uint8, sep=" ") for text in table["pixels"]])


def read_into_store(csv: Path) -> None:
    """Read, check, hash and write a store, as the stage prepare does."""
    from ferlab.data.faces import hash_images
    from ferlab.data.readers.fer2013 import read
    from ferlab.data.store import write_store

    images, faces = read(csv, votes=False)
    faces = faces.assign(content_hash=hash_images(images))
    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder), images, faces.assign(split="train"))


def measure(what: str, csv: Path) -> None:
    """Print CPU seconds, imports left out, and peak memory in MiB."""
    for module in ("numpy", "pandera.pandas", "pyarrow.csv", "pyarrow.parquet", "ferlab.data.readers.fer2013"):
        import_module(module)
    start = time.process_time()
    {"bare": read_bare, "store": read_into_store}[what](csv)
    print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def find_csv() -> Path | None:
    """Return the csv to read, if there is one."""
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("FERLAB_FER2013_CSV", ROOT / "data" / "raw" / "fer2013.csv")
    return Path(given) if Path(given).is_file() else None


def main() -> int:
    """Run both, print a table, return 1 if the limit is passed."""
    csv = find_csv()
    if csv is None:
        print("skipped: no fer2013.csv given, in FERLAB_FER2013_CSV or in data/raw")
        return 0
    seconds = {}
    for what in ("bare", "store"):
        command = [sys.executable, __file__, "--measure", what, str(csv)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        runs = [subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split() for _ in range(TIMES)]
        seconds[what] = statistics.median(float(run[0]) for run in runs)
        print(f"{what:6s} {seconds[what]:6.2f} CPU seconds (median of {TIMES}), peak {max(float(run[1]) for run in runs):.0f} MiB")
    ratio = seconds["store"] / seconds["bare"]
    print(f"ratio  {ratio:6.2f} (limit {LIMIT})")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2], Path(sys.argv[3]))
    else:
        sys.exit(main())
