"""The predictions of a run as they lie on disk: taken where their record holds, made otherwise, and read back either way.

Test faces are scored once per result: predictions that are taken are no new scoring, and the ledger gains no line.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ferlab.data.store import Store
from ferlab.evaluation.ledger import record_scoring
from ferlab.evaluation.predictions import read_predictions, write_predictions
from ferlab.params import StageParams
from ferlab.paths import artefact
from ferlab.results import WEIGHTS, obtain
from ferlab.roles import Exposure

SEEN = ("trained_on", "selected_on")  # beside the probabilities in their file


@dataclass(frozen=True)
class Scored:
    """What a model predicts for the faces of val and test.

    Attributes:
        table: The predictions table under the chosen test-time augmentation.
        by_tta: "none", the chosen test-time augmentation and those within it, each (N, K) float32, for the same rows.
        faces: The face table of these rows.
        seen: What each split was to the model.
        train: The predictions table of train, without augmentation of any kind.
    """

    table: pd.DataFrame
    by_tta: dict[str, np.ndarray]
    faces: pd.DataFrame
    seen: Exposure
    train: pd.DataFrame


def scored(p: StageParams, store: Store) -> Scored:
    """Take the predictions of a run on val, test and train, or make them; what was scored stands in the ledger.

    Args:
        p: The run's sections of params.yaml.
        store: Its prepared dataset, opened from disk.

    Raises:
        InputError: As `score_faces`.
    """
    made = obtain("evaluate", p, _score, p=p, store=store)
    record_scoring(store.faces, study=p.study, run=p.name, set_name=p.set_name, record=made.record)
    table = read_predictions(made.places["predictions"])
    faces = store.faces.set_index("face_id", drop=False).loc[table["face_id"]].reset_index(drop=True)
    with np.load(made.places["tta"]) as file:
        by_tta = {name: file[name] for name in file.files}
    seen = Exposure(*(tuple(by_tta.pop(name).tolist()) for name in SEEN))
    return Scored(table=table, seen=seen, by_tta=by_tta, faces=faces, train=read_predictions(made.places["train"]))


def _score(predictions: Path, tta: Path, train: Path, *, p: StageParams, store: Store) -> None:
    from ferlab.evaluation.scoring import score_faces, score_training_faces  # Keep: a page whose predictions are taken loads no model
    from ferlab.models import load_model

    model, chosen = load_model(artefact(*WEIGHTS, p.name)), p.evaluate.tta
    asked = {"tta": chosen, "crop": p.evaluate.crop, "batch_size": p.evaluate.batch_size}
    table, by_tta = score_faces(model, store.images, store.faces, expressions=store.expressions, **asked)
    write_predictions(predictions, table)
    fitted = score_training_faces(model, store.images, store.faces, expressions=store.expressions, batch_size=p.evaluate.batch_size)
    write_predictions(train, fitted)
    np.savez(tta, **by_tta, **{name: np.array(getattr(model, name), dtype=np.str_) for name in SEEN})
