"""What prompted sessions show: correct of n, ranks, confusion, people, expressions and conditions, with statistics for few prompts.

The true class is the prompted one. Attempts without a face are counted, and score nothing. A guesser is right in 1 of K prompts. A table of attempts
has the columns of `ferlab.live.session.files`.

References:
    Fisher (1935), The Design of Experiments (the exact test of two proportions; tests by permutation of a random order).
    Mehta, Patel & Gray (1985), Computing an exact confidence interval for the common odds ratio in several 2 x 2 tables (the exact test in strata).
    Hong (2013), On computing the distribution function for the Poisson binomial distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.comparison import POWER
from ferlab.evaluation.proportions import LEVEL, holm, newcombe, wilson
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.live.session.files import SCORED

ALPHA = 1 - LEVEL
PERMUTATIONS = 9999
AS_RARE = 1 + 1e-7  # two outcomes count as equally probable up to this factor, as in R
PAIR_COLUMNS = ("first", "second", "difference", "ci_low", "ci_high", "p_exact", "p_holm", "detectable")


def expressions_in(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes that a model of the table predicts, in their fixed order."""
    return tuple(one for one in ALL_EXPRESSIONS if f"prob_{one}" in table and table[f"prob_{one}"].notna().any())


def score_attempts(table: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Return what a table of attempts shows as a whole.

    Returns:
        `n` (scored prompts), `correct`, `no_face`, `people`, `sessions`; `accuracy` and `top3_accuracy` with Wilson's bounds; with two people or
        more the bounds `accuracy_people_low` and `accuracy_people_high` for new people; `chance` (1 / K, the mean over prompts); `p_chance`: a
        guesser has at least as many correct (exact, one-sided); `p_order`: a random order of the same prompts within each session agrees with the
        predictions at least as often (permutation, one-sided); `mean_rank` of the true class and `chance_rank`; `detectable`: the least accuracy
        that n prompts distinguish from chance with 80 % power. Undefined numbers are NaN.
    """
    scored = _scored(table)
    n, correct = len(scored), int(scored["correct"].sum())
    chances = 1 / scored["classes"].to_numpy(float)
    top3 = int((scored["rank"] <= 3).sum())
    facts: dict[str, Any] = {"n": n, "correct": correct, "no_face": len(table) - n}
    facts |= {"people": table["person"].nunique(), "sessions": table["session"].nunique()}
    facts |= _proportion("accuracy", correct, n) | _proportion("top3_accuracy", top3, n)
    people = cluster_proportion(scored["correct"].to_numpy(), scored["person"].to_numpy()) if n else (np.nan, np.nan)
    facts |= dict(zip(("accuracy_people_low", "accuracy_people_high"), people, strict=True))
    facts |= {"chance": _mean(chances), "p_chance": at_least(correct, chances), "p_order": _permuted(scored, seed=seed)}
    facts |= {"mean_rank": _mean(scored["rank"]), "chance_rank": _mean((scored["classes"] + 1) / 2)}
    return facts | {"detectable": detectable_accuracy(n, facts["chance"]) if n else np.nan}


def tally(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return one row per value of a column (`person`, `prompt`, `condition`, ...): n, correct, accuracy and bounds, mean rank, top 3, no face."""
    rows = {}
    for value, part in table.groupby(by, sort=by != "prompt", observed=True):
        scored = _scored(part)
        row = {"n": len(scored), "correct": int(scored["correct"].sum()), "no_face": len(part) - len(scored)}
        row |= _proportion("accuracy", row["correct"], row["n"])
        rows[value] = row | {"mean_rank": _mean(scored["rank"]), "top3": int((scored["rank"] <= 3).sum())}
    result = pd.DataFrame.from_dict(rows, orient="index")
    result.index.name = by
    return result.reindex([one for one in ALL_EXPRESSIONS if one in rows]) if by == "prompt" else result


def count_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Return how often each prompt (rows) was predicted as each expression (columns), (K, K) counts in the fixed order."""
    scored, names = _scored(table), list(expressions_in(table))
    counts = pd.crosstab(scored["prompt"], scored["predicted"])
    return counts.reindex(index=names, columns=names, fill_value=0).rename_axis(index="prompt", columns="predicted")


def compare_groups(table: pd.DataFrame, by: str, *, within: str | None = None) -> pd.DataFrame:
    """Test each pair of values of a column on their numbers of correct prompts, as independent prompts.

    Args:
        table: Attempts.
        by: The column, such as `condition`.
        within: A column whose values are compared each with itself, such as `person`.

    Returns:
        `first, second`, `difference` of their accuracies with Newcombe's bounds (not by `within`), the exact p (Fisher's, within strata where asked;
        NaN where no stratum has prompts of both), Holm's over the pairs that have one, and `detectable`: the least
        difference that Fisher's test detects with 80 % power from the second's accuracy with these numbers of prompts (NaN: none).
    """
    counts = tally(table, by)
    counts = counts[counts["n"] > 0]
    rows = []
    for first, second in combinations(counts.index, 2):
        row = compare_counts((first, *_counts(counts, first)), (second, *_counts(counts, second)))
        if within is not None:
            parts = [tally(part[part[by].isin([first, second])], by) for _, part in table.groupby(within)]
            strata = [(*_counts(part, first), *_counts(part, second)) for part in parts]
            both = any(n and other_n for _, n, _, other_n in strata)
            row["p_exact"] = exact_p(strata) if both else float("nan")
        rows.append(row)
    compared = pd.DataFrame(rows, columns=list(PAIR_COLUMNS))
    if len(compared):
        tested = compared["p_exact"].notna()
        compared["p_holm"] = float("nan")
        if tested.any():
            compared.loc[tested, "p_holm"] = holm(compared.loc[tested, "p_exact"])
    return compared


def compare_counts(first: tuple[Any, int, int], second: tuple[Any, int, int]) -> dict[str, Any]:
    """Return one row of `compare_groups`, Holm's p apart, for two (name, correct, n)."""
    (name, correct, n), (other, other_correct, other_n) = first, second
    differs = newcombe(correct, n, other_successes=other_correct, other_n=other_n)
    p = exact_p([(correct, n, other_correct, other_n)])
    return {"first": name, "second": other, **differs, "p_exact": p, "detectable": detectable_difference(n, other_n, other_correct / other_n)}


