"""The search for near-duplicates by index against the exhaustive search: CPU seconds, memory, and recall on planted copies.

    python tests/bench/bench_duplicates.py [images.npy] [--large]     images: uint8 (N, 48, 48), such as a prepared dataset's

Compares both on 30,000 faces. With --large, 300,000 faces are searched by index, and 30,000 of them, which hold all copies, exhaustively at
the same limit. Faces are those of the file, control faces, and mixtures of two of these, of which one is mirrored: the mean face plus their
differences from it, weighted so that the variance stays, and noise. 200 copies of each kind are planted. Each search is a process of its own
that reads a memory map; its CPU seconds (user and system) and its peak memory, the map's pages included, are printed.
Limits: 0.8 of the CPU seconds of the exhaustive search on 30,000 faces; 300 CPU seconds on 300,000; 2 GB; recall at most 0.005 lower.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "src"))
SMALL, LARGE, DRAWN, EACH = 30_000, 300_000, 2_000, 200
LIMIT_RATIO, LIMIT_SECONDS, LIMIT_MIB, LIMIT_RECALL = 0.8, 300.0, 2048.0, 0.005
PART = 4096


def make_faces(path: Path, count: int, given: Path | None) -> pd.DataFrame:
    """Write `count` faces, the last of them planted copies, and return the table of `planting.plant`."""
    from ferlab.control import read
    from ferlab.copies import KINDS, alter

    rng = np.random.default_rng(0)
    drawn = read(faces=DRAWN, subjects=DRAWN, size=48, seed=0)[0]
    pool = np.concatenate([np.load(given), drawn]) if given else drawn
    pool, kinds = pool[np.unique(pool.reshape(len(pool), -1), axis=0, return_index=True)[1]], KINDS[1:]  # hashes find identical faces
    pool, copies = pool[rng.permutation(len(pool))[:count]], len(kinds) * EACH
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(count, 48, 48))
    different = count - copies
    images[: min(len(pool), different)] = pool[:different]
    mean = pool.mean(axis=0)
    for start in range(len(pool), different, PART):
        number = min(PART, different - start)
        first, second = pool[rng.integers(len(pool), size=(2, number))] - mean
        weight = rng.uniform(0.3, 0.7, (number, 1, 1))
        mixed = mean + np.sqrt(weight) * first + np.sqrt(1 - weight) * second[:, :, ::-1] + rng.normal(0, 2, (number, 48, 48))
        images[start : start + number] = np.clip(np.rint(mixed), 0, 255)
    origins = rng.permutation(different)[:copies]
    for number, origin in enumerate(origins):
        images[different + number] = alter(images[origin], kinds[number % len(kinds)], rng)
    return pd.DataFrame({"origin": origins, "copy": different + np.arange(copies), "kind": np.resize(kinds, copies)})


def measure(path: Path, *, exact: bool, limit: float) -> None:
    """Search the faces of a file, write the pairs beside it, and print CPU seconds, MiB and the limit."""
    from ferlab.data.duplicates import codes, search

    codes.EXACT = sys.maxsize if exact else 0
    images = np.load(path, mmap_mode="r")
    targets = np.arange(len(images)) % 7  # any labels: the cost is the same
    pairs, limit = search.find_near_pairs(images, np.arange(len(images)), targets=targets, limit=limit or None)
    pairs.to_parquet(path.with_suffix(".parquet"))
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(used.ru_utime + used.ru_stime, int(peak) / 1024, limit)  # Keep: ru_maxrss begins at the memory of the process that started this one


def run(path: Path, planted: pd.DataFrame, *, exact: bool, limit: float = 0.0) -> tuple[float, float, float, float]:
    """Search in a process of its own, print a line of the table, and return CPU seconds, MiB, limit and recall."""
    from ferlab.data.duplicates.planting import judge_found

    command = [sys.executable, __file__, "--measure", str(path), str(int(exact)), str(limit)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    seconds, memory, limit = map(float, subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split())
    pairs, count = pd.read_parquet(path.with_suffix(".parquet")), len(np.load(path, mmap_mode="r"))
    judged = judge_found(pairs, planted, np.arange(count))
    kinds = "  ".join(f"{kind} {of['recall']:.3f}" for kind, of in judged["per_kind"].items())
    name = "exhaustive" if exact else "index"
    print(f"{count:8,} {name:>10s} {seconds:7.1f} {memory:6.0f} {limit:6.3f} {len(pairs):7,} {judged['recall']:7.4f}  {kinds}", flush=True)
    return seconds, memory, limit, judged["recall"]


def main() -> int:
    """Print the table; return 1 if a limit is passed."""
    given = next((Path(word) for word in sys.argv[1:] if not word.startswith("--")), None)
    large = "--large" in sys.argv
    with tempfile.TemporaryDirectory() as folder:
        path, part = Path(folder) / "images.npy", Path(folder) / "part.npy"
        planted = make_faces(path, LARGE if large else SMALL, given)
        print(f"{'faces':>8s} {'search':>10s} {'CPU s':>7s} {'MiB':>6s} {'limit':>6s} {'pairs':>7s} {'recall':>7s}")
        seconds, memory, limit, recall = run(path, planted, exact=False)
        images = np.load(path, mmap_mode="r")
        copied = planted[["origin", "copy"]].to_numpy()
        rows = np.unique(np.concatenate([copied.ravel(), np.setdiff1d(np.arange(len(images)), copied)[: SMALL - copied.size]]))
        np.save(part, images[rows])
        places = dict(zip(("origin", "copy"), np.searchsorted(rows, copied).T, strict=True))
        slow, _, _, expected = run(part, planted.assign(**places), exact=True, limit=limit)
    holds = memory <= LIMIT_MIB and recall >= expected - LIMIT_RECALL and (seconds <= LIMIT_SECONDS if large else seconds <= LIMIT_RATIO * slow)
    share = f"{seconds:.0f} CPU seconds (limit {LIMIT_SECONDS:.0f})" if large else f"{seconds / slow:.2f} of the CPU seconds (limit {LIMIT_RATIO})"
    print(f"index: {share}, {memory:.0f} MiB (limit {LIMIT_MIB:.0f}), recall {recall:.4f} against {expected:.4f}{'' if holds else '  FAILED'}")
    return int(not holds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), exact=sys.argv[3] == "1", limit=float(sys.argv[4]))
    else:
        sys.exit(main())
