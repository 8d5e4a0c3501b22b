"""What each change brings: runs that name where they stand in a table of factors, set against those that differ in one factor alone.

A recipe is judged over its seeds: per face the share of its seeds that name it right. Two recipes are compared face by face on these
shares, over the seeds that both have, so that neither a lucky seed nor an easy face decides; the spread of the difference over seeds stands
beside it, since the interval speaks of other faces, not of other seeds. Choices belong on val; test shows what became of them.

References:
    Student (1908), The probable error of a mean: the paired t test of the differences.
    Holm (1979), A simple sequentially rejective multiple test procedure.
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823, Table 2: class weights x auxiliary data x network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.multitest import multipletests

from ferlab.evaluation.intervals import LEVEL, wilson
from ferlab.evaluation.predictions import faces_in

COLUMNS = ("factor", "from", "to", "else", "split", "seeds", "n", "difference", "ci_low", "ci_high", "seed_sd", "p", "p_holm")

Runs = Mapping[str, Mapping[str, Any]]


def table_by_factors(runs: Runs, predictions: Mapping[str, pd.DataFrame], *, split: str = "test") -> pd.DataFrame:
    """Return the accuracy of each combination of factors.

    Args:
        runs: Per run `data`, `seed`, `factors`, as in params; runs without factors are left out.
        predictions: Per run its predictions table.
        split: Which faces.

    Returns:
        One row per combination, in the order of the runs: a column per factor ("" where a run does not name it), `seeds`, `n` and `accuracy`
        (mean over seeds), `ci_low`, `ci_high` (Wilson's, of that mean on n faces) and `seed_sd` (NaN for one seed).
    """
    names = list(dict.fromkeys(name for run in runs.values() for name in run["factors"]))
    rows = []
    for levels, members in _recipes(runs).items():
        scores = [_right(predictions[run], split).mean() for run in members.values()]
        n = len(faces_in(predictions[next(iter(members.values()))], split))
        low, high = wilson(round(float(np.mean(scores)) * n), n)
        spread = float(np.std(scores, ddof=1)) if len(scores) > 1 else float("nan")
        measured = {"seeds": len(scores), "n": n, "accuracy": float(np.mean(scores)), "ci_low": low, "ci_high": high, "seed_sd": spread}
        rows.append({**{name: dict(levels).get(name, "") for name in names}, **measured})
    return pd.DataFrame(rows, columns=[*names, "seeds", "n", "accuracy", "ci_low", "ci_high", "seed_sd"])


def factor_effects(
    runs: Runs, predictions: Mapping[str, pd.DataFrame], *, fitted_on: Mapping[str, Sequence[str]], splits: Sequence[str] = ("val", "test")
) -> pd.DataFrame:
    """Return what each change of one factor brings, all others equal.

    Args:
        runs: As for `table_by_factors`.
        predictions: Likewise.
        fitted_on: Per run the splits it was fitted on; a split that either side was fitted on tells nothing and is left out.
        splits: Which faces.

    Returns:
        One row per change and split: `factor, from, to` (levels in the order of the runs), `else` (the other factors), `split`, `seeds` (in
        common), `n` (faces in common), `difference` in accuracy with its 95 % interval over faces, `seed_sd`, `p` (paired t test over faces)
        and `p_holm` (over the changes of a split).
    """
    rows = []
    for (levels_a, a), (levels_b, b) in combinations(_recipes(runs).items(), 2):
        changed = _only_change(dict(levels_a), dict(levels_b))
        seeds = [seed for seed in a if seed in b]
        if changed is None or not seeds:
            continue
        others = ", ".join(f"{name} {level}" for name, level in levels_a if name != changed)
        where = {"factor": changed, "from": dict(levels_a)[changed], "to": dict(levels_b)[changed], "else": others}
        pairs = [(a[seed], b[seed]) for seed in seeds]
        for split in splits:
            if not any(split in fitted_on[run] for pair in pairs for run in pair):
                rows += [{**where, "split": split, **effect} for effect in _effect(pairs, predictions, split)]
    table = pd.DataFrame(rows, columns=[column for column in COLUMNS if column != "p_holm"])
    corrected = [pd.Series(multipletests(part, method="holm")[1], index=part.index) for _, part in table.groupby("split")["p"]]
    return table.assign(p_holm=pd.concat(corrected) if corrected else pd.Series(dtype=float))[list(COLUMNS)]


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


def _right(predictions: pd.DataFrame, split: str) -> pd.Series:
    rows = faces_in(predictions, split)
    return pd.Series((rows["pred"] == rows["target"]).to_numpy(dtype=np.float64), index=rows["face_id"])


def _effect(pairs: Sequence[tuple[str, str]], predictions: Mapping[str, pd.DataFrame], split: str) -> list[dict[str, Any]]:
    """Return the one effect, in a list; none where the two sides share fewer than two faces (sets may differ in theirs)."""
    differences = [(_right(predictions[b], split) - _right(predictions[a], split)).dropna() for a, b in pairs]
    by_face = pd.concat(differences, axis=1).dropna().mean(axis=1).to_numpy()
    if len(by_face) < 2:
        return []
    centre, n = float(by_face.mean()), len(by_face)
    error = float(by_face.std(ddof=1)) / np.sqrt(n)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(centre) / error, n - 1)) if error else 1.0
    spread = float(np.std([d.mean() for d in differences], ddof=1)) if len(differences) > 1 else float("nan")
    return [{"seeds": len(pairs), "n": n, "difference": centre, "ci_low": centre - half, "ci_high": centre + half, "seed_sd": spread, "p": p}]
