"""The part of the prepare page on labels corrected by hand: how many, from which to which, by whom, and on what people disagree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.reporting.tables import captioned

SHOWN = 20  # conflicts


def corrections_sentences(done: Mapping[str, Any]) -> str:
    """Say how many labels were corrected, confirmed or left because people disagree; warn where test faces were."""
    if not done:
        return "No label was corrected by hand: the dataset names no corrections file."
    judged = f"{_count(done['rows'], 'decision')} by {_count(len(done['by']), 'person', 'people')} on {_count(done['faces'], 'face')}"
    parts = [f"**Labels corrected by hand: {done['applied']:,}** ({judged}; {done['confirmed']:,} confirm the label)."]
    if done["conflicts"]:
        held = _count(len(done["conflicts"]), "face keeps its label", "faces keep their label")
        parts.append(f"{held}: no decision has more than half of the people who judged it.")
    if done["unused"]:
        parts.append(f"Not applied, since the dataset excludes the face for another reason: {done['unused']:,}.")
    if done["splits"]["test"]:
        warned = "labels chosen with predictions in sight bias the test score"
        parts.append(f"**{_count(done['splits']['test'], 'corrected face is', 'corrected faces are')} in test: {warned}.**")
    return " ".join(parts)


def changes_table(done: Mapping[str, Any]) -> pd.DataFrame:
    """Return faces per label before (rows) and decision (columns); without rows where nothing was applied."""
    table = pd.DataFrame(done.get("changes", {})).T.fillna(0).astype(int)
    rows = [name for name in ALL_EXPRESSIONS if name in table.index]
    columns = sorted(table.columns, key=_order)
    return captioned(table.reindex(index=rows, columns=columns).rename_axis("label before"), "Faces by label before (rows) and decision (columns)")


def people_table(done: Mapping[str, Any]) -> pd.DataFrame:
    """Return, per person, decisions and those of them that were applied."""
    people = done.get("by", {})
    counts = {name: [of[key] for of in people.values()] for name, key in (("decisions", "rows"), ("applied", "applied"))}
    return captioned(pd.DataFrame(counts, index=list(people)).rename_axis("person"), "Decisions of each person")


def conflicts_table(done: Mapping[str, Any]) -> pd.DataFrame:
    """Return the first faces on whose label people disagree, with the decision of each."""
    rows = [
        {"face_id": each["face_id"], "label": each["old"], "decisions": "; ".join(f"{who}: {new}" for who, new in each["votes"].items())}
        for each in done.get("conflicts", ())[:SHOWN]
    ]
    return captioned(pd.DataFrame(rows, columns=["face_id", "label", "decisions"]).set_index("face_id"), "Faces on whose label people disagree")


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def _order(decision: str) -> tuple[int, str]:
    """Expressions in their order, two labels after their first, "exclude" last."""
    first = decision.split("|")[0]
    return (ALL_EXPRESSIONS.index(first) if first in ALL_EXPRESSIONS else len(ALL_EXPRESSIONS), decision)


