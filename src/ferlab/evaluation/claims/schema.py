"""What a paper states, as data: `conf/claims/<paper>.yaml`, each claim with the table or section it stands in and the kind of check it asks for.

A claim holds numbers and no verdict: the verdict comes out of the computation. Each kind of check defines its own fields beside it, see `audit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ferlab.evaluation.proportions import wilson
from ferlab.params import nearest, read_yaml
from ferlab.paths import ROOT, InputError

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"
VERDICTS = (HOLDS, FAILS, OPEN)


class Record(BaseModel):
    """A part of a claim: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Claim(Record):
    """One statement.

    Attributes:
        claim: The statement, in a sentence or a phrase.
        where: The table, figure or section of the paper, or the page of a file.
        check: The kind of check, a key of `audit.KINDS`.
    """

    claim: str = Field(min_length=1)
    where: str = Field(min_length=1)
    check: str


class Paper(Record):
    """One file: the claims of a paper, still unchecked."""

    paper: str = Field(min_length=1)
    title: str = Field(min_length=1)
    claims: tuple[dict[str, Any], ...] = Field(min_length=1)


class Share(Record):
    """A proportion of faces: a published row by its system, hits of n, or a printed share of n."""

    system: str = ""  # of conf/published, of the claim's paper
    hits: int | None = Field(None, ge=0)
    share: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1)
    name: str = ""

    @model_validator(mode="after")
    def _one_form(self) -> Share:
        forms = [bool(self.system), self.hits is not None, self.share is not None]
        if sum(forms) != 1 or bool(self.system) == (self.n is not None):
            raise ValueError("expected `system`, or `hits` and `n`, or `share` and `n`")
        if self.hits is not None and self.n is not None and self.hits > self.n:
            raise ValueError(f"hits: expected at most n = {self.n}")
        return self


@dataclass(frozen=True)
class Counted:
    """A proportion with its counts."""

    name: str
    hits: int
    n: int

    @property
    def share(self) -> float:
        """The proportion."""
        return self.hits / self.n

    @property
    def text(self) -> str:
        """The proportion with its counts and 95 % interval, for a sentence."""
        low, high = wilson(self.hits, self.n)
        return f"{100 * self.share:.1f} % [{100 * low:.1f}, {100 * high:.1f}] ({self.hits:,} of {self.n:,})"

    @property
    def named(self) -> str:
        """The same after its name."""
        return f"{self.name} {self.text}".strip()


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: What was checked, in a few words.
        verdict: One of VERDICTS.
        evidence: One or two sentences with the numbers and n.
    """

    check: str
    verdict: str
    evidence: str


@dataclass(frozen=True)
class Context:
    """What checks may look up besides the claim.

    Attributes:
        paper: Whose claims are checked.
        published: Rows from `ferlab.evaluation.published.read_published`.
        sizes: What `architectures.measure` found, by `architectures.key_of`; a model that is not there is built.
        root: The clone that holds the pages and predictions that claims name.
    """

    paper: str
    published: pd.DataFrame
    sizes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    root: Path = ROOT

    def counted(self, share: Share) -> Counted:
        """Return the counts of a proportion; hits of a printed share are the nearest integer.

        Raises:
            InputError: A system that conf/published does not have, or without n.
        """
        if not share.system:
            n = int(share.n or 0)
            return Counted(share.name, share.hits if share.hits is not None else round(float(share.share or 0) * n), n)
        own = self.published[self.published["paper"] == self.paper]
        rows = own[own["system"] == share.system]
        if rows.empty:
            known = nearest(share.system, list(own["system"])) if len(own) else "it has no file there"
            raise InputError(f"conf/published has no row {share.system!r} of {self.paper}; {known}")
        row = rows.iloc[0]
        if pd.isna(row["n"]):
            raise InputError(f"conf/published: {self.paper}: {share.system!r} states no n, which this check needs")
        return Counted(share.name or share.system, round(row["accuracy"] * row["n"]), int(row["n"]))


class Reported(Claim):
    """What another source states, a code repository or an issue: it is cited, not recomputed."""

    check: Literal["reported"]
    source: str = Field(min_length=1)  # file and place
    found: str = Field(min_length=1)  # what it states


def check_reported(claim: Reported, context: Context) -> list[Finding]:
    """Cite what was read elsewhere; what was not executed cannot be told."""
    return [Finding("read in the cited source, not recomputed", OPEN, f"{claim.found.rstrip('.')} ({claim.source}).")]


def read_paper(path: Path) -> Paper:
    """Read one file of claims.

    Raises:
        InputError: Broken YAML, or a key that is unknown or missing, in one line that names file and key.
    """
    return checked(Paper, read_yaml(path, source=f"conf/claims/{path.name}"), f"conf/claims/{path.name}")


def checked(model: type[Any], raw: Any, source: str) -> Any:
    """Return `raw` as a checked record.

    Raises:
        InputError: In one line that names the source and the key.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as errors:
        error = errors.errors()[0]
        where = ".".join(str(part) for part in error["loc"])
        place = f"{source}: {where}" if where else source
        if error["type"] == "extra_forbidden":
            raise InputError(f"{place}: unknown key; {nearest(str(error['loc'][-1]), list(model.model_fields))}") from None
        raise InputError(f"{place}: {error['msg'].lower().removeprefix('value error, ')}; got {str(error['input'])[:60]!r}") from None
