"""Batches of a dataset's faces for training, prepared and augmented as a batch, without worker processes.

Two CPU cores cannot feed a model with transforms per image, and a GPU less so. A dataset of FER2013's size is 83 MB and stays on the device; a larger
one is gathered from its memory map or its shards, one batch ahead. The order of an epoch depends on (seed, epoch) alone, so training resumes at any
epoch. Several processes draw the same epoch, and each makes its part of every batch: order and augmentation of a face do not depend on their number.
How a face becomes a model's input is given as two functions.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor

from ferlab.data.augmentation import Augmentation, augment, draw_views, epoch_seed
from ferlab.data.faces import is_derived
from ferlab.data.shards import WINDOW, ShardedImages
from ferlab.data.store import Store, weigh_classes
from ferlab.paths import InputError

RESIDENT = 2**30  # bytes; larger datasets are gathered batch by batch
CHUNK, CHUNK_BYTES = 2048, 2**26  # faces measured at a time, and their bytes as float64 inputs

Images = Tensor | np.ndarray | ShardedImages
Prepare = Callable[[Tensor], Tensor]  # uint8 (N, H, W[, 3]) -> float32 (N, C, S, S) in [0, 1]


def epoch_order(n: int, *, seed: int, epoch: int, block: int | None = None, window: int = 1, rows: np.ndarray | None = None) -> np.ndarray:
    """Return the order of an epoch's faces, int64 (n,): a permutation that depends on the arguments alone.

    With blocks of faces that lie together in the store, as in a shard, the blocks are permuted, and the faces of each are spread at random over
    `window` steps, the first of them when the block comes up; the faces of a step are permuted. So every block is read once, and `window` blocks are
    in use at a time. `rows` are the split's rows of the store, int64 (n,); None: 0 to n - 1.
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
    """The part of one process in a training batch.

    Attributes:
        faces: Their places in the epoch's order.
        weight: Of the mean loss of its faces, so that the mean over processes is the mean over the batch.
        counted: Of sums over its faces, so that the sum over processes counts each face of the batch once.
    """

    faces: slice
    weight: float = 1.0
    counted: float = 1.0


