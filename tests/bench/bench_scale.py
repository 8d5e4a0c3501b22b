"""Growth of cost with the number of faces, shards read from an object store, and two processes against one: the numbers of docs/scale.md.

    python tests/bench/bench_scale.py [growth] [shards] [processes] [--large] [--folder FOLDER] [--write MACHINE]

Every case is a process of its own. CPU seconds (user and system, of all its threads and children) are those of the work, imports excluded: a
growing case works on 100 faces first. Memory is the most RssAnon, sampled every 0.1 s, with the interpreter and its libraries; disk is what the
work left.

growth     Simulated sources: control faces and mixtures of two of them (see bench_duplicates.py), 48 x 48 grey, in one file. Prepared picture by
           picture to one array and to shards of 1,000 faces, with hashes, records and the face table; searched for duplicates as the stage prepare
           does; and predictions of as many faces scored with all metrics and bounds. 10^3 and 10^4 faces; with --large 10^5 and 10^6 too, or
           300,000 where 10^6 would take more than 720 CPU seconds or 12 GB by the growth so far. The exponent is the slope of log cost on log faces,
           of all sizes but 10^3 where there are three or more.
shards     Shuffled passes over 20,000 faces in shards of 1,000 from object_store.py on this machine: a near one (20 ms before each answer, 100 MB
           a second per request) and a distant one (200 ms, 10 MB). The first pass fetches whole shards and fills the cache on disk, the second
           begins anew with that cache. Beside it the memory-mapped store, and LitData with the same PNGs in chunks as large, in one process, where it
           is installed (it is no dependency): python -m pip install --target DIR litdata, then PYTHONPATH=DIR.
processes  fit() of `lenet_caffe` with gloo, one process and two at the same batch: three epochs minus one, so that the start does not count.
           On fewer free cores than processes wall seconds say nothing of a speed-up; CPU seconds per image say what the exchange costs.

Limits: 0.1 GB more at 10^4 faces than at 10^3 where memory is constant (preparing), exponents of at most 1.2 (--large), and the cached pass at
least as fast as the first. That two processes and one train alike is tested in tests/training/test_distributed.py.
`--write MACHINE` replaces the measured parts of reports/published/scale.json, which names the machine in these words.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from bench_duplicates import make_faces
from bench_sets import anonymous, check

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "reports" / "published" / "scale.json"
SIZES, LARGER, LESS = (10**3, 10**4), (10**5, 10**6), 3 * 10**5
SECONDS, GIGABYTES = 720.0, 12.0  # of one case
BLOCK, READ, BATCH, WINDOW = 1000, 20_000, 128, 8
STORES = {"near": (0.02, 100e6), "distant": (0.2, 10e6)}  # seconds before each answer, bytes a second
FACES, EPOCHS, EVERY = 8192, 3, 0.1
MORE, EXPONENT = 0.1, 1.2
Found = dict[str, Any]


@contextmanager
def clocked(found: Found) -> Iterator[None]:
    """Add CPU and wall seconds of the block, children included, to `found`."""

    def cpu() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    before, start = cpu(), time.perf_counter()
    yield
    found.update(cpu=cpu() - before, wall=time.perf_counter() - start)


def table_of(hashes: pd.Series) -> pd.DataFrame:
    """Return the face table of N faces with these content hashes."""
    rows = np.arange(len(hashes))
    names = pd.Series(rows).astype("str").str.zfill(7)
    splits = np.where(rows % 10 == 0, "val", "train")
    return pd.DataFrame({"face_id": "simulated/" + names, "content_hash": hashes, "source_path": names}).assign(
        source="simulated", usage="all", target=rows % 7, split=splits
    )


def prepare(faces: Path, work: Path, count: int, kind: str) -> Found:
    """Prepare the first faces of a file through the functions of the stage."""
    from ferlab.data.preparation.building import prepare_pictures
    from ferlab.data.shards import ShardFiles
    from ferlab.data.store import ImageFile, open_store, write_faces

    pictures, names, found = np.load(faces, mmap_mode="r")[:count], pd.Series(np.arange(count).astype(str)), Found()
    with clocked(found):
        with ShardFiles(work, faces_per_shard=BLOCK) if kind == "shards" else ImageFile(work / "images.npy") as writer:
            records = prepare_pictures(pictures, names, lambda _, picture: (picture, {}), writer=writer, work=work / "records")
            writer.finish()
        write_faces(work, table_of(records["content_hash"]))
    assert len(open_store(work).faces) == count
    return {**found, "disk": size_of(work)}


def duplicates(faces: Path, work: Path, count: int) -> Found:
    """Find duplicates and groups as the stage prepare does."""
    from ferlab.data.duplicates.pairs import find_pairs, group_faces, write_pairs
    from ferlab.data.faces import hash_images

    images, found = np.load(faces, mmap_mode="r")[:count], Found()
    table = table_of(pd.Series(hash_images(images)))
    with clocked(found):
        pairs, limit = find_pairs(images, table)
        groups = group_faces(pairs, count)
        work.mkdir()
        write_pairs(work, pairs, limit=limit)
    return {**found, "disk": size_of(work), "pairs": len(pairs), "groups": len(np.unique(groups))}


def evaluate(_: Path, work: Path, count: int) -> Found:
    """Score predictions of so many faces, a tenth of them val, with all metrics and bounds."""
    from ferlab.evaluation.predictions import predictions_table, write_predictions
    from ferlab.evaluation.scores import score_run
    from ferlab.expressions import EXPRESSIONS

    rng, found = np.random.default_rng(0), Found()
    table = table_of(pd.Series(["0" * 64] * count)).assign(duplicate_group=np.arange(count))
    table["split"] = table["split"].replace("train", "test")
    logits = rng.normal(size=(count, len(EXPRESSIONS)))
    logits[np.arange(count), table["target"]] += 2
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    with clocked(found):
        predictions = predictions_table(table["face_id"], table["split"], table["target"].to_numpy(), probs=probs, expressions=EXPRESSIONS)
        write_predictions(work / "predictions.parquet", predictions)
        scores = score_run(predictions, table)
    assert scores["n"]["test"] == count - count // 10
    return {**found, "disk": size_of(work)}


def passes(faces: Path, work: Path, folder: str, *addresses: str) -> Found:
    """Read all faces in shuffled batches: from the memory map, and twice from the shards at each address."""
    import torch

    from ferlab.data.batches import FaceBatches
    from ferlab.data.shards import ShardedImages

    def one_pass(images: Any, window: int | None) -> dict[str, float]:
        options: dict[str, Any] = {"prepare": lambda read: read, "normalise": lambda read: read, "seed": 0, "window": window}
        batches, found = FaceBatches(images, torch.zeros(READ, dtype=torch.int64), np.arange(READ), batch_size=BATCH, **options), Found()
        with clocked(found):
            total = sum(int(batch.sum(dtype=torch.int64)) for batch, _ in batches)
        return {**found, "total": total}

    mapped = np.load(faces, mmap_mode="r")[:READ]
    found: dict[str, Any] = {"mapped": [one_pass(mapped, None) for _ in range(2)]}  # the first one reads the pages
    for place, address in enumerate(addresses):
        cache = Path(folder) / f"cache-ours-{place}"
        found[address] = [one_pass(ShardedImages(work, base=f"{address}/bucket/shards", cache=cache), WINDOW) for _ in range(2)]
    return found


def lit_passes(faces: Path, work: Path, folder: str, *addresses: str) -> Found:
    """Write the same PNGs as LitData's chunks, and read them as often through its own client of S3."""
    import cv2
    from litdata import StreamingDataset
    from litdata.streaming import downloader
    from litdata.streaming.writer import BinaryWriter

    downloader._OBSTORE_CLIENT_OPTIONS = {**downloader._OBSTORE_CLIENT_OPTIONS, "allow_http": True}  # Keep: it has no option for it

    (work / "lit").mkdir()
    writer = BinaryWriter(str(work / "lit"), chunk_size=BLOCK)
    for row, face in enumerate(np.load(faces, mmap_mode="r")[:READ]):
        writer[row] = cv2.imencode(".png", face)[1].tobytes()
    writer.done()
    writer.merge(num_workers=1)

    def one_pass(address: str, cache: str) -> dict[str, float]:
        options = {"endpoint_url": address, "aws_access_key_id": "none", "aws_secret_access_key": "none", "region_name": "us-east-1"}
        data = StreamingDataset("s3://bucket/lit", cache_dir=cache, shuffle=True, seed=0, storage_options=options)
        found, total, batch = Found(), 0, list[np.ndarray]()
        with clocked(found):
            for place, png in enumerate(data, start=1):
                batch.append(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED))
                if len(batch) == BATCH or place == READ:
                    total += int(np.stack(batch).sum(dtype=np.int64))
                    batch = []
        return {**found, "total": total}

    caches = [f"{folder}/cache-litdata-{place}" for place in range(len(addresses))]
    return {address: [one_pass(address, cache) for _ in range(2)] for address, cache in zip(addresses, caches)}


