"""The map of scored faces: PCA, then t-SNE of some of them, between which the others are placed. Computed once, and kept beside what made it.

t-SNE of scikit-learn costs 4 CPU seconds for 2,000 faces and grows faster than linearly. Above LANDMARKS faces it therefore maps a random sample,
and every other face lies at the mean of its nearest sampled faces, weighted by closeness in the space of the PCA. Clusters survive this; distances
between faces that are no landmarks are less exact than t-SNE's own.

References:
    van der Maaten & Hinton (2008), Visualizing data using t-SNE.
    Kobak & Berens (2019), The art of using t-SNE for single-cell transcriptomics: PCA first, new points by their neighbours.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferlab.hashes import digest, import_closure
from ferlab.live.exploration.scored import Scored
from ferlab.paths import ROOT, InputError, write_whole

LANDMARKS, NEIGHBOURS, COMPONENTS, PERPLEXITY = 2500, 5, 50, 30.0
FEWEST = 12  # faces; below, t-SNE has no neighbourhoods and the PCA is shown
MOST_FEATURES = 20_000  # faces whose features are computed; above, log-probabilities are mapped
FLOOR = 1e-4  # of a probability, before its logarithm
BATCH = 512
FOLDER = Path("data", "scratch", "maps")


@dataclass(frozen=True)
class FaceMap:
    """Coordinates of N faces.

    Attributes:
        points: float32 (N, 2), in [-1, 1].
        how: What they are, in a sentence.
    """

    points: np.ndarray
    how: str


def map_faces(scored: Scored, *, seed: int = 0) -> FaceMap:
    """Return the map of scored faces: of the model's penultimate features, or of log-probabilities where no weights are at hand, the model has
    neither a last linear layer nor a target layer, or faces are more than MOST_FEATURES. Taken from data/scratch/maps where its record holds.
    """
    record = {
        "seed": seed,
        "faces": hashlib.sha256("\n".join(scored.predictions["face_id"]).encode() + scored.probs.tobytes()).hexdigest(),
        "weights": scored.weights,
        "code": digest(*import_closure(Path(__file__)).values()),
    }
    place = ROOT / FOLDER / f"{digest(scored.run)}.npz"
    kept = _kept(place, record)
    if kept is not None:
        return kept
    features = penultimate_features(scored) if scored.load is not None and len(scored.rows) <= MOST_FEATURES else None
    source = "log-probabilities" if features is None else f"the {features.shape[1]:,} penultimate features"
    values = np.log(np.maximum(scored.probs, FLOOR)) if features is None else features
    found = FaceMap(embed(values, seed=seed), describe(source, len(values), dimensions=values.shape[1]))
    content = io.BytesIO()
    np.savez(content, points=found.points, how=np.array(found.how), record=np.array(json.dumps(record, sort_keys=True)))
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, content.getvalue())
    return found


def embed(values: np.ndarray, *, seed: int = 0, landmarks: int = LANDMARKS) -> np.ndarray:
    """Return a map of (N, D) values, float32 (N, 2) in [-1, 1]; see the module. Equal rows lie close together.

    Args:
        values: (N, D), finite.
        seed: Of the landmarks and of t-SNE.
        landmarks: Rows that t-SNE maps, at most.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    n = len(values)
    values = np.asarray(values, dtype=np.float32)
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:landmarks])
    components = min(COMPONENTS, values.shape[1], len(chosen))
    if n < 2 or components < 2 or not np.ptp(values[chosen], axis=0).any():
        return np.zeros((n, 2), np.float32)
    pca = PCA(n_components=components, random_state=seed).fit(values[chosen])
    reduced = np.concatenate([pca.transform(values[start : start + 65_536]) for start in range(0, n, 65_536)]).astype(np.float32)
    if n < FEWEST:
        return _to_square(reduced[:, :2])
    perplexity = min(PERPLEXITY, (len(chosen) - 1) / 3)
    placed = TSNE(perplexity=perplexity, init="pca", random_state=seed, max_iter=600).fit_transform(reduced[chosen])
    return _to_square(placed if len(chosen) == n else _place_between(reduced, chosen, placed))


def _place_between(reduced: np.ndarray, chosen: np.ndarray, placed: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(chosen))).fit(reduced[chosen])
    points = np.empty((len(reduced), 2), np.float32)
    for start in range(0, len(reduced), 65_536):
        distances, near = search.kneighbors(reduced[start : start + 65_536])
        weights = 1 / np.maximum(distances, 1e-6) ** 2
        weights /= weights.sum(axis=1, keepdims=True)
        points[start : start + 65_536] = (weights[..., None] * placed[near]).sum(axis=1)
    points[chosen] = placed
    return points


def _to_square(points: np.ndarray) -> np.ndarray:
    centred = points - (points.max(axis=0) + points.min(axis=0)) / 2
    largest = float(np.abs(centred).max())
    return (centred / largest if largest else centred).astype(np.float32)


def describe(source: str, n: int, *, dimensions: int) -> str:
    """Return how a map of `n` faces was made, in a sentence or two."""
    if n < FEWEST:
        return f"PCA of {source}."
    reduced = f"PCA of {source} to {min(COMPONENTS, dimensions, n)} components, then t-SNE (perplexity {min(PERPLEXITY, (n - 1) / 3):.0f})"
    if n <= LANDMARKS:
        return f"{reduced}. Neighbours are similar to the model; distances between clusters mean little."
    rest = f"the other {n - LANDMARKS:,} lie at the weighted mean of their {NEIGHBOURS} nearest of these"
    return f"{reduced} of {LANDMARKS:,} faces drawn at random; {rest}. Distances between clusters mean little."


def penultimate_features(scored: Scored) -> np.ndarray | None:
    """Return what the model's last linear layer takes, float32 (N, D): its input, or the spatial mean of the target layer; None without either."""
    import torch

    model = scored.model
    linear = [layer for layer in model.module.modules() if isinstance(layer, torch.nn.Linear)]
    parts: list[np.ndarray] = []
    if linear and linear[-1].out_features == len(model.expressions) + len(model.values):
        hook = linear[-1].register_forward_pre_hook(lambda _, inputs: parts.append(inputs[0].flatten(1).float().cpu().numpy()))
    elif model.target_layer is not None:
        layer = model.module.get_submodule(model.target_layer)
        hook = layer.register_forward_hook(lambda _, __, maps: parts.append(maps.flatten(2).mean(dim=2).float().cpu().numpy()))
    else:
        return None
    try:
        with torch.inference_mode():
            for start in range(0, len(scored.rows), BATCH):
                model.module(model.normalise(scored.pictures(range(start, min(start + BATCH, len(scored.rows))))))
    finally:
        hook.remove()
    return np.concatenate(parts)


def _kept(place: Path, record: dict[str, Any]) -> FaceMap | None:
    """Return the map that lies at a place if its record is the given one; a file that cannot be read is written anew."""
    try:
        with np.load(place, allow_pickle=False) as file:
            if json.loads(str(file["record"])) == record:
                return FaceMap(file["points"], str(file["how"]))
    except (OSError, ValueError, KeyError, InputError):
        return None
    return None
