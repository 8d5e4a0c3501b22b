"""Sets past memory and past one disk: memory from 5,000 to 25,000 faces of 224 x 224 RGB and to 60,000 of 64 x 64, and reading rates.

    python tests/bench/bench_sets.py [folder]

Sources are 2,000 drawn control faces as JPEGs, repeated. Every case is a process of its own; its anonymous memory (RssAnon, with its
children's) is sampled every 20 ms, for mapped pages of a store belong to the page cache. Before a cold pass the files are synced and
their pages dropped (posix_fadvise DONTNEED). What a disk or a host keeps beneath is not, and it keeps small sets longer: so one pass
over 25,000 faces of one array is set against five over 5,000 each, which read the same bytes. 5 GB are written in all, below
`folder` (default: a temporary one), and removed.
Limits: 2 GB; 25,000 faces take at most 0.1 GB more than 5,000 (their table, under 1 kB a face; their pixels are 3 GB more) and are
read at least 0.8 times as fast; reading pictures costs at most 1.3 times decoding them.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

ROOT = Path(__file__).parents[2]
SOURCES, SMALL, LARGE, MOST = 2_000, 5_000, 25_000, 60_000
GIGABYTES = 5  # written in all
BLOCK, WINDOW = 100, 16  # faces per shard of 80 x 80 RGB, shards shuffled together
MORE, RSS, RATE, READER = 0.1, 2.0, 0.8, 1.3


class Repeated:
    """So many pictures, of 2,000 files."""

    def __init__(self, folder: Path, count: int) -> None:
        from ferlab.data.readers.delivery import Delivery
        from ferlab.data.readers.images import PictureFiles

        delivery = Delivery(folder)
        self.files, self.count = PictureFiles(delivery, delivery.names), count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> np.ndarray:
        return self.files[row % len(self.files)]


def draw_sources(folder: Path) -> None:
    """Write the JPEGs: faces drawn small, enlarged and tinted."""
    import cv2
    from PIL import Image

    from ferlab.control import read

    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    faces, _ = read(faces=SOURCES, size=48)
    for row, face in enumerate(faces):
        large = cv2.resize(face, (224, 224), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        tinted = large[..., None] * generator.uniform(0.6, 1.0, 3) + generator.normal(0, 4, (224, 224, 1))
        Image.fromarray(tinted.clip(0, 255).astype(np.uint8)).save(folder / f"{row:06d}.jpg", quality=90)


def prepare(work: Path, count: int, size: int, colour: str, kind: str) -> dict[str, float]:
    """Prepare a store through the functions of the stage; one that lies there is gone on with."""
    import cv2

    from ferlab.data.preparation.building import prepare_pictures
    from ferlab.data.shards import ShardFiles
    from ferlab.data.store import ImageFile, open_store, write_faces

    def step(row: int, picture: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        face = picture if size == picture.shape[0] else cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
        return (face if colour == "rgb" else cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)), {"angle": row % 7 / 2}

    pictures = Repeated(work.parent / "sources", count)
    names = pd.Series([f"{row:07d}.jpg" for row in range(count)])
    start = time.perf_counter()
    with ShardFiles(work, faces_per_shard=BLOCK) if kind == "shards" else ImageFile(work / "images.npy") as writer:
        records = prepare_pictures(pictures, names, step, writer=writer, work=work / "records")
        writer.finish()
    fixed = {"source": "bench", "usage": "all"}
    splits = np.where(np.arange(count) % 100 == 0, "val", "train")
    faces = pd.DataFrame({"face_id": "bench/" + names, "content_hash": records["content_hash"], "source_path": names})
    write_faces(work, faces.assign(**fixed, target=np.arange(count) % 7, split=splits, angle=records["angle"]))
    assert len(open_store(work).faces) == count
    return {"rate": count / (time.perf_counter() - start)}


def one_pass(work: Path, start: int, count: int, memory: int) -> dict[str, float]:
    """Go through an epoch of `count` faces and do next to nothing with them."""
    import torch

    from ferlab.data.batches import FaceBatches
    from ferlab.data.shards import ShardedImages

    if (work / "shards.json").is_file():
        images, window = ShardedImages(work, memory=memory), WINDOW
    else:
        images, window = np.load(work / "images.npy", mmap_mode="r")[start : start + count], None
    batches = FaceBatches(
        images, torch.zeros(count, dtype=torch.int64), np.arange(count), batch_size=128, prepare=lambda faces: faces, normalise=lambda faces: faces,
        seed=0, window=window,
    )  # fmt: skip
    clock, seen = time.perf_counter(), 0
    for faces, _ in batches:
        seen += len(faces) * (int(faces[0, 0, 0].sum()) >= 0)
    return {"rate": seen / (time.perf_counter() - clock)}


def train_pass(work: Path, count: int, memory: int) -> dict[str, float]:
    """Do all that training does with a set but the net: statistics, an epoch with augmentation, val."""
    from ferlab.data.augmentation import Augmentation
    from ferlab.data.batches import FaceData
    from ferlab.data.store import Store, open_store
    from ferlab.models.inputs import prepare_images, standardise

    store = open_store(work)
    if count < len(store.faces):
        store = Store(images=store.images[:count], faces=store.faces[:count], expressions=store.expressions)
    side, channels = store.images.shape[1], 1 if store.images.ndim == 3 else 3

    def to_net(faces: object) -> object:
        return prepare_images(faces, size=side, channels=channels)  # type: ignore[arg-type]

    start = time.perf_counter()
    changes = Augmentation(flip=True)
    data = FaceData(store, batch_size=128, prepare=to_net, standardise=standardise, changes=changes, seed=0, resident=memory)  # type: ignore[arg-type]
    seen = sum(len(targets) for batches in (data.train_batches, data.val_batches) for _, targets in batches)
    return {"rate": seen / (time.perf_counter() - start)}


CASES: dict[str, Callable[..., dict[str, float]]] = {"prepare": prepare, "pass": one_pass, "train": train_pass}


def run(case: str, work: Path, *numbers: object) -> dict[str, float]:
    """Run a case in a process of its own and return what it found, with the most RssAnon of its processes in GB."""
    command = [sys.executable, __file__, "--case", case, str(work), *map(str, numbers)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
        most = 0
        while process.poll() is None:
            most = max(most, anonymous(process.pid))
            time.sleep(0.02)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed ({process.returncode})")
        said.seek(0)
        return {**json.loads(said.read().splitlines()[-1]), "gb": most * 1024 / 1e9}


def anonymous(pid: int) -> int:
    """Return the RssAnon of a process and its children in KiB; 0 where it has just ended."""
    total = 0
    try:
        for one in (pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))):
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    except (psutil.NoSuchProcess, OSError):
        return total
    return total


def drop_pages(folder: Path) -> None:
    """Sync the files of a store and have their cached pages dropped."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("r+b") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def cold_rates(small: list[tuple[Path, int]], large: Path, memory: int) -> dict[int, float]:
    """Return faces per second of cold passes over both sizes, the better of two, taken in turn.

    Args:
        small: The store and the first row of each small set.
        large: The large store.
        memory: See `one_pass`.
    """
    rates: dict[int, list[float]] = {SMALL: [], LARGE: []}
    for _ in range(2):
        for count, sets in ((SMALL, small), (LARGE, [(large, 0)])):
            seconds = 0.0
            for work, start in sets:
                drop_pages(work)
                seconds += count / run("pass", work, start, count, memory)["rate"]
            rates[count].append(count * len(sets) / seconds)
            print(f"  cold pass over {count:,}: {rates[count][-1]:.0f} faces a second", flush=True)
    return {count: max(found) for count, found in rates.items()}


