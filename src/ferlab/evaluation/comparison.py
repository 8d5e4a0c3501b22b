"""Paired tests of runs of one set on the same faces, and the spread over seeds. From predictions tables, without torch.

McNemar's test uses the faces that exactly one of two runs classifies correctly; where subjects are named, the test is over subjects. Pairs that
are tested together are corrected together (Holm), and the detectable difference is that of the corrected test. A test of two runs is about these
two models; recipes are compared over their seeds.

References:
    McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages.
    Fagerland, Lydersen & Laake (2013), The McNemar test for binary matched-pairs data: mid-p and asymptotic are better than exact conditional.
    Obuchowski (1998), On the comparison of correlated proportions for clustered data (tests over subjects).
    Agresti & Min (2005), Simple improved confidence intervals for comparing matched proportions.
    Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binom, norm, t
from statsmodels.stats.contingency_tables import mcnemar

from ferlab.evaluation.clusters import cluster_error, count_clusters, student
from ferlab.evaluation.predictions import expressions_of, faces_in, subjects_of
from ferlab.evaluation.proportions import LEVEL, holm
from ferlab.paths import InputError

DIFFERENCE = ("n", "subjects", "only_a", "only_b", "difference", "ci_low", "ci_high")
PAIR_COLUMNS = ("run_a", "run_b", *DIFFERENCE, "p_exact", "p_mid", "p_subjects", "p_holm", "detectable")
POWER = 0.8


def compare_pairs(
    tables: Mapping[str, pd.DataFrame], split: str = "test", *, pairs: Sequence[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Test pairs of runs of one set (`pairs`: Holm's family; None for all) on the same faces; by subject where the tables name subjects.

    Returns:
        One row per pair: `run_a, run_b, n`, `subjects` (NaN without), `only_a` and `only_b` (faces that only this run classifies correctly),
        `difference` (accuracy of a minus b) with its 95 % interval, `p_exact` and `p_mid` (McNemar, over faces), `p_subjects` (t test over
        subjects, or NaN), `p_holm` (over `p_subjects`, else `p_exact`), and `detectable`: the difference that a test at Holm's first level detects
        with 80 % power.

    Raises:
        InputError: If the runs were not scored on the same faces.
    """
    wanted = list(combinations(tables, 2)) if pairs is None else list(pairs)
    if not wanted:
        return pd.DataFrame(columns=list(PAIR_COLUMNS))
    correct = correctness({name: tables[name] for name in dict.fromkeys(name for pair in wanted for name in pair)}, split)
    subjects = subjects_of(faces_in(next(iter(tables.values())), split))
    rows = [
        {"run_a": a, "run_b": b, **compare_correctness(correct[a].to_numpy(), correct[b].to_numpy(), subjects=subjects, tests=len(wanted))}
        for a, b in wanted
    ]
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p_subjects"].fillna(table["p_exact"]))
    return table[list(PAIR_COLUMNS)]


def compare_correctness(a: np.ndarray, b: np.ndarray, *, subjects: np.ndarray | None = None, tests: int = 1) -> dict[str, float | int]:
    """Return the columns of `compare_pairs` but for the names and `p_holm`, of two runs' correctness, (N,) bool each.

    With `subjects` (N,), two or more, interval, p and detectable difference count by subject; `tests` are corrected together.
    """
    n, only_a, only_b = len(a), int((a & ~b).sum()), int((~a & b).sum())
    table = [[int((a & b).sum()), only_a], [only_b, int((~a & ~b).sum())]]
    exact = float(mcnemar(table, exact=True).pvalue) if only_a + only_b else 1.0
    # Mid-p: half the probability of the outcome itself, taken off both tails.
    mid = exact - float(binom.pmf(min(only_a, only_b), only_a + only_b, 0.5)) if only_a != only_b else 1.0
    low, high = paired_difference_bounds(only_a, only_b, n)
    compared = {
        "n": n,
        "subjects": float("nan"),
        "only_a": only_a,
        "only_b": only_b,
        "difference": (only_a - only_b) / n,
        "ci_low": low,
        "ci_high": high,
        "p_exact": exact,
        "p_mid": mid if only_a + only_b else 1.0,
        "p_subjects": float("nan"),
        # Half a face more on either side, as in the interval: no disagreement on few faces is no proof of none.
        "detectable": detectable_difference((only_a + only_b + 1) / (n + 2), n, tests=tests),
    }
    if subjects is None:
        return compared
    by_subject = difference_by_cluster(a.astype(np.float64) - b, subjects, tests=tests)
    return compared | {"subjects": count_clusters(subjects), "p_subjects": by_subject.pop("p"), **by_subject}


