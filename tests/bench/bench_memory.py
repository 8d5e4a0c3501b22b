"""Bench: the memory of training through `fit`, each case in a process of its own.

    python tests/bench/bench_memory.py [threads]

Flat: what five_layer's process holds (RssAnon, memory that no file backs) when each of ten epochs begins, garbage collected and free
blocks given back. The least of the last three epochs may be 8 MB more than the least of the three after the first, six epochs
before. One leaked batch a step would make 56 MB.

Large: the most that cs230's VGG16 (94 million parameters, nothing frozen) takes at its 197 pixels in bf16 and channels_last under
SGD with momentum: at most 8 GB, imports and checkpoints (1.1 GB, put together in memory before they are written) included. At the
paper's batch of 32 and the notebook's of 128; where the CPU is faster in float32, in that and at 32 alone. Two steps each: the first
makes the momentum, the second has it beside the activations. Faces are stored at 48 pixels and grow batch by batch, as FER2013's do.

What the numbers depend on: the batch, bf16 (activations are half as large as in float32), the allocator (glibc's gives large blocks
back at once), the optimizer (Adam keeps another 0.4 GB), and hardly at all the faces, which lie in memory as uint8. A GPU is not
used.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from ferlab.training.distributed import precision as precision_of

GROWTH, PEAK = 8, 8.0  # MB, GB
EPOCHS, FACES, BATCHES, STEPS = 10, 1024, (32, 128), 2
ROOT = Path(__file__).parents[2]


def held() -> float:
    """Return MB of this process that no file backs, when what is free has been given back."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # glibc keeps some 90 MB of what a checkpoint was put together in, now and then
    return int(re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000


def train(model: str, *, faces: int, batch: int, epochs: int, threads: int, precision: str) -> dict[str, object]:
    """Train on random faces of 48 pixels; return MB held when each epoch begins, and the most, with the files that are mapped, in GB."""
    import numpy as np
    import pandas as pd

    from ferlab.data.batches import FaceBatches
    from ferlab.data.store import Store
    from ferlab.expressions import EXPRESSIONS
    from ferlab.params import Train
    from ferlab.training.fit import fit

    split = ["train"] * faces + ["val"] * len(EXPRESSIONS)
    table = pd.DataFrame({"target": np.arange(len(split)) % len(EXPRESSIONS), "split": split})
    images = np.random.default_rng(0).integers(0, 256, (len(split), 48, 48)).astype(np.uint8)
    recipe = {"optimizer": "sgd", "lr": 1e-4, "weight_decay": 5e-4, "schedule": "constant", "rotation": 10.0, "zoom": 0.1, "shift": 0.1}
    settings = Train(epochs=epochs, batch_size=batch, threads=threads, precision=precision, **recipe)
    marks, own = [], FaceBatches.set_epoch

    def set_epoch(batches: FaceBatches, epoch: int) -> None:
        marks.append(held())
        own(batches, epoch)

    store = Store(images=images, faces=table, expressions=EXPRESSIONS)
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(FaceBatches, "set_epoch", set_epoch):
        fit(store, run="bench", model=model, options={}, seed=0, settings=settings, partial=Path(folder))
    return {"held": marks, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}


def in_own_process(model: str, **numbers: int | str) -> dict[str, object]:
    """Return what `train` says in a fresh process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, "--case", model, json.dumps(numbers)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout.splitlines()[-1])


def check(what: str, value: float, limit: float) -> bool:
    """Print a value beside its limit; return whether it holds."""
    print(f"{what}: {value:.2f} (limit {limit:g}){'' if value <= limit else '  FAILED'}", flush=True)
    return value <= limit


def main() -> int:
    """Run all cases; return 1 if a limit is passed."""
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        print("skipped: memory is read as Linux with glibc tells it")
        return 0
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    precision = precision_of(accelerator="cpu")
    batches = BATCHES if precision == "bf16-mixed" else BATCHES[:1]  # float32 keeps twice as much, and takes long
    marks = in_own_process("five_layer", faces=FACES, batch=128, epochs=EPOCHS, threads=threads, precision=precision)["held"][1:]
    print(f"five_layer, MB held after each of {len(marks)} epochs: {', '.join(f'{mark:.1f}' for mark in marks)}")
    holds = [check("five_layer, MB held in the last epochs over the first", min(marks[-3:]) - min(marks[:3]), GROWTH)]
    for batch in batches:
        peak = in_own_process("cs230_vgg16", faces=batch * STEPS, batch=batch, epochs=1, threads=threads, precision=precision)["peak"]
        holds.append(check(f"cs230_vgg16 at 197 pixels, batch {batch}, most GB", peak, PEAK))
    return int(not all(holds))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--case"]:
        print(json.dumps(train(sys.argv[2], **json.loads(sys.argv[3]))))
    else:
        sys.exit(main())
