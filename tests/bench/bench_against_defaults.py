"""Bench: training through `fit` against what people write today with Lightning, side by side in one run.

    python tests/bench/bench_against_defaults.py [threads]

The other side is a plain LightningModule under Lightning's defaults (float32, contiguous layout, a csv log, checkpoints, progress
bar off), fed by a Dataset that turns each face into a PIL picture, changes it (a flip, one affine resampling), makes it a tensor
and normalises it, in a DataLoader with two workers. Both sides train cs230's five-layer model on the same faces in memory, with the
same batch, SGD and amounts of augmentation, score the same val faces after each epoch, and have as many threads (two). What `fit`
does otherwise is what it is for: bf16, channels_last, faces changed as a batch, no workers.

The PIL calls are those that torchvision's transforms of pictures come down to, without its checks; they resample by the nearest
pixel, its default, which is cheaper than the bilinear resampling of `fit`; no files are read. All three choices favour the other
side.

At least 2.5 times its images per second are wanted where the CPU computes in bf16 (AMX, AVX512-BF16). Where float32 is faster `fit`
trains in that, and is to be no slower than the other side. Wall seconds are judged where `fit` had its threads to itself, and where
other work took from them CPU seconds, those of the workers included. The ratio is the median over rounds, each with both sides one
after the other, in turn. What the numbers depend on: the cores (with some to spare workers cost no wall time), the model (a small one
leaves more to the pictures), the faces of an epoch (fewer weigh the start of the workers, once an epoch, and the checkpoints more).
The start of both sides, before the first epoch, is left out.
"""

from __future__ import annotations

import logging
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from ferlab.data.batches import FaceBatches
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS
from ferlab.models import create_model
from ferlab.params import Train
from ferlab.training.distributed import precision as precision_of
from ferlab.training.fit import fit

LIMITS = {"bf16-mixed": 2.5, "32-true": 1.0}
QUIET = 0.8  # of its threads' seconds that a process gets on a machine with little else to do
TRAIN, VAL, BATCH, EPOCHS, ROUNDS, WORKERS = 4096, 512, 128, 2, 3, 2
ROTATION, ZOOM, SHIFT = 10.0, 0.1, 0.1
SGD = {"lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
MEAN, STD = 0.5, 0.29


class PictureFaces(Dataset):
    """Faces one at a time, as torchvision's ToPILImage, RandomHorizontalFlip, RandomAffine, ToTensor and Normalize make them."""

    def __init__(self, images: np.ndarray, targets: np.ndarray, *, changed: bool) -> None:
        self.images, self.targets, self.changed = images, targets, changed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        picture = Image.fromarray(self.images[row])
        if self.changed:
            picture = change(picture)
        pixels = torch.from_numpy(np.array(picture, copy=True)).unsqueeze(0).float().div(255)
        return pixels.sub_(MEAN).div_(STD), int(self.targets[row])


def change(picture: Image.Image) -> Image.Image:
    """Mirror half of the faces, then turn, zoom and shift by one resampling."""
    if torch.rand(1) < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    draws = torch.empty(4).uniform_(-1, 1).tolist()
    angle, scale = math.radians(draws[0] * ROTATION), 1 + draws[1] * ZOOM
    across, down = (draw * SHIFT * side for draw, side in zip(draws[2:], picture.size))
    cos, sin, x, y = math.cos(angle) / scale, math.sin(angle) / scale, picture.width / 2, picture.height / 2
    matrix = (cos, sin, x - cos * (x + across) - sin * (y + down), -sin, cos, y + sin * (x + across) - cos * (y + down))
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


class PlainModule(pl.LightningModule):
    """What the first page of Lightning's manual shows."""

    def __init__(self) -> None:
        super().__init__()
        self.net = create_model("five_layer")
        self.start = np.zeros(2)

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 0:
            self.start = clocks()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        images, targets = batch
        loss = F.cross_entropy(self.net(images), targets)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        images, targets = batch
        logits = self.net(images)
        self.log("val_loss", F.cross_entropy(logits, targets))
        self.log("val_accuracy", (logits.argmax(1) == targets).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), nesterov=True, **SGD)


