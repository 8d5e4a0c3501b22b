"""Bench: training through `fit` against a bare loop over resident tensors, side by side in one run.

    python tests/bench/bench_training.py [threads]

Both train the same model from fresh weights with the same SGD, batch, precision and layout (channels_last), and score the same val
faces after each epoch; the precision is what `auto` is on this CPU. Once without augmentation, where the bare
loop's faces are already the standardised floats that the model takes, and once with cs230's, where it changes its batches by the same
function. What `fit` does more: it turns stored uint8 faces into floats batch by batch, counts correct faces and takes float64 sums at
every step, sets every generator anew each epoch, uses deterministic algorithms, and writes the last and the best checkpoint after each
epoch. Its start (measuring the faces, Lightning's Trainer) is left out and printed; its end (loading the kept weights) is in.

At least 0.95 of the bare loop's images per second is wanted: in wall seconds on a GPU and where the bare loop had its threads to
itself; where other work took from them wall seconds swing too much, and CPU seconds are judged. The ratio is the median over
rounds, each with both sides one after the other, in turn; a slow CPU has fewer faces and rounds. What the numbers depend on: the
model (a small one has more steps a second, so more of it is overhead), the faces of an epoch (FER2013's 28,709 weigh the checkpoints
three to fourteen times less than the epochs here), the batch, the threads, and what else the machine does. On a GPU, ResNet-18 on
faces of 44 pixels, which is large enough to fill one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from ferlab.data.augmentation import Augmentation, augment, draw_epoch
from ferlab.data.batches import FaceBatches
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS
from ferlab.models import create_model
from ferlab.models.registry import MODELS
from ferlab.params import Train
from ferlab.training.distributed import precision as precision_of
from ferlab.training.fit import fit

LIMIT = 0.95
SECONDS, LEAST = 60, 3  # of a case: as many rounds as this allows by the first, at least so many
EPOCH = 10  # seconds: what the bare loop trains in this is an epoch's faces, where the case has more
QUIET = 0.8  # of its threads' seconds that a process gets on a machine with little else to do
CS230 = {"flip": True, "rotation": 10.0, "zoom": 0.1, "shift": 0.1}
SGD = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
CLOCKS = ("wall", "CPU")


@dataclass(frozen=True)
class Case:
    """What is trained: a model on random faces, so many epochs a round."""

    model: str
    size: int
    faces: int
    val: int
    batch: int
    rounds: int
    device: str = "cpu"
    epochs: int = 1
    precision: str = "bf16-mixed"

    def store(self) -> Store:
        generator = np.random.default_rng(0)
        count = self.faces + self.val
        faces = pd.DataFrame({"target": np.arange(count) % len(EXPRESSIONS), "split": ["train"] * self.faces + ["val"] * self.val})
        images = generator.integers(0, 256, (count, self.size, self.size)).astype(np.uint8)
        return Store(images=images, faces=faces, expressions=EXPRESSIONS)


CASES = (
    Case("five_layer", size=48, faces=8192, val=512, batch=128, rounds=5),
    Case("compact", size=48, faces=2048, val=128, batch=128, rounds=5),
    Case("resnet18_fer", size=44, faces=28672, val=3584, batch=1024, rounds=3, device="cuda", epochs=4),  # 256 do not fill an H200
)


def clocks(device: str) -> np.ndarray:
    """Return wall and CPU seconds, what the GPU has to do being done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def bare_loop(case: Case, store: Store, changes: dict[str, float]) -> Callable[[], np.ndarray]:
    """Return what trains with nothing around it and says how long that took."""
    floats = (torch.from_numpy(np.array(store.images)).float().unsqueeze(1) / 255 - 0.5) / 0.29
    images, targets = floats.to(case.device), torch.from_numpy(store.faces["target"].to_numpy(copy=True)).to(case.device)
    train, val = torch.arange(case.faces, device=case.device), torch.arange(case.faces, len(targets), device=case.device)

    def work() -> np.ndarray:
        net = create_model(case.model).to(case.device, memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(net.parameters(), nesterov=True, **SGD)
        start = clocks(case.device)
        for epoch in range(case.epochs):
            train_epoch(net, optimizer, epoch)
            score(net)
        return clocks(case.device) - start

    def train_epoch(net: torch.nn.Module, optimizer: torch.optim.Optimizer, epoch: int) -> None:
        draws = draw_epoch(case.faces, seed=0, epoch=epoch).to(case.device) if changes else None
        for rows in train[torch.randperm(case.faces, device=case.device)].split(case.batch):
            faces = images[rows] if draws is None else augment(images[rows], draws[rows], Augmentation(**changes))
            optimizer.zero_grad()
            with torch.autocast(case.device, dtype=torch.bfloat16, enabled=case.precision == "bf16-mixed"):
                loss = F.cross_entropy(net(faces.contiguous(memory_format=torch.channels_last)), targets[rows])
            loss.backward()
            optimizer.step()

    @torch.inference_mode()
    def score(net: torch.nn.Module) -> float:
        net.eval()
        correct = torch.zeros((), device=case.device)
        for rows in val.split(case.batch):
            with torch.autocast(case.device, dtype=torch.bfloat16, enabled=case.precision == "bf16-mixed"):
                logits = net(images[rows].contiguous(memory_format=torch.channels_last))
            correct += (logits.argmax(1) == targets[rows]).sum()
        net.train()
        return correct.item() / case.val

    return work


def through_fit(case: Case, store: Store, changes: dict[str, float], *, threads: int) -> Callable[[], np.ndarray]:
    """Return what trains as the workspace does and says how long that took, and in further columns how long its start took."""
    still = {"flip": False}
    recipe = {"optimizer": "sgd", "schedule": "constant", "precision": case.precision, **SGD, **(changes or still)}
    settings = Train(epochs=case.epochs, batch_size=case.batch, threads=threads, **recipe)
    own = FaceBatches.set_epoch

    def work() -> np.ndarray:
        marks = [clocks(case.device)]

        def set_epoch(batches: FaceBatches, epoch: int) -> None:
            marks.append(clocks(case.device))
            own(batches, epoch)

        where = mock.patch.object(torch.cuda, "is_available", return_value=case.device == "cuda")
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(FaceBatches, "set_epoch", set_epoch), where:
            fit(store, run="bench", model=case.model, options={}, seed=0, settings=settings, partial=Path(folder))
            return np.concatenate([clocks(case.device) - marks[1], marks[1] - marks[0]])

    return work


def sized(case: Case, changes: dict[str, float]) -> Case:
    """Return the case with no more faces than this CPU trains in EPOCH seconds, so that checkpoints weigh on a slow one as on a fast one."""
    if case.device == "cuda":
        return case
    few = replace(case, faces=4 * case.batch, val=case.batch)
    work = bare_loop(few, few.store(), changes)
    work()  # it warms up
    batches = int(few.faces / work()[0] * EPOCH) // case.batch
    faces = min(case.faces, max(batches * case.batch, few.faces))
    return replace(case, faces=faces, val=max(faces // 16, 32))


def measure(case: Case, changes: dict[str, float], *, threads: int) -> bool:
    """Print rates and ratios of one model; return whether the limit holds."""
    case = sized(case, changes)
    store = case.store()
    works = [bare_loop(case, store, changes), through_fit(case, store, changes, threads=threads)]
    start, rounds = time.perf_counter(), []
    wanted = case.rounds
    while len(rounds) <= wanted:
        first = len(rounds) % 2
        taken = {side: works[side]() for side in (first, 1 - first)}
        rounds.append((taken[0], taken[1]))
        if len(rounds) == 1:  # it warms up, and says how many fit in
            wanted = min(case.rounds, max(LEAST, int(SECONDS / (time.perf_counter() - start))))
    bare, ours = (np.array(side) for side in zip(*rounds[1:]))
    ratios = np.median(bare / ours[:, :2], axis=0)
    where = f"{threads} threads" if case.device == "cpu" else torch.cuda.get_device_name()
    what = f"{case.model} at {case.size}, batch {case.batch}, {case.precision}, {where}, {'augmented' if changes else 'plain'}"
    print(f"{what}; start {np.median(ours[:, 2]):.2f} s, {wanted} rounds of {case.faces:,} faces")
    for n, clock in enumerate(CLOCKS):
        rates = [case.faces * case.epochs / np.median(side[:, n]) for side in (bare, ours)]
        print(f"    images per {clock} second: bare loop {rates[0]:.0f}, fit {rates[1]:.0f}; ratio {ratios[n]:.3f}")
    wall = case.device == "cuda" or np.median(bare[:, 1] / bare[:, 0]) >= QUIET * threads
    if case.device == "cuda":
        torch.use_deterministic_algorithms(True)  # as fit's are
        rate = case.faces * case.epochs / np.median([works[0]()[0] for _ in range(case.rounds)])
        torch.use_deterministic_algorithms(False)
        print(f"    images per wall second of a bare loop that gives the same bytes each time: {rate:.0f}")
    judged = ratios[0 if wall else 1]
    print(f"    judged in {CLOCKS[0 if wall else 1]} seconds: {judged:.3f} (limit {LIMIT}){'' if judged >= LIMIT else '  FAILED'}", flush=True)
    return bool(judged >= LIMIT)


def main() -> int:
    """Measure every model that can be; return 1 if the limit is missed."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    torch.set_num_threads(threads)
    precision, holds = precision_of(accelerator="cpu"), []
    for case in CASES:
        if case.model not in MODELS:
            print(f"skipped: there is no model {case.model}")
        elif case.device == "cuda" and not torch.cuda.is_available():
            print(f"skipped: {case.model} is measured on a GPU, and PyTorch finds none")
        else:
            own = case if case.device == "cuda" else replace(case, precision=precision)
            holds += [measure(own, changes, threads=threads) for changes in ({}, CS230)]
    return int(not all(holds))


if __name__ == "__main__":
    sys.exit(main())
