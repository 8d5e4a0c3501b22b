"""Batches of a set's faces for training: gathered from one tensor in memory, prepared and augmented as a batch, with no worker processes.

Two CPU cores cannot feed a net with per-image transforms, and a GPU less so; a set of FER2013's size is 83 MB and stays on the
device. The order of an epoch depends on (seed, epoch) alone. How a face becomes a net's input is the net's affair: it comes in as
two functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from ferlab.data.augmentation import Augmentation, augment, draw_epoch, epoch_seed
from ferlab.data.store import Store
from ferlab.paths import InputError

RESIDENT = 8 * 2**30  # bytes; larger sets are gathered from the memory map batch by batch
CHUNK = 2048  # faces at a time, for the statistics

Prepare = Callable[[Tensor], Tensor]  # uint8 (N, H, W[, 3]) -> float32 (N, C, S, S) in [0, 1]


class FaceBatches:
    """The batches of one split, one pass per epoch.

    With a seed, an epoch is a permutation of the faces drawn from (seed, epoch) and the faces are augmented; without one, they
    come in store order as they are.
    """

    def __init__(
        self,
        images: Tensor | np.ndarray,
        targets: Tensor,
        rows: np.ndarray,
        *,
        batch_size: int,
        prepare: Prepare,
        normalise: Prepare,
        seed: int | None = None,
        changes: Augmentation | None = None,
    ) -> None:
        """Hold references; nothing is copied.

        Args:
            images: uint8 (M, H, W) or (M, H, W, 3), the whole set: a tensor on the device, or a memory map.
            targets: int64 (M,), on the device that batches are wanted on.
            rows: int64 (N,), the rows of this split.
            batch_size: Faces per batch; the last batch is smaller.
            prepare: From stored faces to [0, 1] at the net's size and channels.
            normalise: From there to what the net takes.
            seed: None for store order and no augmentation.
            changes: How far faces are changed; None for not at all.
        """
        self.images, self.targets, self.rows = images, targets, torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64))
        self.batch_size, self.prepare, self.normalise = batch_size, prepare, normalise
        self.seed, self.changes = seed, changes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the batches of an epoch. A training batch of one face is left out: batch normalisation cannot use it."""
        whole, rest = divmod(len(self.rows), self.batch_size)
        return whole + (rest > (self.seed is not None))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield images float32 (n, C, S, S) and targets int64 (n,)."""
        order, draws = torch.arange(len(self.rows)), None
        device = self.targets.device
        if self.seed is not None:
            order = torch.from_numpy(np.random.default_rng(epoch_seed(self.seed, self.epoch, "order")).permutation(len(self.rows)))
            draws = draw_epoch(len(self.rows), seed=self.seed, epoch=self.epoch)[order].to(device) if self.changes else None
        rows = self.rows[order].to(device)
        for batch in range(len(self)):
            part = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            images = self.prepare(self._gather(rows[part]))
            if draws is not None and self.changes is not None:
                images = augment(images, draws[part], self.changes)
            yield self.normalise(images), self.targets[rows[part]]

    def _gather(self, rows: Tensor) -> Tensor:
        if isinstance(self.images, Tensor):
            return self.images[rows]
        return torch.from_numpy(self.images[rows.cpu().numpy()]).to(rows.device)


class FaceData(pl.LightningDataModule):
    """A store's faces as Lightning wants them: shuffled, augmented batches of the fitted splits, plain ones of val.

    Attributes:
        mean: Per channel, of the fitted faces as the net sees them, on the scale [0, 1].
        std: Likewise.
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
        device: str = "cpu",
    ) -> None:
        """Read the set into memory and measure the fitted splits.

        Args:
            store: The set.
            batch_size: Faces per batch.
            prepare: From stored faces to [0, 1] at the net's size and channels.
            standardise: From there to what the net takes, called with `mean=` and `std=`.
            changes: How far training faces are changed.
            seed: The run's seed.
            fitted: The splits that are trained on.
            device: Where batches are made.

        Raises:
            InputError: If a split that is needed has no faces, or all their pixels are alike.
        """
        super().__init__()
        rows = split_rows(store, *fitted)
        held = split_rows(store, "val")
        targets = store.faces["target"].to_numpy(dtype=np.int64, copy=True)
        self.targets = targets[rows]
        self.mean, self.std = pixel_statistics(store.images, rows, prepare=prepare)
        images: Tensor | np.ndarray = store.images
        if store.images.nbytes <= RESIDENT:
            images = torch.from_numpy(np.array(store.images)).to(device)

        def normalise(faces: Tensor) -> Tensor:
            return standardise(faces, mean=self.mean, std=self.std)

        shared = {"batch_size": batch_size, "prepare": prepare, "normalise": normalise}
        resident = torch.from_numpy(targets).to(device)
        self.train_batches = FaceBatches(images, resident, rows, seed=seed, changes=changes, **shared)
        self.val_batches = FaceBatches(images, resident, held, **shared)

    def train_dataloader(self) -> FaceBatches:
        """Return the fitted splits' batches; call `set_epoch` on them at the start of each epoch."""
        return self.train_batches

    def val_dataloader(self) -> FaceBatches:
        """Return val's batches, in store order."""
        return self.val_batches


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
    """Return N / (K n_c) for each expression, float32 (K,): their mean over the faces is 1.

    Raises:
        InputError: If an expression has no faces.
    """
    counts = np.bincount(targets, minlength=len(expressions))
    for expression, count in zip(expressions, counts):
        if count == 0:
            raise InputError(f"no face to train on shows {expression!r}; expected at least one of each of {', '.join(expressions)}")
    return torch.from_numpy(len(targets) / (len(expressions) * counts)).to(torch.float32)


def pixel_statistics(images: np.ndarray, rows: np.ndarray, *, prepare: Prepare) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel over the prepared faces of `rows`, on the scale [0, 1].

    Raises:
        InputError: If all pixels of a channel are alike.
    """
    total = squares = torch.zeros(1, dtype=torch.float64)
    pixels = 0
    for start in range(0, len(rows), CHUNK):
        faces = prepare(torch.from_numpy(images[rows[start : start + CHUNK]])).to(torch.float64)  # (n, C, S, S)
        total = total + faces.sum(dim=(0, 2, 3))
        squares = squares + faces.square().sum(dim=(0, 2, 3))
        pixels += faces.shape[0] * faces.shape[2] * faces.shape[3]
    mean = total / pixels
    std = (squares / pixels - mean.square()).clamp(min=0).sqrt()
    if bool((std < 1e-4).any()):
        raise InputError("all pixels of the faces to train on are alike; expected faces; look at the set's images")
    return tuple(mean.tolist()), tuple(std.tolist())
