"""Proportions: is a share reachable with its n, is a difference significant, is a level exceeded, is a number what it is cited as?

References:
    Brown & Heathers (2017), The GRIM test: a simple technique detects numerous anomalies in the reporting of results in psychology.
    Newcombe (1998); Holm (1979): as in `ferlab.evaluation.proportions` and `comparison`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from scipy.stats import fisher_exact
from statsmodels.stats.proportion import proportions_ztest

from ferlab.evaluation.claims.matrices import prints
from ferlab.evaluation.claims.schema import FAILS, HOLDS, OPEN, Claim, Context, Counted, Finding, Record, Share
from ferlab.evaluation.proportions import holm, newcombe, wilson

ALPHA = 0.05
FEW = 200  # faces of both groups together: below, Fisher's exact test


class Reachable(Claim):
    """A printed share, and the numbers of faces it may be of."""

    check: Literal["reachable"]
    shares: tuple[float, ...] = Field(min_length=1)
    decimals: int = Field(ge=1, le=6)
    n: dict[str, int] = Field(min_length=1)  # name -> faces


class Difference(Claim):
    """That the first of each pair is higher or lower than the second, or equal to it."""

    check: Literal["difference"]
    pairs: tuple[tuple[Share, Share], ...] = Field(min_length=1)
    stated: Literal["higher", "lower", "equal"]


class Level(Claim):
    """That a proportion is above or near a level, e.g. human raters'."""

    check: Literal["level"]
    value: Share
    level: float = Field(ge=0, le=1)
    margin: float = Field(0.0, ge=0)
    of: str
    stated: Literal["above", "near"]


class Cited(Record):
    """A number and what it is, by its own source."""

    value: float
    quantity: str
    source: str
    margin: float = 0.0


class Citation(Claim):
    """A number cited from elsewhere as some quantity."""

    check: Literal["citation"]
    value: float
    decimals: int = Field(3, ge=1)
    quantity: str
    sources: tuple[Cited, ...] = Field(min_length=1)


def reach(share: float, n: int, decimals: int) -> int | None:
    """Return the number of hits of n that is printed as a share, None where there is none.

    >>> reach(0.61, 56, 2), reach(0.61, 55, 2), reach(0.698, 53, 3)
    (34, None, 37)
    """
    nearest = round(share * n)
    return next((k for k in (nearest, nearest - 1, nearest + 1) if 0 <= k <= n and prints(k / n, share, decimals) == "rounded"), None)


def check_reachable(claim: Reachable, context: Context) -> list[Finding]:
    """Look for the counts behind printed shares (GRIM test)."""
    told, any_fits = [], False
    for name, n in claim.n.items():
        hits = [reach(share, n, claim.decimals) for share in claim.shares]
        if None not in hits:
            any_fits = True
            told.append(f"{name} (n = {n}): {' and '.join(_hit_text(int(k or 0), n) for k in hits)}")
        else:
            off = [f"{100 * share:g} %" for share, k in zip(claim.shares, hits) if k is None]
            told.append(f"{name} (n = {n}): no count gives {' or '.join(off)}")
    if not any_fits:
        largest = max(claim.n.values())
        near = next(n for n in (largest + step for step in range(1, 10_000)) if None not in [reach(s, n, claim.decimals) for s in claim.shares])
        hits = [_hit_text(int(reach(share, near, claim.decimals) or 0), near) for share in claim.shares]
        told.append(f"the next n that does is {near}: {' and '.join(hits)}")
    return [Finding("share reachable with n faces (GRIM)", HOLDS if any_fits else FAILS, "; ".join(told) + ".")]


def check_difference(claim: Difference, context: Context) -> list[Finding]:
    """Test two independent proportions each; several pairs are corrected by Holm."""
    pairs = [(context.counted(first), context.counted(second)) for first, second in claim.pairs]
    raw = [p_of(first, second) for first, second in pairs]
    corrected = holm(raw).tolist()
    told = [difference_text(first, second, p, short=len(pairs) > 1) for (first, second), p in zip(pairs, corrected)]
    aside = f" Holm over {len(pairs)} pairs." if len(pairs) > 1 else ""
    check = {"higher": "difference is positive", "lower": "difference is negative", "equal": "the two agree"}[claim.stated]
    return [Finding(f"{check} (two proportions)", _difference_verdict(claim.stated, pairs, corrected), " ".join(told) + aside)]


