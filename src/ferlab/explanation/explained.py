"""The attributions of a run as they lie on disk: taken where their record holds, computed otherwise, and read back either way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ferlab.data.store import Store
from ferlab.explanation.sample import sample_faces
from ferlab.params import StageParams
from ferlab.paths import artefact
from ferlab.results import WEIGHTS, obtain


@dataclass(frozen=True)
class Explained:
    """A sample of faces and what their predictions rest on.

    Attributes:
        faces: The face table of N rows.
        images: uint8 (N, H, W) or (N, H, W, 3).
        probs: The model's probabilities, float32 (N, K).
        maps: Per method the attributions of the predicted class, float32 (N, H, W).
        scored: Faces of the split that the sample is drawn from.
    """

    faces: pd.DataFrame
    images: np.ndarray
    probs: np.ndarray
    maps: dict[str, np.ndarray]
    scored: int


def explained(p: StageParams, store: Store) -> Explained:
    """Take the attributions of a run, or compute them.

    Args:
        p: The run's sections of params.yaml.
        store: Its prepared dataset, opened from disk.
    """
    made = obtain("explain", p, _explain, p=p, store=store)
    with np.load(made.places["attributions"]) as file:
        parts = {name: file[name] for name in file.files}
    rows = pd.Index(store.faces["face_id"]).get_indexer(parts.pop("face_id"))
    probs, _, _ = parts.pop("probs"), parts.pop("target"), parts.pop("explained_class")
    faces, scored = store.faces.iloc[rows].reset_index(drop=True), int((store.faces["split"] == p.explain.split).sum())
    return Explained(faces=faces, images=store.images[rows], probs=probs, maps=parts, scored=scored)


def _explain(attributions: Path, *, p: StageParams, store: Store) -> None:
    from ferlab.evaluation.scoring import predict_probs  # Keep: a page whose attributions are taken loads no model
    from ferlab.explanation.attributions import explain_faces, write_attributions
    from ferlab.models import load_model

    asked, model = p.explain, load_model(artefact(*WEIGHTS, p.name))
    rows = np.flatnonzero(store.faces["split"] == asked.split)
    target = store.faces["target"].to_numpy()
    probs = predict_probs(model, store.images[rows], batch_size=asked.batch_size)
    chosen = sample_faces(target[rows], probs.argmax(axis=1), faces_per_class=asked.faces_per_class, seed=asked.seed)
    rows, probs = rows[chosen], probs[chosen]
    pred = probs.argmax(axis=1)
    how = {"window": asked.window, "stride": asked.stride, "batch_size": asked.batch_size}
    maps = explain_faces(model, store.images[rows], explained_class=pred, **how)
    ids = store.faces["face_id"].iloc[rows]
    write_attributions(attributions, face_id=ids, target=target[rows], explained_class=pred, probs=probs, **maps)
