"""All claims: read, checked by kind, one row per check: what a paper states, what was checked, the verdict and its evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ferlab.evaluation.claims import architectures, counts, matrices, mixtures, own, proportions, schema, splits, trained
from ferlab.evaluation.claims.schema import Claim, Context, Finding, Paper, checked, read_paper
from ferlab.evaluation.published import FOLDER as PUBLISHED
from ferlab.evaluation.published import read_published
from ferlab.params import nearest
from ferlab.paths import ROOT, InputError

FOLDER = ROOT / "conf" / "claims"
COLUMNS = ["paper", "claim", "check", "verdict", "evidence"]

# kind -> what a claim of that kind holds, and the check
KINDS: dict[str, tuple[type[Claim], Callable[[Any, Context], list[Finding]]]] = {
    "architecture": (architectures.Architecture, architectures.check_architecture),
    "batches": (counts.Batches, counts.check_batches),
    "citation": (proportions.Citation, proportions.check_citation),
    "counts": (counts.Counts, counts.check_counts),
    "difference": (proportions.Difference, proportions.check_difference),
    "extreme": (matrices.Extreme, matrices.check_extreme),
    "increase": (matrices.Increase, matrices.check_increase),
    "level": (proportions.Level, proportions.check_level),
    "matrix": (matrices.Matrix, matrices.check_matrix),
    "mean": (matrices.Mean, matrices.check_mean),
    "misses": (matrices.Misses, matrices.check_misses),
    "mixture": (mixtures.Mixture, mixtures.check_mixture),
    "own": (own.Own, own.check_own),
    "reachable": (proportions.Reachable, proportions.check_reachable),
    "reported": (schema.Reported, schema.check_reported),
    "selection": (splits.Selection, splits.check_selection),
    "sizes": (counts.Sizes, counts.check_sizes),
    "split": (splits.Split, splits.check_split),
    "trained_change": (trained.TrainedChange, trained.check_trained_change),
    "trained_level": (trained.TrainedLevel, trained.check_trained_level),
    "transfer": (architectures.Transfer, architectures.check_transfer),
}


def read_claims(folder: Path = FOLDER) -> dict[str, list[Claim]]:
    """Return the checked claims of every paper of a folder, one file each, in the order of their names.

    Raises:
        InputError: No files, or a broken one, in one line that names file and key.
    """
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise InputError(f"conf/{folder.name}: no claims; expected conf/claims/<paper>.yaml (restore them with git)")
    papers: dict[str, list[Claim]] = {}
    for path in files:
        paper = read_paper(path)
        if paper.paper in papers:
            raise InputError(f"conf/claims/{path.name}: paper: {paper.paper!r} has a file already; give it another name")
        papers[paper.paper] = _typed(paper, path.name)
    return papers


def titles(folder: Path = FOLDER) -> dict[str, str]:
    """Return the title of every paper of a folder."""
    return {paper.paper: paper.title for paper in map(read_paper, sorted(folder.glob("*.yaml")))}


def measure_models(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Build the models that claims of a folder are about; return what `architectures.measure` finds, by `architectures.key_of`. Starts PyTorch."""
    claims = [claim for of in read_claims(folder).values() for claim in of]
    return {architectures.key_of(build): architectures.measure(build) for build in architectures.builds_of(claims)}


def audit_claims(
    folder: Path = FOLDER, *, published: Path = PUBLISHED, sizes: Mapping[str, Mapping[str, Any]] | None = None, root: Path = ROOT
) -> pd.DataFrame:
    """Check the claims of every paper of a folder.

    Args:
        folder: One file of claims per paper.
        published: The folder of published rows that claims name.
        sizes: From `measure_models`; models that are not there are built.
        root: The clone that holds the pages, predictions and measurements that claims name.

    Returns:
        One row per check: `paper, claim, check, verdict, evidence`; the claim ends with the place where it stands.

    Raises:
        InputError: A broken file, or a claim that names something unknown, in one line that names file and claim.
    """
    rows, known = [], read_published(published)
    for paper, claims in read_claims(folder).items():
        context = Context(paper=paper, published=known, sizes=sizes or {}, root=root)
        for number, claim in enumerate(claims):
            try:
                found = KINDS[claim.check][1](claim, context)
            except InputError as error:
                raise InputError(f"conf/claims: {paper}: claims.{number} ({claim.check}): {error}") from None
            told = f"{claim.claim.rstrip('.')} ({claim.where})"
            rows += [{"paper": paper, "claim": told, "check": of.check, "verdict": of.verdict, "evidence": _sentence(of.evidence)} for of in found]
    return pd.DataFrame(rows, columns=COLUMNS)


def _typed(paper: Paper, name: str) -> list[Claim]:
    claims = []
    for number, raw in enumerate(paper.claims):
        source, kind = f"conf/claims/{name}: claims.{number}", raw.get("check")
        if kind not in KINDS:
            raise InputError(f"{source}.check: no check is called {kind!r}; {nearest(str(kind), list(KINDS))}")
        claims.append(checked(KINDS[kind][0], raw, source))
    return claims


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
