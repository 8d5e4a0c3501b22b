"""Printed confusion matrices and per-class scores: do they agree with each other, and which single entry would reconcile them?"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from ferlab.evaluation.claims.schema import FAILS, HOLDS, Claim, Context, Counted, Finding

SLACK = 1e-9
MOST_ADDED = 3  # faces that a corrected entry may gain


class Matrix(Claim):
    """A printed confusion matrix, true classes as rows, beside what is printed of it."""

    check: Literal["matrix"]
    labels: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    accuracy: float | None = Field(None, ge=0, le=1)
    precision: tuple[float, ...] = ()
    recall: tuple[float, ...] = ()
    accuracy_decimals: int = Field(3, ge=1, le=6)
    decimals: int = Field(2, ge=1, le=6)
    n: int | None = None  # the stated size of the test part

    @model_validator(mode="after")
    def _square(self) -> Matrix:
        k = len(self.labels)
        if len(self.rows) != k or any(len(row) != k for row in self.rows):
            raise ValueError(f"rows: expected {k} rows of {k} counts, one per label")
        if any(scores and len(scores) != k for scores in (self.precision, self.recall)):
            raise ValueError(f"precision and recall: expected {k} values each")
        return self


class Misses(Claim):
    """A printed recall of a class of which the text shows missed faces."""

    check: Literal["misses"]
    recall: float = Field(ge=0, le=1)
    decimals: int = Field(2, ge=1, le=6)
    misses: int = Field(ge=1)
    n: int = Field(ge=1)  # the most faces of the class that the part can hold
    n_source: str


class Extreme(Claim):
    """The class that is named best or worst, among printed values."""

    check: Literal["extreme"]
    values: dict[str, float] = Field(min_length=2)
    best: str = ""
    worst: str = ""


class Increase(Claim):
    """That every value rises between two printed lists."""

    check: Literal["increase"]
    before: dict[str, dict[str, float]]  # metric -> class -> value
    after: dict[str, dict[str, float]]


class Mean(Claim):
    """A printed mean over all classes, of which some are printed."""

    check: Literal["mean"]
    values: dict[str, float] = Field(min_length=1)
    classes: int = Field(ge=2)
    mean: float
    decimals: int = Field(2, ge=1)


def prints(value: float, printed: float, decimals: int) -> str:
    """Return how a value gives a printed number: "rounded", "truncated", or "" where it does not; halves may be rounded either way.

    >>> prints(488 / 502, 0.972, 3), prints(0.7666, 0.76, 2), prints(488 / 503, 0.972, 3)
    ('rounded', 'truncated', '')
    """
    step = 10.0**-decimals
    if abs(value - printed) <= step / 2 + SLACK:
        return "rounded"
    return "truncated" if abs(math.floor(value / step + SLACK) * step - printed) <= SLACK else ""


def check_matrix(claim: Matrix, context: Context) -> list[Finding]:
    """Compute accuracy, precision and recall of the matrix; where they are not the printed ones, name the entries that would make them so."""
    counts = np.array(claim.rows)
    found = [_accuracy_finding(claim, counts)] if claim.accuracy is not None else []
    for name in ("precision", "recall"):
        if printed := getattr(claim, name):
            found.append(_class_finding(claim, counts, name, printed))
    if claim.n is not None:
        agrees = int(counts.sum()) == claim.n
        told = f"The entries add up to {counts.sum():,}" + ("." if agrees else f", the stated test set has {claim.n:,}.")
        found.append(Finding(f"matrix of {claim.n:,} faces", HOLDS if agrees else FAILS, told))
    return found


def reconciling(claim: Matrix) -> list[tuple[int, int, int]]:
    """Return the changes of one entry (row, column, new count) under which all printed numbers are given; empty where none or where they are."""
    counts = np.array(claim.rows)
    if _agrees(claim, counts):
        return []
    changes = []
    for i, j in np.ndindex(counts.shape):
        for value in range(int(counts[i, j]) + MOST_ADDED + 1):
            changed = counts.copy()
            changed[i, j] = value
            if value != counts[i, j] and _agrees(claim, changed):
                changes.append((i, j, value))
    return changes


def check_misses(claim: Misses, context: Context) -> list[Finding]:
    """Compute from how many faces on a missed one leaves the printed recall."""
    least = next(n for n in range(claim.misses, 100_000) if prints(1 - claim.misses / n, claim.recall, claim.decimals))
    holds = claim.n >= least
    told = (
        f"With {claim.misses} missed, a recall printed as {claim.recall:.{claim.decimals}f} needs at least {least} faces of the class; "
        f"there are at most {claim.n} ({claim.n_source})."
    )
    return [Finding("printed recall against a missed face", HOLDS if holds else FAILS, told)]


def check_extreme(claim: Extreme, context: Context) -> list[Finding]:
    """Find the highest and the lowest of the printed values."""
    found = []
    for word, named, pick in (("best", claim.best, max), ("worst", claim.worst, min)):
        if named:
            true = pick(claim.values, key=claim.values.__getitem__)
            holds = claim.values[named] == claim.values[true]
            told = f"The {'highest' if word == 'best' else 'lowest'} of {len(claim.values)} printed values is {claim.values[true]:.4f} ({true})"
            told += "." if holds else f"; {named} has {claim.values[named]:.4f}."
            found.append(Finding(f"{named} is the {word} class", HOLDS if holds else FAILS, told))
    return found


def check_increase(claim: Increase, context: Context) -> list[Finding]:
    """List the values that fall or stay."""
    values = [(metric, name, value, claim.after[metric][name]) for metric, of in claim.before.items() for name, value in of.items()]
    fell = [f"{metric} of {name} {before:g} to {after:g}" for metric, name, before, after in values if after < before]
    same = sum(after == before for *_, before, after in values)
    told = f"{len(values) - len(fell) - same} of {len(values)} values rise, {same} stay, {len(fell)} fall"
    told += f": {', '.join(fell)}." if fell else "."
    return [Finding("every value rises", FAILS if fell or same else HOLDS, told)]


def check_mean(claim: Mean, context: Context) -> list[Finding]:
    """Compute what the classes that are not printed must have on average."""
    left = claim.classes - len(claim.values)
    total = sum(claim.values.values())
    if left == 0:
        agrees = bool(prints(total / claim.classes, claim.mean, claim.decimals))
        return [Finding(f"mean of {claim.classes} classes", HOLDS if agrees else FAILS, f"The mean is {total / claim.classes:.4f}.")]
    needed = (claim.classes * claim.mean - total) / left
    agrees = 0 <= needed <= 1
    told = f"{len(claim.values)} values are printed; the other {left} must have a mean of {needed:.3f}" + (", which is possible." if agrees else ".")
    return [Finding(f"mean of {claim.classes} classes", HOLDS if agrees else FAILS, told)]


def _scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return precision and recall per class; NaN where a class has neither."""
    with np.errstate(invalid="ignore"):
        return {"precision": np.diag(counts) / counts.sum(axis=0), "recall": np.diag(counts) / counts.sum(axis=1)}