def paired_difference_bounds(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two accuracies on the same n faces (Agresti & Min): half a face is added to each cell."""
    a, b, total = only_a + 0.5, only_b + 0.5, n + 2
    centre = (a - b) / total
    half = norm.ppf((1 + LEVEL) / 2) * np.sqrt((a + b) - (a - b) ** 2 / total) / total
    return _within(centre - half, centre + half, (only_a - only_b) / n)


def difference_by_cluster(differences: np.ndarray, clusters: np.ndarray, *, tests: int = 1) -> dict[str, float]:
    """Return `ci_low, ci_high, p, detectable` of the mean of differences, (N,) from -1 to 1, over clusters (N,), by Student's t.

    Without any spread between clusters, p is that of a sign test over clusters, and the bounds are those of one face per cluster.
    """
    m, mean, error = count_clusters(clusters), float(np.mean(differences)), cluster_error(differences, clusters)
    if error == 0:
        low, high = paired_difference_bounds(m * (mean > 0), m * (mean < 0), m)
        return {"ci_low": min(low, mean), "ci_high": max(high, mean), "p": min(1.0, 2 * 0.5**m) if mean else 1.0, "detectable": float("nan")}
    half = student(m - 1) * error
    low, high = _within(mean - half, mean + half, mean)
    found = t.isf((1 - LEVEL) / 2 / tests, m - 1) + t.ppf(POWER, m - 1)
    return {"ci_low": low, "ci_high": high, "p": float(2 * t.sf(abs(mean) / error, m - 1)), "detectable": min(1.0, float(found * error))}


def detectable_difference(discordant: float, n: int, *, tests: int = 1) -> float:
    """Return the difference in accuracy, at most 1, that a paired test of n faces detects with 80 % power at the level 5 % / `tests`.

    `discordant` is the fraction of faces that exactly one of the two runs classifies correctly.

    >>> round(detectable_difference(0.05, 3589), 4), round(detectable_difference(0.05, 3589, tests=36), 4)
    (0.0105, 0.0152)
    """
    return min(1.0, float((norm.isf((1 - LEVEL) / 2 / tests) + norm.ppf(POWER)) * np.sqrt(discordant / n)))


def correctness(tables: Mapping[str, pd.DataFrame], split: str) -> pd.DataFrame:
    """Return whether each run classifies each face of a split correctly: bool, faces as rows, runs as columns.

    Raises:
        InputError: If two runs differ in their faces, order, targets or expressions.
    """
    rows = {name: faces_in(table, split) for name, table in tables.items()}
    first = next(iter(rows))
    for name, table in rows.items():
        same = len(table) == len(rows[first]) and all(table[c].equals(rows[first][c]) for c in ("face_id", "target"))
        if not same or expressions_of(table) != expressions_of(rows[first]):
            raise InputError(f"runs {first} and {name} were not scored on the same {split} faces and expressions; compare runs of one set only")
    return pd.DataFrame({name: (table["pred"] == table["target"]).to_numpy() for name, table in rows.items()})


def spread_over_seeds(runs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return one row per set and group: `set, group, seeds`, and per key `<split>.<key>` its `_mean` and `_sd` over seeds (NaN for one seed).

    Scores on faces that a run was trained on (`<split>.role`) count as missing.
    """
    masked = {key: runs[key].mask(runs[role] == "trained") for key in keys if (role := f"{key.split('.')[0]}.role") in runs}
    groups = runs.assign(**masked).groupby(["set", "group"], sort=False)
    spread = groups.size().rename("seeds").to_frame()
    for key in keys:
        spread[f"{key}_mean"], spread[f"{key}_sd"] = groups[key].mean(), groups[key].std(ddof=1)
    return spread.reset_index()


def _within(low: float, high: float, estimate: float) -> tuple[float, float]:
    """Return bounds that lie in [-1, 1] and hold the estimate."""
    return max(-1.0, min(float(low), estimate)), min(1.0, max(float(high), estimate))
