"""Mixtures: does a score follow from faces that the model was trained on, mixed with faces that it was not?"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ferlab.data.readers.official import OFFICIAL
from ferlab.evaluation.claims.schema import FAILS, HOLDS, OPEN, Claim, Context, Finding, Share
from ferlab.evaluation.proportions import wilson


class Mixture(Claim):
    """A stated accuracy, and the model's accuracy on its training faces and on others."""

    check: Literal["mixture"]
    value: Share
    seen: float = Field(ge=0, le=1)  # accuracy on training faces
    unseen: float = Field(ge=0, le=1)
    source: str  # of both
    dataset: str = ""  # whose part was trained on, of which the test faces are a random part
    part: str = ""
    fraction: float | None = Field(None, gt=0, lt=1)  # of seen faces among the test faces; or dataset and part

    @model_validator(mode="after")
    def _fraction_known(self) -> Mixture:
        if (self.fraction is None) == (not (self.dataset and self.part)):
            raise ValueError("expected `fraction`, or `dataset` and `part`")
        if self.dataset and self.part not in getattr(OFFICIAL.get(self.dataset), "counts", {}):
            raise ValueError(f"{self.dataset}: {self.part}: no official counts of that part")
        return self


def seen_fraction(claim: Mixture) -> float:
    """Return the fraction of test faces that the model was trained on."""
    if claim.fraction is not None:
        return claim.fraction
    sizes = {part: sum(counts.values()) for part, counts in OFFICIAL[claim.dataset].counts.items()}
    return sizes[claim.part] / sum(sizes.values())


def check_mixture(claim: Mixture, context: Context) -> list[Finding]:
    """Compute the accuracy that a random mix of seen and unseen faces gives, and the fraction of seen faces that the stated accuracy needs."""
    value, fraction = context.counted(claim.value), seen_fraction(claim)
    low, high = wilson(value.hits, value.n)
    expected = fraction * claim.seen + (1 - fraction) * claim.unseen
    needed = (value.share - claim.unseen) / (claim.seen - claim.unseen)
    told = (
        f"{100 * claim.seen:.1f} % on training faces and {100 * claim.unseen:.1f} % on others ({claim.source}); {100 * fraction:.0f} % of the faces "
        f"were trained on, so a mix gives {100 * expected:.1f} %. Stated: {value.text}, which is a mix with {100 * needed:.0f} % training faces."
    )
    mixed = claim.unseen < value.share <= max(expected, claim.seen)
    verdict = HOLDS if low <= claim.unseen <= high else FAILS if mixed else OPEN
    return [Finding("accuracy on faces that the model was not trained on", verdict, told)]
