"""ROAR: remove the pixels that a method ranks highest from every face, retrain, and see how much accuracy is lost.

On control faces of the world one_region the best possible order is known, so two orders frame the methods: "truth" removes the deciding region first,
"random" removes pixels in random order. A method whose curve lies above that of random order finds fewer informative pixels than chance.

References:
    Hooker et al. (2018), A Benchmark for Interpretability Methods in Deep Neural Networks, arXiv 1806.10758: ROAR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ferlab.control import label_mask
from ferlab.evaluation.clusters import cluster_proportion
from ferlab.explanation.attributions import explain_faces
from ferlab.explanation.worlds import World, predict_logits, train_model
from ferlab.models import LoadedModel
from ferlab.paths import report_progress

TRUTH, RANDOM = "truth", "random"


def remove_highest(images: np.ndarray, order: np.ndarray, fraction: float, *, fill: int) -> np.ndarray:
    """Replace the highest pixels of each face by one grey.

    Args:
        images: uint8 (N, H, W).
        order: Attributions (N, H, W); ties are broken by position.
        fraction: Of the pixels, 0 to 1.
        fill: The grey, 0 to 255.
    """
    count = round(fraction * images[0].size)
    highest = np.argsort(-order.reshape(len(order), -1), axis=1, kind="stable")[:, :count]
    flat = images.reshape(len(images), -1).copy()
    np.put_along_axis(flat, highest, np.uint8(fill), axis=1)
    return flat.reshape(images.shape)


def roar_curves(
    world: World,
    model: LoadedModel,
    *,
    methods: Sequence[str],
    fractions: Sequence[float],
    training: dict[str, Any],
    options: dict[str, Any],
    folder: Path,
) -> list[dict[str, Any]]:
    """Retrain a model without the highest pixels, for each method, for random order and for the true one.

    Args:
        world: Faces of the world one_region.
        model: Trained on them; it is explained for its predicted classes.
        methods: Of METHODS; with none, nothing is retrained.
        fractions: Of the pixels that are removed, ascending.
        training: Arguments of `train_model` besides `folder`.
        options: Of `explain_faces`.
        folder: For checkpoints.

    Returns:
        Per method and fraction `method, fraction, accuracy, accuracy_ci_low, accuracy_ci_high` on test, with intervals over subjects, and `n`.
    """
    if not methods or not fractions:
        return []
    explained = predict_logits(model, world.images).argmax(axis=1)
    orders = explain_faces(model, world.images, explained_class=explained, methods=methods, **options)
    rng = np.random.default_rng(training["seed"])
    noise = rng.random(world.images.shape)
    orders |= {RANDOM: noise, TRUTH: label_mask(world.faces, size=world.images.shape[1]) + noise / 2}
    fill = round(float(world.images[world.rows("train")].mean()))
    rows, test = [], world.rows("test")
    subject, target = world.faces["subject"].to_numpy()[test], world.faces["target"].to_numpy()[test]
    for number, (method, fraction) in enumerate((method, fraction) for method in orders for fraction in fractions):
        report_progress(done=number, total=len(orders) * len(fractions), note=f"ROAR: {method}, {fraction:.0%} removed")
        removed = replace(world, name=f"roar-{method}-{fraction:g}", images=remove_highest(world.images, orders[method], fraction, fill=fill))
        hits = predict_logits(train_model(removed, **training, folder=folder), removed.images[test]).argmax(axis=1) == target
        low, high = cluster_proportion(hits, subject)
        rows.append({"method": method, "fraction": fraction, "accuracy": float(hits.mean()), "accuracy_ci_low": low, "accuracy_ci_high": high,
                     "n": len(test)})  # fmt: skip
    return rows
