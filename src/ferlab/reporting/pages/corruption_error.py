"""Mean corruption error on the page that compares runs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ferlab.reporting.tables import MISSING, captioned, cell, estimate, p_value, percent
from ferlab.roles import MARKS, listed

LEVEL = 0.05
WORDS = {"trained": "trained on", "selected_on": "selected on", "untouched": "neither trained nor selected on"}


def corruption_error_sentence(tables: Mapping[str, pd.DataFrame]) -> str:
    """Report per set the baseline, the runs whose error under corruption differs from its, and those that are not compared with it."""
    told = []
    for name, table in tables.items():
        base, alike = table.iloc[0].to_dict(), table["role"] == table["role"].iloc[0]
        others, apart = table[alike].iloc[1:], table[~alike]
        trained = base["role"] == "trained"
        if len(table) == 1:
            told.append(f"On {name}, {base['run']} is the only run: its mean error under corruption is {percent(base['error'])}.")
            told += ["**It was trained on these faces:** the error is a training score."] if trained else []
            continue
        said = [
            f"{row['run']} has {'a lower' if row['difference'] < 0 else 'a higher'} one, by {estimate(_positive(row), 'difference', unit='points')}"
            for row in others[others["p_holm"] < LEVEL].to_dict("records")
        ]
        verdict = "; ".join(said) if said else "no run differs from it significantly" if len(others) else "no run is compared with it"
        told.append(f"On {name}, the baseline is {base['run']}, with a mean error under corruption of {percent(base['error'])}: {verdict}.")
        if trained:
            told.append(f"**{'These runs were' if len(others) else 'It was'} trained on these faces:** the errors are training scores.")
        for role, of in apart.groupby("role", sort=False):
            told.append(f"Other than the baseline, {listed(of['run'])} {'was' if len(of) == 1 else 'were'} {WORDS[str(role)]} these faces.")
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
            "faces": f"{row['n']:,}" + f" ({MARKS['trained']})" * (row["role"] == "trained"),
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
