"""Validation of region template and attribution methods on control faces, where regions and ground-truth pixels are known.

The ground-truth pixels of an expression are the moving parts of the drawn face. A method is believed if at most `MOST_ZERO` of its maps are
zero everywhere, the 95 % interval of its density ratio on these pixels lies above 1, and the interval of its difference from the best of the
baseline maps, on the same faces, lies above 0. It is not believed if too many maps are zero or an interval lies below; it is undecided where
an interval contains 1 or 0, or maps are few. Its difference from the mean map of its class is no criterion: it is reported, for a method that
is not ahead of it shows nothing of the single face. All numbers are about one run on control faces.

References:
    Arras, Osman & Samek (2022), CLEVR-XAI, arXiv 2003.07258: relevance mass accuracy against ground-truth masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ferlab.control import carrying_mask, region_masks
from ferlab.data.faces import missing_truth
from ferlab.data.regions import REGIONS, REST
from ferlab.evaluation.paired import percentile_bounds, unit_weights
from ferlab.evaluation.predictions import subjects_of
from ferlab.explanation.attribution_mass import RESAMPLES, attribution_mass, mass_by_expression
from ferlab.explanation.baselines import baseline_maps, class_mean_maps
from ferlab.explanation.ranking import BELIEVED, CLASS_MEAN, FEWEST, MOST_ZERO, NOT_BELIEVED, UNDECIDED
from ferlab.explanation.sample import dead_maps


def compare_with_truth(
    faces: pd.DataFrame,
    images: np.ndarray,
    *,
    maps: Mapping[str, np.ndarray],
    template: Mapping[str, np.ndarray],
    classes: np.ndarray,
    expressions: Sequence[str],
    preparation: Mapping[str, Any],
    seed: int = 0,
) -> dict[str, pd.DataFrame]:
    """Compare template and maps with the truth of control faces.

    Args:
        faces: Rows of a face table (N).
        images: Their faces, uint8 (N, S, S) or (N, S, S, 3).
        maps: Per method the maps (N, S, S).
        template: Masks (S, S) of the regions.
        classes: Class of each face (N,), -1 for faces excluded from masses and ratios.
        expressions: Names of the classes.
        preparation: Of the faces' dataset, see `ferlab.data.preparation.steps.prepared_as`.
        seed: Of the bootstraps.

    Returns:
        The tables of `compare_regions` ("regions"), `ground_truth_mass` ("ground_truth") and `judge_methods` ("verdict"); empty where the
        ground-truth pixels are not known, see `ferlab.data.faces.missing_truth`.
    """
    if missing_truth(faces, preparation):
        return {}
    baselines = baseline_maps(images, seed=seed)
    return {
        "regions": compare_regions(template, true_masks(faces, size=images.shape[1]), maps=maps),
        "ground_truth": ground_truth_mass(faces, maps={**maps, **baselines}, classes=classes, expressions=expressions),
        "verdict": judge_methods(faces, maps=maps, baselines=baselines, classes=classes, seed=seed),
    }


def true_masks(faces: pd.DataFrame, *, size: int) -> dict[str, np.ndarray]:
    """Return the true masks (N, S, S) of the template's regions on control faces; "rest" is what none of them covers."""
    masks = region_masks(faces, size=size)
    named = {region: np.asarray(masks[region], dtype=bool) for region in REGIONS if region != REST}
    return named | {REST: ~np.logical_or.reduce(list(named.values()))}


def compare_regions(template: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], *, maps: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Compare the template's regions with the true ones, and the attribution mass of either.

    Args:
        template: Masks (H, W).
        truth: Masks (N, H, W) of the same regions.
        maps: Per method the maps (N, H, W).

    Returns:
        One row per region: `region`, mean `iou`, mean `area_template` and `area_true`, and per method `<method>_template` and `<method>_true`,
        the mean attribution mass over maps that are not zero everywhere.
    """
    rows = []
    for region, mask in template.items():
        row = {"region": region, "iou": np.nanmean(iou(mask, truth[region])), "area_template": mask.mean(), "area_true": truth[region].mean()}
        for method, values in maps.items():
            mass = attribution_mass(values, {"template": mask, "true": truth[region]}).mean()
            row |= {f"{method}_{kind}": mass[kind] for kind in ("template", "true")}
        rows.append(row)
    return pd.DataFrame(rows)


def iou(template: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the intersection over union of a mask (H, W) with masks (N, H, W), (N,) float64; NaN where both are empty."""
    both, either = (template & truth).sum(axis=(1, 2)), (template | truth).sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return np.asarray(both / either, dtype=np.float64)