def share_of(first: int, last: int, *, rank: int, world: int) -> Share:
    """Return the part of process `rank` of `world` in the batch from `first` up to `last`; parts differ by one face at most.

    Where a part would have fewer than two faces, too few for batch normalisation, every process takes the whole batch.
    """
    count = last - first
    if count < 2 * world:
        return Share(slice(first, last), counted=1 / world)
    low, high = (count * edge // world for edge in (rank, rank + 1))
    return Share(slice(first + low, first + high), weight=(high - low) * world / count)


class FaceBatches:
    """The batches of one split, one pass per epoch.

    With a seed, an epoch is a permutation drawn from (seed, epoch), see `epoch_order`, and faces are augmented; without one, they come in store
    order.
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
        soft_targets: Tensor | None = None,
        block: int | None = None,
        window: int | None = None,
        repeats: int = 1,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Hold references; nothing is copied.

        Args:
            images: uint8 (M, H, W) or (M, H, W, 3), all of the store: a tensor on the device, a memory map, or shards.
            targets: int64 (M,), on the device of the batches.
            rows: int64 (N,), the rows of this split.
            batch_size: Faces of all processes together; the last batch is smaller.
            prepare: From stored faces to [0, 1] at the model's size and channels.
            normalise: From there to the model's input.
            seed: None for store order and no augmentation.
            changes: Augmentation; None for none.
            soft_targets: float32 (M, K + R), of K expressions and R values, on the device.
            block: Faces that lie together; None for those of a shard, or where there are none for one permutation.
            window: Blocks that are shuffled together; None for as many as fit into `WINDOW` bytes.
            repeats: Appearances of each face in a training batch, each augmented by draws of its own; without augmentation there is one.
            rank: Of this process, of `world` processes.
            world: Number of processes.
        """
        self.images, self.targets, self.rows = images, targets, torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64))
        self.batch_size, self.prepare, self.normalise = batch_size, prepare, normalise
        self.seed, self.changes, self.soft_targets = seed, changes, soft_targets
        self.block = block or getattr(images, "block", None)
        self.window = window or max(1, WINDOW * len(images) // ((self.block or 1) * images.nbytes))
        self.repeats = repeats if seed is not None and changes else 1
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass, from 0."""
        self.epoch = epoch

    def share(self, batch: int) -> Share:
        """Return this process's part of a training batch, numbered from 0."""
        first = batch * self.batch_size
        return share_of(first, min(first + self.batch_size, len(self.rows)), rank=self.rank, world=self.world)

    def __len__(self) -> int:
        """Return the batches of an epoch. A training batch of one face is dropped: batch normalisation cannot use it."""
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole + (rest > 1) if self.seed is not None else len(self._plain_parts())

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield images float32 (n, C, S, S), targets int64 (n,) and, where there are some, soft targets (n, K + R).

        With repeats, n is that many times the batch's faces: all of them, then all again.
        """
        order, draws = torch.arange(len(self.rows)), list[Tensor]()
        device = self.targets.device
        if self.seed is not None:
            where = {"block": self.block, "window": self.window, "rows": self.rows.numpy()}
            order = torch.from_numpy(epoch_order(len(self.rows), seed=self.seed, epoch=self.epoch, **where))
            draws = [self._draws(self.changes, repeat)[order].to(device) for repeat in range(self.repeats)] if self.changes else []
        rows = self.rows[order].to(device)
        parts = self._plain_parts() if self.seed is None else [self.share(batch).faces for batch in range(len(self))]
        for part, faces in zip(parts, self._gather([rows[part] for part in parts])):
            images = self.prepare(faces)
            if self.changes is not None and draws:
                views = [augment(images, drawn[part], self.changes) for drawn in draws]
                images = views[0] if len(views) == 1 else torch.cat(views)
            shown = rows[part].repeat(self.repeats)
            soft = () if self.soft_targets is None else (self.soft_targets[shown],)
            yield self.normalise(images), self.targets[shown], *soft

    def _draws(self, changes: Augmentation, repeat: int) -> Tensor:
        return draw_views(len(self.rows), changes, seed=self.seed or 0, epoch=self.epoch, repeat=repeat, repeats=self.repeats)

    def _plain_parts(self) -> list[slice]:
        """Return the places of this process's batches in store order: every `world`-th face, or all where some process would have none."""
        count, step = len(self.rows), self.world if len(self.rows) >= self.world else 1
        return [slice(first, min(first + self.batch_size, count), step) for first in range(self.rank % step, count, self.batch_size)]

    def _gather(self, batches: list[Tensor]) -> Iterator[Tensor]:
        """Yield the stored faces of each batch, read one batch ahead from disk."""
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
    """A store's faces for Lightning: shuffled, augmented batches of the training faces, plain ones of the monitored split.

    Attributes:
        mean: Subtracted from faces in [0, 1], which are then divided by `std`: per channel, by `scaling`; or float32 (C, S, S), on the device, the
            mean image.
        targets: int64 (N,), of the training faces.
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
        trained_on: Sequence[str] = ("train",),
        monitored: str = "val",
        classes: Sequence[int] = (),
        most: int = 0,
        soft_targets: np.ndarray | None = None,
        statistics: tuple[Sequence[float], Sequence[float]] | None = None,
        scaling: str = "standardised",
        repeats: int = 1,
        device: str = "cpu",
        resident: int = RESIDENT,
        **shared: int | None,
    ) -> None:
        """Read the store into memory, unless it is larger than `resident` bytes, and measure the training faces.

        Args:
            store: The faces.
            batch_size: As of `FaceBatches`, likewise `prepare`, `changes`, `seed` and `soft_targets`.
            prepare: Likewise.
            standardise: From [0, 1] to the model's input, called with `mean=` and `std=`.
            changes: Likewise.
            seed: Likewise.
            trained_on: Splits of the training faces.
            monitored: Split that selects the epoch.
            classes: Targets of the faces that are used in both; empty for all.
            most: Training faces per class, see `undersampled`; 0: all.
            soft_targets: float32 (M, K + R).
            statistics: Mean and standard deviation per channel of the pretrained weights' inputs, on the scale [0, 1]; None to measure them.
            repeats: As of `FaceBatches`, of the training faces.
            scaling: "standardised", "unit" ([0, 1] as it is) or "mean_image" (minus the training faces' mean image).
            device: Of the batches.
            resident: Bytes.
            shared: `rank`, `world`, `block` and `window` of `FaceBatches`; with those of its shards, a plain store gives the same batches.

        Raises:
            InputError: If a split has no faces, or all their pixels are alike.
        """
        super().__init__()
        rows = undersampled(store.faces, split_rows(store, *trained_on, classes=classes), most=most, seed=seed)
        targets = store.faces["target"].to_numpy(dtype=np.int64, copy=True)
        self.targets = targets[rows]
        held = store.images.nbytes <= resident
        stored = np.array(store.images) if held else store.images
        self.mean, self.std = input_statistics(stored, rows, prepare=prepare, scaling=scaling, wanted=statistics)
        if isinstance(self.mean, Tensor):
            self.mean = self.mean.to(device)
        shared["block"] = shared.get("block") or getattr(store.images, "block", None)

        def batches(of: np.ndarray, **own: Any) -> FaceBatches:
            return FaceBatches(images, on_device, of, batch_size=batch_size, prepare=prepare, normalise=normalise, soft_targets=soft, **shared, **own)

        def normalise(faces: Tensor) -> Tensor:
            return standardise(faces, mean=self.mean, std=self.std)

        images: Images = torch.from_numpy(stored).to(device) if held else stored
        on_device = torch.from_numpy(targets).to(device)
        soft = None if soft_targets is None else torch.from_numpy(soft_targets).to(device)
        self.train_batches = batches(rows, seed=seed, changes=changes, repeats=repeats)
        self.val_batches = batches(split_rows(store, monitored, classes=classes))

    def train_dataloader(self) -> FaceBatches:
        """Return the batches of the training faces; call `set_epoch` on them at the start of each epoch."""
        return self.train_batches

    def val_dataloader(self) -> FaceBatches:
        """Return the batches of the monitored split, in store order."""
        return self.val_batches


def input_statistics(
    images: np.ndarray | ShardedImages,
    rows: np.ndarray,
    *,
    prepare: Prepare,
    scaling: str,
    wanted: tuple[Sequence[float], Sequence[float]] | None = None,
) -> tuple[tuple[float, ...] | Tensor, tuple[float, ...]]:
    """Return `mean` and `std` of `FaceData`, measured on the prepared faces of `rows`.

    Raises:
        InputError: If all pixels of a channel are alike and it is to be standardised.
    """
    if scaling == "standardised":
        mean, std = wanted or _pixel_statistics(images, rows, prepare=prepare)
        return tuple(mean), tuple(std)
    ones = (1.0,) * prepare(torch.from_numpy(images[rows[:1]])).shape[1]
    if scaling != "mean_image":
        return (0.0,) * len(ones), ones
    total = sum(faces.sum(dim=0) for faces in _chunks(images, rows, prepare=prepare))
    return (total / len(rows)).to(torch.float32), ones  # type: ignore[union-attr]


def _pixel_statistics(images: np.ndarray | ShardedImages, rows: np.ndarray, *, prepare: Prepare) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, on the scale [0, 1]."""
    total = squares = torch.zeros(1, dtype=torch.float64)
    pixels = 0
    for faces in _chunks(images, rows, prepare=prepare):
        total = total + faces.sum(dim=(0, 2, 3))
        squares = squares + faces.square().sum(dim=(0, 2, 3))
        pixels += faces.shape[0] * faces.shape[2] * faces.shape[3]
    mean = total / pixels
    std = (squares / pixels - mean.square()).clamp(min=0).sqrt()
    if bool((std < 1e-4).any()):
        raise InputError("all pixels of the training faces are alike; expected faces; look at the dataset's images")
    return tuple(mean.tolist()), tuple(std.tolist())


def _chunks(images: np.ndarray | ShardedImages, rows: np.ndarray, *, prepare: Prepare) -> Iterator[Tensor]:
    """Yield the prepared faces of `rows`, float64 (n, C, S, S), as many at a time as `CHUNK` and `CHUNK_BYTES` allow."""
    chunk = min(CHUNK, max(1, CHUNK_BYTES // (8 * prepare(torch.from_numpy(images[rows[:1]])).numel())))
    for start in range(0, len(rows), chunk):
        yield prepare(torch.from_numpy(images[rows[start : start + chunk]])).to(torch.float64)


def _read(images: np.ndarray | ShardedImages, rows: np.ndarray) -> np.ndarray:
    """Return rows of a memory map or of shards; a disk is asked for all of them at once, not page by page."""
    held = getattr(images, "_mmap", None)
    if held is not None and hasattr(mmap, "MADV_WILLNEED") and images.flags.c_contiguous:  # type: ignore[union-attr]
        each, first = images[:1].nbytes, images.ctypes.data - np.frombuffer(held, dtype=np.uint8).ctypes.data  # type: ignore[union-attr]
        for start in (first + rows * each).tolist():
            page = start // mmap.PAGESIZE * mmap.PAGESIZE
            held.madvise(mmap.MADV_WILLNEED, page, start + each - page)
    return images[rows]


def split_rows(store: Store, *splits: str, classes: Sequence[int] = ()) -> np.ndarray:
    """Return the rows of the named splits in store order, int64; those of `classes` alone where any are named.

    Raises:
        InputError: If one of the splits has no such faces.
    """
    column, wanted = store.faces["split"], np.ones(len(store.faces), bool)
    if classes:
        wanted = store.faces["target"].isin(classes).to_numpy()
    for split in splits:
        if not ((column == split).to_numpy() & wanted).any():
            of = f" of {', '.join(store.expressions[c] for c in classes)}" if classes else ""
            raise InputError(f"the dataset has no face{of} in split {split!r}; expected faces in {', '.join(splits)}; see `prepare` in params.yaml")
    return np.flatnonzero(column.isin(splits).to_numpy() & wanted)


def undersampled(faces: pd.DataFrame, rows: np.ndarray, *, most: int, seed: int) -> np.ndarray:
    """Return at most `most` of the rows of each class, drawn at random, in store order; 0: all rows.

    Photographs come before copies and synthetic samples: a class that oversampling made even gives up made faces first.

    Args:
        faces: The store's table.
        rows: int64 (N,).
        most: Rows kept of each class.
        seed: Of the draw.

    References:
        Chawla, Bowyer, Hall & Kegelmeyer (2002), SMOTE, section 4.3: the majority is undersampled at random beside the minority's synthetic samples.
    """
    if not most:
        return rows
    order = np.random.default_rng(epoch_seed(seed, 0, "undersampling")).permutation(rows)
    order = order[np.argsort(is_derived(faces)[order], kind="stable")]
    targets = faces["target"].to_numpy()[order]
    return np.sort(order[pd.Series(targets).groupby(targets).cumcount().to_numpy() < most])


def class_weights(targets: np.ndarray, expressions: Sequence[str]) -> Tensor:
    """Return the class weight of each expression, float32 (K,), see `store.weigh_classes`: 0 for one without training faces."""
    return torch.from_numpy(weigh_classes(np.bincount(targets, minlength=len(expressions)))).to(torch.float32)