def exact_p(strata: Sequence[tuple[int, int, int, int]]) -> float:
    """Return the two-sided exact p of equal proportions in every stratum (correct, n, other correct, other n); one stratum: Fisher's test.

    >>> round(exact_p([(12, 20, 5, 20)]), 3), round(exact_p([(6, 10, 2, 10), (6, 10, 3, 10)]), 3)
    (0.054, 0.057)
    """
    spread, seen = np.ones(1), 0
    for correct, n, other_correct, other_n in strata:
        total = correct + other_correct
        lowest, highest = max(0, total - other_n), min(n, total)
        spread = np.convolve(spread, stats.hypergeom.pmf(np.arange(lowest, highest + 1), n + other_n, n, total))
        seen += correct - lowest
    return float(min(1.0, spread[spread <= spread[seen] * AS_RARE].sum()))


def compare_people(table: pd.DataFrame) -> float:
    """Return p of equal accuracy of all people: chi-squared by permutation, Fisher's test for two; NaN where there is nothing to test."""
    counts = tally(table, "person")
    counts = counts[counts["n"] > 0]
    hits = np.array([counts["correct"], counts["n"] - counts["correct"]])
    if hits.shape[1] < 2 or (hits.sum(axis=1) == 0).any():
        return float("nan")
    if hits.shape[1] == 2:
        return float(stats.fisher_exact(hits).pvalue)
    method = stats.PermutationMethod(n_resamples=PERMUTATIONS, rng=np.random.default_rng(0))
    return float(stats.chi2_contingency(hits, correction=False, method=method).pvalue)


