"""How far metrics of attribution maps agree: rank correlations between them, over the faces of a method and over methods. Without torch.

References:
    Tomsett et al. (2020), Sanity Checks for Saliency Metrics, arXiv 1912.01451: metrics disagree, within and between faces.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, rankdata

from ferlab.evaluation.paired import percentile_bounds, unit_weights

RESAMPLES = 500
Measure = Callable[[np.ndarray, np.ndarray], float]
COLUMNS = ["first", "second", "n", "correlation", "correlation_ci_low", "correlation_ci_high"]
FEWEST_FACES, FEWEST_METHODS = 10, 4


def agreement_over_faces(
    scores: Mapping[str, pd.DataFrame], *, clusters: Sequence[Any], resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Return Spearman's correlation between metrics over faces, averaged over methods, with bootstrap intervals over clusters.

    Args:
        scores: Per metric a table of faces (rows, the same in all) by methods (columns), higher for a better map. Metrics of too few faces are
            excluded.
        clusters: Subject of each face, or the face itself.
        resamples: Of the clusters.
        seed: Of the resamples.

    Returns:
        One row per pair: `first`, `second`, `n`, `correlation`, `correlation_ci_low`, `correlation_ci_high`; NaN where undefined.
    """
    return _agreement(scores, _spearman, over="faces", clusters=clusters, resamples=resamples, seed=seed)


def agreement_over_methods(
    scores: Mapping[str, pd.DataFrame], *, clusters: Sequence[Any], resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Return Kendall's tau between metrics over methods' means, with bootstrap intervals over clusters; empty for too few methods.

    Arguments and result as `agreement_over_faces`; n counts methods.
    """
    if not scores or min(table.shape[1] for table in scores.values()) < FEWEST_METHODS:
        return pd.DataFrame(columns=COLUMNS)
    return _agreement(scores, _kendall, over="methods", clusters=clusters, resamples=resamples, seed=seed)


def mean_agreement(pairs: pd.DataFrame, *, strong: float = 0.7) -> dict[str, float]:
    """Return the mean correlation of the pairs, how many intervals lie above 0, below 0 and below `strong`, and how many pairs there are."""
    known = pairs.dropna(subset=["correlation_ci_low"])
    return {
        "pairs": len(known), "mean": float(known["correlation"].mean()) if len(known) else float("nan"),
        "positive": int((known["correlation_ci_low"] > 0).sum()), "negative": int((known["correlation_ci_high"] < 0).sum()),
        "weak": int((known["correlation_ci_high"] < strong).sum()),
    }  # fmt: skip


def _agreement(
    scores: Mapping[str, pd.DataFrame], measure: Measure, *, over: str, clusters: Sequence[Any], resamples: int, seed: int
) -> pd.DataFrame:
    rows, names = [], [name for name, table in scores.items() if len(table.dropna()) >= FEWEST_FACES]
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            a, b = scores[first].dropna().align(scores[second].dropna(), join="inner")
            left, right = a.to_numpy(np.float64), b.to_numpy(np.float64)
            units, value = np.asarray(clusters).astype(str)[scores[first].index.get_indexer(a.index)], measure(left, right)
            weights = (each for part in unit_weights(units, draws=resamples, seed=seed) for each in part) if len(a) >= FEWEST_FACES else []
            picked = (np.repeat(np.arange(len(a)), each.astype(int)) for each in weights)
            drawn = np.array([measure(left[rows], right[rows]) for rows in picked], dtype=np.float64)
            finite = drawn[np.isfinite(drawn)]
            low, high = percentile_bounds(value, finite, units=units) if len(finite) > resamples / 2 else (np.nan, np.nan)
            row = {"first": first, "second": second, "n": len(a) if over == "faces" else a.shape[1], "correlation": value}
            rows.append(row | {"correlation_ci_low": float(low), "correlation_ci_high": float(high)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Mean over methods (columns) of Spearman's correlation over faces (rows); methods without spread are excluded."""
    ranks = [rankdata(values, axis=0) for values in (first, second)]
    apart = [values - values.mean(axis=0) for values in ranks]
    scale = np.sqrt((apart[0] ** 2).sum(axis=0) * (apart[1] ** 2).sum(axis=0))
    known = scale > 0
    return float(((apart[0] * apart[1]).sum(axis=0)[known] / scale[known]).mean()) if known.any() else float("nan")


def _kendall(first: np.ndarray, second: np.ndarray) -> float:
    return float(kendalltau(first.mean(axis=0), second.mean(axis=0)).statistic)
