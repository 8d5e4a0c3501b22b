"""How much of a map falls on a part of the face, per face and per expression, beside what a map without opinion would give.

Owns shares and their tables. Where the parts are is `regions`. Works on numpy and pandas alone.

References:
    Arras, Osman & Samek (2022), CLEVR-XAI, arXiv 2003.07258: share of attribution inside a mask (relevance mass accuracy).
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823 (cs230): parts its model looks at, judged by eye on occlusion maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ferlab.paths import InputError

RESAMPLES = 2000

# What cs230 saw on its web-app model; for neutral "all parts of the face except for the nose".
CS230_FINDINGS: dict[str, tuple[str, ...]] = {
    "disgust": ("nose", "mouth"),
    "happy": ("mouth",),
    "surprise": ("eyes", "nose"),
    "neutral": ("brows", "eyes", "mouth", "rest"),
}


def relative_density(attributions: np.ndarray) -> np.ndarray:
    """Positive part of maps (N, H, W) in units of its own mean: 1 everywhere for a map without preference.

    Maps of any method and scale can then share one colour scale. A map without positive value stays zero.
    """
    positive = np.clip(np.asarray(attributions, dtype=np.float64), 0, None)
    mean = positive.mean(axis=(1, 2), keepdims=True)
    return np.divide(positive, mean, out=np.zeros_like(positive), where=mean > 0)


def region_shares(attributions: np.ndarray, masks: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Share of each map's positive attribution that falls on each region.

    Args:
        attributions: Maps (N, H, W); only values above zero count.
        masks: Per region a bool mask (H, W) for all faces or (N, H, W), one per face. Regions may overlap.

    Returns:
        (N, regions) float64, 0 to 1; NaN where a map has no positive value.

    Raises:
        InputError: If a mask does not fit the maps.
    """
    positive = np.clip(np.asarray(attributions, dtype=np.float64), 0, None)
    total = positive.sum(axis=(1, 2))
    shares = {}
    for region, mask in masks.items():
        if mask.shape not in (positive.shape, positive.shape[1:]):
            raise InputError(f"region_shares: expected masks that fit maps {positive.shape}, got {mask.shape} for {region!r}")
        with np.errstate(invalid="ignore"):  # 0 / 0: a map without positive value has no shares
            shares[region] = (positive * mask).sum(axis=(1, 2)) / total
    return pd.DataFrame(shares)


def area_shares(masks: Mapping[str, np.ndarray]) -> pd.Series:
    """Share of the frame that each region takes, 0 to 1, over all masks: what a map that is the same everywhere would give."""
    return pd.Series({region: float(mask.mean()) for region, mask in masks.items()}, dtype="float64")


def class_shares(shares: pd.DataFrame, classes: np.ndarray, *, expressions: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """Mean share per expression and region, with a 95 % percentile bootstrap over faces.

    Args:
        shares: (N, regions), as of `region_shares`.
        classes: Class of each face (N,) int.
        expressions: Names of the classes.
        seed: Of the bootstrap.

    Returns:
        One row per expression and region: `expression, region, n, share, ci_low, ci_high`. Faces without shares do not count in
        n; share is NaN where n is 0, the interval where n is below 2.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for number, expression in enumerate(expressions):
        values = shares[np.asarray(classes) == number].dropna().to_numpy()
        means = _bounds(values, rng)
        for column, region in enumerate(shares.columns):
            share, low, high = means[:, column]
            rows.append({"expression": expression, "region": region, "n": len(values), "share": share, "ci_low": low, "ci_high": high})
    return pd.DataFrame(rows)


def method_shares(
    maps: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], *, classes: np.ndarray, expressions: Sequence[str], seed: int = 0
) -> dict[str, pd.DataFrame]:
    """Return the table of `class_shares` of each method's maps (N, H, W), on the same masks."""
    return {method: class_shares(region_shares(values, masks), classes, expressions=expressions, seed=seed) for method, values in maps.items()}


def compare_with_area(table: pd.DataFrame, areas: pd.Series) -> pd.DataFrame:
    """Add to a table of `class_shares` each region's `area` and `density_ratio`, the share per area: 1 where the model has no preference."""
    area = table["region"].map(areas)
    return table.assign(area=area, density_ratio=table["share"] / area)


def cs230_findings(table: pd.DataFrame) -> pd.DataFrame:
    """Set the parts that cs230 saw its model look at against the measured ones.

    Args:
        table: As of `compare_with_area`, with the template's regions.

    Returns:
        One row per expression of CS230_FINDINGS: `expression`, `cs230` (its parts), `measured` (the parts whose interval lies
        above their area, by falling density_ratio), `n`, and `density_ratio_named` and `density_ratio_others`, share per area of cs230's parts and of all
        others.
    """
    rows = []
    for expression, named in CS230_FINDINGS.items():
        regions = table[(table["expression"] == expression) & (table["n"] > 0)]
        inside = regions["region"].isin(named)
        above = regions[regions["ci_low"] > regions["area"]].sort_values("density_ratio", ascending=False)
        row = {"expression": expression, "cs230": ", ".join(named), "measured": ", ".join(above["region"]) or "none"}
        row["n"] = int(regions["n"].max()) if len(regions) else 0
        row["density_ratio_named"] = _density_ratio(regions[inside])
        row["density_ratio_others"] = _density_ratio(regions[~inside])
        rows.append(row)
    return pd.DataFrame(rows)


def nested_shares(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Turn tables of `class_shares` into `{method: {expression: {"n": n, region: {share, ...}}}}` for the metrics file."""
    nested: dict[str, Any] = {}
    for method, table in tables.items():
        for row in table.itertuples():
            entry = nested.setdefault(method, {}).setdefault(row.expression, {"n": row.n})
            entry[row.region] = {"share": row.share, "share_ci_low": row.ci_low, "share_ci_high": row.ci_high}
    return nested


def _density_ratio(regions: pd.DataFrame) -> float:
    area = regions["area"].sum()
    return float(regions["share"].sum() / area) if area else float("nan")


def _bounds(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean, 2.5 % and 97.5 % bound of each column of (n, regions), as (3, regions); whole faces are redrawn."""
    regions = values.shape[1]
    if len(values) < 2:
        mean = values.mean(axis=0) if len(values) else np.full(regions, np.nan)
        return np.stack([mean, np.full(regions, np.nan), np.full(regions, np.nan)])
    draws = rng.integers(len(values), size=(RESAMPLES, len(values)))
    resampled = np.stack([values[:, column][draws].mean(axis=1) for column in range(regions)], axis=1)
    return np.vstack([values.mean(axis=0), np.quantile(resampled, [0.025, 0.975], axis=0)])
