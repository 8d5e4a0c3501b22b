"""Mean corruption error on the page that compares runs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ferlab.reporting.tables import MISSING, captioned, cell, estimate, p_value, percent

LEVEL = 0.05


def corruption_error_sentence(tables: Mapping[str, pd.DataFrame]) -> str:
    """Report per set the baseline and the runs whose error under corruption differs from its."""
    told = []
    for name, table in tables.items():
        base, others = table.iloc[0].to_dict(), table.iloc[1:]
        if others.empty:
            told.append(f"On {name}, {base['run']} is the only run: its mean error under corruption is {percent(base['error'])}.")
            continue
        said = [
            f"{row['run']} has {'a lower' if row['difference'] < 0 else 'a higher'} one, by {estimate(_positive(row), 'difference', unit='points')}"
            for row in others[others["p_holm"] < LEVEL].to_dict("records")
        ]
        verdict = "; ".join(said) if said else "no run differs from it significantly"
        told.append(f"On {name}, the baseline is {base['run']}, with a mean error under corruption of {percent(base['error'])}: {verdict}.")
    return " ".join(told)


def _positive(row: dict) -> dict:
    if row["difference"] >= 0:
        return row
    return {"difference": -row["difference"], "difference_ci_low": -row["difference_ci_high"], "difference_ci_high": -row["difference_ci_low"]}


def corruption_errors_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row per run: errors, mCE and relative mCE with intervals, and the paired difference from the baseline."""
    rows = [
        {
            "run": row["run"],
            "dataset": name,
            "faces": f"{row['n']:,}",
            "error, %": percent(row["clean_error"]).removesuffix(" %"),
            "error under corruption, %": percent(row["error"]).removesuffix(" %"),
            "mCE, %": cell(row, "mce") if place else "100 (baseline)",
            "relative mCE, %": (cell(row, "relative_mce") if place else "100 (baseline)") if row["relative_corruptions"] else MISSING,
            "difference, points": cell(row, "difference") if place else MISSING,
            "Holm p": p_value(row["p_holm"]),
        }
        for name, table in tables.items()
        for place, row in enumerate(table.to_dict("records"))
    ]
    return captioned(pd.DataFrame(rows).set_index("run"), "Errors of each run under corruption, relative to those of the baseline")


def nested_errors(tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the tables by set and run, for the metrics file."""
    return {name: {row.pop("run"): row for row in table.to_dict("records")} for name, table in tables.items()}
