"""Tables of factors for the comparison's page: what each combination gives and what each change of one factor brings."""

from __future__ import annotations

import pandas as pd

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
        return "No two runs of this study name factors (`runs.<run>.factors`) and differ in one of them, so there is no change to weigh."
    split = "val" if (effects["split"] == "val").any() else "test"
    rows = effects[effects["split"] == split]
    kept = rows[rows["p_holm"] < ALPHA]
    if kept.empty:
        return f"Of {len(rows)} changes none moves the accuracy on {split} beyond luck (Holm-corrected paired tests at {ALPHA:.0%})."
    told = [
        f"{row['factor']} from {row['from']} to {row['to']}{_beside(row['else'])} by {100 * row['difference']:+.1f} points"
        for row in kept.to_dict("records")
    ]
    return f"Beyond luck on {split} move the accuracy ({len(kept)} of {len(rows)} changes, Holm-corrected paired tests): {'; '.join(told)}."


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
