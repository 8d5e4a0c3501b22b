"""A phase of training: initial weights and faces, Lightning's Trainer from the last checkpoint to the end, and the kept weights.

The folder of a phase holds `last.ckpt` (after every epoch, with the optimizer) and, with validation, `best.ckpt` (weights only). Both are written
whole, so a kill or a full disk leaves the previous one.
"""

from __future__ import annotations

import io
import signal
import zipfile
from dataclasses import dataclass, field, replace
from functools import partial as bind
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import AsyncCheckpointIO, CheckpointIO, TorchCheckpointIO
from torch import nn

from ferlab.data.augmentation import augmentation_of
from ferlab.data.batches import FaceBatches, FaceData, class_weights
from ferlab.data.store import Store
from ferlab.models.create import create_model, input_shape
from ferlab.models.inputs import prepare_images, standardise
from ferlab.models.pretrained import InitialWeights, pretrained_or_scratch
from ferlab.params import Train
from ferlab.paths import InputError, report_progress, write_whole
from ferlab.roles import planned
from ferlab.training.boosting import check_settings, grow, save
from ferlab.training.distillation import load_teachers
from ferlab.training.distributed import LOG, MeanStatistics, Place, precision, trainer_options
from ferlab.training.module import Classifier, best_epoch, higher_is_better, is_finished
from ferlab.training.progress import EpochLog, Progress
from ferlab.training.targets import VALUES, wanted_targets

LAST, BEST = "last.ckpt", "best.ckpt"
WHITENED = 500  # training faces, at most, whose patches are whitened
WANTED = ("loss", "ferplus_weight", "regress")  # settings of `wanted_targets`


@dataclass(frozen=True)
class Task:
    """The arguments of `ferlab.training.fit.fit`, and the process."""

    store: Store
    run: str
    model: str
    options: dict[str, Any]
    seed: int
    settings: Train
    place: Place = field(default_factory=Place)


@dataclass(frozen=True)
class Phase:
    """A model with its initial weights, and its faces.

    Attributes:
        name: "select" with held-out faces; "refit" after it, on train and val; "whole" on both from the start.
        epochs: Epochs to run of the settings' schedule.
    """

    name: str
    module: Classifier
    data: FaceData
    epochs: int
    trained_on: tuple[str, ...]
    first: InitialWeights
    place: Place


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside the previous one and renames it.

    Lightning's own goes through the system's temporary folder; on another disk its last step is a copy over the good file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write it; see `ferlab.paths.write_whole` for what raises."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(Path(path), content.getvalue())


def checkpoint_io(device: str) -> CheckpointIO:
    """Return the writer of checkpoints; on a GPU a thread, whose errors are raised an epoch later, or at the end."""
    return AsyncCheckpointIO(WholeFiles()) if device == "cuda" else WholeFiles()


def select_phase(task: Task) -> Phase:
    """Return the phase on train with the validation split of the settings; on train and val where they have none."""
    name = "whole" if task.settings.select == "none" else "select"
    return _phase(task, name=name, epochs=task.settings.epochs, patience=task.settings.patience, factors=None)


def refit_phase(task: Task, *, epochs: int, factors: tuple[float, ...]) -> Phase:
    """Return the phase on train and val from the same initial weights: `epochs` of the schedule, with the first phase's `factors` on its rate."""
    return _phase(task, name="refit", epochs=epochs, patience=0, factors=factors)


