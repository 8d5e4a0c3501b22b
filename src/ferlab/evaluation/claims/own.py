"""What this project's own pages state: each number is read from the page and computed again from committed predictions or metrics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from ferlab.evaluation.claims.schema import FAILS, HOLDS, OPEN, Claim, Context, Finding
from ferlab.evaluation.deduplicated import MARK
from ferlab.evaluation.kept import read_kept
from ferlab.evaluation.proportions import wilson
from ferlab.paths import read_json

NUMBER = re.compile(r"(\d+\.\d) %(?: \[(\d+\.\d), (\d+\.\d)\])?")
PUBLISHED = Path("reports", "published")
CARD = Path("src", "ferlab", "deployment", "weights", "card.json")


class Own(Claim):
    """A cell of a table in one of this project's pages."""

    check: Literal["own"]
    file: str
    row: str  # the first cell
    column: str
    predictions: str = ""  # a kept table below reports/published: scores are computed again
    study: str = ""  # of reports/published: its summary is looked up
    run: str = ""  # or "ensemble"
    tta: str = ""  # of a run's tta_<name>; "": as reported
    private_test: Literal["", "none", "flip"] = ""  # what the holder of its labels found, in the model's card
    split: Literal["test", "test_dedup"] = "test"
    without_duplicates: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Own:
        if sum(map(bool, (self.predictions, self.study, self.private_test))) != 1:
            raise ValueError("expected one of `predictions`, `study` and `private_test`")
        return self


def check_own(claim: Own, context: Context) -> list[Finding]:
    """Read the cell, compute the accuracy and its interval again, and compare."""
    stated = stated_cell((context.root / claim.file).read_text(encoding="utf-8"), row=claim.row, column=claim.column)
    check = f"{claim.column} of {claim.row}"
    if stated is None:
        return [Finding(check, OPEN, f"{claim.file} has no number in row {claim.row!r}, column {claim.column!r}.")]
    accuracy, n, source = _recomputed(claim, context)
    again = [100 * value for value in (accuracy, *wilson(round(accuracy * n), n))]
    agrees = all(f"{value:.1f}" == text for value, text in zip(again, stated) if text)
    printed = f"{stated[0]} %" + (f" [{stated[1]}, {stated[2]}]" if stated[1] else "")
    told = f"Stated in {claim.file}: {printed}; {source} give {again[0]:.1f} % [{again[1]:.1f}, {again[2]:.1f}] (n = {n:,})."
    if claim.private_test and agrees:
        return [Finding(check, OPEN, f"{told} The labels are not here, so the accuracy itself is not recomputed.")]
    return [Finding(check, HOLDS if agrees else FAILS, told)]


def stated_cell(page: str, *, row: str, column: str) -> tuple[str, str, str] | None:
    """Return the first percentage of a cell of the page's Markdown tables with its bounds ("" without), None where there is none.

    >>> stated_cell("| faces | flip |\\n|---|---|\\n| all | 69.9 % [68.3, 71.3] |", row="all", column="flip")
    ('69.9', '68.3', '71.3')
    """
    head: list[str] = []
    for line in page.splitlines():
        cells = table_cells(line)
        if not cells:
            head = []
        elif not head:
            head = cells
        elif column in head and cells[0] == row and head.index(column) < len(cells):
            found = NUMBER.match(cells[head.index(column)])
            return (found[1], found[2] or "", found[3] or "") if found else None
    return None


def table_cells(line: str) -> list[str]:
    """Return the cells of a row of a Markdown table; none of another line."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []


def _recomputed(claim: Own, context: Context) -> tuple[float, int, str]:
    """Return accuracy, n and the words for where they come from."""
    if claim.predictions:
        kept = read_kept(context.root / PUBLISHED / claim.predictions)
        faces = kept[(kept["split"] == "test") & ~(kept[MARK] & (claim.split == "test_dedup"))]
        return float((faces["pred"] == faces["target"]).mean()), len(faces), f"the committed predictions ({claim.predictions})"
    if claim.private_test:
        card = read_json(context.root / CARD, made_by="git restore")["private_test"]
        part = card["without_exact_duplicates"] if claim.without_duplicates else card
        return part[claim.private_test], part["n"], "the results of the labels' holder, in the model's card,"
    summary = read_json(context.root / PUBLISHED / claim.study / "summary.json", made_by="git restore")
    words = f"the metrics of study {claim.study} (predictions not kept)"
    if claim.run == "ensemble":
        any_run: dict[str, Any] = next(iter(summary["runs"].values()))["evaluate"]
        return summary["compare"]["ensembles"]["fer2013"][claim.split]["accuracy"], any_run["n"][claim.split], words
    of = summary["runs"][claim.run]["evaluate"]
    scores = of[f"tta_{claim.tta}"] if claim.tta else of
    return scores[claim.split]["accuracy"], of["n"][claim.split], words
