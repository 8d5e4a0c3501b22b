"""Values that a model says beside the expression: valence, arousal, intensity. How near they come to the truth, without torch.

RMSE is in the value's own unit. CCC is what the field reports for valence and arousal: 1 only where said and true agree, and 0 for a model
that says the mean of all, whatever its RMSE.

References:
    Lin (1989), A concordance correlation coefficient to evaluate reproducibility.
    Mollahosseini, Hasani & Mahoor (2017), AffectNet, arXiv 1708.03985: RMSE, CCC and Pearson's correlation of valence and arousal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.intervals import RESAMPLES
from ferlab.evaluation.proportions import LEVEL

SAID = "value_"  # column of the predictions table, before the value's name


def score_values(predictions: pd.DataFrame, faces: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, dict[str, Any]] | None:
    """Return how well each value of a predictions table meets the face table's, or None where the model says none.

    Args:
        predictions: Predictions rows of one split, with columns `value_<name>`.
        faces: The set's face table, with columns `<name>`, NaN where unknown; such faces are left out.
        resamples: Bootstrap resamples of faces, for the bounds.
        seed: Of the bootstrap.

    Returns:
        `{name: {n, ccc, rmse, pearson, mean_rmse}}` with `_ci_low` and `_ci_high` of ccc and rmse. `mean_rmse` is the RMSE of saying the mean of
        these faces to all: what a model must beat.
    """
    names = [str(column).removeprefix(SAID) for column in predictions.columns if str(column).startswith(SAID)]
    if not names:
        return None
    truth = faces.set_index("face_id").loc[predictions["face_id"], names]
    return {
        name: _score(predictions[SAID + name].to_numpy(np.float64), truth[name].to_numpy(np.float64), resamples=resamples, seed=seed)
        for name in names
    }


def concordance(said: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return Lin's concordance correlation coefficient over the last axis, float64 (...)."""
    said_mean, true_mean = said.mean(axis=-1, keepdims=True), truth.mean(axis=-1, keepdims=True)
    covariance = ((said - said_mean) * (truth - true_mean)).mean(axis=-1)
    spread = said.var(axis=-1) + truth.var(axis=-1) + (said_mean - true_mean)[..., 0] ** 2
    return np.divide(2 * covariance, spread, out=np.full_like(spread, np.nan), where=spread > 0)


def _score(said: np.ndarray, truth: np.ndarray, *, resamples: int, seed: int) -> dict[str, Any]:
    said, truth = said[np.isfinite(truth)], truth[np.isfinite(truth)]
    drawn = np.random.default_rng(seed).integers(0, len(said), (resamples, len(said)))
    bounds = {}
    for key, values in (("ccc", concordance(said[drawn], truth[drawn])), ("rmse", _rmse(said[drawn], truth[drawn]))):
        bounds[f"{key}_ci_low"], bounds[f"{key}_ci_high"] = (float(np.nanquantile(values, q)) for q in ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    point = {"ccc": float(concordance(said, truth)), "rmse": float(_rmse(said, truth)), "mean_rmse": float(truth.std())}
    flat = said.std() == 0 or truth.std() == 0
    return {"n": len(said), **point, "pearson": float("nan") if flat else float(np.corrcoef(said, truth)[0, 1]), **bounds}


def _rmse(said: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.sqrt(((said - truth) ** 2).mean(axis=-1))
