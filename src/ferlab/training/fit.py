"""Train one model on one prepared dataset: select the epoch on val, and for `refit` train again on train and val for that many epochs.

`fit` may be killed at any moment and called again with the same arguments: it resumes from the last finished epoch with the same result to the
bit. Several processes run this module's command line, `python -m ferlab.training.fit FOLDER`; see `ferlab.training.distributed`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ferlab.data.store import Store, open_store
from ferlab.locks import held, lock_of
from ferlab.models.create import input_shape
from ferlab.models.pretrained import InitialWeights
from ferlab.models.weights import save_model
from ferlab.params import Train
from ferlab.paths import InputError, report_progress
from ferlab.roles import planned
from ferlab.training.distributed import TASK, as_one_of_several, check_devices, device, launch, own_place, precision, processes
from ferlab.training.module import best_epoch
from ferlab.training.phases import Phase, Task, kept_model, outputs_of, refit_phase, select_phase, train_phase

COLUMNS = ["epoch", "phase", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"]
PLAN = "plan.json"


@dataclass(frozen=True)
class FitResult:
    """A trained model and its training.

    Attributes:
        module: The network with the selected weights, in eval mode on the CPU.
        card: What the weights file states of it, see `ferlab.models.save_model`.
        trained_faces: Faces of the splits it was trained on.
        history: One row per epoch and phase, columns as in COLUMNS: "select", and then "refit", without val; or "whole", likewise, without
            validation. Where test selects, it has test_loss and test_accuracy, and val's are empty.
        best_epoch: The selected epoch, from 1.
        epochs_run: Epochs of the first phase.
        val: accuracy, balanced_accuracy and loss of the selected epoch, and <value>_ccc of each regressed value, by the model before any refit;
            empty unless val selects.
        test: Likewise of test.
        train: accuracy and loss at the selected epoch of the last phase, over augmented faces with dropout.
        first: The initial weights.
        teachers: The runs it was distilled from, or "shipped", with the sha256 of their files.
        precision: "bf16-mixed" or "32-true".
    """

    module: nn.Module
    card: dict[str, Any]
    trained_faces: int
    history: pd.DataFrame
    best_epoch: int
    epochs_run: int
    val: dict[str, float]
    test: dict[str, float]
    train: dict[str, float]
    first: InitialWeights
    teachers: dict[str, str]
    precision: str

    def save(self, path: Path) -> None:
        """Write the weights file."""
        save_model(path, self.module, **self.card)

    def save_history(self, path: Path) -> None:
        """Write the history as csv, six significant digits."""
        self.history.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def fit(store: Store, *, run: str, model: str, options: dict[str, Any], seed: int, settings: Train, partial: Path) -> FitResult:
    """Train a model.

    Args:
        store: The prepared dataset.
        run: Its name in errors and progress.
        model: A key of MODELS.
        options: The model's options.
        seed: Of initial weights, order, augmentation and dropout.
        settings: Of the training.
        partial: Folder of checkpoints; those of other settings, faces or teachers are removed.

    Raises:
        InputError: An unknown model or option, a split or an expression without faces, a loss that is not finite, missing devices or machines.
        RuntimeError: If one of several processes is killed.
    """
    check_devices(settings, run=run)
    task = Task(store=store, run=run, model=model, options=dict(options), seed=seed, settings=settings)
    with held(lock_of(partial), what=f"run {run}"), _deterministic(settings.threads), torch.random.fork_rng():
        phase = opening = select_phase(task)
        _keep_or_clear(partial, plan=_plan(task, phase))
        if processes(settings) > 1:
            launch(partial, _plain(task), settings)
        phase, history, again = _run_phases(task, phase, partial)
        module = kept_model(phase, partial / phase.name)
    chosen = _chosen(history, settings)
    watched, trained = history[chosen - 1], (again or history)[chosen - 1]
    scored = {key.removeprefix("val_"): value for key, value in watched.items() if key.startswith("val_")}
    selected_on = planned(settings.select, refit=settings.refit).selected_on
    return FitResult(
        module=module,
        card=_card(task, phase) | {"selected_on": selected_on},
        trained_faces=len(phase.data.targets),
        history=_table(history, again, first=opening.name, watched=settings.select),
        best_epoch=chosen,
        epochs_run=len(history),
        val=scored if "val" in selected_on else {},
        test=scored if "test" in selected_on else {},
        train={key: trained[f"train_{key}"] for key in ("accuracy", "loss")},
        first=phase.first,
        teachers=_teachers(phase),
        precision=precision(settings.precision, accelerator=settings.accelerator),
    )


def _card(task: Task, phase: Phase) -> dict[str, Any]:
    store, settings = task.store, task.settings
    channels, size = input_shape(task.model, task.options)
    sources = store.faces.loc[store.faces["split"].isin(phase.trained_on), "source"] if "source" in store.faces else ()
    return {
        "name": task.model,
        "options": task.options,
        "mean": phase.data.mean,
        "std": phase.data.std,
        "size": size,
        "channels": channels,
        "trained_on": phase.trained_on,
        **outputs_of(settings, store.expressions),
        "preparation": store.preparation,
        "sources": tuple(sorted(set(sources))),
    }


def run_process(partial: Path) -> None:
    """Run one of several processes of a fit on the task in `partial`.

    Raises:
        InputError: As `fit`, and if the store on disk is not the dataset that `fit` was given.
    """
    asked = json.loads((partial / TASK).read_text())
    settings = Train.model_validate(asked.pop("settings"))
    task = Task(store=open_store(Path(asked.pop("store"))), settings=settings, place=own_place(), **asked)
    with _deterministic(settings.threads):
        phase = select_phase(task)
        if json.dumps(_plan(task, phase), sort_keys=True) != (partial / PLAN).read_text():
            hint = "several processes read the dataset from disk"
            raise InputError(f"run {task.run!r}: the dataset in {task.store.folder} is not the one given to fit; {hint}")
        _run_phases(task, phase, partial)


def _run_phases(task: Task, phase: Phase, partial: Path) -> tuple[Phase, list[dict[str, float]], list[dict[str, float]]]:
    """Run or resume the phase and a refit; return the last phase and the histories of both."""
    settings = task.settings
    batches = len(phase.data.train_batches) * settings.epochs
    history = train_phase(phase, partial / phase.name, settings, before=0, total=batches * (1 + settings.refit))
    if not settings.refit:
        return phase, history, []
    chosen = _chosen(history, settings)
    phase = refit_phase(task, epochs=chosen, factors=tuple(row["factor"] for row in history))
    total = batches + len(phase.data.train_batches) * chosen
    return phase, history, train_phase(phase, partial / "refit", settings, before=batches, total=total)


def _chosen(history: list[dict[str, float]], settings: Train) -> int:
    return len(history) if settings.select == "none" else best_epoch(history, settings.monitor)


def _plain(task: Task) -> dict[str, Any]:
    """Return a task as JSON values for the processes."""
    if task.store.folder is None:
        raise InputError(f"run {task.run!r}: the dataset was made in memory; several processes need one from open_store, or train.devices: 1")
    asked = {"run": task.run, "model": task.model, "options": task.options, "seed": task.seed, "settings": task.settings.model_dump()}
    return {**asked, "store": str(task.store.folder.resolve())}


def _table(history: list[dict[str, float]], again: list[dict[str, float]], *, first: str, watched: str) -> pd.DataFrame:
    rows = [{"phase": first, **row} for row in history] + [{"phase": "refit", **row} for row in again]
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    if watched != "test":
        return table
    # Keep: DVC plots val_accuracy of every run, so the columns stay, empty.
    return table.rename(columns=lambda name: name.replace("val_", "test_")).assign(val_loss=np.nan, val_accuracy=np.nan)


def _plan(task: Task, phase: Phase) -> dict[str, Any]:
    """Return what identifies a fit: its arguments, and the faces by counts and statistics."""
    settings, where = task.settings, device(task.settings.accelerator)
    settled = settings.model_dump() | {"precision": precision(settings.precision, accelerator=where)}
    asked = {"model": task.model, "options": task.options, "seed": task.seed, "settings": settled, "device": where}
    faces = {"expressions": task.store.expressions, "train": len(phase.data.targets), "val": len(phase.data.val_batches.rows)}
    first = {"first": phase.first.report.sha256 if phase.first.report else "random", "teachers": _teachers(phase)}
    mean = phase.data.mean
    shown = hashlib.sha256(mean.cpu().numpy().tobytes()).hexdigest() if isinstance(mean, Tensor) else mean
    return {**asked, **first, **faces, "mean": shown, "std": phase.data.std}


def _teachers(phase: Phase) -> dict[str, str]:
    return phase.module.teachers.sha256 if phase.module.teachers else {}


def _keep_or_clear(folder: Path, *, plan: dict[str, Any]) -> None:
    """Keep partial work of the same plan; remove that of another, with a note in the progress."""
    text, note = json.dumps(plan, sort_keys=True), folder / PLAN
    if note.is_file() and note.read_bytes() == text.encode():
        report_progress(done=0, total=1, note="resuming from the last finished epoch")
        return
    if note.is_file():
        report_progress(done=0, total=1, note="settings, faces or teachers have changed: training starts again")
    for phase in ("select", "refit", "whole"):
        shutil.rmtree(folder / phase, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(text)


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """Set threads and deterministic algorithms, and silence Lightning; restore all afterwards."""
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric")]
    levels = [logger.level for logger in loggers]
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.set_num_threads(threads)
    torch.utils.deterministic.fill_uninitialized_memory = False  # filling what is written anyway costs time
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")  # a resumed run
            warnings.filterwarnings("ignore", message="It is recommended to use .*sync_dist=True")  # what is logged is alike in all processes
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # Lightning 2.6 with PyTorch 2.13
            yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        torch.utils.deterministic.fill_uninitialized_memory = before[2]
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)


if __name__ == "__main__":
    as_one_of_several(run_process)
