"""The page of reports/published/: what papers state, each row beside ours where a published study has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ferlab import paths
from ferlab.evaluation.ensembles import ENSEMBLE
from ferlab.evaluation.tasks import recorded_tasks
from ferlab.reporting.pages.protocol import differing
from ferlab.reporting.tables import MISSING, cell, markdown_table, published_table
from ferlab.roles import recorded


def beside_page(published: pd.DataFrame, folder: Path) -> str:
    """Return the page that sets each published row beside ours, humans and live tries among them.

    Args:
        published: From `read_published`.
        folder: The published studies.
    """
    theirs = published_table(published).reset_index()
    studies = {path.parent.name: paths.read_json(path, made_by="publishing") for path in folder.glob("*/summary.json")}
    rows = [_ours(row, studies) for row in published.to_dict("records")]
    ours = pd.DataFrame(rows, columns=["ours", "split", "n", "accuracy, %", "task differs in"], dtype=object).fillna("")
    table = pd.DataFrame(
        {
            "paper: system": theirs["paper"] + ": " + theirs["system"],
            "its dataset": theirs["dataset"],
            "its split": theirs["split"],
            "its n": theirs["n"].replace(MISSING, "not said"),
            "its accuracy, %": theirs["accuracy, %"],
            "kind": theirs["kind"],
            **ours,
            "why they differ, or why there is none": published["differs"].where(published["differs"] != "", published["note"]),
        }
    )
    return (
        "# What papers state, and what we measured\n\nWritten by `python -m ferlab.reporting.site.publish` from `conf/published/` and the studies "
        "published here. Intervals are 95 % and Wilson's; those of published rows are computed from their n. Ours are on the test split of the "
        "study, under the TTA named; each scoring of a test split stands in `reports/test_scorings.csv`. Two numbers compare only where their tasks "
        "agree: dataset, split, number of expressions and n, as far as the paper states them.\n\n" + markdown_table(table, index=False)
    )


def _ours(row: Mapping[str, Any], studies: dict[str, Any]) -> dict[str, str]:
    """Return what stands beside a published row: its `ours` is <study>/<run>, <study>/ensemble, or missing."""
    name = row["ours"]
    if not isinstance(name, str):
        return {"ours": "none"}
    study, run = name.split("/")
    kept = studies.get(study, {"runs": {}, "compare": {"ensembles": {}}})
    votes = kept["compare"]["ensembles"]
    if run == ENSEMBLE and votes:
        scored, test, tta = next(iter(kept["runs"].values()))["evaluate"], next(iter(votes.values()))["test"], "soft-voting ensemble"
    elif run in kept["runs"]:
        scored = kept["runs"][run]["evaluate"]
        test, tta = scored["test"], scored.get("tta", "flip")  # flip: published before the key
    else:
        return {"ours": f"{name}, not published yet"}
    selected = recorded(scored).role("test") == "selected_on"
    told = f"[{name}]({study}/README.md), {tta}{', epoch selected on test' if selected else ''}"
    task = recorded_tasks(scored)["test"]
    compared = {"accuracy, %": cell(test, "accuracy"), "task differs in": differing(row, [task])}
    return {"ours": told, "split": scored["usage"]["test"], "n": f"{scored['n']['test']:,}", **compared}
