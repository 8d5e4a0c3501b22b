"""Batches of a set's faces for training, prepared and augmented as a batch, with no worker processes.

Two CPU cores cannot feed a model with per-image transforms, and a GPU less so; a set of FER2013's size is 83 MB and stays on the
device. A larger one is gathered from its memory map or its shards, one batch ahead. The order of an epoch depends on (seed, epoch)
alone, so an epoch can be gone on from without those before it. How a face becomes a model's input is the model's affair: it comes in
as two functions.

Several processes draw the same epoch, and each makes its share of every batch: order and augmentation of a face do not depend on
how many they are.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from ferlab.data.augmentation import Augmentation, augment, draw_epoch, epoch_seed
from ferlab.data.input_statistics import Prepare, input_statistics
from ferlab.data.shards import WINDOW, ShardedImages
from ferlab.data.store import Store, weigh_classes
from ferlab.paths import InputError

RESIDENT = 2**30  # bytes; larger sets are gathered batch by batch

Images = Tensor | np.ndarray | ShardedImages


def epoch_order(n: int, *, seed: int, epoch: int, block: int | None = None, window: int = 1, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the order of an epoch's faces, int64 (n,): a permutation that depends on the arguments alone.

    Without blocks it is one permutation of all. With them the blocks are permuted and the faces of each are dealt at random over
    `window` steps, the first of them when the block comes up; a step's faces, of `window` blocks, are permuted. So every block is
    read once, `window` blocks are in use at a time, and one comes and one goes with each step. The first and the last step take in
    those that would have fewer blocks.

    Args:
        n: Faces of the split.
        seed: The run's.
        epoch: From 0.
        block: Faces that lie together in the store, as in a shard; None for no blocks.
        window: Blocks that are shuffled together.
        rows: The split's rows of the store, int64 (n,); None for 0 to n - 1.
    """
    generator = np.random.default_rng(epoch_seed(seed, epoch, "order"))
    if block is None:
        return generator.permutation(n)
    blocks, which = np.unique((np.arange(n) if rows is None else rows) // block, return_inverse=True)
    step = generator.permutation(len(blocks))[which] + generator.integers(0, window, n)
    step = np.clip(step, min(window, len(blocks)) - 1, len(blocks) - 1)
    return np.lexsort((generator.random(n), step))


@dataclass(frozen=True)
class Share:
    """What one process has of a training batch.

    Attributes:
        faces: Their places in the epoch's order.
        weight: On the mean loss of its faces, so that the mean over processes is the mean over the batch.
        counted: On sums over its faces, so that the sum over processes counts each face of the batch once.
    """

    faces: slice
    weight: float = 1.0
    counted: float = 1.0


def share_of(first: int, last: int, *, rank: int, world: int) -> Share:
    """Return what process `rank` of `world` has of the batch from `first` up to `last`.

    All have as many faces, give or take one. Where some would have fewer than two, which batch normalisation cannot use, every
    process has the whole batch instead: the step is the same, only no faster.
    """
    count = last - first
    if count < 2 * world:
        return Share(slice(first, last), counted=1 / world)
    low, high = (count * edge // world for edge in (rank, rank + 1))
    return Share(slice(first + low, first + high), weight=(high - low) * world / count)


class FaceBatches:
    """The batches of one split, one pass per epoch.

    With a seed, an epoch is a permutation of the faces drawn from (seed, epoch) and the faces are augmented; without one, they
    come in store order as they are. See `epoch_order`.
    """

    def __init__(
        self,
        images: Images,
        targets: Tensor,
        rows: np.ndarray,
        *,
        batch_size: int,
        prepare: Prepare,
        normalise: Prepare,
        seed: int | None = None,
        changes: Augmentation | None = None,
        shares: Tensor | None = None,
        block: int | None = None,
        window: int | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Hold references; nothing is copied.

        Args:
            images: uint8 (M, H, W) or (M, H, W, 3), the whole set: a tensor on the device, a memory map, or shards.
            targets: int64 (M,), on the device that batches are wanted on.
            rows: int64 (N,), the rows of this split.
            batch_size: Faces per batch, of all processes together; the last batch is smaller.
            prepare: From stored faces to [0, 1] at the model's size and channels.
            normalise: From there to what the model takes.
            seed: None for store order and no augmentation.
            changes: How far faces are changed; None for not at all.
            shares: float32 (M, K + R), shares of the expressions and then values, likewise on the device; None where a face has its
                target alone.
            block: Faces that lie together, for the order; None for those of a shard, or where there are none for one permutation.
            window: Blocks that are shuffled together; None for as many as fit into `WINDOW` bytes.
            rank: Which of the processes this is, from 0.
            world: How many they are.
        """
        self.images, self.targets, self.rows = images, targets, torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64))
        self.batch_size, self.prepare, self.normalise = batch_size, prepare, normalise
        self.seed, self.changes, self.shares = seed, changes, shares
        self.block = block or getattr(images, "block", None)
        self.window = window or max(1, WINDOW * len(images) // ((self.block or 1) * images.nbytes))
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass, from 0."""
        self.epoch = epoch

    def share(self, batch: int) -> Share:
        """Return what this process has of a training batch, numbered from 0."""
        first = batch * self.batch_size
        return share_of(first, min(first + self.batch_size, len(self.rows)), rank=self.rank, world=self.world)

    def __len__(self) -> int:
        """Return the batches of an epoch. A training batch of one face is left out: batch normalisation cannot use it."""
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole + (rest > 1) if self.seed is not None else len(self._plain_parts())

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield images float32 (n, C, S, S), targets int64 (n,) and, where there are shares, those (n, K + R)."""
        order, draws = torch.arange(len(self.rows)), None
        device = self.targets.device
        if self.seed is not None:
            where = {"block": self.block, "window": self.window, "rows": self.rows.numpy()}
            order = torch.from_numpy(epoch_order(len(self.rows), seed=self.seed, epoch=self.epoch, **where))
            draws = draw_epoch(len(self.rows), seed=self.seed, epoch=self.epoch)[order].to(device) if self.changes else None
        rows = self.rows[order].to(device)
        parts = self._plain_parts() if self.seed is None else [self.share(batch).faces for batch in range(len(self))]
        for part, faces in zip(parts, self._gather([rows[part] for part in parts])):
            images = self.prepare(faces)
            if draws is not None and self.changes is not None:
                images = augment(images, draws[part], self.changes)
            shares = () if self.shares is None else (self.shares[rows[part]],)
            yield self.normalise(images), self.targets[rows[part]], *shares

    def _plain_parts(self) -> list[slice]:
        """Return the places of this process's batches in store order: every so many-th face, or all where some process would have none."""
        count, step = len(self.rows), self.world if len(self.rows) >= self.world else 1
        return [slice(first, min(first + self.batch_size, count), step) for first in range(self.rank % step, count, self.batch_size)]

    def _gather(self, batches: list[Tensor]) -> Iterator[Tensor]:
        """Yield the stored faces of each batch; from disk they are read one batch ahead, while the model works on the one before."""
        if isinstance(self.images, Tensor):
            yield from (self.images[rows] for rows in batches)
            return
        with ThreadPoolExecutor(1) as reader:
            ahead = None
            for rows in (*batches, None):
                ready, ahead = ahead, None if rows is None else reader.submit(_read, self.images, rows.cpu().numpy())
                if ready is not None:
                    yield torch.from_numpy(ready.result()).to(self.targets.device)


class FaceData(pl.LightningDataModule):
    """A store's faces as Lightning wants them: shuffled, augmented batches of the fitted splits, plain ones of the split that is watched.

    Attributes:
        mean: What is taken from faces in [0, 1], and `std` what they are divided by: per channel, by `scaling`; or float32 (C, S, S), on the
            device, the mean image.
        targets: int64 (N,), of the fitted faces.
    """

    def __init__(
        self,
        store: Store,
        *,
        batch_size: int,
        prepare: Prepare,
        standardise: Callable[..., Tensor],
        changes: Augmentation,
        seed: int,
        fitted: Sequence[str] = ("train",),
        held: str = "val",
        shares: np.ndarray | None = None,
        statistics: tuple[Sequence[float], Sequence[float]] | None = None,
        scaling: str = "standardised",
        device: str = "cpu",
        block: int | None = None,
        window: int | None = None,
        resident: int = RESIDENT,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Read the set into memory, unless it is too large, and measure the fitted splits.

        Args:
            store: The set.
            batch_size: Faces per batch, of all processes together.
            prepare: From stored faces to [0, 1] at the model's size and channels.
            standardise: From there to what the model takes, called with `mean=` and `std=`.
            changes: How far training faces are changed.
            seed: The run's seed.
            fitted: The splits that are trained on.
            held: The split that is watched.
            shares: float32 (M, K + R), targets as shares of the expressions, and then values; None for the table's targets.
            statistics: Mean and standard deviation per channel that the model's weights want, on the scale [0, 1]; None to measure them.
            scaling: "standardised", by `statistics` or what is measured; "unit", [0, 1] as it is; "mean_image", less the fitted faces' mean image.
            device: Where batches are made.
            block: See `FaceBatches`; a plain set with the block and window of its shards gives the same batches as they do.
            window: Likewise.
            resident: Bytes of a set that is held in memory.
            rank: Which of the processes this is, from 0.
            world: How many they are; each reads the whole set.

        Raises:
            InputError: If a split that is needed has no faces, or all their pixels are alike.
        """
        super().__init__()
        rows = split_rows(store, *fitted)
        watched = split_rows(store, held)
        targets = store.faces["target"].to_numpy(dtype=np.int64, copy=True)
        self.targets = targets[rows]
        stored = np.array(store.images) if store.images.nbytes <= resident else store.images
        self.mean, self.std = input_statistics(stored, rows, prepare=prepare, scaling=scaling, wanted=statistics)
        if isinstance(self.mean, Tensor):
            self.mean = self.mean.to(device)
        images: Images = torch.from_numpy(stored).to(device) if store.images.nbytes <= resident else stored

        def normalise(faces: Tensor) -> Tensor:
            return standardise(faces, mean=self.mean, std=self.std)

        shared = {"batch_size": batch_size, "prepare": prepare, "normalise": normalise, "rank": rank, "world": world}
        on_device = torch.from_numpy(targets).to(device)
        soft = None if shares is None else torch.from_numpy(shares).to(device)
        order = {"block": block or getattr(store.images, "block", None), "window": window}
        self.train_batches = FaceBatches(images, on_device, rows, seed=seed, changes=changes, shares=soft, **order, **shared)
        self.val_batches = FaceBatches(images, on_device, watched, shares=soft, **shared)

    def train_dataloader(self) -> FaceBatches:
        """Return the fitted splits' batches; call `set_epoch` on them at the start of each epoch."""
        return self.train_batches

    def val_dataloader(self) -> FaceBatches:
        """Return the watched split's batches, in store order."""
        return self.val_batches


def _read(images: np.ndarray | ShardedImages, rows: np.ndarray) -> np.ndarray:
    """Return rows of a memory map or of shards; a disk is asked for all of them at once, not for page after page."""
    held = getattr(images, "_mmap", None)
    if held is not None and hasattr(mmap, "MADV_WILLNEED") and images.flags.c_contiguous:  # type: ignore[union-attr]
        each, first = images[:1].nbytes, images.ctypes.data - np.frombuffer(held, dtype=np.uint8).ctypes.data  # type: ignore[union-attr]
        for start in (first + rows * each).tolist():
            page = start // mmap.PAGESIZE * mmap.PAGESIZE
            held.madvise(mmap.MADV_WILLNEED, page, start + each - page)
    return images[rows]


def split_rows(store: Store, *splits: str) -> np.ndarray:
    """Return the rows of the named splits in store order, int64.

    Raises:
        InputError: If one of them has no faces.
    """
    column = store.faces["split"]
    for split in splits:
        if not (column == split).any():
            raise InputError(f"the set has no face in split {split!r}; expected faces in {', '.join(splits)}; see `prepare` in params.yaml")
    return np.flatnonzero(column.isin(splits).to_numpy())


def class_weights(targets: np.ndarray, expressions: Sequence[str]) -> Tensor:
    """Return the class weight of each expression, float32 (K,), as `store.weigh_classes` has it: 0 for one without faces to train on."""
    return torch.from_numpy(weigh_classes(np.bincount(targets, minlength=len(expressions)))).to(torch.float32)
