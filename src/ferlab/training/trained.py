"""A trained run as it lies on disk: taken where its record holds, trained otherwise, and read back either way.

What a page tells of a training comes from its files, never from memory, so a page is the same whether the model was trained for it or lay there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ferlab.data.store import Store
from ferlab.models.create import model_card
from ferlab.params import Run
from ferlab.paths import artefact, partial_folder, write_json
from ferlab.results import obtain, record_of
from ferlab.roles import Exposure
from ferlab.training.fit import fit

FILES = ("weights", "history", "told")
SHAPING = ("build", "channels", "input_size", "num_classes", "options", "pretrained", "sizes")  # of a card: the rest only tells of the model


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        history: As `FitResult` has it, six significant digits.
        seen: What each split was to it.
        told: `best_epoch, epochs_run, trained_faces, val, test, train, teachers` as `FitResult` has them; `pretrained`, `initial_weights`
            (a sentence) and `own_scaling`, whether the pretrained weights brought their own.
        record: What made it, see `ferlab.results.record_of`.
    """

    history: pd.DataFrame
    seen: Exposure
    told: dict[str, Any]
    record: dict[str, str]


def trained(run: Run, name: str, store: Store) -> Trained:
    """Take the trained model of a run, or train it.

    Args:
        run: Its section of params.yaml.
        name: Its name.
        store: Its prepared dataset, opened from disk.

    Raises:
        InputError: As `fit`.
    """
    record = training_record(run, store.folder or artefact("prepare", "store", run.data))
    places = obtain("train", name, _train, what=FILES, record=record, run=run, name=name, store=store)
    told = json.loads(places["told"].read_text())
    seen = Exposure(tuple(told.pop("trained_on")), tuple(told.pop("selected_on")))
    return Trained(history=pd.read_csv(places["history"]), seen=seen, told=told, record=record)


def training_record(run: Run, store: Path) -> dict[str, str]:
    """Return what would make the trained model of a run now; see `ferlab.results.record_of`.

    Teachers stand for their own code by their weights: `dvc repro` trains them first where that has changed.
    """
    card = model_card(run.model, family=run.family)
    shaping = {"card": {key: card[key] for key in SHAPING}, "settings": run.train.model_dump()}
    params = {"model": run.model, "options": run.options, "seed": run.seed, **shaping}
    inputs = {"store": store} | {f"teacher {each}": artefact("train", "weights", each) for each in run.train.teachers}
    return record_of(_train, params=params, inputs=inputs, families=[f"models.{run.family}"])


def _train(weights: Path, history: Path, told: Path, *, run: Run, name: str, store: Store) -> None:
    result = fit(store, run=name, model=run.model, options=run.options, seed=run.seed, settings=run.train, partial=partial_folder() / name)
    result.save(weights)
    result.save_history(history)
    kept = ("best_epoch", "epochs_run", "trained_faces", "trained_on", "selected_on", "val", "test", "train", "teachers")
    first = {"pretrained": result.first.pretrained, "initial_weights": result.first.sentence, "own_scaling": bool(result.first.mean)}
    write_json(told, {key: getattr(result, key) for key in kept} | first)
