"""`ferlab submit`: what a model predicts for PrivateTest's faces, whose labels are held elsewhere; see `ferlab.evaluation.submissions`.

| model | its probabilities |
|---|---|
| a run of params.yaml | of its weights, for faces prepared as its dataset's, under `evaluate.tta` |
| `ensemble`, `fitted ensemble`, or one `of SET` | the mean of its members', as the stage compare has it |
| `shipped`, or the path of an ONNX file | of the file, for faces prepared as its card says, before its temperature, which changes no prediction |

The faces are read here and nowhere else, and nothing is computed over them. Probabilities are those of the seven expressions in the vocabulary's
order; of a model of eight, contempt is dropped and the others are rescaled.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.faces import hash_images
from ferlab.data.preparation.unlabelled import prepare_as
from ferlab.data.readers.fer2013_challenge import USAGE, Unlabelled, read_unlabelled
from ferlab.data.store import open_store
from ferlab.deployment.frame import align_probs, open_model
from ferlab.deployment.predictor import shipped_card
from ferlab.evaluation.ensembles import ENSEMBLE, WEIGHTED, mean_probs, weights_per_set
from ferlab.evaluation.runs import read_runs, runs_by_set
from ferlab.evaluation.submissions import FOLDER, find_named, read_named, submission_table, write_submission
from ferlab.expressions import EXPRESSIONS
from ferlab.hashes import digest
from ferlab.params import Params, Prepare, load_params, nearest
from ferlab.paths import ROOT, SHIPS, InputError, artefact
from ferlab.privacy import is_captured
from ferlab.results import in_words, record_under

DATASETS = ("fer2013", "ferplus")  # whose faces are FER2013's
MIXED = "fer2013_reshuffled"  # holds faces of PrivateTest among those that train
OF_SET = re.compile(rf"({ENSEMBLE}|{WEIGHTED})(?: of (\w[\w-]*))?")
OF_FILES = ("none", "flip")  # test-time augmentations of ONNX files

Probs = tuple[np.ndarray, tuple[str, ...], dict[str, Any]]  # (N, K), the K expressions, what made them


@dataclass(frozen=True)
class Model:
    """A model that is to predict.

    Attributes:
        names: As the table of submissions may name it; the first in full.
        study: Of its params.
        tta: Its test-time augmentation.
        raw: Where FER2013 lies.
        predict: From the faces to their probabilities.
        facts: Further metadata.
    """

    names: tuple[str, ...]
    study: str
    tta: str
    raw: Path
    predict: Callable[[Unlabelled], Probs]
    facts: dict[str, Any] = field(default_factory=dict)


def submit(asked: str, *, tta: str = "", root: Path = ROOT) -> tuple[Path, bool, int]:
    """Predict PrivateTest's faces and write the submission that the README names.

    Args:
        asked: The model, see above.
        tta: Test-time augmentation; "" for `evaluate.tta`.
        root: The clone.

    Returns:
        The file, whether it was written (False: the same one lay there), and the number of faces.

    Raises:
        InputError: As `read_named`, `find_named`, `read_unlabelled` and `write_submission`; an unknown model, or one that is not trained or whose
            record does not hold.
    """
    params, named = load_params(root / "params.yaml"), read_named(root)
    model = _find_model(asked, params, tta=tta or params.evaluate.tta, root=root)
    row = find_named(named, model.names, study=model.study, tta=model.tta)
    faces = read_unlabelled(model.raw)
    probs, expressions, members = model.predict(faces)
    if missing := [name for name in EXPRESSIONS if name not in expressions]:
        raise InputError(f"{asked} does not predict {', '.join(missing)}; expected a model of all of {', '.join(EXPRESSIONS)}")
    probs = probs if expressions == EXPRESSIONS else align_probs(probs, expressions, EXPRESSIONS, name=asked)
    table = submission_table(faces.face_ids, probs, EXPRESSIONS)
    made = {"submission": row.submission, "study": model.study, "model": model.names[0], "tta": model.tta, "members": members, **model.facts}
    made |= {"usage": USAGE, "n": len(table), "faces": digest(*hash_images(faces.images))}
    written = write_submission(root, row.submission, table, made)
    return root / FOLDER / f"{row.submission}.parquet", written, len(table)


def _find_model(asked: str, params: Params, *, tta: str, root: Path) -> Model:
    if asked in params.runs:
        found = {"crop": params.evaluate.crop}
        raw = _raw(params.prepare[params.runs[asked].data], root, where=f"run {asked}: set {params.runs[asked].data}")
        return Model((asked,), params.study, tta, raw, partial(_of_runs, [asked], params, tta=tta, root=root), found)
    if match := OF_SET.fullmatch(asked):
        return _ensemble(match[1], match[2] or "", params, tta=tta, root=root)
    if asked != SHIPS and not asked.endswith(".onnx") and "/" not in asked:
        raise InputError(f"no model is called {asked!r}; {nearest(asked, [*params.runs, ENSEMBLE, WEIGHTED, SHIPS])}, or the path of an ONNX file")
    if tta not in OF_FILES:
        raise InputError(f"{asked}: TTA {tta} needs a run's weights; expected {' or '.join(OF_FILES)} of an ONNX file. Give --tta.")
    study = str(shipped_card()["study"]) if asked == SHIPS else "-"
    return Model((asked,), study, tta, _any_raw(params, root), partial(_of_file, asked, params, tta=tta))


def _ensemble(kind: str, name: str, params: Params, *, tta: str, root: Path) -> Model:
    """Return an ensemble of compare; `name` is its set, "" where there is only one."""
    runs = {each: run.model_dump() for each, run in params.runs.items()}
    members = {each: found for each, found in runs_by_set(runs, params.compare.ensemble).items() if len(found) > 1}
    sets = [each for each in members if _place(params.prepare[each]) is not None]
    if name not in sets and (name or len(sets) != 1):
        known = ", ".join(f"'{kind} of {each}'" for each in sets) or "none: compare has no ensemble on FER2013"
        raise InputError(f"{kind}{f' of {name}' if name else ''}: which one? expected one of {known}")
    name = name or sets[0]
    if kind == WEIGHTED and (params.compare.weights != "fitted" or tta != params.evaluate.tta):
        why = f"its weights are fitted on val with TTA {params.evaluate.tta}" if params.compare.weights == "fitted" else "compare.weights is equal"
        raise InputError(f"{kind} of {name}: {why}; expected compare.weights: fitted, and no other --tta")
    names, raw = (f"{kind} of {name}", *([kind] if len(sets) == 1 else [])), _raw(params.prepare[name], root, where=f"set {name}")
    weights = _weights(members[name], name, params) if kind == WEIGHTED else None
    predict = partial(_of_runs, members[name], params, tta=tta, root=root, weights=weights)
    return Model(names, params.study, tta, raw, predict, {"crop": params.evaluate.crop} | ({"weights": weights} if weights else {}))


def _weights(members: list[str], set_name: str, params: Params) -> dict[str, float]:
    """Return the weights of members that compare fits on val."""
    for run in members:
        _fresh("evaluate", run, params)
    predictions, metrics = read_runs(members)
    return weights_per_set(predictions, {set_name: members}, metrics)[set_name]


def _of_runs(members: list[str], params: Params, faces: Unlabelled, *, tta: str, root: Path, weights: dict[str, float] | None = None) -> Probs:
    """Return the mean probabilities of trained runs of one set."""
    set_name = params.runs[members[0]].data
    made = {run: _fresh("train", run, params) for run in members}
    _fresh("prepare", set_name, params)
    from ferlab.evaluation.scoring import predict_tta  # Keep: a refusal starts no PyTorch
    from ferlab.models import load_model

    settings, store = params.prepare[set_name], open_store(artefact("prepare", "store", set_name))
    images = prepare_as(store, settings, faces.images, face_ids=faces.face_ids, raw=root / settings.raw)
    probs, expressions = {}, store.expressions
    for run in members:
        model = load_model(artefact("train", "weights", run))
        if model.expressions != expressions:
            raise InputError(f"run {run} predicts {', '.join(model.expressions)}; its set has {', '.join(expressions)}. Train it on all of them.")
        asked = {"tta": tta, "crop": params.evaluate.crop, "batch_size": params.evaluate.batch_size}
        probs[run] = predict_tta(model, images, **asked)[0][tta]
    return mean_probs(probs, weights), tuple(expressions), made


def _of_file(asked: str, params: Params, faces: Unlabelled, *, tta: str) -> Probs:
    model = open_model(asked, params.runs)
    role = model.origin.role(pd.DataFrame({"face_id": faces.face_ids, "source": DATASETS[0], "usage": USAGE}))
    if role == "trained":
        raise InputError(f"{asked} was trained on {USAGE}, as its card states; expected a model that has not seen these faces")
    probs = model.predictor.predict_faces(faces.images, flip=tta == "flip", raw=True)
    return probs, tuple(model.predictor.expressions), {model.name: {"sha256": model.checksum, "role": role}}


def _fresh(stage: str, name: str, params: Params) -> dict[str, str]:
    """Return the record of a result that holds."""
    record, stale = record_under(params, stage, name)
    if stale:
        raise InputError(f"{stage}@{name} is stale ({in_words(stale)}); expected a result of the current params. `dvc repro {stage}@{name}` first")
    return record


def _place(settings: Prepare) -> str | None:
    """Return where a set's FER2013 lies, below its raw folder; None where it has none, holds captured faces, which are not handed on, or has
    PrivateTest's among those that train.
    """
    places = {source["dataset"]: source["raw"] for source in settings.all_sources.values()}
    return None if is_captured(settings) or MIXED in places else next((places[each] for each in DATASETS if each in places), None)


def _raw(settings: Prepare, root: Path, *, where: str) -> Path:
    place = _place(settings)
    if place is None:
        wrong = "holds captured faces, holds PrivateTest's own, or none of FER2013"
        raise InputError(f"{where} {wrong}; expected a set with the dataset {' or '.join(DATASETS)}, and neither captured nor {MIXED}")
    return root / settings.raw / place


def _any_raw(params: Params, root: Path) -> Path:
    """Return the folder of FER2013 that params name, for a model that is of no set; data/raw where they name none or several."""
    found = {root / settings.raw / place for settings in params.prepare.values() if (place := _place(settings)) is not None}
    return found.pop() if len(found) == 1 else root / "data" / "raw"
