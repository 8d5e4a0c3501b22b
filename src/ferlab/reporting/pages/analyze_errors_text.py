"""What errors say, as tables and sentences whose numbers come from the measured ones."""

from __future__ import annotations

import pandas as pd

from ferlab.error_analysis.label_issues import count_agreement
from ferlab.evaluation.proportions import wilson
from ferlab.reporting.tables import cell, control_name, estimate, number, p_equals, p_value, percent
from ferlab.roles import Role

LEVEL = 0.05


def source_of(faces: pd.DataFrame) -> str:
    """Name the faces of a table: dataset and usage; control faces always by that name."""
    names = " and ".join(dict.fromkeys(faces["source"]))
    usage = " and ".join(dict.fromkeys(faces["usage"]))
    return control_name(names) or f"{names}, {usage}"


def errors_sentence(predictions: pd.DataFrame, *, run: str, split: str, source: str) -> str:
    """Say how many faces are named wrong, of how many of what."""
    wrong, n = int((predictions["target"] != predictions["pred"]).sum()), len(predictions)
    low, high = wilson(wrong, n)
    rate = estimate({"error": wrong / n, "error_ci_low": low, "error_ci_high": high}, "error")
    return f"**{run}** names {wrong:,} of {n:,} {split} faces ({source}) wrong: {rate}. Brackets hold 95 % intervals."


def pairs_table(pairs: pd.DataFrame, *, most: int = 10) -> pd.DataFrame:
    """Return the most frequent confused pairs with their share of the true expression and both ranks.

    Args:
        pairs: From `rank_confusions`.
        most: How many.
    """
    rows = pairs.head(most).to_dict("records")
    table = [
        {
            "pair": f"{row['target']} called {row['pred']}",
            "faces": row["count"],
            "of": row["support"],
            "% of the true expression": cell(row, "rate"),
            "rank by count": row["rank_by_count"],
            "rank by rate": row["rank_by_rate"],
        }
        for row in rows
    ]
    return pd.DataFrame(table, columns=["pair", "faces", "of", "% of the true expression", "rank by count", "rank by rate"]).set_index("pair")


def pairs_sentence(pairs: pd.DataFrame) -> str:
    """Say which pair is confused most often, and which expression suffers most from one confusion."""
    if pairs.empty:
        return "No prediction differs from its label."
    first = pairs.iloc[0]
    often = pairs.loc[pairs["rank_by_rate"].idxmin()]
    share = percent(first["count"] / pairs["count"].sum())
    same = (first["target"], first["pred"]) == (often["target"], often["pred"])
    by_rate = (
        "It leads by rate too" if same else f"By rate {often['target']} called {often['pred']} leads, {estimate(often, 'rate')} of {often['support']}"
    )
    return (
        f"Most frequent: {first['target']} called {first['pred']}, {_many(first['count'], 'face')}, {estimate(first, 'rate')} of {first['support']} "
        f"and {share} of all errors. {by_rate}."
    )


def confident_sentence(errors: pd.DataFrame) -> str:
    """Say how sure the model was of the errors shown."""
    if errors.empty:
        return "No prediction differs from its label."
    top, last = errors.iloc[0], errors.iloc[-1]
    pairs = (errors["target"] + " called " + errors["pred"]).value_counts()
    if len(errors) == 1:
        return f"One error, {top['target']} called {top['pred']}, with probability {percent(top['prob_pred'])}."
    return (
        f"The {len(errors)} most confident errors, from {percent(top['prob_pred'])} ({top['target']} called {top['pred']}) down to "
        f"{percent(last['prob_pred'])}. Most frequent among them: {pairs.index[0]}, {_many(int(pairs.iloc[0]), 'time')}."
    )


def issues_sentence(issues: pd.DataFrame, *, n: int, role: Role) -> str:
    """Say how many labels are doubted, whether out of sample, and with whom raters agree where they voted.

    Args:
        issues: From `doubtful_labels`.
        n: Faces looked at.
        role: What their split is to the run: confident learning wants faces that the model was not trained on.
    """
    sample = "in-sample probabilities, which can hide label issues," if role == "trained" else "out-of-sample probabilities"
    said = f"Confident learning on {sample} finds {len(issues)} label issues among {n:,} faces ({percent(len(issues) / n)})."
    agreement = count_agreement(issues)
    if not agreement:
        return f"{said} There are no raters' votes to set beside them."
    return (
        f"{said} The raters' first choice agrees with the given label on {agreement['given']} of them, with the model on {agreement['suggested']}, "
        f"and with neither on {agreement['neither']}."
    )


def issues_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Return doubted labels per given expression, the share in percent.

    Args:
        counts: From `issues_per_class`.
    """
    shares = [number(share, percent=True) for share in counts["share"]]
    names = {"share": "doubted, %", "most_suggested": "most often suggested"}
    return counts.assign(share=shares).rename(columns=names).set_index("expression")


def slices_table(tests: pd.DataFrame) -> pd.DataFrame:
    """Return the tests of all conditions as a reader meets them, error rates in percent.

    Args:
        tests: From `compare_slices`.
    """
    table = pd.DataFrame(
        {
            "groups": tests["groups"].to_numpy(),
            "lowest error, %": [number(value, percent=True) for value in tests["lowest"]],
            "highest error, %": [number(value, percent=True) for value in tests["highest"]],
            "p": [p_value(p) for p in tests["p"]],
            "Holm p": [p_value(p) for p in tests["p_holm"]],
        },
        index=pd.Index(tests["condition"], name="condition"),
    )
    return table


def slices_sentence(tests: pd.DataFrame) -> str:
    """Say under which conditions error rates differ by more than chance."""
    if tests.empty:
        return "No condition of these faces is known."
    found = tests[tests["p_holm"] < LEVEL]
    if found.empty:
        return f"In none of {len(tests)} conditions do error rates differ at the 5 % level (permutation tests, Holm)."
    named = "; ".join(
        f"{row.condition} ({number(row.lowest, percent=True)} to {percent(row.highest)}, Holm p {p_equals(row.p_holm)})"
        for row in found.itertuples()
    )
    return f"Error rates differ at the 5 % level in {len(found)} of {len(tests)} conditions (permutation tests, Holm): {named}."


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
