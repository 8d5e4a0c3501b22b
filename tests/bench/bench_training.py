"""Training through `fit` against the same net in a bare loop over resident float tensors, interleaved: images per second, ratio.

Run with `python tests/bench/bench_training.py`. Both in bf16 and channels_last with one optimizer, no augmentation; `fit` also
converts the stored uint8 faces, scores val, writes checkpoints and starts Lightning. At least 0.90 is wanted. What augmentation
adds is printed as well, as a share of the step; at most 15 % is wanted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ferlab.data.augmentation import Augmentation, augment, draw_epoch
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS
from ferlab.models import create_model
from ferlab.params import Train
from ferlab.training.fit import fit

TRAIN, VAL, BATCH, ROUNDS, THREADS = 4096, 128, 128, 5, 2
SETTINGS = Train(
    epochs=1, batch_size=BATCH, optimizer="sgd", lr=0.01, weight_decay=5e-4, schedule="constant", precision="bf16-mixed", threads=THREADS, flip=False
)  # fmt: skip


def seconds(work: Callable[[], object]) -> np.ndarray:
    """Return wall seconds and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return np.array([time.perf_counter() - wall, time.process_time() - cpu])


def random_store() -> Store:
    generator = np.random.default_rng(0)
    faces = pd.DataFrame({"target": np.arange(TRAIN + VAL) % len(EXPRESSIONS), "split": ["train"] * TRAIN + ["val"] * VAL})
    return Store(images=generator.integers(0, 256, (TRAIN + VAL, 48, 48)).astype(np.uint8), faces=faces, expressions=EXPRESSIONS)


def bare_loop(images: torch.Tensor, targets: torch.Tensor) -> None:
    """Train one epoch with nothing around it."""
    net = create_model("five_layer").to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    for rows in torch.randperm(len(targets)).split(BATCH):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(net(images[rows].contiguous(memory_format=torch.channels_last)), targets[rows])
        loss.backward()
        optimizer.step()


def through_fit(store: Store) -> None:
    """Train one epoch as the workspace does."""
    with tempfile.TemporaryDirectory() as folder:
        fit(store, run="bench", model="five_layer", options={}, seed=0, settings=SETTINGS, partial=Path(folder))


def augmenting(images: torch.Tensor) -> None:
    """Change the faces of one epoch as cs230 does."""
    draws = draw_epoch(TRAIN, seed=0, epoch=0)
    for rows in torch.arange(TRAIN).split(BATCH):
        augment(images[rows], draws[rows], Augmentation(flip=True, rotation=10, zoom=0.1, shift=0.1))


if __name__ == "__main__":
    torch.set_num_threads(THREADS)
    store = random_store()
    images = (torch.from_numpy(store.images[:TRAIN]).float().unsqueeze(1) / 255 - 0.5) / 0.29
    targets = torch.from_numpy(store.faces["target"].to_numpy()[:TRAIN].copy())
    works = {"bare": lambda: bare_loop(images, targets), "fit": lambda: through_fit(store), "augmentation": lambda: augmenting(images)}
    for work in works.values():
        work()
    rounds = [{name: seconds(work) for name, work in works.items()} for _ in range(ROUNDS)]
    for place, clock in enumerate(("wall", "CPU")):
        rates = {name: TRAIN / statistics.median(r[name][place] for r in rounds) for name in works}
        ratio = statistics.median(r["bare"][place] / r["fit"][place] for r in rounds)
        share = statistics.median(r["augmentation"][place] / r["bare"][place] for r in rounds)
        print(
            f"five_layer, batch {BATCH}, bf16, {THREADS} threads, images per {clock} second: bare loop {rates['bare']:.0f}, fit {rates['fit']:.0f}; "
            f"ratio {ratio:.2f}; augmentation {share:.1%} of a bare step"
        )
