"""Any model in one frame: the model that ships, a run, or one made elsewhere, scored on the same prepared faces.

Each model prepares the faces as its card says (size, colour, equalisation), unless the set was prepared so already. Classes are matched by name:
an expression that a model does not know has probability 0, one that the set does not have is dropped and the others rescaled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.faces import describe_faces
from ferlab.data.store import Store, open_store, read_excluded
from ferlab.deployment.cards import KEY
from ferlab.deployment.predictor import Predictor, shipped_card
from ferlab.evaluation.ledger import record_scoring
from ferlab.evaluation.predictions import PROB_PREFIX, predictions_table
from ferlab.origins import Origin, of_foreign, of_run, of_shipped
from ferlab.params.sections import Run, StageParams
from ferlab.paths import SHIPS, InputError, artefact, read_json, report_progress, write_json
from ferlab.results import model_file, obtain
from ferlab.roles import planned

FIRST = ("model", "set", "face_id", "split", "target", "pred")
BATCH = 1024  # faces prepared at once
NOT_FOUND = "no face found"  # the reason of `ferlab.data.preparation.steps` for a picture without a face


@dataclass(frozen=True)
class Framed:
    """The frame's result.

    Attributes:
        table: The predictions of `score_frame`.
        facts: What else it writes.
        origins: Of each model, in order.
    """

    table: pd.DataFrame
    facts: Mapping[str, Any]
    origins: dict[str, Origin]


@dataclass(frozen=True)
class FramedModel:
    """A model with what is known of it.

    Attributes:
        name: As it was asked for: "shipped", a run, or the folder of a file.
        predictor: The opened model.
        origin: What it was trained on.
        preparation: Of its training faces, as its card records it.
        checksum: SHA-256 of its file.
    """

    name: str
    predictor: Predictor
    origin: Origin
    preparation: Mapping[str, Any]
    checksum: str


def open_model(asked: str, runs: Mapping[str, Run]) -> FramedModel:
    """Open a model of the frame.

    Args:
        asked: "shipped", a run, or the path of an ONNX file or of the folder that holds its model.onnx.
        runs: The runs of params.yaml.

    Raises:
        InputError: As `Predictor.load`; a run that was not deployed, an unknown name, or a file whose name is that of a run or "shipped".
    """
    path = model_file(asked, runs)
    predictor = Predictor.load(None if asked == SHIPS else path)
    card = json.loads(predictor.session.get_modelmeta().custom_metadata_map[KEY])
    name = asked if asked == SHIPS or asked in runs else str(card["name"] if "foreign" in card else path.parent.name)
    if name != asked and name in (SHIPS, *runs):
        way = f"name it otherwise in {path.with_suffix('.yaml').name}" if "foreign" in card else "rename its folder"
        raise InputError(f"{path}: the model is called {name!r}, as {'the one that ships' if name == SHIPS else 'a run of params.yaml'}; {way}")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    return FramedModel(name, predictor, _origin(asked, card, runs), card.get("preparation", {}), checksum)


def _origin(asked: str, card: Mapping[str, Any], runs: Mapping[str, Run]) -> Origin:
    if asked == SHIPS:
        return of_shipped(shipped_card())
    if "foreign" in card:
        return of_foreign(card["foreign"])
    if asked in runs:
        train = runs[asked].train
        known = of_run(asked, planned(train.select, refit=train.refit), open_store(artefact("prepare", "store", runs[asked].data)).faces)
        return replace(known, title=f"{runs[asked].model}, run {asked}")
    return Origin(f"{card.get('name', 'a model')}, a file of ferlab", None, stated="its file does not state its faces")


def score_set(model: FramedModel, store: Store, *, split: str = "test", flip: bool = False) -> pd.DataFrame:
    """Return the predictions table of a model on one split of a set, in store order; with `subject` where faces have one.

    Raises:
        InputError: If the split has no face, or the model and the set share fewer than two expressions.
    """
    rows = np.flatnonzero(store.faces["split"] == split) if split != "all" else np.arange(len(store.faces))
    if not len(rows):
        raise InputError(f"set {store.folder.name if store.folder else ''}: no face is in {split}; check how prepare splits it")
    prepared = bool(store.preparation) and dict(model.preparation) == dict(store.preparation)
    predict = model.predictor.predict_prepared if prepared else model.predictor.predict_faces
    probs = []
    for start in range(0, len(rows), BATCH):
        probs.append(predict(np.asarray(store.images[rows[start : start + BATCH]]), flip=flip))
        report_progress(done=min(start + BATCH, len(rows)), total=len(rows), note=f"faces scored by {model.name}")
    aligned = align_probs(np.concatenate(probs), model.predictor.expressions, store.expressions, name=model.name)
    of = store.faces.iloc[rows]
    known = {"expressions": store.expressions, "subjects": of.get("subject")}
    return predictions_table(of["face_id"], of["split"], of["target"].to_numpy(), probs=aligned, **known)


def align_probs(probs: np.ndarray, theirs: Sequence[str], ours: Sequence[str], *, name: str = "the model") -> np.ndarray:
    """Return probabilities (N, K) in the order of `ours`; a row that has none of them is uniform.

    >>> align_probs(np.array([[0.2, 0.2, 0.6]]), ["happy", "sad", "contempt"], ["sad", "happy", "fear"]).tolist()
    [[0.5, 0.5, 0.0]]

    Raises:
        InputError: If fewer than two expressions are shared.
    """
    shared = [expression for expression in ours if expression in theirs]
    if len(shared) < 2:
        raise InputError(f"{name} predicts {', '.join(theirs)}; the set has {', '.join(ours)}: fewer than two are shared")
    aligned = np.zeros((len(probs), len(ours)))
    for expression in shared:
        aligned[:, list(ours).index(expression)] = probs[:, list(theirs).index(expression)]
    total = aligned.sum(axis=1, keepdims=True)
    return np.divide(aligned, total, out=np.full_like(aligned, 1 / len(ours)), where=total > 0)


def count_not_found(store: Store) -> dict[str, int]:
    """Return `pictures` of a set, with those that it does not hold for want of a face, and `not_found` of them."""
    missing = 0
    if store.folder is not None:
        reasons = read_excluded(store.folder)["reason"]
        missing = int(reasons.str.startswith(NOT_FOUND).sum())
    return {"pictures": len(store.faces) + missing, "not_found": missing}


def score_frame(predictions: Path, facts: Path, *, models: Iterable[str], sets: Iterable[str], runs: Mapping[str, Run], flip: bool) -> None:
    """Score every model on the test split of every set.

    Args:
        predictions: The table to write: `model`, `set`, then the columns of predictions; probabilities of expressions that a set lacks are missing.
        facts: The JSON to write: of each model what it is and was trained on, of each set its counts, its preparation and the role of its test
            faces to each model.
        models: As of `open_model`; two must not have one name.
        sets: Prepared sets.
        runs: The runs of params.yaml.
        flip: Average over each face and its mirror image.
    """
    opened = [open_model(name, runs) for name in models]
    names = [model.name for model in opened]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise InputError(f"frame.models: two models are called {repeated[0]}; name each once")
    tables, of_sets = [], {}
    for name in sets:
        store = open_store(artefact("prepare", "store", name))
        tables += [score_set(model, store, flip=flip).assign(model=model.name, set=name) for model in opened]
        test = store.faces[store.faces["split"] == "test"]
        roles = {model.name: model.origin.role(test) for model in opened}
        of_sets[name] = {**count_not_found(store), **describe_faces(test), "preparation": store.preparation, "roles": roles}
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(FIRST))
    more = sorted((column for column in table if column not in FIRST), key=lambda column: str(column).startswith(PROB_PREFIX))
    table[[*FIRST, *more]].to_parquet(predictions, index=False, compression="zstd")
    write_json(facts, {"models": {model.name: described(model) for model in opened}, "order": names, "sets": of_sets})


def described(model: FramedModel) -> dict[str, Any]:
    """Return what is known of a model in plain values."""
    predictor = model.predictor
    known = {"size": predictor.size, "channels": predictor.channels, "expressions": list(predictor.expressions), "sha256": model.checksum}
    return known | {key: value for key, value in asdict(model.origin).items() if not isinstance(value, frozenset)}


def framed(p: StageParams) -> Framed:
    """Take the predictions of the frame's models on its sets, or make them; each scoring of a real test split stands in the ledger."""
    asked = {"models": p.frame.models, "sets": p.frame.sets, "runs": p.runs, "flip": p.frame.tta == "flip"}
    made = obtain("frame", p, score_frame, **asked)
    facts = read_json(made.places["facts"], made_by="stage frame")
    for name in facts["sets"]:
        faces = open_store(artefact("prepare", "store", name)).faces
        for model in facts["order"]:
            record_scoring(faces, study=p.study, run=f"frame:{model}", set_name=name, record=made.record)
    origins = {name: _read_origin(facts["models"][name]) for name in facts["order"]}
    return Framed(pd.read_parquet(made.places["predictions"]), facts, origins)


def _read_origin(known: Mapping[str, Any]) -> Origin:
    return Origin(**{key: known[key] for key in ("title", "trained", "selected", "stated", "licence")})
