"""Claims that only a training can check: what runs of published studies found, beside what a paper states.

A study is a folder of `reports/published`. Its numbers come from its summary, its differences from its kept predictions, paired by face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from ferlab.evaluation.ablations import bounds_of_sum
from ferlab.evaluation.claims.proportions import ALPHA, difference_text, p_of
from ferlab.evaluation.claims.schema import FAILS, HOLDS, OPEN, Claim, Context, Counted, Finding, Share
from ferlab.evaluation.comparison import difference_by_cluster
from ferlab.evaluation.ensembles import ENSEMBLE
from ferlab.evaluation.kept import read_kept
from ferlab.evaluation.predictions import expressions_of, faces_in
from ferlab.params import nearest
from ferlab.paths import InputError, read_json

PUBLISHED = Path("reports", "published")
OF_TRAINING = "a training of ours"  # how the name of these checks ends


class TrainedLevel(Claim):
    """An accuracy that a paper states, and the run that trains its system here."""

    check: Literal["trained_level"]
    value: Share
    study: str
    run: str  # or "ensemble"
    lacks: str = ""  # what ours lacks of the paper's training, as "8 epochs, not 300"


class TrainedChange(Claim):
    """A difference that a paper states, and runs with and without what makes it; of several pairs, which are seeds, the mean."""

    check: Literal["trained_change"]
    study: str
    runs: tuple[str, ...] = Field(min_length=1)
    against: tuple[str, ...] = ()  # a run for each of `runs`
    tta: tuple[str, str] | None = None  # or two test-time augmentations of `runs`: the accuracy under the first less that under the second
    expression: str = ""  # whose recall is meant; "": accuracy
    overfitting: bool = False  # what is meant is by how much train accuracy exceeds that of test
    stated: Literal["higher", "lower"]
    points: float | None = None  # the stated size
    lacks: str = ""

    @model_validator(mode="after")
    def _pairs(self) -> TrainedChange:
        if (self.tta is None) == (not self.against) or (self.against and len(self.against) != len(self.runs)):
            raise ValueError("expected `against` with a run for each of `runs`, or `tta` with two augmentations")
        if self.tta and (self.expression or self.overfitting or len(self.runs) < 2):
            raise ValueError("tta: expected two runs or more, over which it is tested, neither expression nor overfitting")
        if self.overfitting and self.expression:
            raise ValueError("overfitting: expected no expression")
        return self


def check_trained_level(claim: TrainedLevel, context: Context) -> list[Finding]:
    """Set the accuracy of a run beside the stated one: it holds where ours is as high, and does not where ours is significantly lower."""
    summary = _summary(claim.study, context)
    first = next(iter(summary["runs"]))  # of an ensemble any member tells n and the faces
    stated, of = context.counted(claim.value), _run(summary, first if claim.run == ENSEMBLE else claim.run, claim)
    accuracy = next(iter(summary["compare"]["ensembles"].values()))["test"]["accuracy"] if claim.run == ENSEMBLE else of["test"]["accuracy"]
    where = f"Trained here ({claim.study}/{claim.run}{_lacking(claim.lacks)}), on {of['usage']['test']},"
    ours = Counted(where, round(accuracy * of["n"]["test"]), of["n"]["test"])
    p = p_of(ours, stated)
    low = _contradicted(claim) if p < ALPHA else OPEN
    told = difference_text(ours, replace(stated, name="stated"), p)
    return [Finding(f"reached by {OF_TRAINING}", HOLDS if ours.share >= stated.share else low, told)]


def check_trained_change(claim: TrainedChange, context: Context) -> list[Finding]:
    """Test the difference between runs with and without a change, paired by face, or over seeds between two test-time augmentations."""
    summary = _summary(claim.study, context)
    if claim.tta:
        found, what, over = _over_seeds(claim, summary)
    elif claim.overfitting:
        found, what, over = _of_gaps(claim, summary)
    else:
        found, what, over = _over_faces(claim, summary, context)
    sign = 1 if claim.stated == "higher" else -1
    low, high = sorted((sign * found["ci_low"], sign * found["ci_high"]))
    verdict = HOLDS if low > 0 else _contradicted(claim) if high < 0 else OPEN
    size = ""
    if claim.points is not None:
        outside = not found["ci_low"] <= claim.points / 100 <= found["ci_high"]
        size = f"; stated {claim.points:+.1f}, {'outside' if outside else 'inside'} the interval"
    bounds = f"[{100 * found['ci_low']:.1f}, {100 * found['ci_high']:.1f}]"
    told = f"Trained here ({claim.study}{_lacking(claim.lacks)}): {what} {100 * found['difference']:+z.1f} points {bounds} {over}{size}."
    return [Finding(f"difference is {'positive' if sign > 0 else 'negative'} in {OF_TRAINING}", verdict, told)]


def _contradicted(claim: TrainedLevel | TrainedChange) -> str:
    """Return the verdict where ours contradicts the paper: more of the training could turn round what lacks some of it."""
    return OPEN if claim.lacks else FAILS


def _over_faces(claim: TrainedChange, summary: Mapping[str, Any], context: Context) -> tuple[dict[str, float], str, str]:
    """Return the difference with its bounds, the words for it, and what it is over."""
    differences = []
    for with_it, without in zip(claim.runs, claim.against, strict=True):
        first, second = (_hits(name, claim, summary, context) for name in (with_it, without))
        if not first.index.equals(second.index):
            raise InputError(f"study {claim.study}: runs {with_it} and {without} were scored on different faces; expected the same ones")
        differences.append((first - second).to_numpy())
    by_face = np.mean(differences, axis=0)
    usage = _run(summary, claim.runs[0], claim)["usage"]["test"]
    measure = f"recall of {claim.expression}" if claim.expression else "accuracy"
    seeds = f", {len(claim.runs)} seeds" if len(claim.runs) > 1 else ""
    tested = {"difference": float(by_face.mean()), **difference_by_cluster(by_face, np.arange(len(by_face)))}
    return tested, f"{measure} of {claim.runs[0]} less that of {claim.against[0]} on {usage}", f"over faces (n = {len(by_face):,}{seeds})"


def _over_seeds(claim: TrainedChange, summary: Mapping[str, Any]) -> tuple[dict[str, float], str, str]:
    """The same between two test-time augmentations, whose accuracies per run are all that is kept: Student's t over runs."""
    first, second = claim.tta or ("", "")
    scored = [_run(summary, name, claim) for name in claim.runs]
    for tta in (first, second):
        if f"tta_{tta}" not in scored[0]:
            known = [key.removeprefix("tta_") for key in scored[0] if key.startswith("tta_")]
            raise InputError(f"study {claim.study}: no accuracy under TTA {tta!r}; {nearest(tta, known)}")
    gains = np.array([of[f"tta_{first}"]["test"]["accuracy"] - of[f"tta_{second}"]["test"]["accuracy"] for of in scored])
    words = f"accuracy under TTA {first} less that under {second} on {scored[0]['usage']['test']}"
    tested = {"difference": float(gains.mean()), **difference_by_cluster(gains, np.arange(len(gains)))}
    return tested, words, f"over {len(gains)} seeds (n = {scored[0]['n']['test']:,} each)"


