"""Splits and selection: are test faces apart from training faces, and were the epoch or the members chosen on test?

Shares of test faces with a near relative in train follow from the rule: with m faces of a kind and a fraction t of all faces in train, a test face
has one in train with probability 1 - (1 - t)^(m - 1). Duplicates of FER2013 are those that the audit measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator
from scipy.stats import norm

from ferlab.data.readers.official import OFFICIAL
from ferlab.evaluation.claims.schema import FAILS, HOLDS, OPEN, Claim, Context, Finding, Share
from ferlab.paths import read_json

AUDIT = Path("reports", "published", "fer2013_audit.json")
APART = "test faces apart from training faces"
APART_PEOPLE = "test people apart from training people"


class Split(Claim):
    """How faces were divided."""

    check: Literal["split"]
    rule: Literal["random_frames", "random_images", "by_subject", "official", "not_stated"]
    train: float = Field(0.0, ge=0, lt=1)  # fraction of the faces that train
    frames: tuple[int, int] | None = None  # labelled frames of a sequence, fewest and most
    images: int | None = Field(None, ge=2)  # that were divided; of a dataset: None for all
    people: int | None = Field(None, ge=1)
    dataset: Literal["", "fer2013"] = ""  # whose duplicates the audit measured
    source: str = ""

    @model_validator(mode="after")
    def _enough(self) -> Split:
        if self.rule.startswith("random") and not self.train:
            raise ValueError("train: a random split needs the fraction of faces that train")
        if self.rule == "random_frames" and not self.frames:
            raise ValueError("frames: random_frames needs the labelled frames of a sequence, [fewest, most]")
        if self.rule == "random_images" and not (self.dataset or (self.images and self.people)):
            raise ValueError("random_images needs a dataset whose duplicates are known, or images and people")
        return self


class Selection(Claim):
    """On which faces an epoch, members or options were chosen."""

    check: Literal["selection"]
    chosen: str  # epoch, members, ...
    on: Literal["val", "test", "not_stated", "nothing"]
    source: str
    candidates: int | None = Field(None, ge=2)
    value: Share | None = None


def relative_in_train(faces: float, train: float) -> float:
    """Return the probability that a test face has one of its kind in train, of `faces` of a kind that are divided at random.

    >>> round(relative_in_train(5, 0.7), 3)
    0.992
    """
    return 1 - (1 - train) ** (faces - 1)


def best_of(candidates: int, share: float, n: int) -> float:
    """Return by how much the best of equally good, independent candidates is expected to exceed their accuracy, on n faces.

    >>> round(best_of(13, 0.5509, 4000), 4)
    0.0131
    """
    grid = np.linspace(-8, 8, 4001)
    density = candidates * norm.cdf(grid) ** (candidates - 1) * norm.pdf(grid)
    return float(np.trapezoid(grid * density, grid) * np.sqrt(share * (1 - share) / n))


def check_split(claim: Split, context: Context) -> list[Finding]:
    """Compute, or look up in the audit, how many test faces have a near relative in train."""
    source = f" ({claim.source})" if claim.source else ""
    if claim.rule == "not_stated":
        return [Finding(APART, OPEN, f"The rule of the split is not stated{source}.")]
    if claim.rule == "by_subject":
        return [Finding(APART, HOLDS, f"Split by subject{source}.")]
    if claim.rule == "official":
        return [_official(claim, context)]
    if claim.rule == "random_frames":
        few, many = (relative_in_train(count, claim.train) for count in claim.frames or (1, 1))
        told = (
            f"Frames are divided at random{source}: with {100 * claim.train:.0f} % in train, {_span(few, many)} of the test frames have a frame "
            "of the same sequence in train."
        )
        return [Finding(APART, FAILS, told)]
    return [Finding(APART_PEOPLE if claim.people else APART, FAILS, " ".join(_random_images(claim, context, source)))]


def check_selection(claim: Selection, context: Context) -> list[Finding]:
    """State what the reported faces were to the choice; where they chose among a known number, how optimistic that can be."""
    what = f"{claim.chosen} chosen without the reported faces"
    verdict = {"test": FAILS, "val": HOLDS, "nothing": HOLDS, "not_stated": OPEN}[claim.on]
    where = {"test": "on the reported faces", "val": "on other faces", "nothing": "by no score", "not_stated": "on faces that are not stated"}
    told = f"Chosen {where[claim.on]}: {claim.source.rstrip('.')}."
    if claim.on == "test" and claim.candidates and claim.value:
        value = context.counted(claim.value)
        gain = 100 * best_of(claim.candidates, value.share, value.n)
        told += f" By chance the best of {claim.candidates} equally good candidates gains {gain:.1f} points if they are independent, else less "
        told += f"(n = {value.n:,})."
    return [Finding(what, verdict, told)]


def _official(claim: Split, context: Context) -> Finding:
    if claim.dataset != "fer2013":
        return Finding(APART, OPEN, "The dataset's own split; its duplicates were not measured here.")
    audit = _audit(context)
    exact = audit["cross_usage"]["Training"]["PublicTest"]["exact_duplicates"]
    faces, clean = audit["test_faces"], audit["test_dedup"]
    told = (
        f"The official split, measured: of {faces:,} PublicTest faces {exact} ({100 * exact / faces:.1f} %) have an exact duplicate in Training, "
        f"{faces - clean} ({100 * (1 - clean / faces):.1f} %) any duplicate."
    )
    return Finding(APART, FAILS if exact else HOLDS, told)


def _random_images(claim: Split, context: Context, source: str) -> list[str]:
    told = [f"Images are divided at random{source}, {100 * claim.train:.0f} % in train."]
    if claim.images and claim.people:
        each = claim.images / claim.people
        share = 100 * relative_in_train(each, claim.train)
        told.append(f"With {claim.images} images of {claim.people} people, {share:.1f} % of the test images are of a person who is in train.")
    if claim.dataset == "fer2013":
        audit = _audit(context)
        total = sum(sum(part.values()) for part in OFFICIAL[claim.dataset].counts.values())
        drawn = (claim.images or total) / total
        exact, near = (100 * claim.train * drawn * audit[key] / audit["faces"] for key in ("faces_in_groups", "faces_in_near_groups"))
        folder = f" The folder has {100 * drawn:.0f} % of FER2013." if claim.images else ""
        told.append(
            f"Of {audit['faces']:,} faces of FER2013 (Training and PublicTest), {audit['faces_in_groups']:,} have an exact duplicate and "
            f"{audit['faces_in_near_groups']:,} any.{folder} At least {exact:.1f} % and {near:.1f} % of the test faces are "
            "expected to have theirs in train."
        )
    return told


def _span(few: float, many: float) -> str:
    low, high = f"{100 * few:.1f}", f"{100 * many:.1f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def _audit(context: Context) -> dict[str, Any]:
    return read_json(context.root / AUDIT, made_by="git restore")
