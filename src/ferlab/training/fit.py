"""Fit one net to one set: choose the epoch on val, and where asked train afresh on train and val for that many epochs.

`fit` may be killed at any moment and called again with the same arguments: it goes on from the last finished epoch, and what it returns is the same to the bit.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial as bind
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import nn

from ferlab.data.augmentation import Augmentation
from ferlab.data.batches import FaceData, class_weights
from ferlab.data.store import Store
from ferlab.models.create import create_model, model_card
from ferlab.models.inputs import prepare_images, standardise
from ferlab.models.weights import save_model
from ferlab.params import Train
from ferlab.paths import InputError, report_progress
from ferlab.training.module import Classifier, Recipe, best_epoch, is_finished
from ferlab.training.progress import Progress

COLUMNS = ["epoch", "phase", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"]
LAST, BEST, PLAN = "last.ckpt", "best.ckpt", "plan.json"


@dataclass(frozen=True)
class FitResult:
    """A fitted net and how it came about.

    Attributes:
        module: The net with the chosen weights, in eval mode on the CPU.
        name: Its key in MODELS.
        options: The options it was built with.
        expressions: Its classes, in the order of the logits.
        mean: Per channel, of the faces it was fitted on, on the scale [0, 1].
        std: Likewise.
        fitted_on: The splits it was fitted on.
        fitted_faces: How many faces that are.
        history: One row per epoch and phase ("select", then "refit"), columns as in COLUMNS; no val in "refit".
        best_epoch: The chosen epoch, from 1.
        epochs_run: Epochs of the phase "select".
        val: accuracy, balanced_accuracy and loss of the chosen epoch, by the net that had not seen val.
        train: accuracy and loss of the phase that gave the weights, at the chosen epoch: over augmented faces, with dropout.
    """

    module: nn.Module
    name: str
    options: dict[str, Any]
    expressions: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fitted_on: tuple[str, ...]
    fitted_faces: int
    history: pd.DataFrame
    best_epoch: int
    epochs_run: int
    val: dict[str, float]
    train: dict[str, float]

    def save(self, path: Path) -> None:
        """Write the weights file; see `ferlab.models.save_model`."""
        card = model_card(self.name)
        save_model(
            path, self.module, name=self.name, options=self.options, expressions=self.expressions, mean=self.mean, std=self.std,
            size=card["input_size"], channels=card["channels"], fitted_on=self.fitted_on,
        )  # fmt: skip

    def save_history(self, path: Path) -> None:
        """Write the history as csv, six significant digits."""
        self.history.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def fit(store: Store, *, run: str, model: str, options: dict[str, Any], seed: int, settings: Train, partial: Path) -> FitResult:
    """Fit a net.

    Args:
        store: The set; its splits train and val are used.
        run: What errors and progress call it.
        model: A key of MODELS.
        options: The net's own options.
        seed: Of the first weights, the order, the augmentation and the dropout.
        settings: How it is trained.
        partial: A folder for what is needed to go on after a kill. What lies there from other settings is removed.

    Raises:
        InputError: An unknown model or option, a split or an expression without faces, a loss that is not finite.
    """
    with _deterministic(settings.threads), torch.random.fork_rng():
        select = _prepare(store, run=run, model=model, options=options, seed=seed, settings=settings, fitted=("train",))
        _keep_or_clear(partial, plan={**_plan(select), "model": model, "options": options, "settings": settings.model_dump()})
        batches = len(select.data.train_batches)
        history = _train(select, partial / "select", settings, before=0, total=batches * settings.epochs * (1 + settings.refit))
        chosen = best_epoch(history, settings.monitor)
        rows = [{"phase": "select", **row} for row in history]
        final, weights = select, partial / "select" / BEST
        if settings.refit:
            final = _prepare(store, run=run, model=model, options=options, seed=seed, settings=settings, fitted=("train", "val"))
            final = replace(final, epochs=chosen, recipe=replace(final.recipe, patience=0, rates=tuple(row["factor"] for row in history)))
            before = batches * settings.epochs
            rows += [{"phase": "refit", **row} for row in _train(final, partial / "refit", settings, before=before, total=before + batches * chosen)]
            weights = partial / "refit" / LAST
        module = _load_net(final, weights)
    held, fitted = history[chosen - 1], [row for row in rows if row["epoch"] == chosen][-1]
    return FitResult(
        module=module,
        name=model,
        options=dict(options),
        expressions=store.expressions,
        mean=final.data.mean,
        std=final.data.std,
        fitted_on=final.fitted,
        fitted_faces=len(final.data.targets),
        history=pd.DataFrame(rows).reindex(columns=COLUMNS),
        best_epoch=chosen,
        epochs_run=len(history),
        val={key: held[f"val_{key}"] for key in ("accuracy", "balanced_accuracy", "loss")},
        train={key: fitted[f"train_{key}"] for key in ("accuracy", "loss")},
    )


@dataclass(frozen=True)
class _Phase:
    """What one phase needs: the net with its first weights, its faces, its recipe and how many epochs are run."""

    module: Classifier
    data: FaceData
    recipe: Recipe
    epochs: int
    fitted: tuple[str, ...]


def _prepare(store: Store, *, run: str, model: str, options: dict[str, Any], seed: int, settings: Train, fitted: tuple[str, ...]) -> _Phase:
    card = model_card(model)
    data = FaceData(
        store,
        batch_size=settings.batch_size,
        prepare=bind(prepare_images, size=card["input_size"], channels=card["channels"]),
        standardise=standardise,
        changes=Augmentation(flip=settings.flip, rotation=settings.rotation, zoom=settings.zoom, shift=settings.shift),
        seed=seed,
        fitted=fitted,
        device=_device(),
    )
    recipe = Recipe(run=run, seed=seed, **{key: value for key, value in settings.model_dump().items() if key in Recipe.__dataclass_fields__})
    torch.manual_seed(seed)
    net = create_model(model, len(store.expressions), card["channels"], **options)
    weights = class_weights(data.targets, store.expressions) if settings.class_weights else None
    module = Classifier(net, recipe, num_classes=len(store.expressions), class_weights=weights)
    return _Phase(module=module, data=data, recipe=recipe, epochs=settings.epochs, fitted=fitted)


def _train(phase: _Phase, folder: Path, settings: Train, *, before: int, total: int) -> list[dict[str, float]]:
    """Run one phase to its end, from its last checkpoint where there is one, and return its history."""
    last = folder / LAST
    phase.module.recipe = phase.recipe
    if last.is_file():
        history = torch.load(last, map_location="cpu", weights_only=True)["history"]
        if len(history) >= phase.epochs or is_finished(history, phase.recipe):
            return history
    selecting = phase.fitted == ("train",)
    keep = {"dirpath": folder, "enable_version_counter": False, "save_on_train_epoch_end": True}
    callbacks: list[pl.Callback] = [Progress(before=before, total=total, phase="select" if selecting else "refit")]
    if selecting:
        mode = "min" if settings.monitor == "val/loss" else "max"
        callbacks.append(ModelCheckpoint(filename="best", monitor=settings.monitor, mode=mode, save_weights_only=True, **keep))
    callbacks.append(ModelCheckpoint(filename="last", **keep))
    trainer = pl.Trainer(
        accelerator="gpu" if _device() == "cuda" else "cpu",
        devices=1,
        precision=settings.precision,
        max_epochs=phase.epochs,
        gradient_clip_val=settings.gradient_clip or None,
        callbacks=callbacks,
        deterministic=True,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=None if selecting else 0,
        default_root_dir=folder,
    )
    trainer.fit(phase.module, datamodule=phase.data, ckpt_path=last if last.is_file() else None)
    return phase.module.history


def _load_net(phase: _Phase, checkpoint: Path) -> nn.Module:
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    phase.module.load_state_dict(state)
    return phase.module.net.cpu().to(memory_format=torch.contiguous_format).eval()


def _plan(phase: _Phase) -> dict[str, Any]:
    """Return what tells this fit from another one: the recipe and the faces."""
    faces = {"mean": phase.data.mean, "std": phase.data.std, "train": len(phase.data.targets), "val": len(phase.data.val_batches.rows)}
    return {"seed": phase.recipe.seed, "device": _device(), **faces}


def _keep_or_clear(folder: Path, *, plan: dict[str, Any]) -> None:
    """Keep partial work of the same plan; remove that of another, and say so where progress is shown."""
    text = json.dumps(plan, sort_keys=True)
    note = folder / PLAN
    if note.is_file() and note.read_text() == text:
        report_progress(done=0, total=1, note="going on from the last finished epoch")
        return
    if note.is_file():
        report_progress(done=0, total=1, note="settings or faces have changed: training afresh")
    for stale in ("select", "refit"):
        shutil.rmtree(folder / stale, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(text)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Fix threads and algorithms and keep Lightning quiet, and put everything back afterwards."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.utils.deterministic.fill_uninitialized_memory = False  # nothing here reads memory it has not written; filling it costs time
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # a resumed run
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # Lightning 2.6 with PyTorch 2.13
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.utils.deterministic.fill_uninitialized_memory = before[2]
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
