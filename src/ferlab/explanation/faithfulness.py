"""What the faithfulness metrics of a run's maps show: means with intervals, differences from a random order, the best method. Without torch.

The scores come from `ferlab.explanation.judged`. Intervals are Student's, over subjects where faces name them and over faces elsewhere; differences
are paired, face by face. A method is better than another only where the interval of their difference excludes 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.clusters import mean_bounds
from ferlab.explanation.baselines import BASELINES, RANDOM

GAINS = ("gain_blur", "gain_mean", "gain_noisy_linear")
UNCHANGED = 0.5  # mean rank correlation above which a map counts as unchanged by random weights


@dataclass(frozen=True)
class Metric:
    """A metric of maps: its heading in a table, 1 where higher is better, -1 where lower is, 0 where neither, its least and greatest value."""

    title: str
    better: int
    low: float = -np.inf
    high: float = np.inf


METRICS: Mapping[str, Metric] = {
    "gain_blur": Metric("gain (blur), points ↑", 1),
    "gain_mean": Metric("gain (mean), points ↑", 1),
    "gain_noisy_linear": Metric("gain (noisy linear), points ↑", 1),
    "infidelity": Metric("infidelity, points ↓", -1, 0),
    "max_sensitivity": Metric("max-sensitivity ↓", -1, 0),
    "sparseness": Metric("sparseness", 0, 0, 1),
    "randomised": Metric("similarity with random weights ↓", -1, -1, 1),
    "other_class": Metric("similarity with another class ↓", -1, -1, 1),
    "entropy_rise": Metric("rise of entropy, random weights ↑", 1),
    **{f"{metric}_{imputation}": Metric(f"{metric}, {imputation.replace('_', ' ')}", sign, 0)
       for imputation in ("blur", "mean", "noisy_linear") for metric, sign in (("deletion", -1), ("insertion", 1))},
}  # fmt: skip
SHOWN = tuple(METRICS)[:8]
COMPARED = (*GAINS, "infidelity", "max_sensitivity", "sparseness", "randomised", "other_class")  # whose agreement is measured


def clusters_of(faces: pd.DataFrame, judged: pd.DataFrame) -> np.ndarray:
    """Return the subject of each judged face, in their order; its key where the table knows no subject."""
    own = faces.set_index("face_id").loc[judged["face_id"].unique()]
    keys = pd.Series(own.index.astype(str), index=own.index)
    return (own["subject"].astype(object).where(own["subject"].notna(), keys) if "subject" in own else keys).to_numpy(str)


def in_order(judged: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Return the scores of `judge_maps` with the methods in another order, others last; the faces of each stay in theirs."""
    places = {name: place for place, name in enumerate(methods)}
    return judged.iloc[np.argsort(judged["method"].map(places).fillna(len(places)).to_numpy(), kind="stable")].reset_index(drop=True)


