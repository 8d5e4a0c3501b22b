"""Which attribution method may be believed on a run: judged on control faces, where the ground-truth pixels of an expression are known.

A method is believed if three criteria hold: at most `MOST_ZERO` of its maps are zero everywhere; the 95 % interval of its density ratio
(attribution mass per area of the ground-truth pixels, 1 for a map without preference) lies above 1; and the interval of its difference from
the better of the baseline maps, which know no model, lies above 0 on the same faces. It is not believed if too many maps are zero or an
interval lies below; where an interval holds 1 or 0, or maps are few, it is undecided. Numbers from here are about one run on control faces.

References:
    Zhang et al. (2018), Top-down Neural Attention by Excitation Backprop, arXiv 1608.00507: a centred blob as baseline.
    Arras, Osman & Samek (2022), CLEVR-XAI, arXiv 2003.07258: relevance mass accuracy against ground-truth masks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferlab.control import carrying_mask
from ferlab.explanation.sample import dead_maps
from ferlab.explanation.shares import RESAMPLES, region_shares

MOST_ZERO = 0.05  # share of a method's maps that may be zero everywhere
FEWEST = 20  # maps below which nothing is judged: intervals of fewer are too narrow
BELIEVED, NOT_BELIEVED, UNDECIDED = "believed", "not believed", "undecided"


def judge_methods(
    faces: pd.DataFrame, *, maps: Mapping[str, np.ndarray], baselines: Mapping[str, np.ndarray], classes: np.ndarray, seed: int = 0
) -> pd.DataFrame:
    """Judge every method on the control faces whose expression has ground-truth pixels.

    Args:
        faces: Rows of a control face table (N).
        maps: Per method the maps (N, S, S).
        baselines: Maps that know no model, from `control_truth.reference_maps`.
        classes: Class of each face (N,), -1 for faces to leave out of the ratios; zero maps are counted over all N.
        seed: Of the bootstrap, over subjects where the table names them, else over faces.

    Returns:
        One row per method: `method`, `maps` (N), `zero` (how many are zero everywhere), `n` (maps that the ratio rests on), `ratio`,
        `ratio_ci_low`, `ratio_ci_high`; `baseline` (the better one on the same faces), `baseline_ratio`, `ahead` (the method's ratio less the
        baseline's), `ahead_ci_low`, `ahead_ci_high`; and `verdict`: "believed", "not believed" or "undecided". Ratios of fewer than 2 maps
        are NaN.
    """
    carrying = carrying_mask(faces, size=next(iter(maps.values())).shape[1])
    known = carrying.any(axis=(1, 2)) & (np.asarray(classes) >= 0)
    subject = pd.factorize(faces["subject"])[0] if "subject" in faces else np.arange(len(faces))
    truth = {"truth": carrying}
    mass = {name: region_shares(values, truth)["truth"].to_numpy() for name, values in (*maps.items(), *baselines.items())}
    area = carrying.mean(axis=(1, 2))
    rows = []
    for method, values in maps.items():
        used = known & ~np.isnan(mass[method])
        ratios = _ratios({name: mass[name][used] for name in (method, *baselines)}, area[used], subject[used], seed=seed)
        row = {"method": method, "maps": len(values), "zero": int(dead_maps(values).sum()), "n": int(used.sum()), **_compared(ratios, method)}
        rows.append(row | {"verdict": _verdict(row)})
    return pd.DataFrame(rows)


def zero_share(row: Mapping[str, Any]) -> float:
    """Return the share of a method's maps that are zero everywhere, 0 to 1."""
    return float(row["zero"]) / max(1, int(row["maps"]))


def _ratios(mass: Mapping[str, np.ndarray], area: np.ndarray, subject: np.ndarray, *, seed: int) -> dict[str, np.ndarray]:
    """Density ratio of each map, (1 + RESAMPLES,): of the faces themselves, then of resampled subjects; the same draws for all."""
    if len(area) < 2:
        return {name: np.full(1 + RESAMPLES, np.nan) for name in mass}
    codes = np.unique(subject, return_inverse=True)[1]
    count = int(codes.max()) + 1
    draws = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count))
    drawn = np.stack([np.bincount(draw, minlength=count) for draw in draws])[:, codes]
    weights = np.concatenate([np.ones((1, len(area))), drawn])  # (1 + R, n)
    return {name: (weights @ values) / (weights @ area) for name, values in mass.items()}


def _compared(ratios: Mapping[str, np.ndarray], method: str) -> dict[str, Any]:
    own = ratios[method]
    baseline = max((name for name in ratios if name != method), key=lambda name: float(np.nan_to_num(ratios[name][0])))
    ahead = own - ratios[baseline]
    row: dict[str, Any] = {"baseline": baseline, "baseline_ratio": float(ratios[baseline][0])}
    for name, values in (("ratio", own), ("ahead", ahead)):
        low, high = np.quantile(values[1:], [0.025, 0.975])
        row |= {name: float(values[0]), f"{name}_ci_low": float(low), f"{name}_ci_high": float(high)}
    return row


def _verdict(row: Mapping[str, Any]) -> str:
    if zero_share(row) > MOST_ZERO or row["ratio_ci_high"] < 1 or row["ahead_ci_high"] < 0:
        return NOT_BELIEVED
    return BELIEVED if row["n"] >= FEWEST and row["ratio_ci_low"] > 1 and row["ahead_ci_low"] > 0 else UNDECIDED
