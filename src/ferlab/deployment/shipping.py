"""The shipped model: a trained run as four files of the package, replaced together or not at all.

    model.onnx     the model, at most 6 MB
    card.json      training data, scores, confidences, cost, limits, and the checksum of model.onnx
    study.yaml     params.yaml of the run: copied over params.yaml, `dvc repro` trains the model again
    history.csv    a row for each epoch

`ferlab ship RUN` calls this; `Predictor.load()` opens the result without torch.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ferlab.data.store import Store, open_store
from ferlab.deployment.confidence import KEY
from ferlab.deployment.confidence_card import read_confidence
from ferlab.deployment.export import export_onnx, exported_card, parity
from ferlab.deployment.inputs import spread_rows
from ferlab.deployment.predictor import Predictor
from ferlab.deployment.trial import try_model
from ferlab.models import LoadedModel, count_parameters, load_model, model_card
from ferlab.params import Params, declared, load_params
from ferlab.paths import OUTPUTS, InputError, read_json, write_json
from ferlab.roles import Exposure

FOLDER = Path("src", "ferlab", "deployment", "weights")  # below a clone
MOST_BYTES = 6_000_000
NEEDED = {"train": (), "evaluate": ("trained_on", "dataset", "usage", "n")}  # of the metrics of each stage
COMPARED = 2000  # faces on which the file is compared with its source
LARGEST_CHANGE = 0.02  # of a probability
LICENCE = "The weights: MIT, as ferlab. The faces they were trained on are not part of it; their own terms hold for them."
LIMITS = (
    "Predicts the expression that annotators would see in a face, not what a person feels. Trained on cropped, mostly frontal faces of the dataset"
    " above, with its mix of ages, skin tones and cameras; less accurate for looser or tighter crops, strong poses and occlusion. For research; not"
    " for decisions about people."
)


def ship(root: Path, run: str, *, cost: str, note: str = "", weights: str = "float16") -> Path:
    """Write the files of a trained and evaluated run to the package of a clone, replacing the shipped model.

    Args:
        root: The clone.
        run: A run of its params.yaml, trained and evaluated.
        cost: Cost of the training, in words.
        note: Further text of the card.
        weights: Storage of the weights, "float16" or "float32"; the graph computes in float32.

    Returns:
        The folder of the four files.

    Raises:
        InputError: If this is no clone, the run is unknown, not trained or evaluated, or of another study than params.yaml's, the file is larger
            than 6 MB, or its predictions differ from the model's. The shipped model then stays.
    """
    folder = root / FOLDER
    if not folder.parent.is_dir():
        raise InputError(f"{folder.parent.relative_to(root)}: not found below {root}; shipping works in a clone of ferlab")
    params = load_params(root / "params.yaml")
    declared(params, "train", run)  # names the nearest run
    trained, evaluated = (_metrics(root, stage, run) for stage in NEEDED)
    model = load_model(_existing(root, "train", "weights", run))
    _check_run(params, run, model=model, trained=trained, evaluated=evaluated)
    history = _existing(root, "train", "history", run)
    store = open_store(_existing(root, "prepare", "store", params.runs[run].data))
    scored = (_existing(root, "evaluate", what, run) for what in ("predictions", "tta"))
    confidence = read_confidence(*scored, store.faces, risk=params.deploy.risk, on_test=True)
    beside = folder.with_name(".weights.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        found = _write_model(model, beside / "model.onnx", store=store, weights=weights, confidence=confidence)
        card = _card(params, run, model=model, store=store, evaluated=evaluated) | {KEY: confidence}
        keys = ("best_epoch", "epochs_run", "teachers", "provenance")
        card |= {"pretrained_on": further} if (further := trained.get("pretrained_on")) else {}
        card |= {"history": {key: trained.get(key) for key in keys}, "training_cost": cost, "note": note}
        write_json(beside / "card.json", {**card, **_file_card(beside / "model.onnx", weights=weights, found=found)})
        shutil.copyfile(history, beside / "history.csv")
        shutil.copyfile(root / "params.yaml", beside / "study.yaml")
        _move_into_place(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder


def _check_run(params: Params, run: str, *, model: LoadedModel, trained: dict[str, Any], evaluated: dict[str, Any]) -> None:
    study = trained.get("provenance", {}).get("study", params.study)
    if study != params.study:
        raise InputError(f"run {run} was trained in study {study}, params.yaml holds {params.study}; `ferlab study {study}` first")
    wanted, built = (params.runs[run].model, params.runs[run].options), (model.name, model.options)
    if wanted != built:
        raise InputError(f"run {run}: its weights are of {built[0]} {built[1]}, params.yaml has {wanted[0]} {wanted[1]}; `dvc repro` trains again")
    if sorted(evaluated["trained_on"]) != sorted(model.trained_on):
        raise InputError(f"run {run}: evaluated before its last training; `dvc repro` evaluates it again")
    if Exposure(model.trained_on, model.selected_on).role("test") != "untouched":
        raise InputError(f"run {run}: test selected its epoch, so the card could name no score of untouched faces; ship a run of select: val or none")


def _write_model(model: LoadedModel, path: Path, *, store: Store, weights: str, confidence: dict[str, Any]) -> dict[str, float]:
    size = export_onnx(model, path, weights=weights, confidence=confidence)
    if size > MOST_BYTES:
        raise InputError(f"the model takes {size / 1e6:.1f} MB with {weights} weights; expected at most {MOST_BYTES / 1e6:.0f}; ship a smaller one")
    rows = spread_rows(store.faces["split"].to_numpy(), "val", COMPARED)
    found = parity(model, Predictor.load(path), np.asarray(store.images[rows]))
    if (change := found["max_abs_diff_millionths"] / 1e6) > LARGEST_CHANGE:
        raise InputError(f"with {weights} weights a probability moves by {change:.3f}, more than {LARGEST_CHANGE}; try --weights float32")
    return found


def _card(params: Params, run: str, *, model: LoadedModel, store: Store, evaluated: dict[str, Any]) -> dict[str, Any]:
    faces = store.faces[store.faces["split"].isin(model.trained_on)]
    usages = sorted(set(faces["usage"]))
    keys = ("accuracy", "accuracy_ci_low", "accuracy_ci_high")
    scores = {name.removeprefix("tta_"): {key: score["test"][key] for key in keys} for name, score in evaluated.items() if name.startswith("tta_")}
    return exported_card(model) | {
        "run": run,
        "title": model_card(model.name)["title"],
        "options": model.options,
        "parameters": count_parameters(model.module),
        "study": params.study,
        "seed": params.runs[run].seed,
        "trained_on": {"dataset": evaluated["dataset"], "usages": usages, "splits": list(model.trained_on), "faces": len(faces)},
        "selected_on": list(model.selected_on),
        "test": {"usage": evaluated["usage"]["test"], "n": evaluated["n"]["test"], **scores},
        "licence": LICENCE,
        "limits": LIMITS,
    }


def _file_card(path: Path, *, weights: str, found: dict[str, float]) -> dict[str, Any]:
    content = path.read_bytes()
    known = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "batch": try_model(content, where=str(path))}
    return {**known, "weights": weights, "parity": found}


def _move_into_place(ready: Path, folder: Path) -> None:
    """Replace a folder in three steps: old aside, new in, old away."""
    aside = folder.with_name(".weights.old")
    shutil.rmtree(aside, ignore_errors=True)
    if folder.exists():
        os.rename(folder, aside)
    os.rename(ready, folder)
    shutil.rmtree(aside, ignore_errors=True)


def _metrics(root: Path, stage: str, run: str) -> dict[str, Any]:
    values = read_json(_existing(root, stage, "metrics", run), made_by=f"`dvc repro {stage}@{run}`")
    if missing := [key for key in NEEDED[stage] if key not in values]:
        place = OUTPUTS[stage]["metrics"].format(name=run)
        raise InputError(f"{place}: {', '.join(missing)} is missing; `dvc repro -sf {stage}@{run}` makes it anew")
    return values


def _existing(root: Path, stage: str, what: str, name: str) -> Path:
    place = OUTPUTS[stage][what].format(name=name)
    if not (root / place).exists():
        raise InputError(f"{place}: not found; `dvc repro` makes it in stage {stage}")
    return root / place