def _of_gaps(claim: TrainedChange, summary: Mapping[str, Any]) -> tuple[dict[str, float], str, str]:
    """The same of train accuracy less test accuracy: normal, all accuracies taken as independent. Of seeds the mean."""
    gaps, shares, counts = [], list[float](), list[int]()
    for names in (claim.runs, claim.against):
        scored = [(_run(summary, name, claim), summary["runs"][name]["train"]) for name in names]
        train, test = (float(np.mean(values)) for values in zip(*((fit["train"]["accuracy"], of["test"]["accuracy"]) for of, fit in scored)))
        gaps.append(train - test)
        shares, counts = [*shares, train, test], [*counts, scored[0][1]["n"]["trained"], scored[0][0]["n"]["test"]]
    low, high = bounds_of_sum(gaps[0] - gaps[1], shares, counts)
    usage, (own, other) = scored[0][0]["usage"]["test"], (f"{100 * gap:.1f}" for gap in gaps)
    words = f"train accuracy less that on {usage} of {claim.runs[0]} ({own} points) less the same of {claim.against[0]} ({other})"
    return {"difference": gaps[0] - gaps[1], "ci_low": low, "ci_high": high}, words, "over faces"


def _hits(name: str, claim: TrainedChange, summary: Mapping[str, Any], context: Context) -> pd.Series:
    """Return whether a run is right on each test face, of one expression where the claim names one, by face."""
    _run(summary, name, claim)
    rows = faces_in(read_kept(context.root / PUBLISHED / claim.study / "predictions" / f"{name}.parquet"), "test")
    if claim.expression:
        names: Sequence[str] = expressions_of(rows)
        if claim.expression not in names:
            raise InputError(f"study {claim.study}: no expression is called {claim.expression!r}; {nearest(claim.expression, list(names))}")
        rows = rows[rows["target"] == names.index(claim.expression)]
    return pd.Series((rows["pred"] == rows["target"]).to_numpy(np.float64), index=rows["face_id"])


def _summary(study: str, context: Context) -> dict[str, Any]:
    found: dict[str, Any] = read_json(context.root / PUBLISHED / study / "summary.json", made_by=f"publishing study {study}")
    return found


def _run(summary: Mapping[str, Any], name: str, claim: TrainedLevel | TrainedChange) -> dict[str, Any]:
    if name not in summary["runs"]:
        raise InputError(f"study {claim.study} has no run {name!r}; {nearest(name, list(summary['runs']))}")
    of: dict[str, Any] = summary["runs"][name]["evaluate"]
    return of


def _lacking(lacks: str) -> str:
    return f"; {lacks}" if lacks else ""

