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
from ferlab.evaluation.scoring import score_faces
from ferlab.models import load_model, model_card
from ferlab.params import Evaluate, Run
from ferlab.paths import artefact
from ferlab.results import obtain, record_of
from ferlab.roles import Exposure

FILES = ("predictions", "tta")
SHAPING = ("build", "channels", "num_classes", "options", "sizes")  # of a card: what shapes predictions, given the weights


@dataclass(frozen=True)
class Scored:
    """What a model predicts for the faces of val and test.

    Attributes:
        table: The predictions table under the chosen test-time augmentation.
        by_tta: "none", the chosen test-time augmentation and those within it, each (N, K) float32, for the same rows.
        faces: The face table of these rows.
        seen: What each split was to the model.
    """

    table: pd.DataFrame
    by_tta: dict[str, np.ndarray]
    faces: pd.DataFrame
    seen: Exposure


def scored(run: Run, name: str, store: Store, *, evaluate: Evaluate, study: str) -> Scored:
    """Take the predictions of a run on val and test, or make them.

    Args:
        run: Its section of params.yaml.
        name: Its name.
        store: Its prepared dataset, opened from disk.
        evaluate: The section of that name: which test-time augmentation.
        study: For the ledger of test scorings.

    Raises:
        InputError: As `score_faces`.
    """
    weights = artefact("train", "weights", name)
    record = scoring_record(run, store.folder or artefact("prepare", "store", run.data), weights=weights, evaluate=evaluate)
    places = obtain("evaluate", name, _score, what=FILES, record=record, weights=weights, store=store, evaluate=evaluate)
    record_scoring(store.faces, study=study, run=name, set_name=run.data, record=record)
    table, model = read_predictions(places["predictions"]), load_model(weights)
    faces = store.faces.set_index("face_id", drop=False).loc[table["face_id"]].reset_index(drop=True)
    with np.load(places["tta"]) as file:
        by_tta = {name: file[name] for name in file.files}
    return Scored(table=table, by_tta=by_tta, faces=faces, seen=Exposure(model.trained_on, model.selected_on))


def scoring_record(run: Run, store: Path, *, weights: Path, evaluate: Evaluate) -> dict[str, str]:
    """Return what would make the predictions of a run now; see `ferlab.results.record_of`."""
    card = model_card(run.model, family=run.family)
    params = {"card": {key: card[key] for key in SHAPING}, "tta": evaluate.tta, "crop": evaluate.crop}
    return record_of(_score, params=params, inputs={"store": store, "weights": weights}, families=[f"models.{run.family}"])


def _score(predictions: Path, by_tta: Path, *, weights: Path, store: Store, evaluate: Evaluate) -> None:
    tta, crop, batch = evaluate.tta, evaluate.crop, evaluate.batch_size
    found = score_faces(load_model(weights), store.images, store.faces, expressions=store.expressions, tta=tta, crop=crop, batch_size=batch)
    write_predictions(predictions, found.table(tta))
    np.savez(by_tta, **found.by_tta)