def _agrees(claim: Matrix, counts: np.ndarray) -> bool:
    scores, total = _scores(counts), counts.sum()
    accuracy = float(np.trace(counts) / total)
    pairs = [(accuracy, claim.accuracy, claim.accuracy_decimals)] if claim.accuracy is not None else []
    for name in ("precision", "recall"):
        pairs += [(float(value), printed, claim.decimals) for value, printed in zip(scores[name], getattr(claim, name))]
    return all(prints(value, printed, decimals) for value, printed, decimals in pairs)


def _accuracy_finding(claim: Matrix, counts: np.ndarray) -> Finding:
    accuracy, printed = Counted("", int(np.trace(counts)), int(counts.sum())), float(claim.accuracy or 0)
    how = prints(accuracy.share, printed, claim.accuracy_decimals)
    told = f"The matrix gives {accuracy.text}"
    if how:
        return Finding(f"accuracy {printed:.{claim.accuracy_decimals}f} of the matrix", HOLDS, f"{told}, {how}.")
    return Finding(f"accuracy {printed:.{claim.accuracy_decimals}f} of the matrix", FAILS, f"{told}. {_reconciled(claim, counts)}")


def _accuracy_fits(claim: Matrix, counts: np.ndarray) -> bool:
    return bool(prints(float(np.trace(counts) / counts.sum()), float(claim.accuracy or 0), claim.accuracy_decimals))


def _class_finding(claim: Matrix, counts: np.ndarray, name: str, printed: tuple[float, ...]) -> Finding:
    values = _scores(counts)[name]
    how = [prints(float(value), stated, claim.decimals) for value, stated in zip(values, printed)]
    off = [f"{claim.labels[i]} {values[i]:.3f} (printed {printed[i]:.{claim.decimals}f})" for i, each in enumerate(how) if not each]
    if off:
        why = "" if claim.accuracy is not None and not _accuracy_fits(claim, counts) else f" {_reconciled(claim, counts)}"  # told once
        return Finding(f"{name} of the matrix", FAILS, f"{len(off)} of {len(how)} differ: {', '.join(off)} (n = {counts.sum():,}).{why}")
    cut = [claim.labels[i] for i, each in enumerate(how) if each == "truncated"]
    aside = f", {', '.join(cut)} truncated instead of rounded" if cut else ""
    return Finding(f"{name} of the matrix", HOLDS, f"All {len(how)} printed values are the matrix's (n = {counts.sum():,}){aside}.")


def _reconciled(claim: Matrix, counts: np.ndarray) -> str:
    changes = reconciling(claim)
    if not changes:
        return "No change of a single entry gives all printed numbers."
    i, j, value = changes[0]
    new = counts.copy()
    new[i, j] = value
    what = f"{claim.labels[i]} predicted as {claim.labels[j]}, {counts[i, j]} to {value}"
    unique = "One change of a single entry gives" if len(changes) == 1 else f"{len(changes)} changes of a single entry give"
    return f"{unique} all printed numbers: {what} ({np.trace(new)} of {new.sum()} = {np.trace(new) / new.sum():.4f})."