def p_of(first: Counted, second: Counted) -> float:
    """Return the two-sided p of equal proportions: Fisher's exact test below FEW faces, else the pooled z test."""
    if first.n + second.n < FEW:
        return float(fisher_exact([[first.hits, first.n - first.hits], [second.hits, second.n - second.hits]]).pvalue)
    return float(proportions_ztest([first.hits, second.hits], [first.n, second.n])[1])


def check_level(claim: Level, context: Context) -> list[Finding]:
    """Compare the interval of a proportion with a level and its margin."""
    value = context.counted(claim.value)
    low, high = wilson(value.hits, value.n)
    floor, ceiling = claim.level - claim.margin, claim.level + claim.margin
    level = f"{claim.of}: {100 * claim.level:.1f}" + (f" ± {100 * claim.margin:.1f} %" if claim.margin else " %")
    told = f"{value.text}; {level}"
    if claim.stated == "above":
        verdict = HOLDS if low > ceiling else FAILS if high < floor else OPEN
        return [Finding(f"above {claim.of}", verdict, f"{told}.")]
    apart = low > ceiling or high < floor
    verdict = HOLDS if not apart else FAILS if claim.margin else OPEN
    gap = f'; the gap is {100 * abs(value.share - claim.level):.1f} points, and no margin for "near" is stated' if verdict == OPEN else ""
    return [Finding(f"near {claim.of}", verdict, f"{told}{gap}.")]


def check_citation(claim: Citation, context: Context) -> list[Finding]:
    """Look for the number among its sources, and for what they state it is."""
    same = [source for source in claim.sources if prints(source.value, claim.value, claim.decimals)]
    own = [source for source in claim.sources if source.quantity == claim.quantity]
    told = "; ".join(f"{source.quantity}: {100 * source.value:g}{f' ± {100 * source.margin:g}' if source.margin else ''} % ({source.source})"
                     for source in claim.sources)  # fmt: skip
    if any(source.quantity == claim.quantity for source in same):
        verdict = HOLDS
    elif same or any(abs(source.value - claim.value) > source.margin for source in own):
        verdict = FAILS
    else:
        verdict = OPEN
    return [Finding(f"{100 * claim.value:g} % as {claim.quantity}", verdict, f"{told[:1].upper()}{told[1:]}.")]


def _hit_text(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{hits} of {n} [{100 * low:.1f}, {100 * high:.1f} %]"


def difference_text(first: Counted, second: Counted, p: float, *, short: bool = False) -> str:
    """Return two proportions, their difference with Newcombe's interval, and p, in a sentence; `short`: without the intervals of the two."""
    of = newcombe(first.hits, first.n, other_successes=second.hits, other_n=second.n)
    points = f"{100 * of['difference']:+.1f} points [{100 * of['ci_low']:.1f}, {100 * of['ci_high']:.1f}]"
    test = "Fisher" if first.n + second.n < FEW else "z test"
    shown = "< 0.001" if p < 0.001 else f"= {p:.3f}"
    named = [f"{of.name} {100 * of.share:.1f} % (n = {of.n:,})" if short else of.named for of in (first, second)]
    return f"{named[0]} against {named[1]}: {points}, p {shown} ({test})."


def _difference_verdict(stated: str, pairs: list[tuple[Counted, Counted]], p: list[float]) -> str:
    signs = [0 if each >= ALPHA else 1 if first.share > second.share else -1 for (first, second), each in zip(pairs, p)]
    if stated == "equal":
        return FAILS if any(signs) else OPEN
    wanted = 1 if stated == "higher" else -1
    return FAILS if -wanted in signs else HOLDS if all(sign == wanted for sign in signs) else OPEN
