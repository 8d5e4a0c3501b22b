"""What an analysis of errors costs, taken where its record holds and computed otherwise: cross-validated probabilities and self-influence of the
faces that a run was trained on, the two rankings on planted labels, and attribution maps of faces of the worst pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.faces import is_derived
from ferlab.data.store import ImageRows, Store
from ferlab.error_analysis.confusions import rank_confusions
from ferlab.error_analysis.cross_validated import FitPredict, assign_folds, by_features, cross_validate, gradient_histograms
from ferlab.error_analysis.drill_down import explained_rows, worst_pairs
from ferlab.error_analysis.planted import control_sample, plant
from ferlab.evaluation.predictions import faces_in, read_predictions
from ferlab.locks import partial_folder
from ferlab.params import StageParams
from ferlab.paths import artefact
from ferlab.results import PREDICTIONS, WEIGHTS, obtain

INFLUENCE = "self_influence"


@dataclass(frozen=True)
class Analyzed:
    """What is known beside the predictions of a run.

    Attributes:
        checked: The predictions table of the faces that the run was trained on, by models that were not: with `fold` and `self_influence`, which
            is the run's own (NaN without a last linear layer).
        planted: See `ferlab.error_analysis.planted.plant`.
        maps: Attributions (H, W) float32 by (face_id, class id): the drop of the probability of that class, by occlusion.
    """

    checked: pd.DataFrame
    planted: pd.DataFrame
    maps: dict[tuple[str, int], np.ndarray]


def analyzed(p: StageParams, store: Store) -> Analyzed:
    """Take what an analysis of errors costs, or compute it.

    Args:
        p: The run's sections of params.yaml.
        store: Its prepared dataset, opened from disk.
    """
    made = obtain("analyze_errors", p, _analyze, p=p, store=store)
    with np.load(made.places["maps"]) as file:
        keys = zip(file["face_id"].tolist(), file["explained_class"].tolist(), strict=True)
        maps = dict(zip(keys, file["occlusion"], strict=True))
    return Analyzed(pd.read_parquet(made.places["checked"]), pd.read_parquet(made.places["planted"]), maps)


def _analyze(checked: Path, planted: Path, maps: Path, *, p: StageParams, store: Store) -> None:
    from ferlab.error_analysis.influence import run_influence  # Keep: a page whose results are taken starts no PyTorch
    from ferlab.models import load_model

    asked, model = p.analyze_errors, load_model(artefact(*WEIGHTS, p.name))
    rows = training_rows(store, trained_on=model.trained_on, expressions=p.run.train.expressions)
    _write_maps(maps, model, store, split=asked.split, predictions=read_predictions(artefact(*PREDICTIONS, p.name)))
    faces = store.faces.iloc[rows].reset_index(drop=True)
    fold = assign_folds(faces, folds=asked.folds, seed=asked.seed)
    table = cross_validate(faces, fold, _fold_model(p, store, rows), expressions=store.expressions)
    table[INFLUENCE] = run_influence(model, ImageRows(store.images, rows), faces["target"].to_numpy())
    _write_table(checked, table)
    _write_table(planted, plant(*control_sample(store, rows), folds=asked.folds, seed=asked.seed))


def training_rows(store: Store, *, trained_on: Sequence[str], expressions: Sequence[str]) -> np.ndarray:
    """Return the rows of the faces whose labels a run was trained on, but for copies and synthetic samples of them.

    Args:
        store: The run's prepared dataset.
        trained_on: Splits.
        expressions: The labels that an expert was trained on; empty: all.
    """
    labels = np.array(store.expressions, dtype=object)[store.faces["target"]]
    own = np.isin(labels, list(expressions)) if expressions else np.ones(len(labels), bool)
    return np.flatnonzero(store.faces["split"].isin(trained_on).to_numpy() & ~is_derived(store.faces) & own)


def _fold_model(p: StageParams, store: Store, rows: np.ndarray) -> FitPredict:
    """Return what is fitted without a fold, as params say; see `ferlab.error_analysis.cross_validated`."""
    asked, faces = p.analyze_errors, store.faces.iloc[rows]
    if asked.folds_model == "run":
        return _by_training(p, store, rows)
    features = gradient_histograms(ImageRows(store.images, rows))
    return by_features(features, faces["target"].to_numpy(), num_classes=len(store.expressions), seed=asked.seed)


def _by_training(p: StageParams, store: Store, rows: np.ndarray) -> FitPredict:
    """Return a training of the run's model without a fold; val selects the epoch where the run was not trained on it."""
    from ferlab.evaluation.scoring import predict_probs

    # Keep: by name. The weights that this result is computed from stand for the code that trains; a comment in it is no reason to make a page anew.
    fit = import_module("ferlab.training.fit").fit
    run, split = p.run, store.faces["split"].to_numpy(dtype=object)
    whole = "val" in split[rows]
    alone = {"select": "none", "patience": 0, "schedule": "cosine" if run.train.schedule == "plateau" else run.train.schedule}
    settings = run.train.model_copy(update={"refit": False, **(alone if whole else {"select": "val"})})

    def fit_predict(fitted: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        parts = np.where((split == "val") & (not whole), "val", "test").astype(object)  # neither the fold nor copies of its faces train
        parts[rows[fitted]] = "train"
        if whole:  # train and val both train then, and neither may be without faces
            parts[rows[fitted[0]]] = "val"
        faces = store.faces.assign(split=pd.Series(parts, index=store.faces.index, dtype="str"))
        partial = partial_folder() / f"{p.name}-fold-{int(predicted[0])}"
        how: dict[str, Any] = {"model": run.model, "options": run.options, "seed": run.seed, "settings": settings, "partial": partial}
        result = fit(replace(store, faces=faces, folder=None), run=p.name, **how)
        return predict_probs(_loaded(result, partial), ImageRows(store.images, rows[predicted]))

    return fit_predict


def _loaded(result: Any, folder: Path) -> Any:
    """Return what `fit` came to as a model that predicts."""
    from ferlab.models import load_model

    result.save(folder / "weights.safetensors")
    return load_model(folder / "weights.safetensors")


def _write_maps(path: Path, model: Any, store: Store, *, split: str, predictions: pd.DataFrame) -> None:
    from ferlab.explanation.attributions import explain_faces, write_attributions

    own = faces_in(predictions, split)
    rows, classes = explained_rows(own, worst_pairs(rank_confusions(own))[:1])
    ids = own["face_id"].to_numpy()[rows]
    images = store.images[pd.Index(store.faces["face_id"]).get_indexer(ids)]
    window, stride = (max(1, round(pixels * images.shape[1] / 48)) for pixels in (8, 4))  # cs230's, of its 48: a larger face has as many places
    how: dict[str, Any] = {"methods": ("occlusion",), "window": window, "stride": stride}
    maps = explain_faces(model, images, explained_class=classes, **how) if len(rows) else {"occlusion": np.zeros((0, 1, 1))}
    target = own["target"].to_numpy()[rows]
    probs = own.filter(like="prob_").to_numpy()[rows]
    write_attributions(path, face_id=ids.astype(str), target=target, explained_class=classes, probs=probs, **maps)


def _write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as parquet; equal tables give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Keep: pandas' own metadata names library versions, which would change the bytes without a change of the table.
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None), path, compression="zstd")
