"""The attributions of a run and their faithfulness on disk: taken where their record holds, computed otherwise, and read back either way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ferlab.control import carrying_mask
from ferlab.data.faces import missing_truth
from ferlab.data.regions import placement_of, template_masks
from ferlab.data.store import Store
from ferlab.explanation.hypotheses import TRUTH, mass_rows
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
        judged: The maps' scores of faithfulness, see `ferlab.explanation.judged.judge_maps`.
        excluded: Methods of `explain.methods` that the model does not allow.
        masses: Attribution mass of each region in the maps of correctly classified faces, `explain.hypothesis_faces` per expression; where they
            are known also of the ground-truth pixels. See `ferlab.explanation.hypotheses.mass_rows`.
    """

    faces: pd.DataFrame
    images: np.ndarray
    probs: np.ndarray
    maps: dict[str, np.ndarray]
    scored: int
    judged: pd.DataFrame
    excluded: tuple[str, ...]
    masses: pd.DataFrame


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
    kept = {name: pd.read_parquet(made.places[place]) for name, place in (("judged", "faithfulness"), ("masses", "masses"))}
    kept["excluded"] = tuple(each for each in p.explain.methods if each not in parts)
    return Explained(faces=faces, images=store.images[rows], probs=probs, maps=parts, scored=scored, **kept)


def _explain(attributions: Path, faithfulness: Path, masses: Path, *, p: StageParams, store: Store) -> None:
    from ferlab.evaluation.scoring import predict_probs  # Keep: a page whose attributions are taken loads no model
    from ferlab.explanation.attributions import applicable_methods, explain_faces, possible_methods, write_attributions
    from ferlab.explanation.judged import judge_maps, spread_rows
    from ferlab.models import load_model

    asked, model = p.explain, load_model(artefact(*WEIGHTS, p.name))
    rows = np.flatnonzero(store.faces["split"] == asked.split)
    target = store.faces["target"].to_numpy()
    probs = predict_probs(model, store.images[rows], batch_size=asked.batch_size)
    chosen = sample_faces(target[rows], probs.argmax(axis=1), faces_per_class=asked.faces_per_class, seed=asked.seed)
    tested = sample_faces(target[rows], probs.argmax(axis=1), faces_per_class=asked.hypothesis_faces, wrong_per_class=0, seed=asked.seed)
    more = rows[np.setdiff1d(tested, chosen)]  # the samples share a seed: of two sizes one holds the other
    rows, tested, probs = rows[chosen], rows[tested], probs[chosen]
    pred = probs.argmax(axis=1)
    how = asked.model_dump(include={"window", "stride", "batch_size", "seed", "steps", "samples", "masks"})
    images = store.images[rows]
    methods = possible_methods(model, images, [*asked.methods, "occlusion"]) if asked.methods else applicable_methods(model, images)
    maps = explain_faces(model, images, explained_class=pred, methods=methods, **how)
    others = explain_faces(model, store.images[more], explained_class=target[more], methods=methods, **how) if len(more) else {}
    both = {method: np.concatenate([values, others[method]]) if len(more) else values for method, values in maps.items()}
    places = pd.Index(np.concatenate([rows, more])).get_indexer(tested)
    _masses(store, tested, maps={method: values[places] for method, values in both.items()}).to_parquet(masses, index=False)
    ids = store.faces["face_id"].iloc[rows]
    write_attributions(attributions, face_id=ids, target=target[rows], explained_class=pred, probs=probs, **maps)
    kept = spread_rows(pred, at_most=asked.faithfulness.faces)
    sizes = asked.faithfulness.model_dump(exclude={"faces"}) | {"settings": how, "batch_size": asked.batch_size, "seed": asked.seed}
    judged = {"maps": {method: values[kept] for method, values in maps.items()}, "explained_class": pred[kept], "face_id": ids.iloc[kept]}
    judge_maps(model, images[kept], **judged, **sizes).to_parquet(faithfulness, index=False)


def _masses(store: Store, rows: np.ndarray, *, maps: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return the attribution mass of the template's regions; of the ground-truth pixels too where they are known."""
    faces, size = store.faces.iloc[rows], (store.images.shape[1], store.images.shape[2])
    if not missing_truth(faces, store.preparation):
        maps = maps | {TRUTH: carrying_mask(faces, size=size[0]).astype(np.float32)}
    return mass_rows(maps, template_masks(size, placement_of(store.images, store.preparation)), faces)
