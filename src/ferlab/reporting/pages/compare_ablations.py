"""Tables of factors for the comparison's page: what each combination gives and what each change of one factor brings."""

from __future__ import annotations

import pandas as pd
from scipy import stats

from ferlab.reporting.tables import cell, number, p_value

ALPHA = 0.05


def factors_tables(by_factors: pd.DataFrame, effects: pd.DataFrame) -> list[pd.DataFrame]:
    """Return what there is to show: the table of combinations and that of changes, each only where it has rows.

    Args:
        by_factors: From `ferlab.evaluation.ablations.table_by_factors`.
        effects: From `ferlab.evaluation.ablations.factor_effects`.
    """
    return [table for table in (_combinations(by_factors), _changes(effects)) if len(table)]


def effects_sentence(effects: pd.DataFrame) -> str:
    """Say which changes a paired test supports on val, or that no run names factors."""
    if effects.empty:
        return "No two runs of this study name factors (`runs.<run>.factors`) and differ in one of them over a seed and faces in common."
    split = "val" if (effects["split"] == "val").any() else "test"
    rows = effects[effects["split"] == split]
    kept = rows[rows["p_holm"] < ALPHA]
    if kept.empty:
        return f"None of {len(rows)} changes is significant on {split} over faces at the 5 % level (paired tests, Holm)."
    told = [
        f"{row['factor']} from {row['from']} to {row['to']}{_beside(row['else'])} by {100 * row['difference']:+.1f} points"
        for row in kept.to_dict("records")
    ]
    head = f"Significant on {split} over faces at the 5 % level (paired tests, Holm) are {len(kept)} of {len(rows)} changes: {'; '.join(told)}."
    return f"{head} {_over_seeds(kept)}"


def _over_seeds(kept: pd.DataFrame) -> str:
    """Say how many of the changes hold over seeds too: a t test of the differences per seed, which their mean and spread give."""
    several = kept[kept["seeds"] > 1]
    if several.empty:
        return "With one seed each, nothing is known of other seeds."
    error = several["seed_sd"] / several["seeds"] ** 0.5
    p = 2 * stats.t.sf(several["difference"].abs() / error, several["seeds"] - 1)
    return f"Over seeds (t tests, uncorrected) {int((p < ALPHA).sum())} of the {len(several)} with several seeds are significant."


def _combinations(table: pd.DataFrame) -> pd.DataFrame:
    measured = ["seeds", "n", "accuracy", "ci_low", "ci_high", "seed_sd"]
    rows = [
        {
            **{name: row[name] for name in table.columns if name not in measured},
            "seeds": row["seeds"],
            "accuracy, test, %": cell({"a": row["accuracy"], "a_ci_low": row["ci_low"], "a_ci_high": row["ci_high"]}, "a"),
            "over seeds": _spread(row["seed_sd"]),
        }
        for row in table.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _changes(effects: pd.DataFrame) -> pd.DataFrame:
    rows = [
        {
            "change": f"{row['factor']}: {row['from']} to {row['to']}",
            "all else": row["else"],
            "on": row["split"],
            "seeds": row["seeds"],
            "difference, points": cell(
                {"difference": row["difference"], "difference_ci_low": row["ci_low"], "difference_ci_high": row["ci_high"]}, "difference"
            ),
            "over seeds": _spread(row["seed_sd"]),
            "p": p_value(row["p"]),
            "Holm p": p_value(row["p_holm"]),
            "detectable, points": number(row.get("detectable", float("nan")), percent=True),
        }
        for row in effects.to_dict("records")
    ]
    return pd.DataFrame(rows)


def _spread(sd: float) -> str:
    return "" if sd != sd else f"± {number(sd, percent=True)}"


def _beside(others: str) -> str:
    return f" ({others})" if others else ""