def clocks() -> np.ndarray:
    """Return wall seconds, and CPU seconds with those of the workers that have ended."""
    times = os.times()
    return np.array([time.perf_counter(), times.user + times.system + times.children_user + times.children_system])


def by_defaults(store: Store, folder: Path) -> np.ndarray:
    """Train as people do; return wall and CPU seconds from the first epoch on."""
    targets = store.faces["target"].to_numpy()
    train, val = (PictureFaces(store.images[part], targets[part], changed=part.start == 0) for part in (slice(0, TRAIN), slice(TRAIN, TRAIN + VAL)))
    module = PlainModule()
    trainer = pl.Trainer(max_epochs=EPOCHS, accelerator="cpu", default_root_dir=folder, enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(module, DataLoader(train, BATCH, shuffle=True, num_workers=WORKERS), DataLoader(val, BATCH, num_workers=WORKERS))
    return clocks() - module.start


def by_fit(store: Store, folder: Path, precision: str) -> np.ndarray:
    """Train as the workspace does; return wall and CPU seconds from the first epoch on."""
    recipe = {"optimizer": "sgd", "schedule": "constant", "precision": precision, "rotation": ROTATION, "zoom": ZOOM, "shift": SHIFT, **SGD}
    settings = Train(epochs=EPOCHS, batch_size=BATCH, threads=torch.get_num_threads(), **recipe)
    marks, own = [], FaceBatches.set_epoch

    def set_epoch(batches: FaceBatches, epoch: int) -> None:
        marks.append(clocks())
        own(batches, epoch)

    with mock.patch.object(FaceBatches, "set_epoch", set_epoch), mock.patch.object(torch.cuda, "is_available", bool):  # False: on the CPU
        fit(store, run="bench", model="five_layer", options={}, seed=0, settings=settings, partial=folder)
    return clocks() - marks[0]


def random_store() -> Store:
    generator = np.random.default_rng(0)
    faces = pd.DataFrame({"target": np.arange(TRAIN + VAL) % len(EXPRESSIONS), "split": ["train"] * TRAIN + ["val"] * VAL})
    return Store(images=generator.integers(0, 256, (TRAIN + VAL, 48, 48)).astype(np.uint8), faces=faces, expressions=EXPRESSIONS)


def main() -> int:
    """Run both sides in turn; return 1 if the limit is missed."""
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    torch.set_num_threads(threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")  # Lightning's, that a logger is not installed and that two workers may be few
    store, precision, taken = random_store(), precision_of(accelerator="cpu"), []
    for turn in range(ROUNDS):
        sides = {}
        for side in ("defaults", "fit") if turn % 2 == 0 else ("fit", "defaults"):
            with tempfile.TemporaryDirectory() as folder:
                sides[side] = by_defaults(store, Path(folder)) if side == "defaults" else by_fit(store, Path(folder), precision)
        taken.append((sides["defaults"], sides["fit"]))
    theirs, ours = (np.array(side) for side in zip(*taken))
    ratios = np.median(theirs / ours, axis=0)
    for n, clock in enumerate(("wall", "CPU")):
        rates = [TRAIN * EPOCHS / np.median(side[:, n]) for side in (theirs, ours)]
        print(f"five_layer, {precision}, batch {BATCH}, images per {clock} second: Lightning's defaults {rates[0]:.0f}, fit {rates[1]:.0f}")
    quiet = statistics.median(ours[:, 1] / ours[:, 0]) >= QUIET * threads
    limit = LIMITS[precision]
    judged, clock = (ratios[0], "wall") if quiet else (ratios[1], "CPU")
    print(f"fit over Lightning's defaults in {clock} seconds: {judged:.2f} (limit {limit}){'' if judged >= limit else '  FAILED'}")
    return int(judged < limit)


if __name__ == "__main__":
    sys.exit(main())
