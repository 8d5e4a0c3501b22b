"""Accuracy of a recipe with both sources of doubt: the faces that it was tested on, and the seeds that it was trained with.

Whether the run of seed s classifies face i correctly is a mean plus an effect of the face, one of the seed and the rest: a two-way layout of crossed
random effects without replication, estimated by its analysis of variance. Where faces name subjects, subjects take the place of faces. The variance
of seeds has one degree of freedom fewer than there are seeds, so with two it is hardly estimated, and its interval says so. Intervals come from the
generalised pivot of the variance components: the seeds' mean square over its chi-square, less what faces alone would give, at least 0; accuracies
then get Wilson's interval on the number of faces that is worth as much.

Simulated coverage of the 95 % interval for a new seed, from a mixed logistic model with 600 faces at accuracies of 70 and 95 %, 2, 3 or 5 seeds that
differ by a standard deviation of 0 to 3 points: 93 to 100 %. A bootstrap of faces and seeds (Owen, 2007) covered 54 to 99 %, the interval over faces
alone 36 to 100 %.

References:
    Searle, Casella & McCulloch (1992), Variance Components, ch. 4 (two-way crossed, without replication).
    Weerahandi (1993), Generalized confidence intervals. Owen (2007), The pigeonhole bootstrap.
    Bouthillier et al. (2021), Accounting for variance in machine learning benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr

from ferlab.evaluation.clusters import cluster_error, count_clusters, student
from ferlab.evaluation.comparison import correctness, difference_by_cluster
from ferlab.evaluation.predictions import faces_in, subjects_of
from ferlab.evaluation.proportions import LEVEL, holm, wilson

GRID = {1: 1000, 2: 120}  # points of each chi-square, by how many there are
DIFFERENCE_COLUMNS = ("set", "group_a", "group_b", "seeds_a", "seeds_b", "difference", "ci_low", "ci_high", "faces_low", "faces_high", "p", "p_holm")

Runs = Mapping[str, Mapping[str, Any]]  # run -> `data`, `group`, ... as in params


@dataclass(frozen=True)
class Components:
    """Variances of a group of runs, as squared fractions; those of seeds are NaN for one seed.

    Attributes:
        faces: Of the mean accuracy of these seeds, over samples of N faces.
        between: Of the accuracies of single seeds on these faces, with `seeds` - 1 degrees of freedom.
        rest: What `between` would be if seeds did not differ on all faces together, but on single ones alone.
        seeds: How many there are.
        freedom: Degrees of freedom of `faces`.
    """

    faces: float
    between: float
    rest: float
    seeds: int
    freedom: int

    @property
    def of_seeds(self) -> float:
        """Variance of the accuracy over seeds, on all faces there are."""
        return float("nan") if self.seeds == 1 else max(0.0, self.between - self.rest)

    @property
    def one_run(self) -> float:
        """Variance of the accuracy of one run over samples of N faces."""
        return self.faces if self.seeds == 1 else self.faces + self.rest * (self.seeds - 1) / self.seeds

    def seeds_bounds(self) -> tuple[float, float]:
        """Return the 95 % interval of the standard deviation over seeds."""
        if self.seeds < 2:
            return float("nan"), float("nan")
        scaled = (self.seeds - 1) * self.between / stats.chi2.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], self.seeds - 1)
        low, high = np.sqrt(np.maximum(0.0, scaled - self.rest))
        return float(low), float(high)


def variance_components(correct: np.ndarray, *, subjects: np.ndarray | None = None) -> Components:
    """Estimate the variances due to faces and seeds.

    Args:
        correct: bool (N, S), whether the run of each seed classifies each face correctly.
        subjects: (N,), two or more; None: every face is a subject of its own.
    """
    values = np.asarray(correct, dtype=np.float64)
    n, seeds = values.shape
    clusters = np.arange(n) if subjects is None else subjects
    rows = values.mean(axis=1)
    faces, freedom = cluster_error(rows, clusters) ** 2, count_clusters(clusters) - 1
    if seeds == 1:
        return Components(faces, float("nan"), float("nan"), seeds=1, freedom=freedom)
    rest = sum(cluster_error(values[:, s] - rows, clusters) ** 2 for s in range(seeds)) / (seeds - 1)
    return Components(faces, float(values.mean(axis=0).var(ddof=1)), float(rest), seeds=seeds, freedom=freedom)


def accuracy_with_doubt(correct: np.ndarray, *, subjects: np.ndarray | None = None) -> dict[str, Any]:
    """Return the mean accuracy of the seeds of a recipe with its intervals, and what either source contributes. Arguments as `variance_components`.

    Returns:
        `seeds, n, accuracy` and `subjects` (NaN without); `faces_ci_low, faces_ci_high`: of these seeds, for new faces; `new_ci_low, new_ci_high`: of
        the accuracy that a new seed has on new faces; `faces_sd` (of one run, over samples of n faces), `seeds_sd` with `seeds_sd_ci_low,
        seeds_sd_ci_high`; `larger`: "faces" or "seeds" where the interval of `seeds_sd` excludes `faces_sd`, else "open". NaN and "unknown" for one
        seed.
    """
    found = variance_components(correct, subjects=subjects)
    n, mean = len(correct), float(np.mean(correct))
    over_faces = _proportion_bounds(mean, student(found.freedom) * found.faces**0.5, n=n, units=found.freedom + 1)
    low, high = found.seeds_bounds()
    new = (float("nan"),) * 2
    if found.seeds > 1:
        half = _quantile(found, of_seeds=((found, 1 + 1 / found.seeds),))
        new = _proportion_bounds(mean, half, n=n, units=found.freedom + 1)
        new = min(new[0], over_faces[0]), max(new[1], over_faces[1])
    larger = "unknown" if found.seeds == 1 else "faces" if high < found.one_run**0.5 else "seeds" if low > found.one_run**0.5 else "open"
    return {
        "seeds": found.seeds,
        "n": n,
        "subjects": float("nan") if subjects is None else found.freedom + 1,
        "accuracy": mean,
        "faces_ci_low": over_faces[0],
        "faces_ci_high": over_faces[1],
        "new_ci_low": new[0],
        "new_ci_high": new[1],
        "faces_sd": found.one_run**0.5,
        "seeds_sd": found.of_seeds**0.5,
        "seeds_sd_ci_low": low,
        "seeds_sd_ci_high": high,
        "larger": larger,
    }


def difference_with_doubt(a: np.ndarray, b: np.ndarray, *, subjects: np.ndarray | None = None) -> dict[str, float]:
    """Return the difference of the mean accuracies of two recipes (a minus b) for new faces and new seeds, paired over faces, unpaired over seeds.

    Args:
        a: bool (N, S), as in `variance_components`; two or more seeds.
        b: bool (N, T) on the same faces; two or more seeds.
        subjects: (N,), two or more, or None.

    Returns:
        `difference` with `ci_low, ci_high`, `p`, and `faces_low, faces_high`: its interval for new faces and these seeds.
    """
    clusters = np.arange(len(a)) if subjects is None else subjects
    per_face = np.mean(a, axis=1) - np.mean(b, axis=1)
    mean, freedom = float(per_face.mean()), count_clusters(clusters) - 1
    paired = Components(cluster_error(per_face, clusters) ** 2, float("nan"), float("nan"), seeds=1, freedom=freedom)
    parts = tuple((variance_components(of, subjects=subjects), 1 / of.shape[1]) for of in (a, b))
    variances = _variances(paired, parts)
    half, over_faces = _quantile(paired, of_seeds=parts), difference_by_cluster(per_face, clusters)
    return {
        "difference": mean,
        "ci_low": max(-1.0, min(mean - half, over_faces["ci_low"])),
        "ci_high": min(1.0, max(mean + half, over_faces["ci_high"])),
        "faces_low": over_faces["ci_low"],
        "faces_high": over_faces["ci_high"],
        "p": over_faces["p"] if half == 0 else 1.0 if mean == 0 else _tail(abs(mean), variances),
    }


def groups_with_doubt(runs: Runs, predictions: Mapping[str, pd.DataFrame], split: str = "test") -> pd.DataFrame:
    """Return `set, group` and the columns of `accuracy_with_doubt`, one row per set and group of runs, in the order of `runs`."""
    rows = [
        {"set": name, "group": group, **accuracy_with_doubt(correct, subjects=subjects)}
        for (name, group), (correct, subjects) in _correctness_of_groups(runs, predictions, split).items()
    ]
    return pd.DataFrame(rows)


def differences_with_doubt(runs: Runs, predictions: Mapping[str, pd.DataFrame], split: str = "test") -> pd.DataFrame:
    """Return DIFFERENCE_COLUMNS for all pairs of groups of one set that have two or more seeds each; Holm's correction counts them all."""
    several = {key: of for key, of in _correctness_of_groups(runs, predictions, split).items() if of[0].shape[1] > 1}
    rows = [
        {"set": a[0], "group_a": a[1], "group_b": b[1], "seeds_a": several[a][0].shape[1], "seeds_b": several[b][0].shape[1]}
        | difference_with_doubt(several[a][0], several[b][0], subjects=several[a][1])
        for a, b in combinations(several, 2)
        if a[0] == b[0]
    ]
    table = pd.DataFrame(rows, columns=[column for column in DIFFERENCE_COLUMNS if column != "p_holm"])
    table["p_holm"] = holm(table["p"])
    return table


