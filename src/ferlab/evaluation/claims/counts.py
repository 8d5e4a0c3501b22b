"""Counts: do they add up, are they the dataset's, and were all faces scored?

References:
    Official counts: `ferlab.data.readers.official`; the reshuffled folder of FER2013: `ferlab.data.readers.fer2013_forms`.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal

from pydantic import Field

from ferlab.data.readers.fer2013_forms import RESHUFFLED_COUNTS
from ferlab.data.readers.official import ALL, OFFICIAL
from ferlab.evaluation.claims.schema import FAILS, HOLDS, OPEN, Claim, Context, Finding, Record, Share

SHORT = {"fer2013_reshuffled": "the reshuffled 28,821-face folder"}


class Reference(Record):
    """Counts of a part of a dataset that `official` does not have."""

    part: str
    counts: dict[str, int] = Field(min_length=1)
    source: str


class Counts(Claim):
    """Stated counts by expression, of all expressions or some."""

    check: Literal["counts"]
    counts: dict[str, int] = Field(min_length=1)
    total: int | None = None
    dataset: str = ""  # of OFFICIAL, or fer2013_reshuffled
    parts: tuple[str, ...] = ()  # that the paper names; empty: any
    references: tuple[Reference, ...] = ()


class Sizes(Claim):
    """Stated sizes of splits, or factors of a product, against a stated total or fractions."""

    check: Literal["sizes"]
    sizes: dict[str, int] = {}
    factors: tuple[int, ...] = ()
    total: int | None = None
    fractions: dict[str, float] = {}


class Batches(Claim):
    """A score over whole batches of a test part, with the scores of the same systems on all of its faces."""

    check: Literal["batches"]
    faces: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    steps: int = Field(ge=1)
    source: str
    pairs: tuple[tuple[Share, Share], ...] = ()  # (on the batches, on all faces)


def check_counts(claim: Counts, context: Context) -> list[Finding]:
    """Add the counts, and look for them among the parts of the dataset: as they are, then with other labels."""
    found, total = [], sum(claim.counts.values())
    if claim.total is not None:
        agrees = total == claim.total
        told = f"The {len(claim.counts)} counts add up to {total:,}" + ("." if agrees else f", {abs(total - claim.total):,} from the stated total.")
        found.append(Finding(f"sum of the counts is {claim.total:,}", HOLDS if agrees else FAILS, told))
    known = _known(claim)
    return found + ([_compared(claim, known)] if known else [])


def check_sizes(claim: Sizes, context: Context) -> list[Finding]:
    """Add or multiply the sizes, and compare their fractions."""
    total = sum(claim.sizes.values())
    for factor in claim.factors:
        total = (total or 1) * factor
    written = " × ".join(map(str, claim.factors)) or " + ".join(f"{size:,}" for size in claim.sizes.values())
    wrong = claim.total is not None and total != claim.total
    told = [f"{written} = {total:,}" + (f", not {claim.total:,}" if wrong else "")]
    for name, fraction in claim.fractions.items():
        share = claim.sizes[name] / total
        wrong = wrong or abs(share - fraction) >= 0.005
        told.append(f"{name} {100 * share:.1f} % (stated {100 * fraction:.0f} %)")
    return [Finding("arithmetic of the sizes", FAILS if wrong else HOLDS, "; ".join(told) + ".")]


def check_batches(claim: Batches, context: Context) -> list[Finding]:
    """Count the faces that whole batches hold, and what the scores on all faces imply for the others."""
    scored = claim.steps * claim.batch_size
    left = claim.faces - scored
    if left <= 0:
        return [Finding(f"all {claim.faces:,} faces scored", HOLDS, f"{claim.steps} batches of {claim.batch_size} hold all {claim.faces:,} faces.")]
    told = [f"{claim.steps} batches of {claim.batch_size} hold {scored:,} of {claim.faces:,} faces ({claim.source})"]
    for on_batches, on_all in claim.pairs:
        part, whole = context.counted(on_batches), context.counted(on_all)
        told.append(f"{part.name}: {100 * part.share:.1f} % on these, {100 * whole.share:.1f} % on all {whole.n:,}")
    return [Finding(f"all {claim.faces:,} faces scored", FAILS, "; ".join(told) + ".")]


def _known(claim: Counts) -> dict[str, dict[str, int]]:
    """Return the counts of each part of the dataset, and of each union of parts, by name."""
    parts = {reference.part: reference.counts for reference in claim.references}
    if claim.dataset == "fer2013_reshuffled":
        parts |= {f"{SHORT[claim.dataset]}": RESHUFFLED_COUNTS["train"]}
    elif claim.dataset in OFFICIAL:
        parts |= {part: counts for part, counts in OFFICIAL[claim.dataset].counts.items() if ALL not in counts}
    chosen = {part: counts for part, counts in parts.items() if not claim.parts or part in claim.parts}
    unions = dict(chosen)
    for size in range(2, len(chosen) + 1):
        for names in combinations(chosen, size):
            keys = set.intersection(*(set(chosen[name]) for name in names))
            unions[" and ".join(names)] = {key: sum(chosen[name][key] for name in names) for key in keys}
    return unions


def _compared(claim: Counts, known: dict[str, dict[str, int]]) -> Finding:
    what = f"counts of {claim.dataset or 'the dataset'}".replace("fer2013_reshuffled", "FER2013's reshuffled folder").replace("fer2013", "FER2013")
    for part, counts in known.items():
        if all(counts.get(name) == count for name, count in claim.counts.items()):
            return Finding(what, HOLDS, f"All {len(claim.counts)} counts are those of {part}{_sources(claim)}.")
    for part, counts in known.items():
        if sorted(counts.values()) == sorted(claim.counts.values()) and len(set(counts.values())) == len(counts):
            return Finding(what, FAILS, _permuted(claim.counts, counts, part))
    part = min(known, key=lambda name: sum(abs(known[name].get(key, 0) - count) for key, count in claim.counts.items()))
    pairs = [f"{name} {count:,} (there {known[part][name]:,})" for name, count in claim.counts.items() if known[part].get(name) not in (None, count)]
    missing = OPEN if not pairs else FAILS
    return Finding(what, missing, f"No part has these counts; the nearest is {part}: {', '.join(pairs) or 'it lacks some of these expressions'}.")


def _permuted(stated: dict[str, int], counts: dict[str, int], part: str) -> str:
    by_count = {count: name for name, count in counts.items()}
    moved = [f"{count:,} is stated for {name} and belongs to {by_count[count]}" for name, count in stated.items() if by_count[count] != name]
    return f"The {len(stated)} numbers are those of {part}, but {len(moved)} labels differ: {'; '.join(moved)}."


def _sources(claim: Counts) -> str:
    return f" ({'; '.join(dict.fromkeys(reference.source for reference in claim.references))})" if claim.references else ""
