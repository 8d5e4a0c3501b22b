"""Progress of training: for the runner's bar, also within an epoch, and of several processes as a log by epoch. Rank 0 reports."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ferlab.paths import report_progress

EVERY = 2.0  # seconds


class Progress(pl.Callback):
    """Reports finished batches, and checks every few seconds that the loss is finite: a check at each step would stall a GPU."""

    def __init__(self, *, before: int, total: int, phase: str, watched: str = "val") -> None:
        """Hold the batches `before` this phase, those of all phases, its name and its validation split, which Lightning logs as val."""
        self.before, self.total, self.phase, self.watched = before, total, phase, watched
        self.last = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report at most every two seconds."""
        now = time.monotonic()
        if now - self.last >= EVERY:
            self.last = now
            pl_module.check_finite(outputs["loss"].item())
            self._report(trainer, pl_module, batch_idx + 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Report the epoch, with the validation accuracy."""
        value = trainer.callback_metrics.get("val/accuracy")
        self._report(trainer, pl_module, trainer.num_training_batches, "" if value is None else f", {self.watched} {value.item():.1%}")

    def _report(self, trainer: pl.Trainer, pl_module: Any, batches: int, note: str = "") -> None:
        if not trainer.is_global_zero:
            return
        epoch = f"{self.phase} epoch {trainer.current_epoch + 1} of {trainer.max_epochs}"
        if not note and pl_module.history and "val_accuracy" in pl_module.history[-1]:
            note = f", {self.watched} {pl_module.history[-1]['val_accuracy']:.1%}"
        report_progress(done=self.before + trainer.current_epoch * trainer.num_training_batches + batches, total=self.total, note=epoch + note)


class EpochLog(pl.Callback):
    """Writes a line per finished epoch, without times; after a kill those of the finished epochs again."""

    def __init__(self, path: Path | None, *, phase: str, watched: str = "val") -> None:
        """Append to `path`; None for no log. `watched`: as for `Progress`."""
        self.path, self.phase, self.watched, self.written = path, phase, watched, 0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write the epochs before this one: their rows are complete now."""
        self.write(pl_module.history, epochs=trainer.max_epochs or 0)

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write the last epoch."""
        self.write(pl_module.history, epochs=trainer.max_epochs or 0)

    def write(self, history: list[dict[str, float]], *, epochs: int) -> None:
        """Append the rows not yet written."""
        if self.path is not None:
            with open(self.path, "a") as log:
                log.writelines(epoch_line(row, phase=self.phase, epochs=epochs, watched=self.watched) + "\n" for row in history[self.written :])
        self.written = len(history)


def epoch_line(row: dict[str, float], *, phase: str, epochs: int, watched: str = "val") -> str:
    """Return one line such as `select epoch 3 of 14: train loss 1.2345, accuracy 55.0 %; val loss 1.3210, accuracy 51.2 %`."""
    parts = {split: name for split, name in (("train", "train"), ("val", watched)) if f"{split}_loss" in row}
    losses = [f"{name} loss {row[f'{split}_loss']:.4f}, accuracy {row[f'{split}_accuracy']:.1%}".replace("%", " %") for split, name in parts.items()]
    return f"{phase} epoch {row['epoch']:.0f} of {epochs}: {'; '.join(losses)}"