def summarise(doubt: pd.DataFrame, differences: pd.DataFrame) -> dict[str, Any]:
    """Return both tables nested by name: `faces_and_seeds: {set: {group: ...}}`, `recipes: {set: {group_a: {group_b: ...}}}`."""
    groups = {str(name): rows.drop(columns="set").set_index("group").to_dict("index") for name, rows in doubt.groupby("set", sort=False)}
    recipes: dict[str, dict[str, dict[str, Any]]] = {}
    for row in differences.to_dict("records"):
        of_set = recipes.setdefault(row.pop("set"), {})
        of_set.setdefault(row.pop("group_a"), {})[row.pop("group_b")] = row
    return {"faces_and_seeds": groups, "recipes": recipes}


def _correctness_of_groups(
    runs: Runs, predictions: Mapping[str, pd.DataFrame], split: str
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray | None]]:
    """Return per set and group whether each seed classifies each face correctly, bool (N, S), and the subjects where the tables name them."""
    members: dict[tuple[str, str], list[str]] = {}
    for name, run in runs.items():
        members.setdefault((run["data"], run["group"]), []).append(name)
    return {
        key: (correctness({name: predictions[name] for name in names}, split).to_numpy(), subjects_of(faces_in(predictions[names[0]], split)))
        for key, names in members.items()
    }


