"""Attribution mass: the fraction of a map's positive attribution in a region, per face and per expression.

The density ratio of a region is its attribution mass divided by its area as a fraction of the frame: 1 for a uniform map.

References:
    Arras, Osman & Samek (2022), CLEVR-XAI, arXiv 2003.07258: relevance mass accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.clusters import mean_bounds
from ferlab.paths import InputError

RESAMPLES = 2000


def relative_density(attributions: np.ndarray) -> np.ndarray:
    """Return the positive part of maps (N, H, W) divided by its own mean: 1 everywhere for a uniform map, 0 for a map without positive value."""
    positive = np.clip(np.asarray(attributions, dtype=np.float64), 0, None)
    mean = positive.mean(axis=(1, 2), keepdims=True)
    return np.divide(positive, mean, out=np.zeros_like(positive), where=mean > 0)


def attribution_mass(attributions: np.ndarray, masks: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Return the attribution mass of each region in each map.

    Args:
        attributions: Maps (N, H, W); only values above zero count.
        masks: Per region a bool mask (H, W) for all faces, or (N, H, W). Regions may overlap.

    Returns:
        (N, regions) float64, 0 to 1; NaN where a map has no positive value.

    Raises:
        InputError: If a mask does not fit the maps.
    """
    positive = np.clip(np.asarray(attributions, dtype=np.float64), 0, None)
    total = positive.sum(axis=(1, 2))
    mass = {}
    for region, mask in masks.items():
        if mask.shape not in (positive.shape, positive.shape[1:]):
            raise InputError(f"attribution_mass: expected masks that fit maps {positive.shape}, got {mask.shape} for {region!r}")
        with np.errstate(invalid="ignore"):  # 0 / 0: a map without positive value
            mass[region] = (positive * mask).sum(axis=(1, 2)) / total
    return pd.DataFrame(mass)


def mass_by_expression(
    attributions: np.ndarray,
    masks: Mapping[str, np.ndarray],
    *,
    classes: np.ndarray,
    expressions: Sequence[str],
    subjects: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the mean attribution mass per expression and region, with Student's 95 % interval over subjects, or over faces that name none.

    Args:
        attributions: Maps (N, H, W).
        masks: As in `attribution_mass`.
        classes: Class of each face (N,) int; -1 excludes it.
        expressions: Names of the classes.
        subjects: Subject of each face (N,), two or more.

    Returns:
        One row per expression and region: `expression, region, n, mass, mass_ci_low, mass_ci_high, area, density_ratio`. Maps without positive
        value do not count in n, nor their faces in the area of masks (N, H, W). Mass is NaN where n is 0, the interval where there are fewer than 2
        faces or subjects.
    """
    mass, classes = attribution_mass(attributions, masks), np.asarray(classes)
    counted = mass.notna().all(axis=1).to_numpy()
    units = np.arange(len(classes)) if subjects is None else np.asarray(subjects)
    rows = []
    for number, expression in enumerate(expressions):
        used = counted & (classes == number)
        bounds = _bounds(mass[used].to_numpy(), units[used])
        for region, mask, (mean, low, high) in zip(masks, masks.values(), bounds.T, strict=True):
            area = mask.mean() if mask.ndim == 2 else mask[used].mean() if used.any() else np.nan
            row = {"expression": expression, "region": region, "n": int(used.sum()), "mass": mean, "mass_ci_low": low, "mass_ci_high": high}
            rows.append(row | {"area": area, "density_ratio": mean / area})
    return pd.DataFrame(rows)


def nested_mass(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return tables of `mass_by_expression` as `{method: {expression: {"n": n, region: {mass, ...}}}}` for the metrics file."""
    nested: dict[str, Any] = {}
    for method, table in tables.items():
        for row in table.to_dict("records"):
            entry = nested.setdefault(method, {}).setdefault(row["expression"], {"n": row["n"]})
            entry[row["region"]] = {key: row[key] for key in ("mass", "mass_ci_low", "mass_ci_high", "area")}
    return nested


def _bounds(values: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Return mean, 2.5 % and 97.5 % bound of each column of (n, regions), (3, regions)."""
    if not len(values):
        return np.full((3, values.shape[1]), np.nan)
    bounds = np.array([mean_bounds(column, units, least=0.0, most=1.0) for column in values.T])
    return np.vstack([values.mean(axis=0), bounds.T])