def reader_ratio(folder: Path) -> tuple[float, float]:
    """Return CPU seconds of reading pictures, and of hashing them too, over those of the barest decoding; medians of five, in turn."""
    from PIL import Image

    from ferlab.data.faces import content_hash

    pictures, names = Repeated(folder, SOURCES), sorted(str(path) for path in folder.iterdir())

    def seconds(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    def bare() -> None:
        for name in names:
            with Image.open(name) as image:
                np.asarray(image)

    def read() -> None:
        for row in range(SOURCES):
            pictures[row]

    def hashed() -> None:
        for row in range(SOURCES):
            content_hash(pictures[row])

    bare()
    rounds = [(seconds(bare), seconds(read), seconds(hashed)) for _ in range(5)]
    return statistics.median(r / b for b, r, _ in rounds), statistics.median(h / b for b, _, h in rounds)


def check(what: str, value: float, limit: str) -> bool:
    """Print a value beside its limit; whether it holds."""
    holds = value <= float(limit[2:]) if limit.startswith("<=") else value >= float(limit[2:])
    print(f"{what}: {value:.2f} (limit {limit}){'' if holds else '  FAILED'}", flush=True)
    return holds


def bench_plain(folder: Path) -> list[bool]:
    """One array: memory of preparing and of training, and cold rates."""
    work = folder / "plain"
    small, large = (run("prepare", work, count, 224, "rgb", "file") for count in (SMALL, LARGE))  # the second goes on from the first
    print(f"prepare 224 RGB: {small['gb']:.2f} GB at {SMALL:,}, {large['gb']:.2f} GB at {LARGE:,}; {small['rate']:.0f} faces a second")
    rates = cold_rates([(work, start) for start in range(0, LARGE, SMALL)], work, 0)
    print(f"cold pass, one array: {rates[SMALL]:.0f} faces a second of {SMALL:,}, {rates[LARGE]:.0f} of {LARGE:,}")
    trains = [run("train", work, count, 2**30) for count in (SMALL, LARGE)]
    print(f"train without a model, 224 RGB: {trains[0]['gb']:.2f} GB at {SMALL:,}, {trains[1]['gb']:.2f} GB at {LARGE:,}")
    shutil.rmtree(work)
    return [
        check(f"prepare, GB at {LARGE:,} more than at {SMALL:,}", large["gb"] - small["gb"], f"<={MORE}"),
        check(f"train, GB at {LARGE:,} more than at {SMALL:,}", trains[1]["gb"] - trains[0]["gb"], f"<={MORE}"),
        check("most GB at 224 RGB", max(found["gb"] for found in (small, large, *trains)), f"<={RSS}"),
        check(f"cold rate at {LARGE:,} over {SMALL:,}, one array", rates[LARGE] / rates[SMALL], f">={RATE}"),
    ]


def bench_many(folder: Path) -> list[bool]:
    """Many small faces."""
    work = folder / "many"
    made, trained = run("prepare", work, MOST, 64, "grey", "file"), run("train", work, MOST, 2**30)
    print(f"{MOST:,} faces of 64 x 64: prepare {made['gb']:.2f} GB, {made['rate']:.0f} faces a second; train without a model {trained['gb']:.2f} GB")
    shutil.rmtree(work)
    return [check(f"most GB at {MOST:,}", max(made["gb"], trained["gb"]), f"<={RSS}")]


def bench_shards(folder: Path) -> list[bool]:
    """Shards, which are read, checked and decoded."""
    work, kept = folder / "shards", 2**26
    small = run("prepare", work, SMALL, 80, "rgb", "shards")
    shutil.copytree(work, folder / "ten", copy_function=os.link)
    large = run("prepare", work, LARGE, 80, "rgb", "shards")
    print(f"prepare shards, 80 RGB: {small['gb']:.2f} GB at {SMALL:,}, {large['gb']:.2f} GB at {LARGE:,}; {small['rate']:.0f} faces a second")
    rates = cold_rates([(folder / "ten", 0)], work, kept)
    print(f"cold pass, shards: {rates[SMALL]:.0f} faces a second of {SMALL:,}, {rates[LARGE]:.0f} of {LARGE:,}")
    passes = [run("pass", place, 0, count, kept) for place, count in ((folder / "ten", SMALL), (work, LARGE))]
    trained = run("train", work, LARGE, 0)
    print(f"pass, shards: {passes[0]['gb']:.2f} GB at {SMALL:,}, {passes[1]['gb']:.2f} GB at {LARGE:,}")
    print(f"train without a model, shards, a window of 512 MiB: {trained['gb']:.2f} GB")
    return [
        check(f"prepare shards, GB at {LARGE:,} more than at {SMALL:,}", large["gb"] - small["gb"], f"<={MORE}"),
        check(f"pass over shards, GB at {LARGE:,} more than at {SMALL:,}", passes[1]["gb"] - passes[0]["gb"], f"<={MORE}"),
        check("most GB with shards", max(found["gb"] for found in (small, large, *passes, trained)), f"<={RSS}"),
        check(f"cold rate at {LARGE:,} over {SMALL:,}, shards", rates[LARGE] / rates[SMALL], f">={RATE}"),
    ]


def main() -> int:
    """Run all cases; return 1 if a limit is passed."""
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.gettempdir())
    free = shutil.disk_usage(place).free / 1e9
    if free < GIGABYTES + 2:
        print(f"skipped: {free:.0f} GB are free at {place}, {GIGABYTES + 2} are needed; name another folder")
        return 0
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        draw_sources(folder / "sources")
        read, hashed = reader_ratio(folder / "sources")
        print(f"reading and hashing pictures over decoding them: {hashed:.2f}")
        holds = [check("reading pictures over decoding them", read, f"<={READER}")]
        for bench in (bench_plain, bench_many, bench_shards):
            holds += bench(folder)
    return int(not all(holds))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        numbers = [int(text) if text.isdigit() else text for text in sys.argv[4:]]
        print(json.dumps(CASES[sys.argv[2]](Path(sys.argv[3]), *numbers)))
    else:
        sys.path.insert(0, str(ROOT / "src"))
        sys.exit(main())
