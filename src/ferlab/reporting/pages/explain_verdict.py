"""The verdict on each attribution method, as a table and a sentence whose numbers are those of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ferlab.explanation.verdict import BELIEVED, FEWEST, MOST_ZERO, NOT_BELIEVED, zero_share
from ferlab.reporting.pages.explain_text import NAMES
from ferlab.reporting.tables import cell, number

CRITERION = (
    f"Criterion: at most {number(MOST_ZERO, percent=True, digits=0)} % of the maps are zero; the 95 % interval of the density ratio (attribution "
    "mass per area of the ground-truth pixels) lies above 1, and that of its difference from the better baseline map, on the same faces, above 0."
)

def verdict_table(judged: pd.DataFrame) -> pd.DataFrame:
    """Return the verdict on each method with the numbers that it comes from.

    Args:
        judged: From `verdict.judge_methods`.
    """
    rows = judged.to_dict("records")
    shown = {
        "zero maps": [f"{row['zero']} of {row['maps']}" for row in rows],
        "maps judged": [str(row["n"]) for row in rows],
        "density ratio": [cell(row, "ratio", percent=False, digits=2) for row in rows],
        "better baseline": [f"{NAMES[row['baseline']]}, {number(row['baseline_ratio'], digits=2)}" for row in rows],
        "difference": [cell(row, "ahead", percent=False, digits=2) for row in rows],
        "verdict": [row["verdict"] for row in rows],
    }
    return pd.DataFrame(shown, index=pd.Index([NAMES[row["method"]] for row in rows], name="method"))


def verdict_sentence(judged: pd.DataFrame | None, *, dead: Mapping[str, int], maps: int) -> str:
    """Say which method may be believed on this run and which not, and by which criterion.

    Args:
        judged: From `verdict.judge_methods`; None for faces whose truth is unknown.
        dead: Per method the number of maps that are zero everywhere.
        maps: Maps of each method.
    """
    if judged is None:
        return _unknown_verdict(dead, maps)
    told = " ".join(_sentence(row) for row in judged.to_dict("records"))
    return f"**{told}** {CRITERION}"


def _sentence(row: dict[Any, Any]) -> str:
    name = _start(NAMES[row["method"]])
    if row["verdict"] == BELIEVED:
        return f"{name} may be believed on this run."
    says = "may not be believed on this run" if row["verdict"] == NOT_BELIEVED else "is undecided on this run"
    return f"{name} {says}: {', '.join(_failed(row))}."


def _unknown_verdict(dead: Mapping[str, int], maps: int) -> str:
    """Without truth only the zero maps are measurable: too many rule a method out, few do not rule it in."""
    out = [method for method, count in dead.items() if count > MOST_ZERO * maps]
    rest = [method for method in dead if method not in out]
    limit = number(MOST_ZERO, percent=True, digits=0)
    zero = {method: f"{dead[method]} of {maps} maps are zero (limit: {limit} %)" for method in out}
    told = [f"**{_start(NAMES[method])} may not be believed on this run: {count}.**" for method, count in zero.items()]
    if rest:
        names = ", ".join(NAMES[method] for method in rest)
        names = " and ".join(names.rsplit(", ", 1))
        told.append(f"Whether {names} may be believed is not known on these faces: they have no ground-truth pixels.")
    return " ".join(told)


def _failed(row: dict[Any, Any]) -> list[str]:
    """Return which criteria of `ferlab.explanation.verdict` a method fails, with its numbers."""
    if not row["n"]:
        return [f"{row['zero']} of {row['maps']} maps are zero", "none can be compared with the truth"]
    ratio, ahead = (cell(row, key, percent=False, digits=2) for key in ("ratio", "ahead"))
    reasons = [f"{row['zero']} of {row['maps']} maps are zero"] if zero_share(row) > MOST_ZERO else []
    reasons += [f"only {row['n']} maps can be compared with the truth"] if row["n"] < FEWEST else []
    reasons += [f"its density ratio {ratio} is not above 1"] if not row["ratio_ci_low"] > 1 else []
    reasons += [f"its difference {ahead} from the {NAMES[row['baseline']]} is not above 0"] if not row["ahead_ci_low"] > 0 else []
    return reasons


def _start(text: str) -> str:
    return text[0].upper() + text[1:]