def train_phase(phase: Phase, folder: Path, settings: Train, *, before: int, total: int) -> list[dict[str, float]]:
    """Run a phase to its end, from its last checkpoint where there is one, and return its history (`Classifier.history`).

    Args:
        phase: The phase.
        folder: Of its checkpoints.
        settings: Precision, clipping and the monitored value.
        before: Batches of earlier phases, for the progress bar.
        total: Batches of all phases.
    """
    labels = {"phase": phase.name, "watched": watched_split(settings)}
    drop_damaged(folder, selecting=phase.name == "select")
    last, log = folder / LAST, EpochLog(folder.parent / LOG if phase.place.world > 1 and phase.place.rank == 0 else None, **labels)
    if last.is_file():
        history = torch.load(last, map_location="cpu", weights_only=True)["history"]
        if len(history) >= phase.epochs or is_finished(history, phase.module.settings):
            log.write(history, epochs=phase.epochs)
            return history
    selecting = phase.name == "select"
    if hasattr(phase.module.net, "trees"):
        return _grow(phase, folder, log, selecting=selecting)
    shared = [MeanStatistics(validating=selecting), log] if phase.place.world > 1 else []
    options = trainer_options(settings, phase.place)
    plugins = options.pop("plugins")
    trainer = pl.Trainer(
        **options,
        precision=precision(settings.precision, accelerator=settings.accelerator),
        max_epochs=phase.epochs,
        gradient_clip_val=settings.gradient_clip or None,
        callbacks=[Progress(before=before, total=total, **labels), *shared, *_checkpoints(folder, settings.monitor if selecting else None)],
        plugins=[*plugins, checkpoint_io(phase.place.device(settings))],
        deterministic=True,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1.0 if selecting else 0,
        default_root_dir=folder,
    )
    _run(trainer, phase, last if last.is_file() else None)
    return phase.module.history


def drop_damaged(folder: Path, *, selecting: bool) -> None:
    """Remove both checkpoints of a phase, with a message, if one is damaged, as by a power cut: neither is of use without the other."""
    there = [path for path in (folder / LAST, folder / BEST) if path.exists()]
    wrong = [path.name for path in there if not _is_whole(path)]
    if selecting and (folder / LAST).exists() and not (folder / BEST).exists():
        wrong.append(f"{BEST} (missing)")
    if wrong:
        report_progress(say=f"{folder.name}/{' and '.join(wrong)} cannot be read, as after a power cut: removed, this phase starts again")
        for path in there:
            path.unlink(missing_ok=True)  # another process may have been first


def _is_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as parts:
            if parts.testzip() is not None:
                return False
        held = torch.load(path, map_location="meta", weights_only=True)
    except Exception:  # noqa: BLE001 - zipfile and torch raise many types for a damaged file
        return False
    needed = {"state_dict", "history", "optimizer_states"} if path.name == LAST else {"state_dict"}
    return isinstance(held, dict) and needed <= held.keys()


def kept_model(phase: Phase, folder: Path) -> nn.Module:
    """Return the module with the selected weights, or without validation the last ones, in eval mode on the CPU."""
    checkpoint = torch.load(folder / (BEST if phase.name == "select" else LAST), map_location="cpu", weights_only=True)
    phase.module.load_state_dict(checkpoint["state_dict"])
    return phase.module.kept.cpu().to(memory_format=torch.contiguous_format).eval()


def outputs_of(settings: Train, expressions: tuple[str, ...]) -> dict[str, Any]:
    """Return what a run predicts, as its weights file states it: `expressions`, `values` with their ranges, and `output`."""
    output = "sigmoid" if settings.loss == "multi_label" else "softmax"
    return {"expressions": expressions, "values": {name: VALUES[name] for name in settings.regress}, "output": output}


def watched_split(settings: Train) -> str:
    """Return the held-out split, which is scored after each epoch unless `select` is none."""
    return "test" if settings.select == "test" else "val"