def at_least(correct: int, chances: np.ndarray) -> float:
    """Return the probability that a guesser with these chances, (n,), has `correct` or more right: the Poisson binomial's tail; NaN for no prompt.

    >>> round(at_least(4, np.full(20, 1 / 8)), 3), round(at_least(8, np.full(20, 1 / 7)), 3)
    (0.235, 0.004)
    """
    if not len(chances):
        return float("nan")
    spread = np.ones(1)
    for chance in chances:
        spread = np.convolve(spread, [1 - chance, chance])
    return float(min(1.0, spread[correct:].sum()))


def detectable_accuracy(n: int, chance: float) -> float:
    """Return the least true accuracy that a one-sided exact test of n prompts against chance detects (5 %, power 80 %); NaN where none.

    >>> round(detectable_accuracy(20, 1 / 7), 2)
    0.42
    """
    needed = int(stats.binom.isf(ALPHA, n, chance)) + 1
    if needed > n:
        return float("nan")
    return float(stats.beta.ppf(POWER, needed, n - needed + 1))  # P(X >= needed) as a function of the accuracy is this beta distribution


def detectable_difference(n: int, other_n: int, accuracy: float) -> float:
    """Return the least difference from an accuracy of `other_n` prompts that Fisher's test of `n` others detects (5 %, power 80 %), or NaN.

    It is detected in either direction, where that is possible.
    """
    rejected = _rejections(n, other_n)
    other = stats.binom.pmf(np.arange(other_n + 1), other_n, accuracy)
    for size in np.arange(0.005, 1, 0.005):
        values = [value for value in (accuracy - size, accuracy + size) if 0 <= value <= 1]
        if values and all(stats.binom.pmf(np.arange(n + 1), n, value) @ rejected @ other >= POWER for value in values):
            return float(size)
    return float("nan")


def _rejections(n: int, other_n: int) -> np.ndarray:
    """Return bool (n + 1, other_n + 1): whether Fisher's two-sided test of these numbers of correct prompts is significant."""
    rejected = np.zeros((n + 1, other_n + 1), dtype=bool)
    for total in range(n + other_n + 1):
        first = np.arange(max(0, total - other_n), min(n, total) + 1)
        chances = stats.hypergeom.pmf(first, n + other_n, n, total)
        as_rare = chances[None] <= chances[:, None] * AS_RARE
        rejected[first, total - first] = (as_rare * chances[None]).sum(axis=1) <= ALPHA
    return rejected


def _scored(table: pd.DataFrame) -> pd.DataFrame:
    """Return the scored attempts with `correct` and `classes` (K)."""
    scored = table[table["outcome"] == SCORED]
    columns = [column for column in table if column.startswith("prob_")]
    return scored.assign(correct=scored["prompt"] == scored["predicted"], classes=scored[columns].notna().sum(axis=1))


def _permuted(scored: pd.DataFrame, *, seed: int) -> float:
    if scored.empty:
        return float("nan")
    rng = np.random.default_rng(seed)
    agreed, seen = np.zeros(PERMUTATIONS, dtype=int), int(scored["correct"].sum())
    for _, part in scored.groupby("session"):
        prompts = np.tile(part["prompt"].to_numpy(str), (PERMUTATIONS, 1))
        agreed += (rng.permuted(prompts, axis=1) == part["predicted"].to_numpy(str)).sum(axis=1)
    return float((1 + (agreed >= seen).sum()) / (1 + PERMUTATIONS))


def _proportion(name: str, successes: int, n: int) -> dict[str, float]:
    low, high = wilson(successes, n)
    return {name: successes / n if n else float("nan"), f"{name}_ci_low": low, f"{name}_ci_high": high}


def _counts(counts: pd.DataFrame, name: Any) -> tuple[int, int]:
    if name not in counts.index:
        return 0, 0
    return int(counts.loc[name, "correct"]), int(counts.loc[name, "n"])


def _mean(values: Any) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
