"""Who can score the faces of a set: the model that ships, and the trained runs of params.yaml. Runs start PyTorch when they are first asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ferlab.data.store import ImageRows
from ferlab.live.correction.doubtful import Predict
from ferlab.live.model import LiveModel
from ferlab.params import Params, load_params
from ferlab.paths import SHIPS, InputError, artefact

AT_ONCE = 256  # faces


def prepared_sets() -> tuple[Params | None, list[str]]:
    """Return params.yaml and the sets of it that are prepared; None and no set where it cannot be read."""
    try:
        params = load_params()
    except InputError:
        return None, []
    return params, [name for name in params.prepare if artefact("prepare", "store", name).is_dir()]


def scorers(params: Params | None) -> list[str]:
    """Return "shipped" and the trained runs."""
    return [SHIPS, *(name for name in (params.runs if params else ()) if artefact("train", "weights", name).is_file())]


def predictor_of(name: str, expressions: tuple[str, ...]) -> tuple[Predict, tuple[str, ...]]:
    """Return a function from faces to probabilities, and the splits that the model was trained or selected on in its own set.

    Args:
        name: One of `scorers`.
        expressions: Those of the set that is to be scored.

    Raises:
        InputError: The model predicts other expressions, or its file cannot be read.
    """
    if name == SHIPS:
        model = LiveModel.load()
        _check(name, model.expressions, expressions)
        return lambda images: _in_parts(model, images), ()
    from ferlab.evaluation.scoring import predict_probs  # Keep: it starts PyTorch
    from ferlab.models import load_model

    run = load_model(artefact("train", "weights", name))
    _check(name, run.expressions, expressions)
    return lambda images: predict_probs(run, images), (*run.trained_on, *run.selected_on)


def _check(name: str, predicted: tuple[str, ...], expressions: tuple[str, ...]) -> None:
    if tuple(predicted) != tuple(expressions):
        raise InputError(f"{name} predicts {', '.join(predicted)}; the set has {', '.join(expressions)}; choose another model")


def _in_parts(model: LiveModel, images: np.ndarray | ImageRows) -> np.ndarray:
    parts: list[Any] = [model.predictor.predict_faces(np.asarray(images[start : start + AT_ONCE])) for start in range(0, len(images), AT_ONCE)]
    return np.concatenate(parts)