def _phase(task: Task, *, name: str, epochs: int, patience: int, factors: tuple[float, ...] | None) -> Phase:
    settings, expressions = task.settings, task.store.expressions
    seen = planned(settings.select, refit=name == "refit")
    channels, size = input_shape(task.model, task.options)
    torch.manual_seed(task.seed)
    net = create_model(task.model, len(expressions) + len(settings.regress), channels, **task.options)
    asked: dict[str, Any] = {key: getattr(settings, f"pretrained_{key}") or None for key in ("sha256", "grey")}
    asked["outputs"] = outputs_of(settings, expressions)
    first = pretrained_or_scratch(net, task.model, source=settings.pretrained, layout=settings.pretrained_layout, **asked)
    data = FaceData(
        task.store,
        batch_size=settings.batch_size,
        prepare=bind(prepare_images, size=size, channels=channels),
        standardise=standardise,
        changes=augmentation_of(settings),
        seed=task.seed,
        repeats=settings.repeats,
        trained_on=seen.trained_on,
        monitored=watched_split(settings),
        classes=_classes(settings.expressions, expressions, run=task.run),
        most=settings.most_per_expression,
        soft_targets=wanted_targets(task.store.faces, expressions=expressions, **{key: getattr(settings, key) for key in WANTED}),
        statistics=(first.mean, first.std) if first.mean and first.std else None,
        scaling=settings.scaling,
        device=task.place.device(settings),
        rank=task.place.rank,
        world=task.place.world,
    )
    if first.report is None:
        first = _whitened(net, data, first)
    student = {"expressions": expressions, "seen": seen, "faces": task.store.faces, "device": task.place.device(settings)}
    module = Classifier(
        net,
        settings.model_copy(update={"patience": patience}),
        run=task.run,
        seed=task.seed,
        num_classes=len(expressions),
        factors=factors,
        counts=torch.from_numpy(np.bincount(data.targets, minlength=len(expressions))),
        class_weights=class_weights(data.targets, expressions) if settings.class_weights else None,
        teachers=load_teachers(settings.teachers, run=task.run, **student) if settings.teachers else None,
    )
    return Phase(name=name, module=module, data=data, epochs=epochs, trained_on=seen.trained_on, first=first, place=task.place)


def _whitened(net: nn.Module, data: FaceData, first: InitialWeights) -> InitialWeights:
    """Set the initial weights of layers with a method `whiten` from training faces as they are, evenly spaced over the split."""
    layers = [layer for layer in net.modules() if hasattr(layer, "whiten")]
    if not layers:
        return first
    of = data.train_batches
    rows = of.rows.numpy()[:: -(-len(of.rows) // WHITENED)]
    inputs, *_ = next(iter(FaceBatches(of.images, of.targets, rows, batch_size=len(rows), prepare=of.prepare, normalise=of.normalise)))
    for layer in layers:
        layer.whiten(inputs)
    return replace(first, sentence=f"{first.sentence} Those of the stem whiten the patches of {len(rows)} training faces, and stay fixed.")


def _classes(named: list[str], expressions: tuple[str, ...], *, run: str) -> list[int]:
    if unknown := [name for name in named if name not in expressions]:
        raise InputError(f"run {run!r}: train.expressions: the dataset has no {unknown[0]!r}; expected some of {', '.join(expressions)}")
    return [expressions.index(name) for name in named]


def _grow(phase: Phase, folder: Path, log: EpochLog, *, selecting: bool) -> list[dict[str, float]]:
    """Grow the trees of a boosted model, and write the checkpoints that Lightning writes for others."""
    module, settings = phase.module, phase.module.settings
    check_settings(settings, module.net, run=module.run)
    history = grow(module.net, phase.data, settings, rounds=phase.epochs, seed=module.seed, selecting=selecting)
    if selecting:
        last = {name: value.clone() for name, value in module.state_dict().items()}
        module.net.trees.keep(best_epoch(history, settings.monitor))
        save(module, folder, history, name=BEST)
        module.load_state_dict(last)
    save(module, folder, history, name=LAST)
    log.write(history, epochs=phase.epochs)
    return history


def _run(trainer: pl.Trainer, phase: Phase, checkpoint: Path | None) -> None:
    """Run Lightning's loop. Lightning exits the interpreter on an interrupt and ignores further ones; a notebook's kernel must stay."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(phase.module, datamodule=phase.data, ckpt_path=checkpoint)
    except SystemExit:
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None


def _checkpoints(folder: Path, monitor: str | None) -> list[pl.Callback]:
    """Keep the best epoch where one is monitored, and after it the last, whose checkpoint must know the best one's."""
    shared: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_on_train_epoch_end": True}
    last = ModelCheckpoint(filename="last", **shared)
    if monitor is None:
        return [last]
    mode = "max" if higher_is_better(monitor) else "min"
    return [ModelCheckpoint(filename="best", monitor=monitor, mode=mode, save_weights_only=True, **shared), last]
