"""Bench: near-duplicates over all pairs, and how the cost grows with the number of faces.

    python tests/bench/bench_audit.py [images.npy]     uint8 (N, 48, 48), such as a prepared set's; without it, made faces

Each size runs in a process of its own, on a memory map; CPU seconds and peak resident memory are printed by part: codes (linear), search (all pairs:
quadratic), alignment (candidates: at most 40 a face). The limits are at 36,000 faces: 2 GB, and so many times the CPU seconds of the barest search,
the float32 products of all pairs of 256 numbers a face. At 100,000 faces all is measured if --all is given; what stands for 300,000 is computed from
the largest size measured, search times the square of the ratio, the rest times the ratio, and says so. Made faces are control faces moved, turned
and mixed two by two: more alike than photographs, so there is more to align.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIZES = (9_000, 18_000, 36_000)
LARGE, FAR = 100_000, 300_000
LIMIT_RATIO, LIMIT_MEMORY = 8.0, 2048.0  # at the last of SIZES
WIDTH, BLOCK = 256, 1024  # of the barest search


def make_faces(path: Path, count: int) -> None:
    """Write `count` different faces: two control faces mixed, moved and turned."""
    import numpy as np

    from ferlab.control import read
    from ferlab.copies import move

    rng = np.random.default_rng(0)
    drawn = read(faces=1500, subjects=1500, size=48, seed=0)[0]
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 48, 48))
    for number in range(count):
        first, second = rng.choice(len(drawn), 2, replace=False)
        share, (dx, dy) = rng.uniform(0.2, 0.8), rng.uniform(-2, 2, 2)
        images[number] = move((share * drawn[first] + (1 - share) * drawn[second]).astype(np.uint8), degrees=rng.uniform(-5, 5), dx=dx, dy=dy)


def measure(path: Path, count: int) -> None:
    """Print CPU seconds of each part, candidates, pairs and peak memory in MiB of the first `count` faces."""
    import numpy as np

    from ferlab.data.duplicates import codes as face_codes
    from ferlab.data.duplicates import search as near_duplicates

    images = np.load(path, mmap_mode="r")[:count]
    seconds = [time.process_time()]
    space = face_codes.fit_codes(images)
    crowd = near_duplicates.measure_crowd(images, space, targets=np.arange(len(images)) % 7)  # any labels: the cost is the same
    seconds.append(time.process_time())
    candidates = face_codes.find_candidates(images, space)
    seconds.append(time.process_time())
    score = near_duplicates.score_candidates(images, candidates)
    seconds.append(time.process_time())
    parts = [after - before for before, after in pairwise(seconds)]
    pairs = int((score >= near_duplicates.choose_limit(crowd)).sum())
    print(*parts, len(candidates), pairs, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def bare_search(count: int) -> float:
    """Return CPU seconds of the products of all pairs of random codes, block by block."""
    import numpy as np

    codes = np.random.default_rng(0).standard_normal((count, WIDTH), dtype=np.float32)
    start = time.process_time()
    for first in range(0, count, BLOCK):
        (codes[first : first + BLOCK] @ codes.T).max()
    return time.process_time() - start


def run(path: Path, count: int) -> list[float]:
    """Measure one size in a process of its own and print a line of the table."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, __file__, "--measure", str(path), str(count)]
    found = [float(word) for word in subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()]
    row(f"{count:,}", found)
    return found


def row(name: str, found: list[float]) -> None:
    """Print a line of the table."""
    codes, search, align, candidates, pairs, memory = found
    total = codes + search + align
    print(f"{name:>10s} {codes:7.1f} {search:8.1f} {align:7.1f} {total:8.1f} {candidates:11,.0f} {pairs:9,.0f} {memory:8.0f}", flush=True)


def main() -> int:
    """Print the table; return 1 if a limit is passed."""
    given = [Path(word) for word in sys.argv[1:] if not word.startswith("--")]
    sizes = (*SIZES, LARGE) if "--all" in sys.argv else SIZES
    with tempfile.TemporaryDirectory() as folder:
        path = given[0] if given else Path(folder) / "images.npy"
        if not given:
            sys.path.insert(0, str(ROOT / "src"))
            make_faces(path, max(sizes))
        print(f"{'faces':>10s} {'codes s':>7s} {'search s':>8s} {'align s':>7s} {'CPU s':>8s} {'candidates':>11s} {'pairs':>9s} {'MiB':>8s}")
        found = {count: run(path, count) for count in sizes}
    largest = max(found)
    ratio = FAR / largest
    codes, search, align, candidates, pairs, memory = found[largest]
    row(f"{FAR:,}*", [codes * ratio, search * ratio**2, align * ratio, candidates * ratio, pairs * ratio, memory * ratio])
    print(f"* computed from {largest:,}: search times {ratio:.2f} squared, all else times {ratio:.2f}; a set with more duplicates per face aligns more")
    seconds, peak = sum(found[SIZES[-1]][:3]), found[SIZES[-1]][-1]
    bare = bare_search(SIZES[-1])
    holds = seconds <= LIMIT_RATIO * bare and peak <= LIMIT_MEMORY
    print(f"{SIZES[-1]:,} faces over the barest search ({bare:.1f} CPU seconds): {seconds / bare:.1f} (limit {LIMIT_RATIO:g}); ", end="")
    print(f"{peak:.0f} MiB (limit {LIMIT_MEMORY:.0f}){'' if holds else '  FAILED'}")
    return int(not holds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
