"""Values predicted beside the expression (valence, arousal, intensity): RMSE in the value's unit, Pearson's correlation and CCC. Without torch.

References:
    Lin (1989), A concordance correlation coefficient to evaluate reproducibility.
    Mollahosseini, Hasani & Mahoor (2017), AffectNet, arXiv 1708.03985: RMSE, CCC and Pearson's correlation of valence and arousal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.intervals import RESAMPLES, named_bounds
from ferlab.evaluation.proportions import LEVEL

PREDICTED = "value_"  # column of the predictions table, before the value's name


def score_values(predictions: pd.DataFrame, faces: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, dict[str, Any]] | None:
    """Return the scores of each value (`value_<name>`) of predictions rows against the face table's column, or None where there is none.

    Faces whose value is not known are excluded; bounds are from a bootstrap of faces.

    Returns:
        `{name: {n, ccc, rmse, pearson, mean_rmse}}` with `_ci_low` and `_ci_high` of ccc and rmse; `mean_rmse` of predicting their mean.
    """
    names = [str(column).removeprefix(PREDICTED) for column in predictions.columns if str(column).startswith(PREDICTED)]
    if not names:
        return None
    truth = faces.set_index("face_id").loc[predictions["face_id"], names]
    return {
        name: _score(predictions[PREDICTED + name].to_numpy(np.float64), truth[name].to_numpy(np.float64), resamples=resamples, seed=seed)
        for name in names
    }


def concordance(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return Lin's concordance correlation coefficient over the last axis, float64 (...)."""
    predicted_mean, true_mean = predicted.mean(axis=-1, keepdims=True), truth.mean(axis=-1, keepdims=True)
    covariance = ((predicted - predicted_mean) * (truth - true_mean)).mean(axis=-1)
    spread = predicted.var(axis=-1) + truth.var(axis=-1) + (predicted_mean - true_mean)[..., 0] ** 2
    return np.divide(2 * covariance, spread, out=np.full_like(spread, np.nan), where=spread > 0)


def _score(predicted: np.ndarray, truth: np.ndarray, *, resamples: int, seed: int) -> dict[str, Any]:
    predicted, truth = predicted[np.isfinite(truth)], truth[np.isfinite(truth)]
    drawn = np.random.default_rng(seed).integers(0, len(truth), (resamples, len(truth)))
    draws = {"ccc": concordance(predicted[drawn], truth[drawn]), "rmse": _rmse(predicted[drawn], truth[drawn])}
    bounds = {key: tuple(np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()) for key, values in draws.items()}
    point = {"ccc": float(concordance(predicted, truth)), "rmse": float(_rmse(predicted, truth)), "mean_rmse": float(truth.std())}
    flat = predicted.std() == 0 or truth.std() == 0
    pearson = float("nan") if flat else float(np.corrcoef(predicted, truth)[0, 1])
    return {"n": len(truth), **point, "pearson": pearson, **named_bounds(bounds)}


def _rmse(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.sqrt(((predicted - truth) ** 2).mean(axis=-1))