def train(_: Path, work: Path, devices: int, epochs: int) -> Found:
    """Fit a small model with so many gloo processes."""
    from ferlab.data.store import open_store, write_store
    from ferlab.params import Train
    from ferlab.training.fit import fit

    count = FACES + FACES // 8
    images, faces = np.random.default_rng(0).integers(0, 256, (count, 28, 28)).astype(np.uint8), table_of(pd.Series(["0" * 64] * count))
    write_store(work / "store", images, faces.assign(split=np.where(np.arange(count) < FACES, "train", "val")))
    sgd = {"optimizer": "sgd", "lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "schedule": "constant"}
    recipe = {**sgd, "flip": False, "accelerator": "cpu", "threads": 1, "precision": "32-true"}
    settings, found = Train(epochs=epochs, devices=devices, batch_size=BATCH, **recipe), Found()
    with clocked(found):
        model = {"model": "lenet_caffe", "options": {"size": 28}}
        fit(open_store(work / "store"), run="bench", **model, seed=0, settings=settings, partial=work / "partial")
    return found


CASES: dict[str, Callable[..., Found]] = {
    **{"prepare": prepare, "duplicates": duplicates, "evaluate": evaluate},
    **{"ours": passes, "litdata": lit_passes, "train": train},
}
GROWING = {"store": ("prepare", "file"), "shards": ("prepare", "shards"), "evaluate": ("evaluate",), "duplicates": ("duplicates",)}


def size_of(folder: Path) -> float:
    """Return the GB of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e9


def run(case: str, faces: Path, work: Path, *numbers: object) -> Found:
    """Run a case in a process of its own and return what it found, with the most RssAnon of its processes in GB."""
    command = [sys.executable, __file__, "--case", case, str(faces), str(work), *map(str, numbers)]
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, env={**os.environ, "PYTHONPATH": paths})
        most = 0
        while process.poll() is None:
            most = max(most, anonymous(process.pid))
            time.sleep(EVERY)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed ({process.returncode})")
        said.seek(0)
        return {**json.loads(said.read().splitlines()[-1]), "gb": most * 1024 / 1e9}


def slope(measured: list[Found], key: str) -> float:
    """Return the exponent of growth of a cost."""
    of = measured[1:] if len(measured) > 2 else measured
    return float(np.polyfit(np.log([each["n"] for each in of]), np.log([each[key] for each in of]), 1)[0])


def expected(measured: list[Found], count: int, key: str) -> float:
    """Return a cost at `count` faces by the growth of the last two sizes, at least linear in what was added."""
    first, last = measured[-2:]
    exponent = max(1.0, math.log(last[key] / first[key]) / math.log(last["n"] / first["n"]))
    return last[key] * (count / last["n"]) ** exponent


def grow(folder: Path, large: bool) -> tuple[dict[str, Any], list[bool]]:
    """Measure all sizes of every kind of work."""
    sizes, faces = (*SIZES, *(LARGER if large else ())), folder / "faces.npy"
    make_faces(faces, sizes[-1], None)
    table = {name: grow_one(name, faces, sizes) for name in GROWING}
    more = {name: table[name]["sizes"][1]["gb"] - table[name]["sizes"][0]["gb"] for name in ("store", "shards")}
    holds = [check(f"{name}, GB at 10^4 faces more than at 10^3", value, f"<={MORE}") for name, value in more.items()]
    if large:
        holds += [check(f"{name}, exponent of CPU seconds", table[name]["exponents"]["cpu"], f"<={EXPONENT}") for name in GROWING]
    return table, holds


def grow_one(name: str, faces: Path, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Measure the sizes of one kind of work, and its exponents."""
    (case, *kind), work, measured = GROWING[name], faces.with_name("work"), list[Found]()
    for count in sizes:
        choices = [count] if len(measured) < 2 else [each for each in (count, min(count, LESS)) if each > measured[-1]["n"]]
        chosen = next((n for n in choices if len(measured) < 2 or fits(measured, n)), None)
        if chosen is None:
            break
        measured.append({"n": chosen, **run(case, faces, work, chosen, *kind)})
        for used in (work, work.with_name("work-first")):
            shutil.rmtree(used)
        of = measured[-1]
        print(f"{name:10s} {chosen:9,} faces: {of['cpu']:8.2f} CPU s, {of['gb']:6.2f} GB memory, {of['disk']:7.4f} GB disk", flush=True)
    exponents = {key: slope(measured, key) for key in ("cpu", "gb", "disk")}
    print(f"{name:10s} exponents: " + ", ".join(f"{key} {value:.2f}" for key, value in exponents.items()), flush=True)
    return {"sizes": measured, "exponents": exponents}


def fits(measured: list[Found], count: int) -> bool:
    """Whether so many faces may be measured; say where not."""
    seconds, gigabytes = expected(measured, count, "cpu"), expected(measured, count, "gb")
    fit = seconds <= SECONDS and gigabytes <= GIGABYTES
    if not fit:
        print(f"    {count:,} faces are not measured: {seconds:.0f} CPU seconds and {gigabytes:.1f} GB by the growth so far", flush=True)
    return fit


@contextmanager
def served(folder: Path, latency: float, rate: float) -> Iterator[str]:
    """Serve a folder like an object store and give its address."""
    command = [sys.executable, str(Path(__file__).with_name("object_store.py")), str(folder), str(latency), str(rate)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"  # type: ignore[union-attr]
        finally:
            server.terminate()


def read_shards(folder: Path, _: bool) -> tuple[dict[str, Any], list[bool]]:
    """Measure passes over shards from an object store, over LitData's chunks from the same, and over the memory map."""
    faces, work = folder / "faces.npy", folder / "objects" / "bucket"
    if not faces.is_file():
        make_faces(faces, READ, None)
    run("prepare", faces, work, READ, "shards")
    readers = ["ours", *(["litdata"] if find_spec("litdata") else [])]
    with ExitStack() as stack:
        addresses = [stack.enter_context(served(work.parent, *speed)) for speed in STORES.values()]
        found = {reader: run(reader, faces, work, folder, *addresses) for reader in readers}
    totals = {each["total"] for of in found.values() for passes_ in of.values() if isinstance(passes_, list) for each in passes_}
    assert len(totals) == 1, "the readers read different faces"
    table: dict[str, Any] = {"n": READ, "faces_per_shard": BLOCK, "mapped": told("memory-mapped store", found["ours"]["mapped"][1]), "stores": {}}
    holds = []
    for (name, (latency, rate)), address in zip(STORES.items(), addresses):
        of = table["stores"][name] = {"latency": latency, "rate": rate}
        for reader in readers:
            pair = zip(("first", "cached"), found[reader][address])
            of[reader] = {key: told(f"{name} store, {reader}, {key} pass", each) for key, each in pair}
        holds.append(check(f"{name} store, cached pass over first", of["ours"]["cached"]["rate"] / of["ours"]["first"]["rate"], ">=1"))
    if "litdata" not in readers:
        print("LitData is not installed, and was not measured")
    return table, holds


def told(what: str, found: Found) -> Found:
    """Print and return images a second, and CPU seconds per 1,000 images."""
    rates = {"rate": READ / found["wall"], "cpu_per_1000": 1000 * found["cpu"] / READ}
    print(f"{what}: {rates['rate']:.0f} images a second, {rates['cpu_per_1000']:.3f} CPU s per 1,000", flush=True)
    return rates


def compare_processes(folder: Path, _: bool) -> tuple[dict[str, Any], list[bool]]:
    """Measure the epochs of one process and of two."""
    cores = len(os.sched_getaffinity(0))
    table: dict[str, Any] = {"n": FACES, "batch": BATCH, "cores": cores}
    for devices in (1, 2):
        short, long = (run("train", folder, folder / f"train-{devices}-{epochs}", devices, epochs) for epochs in (1, EPOCHS))
        wall, cpu = ((long[key] - short[key]) / (EPOCHS - 1) for key in ("wall", "cpu"))
        of = {"rate": FACES / wall, "cpu_per_1000": 1000 * cpu / FACES, "gb": long["gb"], "start": short["wall"] - wall}
        table[f"{devices}"] = of
        print(f"processes {devices} on {cores} cores: {of['rate']:.0f} images a second, {of['cpu_per_1000']:.2f} CPU s per 1,000", flush=True)
    one, two = table["1"], table["2"]
    table |= {"rate_ratio": two["rate"] / one["rate"], "cpu_ratio": two["cpu_per_1000"] / one["cpu_per_1000"]}
    print(f"two processes over one: {table['rate_ratio']:.2f} of the images a second, {table['cpu_ratio']:.2f} of the CPU seconds per image")
    return table, []


PARTS = {"growth": grow, "shards": read_shards, "processes": compare_processes}


def main() -> int:
    """Measure the chosen parts; return 1 if a limit is passed."""
    parser = argparse.ArgumentParser(description="See the head of this file.")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="all of them where none is named")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", metavar="MACHINE")
    chosen, holds, tables = parser.parse_args(), list[bool](), dict[str, Any]()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        for part in chosen.parts or PARTS:
            tables[part], held = PARTS[part](Path(name), chosen.large)
            holds += held
    if chosen.write:
        kept = json.loads(PUBLISHED.read_text()) if PUBLISHED.is_file() else {}
        stated = {"machine": chosen.write, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        text = json.dumps({**kept, **{part: {**stated, **table} for part, table in tables.items()}}, indent=2)
        PUBLISHED.write_text(text + "\n")
    return int(not all(holds))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        rest = [int(text) if text.isdigit() else text for text in sys.argv[5:]]
        case, place = sys.argv[2], Path(sys.argv[4])
        if case in {first for first, *_ in GROWING.values()}:
            CASES[case](Path(sys.argv[3]), place.with_name(f"{place.name}-first"), 100, *rest[1:])  # it imports
        print(json.dumps(CASES[case](Path(sys.argv[3]), place, *rest)))
    else:
        sys.path.insert(0, str(ROOT / "src"))
        sys.exit(main())
