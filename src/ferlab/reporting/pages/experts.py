"""The part of the compare page on experts for a pair of expressions."""

from __future__ import annotations

import pandas as pd

from ferlab.reporting.tables import as_difference, captioned, estimate, p_value, percent

VERDICTS = {
    None: "No split is left to decide whether to keep it: the run was trained on val.",
    True: "It is kept: the gain on val is significant. Where val selected the epochs, only the gain on test is unbiased.",
    False: "It is not kept: val shows no significant gain.",
}


def experts_sentence(found: pd.DataFrame) -> str:
    """Return what each pipeline of `compare_experts` changes on test, and whether it is kept; "" without experts."""
    return " ".join(_sentence(row) for _, row in found.iterrows() if row["split"] == "test")


def experts_tables(found: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the table of `compare_experts`, in a list; an empty one without experts."""
    if found.empty:
        return []
    rows = found.to_dict("records")
    columns = {
        "expert": found["expert"],
        "split": found["split"],
        "decided": [f"{row['asked']:,} of {row['n']:,}" for row in rows],
        "changed": found["changed"],
        "accuracy, run": found["accuracy_before"].map(percent),
        "accuracy, pipeline": found["accuracy"].map(percent),
        "difference, points": [estimate(as_difference(row), "difference", unit="") for row in rows],
        "p (Holm)": found["p_holm"].map(p_value),
    }
    table = pd.DataFrame(columns).set_axis(pd.Index(found["run"], name="run"))
    return [captioned(table, "Runs beside pipelines in which experts decide between two expressions")]


def _sentence(row: pd.Series) -> str:
    decided = f"{row['expert']} decides between {row['pair']} for {row['asked']:,} of {row['n']:,} test faces of {row['run']}"
    changed = f"{row['changed']:,} predictions change, accuracy by {estimate(as_difference(row), 'difference', unit='points')}"
    return f"{decided}; {changed}. {VERDICTS[row['kept']]}"