def ground_truth_mass(
    faces: pd.DataFrame, *, maps: Mapping[str, np.ndarray], classes: np.ndarray, expressions: Sequence[str]
) -> pd.DataFrame:
    """Return the attribution mass on the ground-truth pixels of each face's expression; neutral faces have none and are excluded.

    Args:
        faces: Rows of a control face table (N).
        maps: Per method, or baseline, the maps (N, S, S).
        classes: Class of each face (N,), -1 to exclude it.
        expressions: Names of the classes.

    Returns:
        Columns of `mass_by_expression` but `region`, and `method`: a row per method and expression that any face shows, and per method one
        over "all".
    """
    truth = carrying_mask(faces, size=next(iter(maps.values())).shape[1])
    known = truth.any(axis=(1, 2)) & (np.asarray(classes) >= 0)
    subjects = subjects_of(faces[known])
    tables = []
    for method, values in maps.items():
        for names, own in ((expressions, np.asarray(classes)[known]), (("all",), np.zeros(int(known.sum()), int))):
            table = mass_by_expression(values[known], {"ground_truth": truth[known]}, classes=own, expressions=names, subjects=subjects)
            tables.append(table[table["n"] > 0].drop(columns="region").assign(method=method))
    return pd.concat(tables, ignore_index=True)


def judge_methods(
    faces: pd.DataFrame, *, maps: Mapping[str, np.ndarray], baselines: Mapping[str, np.ndarray], classes: np.ndarray, seed: int = 0
) -> pd.DataFrame:
    """Judge every method on the control faces whose expression has ground-truth pixels.

    Args:
        faces: Rows of a control face table (N).
        maps: Per method the maps (N, S, S).
        baselines: From `baseline_maps`.
        classes: Class of each face (N,), -1 to exclude it from the ratios; zero maps are counted over all N.
        seed: Of the bootstrap, over subjects where the table names them, else over faces.

    Returns:
        One row per method: `method`, `maps` (N), `zero` (maps that are zero everywhere), `n` (maps behind the ratio), density `ratio`,
        `ratio_ci_low`, `ratio_ci_high`; `baseline` (the best one on the same faces), `baseline_ratio`, `ahead` (the method's ratio minus the
        baseline's) and `own` (minus that of the mean maps of the other faces of the class), with intervals; and `verdict`: "believed",
        "not believed" or "undecided". Ratios of fewer than 2 maps, and intervals of fewer than 2 subjects, are NaN.
    """
    masks = carrying_mask(faces, size=next(iter(maps.values())).shape[1])
    known = masks.any(axis=(1, 2)) & (np.asarray(classes) >= 0)
    subject = faces["subject"].to_numpy(str) if "subject" in faces else np.arange(len(faces))
    truth, means = {"truth": masks}, {CLASS_MEAN + name: class_mean_maps(values, np.asarray(classes)) for name, values in maps.items()}
    mass = {name: attribution_mass(values, truth)["truth"].to_numpy() for name, values in {**maps, **baselines, **means}.items()}
    area = masks.mean(axis=(1, 2))
    rows = []
    for method, values in maps.items():
        used = known & ~np.isnan(mass[method])
        ratios = _ratios({name: mass[name][used] for name in (method, *baselines, CLASS_MEAN + method)}, area[used], subject[used], seed=seed)
        row = {"method": method, "maps": len(values), "zero": int(dead_maps(values).sum()), "n": int(used.sum())}
        row |= _compared(ratios, method, baselines=tuple(baselines), units=subject[used])
        rows.append(row | {"verdict": _verdict(row)})
    return pd.DataFrame(rows)


def zero_fraction(row: Mapping[str, Any]) -> float:
    """Return the fraction of a method's maps that are zero everywhere."""
    return float(row["zero"]) / max(1, int(row["maps"]))


def _ratios(mass: Mapping[str, np.ndarray], area: np.ndarray, subject: np.ndarray, *, seed: int) -> dict[str, np.ndarray]:
    """Return the density ratio of each map's name, (1 + RESAMPLES,): of the faces themselves, then of resampled subjects; the same draws for all."""
    if len(area) < 2:
        return {name: np.full(1 + RESAMPLES, np.nan) for name in mass}
    weights = np.concatenate([np.ones((1, len(area))), *unit_weights(subject, draws=RESAMPLES, seed=seed)])  # (1 + R, n)
    return {name: (weights @ values) / (weights @ area) for name, values in mass.items()}


def _compared(ratios: Mapping[str, np.ndarray], method: str, *, baselines: Sequence[str], units: np.ndarray) -> dict[str, Any]:
    own = ratios[method]
    baseline = max(baselines, key=lambda name: float(np.nan_to_num(ratios[name][0])))
    row: dict[str, Any] = {"baseline": baseline, "baseline_ratio": float(ratios[baseline][0])}
    for name, values in (("ratio", own), ("ahead", own - ratios[baseline]), ("own", own - ratios[CLASS_MEAN + method])):
        low, high = percentile_bounds(float(values[0]), values[1:], units=units) if len(units) > 1 else (np.nan, np.nan)
        row |= {name: float(values[0]), f"{name}_ci_low": low, f"{name}_ci_high": high}
    return row


def _verdict(row: Mapping[str, Any]) -> str:
    if zero_fraction(row) > MOST_ZERO or row["ratio_ci_high"] < 1 or row["ahead_ci_high"] < 0:
        return NOT_BELIEVED
    return BELIEVED if row["n"] >= FEWEST and row["ratio_ci_low"] > 1 and row["ahead_ci_low"] > 0 else UNDECIDED
