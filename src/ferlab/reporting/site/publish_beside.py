"""The pages of reports/published/: what papers state, each row beside ours where a published study has it; and which of their claims reproduce."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ferlab import paths
from ferlab.evaluation.claims.trained import OF_TRAINING
from ferlab.evaluation.ensembles import ENSEMBLE
from ferlab.evaluation.tasks import recorded_tasks
from ferlab.reporting.pages.claims import LAST, MARKS, ORDER, count_verdicts, papers_in_order, verdicts_sentence
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
        "agree: dataset, split, number of expressions and n, as far as the paper states them.\n\n" + markdown_table(table)
    )


def reproduction_page(rows: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Return the page that says of each claim of the papers whether it reproduces, those first that a training of ours checked.

    Args:
        rows: From `ferlab.evaluation.claims.audit_claims`; reference results and this project's own pages are excluded.
        titles: Paper -> title.
    """
    of_papers = rows[~rows["paper"].isin(LAST)]
    counts = count_verdicts(of_papers)[list(reversed(ORDER))]
    trained = of_papers["check"].str.endswith(OF_TRAINING)
    counts.insert(0, "by a training of ours", trained.groupby(of_papers["paper"]).sum())
    counts.index = pd.Index([titles[paper] for paper in counts.index], name="paper")
    head = (
        "# What reproduces and what does not\n\nWritten by `python -m ferlab.reporting.site.publish` from `conf/claims/` and the studies "
        f"published here. {verdicts_sentence(of_papers, own=False)} {int(trained.sum())} checks are trainings of ours, tested on FER2013's "
        "PublicTest: *holds* is an accuracy as high as the stated one, or a difference whose 95 % interval has the stated sign; *does not "
        "hold* is significantly lower, or has the other sign, by a training that lacks nothing of the paper's. The others are computations on "
        "printed numbers, official counts and stated protocols. How much a random split of frames overestimates is measured on control faces "
        "([pitfalls](../../docs/pitfalls.md#frames-of-one-sequence-in-train-and-test)). Accuracies beside ours, and why a training is missing: "
        "[README](README.md). A finding is about a number, its protocol or its n; it does not judge the work."
    )
    parts = [head, markdown_table(counts)]
    for paper in papers_in_order(of_papers):
        parts.append(f"## {titles[paper]}")
        for name, found in (("Trained here", of_papers[trained]), ("Computed from what is printed", of_papers[~trained])):
            own = found[found["paper"] == paper].sort_values("verdict", key=lambda verdicts: verdicts.map(ORDER.index), kind="stable")
            if len(own):
                table = own[["verdict", "claim", "evidence"]].assign(verdict=[f"{MARKS[verdict]} {verdict}" for verdict in own["verdict"]])
                parts += [f"### {name}", markdown_table(table)]
    return "\n\n".join(parts)


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
