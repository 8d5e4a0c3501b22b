"""Ablations: runs that name their levels in a table of factors, compared with those that differ in one factor alone.

A recipe's score of a face is the fraction of its seeds that classify it correctly. Recipes are compared face by face on these scores, over the
seeds in common; the interval is over faces, the spread over seeds. Choices belong on val; test shows what became of them.

References:
    Student (1908), The probable error of a mean: the paired t test of the differences.
    Holm (1979), A simple sequentially rejective multiple test procedure.
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823, Table 2: class weights x auxiliary data x network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from ferlab.evaluation.clusters import count_clusters, proportion_bounds, student
from ferlab.evaluation.comparison import difference_by_cluster
from ferlab.evaluation.deduplicated import MARK
from ferlab.evaluation.predictions import faces_in, subjects_of
from ferlab.evaluation.proportions import LEVEL, holm, wilson

COLUMNS = (
    "factor", "from", "to", "else", "split", "seeds", "n", "subjects", "difference", "ci_low", "ci_high", "seed_sd", "p", "p_holm",
    "detectable", "trained_on",
)  # fmt: skip

Runs = Mapping[str, Mapping[str, Any]]


def table_by_factors(runs: Runs, predictions: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per combination of factors, in the order of the runs; runs without factors are excluded.

    Columns: one per factor ("" where a run does not name it), `seeds`, `n`, `accuracy` (mean over seeds), `ci_low`, `ci_high` (Wilson; over subjects
    where they are named) and `seed_sd` (NaN for one seed).
    """
    names = list(dict.fromkeys(name for run in runs.values() for name in run["factors"]))
    rows = []
    for levels, members in _recipes(runs).items():
        tables = [predictions[run] for run in members.values()]
        measured = {"seeds": len(members), **_mean_accuracy(tables, "test")}
        rows.append({**{name: dict(levels).get(name, "") for name in names}, **measured})
    return pd.DataFrame(rows, columns=[*names, "seeds", "n", "accuracy", "ci_low", "ci_high", "seed_sd"])


def factor_effects(
    runs: Runs, predictions: Mapping[str, pd.DataFrame], *, trained_on: Mapping[str, Sequence[str]], balanced: bool = False
) -> pd.DataFrame:
    """Return one row per change of one factor, all others equal, on val and on test, splits apart that a run was trained on (`trained_on`).

    A change without val is also measured on test_dedup where the tables mark duplicates (column `duplicate`, see `ferlab.evaluation.deduplicated`).

    Columns: `factor, from, to` (levels in the order of the runs), `else` (the other factors), `split`, `seeds` and `n` (in common), `subjects` (NaN
    where faces name none), `difference` in accuracy, or where `balanced` in balanced accuracy, with its 95 % interval, `seed_sd`, `p` (paired t
    test over faces, or subjects where they are named), `p_holm` (over the changes of a split), `detectable` (by a test at Holm's first level with
    80 % power) and `trained_on` (all splits that a run of the change was trained on).
    """
    rows = []
    for (levels_a, a), (levels_b, b) in combinations(_recipes(runs).items(), 2):
        changed = _only_change(dict(levels_a), dict(levels_b))
        seeds = [seed for seed in a if seed in b]
        if changed is None or not seeds:
            continue
        others = ", ".join(f"{name} {level}" for name, level in levels_a if name != changed)
        pairs = [(a[seed], b[seed]) for seed in seeds]
        compared = [run for pair in pairs for run in pair]
        seen = list(dict.fromkeys(split for run in compared for split in trained_on[run]))
        levels = {"from": dict(levels_a)[changed], "to": dict(levels_b)[changed]}
        where = {"factor": changed, **levels, "else": others, "trained_on": ", ".join(seen)}
        marked = "val" in seen and any(predictions[run].get(MARK, pd.Series(dtype=bool)).any() for run in compared)
        for split in ("val", "test", *(("test_dedup",) if marked else ())):
            if split.split("_")[0] not in seen:
                rows += [{**where, "split": split, "pairs": pairs, **effect} for effect in _effect(pairs, predictions, split, balanced=balanced)]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "pairs"])
    for split, part in table.groupby("split"):
        table.loc[part.index, "p_holm"] = holm(part["p"])
        corrected = [_effect(pairs, predictions, str(split), tests=len(part), balanced=balanced)[0]["detectable"] for pairs in part["pairs"]]
        table.loc[part.index, "detectable"] = corrected
    return table[list(COLUMNS)].astype({"p_holm": float, "detectable": float})


