"""Tell the runner's progress bar how far training is, within the epoch too. Writes to the progress file only, never to an output."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from ferlab.paths import report_progress

EVERY = 2.0  # seconds


class Progress(pl.Callback):
    """Reports batches done, and looks every few seconds whether the loss is still a number: looking at each step would make a GPU wait."""

    def __init__(self, *, before: int, total: int, phase: str) -> None:
        """Say where this phase lies in the whole.

        Args:
            before: Batches of the phases before this one.
            total: Batches of all phases.
            phase: "select" or "refit".
        """
        self.before, self.total, self.phase = before, total, phase
        self.last = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report, at most every two seconds."""
        now = time.monotonic()
        if now - self.last >= EVERY:
            self.last = now
            pl_module.check_finite(outputs["loss"].item())
            self._report(trainer, pl_module, batch_idx + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report the whole epoch, with what val says."""
        value = trainer.callback_metrics.get("val/accuracy")
        self._report(trainer, pl_module, trainer.num_training_batches, "" if value is None else f", val {value.item():.1%}")

    def _report(self, trainer: pl.Trainer, pl_module: Any, batches: int, note: str = "") -> None:
        epoch = f"{self.phase} epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        if not note and pl_module.history and "val_accuracy" in pl_module.history[-1]:
            note = f", val {pl_module.history[-1]['val_accuracy']:.1%}"
        report_progress(done=self.before + trainer.current_epoch * trainer.num_training_batches + batches, total=self.total, note=epoch + note)
