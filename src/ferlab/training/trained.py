"""A trained run as it lies on disk: taken where its record holds, trained otherwise, and read back either way.

What a page reports of a training comes from its files, never from memory, so a page is the same whether the model was trained for it or lay there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ferlab.data.store import Store
from ferlab.locks import partial_folder
from ferlab.origins import of_shipped, trained_words
from ferlab.params import StageParams
from ferlab.paths import SHIPS, artefact, read_json, write_json
from ferlab.results import obtain, teacher_file
from ferlab.roles import Exposure

KEPT = ("best_epoch", "epochs_run", "trained_faces", "val", "test", "train", "teachers", "precision")


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        history: As `FitResult` has it, six significant digits.
        seen: What each split was to it.
        facts: `best_epoch, epochs_run, trained_faces, val, test, train, teachers, precision` as `FitResult` has them; `pretrained`, `initial_weights`
            (a sentence), `own_scaling`, whether the pretrained weights brought their own, and `pretrained_on`, the
            data of these or of a teacher's ("": none)
        record: What made it, see `ferlab.results.record_of`.
    """

    history: pd.DataFrame
    seen: Exposure
    facts: dict[str, Any]
    record: dict[str, str]


def trained(p: StageParams, store: Store) -> Trained:
    """Take the trained model of a run, or train it: also where it was trained without the pretrained weights asked for, and these are available now.

    Args:
        p: The run's sections of params.yaml.
        store: Its prepared dataset, opened from disk.

    Raises:
        InputError: As `fit`.
    """
    made = obtain("train", p, _train, anew=_misses_available_weights(p), p=p, store=store)
    facts = read_json(made.places["facts"], made_by="stage train")
    seen = Exposure(tuple(facts.pop("trained_on")), tuple(facts.pop("selected_on")))
    return Trained(history=pd.read_csv(made.places["history"]), seen=seen, facts=facts, record=made.record)


def _misses_available_weights(p: StageParams) -> bool:
    settings, kept = p.run.train, artefact("train", "facts", p.name)
    if not settings.pretrained or not kept.is_file() or read_json(kept, made_by="stage train").get("pretrained", True):
        return False
    from ferlab.models.pretrained import is_available  # Keep: a page whose model is taken starts no PyTorch

    return is_available(p.run.model, source=settings.pretrained, sha256=settings.pretrained_sha256 or None)


def _train(weights: Path, history: Path, facts: Path, *, p: StageParams, store: Store) -> None:
    from ferlab.training.fit import fit  # Keep: a page whose model is taken starts no Lightning

    run, partial = p.run, partial_folder() / p.name
    result = fit(store, run=p.name, model=run.model, options=run.options, seed=run.seed, settings=run.train, partial=partial)
    result.save(weights)
    result.save_history(history)
    first = {"pretrained": result.first.report is not None, "initial_weights": result.first.sentence, "own_scaling": bool(result.first.mean)}
    rests_on = [result.first.trained_on, *(_data_of_teacher(name, store) for name in run.train.teachers)]
    first["pretrained_on"] = "; ".join(dict.fromkeys(filter(None, rests_on)))
    splits = {key: list(result.card[key]) for key in ("trained_on", "selected_on")}
    write_json(facts, {key: getattr(result, key) for key in KEPT} | splits | first)


def _data_of_teacher(teacher: str, store: Store) -> str:
    """Return the data beyond the set that a teacher rests on, in words; "" for none."""
    if teacher == SHIPS:
        origin = of_shipped(read_json(teacher_file(SHIPS).with_name("card.json"), made_by="a clone of ferlab"))
        return trained_words(origin) if origin.role(store.faces) == "untouched" else ""
    return read_json(artefact("train", "facts", teacher), made_by=f"the train stage of run {teacher}").get("pretrained_on", "")