def _variances(faces: Components, of_seeds: Sequence[tuple[Components, float]]) -> np.ndarray:
    """Return the variances that are compatible with the data, equally likely: that of faces plus, per group, its factor times that of seeds."""
    total = np.array([faces.faces * (student(faces.freedom) / student()) ** 2])
    count = GRID[len(of_seeds)]
    for found, factor in of_seeds:
        freedom = found.seeds - 1
        drawn = freedom * found.between / stats.chi2.ppf((np.arange(count) + 0.5) / count, freedom) - found.rest
        total = (total[:, None] + factor * np.maximum(0.0, drawn)).ravel()
    return total


def _quantile(faces: Components, *, of_seeds: Sequence[tuple[Components, float]]) -> float:
    """Return the half-width of the 95 % interval."""
    variances = _variances(faces, of_seeds)
    if variances.max() == 0:
        return 0.0
    return float(brentq(lambda half: _tail(half, variances) - (1 - LEVEL), 0, 10 * variances.max() ** 0.5, xtol=1e-9))


def _tail(distance: float, variances: np.ndarray) -> float:
    """Return the probability that a normal deviate of a variance drawn from `variances` is farther from 0."""
    deviations = np.sqrt(variances)
    return float(2 * ndtr(-distance / np.maximum(deviations, 1e-300)).mean())


def _proportion_bounds(mean: float, half: float, *, n: int, units: int) -> tuple[float, float]:
    """Return Wilson's interval on the number of faces whose interval would have this half-width, at most n; on that of `units` without a width."""
    worth = min(float(n), mean * (1 - mean) * (student() / half) ** 2) if half and 0 < mean < 1 else units
    low, high = wilson(mean * worth, worth)
    return min(low, mean), max(high, mean)