def face_scores(judged: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return each metric of METRICS as a table of faces (rows, in one order) by methods (columns); NaN where it was not computed.

    Args:
        judged: From `ferlab.explanation.judged.judge_maps`.
    """
    faces, methods = judged["face_id"].unique(), judged["method"].unique()
    scores: dict[str, pd.DataFrame] = {}
    for imputation in judged.loc[judged["imputation"] != "", "imputation"].unique():
        for metric in ("deletion", "insertion"):
            own = judged[(judged["metric"] == metric) & (judged["imputation"] == imputation)]
            wide = own.pivot(index=["face_id", "method"], columns="at", values="value")
            area = pd.Series(np.trapezoid(wide.to_numpy(), wide.columns.to_numpy(np.float64), axis=1), index=wide.index)
            scores[f"{metric}_{imputation}"] = area.unstack("method").reindex(index=faces, columns=methods)
        scores[f"gain_{imputation}"] = scores[f"insertion_{imputation}"] - scores[f"deletion_{imputation}"]
    for metric in ("infidelity", "max_sensitivity", "sparseness", "randomised", "other_class", "entropy_rise"):
        own = judged[(judged["metric"] == metric) & (judged["at"].isna() | (judged["at"] == 1.0))]  # randomised: all layers
        scores[metric] = own.pivot(index="face_id", columns="method", values="value").reindex(index=faces, columns=methods)
    return {metric: scores[metric] for metric in METRICS if metric in scores}


def summarise(scores: Mapping[str, pd.DataFrame], *, clusters: Sequence[Any]) -> pd.DataFrame:
    """Summarise the metrics of each method.

    Args:
        scores: From `face_scores`.
        clusters: Subject, or key, of each face, in their order.

    Returns:
        One row per metric and method that has it: `metric`, `method`, `n`, `value`, `value_ci_low`, `value_ci_high`; `ahead`, `ahead_ci_low`,
        `ahead_ci_high`: its difference from the random map on the same faces, above 0 for the better; and `best`: whether the interval of its
        difference from every other method that is no baseline excludes 0. Student's interval of a mean of bounded values, as rank correlations
        are, is cut at the bounds of `METRICS`: no mean lies beyond them, so that it covers as often as before. (Fisher's z is for one correlation
        over many pairs; its mean over faces would be of another quantity, and is infinite where one map does not change at all.)
    """
    rows = []
    for metric, table in scores.items():
        sign = METRICS[metric].better or 1
        methods = [method for method in table if method not in BASELINES and table[method].notna().any()]
        for method in (name for name in table if table[name].notna().any()):
            row: dict[str, Any] = {"metric": metric, "method": method, **mean_interval(table[method], clusters, key="value")}
            row |= {key: float(np.clip(row[key], METRICS[metric].low, METRICS[metric].high)) for key in ("value_ci_low", "value_ci_high")}
            if RANDOM in table and method != RANDOM:
                row = mean_interval(sign * (table[method] - table[RANDOM]), clusters, key="ahead") | row
            others = [mean_interval(sign * (table[method] - table[other]), clusters, key="d") for other in methods if other != method]
            named = METRICS[metric].better and method in methods and others
            rows.append(row | {"best": bool(named and all(other["d_ci_low"] > 0 for other in others))})
    columns = ["metric", "method", "n", *(f"{key}{end}" for key in ("value", "ahead") for end in ("", "_ci_low", "_ci_high")), "best"]
    return pd.DataFrame(rows).reindex(columns=columns)


def mean_interval(values: pd.Series, clusters: Sequence[Any], *, key: str) -> dict[str, float]:
    """Return `n`, the mean of the values that are known, and the bounds of its 95 % interval, NaN for fewer than two clusters."""
    known = values.notna().to_numpy()
    kept, own = values.to_numpy(np.float64)[known], np.asarray(clusters).astype(str)[known]
    mean, (low, high) = (float(kept.mean()), mean_bounds(kept, own)) if len(kept) else (float("nan"), (float("nan"), float("nan")))
    return {"n": len(kept), key: mean, f"{key}_ci_low": low, f"{key}_ci_high": high}


def oriented(scores: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the metrics of COMPARED for the methods that are no baselines, higher for the better map; methods without a score are excluded."""
    tables = {}
    for metric in COMPARED:
        if metric in scores:
            own = scores[metric].drop(columns=list(BASELINES), errors="ignore").dropna(axis=1, how="all")
            tables[metric] = own * (METRICS[metric].better or 1)
    return tables


def mean_curves(judged: pd.DataFrame, *, imputation: str = "noisy_linear") -> pd.DataFrame:
    """Return the mean curves under one imputation: `metric` (deletion or insertion), `method`, `at` and `value`."""
    own = judged[judged["imputation"] == imputation]
    return own.groupby(["metric", "method", "at"], sort=False)["value"].mean().reset_index()


def nested_summary(summary: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Return a summary as `{metric: {method: {n, value, value_ci_low, ...}}}` for the metrics file."""
    nested: dict[str, dict[str, dict[str, Any]]] = {}
    for row in summary.to_dict("records"):
        values = {str(key): value for key, value in row.items() if key not in ("metric", "method") and value == value}
        nested.setdefault(row["metric"], {})[row["method"]] = values
    return nested
