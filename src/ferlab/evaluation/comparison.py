"""Which run is better, and is that more than luck: paired tests, spread over seeds. From predictions tables, without torch.

Runs of one set are scored on the same faces, so pairs are compared face by face (McNemar): what counts are the faces that one names right and
the other wrong. Many pairs are tested at once, so p values are corrected (Holm). A test of two runs speaks of these two nets; what a
recipe gives is told by its seeds (mean and spread). Runs of different sets are never compared pairwise.

References:
    McNemar (1947), Note on the sampling error of the difference between correlated proportions or percentages.
    Fagerland, Lydersen & Laake (2013), The McNemar test for binary matched-pairs data: mid-p and asymptotic are better than exact conditional.
    Agresti & Min (2005), Simple improved confidence intervals for comparing matched proportions.
    Holm (1979), A simple sequentially rejective multiple test procedure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binom, norm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from ferlab.evaluation.intervals import LEVEL
from ferlab.evaluation.predictions import expressions_of, faces_in
from ferlab.paths import InputError

PAIR_COLUMNS = ("run_a", "run_b", "n", "only_a", "only_b", "difference", "ci_low", "ci_high", "p_exact", "p_mid", "p_holm", "detectable")


def compare_pairs(
    tables: Mapping[str, pd.DataFrame], split: str = "test", *, pairs: Sequence[tuple[str, str]] | None = None
) -> pd.DataFrame:
    """Test pairs of runs on the same faces.

    Args:
        tables: Predictions per run, all of one set.
        split: Which faces.
        pairs: Which pairs; None for all.

    Returns:
        One row per pair: `run_a, run_b, n`, `only_a` and `only_b` (faces that only this run names right), `difference` (accuracy of a minus
        of b) with its 95 % interval (Agresti & Min), `p_exact` and `p_mid` (McNemar), `p_holm` (Holm over `p_exact` of all rows), and
        `detectable`: the difference that a test of this size finds in 80 % of cases.

    Raises:
        InputError: If the runs were not scored on the same faces.
    """
    wanted = list(combinations(tables, 2)) if pairs is None else list(pairs)
    if not wanted:
        return pd.DataFrame(columns=list(PAIR_COLUMNS))
    correct = correctness({name: tables[name] for name in dict.fromkeys(name for pair in wanted for name in pair)}, split)
    rows = [{"run_a": a, "run_b": b, **compare_correctness(correct[a].to_numpy(), correct[b].to_numpy())} for a, b in wanted]
    table = pd.DataFrame(rows)
    table["p_holm"] = multipletests(table["p_exact"], method="holm")[1]
    return table[list(PAIR_COLUMNS)]


def compare_correctness(a: np.ndarray, b: np.ndarray) -> dict[str, float | int]:
    """Compare two runs on the same faces.

    Args:
        a: (N,) bool, whether the first run names each face right.
        b: (N,) bool, likewise the second.

    Returns:
        The columns of `compare_pairs` but for the names and `p_holm`.
    """
    n, only_a, only_b = len(a), int((a & ~b).sum()), int((~a & b).sum())
    table = [[int((a & b).sum()), only_a], [only_b, int((~a & ~b).sum())]]
    exact = float(mcnemar(table, exact=True).pvalue) if only_a + only_b else 1.0
    # Mid-p: half the probability of the outcome itself, taken off both tails.
    mid = exact - float(binom.pmf(min(only_a, only_b), only_a + only_b, 0.5)) if only_a != only_b else 1.0
    low, high = paired_difference_bounds(only_a, only_b, n)
    return {
        "n": n,
        "only_a": only_a,
        "only_b": only_b,
        "difference": (only_a - only_b) / n,
        "ci_low": low,
        "ci_high": high,
        "p_exact": exact,
        "p_mid": mid if only_a + only_b else 1.0,
        "detectable": detectable_difference((only_a + only_b) / n, n),
    }


def paired_difference_bounds(only_a: int, only_b: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two accuracies on the same n faces: Wald's after half a face is added to each cell."""
    a, b, total = only_a + 0.5, only_b + 0.5, n + 2
    centre = (a - b) / total
    half = norm.ppf((1 + LEVEL) / 2) * np.sqrt((a + b) - (a - b) ** 2 / total) / total
    return float(centre - half), float(centre + half)


def detectable_difference(discordant: float, n: int) -> float:
    """Return the difference in accuracy that a paired test of n faces finds in 80 % of cases, at the 5 % level.

    Args:
        discordant: Share of faces that exactly one of the two runs names right.
        n: Faces.

    >>> round(detectable_difference(0.05, 3589), 4)
    0.0105
    """
    return float((norm.ppf((1 + LEVEL) / 2) + norm.ppf(0.8)) * np.sqrt(discordant / n))


def correctness(tables: Mapping[str, pd.DataFrame], split: str) -> pd.DataFrame:
    """Return whether each run names each face of a split right: bool, faces as rows, runs as columns.

    Raises:
        InputError: If two runs differ in their faces, their order, targets or expressions.
    """
    rows = {name: faces_in(table, split) for name, table in tables.items()}
    first = next(iter(rows))
    for name, table in rows.items():
        same = len(table) == len(rows[first]) and all(table[c].equals(rows[first][c]) for c in ("face_id", "target"))
        if not same or expressions_of(table) != expressions_of(rows[first]):
            raise InputError(f"runs {first} and {name} were not scored on the same {split} faces and expressions; compare runs of one set only")
    return pd.DataFrame({name: (table["pred"] == table["target"]).to_numpy() for name, table in rows.items()})


def spread_over_seeds(runs: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return mean and standard deviation over the seeds of each group.

    Args:
        runs: One row per run with `set`, `group`, and the columns `keys`.
        keys: Which numbers.

    Returns:
        One row per group and set: `set, group, seeds`, and per key `<key>_mean`, `<key>_sd` (n - 1; NaN for one seed).
    """
    groups = runs.groupby(["set", "group"], sort=False)
    spread = groups.size().rename("seeds").to_frame()
    for key in keys:
        spread[f"{key}_mean"], spread[f"{key}_sd"] = groups[key].mean(), groups[key].std(ddof=1)
    return spread.reset_index()
