"""What papers state, read from `conf/published/*.yaml`: each row with its paper, set, split, number of faces and where it comes from.

A published accuracy without its split and its n cannot be set beside ours, so both are asked for; n may be null where nobody says. Intervals
are Wilson's, computed here: papers rarely state one. Rows with `model` name a model of our registry: theirs and ours can stand in one line.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferlab.evaluation.proportions import wilson
from ferlab.params import read_yaml
from ferlab.paths import ROOT, InputError

FOLDER = ROOT / "conf" / "published"


class PublishedRow(BaseModel):
    """One stated result. Shares are fractions of 1."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    system: str
    model: str | None = None  # the model's name in our registry, where we have it
    dataset: str  # fer2013, affectnet, ckplus, ...
    split: str  # as its authors name it
    expressions: int = Field(ge=2)
    n: int | None = Field(ge=1)  # faces scored; null where nobody says
    accuracy: float = Field(ge=0, le=1)
    margin: float | None = None  # stated by the paper itself, as 65 +- 5 %
    macro_f1: float | None = Field(None, ge=0, le=1)
    weighted_f1: float | None = Field(None, ge=0, le=1)
    loss: float | None = Field(None, ge=0)
    depth: str | None = None  # as stated
    parameters: str | None = None  # as stated
    kind: Literal["net", "ensemble", "human", "live"] = "net"
    selected_on: Literal["val", "test", "unknown"] = "unknown"  # which faces chose the reported epoch or members
    extra_data: str | None = None  # pretraining or faces beyond the set's own
    note: str
    ours: str | None = None  # what stands beside it: <study>/<run> of reports/published, or <study>/ensemble
    differs: str = ""  # in a line, why ours differs; or where there is no ours, why


class PublishedPaper(BaseModel):
    """The stated results of one paper, or of several that serve as anchors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: str  # a study's name, or "anchors"
    title: str
    rows: tuple[PublishedRow, ...] = Field(min_length=1)


def read_published(folder: Path = FOLDER) -> pd.DataFrame:
    """Return all published rows: the fields of PublishedRow, `paper`, `title`, `ci_low`, `ci_high`.

    The bounds are Wilson's where n is known, the paper's own margin where it states one, NaN otherwise.

    Raises:
        InputError: No files, broken YAML, or a row that lacks its split, n or note, in one line that names file and field.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise InputError(f"{folder.name}: no published rows; expected conf/published/<paper>.yaml (restore them with git)")
    rows = []
    for path in files:
        paper = read_paper(path)
        rows += [{"paper": paper.paper, "title": paper.title, **row.model_dump(), **_bounds(row)} for row in paper.rows]
    return pd.DataFrame(rows)


def read_paper(path: Path) -> PublishedPaper:
    """Read and check one file of published rows; see `read_published` for what raises."""
    try:
        return PublishedPaper.model_validate(read_yaml(path, source=path.name))
    except ValidationError as errors:
        error = errors.errors()[0]
        where = ".".join(str(part) for part in error["loc"])
        needed = "every row needs system, dataset, split, expressions, n, accuracy and note"
        raise InputError(f"{path.name}: {where}: {error['msg'].lower()}; {needed}") from None


def rows_beside(published: pd.DataFrame, *, datasets: Collection[str], papers: Collection[str]) -> pd.DataFrame:
    """Return the rows to set beside ours: all of the papers whose models ran, and the anchors of the datasets that were scored.

    Args:
        published: From `read_published`.
        datasets: Of our sets.
        papers: Families of our runs.
    """
    chosen = published["paper"].isin(papers) | ((published["paper"] == "anchors") & published["dataset"].isin(datasets))
    return published[chosen].reset_index(drop=True)


def comparability_note(rows: pd.DataFrame, ours: pd.DataFrame) -> str:
    """Say how many published rows were measured on the dataset and split of ours, and how many selected on the faces they report.

    Args:
        rows: From `rows_beside`.
        ours: From `ours_beside_published`: `dataset`, `split`, `hollow`.
    """
    if rows.empty:
        return "No published row stands beside these runs."
    names = " and ".join(sorted(set(ours["dataset"])))
    same_set = rows["dataset"].isin(ours["dataset"])
    pairs = set(zip(ours["dataset"], ours["split"], strict=True))
    same_split = sum(pair in pairs for pair in zip(rows["dataset"], rows["split"], strict=True))
    told = (
        f"{int(same_set.sum())} of {len(rows)} published rows were measured on the dataset of ours ({names}), {same_split} on the same split; "
        "only those compare with ours."
        if same_set.any()
        else f"None of the {len(rows)} published rows was measured on our faces ({names}), so none compares with ours."
    )
    open_circles = int((rows["selected_on"] == "test").sum()) + int(ours["hollow"].sum())
    return f"{told} Open circles ({open_circles}) selected an epoch or members on the faces they report." if open_circles else told


def _bounds(row: PublishedRow) -> dict[str, float]:
    if row.margin is not None:
        return {"ci_low": row.accuracy - row.margin, "ci_high": row.accuracy + row.margin}
    low, high = wilson(round(row.accuracy * row.n), row.n) if row.n else (float("nan"), float("nan"))
    return {"ci_low": low, "ci_high": high}
