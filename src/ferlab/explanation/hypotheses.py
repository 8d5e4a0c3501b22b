"""Hypotheses on where the maps of an expression are dense, tested on a run's correctly classified faces. Without torch.

Each names an expression and the regions that should carry it: cs230's findings, read by eye off occlusion maps; the facial actions of the
expression; where human observers find it. The template has no cheeks, forehead or chin: an action unit counts for the brows, eyes, nose and mouth
that it moves.

Two effects are estimated. The density ratio compares attribution mass per area inside the regions with that outside; a map that is dense in the
middle of every face may have one above 1 whatever the expression. The difference compares the mass on the regions with that on the same regions of
the other expressions, each with equal weight; such a map has none. A hypothesis holds if both lie above their null value, does not hold if one lies
below, else it cannot be told; Holm's correction is over both tests of all hypotheses of a method.

Simulated without any effect, with 8 to 100 faces an expression of skewed masses, 4 to 7 % of the single tests reject at the 5 % level.

References:
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823 (cs230).
    Friesen & Ekman (1983), EMFACS-7. Du, Tao & Martinez (2014), Compound facial expressions of emotion, PNAS 111: consistent action units.
    Wegrzyn, Vogt, Kireclioglu, Schneider & Kissler (2017), Mapping the emotional face, PLoS ONE 12: parts that observers need.
    Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from ferlab.data.regions import REGIONS
from ferlab.evaluation.clusters import cluster_error, student
from ferlab.evaluation.proportions import holm
from ferlab.explanation.attribution_mass import attribution_mass

ALPHA = 0.05
FEWEST = 8  # faces, or subjects where they are known, of an expression; below that nothing is told
HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
TRUTH = "truth"  # in place of a method: the ground-truth pixels of control faces, as if they were a map
CS230, EMFACS, DU, OBSERVERS = "cs230", "EMFACS", "Du et al.", "observers"
KEYS = ("ratio", "difference")


@dataclass(frozen=True)
class Hypothesis:
    """Regions on which the maps of an expression should be dense, and who says so."""

    expression: str
    regions: tuple[str, ...]
    sources: tuple[str, ...]


HYPOTHESES: tuple[Hypothesis, ...] = (
    Hypothesis("disgust", ("nose", "mouth"), (CS230, EMFACS, DU)),  # AU 9, 15, 16; 9, 10, 17
    Hypothesis("disgust", ("mouth",), (OBSERVERS,)),
    Hypothesis("happy", ("mouth",), (CS230, DU, OBSERVERS)),  # AU 12, 25
    Hypothesis("happy", ("eyes", "mouth"), (EMFACS,)),  # AU 6, 12
    Hypothesis("surprise", ("eyes", "nose"), (CS230,)),
    Hypothesis("surprise", ("brows", "eyes", "mouth"), (EMFACS,)),  # AU 1, 2, 5, 26
    Hypothesis("surprise", ("brows", "mouth"), (DU,)),  # AU 1, 2, 25, 26
    Hypothesis("neutral", ("brows", "eyes", "mouth", "rest"), (CS230,)),  # "all parts of the face except for the nose"
    Hypothesis("sad", ("brows", "mouth"), (EMFACS, DU)),  # AU 1, 4, 15; 4, 15
    Hypothesis("sad", ("eyes",), (OBSERVERS,)),
    Hypothesis("fear", ("brows", "eyes", "mouth"), (EMFACS,)),  # AU 1, 2, 4, 5, 7, 20, 26
    Hypothesis("fear", ("brows", "mouth"), (DU,)),  # AU 1, 4, 20, 25
    Hypothesis("fear", ("eyes",), (OBSERVERS,)),
    Hypothesis("angry", ("brows", "eyes", "mouth"), (EMFACS, DU)),  # AU 4, 5, 7, 23; 4, 7, 24
)


def mass_rows(maps: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], faces: pd.DataFrame) -> pd.DataFrame:
    """Return the attribution mass of each face and method in a row: `face_id`, `cluster`, `target`, `method`, and a column per region.

    Args:
        maps: Per method maps (N, H, W).
        masks: The template's (H, W), per region.
        faces: Rows of a face table (N). The cluster is the subject; where the table knows none the photograph (`duplicate_group`), or the face.
    """
    ids = faces["face_id"].astype(str).to_numpy()
    photograph = [f"photograph {group}" for group in faces["duplicate_group"]] if "duplicate_group" in faces else ids
    subject = faces["subject"].astype(object).to_numpy() if "subject" in faces else np.full(len(faces), None)
    cluster = [other if pd.isna(person) else str(person) for other, person in zip(photograph, subject, strict=True)]
    known = {"face_id": ids, "cluster": cluster, "target": faces["target"].to_numpy(np.int64)}
    return pd.concat([pd.DataFrame(known).assign(method=method, **attribution_mass(values, masks)) for method, values in maps.items()])


def judge_hypotheses(
    masses: pd.DataFrame, *, areas: Mapping[str, float], expressions: Sequence[str], hypotheses: Sequence[Hypothesis] = HYPOTHESES
) -> pd.DataFrame:
    """Test each hypothesis on the maps of each method.

    Args:
        masses: From `mass_rows`, of correctly classified faces.
        areas: Of each region, as fractions of the frame.
        expressions: Names of the targets; hypotheses on others are excluded.
        hypotheses: What to test.

    Returns:
        One row per method and hypothesis: `method, expression, regions, sources`, `n` (maps that are not zero everywhere), `clusters`; the density
        `ratio` and the `difference` in mass, each with `_ci_low`, `_ci_high`, `_p` and `_p_holm`; `verdict`.
    """
    tables = []
    coded = masses.assign(cluster=pd.factorize(masses["cluster"])[0])
    for method in coded["method"].unique():  # a method whose maps are all zero has rows of no faces
        own = coded[coded["method"] == method].dropna(subset=list(REGIONS))
        rows = [_tested(each, own, areas=areas, expressions=expressions) for each in hypotheses if each.expression in expressions]
        tables.append(_judged(pd.DataFrame(rows).assign(method=method)))
    columns = ["method", "expression", "regions", "sources", "n", "clusters"]
    columns += [f"{key}{end}" for key in KEYS for end in ("", "_ci_low", "_ci_high", "_p", "_p_holm")]
    return (pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*columns, "verdict"]))[[*columns, "verdict"]]


def _tested(hypothesis: Hypothesis, masses: pd.DataFrame, *, areas: Mapping[str, float], expressions: Sequence[str]) -> dict[str, object]:
    """Return both effects of one hypothesis."""
    inside = masses[list(hypothesis.regions)].sum(axis=1).to_numpy(np.float64)
    target, cluster = masses["target"].to_numpy(), masses["cluster"].to_numpy()
    chosen = target == expressions.index(hypothesis.expression)
    area = sum(areas[region] for region in hypothesis.regions)
    groups = len(np.unique(cluster[chosen]))
    row = {"expression": hypothesis.expression, "regions": ", ".join(hypothesis.regions), "sources": ", ".join(hypothesis.sources)}
    row |= {"n": int(chosen.sum()), "clusters": groups}
    if groups < 2:
        return row | {f"{key}{end}": np.nan for key in KEYS for end in ("", "_ci_low", "_ci_high", "_p")}
    mean, error = float(inside[chosen].mean()), cluster_error(inside[chosen], cluster[chosen])
    low, high = (float(np.clip(mean + side * student(groups - 1) * error, 0, 1)) for side in (-1, 1))
    row |= {"ratio": density_ratio(mean, area), "ratio_ci_low": density_ratio(low, area), "ratio_ci_high": density_ratio(high, area)}
    row["ratio_p"] = _p_value(mean - area, error, groups - 1)
    difference, error = _difference(inside, target, cluster, own=expressions.index(hypothesis.expression))
    half = student(groups - 1) * error
    row |= {"difference": difference, "difference_ci_low": difference - half, "difference_ci_high": difference + half}
    return row | {"difference_p": _p_value(difference, error, groups - 1)}


def density_ratio(mass: float, area: float) -> float:
    """Return the mass per area inside regions divided by that outside, 0 to infinity, from mass and area inside.

    >>> density_ratio(0.5, 0.2)
    4.0
    """
    return float("inf") if mass >= 1 else mass / area / ((1 - mass) / (1 - area))


def _difference(inside: np.ndarray, target: np.ndarray, cluster: np.ndarray, *, own: int) -> tuple[float, float]:
    """Return the mean of one class less the mean of the others' means, and its standard error over clusters that may span classes."""
    others = [c for c in np.unique(target) if c != own and len(np.unique(cluster[target == c])) > 1]
    if not others:
        return float("nan"), float("nan")
    influence, difference = np.zeros(len(inside)), 0.0
    for c, weight in ((own, 1.0), *((c, -1 / len(others)) for c in others)):
        members = target == c
        mean, groups = inside[members].mean(), len(np.unique(cluster[members]))
        difference += weight * mean
        influence[members] = weight * (inside[members] - mean) / members.sum() * np.sqrt(groups / (groups - 1))
    sums = np.bincount(np.unique(cluster, return_inverse=True)[1], weights=influence)
    return float(difference), float(np.sqrt((sums**2).sum()))


def _p_value(effect: float, error: float, freedom: int) -> float:
    """Return the two-sided p value of Student's test; NaN where nothing varies."""
    return float(2 * stats.t.sf(abs(effect) / error, freedom)) if error > 0 else float("nan")


def _judged(table: pd.DataFrame) -> pd.DataFrame:
    """Add corrected p values and verdicts to the rows of one method."""
    keys = [f"{key}_p" for key in KEYS]
    raw = np.where(table[["clusters"]].to_numpy() >= FEWEST, table[keys].to_numpy(np.float64), np.nan)
    corrected = np.full(raw.shape, np.nan)
    if (known := np.isfinite(raw)).any():
        corrected[known] = holm(raw[known])
    sure = np.nan_to_num(corrected, nan=1.0) < ALPHA
    above = np.column_stack([table["ratio"] > 1, table["difference"] > 0])
    verdict = np.where((sure & above).all(axis=1), HOLDS, np.where((sure & ~above).any(axis=1), FAILS, OPEN))
    return table.assign(**{f"{key}_holm": corrected[:, place] for place, key in enumerate(keys)}, verdict=verdict)