def sweeps(
    runs: Runs, predictions: Mapping[str, pd.DataFrame], *, fitted: Mapping[str, Mapping[str, Any]], trained_on: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Return the accuracies along each factor whose levels are numbers, three or more, all other factors equal: a row per level and split.

    Columns: `factor`, `else` (the other factors), `level` (a number, ascending), `split` (train, and those of val and test that were not trained on),
    `seeds`, `n`, `accuracy` (mean over seeds), `ci_low` and `ci_high` (as of `table_by_factors`; of train Wilson's). Of train it is the accuracy
    while training, augmented, in the kept epoch.

    Args:
        runs: The runs as in params.
        predictions: Per run its predictions table.
        fitted: Per run `accuracy` and `n` of the faces trained on.
        trained_on: Per run its splits.
    """
    curves: dict[tuple[str, str], dict[float, list[str]]] = {}
    for levels, members in _recipes(runs).items():
        for factor, level in levels:
            with suppress(ValueError):  # a level that is no number
                others = ", ".join(f"{name} {other}" for name, other in levels if name != factor)
                curves.setdefault((factor, others), {})[float(level)] = list(members.values())
    rows = []
    for (factor, others), of_level in curves.items():
        for level, members in sorted(of_level.items()) if len(of_level) > 2 else ():
            where = {"factor": factor, "else": others, "level": level, "seeds": len(members)}
            n, mean = fitted[members[0]]["n"], float(np.mean([fitted[run]["accuracy"] for run in members]))
            low, high = wilson(mean * n, n)
            rows.append({**where, "split": "train", "n": n, "accuracy": mean, "ci_low": low, "ci_high": high})
            for split in ("val", "test"):
                if not any(split in trained_on[run] for run in members):
                    rows.append({**where, "split": split, **_mean_accuracy([predictions[run] for run in members], split)})
    return pd.DataFrame(rows, columns=["factor", "else", "level", "split", "seeds", "n", "accuracy", "ci_low", "ci_high"])


def overfitting(sweep: pd.DataFrame) -> pd.DataFrame:
    """Return by how much train accuracy exceeds test accuracy at the first and the last level of each sweep, and the change between them.

    Columns: `factor`, `else`, `first` and `last` (levels), `gap_first`, `gap_last`, `change` with its 95 % interval `ci_low` and `ci_high`: normal,
    with the four accuracies taken as independent, which is wide where the same faces are easy for both models.

    Args:
        sweep: From `sweeps`.
    """
    rows = []
    for (factor, others), curve in sweep[sweep["split"].isin(["train", "test"])].groupby(["factor", "else"], sort=False):
        ends = curve[curve["level"].isin([curve["level"].min(), curve["level"].max()])]
        accuracy = ends.pivot(index="level", columns="split", values="accuracy")
        (first, last), (gap_first, gap_last) = accuracy.index, accuracy["train"] - accuracy["test"]
        low, high = bounds_of_sum(gap_last - gap_first, ends["accuracy"], ends["n"])
        rows.append([factor, others, first, last, gap_first, gap_last, gap_last - gap_first, low, high])
    return pd.DataFrame(rows, columns=["factor", "else", "first", "last", "gap_first", "gap_last", "change", "ci_low", "ci_high"])


def bounds_of_sum(value: float, shares: Sequence[float] | pd.Series, counts: Sequence[int] | pd.Series) -> tuple[float, float]:
    """Return the normal 95 % interval of a sum or difference of independent proportions, `shares` of `counts`."""
    of, n = np.asarray(shares, dtype=np.float64), np.asarray(counts)
    low, high = norm.interval(LEVEL, value, np.sqrt((of * (1 - of) / n).sum()))
    return float(low), float(high)


def _mean_accuracy(tables: Sequence[pd.DataFrame], split: str) -> dict[str, Any]:
    """Return `n`, the mean `accuracy` of some runs, `ci_low` and `ci_high` over faces, or over subjects where they are named, and `seed_sd`."""
    correct, subjects = pd.DataFrame([_correct(faces_in(table, split)) for table in tables]), subjects_of(faces_in(tables[0], split))
    n, each = correct.shape[1], correct.mean(axis=1)
    low, high = proportion_bounds(correct.mean().to_numpy(), subjects if subjects is not None and len(subjects) == n else None)
    return {"n": n, "accuracy": float(each.mean()), "ci_low": low, "ci_high": high, "seed_sd": float(each.std(ddof=1))}


def changes_from_base(effects: pd.DataFrame, runs: Runs) -> pd.DataFrame:
    """Return the changes from each factor's first level, in the order of the runs, alone: what an ablation is about.

    Args:
        effects: From `factor_effects`.
        runs: The runs as in params.

    Returns:
        Their rows with `p_holm` over those of a split, and `seeds_ci_low` and `seeds_ci_high`: Student's 95 % interval over seeds, NaN for one.
    """
    first: dict[str, str] = {}
    for run in runs.values():
        first = {**run["factors"], **first}
    from_first = np.array([row["from"] == first[row["factor"]] for row in effects.to_dict("records")], dtype=bool)
    own = effects[from_first].reset_index(drop=True)
    for _, part in own.groupby("split"):
        own.loc[part.index, "p_holm"] = holm(part["p"])
    half = own["seed_sd"] / np.sqrt(own["seeds"]) * [student(seeds - 1) if seeds > 1 else np.nan for seeds in own["seeds"]]
    return own.assign(seeds_ci_low=own["difference"] - half, seeds_ci_high=own["difference"] + half)


def name_contrasts(runs: Runs, named: Sequence[Sequence[str]] = ()) -> list[tuple[str, str]]:
    """Return the pairs of runs to test: those in params, else those of one set and seed that differ in one factor alone, the changed one first.

    Empty where neither params (`compare.contrasts`) nor factors name any, which means all pairs.
    """
    if named:
        return [(first, second) for first, second in named]
    recipes = combinations(_recipes(runs).items(), 2)
    alike = [(a, b) for (levels_a, a), (levels_b, b) in recipes if _only_change(dict(levels_a), dict(levels_b)) is not None]
    pairs = [(b[seed], a[seed]) for a, b in alike for seed in a if seed in b]
    return [(changed, base) for changed, base in pairs if runs[changed]["data"] == runs[base]["data"]]


def _recipes(runs: Runs) -> dict[tuple[tuple[str, str], ...], dict[int, str]]:
    """Return the runs of each combination of factors, by seed."""
    found: dict[tuple[tuple[str, str], ...], dict[int, str]] = {}
    for name, run in runs.items():
        if run["factors"]:
            found.setdefault(tuple(sorted(run["factors"].items())), {})[run["seed"]] = name
    return found


def _only_change(a: Mapping[str, str], b: Mapping[str, str]) -> str | None:
    """Return the one factor whose level differs, or None where that is not one alone."""
    changed = [name for name in a if a[name] != b.get(name)]
    return changed[0] if set(a) == set(b) and len(changed) == 1 else None


def _faces(predictions: pd.DataFrame, split: str) -> pd.DataFrame:
    rows = faces_in(predictions, split.removesuffix("_dedup"))
    return rows[~rows[MARK].astype(bool)] if split == "test_dedup" else rows


def _correct(rows: pd.DataFrame, *, balanced: bool = False) -> pd.Series:
    """Return the score of each face, whose mean is the accuracy, or where `balanced` the balanced accuracy."""
    hits = (rows["pred"] == rows["target"]).to_numpy(dtype=np.float64)
    counts = rows["target"].value_counts()
    weights = (len(rows) / len(counts) / rows["target"].map(counts)).to_numpy() if balanced else 1.0
    return pd.Series(hits * weights, index=rows["face_id"])


def _effect(
    pairs: Sequence[tuple[str, str]], predictions: Mapping[str, pd.DataFrame], split: str, *, tests: int = 1, balanced: bool = False
) -> list[dict[str, Any]]:
    """Return the one effect on the faces that all runs share, in a list; none where those are fewer than two (sets may differ in theirs)."""
    scored = {run: _faces(predictions[run], split).set_index("face_id", drop=False) for pair in pairs for run in pair}
    shared = reduce(pd.Index.intersection, [rows.index for rows in scored.values()])
    if len(shared) < 2:
        return []
    scores = {run: _correct(rows.loc[shared], balanced=balanced) for run, rows in scored.items()}
    differences = [scores[after] - scores[before] for before, after in pairs]
    by_face = pd.concat(differences, axis=1).mean(axis=1)
    subjects = subjects_of(scored[pairs[0][0]].loc[shared])
    tested = difference_by_cluster(by_face.to_numpy(), np.arange(len(by_face)) if subjects is None else subjects, tests=tests)
    spread = float(np.std([d.mean() for d in differences], ddof=1)) if len(differences) > 1 else float("nan")
    persons = float("nan") if subjects is None else count_clusters(subjects)
    return [{"seeds": len(pairs), "n": len(by_face), "subjects": persons, "difference": float(by_face.mean()), "seed_sd": spread, **tested}]
