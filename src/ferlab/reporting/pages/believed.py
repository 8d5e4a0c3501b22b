"""What the ranking of the worlds says of the methods that another page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ferlab.explanation.ranking import BELIEVED, NOT_BELIEVED, UNDECIDED
from ferlab.reporting.pages.worlds import NAMES, SHORT, Row
from ferlab.reporting.tables import MISSING, captioned, cell
from ferlab.roles import listed

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "occlusion": ("window", "stride"), "rise": ("masks",), "smooth_grad": ("samples",), "integrated_gradients": ("steps",), "xrai": ("steps",)
}  # fmt: skip
"""Per method the params of a stage that shape its maps."""


def believed_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Return the verdicts on a page's methods, for rows of `ranking_of`."""
    shown = {
        NAMES[row["method"]]: {
            "rank": str(row.get("rank", MISSING)),
            "score": cell(row, "score", percent=False, digits=2),
            "verdict": row["verdict"] or "not ranked",
            "contradicted by": ", ".join(SHORT[name] for name in row["against"]) or MISSING,
            "not shown": ", ".join(SHORT[name] for name in row["missing"]) or MISSING,
        }
        for row in rows
    }
    table = pd.DataFrame.from_dict(shown, orient="index").rename_axis("method")
    return captioned(table, "Verdicts on control faces of known evidence, of the methods shown here")


def believed_sentence(rows: Sequence[Row], *, model: str, ranked_with: Mapping[str, int], shown_with: Mapping[str, int]) -> str:
    """Report what the ranking says of a page's methods, and what it does not transfer to.

    Args:
        rows: Of `ranking_of`.
        model: The model on which they were ranked.
        ranked_with: Window, stride, masks, steps and samples of the ranked maps.
        shown_with: Those of the page's maps.
    """
    by = {verdict: [NAMES[row["method"]] for row in rows if row["verdict"] == verdict] for verdict in (BELIEVED, NOT_BELIEVED, UNDECIDED, "")}
    parts = [f"{listed(names)} {'is' if len(names) == 1 else 'are'} {verdict or 'not ranked'}" for verdict, names in by.items() if names]
    told = "; ".join(parts)
    others = [_other_settings(row["method"], ranked_with, shown_with) for row in rows if row["verdict"]]
    differ = "".join(f" {text}" for text in others if text)
    return (
        f"{told[0].upper()}{told[1:]}, by models of the architecture `{model}` trained on control faces whose evidence is known. The ranking holds "
        f"for such models.{differ} That a method is right there does not show that it is right on photographs; that it is wrong there counts against "
        "it."
    )


def _other_settings(method: str, ranked_with: Mapping[str, int], shown_with: Mapping[str, int]) -> str:
    names = [name for name in SETTINGS.get(method, ()) if ranked_with[name] != shown_with[name]]
    there, here = (", ".join(f"{name} {of[name]:,}" for name in names) for of in (ranked_with, shown_with))
    return f"{NAMES[method][0].upper()}{NAMES[method][1:]} is ranked with {there}, and shown with {here}." if names else ""
