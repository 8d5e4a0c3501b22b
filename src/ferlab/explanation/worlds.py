"""Models trained in worlds of control faces whose evidence is known, and the faces on which their maps are tested.

    one_region    one region decides the label
    shortcut      a planted mark agrees with the label in training and is independent of it at test
    independent   the same test faces; the mark was independent of the label in training too
    null          the labels mean nothing

Faces show an expression clearly: below an intensity they are not drawn, so that few faces suffice for a model to use the evidence.

References:
    Yang & Kim (2019), BAM, arXiv 1907.09701: models that differ in what they were trained to use, explained on the same pictures.
    Adebayo et al. (2018), Sanity Checks for Saliency Maps, arXiv 1810.03292: a model trained on labels that mean nothing.
    Wu & Johnson (2021), Rethinking "Batch" in BatchNorm, arXiv 2105.07576: statistics of batch normalisation computed after training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.optim.swa_utils import update_bn

from ferlab.control import read, spec_of
from ferlab.control.specs import FaceSpec
from ferlab.control.worlds import meaningless_labels
from ferlab.data.store import Store
from ferlab.explanation.interventions import draw_all
from ferlab.expressions import EXPRESSIONS, USAGES
from ferlab.models import LoadedModel, load_model
from ferlab.params import Train
from ferlab.paths import InputError
from ferlab.training.fit import fit

WORLDS: Mapping[str, Mapping[str, Any]] = {
    "one_region": {"world": "one_region"},
    "shortcut": {"world": "shortcut"},
    "independent": {"world": "shortcut", "rho": 1 / len(EXPRESSIONS)},
}
NULL = "null"
SPLIT_OF = dict(zip(USAGES, ("train", "val", "test"), strict=True))
VAL, TEST = 0.03, 0.13  # fractions of the faces; no split selects an epoch
DRAWN = 3  # faces whose specs are sampled, per face that is kept
FACES_AT_ONCE = 128  # of those that the statistics of batch normalisation are computed from
SETTINGS = {"optimizer": "adamw", "lr": 0.002, "weight_decay": 0.001, "schedule": "one_cycle", "select": "none", "threads": 1}


@dataclass(frozen=True)
class World:
    """Faces and labels of one world.

    Attributes:
        name: A key of `WORLDS`, or `NULL`.
        images: uint8 (N, S, S).
        faces: Their table, with `split`.
    """

    name: str
    images: np.ndarray
    faces: pd.DataFrame

    def rows(self, split: str) -> np.ndarray:
        """Return the rows of a split."""
        return np.flatnonzero(self.faces["split"] == split)


def draw_world(name: str, *, faces: int, subjects: int, size: int, intensity: float, region: str, rho: float, seed: int) -> World:
    """Draw the faces of a world, train and test by subject.

    Args:
        name: A key of `WORLDS`.
        faces: How many are drawn.
        subjects: How many there are.
        size: Side of a face.
        intensity: Least intensity of an expression, 0 to 5; neutral faces have none.
        region: Deciding region of one_region.
        rho: Probability that the mark of the world shortcut agrees with the label in training.
        seed: Of the faces.

    Raises:
        InputError: If too few sampled faces are as strong.
    """
    options: dict[str, Any] = {"rho": rho, **WORLDS[name], "overlap": 0.0, "val_share": VAL, "test_share": TEST}
    _, table = read(faces=DRAWN * faces, subjects=subjects, seed=seed, pictures=False, region=region, **options)
    table = table[(table["intensity"] >= intensity) | (table["intensity"] == 0)].head(faces).reset_index(drop=True)
    if len(table) < faces:
        raise InputError(
            f"worlds.intensity: only {len(table)} of {DRAWN * faces} sampled faces reach {intensity:g}, and {faces} are wanted; lower it"
        )
    specs = [spec_of(face) for _, face in table.iterrows()]
    split = table["usage"].map(SPLIT_OF)
    return World(name, draw_all(specs, size=size), table.assign(split=split, content_hash="", duplicate_group=np.arange(len(table))))


def null_world(world: World, *, seed: int) -> World:
    """Return the same faces with labels that mean nothing."""
    labels = meaningless_labels(len(world.faces), classes=np.unique(world.faces["target"]), seed=seed)
    return World(NULL, world.images, world.faces.assign(target=labels))


def train_model(world: World, *, model: str, options: Mapping[str, Any], epochs: int, batch_size: int, seed: int, folder: Path) -> LoadedModel:
    """Train a model on the train and val faces of a world; the last epoch is kept.

    Statistics of batch normalisation are computed anew from the train faces: in few steps running means do not leave their initial values.

    Args:
        world: Its faces.
        model: A key of MODELS.
        options: The model's options.
        epochs: Epochs.
        batch_size: Faces per step.
        seed: Of weights and order.
        folder: For checkpoints: what was trained before a kill is not trained again.
    """
    store = Store(images=world.images, faces=world.faces, expressions=EXPRESSIONS)
    flip = "shortcut" not in world.faces  # a mirrored mark looks like another's
    settings = Train.model_validate({**SETTINGS, "epochs": epochs, "batch_size": batch_size, "flip": flip})
    place = folder / f"{world.name}-{seed}"
    result = fit(store, run=f"worlds: {world.name}", model=model, options=dict(options), seed=seed, settings=settings, partial=place)
    weights = place / "weights.safetensors"
    result.save(weights)
    trained = load_model(weights)
    with torch.no_grad():
        update_bn(trained.normalise(world.images[world.rows("train")]).split(FACES_AT_ONCE), trained.module)
    return trained


@torch.inference_mode()
def predict_logits(model: LoadedModel, images: np.ndarray, *, at_once: int = 512) -> np.ndarray:
    """Return the logits (N, K) float64 of faces, uint8 (N, S, S)."""
    parts = [model.module(model.normalise(images[start : start + at_once])) for start in range(0, len(images), at_once)]
    return torch.cat(parts)[:, : len(model.expressions)].double().numpy()


def sample_test(world: World, model: LoadedModel, *, per_class: int, seed: int) -> np.ndarray:
    """Choose test faces, in ascending rows, `per_class` times the number of labels: those that a model classifies correctly first, label by label."""
    rows = world.rows("test")
    target = world.faces["target"].to_numpy()[rows]
    hit = predict_logits(model, world.images[rows]).argmax(axis=1) == target
    order = np.random.default_rng(seed).permutation(len(rows))
    turn = pd.Series(order).groupby([target[order], hit[order]]).cumcount().to_numpy()
    chosen = order[np.lexsort((turn, ~hit[order]))][: per_class * len(np.unique(target))]
    return np.sort(rows[chosen])


def specs_of(world: World, rows: np.ndarray) -> list[FaceSpec]:
    """Return the specs of some faces."""
    return [spec_of(face) for _, face in world.faces.iloc[rows].iterrows()]


def accuracy_of(world: World, model: LoadedModel) -> dict[str, float]:
    """Return the accuracy on train and test, and the number of test faces."""
    hit = {split: predict_logits(model, world.images[rows]).argmax(axis=1) == world.faces["target"].to_numpy()[rows]
           for split in ("train", "test") for rows in [world.rows(split)]}  # fmt: skip
    return {"train_accuracy": float(hit["train"].mean()), "test_accuracy": float(hit["test"].mean()), "n_test": len(hit["test"])}
