"""Published results, from `conf/published/*.yaml`: each row with its paper, dataset, split and number of faces (null where not stated).

Intervals are Wilson's, computed here: papers rarely state one.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ferlab.evaluation.proportions import wilson
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.params import nearest, read_yaml
from ferlab.paths import ROOT, InputError

FOLDER = ROOT / "conf" / "published"

Measure = Literal["precision", "recall", "f1"]
PerClass = dict[str, dict[Measure, Annotated[float, Field(ge=0, le=1)]]]  # expression -> measure -> value


class PublishedRow(BaseModel):
    """One stated result."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    system: str
    model: str | None = None  # its name in our registry
    dataset: str  # fer2013, affectnet, ckplus, ...
    split: str  # as its authors name it
    expressions: int = Field(ge=2)
    n: int | None = Field(ge=1)  # faces scored; null where not stated
    accuracy: float = Field(ge=0, le=1)
    margin: float | None = None  # stated by the paper itself, as 65 +- 5 %
    macro_f1: float | None = Field(None, ge=0, le=1)
    weighted_f1: float | None = Field(None, ge=0, le=1)
    per_class: PerClass = {}  # those that the paper states
    loss: float | None = Field(None, ge=0)
    depth: str | None = None  # as stated
    parameters: str | None = None  # as stated
    kind: Literal["model", "ensemble", "human", "live"] = "model"
    selected_on: Literal["val", "test", "unknown"] = "unknown"  # which faces chose the reported epoch or members
    extra_data: str | None = None  # pretraining or faces beyond the set's own
    note: str
    ours: str | None = None  # our result beside it: <study>/<run> of reports/published, or <study>/ensemble
    differs: str = ""  # why ours differs, or why there is none

    @field_validator("per_class")
    @classmethod
    def _expressions_are_known(cls, per_class: PerClass) -> PerClass:
        if unknown := [name for name in per_class if name not in ALL_EXPRESSIONS]:
            raise ValueError(f"no expression is called {unknown[0]!r}; {nearest(unknown[0], ALL_EXPRESSIONS)}")
        return per_class


class PublishedPaper(BaseModel):
    """The results of one paper, or of several that serve as anchors."""

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
    """Return the rows of the papers whose models ran (`papers`: families), and the anchors of the datasets that were scored."""
    chosen = published["paper"].isin(papers) | ((published["paper"] == "anchors") & published["dataset"].isin(datasets))
    return published[chosen].reset_index(drop=True)


def stated_per_class(rows: pd.DataFrame) -> dict[str, dict[str, dict[str, Any]]]:
    """Return `{"<paper>: <system>": {expression: {precision, recall, f1}}}` of the published rows that state any; None for what they do not."""
    stated: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows.to_dict("records"):
        if row["per_class"]:
            filled = {name: {"precision": None, "recall": None, "f1": None} | values for name, values in row["per_class"].items()}
            stated[f"{row['paper']}: {row['system']}"] = filled
    return stated


def _bounds(row: PublishedRow) -> dict[str, float]:
    if row.margin is not None:
        return {"ci_low": row.accuracy - row.margin, "ci_high": row.accuracy + row.margin}
    low, high = wilson(round(row.accuracy * row.n), row.n) if row.n else (float("nan"), float("nan"))
    return {"ci_low": low, "ci_high": high}
