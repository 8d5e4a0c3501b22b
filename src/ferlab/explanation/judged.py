"""Every faithfulness metric of a model's maps, face by face, in one long table: what `ferlab.explanation.faithfulness` summarises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor, nn

from ferlab.explanation.attributions import attribute, explain_settings, resize_maps
from ferlab.explanation.baselines import baseline_maps
from ferlab.explanation.imputation import IMPUTATIONS
from ferlab.explanation.randomisation import Explain, other_class_similarity, randomise_weights
from ferlab.explanation.removal import DELETION, FRACTIONS, INSERTION, predictor, removal_curves
from ferlab.explanation.stability import gini, infidelities, max_sensitivity
from ferlab.models import LoadedModel
from ferlab.models.inputs import prepare_images
from ferlab.paths import report_progress

ONE_PASS = ("grad_cam", "grad_cam_pp", "hires_cam", "layer_cam", "guided_grad_cam", "gradients")  # one backward pass per face: cheap to repeat
SLOW, SLOW_FACES = ("rise", "xrai"), 7  # tenths of a second and more per map


def judge_maps(
    model: LoadedModel,
    images: np.ndarray,
    *,
    maps: Mapping[str, np.ndarray],
    explained_class: np.ndarray,
    face_id: Any,
    settings: Mapping[str, Any] | None = None,
    recomputed: int = 14,
    squares: int = 10,
    samples: int = 5,
    copies: int = 8,
    stages: int = 4,
    batch_size: int = 1024,
    seed: int = 0,
) -> pd.DataFrame:
    """Judge maps of stored faces.

    Args:
        model: What the maps explain.
        images: uint8 (N, H, W) or (N, H, W, 3).
        maps: Per name of `METHODS` the attributions (N, H, W).
        explained_class: (N,) int.
        face_id: Keys of the faces (N,).
        settings: Arguments of `explain_faces` that the maps were computed with (window, stride, steps, samples, masks, ...), for maps that are
            computed again.
        recomputed: Faces, at most and spread over the classes, whose maps are computed again: of noisy faces, of another class, and of a model
            with random weights. Of the methods in SLOW at most SLOW_FACES.
        squares: Of `infidelities`.
        samples: Of `max_sensitivity`.
        copies: Of `randomise_weights`, for the methods of ONE_PASS; others are computed once, with all weights random.
        stages: Likewise.
        batch_size: Perturbed faces per forward pass.
        seed: Of everything random.

    Returns:
        Columns `face_id`, `method` (a method, "random", "centre" or "edges"), `metric`, `imputation` ("" where none is used), `at` (fraction of
        pixels, or of random layers; NaN elsewhere) and `value`.
    """
    faces = prepare_images(images, size=model.size, channels=model.channels)
    classes = np.asarray(explained_class)
    size = (model.size, model.size)
    judged = {**maps, **baseline_maps(images, seed=seed)}
    sized = {name: resize_maps(np.asarray(values, np.float32), size) for name, values in judged.items()}
    given = {"maps": sized, "explained_class": classes, "batch_size": batch_size, "seed": seed}
    found = _unchanged_maps(predictor(model), faces, squares=squares, **given)
    how = {"batch_size": batch_size, "seed": seed, **(settings or {}), "side": images.shape[1]}
    for place, name in enumerate(maps):
        report_progress(done=place, total=len(maps), note=f"maps computed again: {name}")
        chosen = spread_rows(classes, at_most=min(recomputed, SLOW_FACES) if name in SLOW else recomputed)
        explain, normalised = _explainer(model, name, **how), model.scale(faces[chosen])
        own = sized[name][chosen] if images.shape[1:3] == size else explain(model.module, normalised, classes[chosen])
        repeated = {"copies": copies, "stages": stages} if name in ONE_PASS else {"copies": 1, "stages": 1}
        again = {"maps": own, "explained_class": classes[chosen]}
        for metric, at, values in _recomputed(model, explain, faces[chosen], **again, samples=samples, seed=seed, **repeated):
            found.append((name, metric, "", at, chosen, values))
    return _long_table(found, face_id=np.asarray(face_id))


def spread_rows(classes: np.ndarray, *, at_most: int) -> np.ndarray:
    """Return up to `at_most` rows in ascending order, the first of each class, then the second of each, and so on."""
    order = pd.Series(np.asarray(classes)).groupby(np.asarray(classes)).cumcount().to_numpy()
    return np.sort(np.argsort(order, kind="stable")[:at_most])


def _unchanged_maps(
    predict: Callable[[Tensor], Tensor], faces: Tensor, *, squares: int, maps: Mapping[str, np.ndarray], **how: Any
) -> list[tuple[Any, ...]]:
    """Return the rows of `_long_table` of what needs no new maps."""
    found: list[tuple[Any, ...]] = []
    for imputation in IMPUTATIONS:
        for name, curves in removal_curves(predict, faces, imputation=imputation, maps=maps, **how).items():
            found += _curve_rows(name, imputation, curves)
        report_progress(done=len(found), total=6 * len(maps), note="curves of deletion and insertion")
    for name, values in infidelities(predict, faces, squares=squares, maps=maps, **how).items():
        found.append((name, "infidelity", "", np.nan, np.arange(len(faces)), values))
        found.append((name, "sparseness", "", np.nan, np.arange(len(faces)), gini(maps[name])))
    return found


def _recomputed(
    model: LoadedModel, explain: Explain, faces: Tensor, *, maps: np.ndarray, explained_class: np.ndarray, samples: int, copies: int, stages: int,
    seed: int,
) -> Iterator[tuple[str, float, np.ndarray]]:  # fmt: skip
    """Yield metric, fraction of random layers where there is one, and values (n,) of what needs new maps."""
    module, normalised, classes = model.module, model.scale(faces), explained_class
    noisy = {"maps": maps, "explained_class": classes, "samples": samples, "seed": seed}
    yield "max_sensitivity", np.nan, max_sensitivity(lambda given, own: explain(module, model.scale(given), own.numpy()), faces, **noisy)
    other = {"maps": maps, "explained_class": classes, "num_classes": len(model.expressions)}
    yield "other_class", np.nan, other_class_similarity(explain, module, normalised, **other)
    similar, rise = randomise_weights(explain, module, normalised, explained_class=classes, maps=maps, stages=stages, copies=copies, seed=seed)
    for fraction, values in similar.items():
        yield "randomised", fraction, values
    yield "entropy_rise", np.nan, rise


def _explainer(model: LoadedModel, method: str, **settings: Any) -> Explain:
    """Return a function to maps (N, H, W), at the model's size, by a method as `explain_faces` sets it."""
    options = explain_settings(model, method, **settings)

    def explain(module: nn.Module, faces: Tensor, classes: np.ndarray) -> np.ndarray:
        return attribute(method, module, faces, explained_class=classes, **options)[:, 0].numpy()

    return explain


def _curve_rows(name: str, imputation: str, curves: np.ndarray) -> Iterator[tuple[Any, ...]]:
    everyone = np.arange(len(curves))
    for metric, kind in (("deletion", DELETION), ("insertion", INSERTION)):
        for place, fraction in enumerate((0.0, *FRACTIONS, 1.0)):
            yield name, metric, imputation, fraction, everyone, curves[:, kind, place]


def _long_table(found: list[tuple[Any, ...]], *, face_id: np.ndarray) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"face_id": face_id[rows], "method": name, "metric": metric, "imputation": imputation, "at": at, "value": values})
        for name, metric, imputation, at, rows, values in found
    ]
    return pd.concat(parts, ignore_index=True).astype({"at": np.float64, "value": np.float64})
