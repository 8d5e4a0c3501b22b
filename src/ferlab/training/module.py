"""The LightningModule: one net, one loss, one optimizer; logs by the epoch.

Everything an epoch draws comes from (seed, epoch), set at its start, and everything it decides from the history, which travels in
the checkpoint: so a run killed in mid-epoch goes on from the last epoch's end as if nothing had happened.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from ferlab.data.augmentation import epoch_seed
from ferlab.paths import InputError
from ferlab.training.losses import cross_entropy
from ferlab.training.schedules import plateau_factor, step_rate


@dataclass(frozen=True)
class Recipe:
    """How a net is fitted, in plain values; `ferlab.params.Train` says what each means.

    Attributes:
        epochs: Of the whole plan, which fixes the shape of the schedule.
        factors: On the learning rate, by epoch, where they are known beforehand; None: the plateau's, from the
            history.
    """

    run: str
    seed: int
    epochs: int
    optimizer: str
    lr: float
    momentum: float
    nesterov: bool
    weight_decay: float
    schedule: str
    warmup: float
    label_smoothing: float
    channels_last: bool
    monitor: str
    patience: int
    factors: tuple[float, ...] | None = None


class Classifier(pl.LightningModule):
    """A net in training.

    Attributes:
        net: The net itself.
        history: One dict per finished epoch, floats unrounded: epoch (from 1), train_loss, train_accuracy, val_*, lr (of its last
            step), factor.
    """

    def __init__(self, net: nn.Module, recipe: Recipe, *, num_classes: int, class_weights: Tensor | None = None) -> None:
        """Hold the net.

        Args:
            net: From float32 (N, C, H, W) to logits (N, K).
            recipe: How it is fitted.
            num_classes: K.
            class_weights: float32 (K,), for the training loss only; None for ones.
        """
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last) if recipe.channels_last else net
        self.recipe = recipe
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.history: list[dict[str, float]] = []
        self.accuracy = MulticlassAccuracy(num_classes, average="micro")
        self.balanced_accuracy = MulticlassAccuracy(num_classes, average="macro")
        self.train_sums = self.val_sums = torch.zeros(3)  # loss, correct, faces

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, K)."""
        if self.recipe.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.net(images)

    def on_train_epoch_start(self) -> None:
        """Set every generator of this epoch from (seed, epoch)."""
        self.trainer.train_dataloader.set_epoch(self.current_epoch)
        torch.manual_seed(epoch_seed(self.recipe.seed, self.current_epoch, "dropout"))
        self.train_sums = torch.zeros(3, device=self.device, dtype=torch.float64)

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Set the learning rate of this step."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self._rate(batch_idx)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        images, target = batch
        logits = self(images)
        loss = cross_entropy(logits, target, class_weights=self.class_weights, label_smoothing=self.recipe.label_smoothing)
        self.train_sums += _sums(loss.detach(), logits, target)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Begin the sums afresh."""
        self.val_sums = torch.zeros(3, device=self.device, dtype=torch.float64)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Add a batch to val's sums. The loss is the plain cross entropy, so that runs with and without smoothing compare."""
        images, target = batch
        logits = self(images)
        self.val_sums += _sums(cross_entropy(logits, target), logits, target)
        self.accuracy.update(logits, target)
        self.balanced_accuracy.update(logits, target)

    def on_validation_epoch_end(self) -> None:
        """Log val's numbers."""
        loss, accuracy, balanced = self.val_sums[0] / self.val_sums[2], self.accuracy.compute(), self.balanced_accuracy.compute()
        self.log_dict({"val/loss": loss.float(), "val/accuracy": accuracy, "val/balanced_accuracy": balanced})
        self.accuracy.reset()
        self.balanced_accuracy.reset()

    def on_train_epoch_end(self) -> None:
        """Write the epoch into the history and decide whether to go on. The checkpoint of the epoch is written after this.

        Raises:
            InputError: If a loss is not finite.
        """
        loss, correct, faces = self.train_sums.tolist()
        logged = {key.replace("/", "_"): value.item() for key, value in self.trainer.callback_metrics.items() if key.startswith("val/")}
        row = {"epoch": self.current_epoch + 1, "train_loss": loss / faces, "train_accuracy": correct / faces, **logged}
        row |= {"lr": self._rate(self.trainer.num_training_batches - 1), "factor": self._factor()}
        self.check_finite(row["train_loss"], row.get("val_loss", 0.0))
        self.history.append(row)
        self.log_dict({"train/loss": row["train_loss"], "train/accuracy": row["train_accuracy"], "lr": row["lr"]})
        if is_finished(self.history, self.recipe):
            self.trainer.should_stop = True

    def check_finite(self, *losses: float) -> None:
        """Stop a run whose loss is no number any more; the checkpoint of the last good epoch stays.

        Raises:
            InputError: Naming the run and the epoch.
        """
        if not all(math.isfinite(loss) for loss in losses):
            raise InputError(
                f"run {self.recipe.run!r}: the loss is not finite in epoch {self.current_epoch + 1} of {self.recipe.epochs}; "
                f"lower train.lr ({self.recipe.lr:g}) or set train.gradient_clip; the last good epoch is kept"
            )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; its learning rate is set at each step."""
        recipe, weights = self.recipe, self.net.parameters()
        if recipe.optimizer == "sgd":
            nesterov = recipe.nesterov and recipe.momentum > 0
            return torch.optim.SGD(weights, lr=recipe.lr, momentum=recipe.momentum, nesterov=nesterov, weight_decay=recipe.weight_decay)
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
        return kind(weights, lr=recipe.lr, weight_decay=recipe.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the history into the checkpoint."""
        checkpoint["history"] = [dict(row) for row in self.history]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history out of the checkpoint."""
        self.history = [dict(row) for row in checkpoint["history"]]

    def _rate(self, batch_idx: int) -> float:
        recipe, batches = self.recipe, self.trainer.num_training_batches
        step = self.current_epoch * batches + batch_idx
        return self._factor() * step_rate(step, schedule=recipe.schedule, lr=recipe.lr, total=recipe.epochs * batches, warmup=recipe.warmup)

    def _factor(self) -> float:
        recipe = self.recipe
        if recipe.schedule != "plateau":
            return 1.0
        if recipe.factors is not None:
            return recipe.factors[self.current_epoch]
        before = [row[recipe.monitor.replace("/", "_")] for row in self.history[: self.current_epoch]]
        return plateau_factor(before, higher_is_better=higher_is_better(recipe.monitor), lr=recipe.lr)


def higher_is_better(monitor: str) -> bool:
    """Return whether a higher value of "val/accuracy" or "val/loss" is better."""
    return monitor != "val/loss"


def best_epoch(history: list[dict[str, float]], monitor: str) -> int:
    """Return the epoch (from 1) with the best monitored value, the first of equals."""
    sign = 1 if higher_is_better(monitor) else -1
    return int(max(history, key=lambda row: (sign * row[monitor.replace("/", "_")], -row["epoch"]))["epoch"])


def is_finished(history: list[dict[str, float]], recipe: Recipe) -> bool:
    """Return whether patience has run out: so many epochs in a row without a better monitored value."""
    return bool(recipe.patience and history) and len(history) - best_epoch(history, recipe.monitor) >= recipe.patience


def _sums(loss: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """Return float64 (3,): summed loss, correct faces, faces."""
    correct = (logits.argmax(dim=1) == target).sum()
    return torch.stack([loss.double() * len(target), correct.double(), torch.full_like(correct, len(target)).double()])
