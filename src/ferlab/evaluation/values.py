"""Values predicted beside the expression (valence, arousal, intensity, share of votes): RMSE, Pearson's correlation and CCC. Without torch.

References:
    Lin (1989), A concordance correlation coefficient to evaluate reproducibility.
    Mollahosseini, Hasani & Mahoor (2017), AffectNet, arXiv 1708.03985: RMSE, CCC and Pearson's correlation of valence and arousal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.faces import value_of
from ferlab.evaluation.clusters import count_clusters
from ferlab.evaluation.intervals import RESAMPLES, named_bounds
from ferlab.evaluation.paired import percentile_bounds, unit_weights
from ferlab.evaluation.predictions import expressions_of, subjects_of

PREDICTED = "value_"  # column of the predictions table, before the value's name


def score_values(predictions: pd.DataFrame, faces: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, dict[str, Any]] | None:
    """Return the scores of each value (`value_<name>`) of predictions rows against the face table's column, or None where there is none.

    Faces whose value is not known are excluded; bounds are from a bootstrap of the subjects that faces name, else of faces.

    Returns:
        `{name: {n, ccc, rmse, pearson, mean_rmse}}` with `_ci_low` and `_ci_high` of ccc and rmse, and `subjects` where bounds are over them;
        `mean_rmse` of predicting their mean.
    """
    names = [str(column).removeprefix(PREDICTED) for column in predictions.columns if str(column).startswith(PREDICTED)]
    if not names:
        return None
    same = faces.set_index("face_id", drop=False).loc[predictions["face_id"]]
    truth = {name: value_of(same, name, expressions=expressions_of(predictions)) for name in names}
    scores = {}
    for name in names:
        known = np.isfinite(truth[name])
        predicted = predictions[PREDICTED + name].to_numpy(np.float64)[known]
        scores[name] = _score(predicted, truth[name][known], subjects_of(same[known]), resamples=resamples, seed=seed)
    return scores


def concordance(predicted: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return Lin's concordance correlation coefficient of values (N,), float64 (...); `weights`: how often each counts, (..., N), once by default."""
    p, t, pp, tt, pt = _means(predicted, truth, weights)
    spread = np.maximum(0, pp - p**2) + np.maximum(0, tt - t**2) + (p - t) ** 2
    return np.asarray(np.divide(2 * (pt - p * t), spread, out=np.full_like(spread, np.nan), where=spread > 1e-12))


def _score(predicted: np.ndarray, truth: np.ndarray, subjects: np.ndarray | None, *, resamples: int, seed: int) -> dict[str, Any]:
    units = np.arange(len(truth)) if subjects is None else subjects
    drawn = list(unit_weights(units, draws=resamples, seed=seed))
    draws = {"ccc": [concordance(predicted, truth, weights) for weights in drawn], "rmse": [_rmse(predicted, truth, weights) for weights in drawn]}
    point = {"ccc": float(concordance(predicted, truth)), "rmse": float(_rmse(predicted, truth))}
    bounds = {key: percentile_bounds(point[key], (of := np.concatenate(parts))[~np.isnan(of)], units=units) for key, parts in draws.items()}
    flat = predicted.std() == 0 or truth.std() == 0
    pearson = float("nan") if flat else float(np.corrcoef(predicted, truth)[0, 1])
    over = {} if subjects is None else {"subjects": count_clusters(subjects)}
    return {"n": len(truth), **over, **point, "mean_rmse": float(truth.std()), "pearson": pearson, **named_bounds(bounds)}


def _rmse(predicted: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    return np.sqrt(((predicted - truth) ** 2).mean()) if weights is None else np.sqrt(weights @ (predicted - truth) ** 2 / weights.sum(axis=-1))


def _means(predicted: np.ndarray, truth: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return the weighted means of both values, of their squares and of their product, (5, ...)."""
    columns = np.stack([predicted, truth, predicted**2, truth**2, predicted * truth], axis=1)
    means = columns.mean(axis=0) if weights is None else (weights @ columns) / weights.sum(axis=-1, keepdims=True)
    return np.moveaxis(means, -1, 0)
