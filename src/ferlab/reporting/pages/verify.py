"""The page of the expression check: what is asked for, what people and guessers may expect, and what simulated attacks achieve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from ferlab.colours import COLOURS
from ferlab.evaluation.presentation_attacks import (
    BONA_FIDE,
    FAILED,
    PASSED,
    UNDECIDED,
    Challenge,
    attack_rates,
    cheapest_plans,
    clopper_pearson,
    det_points,
    detection_rates,
    person_bounds,
    prompt_chances,
)
from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.published import read_published
from ferlab.reporting.tables import cell, estimate, number, percent
from ferlab.roles import listed

MISS_COLOURS = ("#0072B2", "#009E73", "#CC79A7")  # Okabe & Ito (2008)
SPECIES_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
WANTED = (0.1, 0.01, 0.001)
BANDS = (3.0, 3.5, 4.0, 4.5, 5.0)  # of the apex intensity


def recalls_table(confusions: np.ndarray, expressions: Sequence[str], asked: Sequence[str]) -> pd.DataFrame:
    """Return per expression but neutral how often it is recognised, and whether prompts ask for it."""
    chances = prompt_chances(confusions, expressions, [name for name in expressions if name != "neutral"])
    rows = [
        {
            "expression": row["expression"],
            "faces": row["n"],
            "recall, %": cell(row, "at_once"),
            "recall without neutral predictions, %": number(row["in_time"], percent=True),
            "asked for": "yes" if row["expression"] in asked else "no",
        }
        for row in chances.to_dict("records")
    ]
    return pd.DataFrame(rows).set_index("expression")


def people_table(confusions: np.ndarray, expressions: Sequence[str], asked: Sequence[str], *, prompts: int, misses: int) -> pd.DataFrame:
    """Return what a confusion matrix predicts for people, and what cs231a's live sessions would: the chance to pass in one check and in three.

    Args:
        confusions: (K, K) counts, rows actual.
        expressions: K names.
        asked: Expressions that prompts ask for.
        prompts: How many.
        misses: How many may be missed.
    """
    chances = prompt_chances(confusions, expressions, asked)
    one, three = (Challenge(len(asked), prompts, misses, tries=tries) for tries in (1, 3))
    rows = []
    for name, column, n in (("recall", "at_once", "n"), ("recall without neutral predictions", "in_time", "answers")):
        successes = chances[column].to_numpy()
        low, high = person_bounds(one, chances["hits"], chances[n])
        pair = {"pass": one.person(successes), "pass_ci_low": low, "pass_ci_high": high}
        rows.append({"each prompt succeeds with": name, "mean, %": number(successes.mean(), percent=True), "one check, %": cell(pair, "pass"),
                     "three checks, %": number(three.person(successes), percent=True)})  # fmt: skip
    for row in _live_rows().to_dict("records"):
        success = np.full(len(asked), row["accuracy"])
        bounds = [float(one.passes(row[side])) for side in ("ci_low", "ci_high")]
        pair = {"pass": one.person(success), "pass_ci_low": bounds[0], "pass_ci_high": bounds[1]}
        rows.append({"each prompt succeeds with": f"accuracy of {row['paper']}'s {row['system']} ({row['n']:.0f} prompts)",
                     "mean, %": number(row["accuracy"], percent=True), "one check, %": cell(pair, "pass"),
                     "three checks, %": number(three.person(success), percent=True)})  # fmt: skip
    return pd.DataFrame(rows).set_index("each prompt succeeds with")


def _live_rows() -> pd.DataFrame:
    published = read_published()
    return published[(published["kind"] == "live") & (published["dataset"] == "webcam") & (published["expressions"] == 7)]


def plans_table(plans: pd.DataFrame, wanted: Sequence[float] = WANTED) -> pd.DataFrame:
    """Return for each wanted chance of a guesser the plan of `plan_prompts` that fewest people fail."""
    rows = [
        {
            "guesser passes in at most, %": number(row["wanted"], percent=True),
            "prompts": number(row["prompts"], digits=0),
            "misses allowed": number(row["misses"], digits=0),
            "guesser passes, %": number(row["guess"], percent=True, digits=2),
            "replay passes, %": number(row["replay"], percent=True, digits=3),
            "people fail (BPCER), %": number(row["bpcer"], percent=True),
        }
        for row in cheapest_plans(plans, wanted).to_dict("records")
    ]
    return pd.DataFrame(rows).set_index("guesser passes in at most, %")


def plot_plans(plans: pd.DataFrame, *, prompts: int, misses: int) -> dict[str, Any]:
    """Draw what security costs: predicted BPCER over the chance of a guesser, a line for each number of allowed misses.

    Returns:
        `figure` and `alt`, as `ferlab.reporting.style.show` takes them.
    """
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for (allowed, line), colour in zip(plans.groupby("misses"), MISS_COLOURS, strict=False):
        axes.plot(line["guess"], line["bpcer"], "o-", color=colour, label=f"{allowed} missed" if allowed else "none missed")
        for row in line.itertuples():
            axes.annotate(str(row.prompts), (row.guess, row.bpcer), xytext=(5, 3), textcoords="offset points", fontsize=9, color=colour)
    here = plans[(plans["prompts"] == prompts) & (plans["misses"] == misses)].iloc[0]
    axes.plot(here["guess"], here["bpcer"], "s", markersize=13, markerfacecolor="none", markeredgecolor="#222222", label="the default check")
    axes.set(xscale="log", xlabel="a guesser passes (logarithmic)", ylabel="people fail, predicted (BPCER)", ylim=(0, 1))
    axes.xaxis.set_major_formatter(lambda fraction, _: f"{100 * fraction:g} %")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.minorticks_off()
    axes.legend(title="of the prompts (their number beside each point)")
    alt = (
        f"People who fail over guessers who pass, for 1 to {plans['prompts'].max()} prompts. With {prompts} prompts and {misses} allowed misses a "
        f"guesser passes in {percent(here['guess'])} and people fail in {percent(here['bpcer'])}; more prompts move to the upper left."
    )
    return {"figure": figure, "alt": alt}


def simulation_text(outcomes: pd.DataFrame, tuning: pd.DataFrame, *, drawn: Challenge, drawn_asked: Sequence[str], live: Challenge) -> str:
    """Report who was simulated, what they were asked for, and how the simulated check differs from the one before the camera."""
    people, before = (table["subject"].nunique() for table in (outcomes, tuning))
    easier = (
        f" The check above asks for {live.expressions} different expressions: a guesser passes in at most {percent(live.guess())} there, in at most "
        f"{percent(drawn.guess())} here."
        if drawn.expressions != live.expressions
        else ""
    )
    return (
        f"{people} drawn people took part, with one presentation of each species of attack in the name of each. The rules of the check were chosen "
        f"on {before} others, whose error rates are the last column. Prompts asked for {listed(drawn_asked)}, which the model recalls often enough "
        f"on drawn faces.{easier}"
    )


def rates_table(outcomes: pd.DataFrame, tuning: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the error rate of each species: BPCER for people, APCER for attacks, with Wilson's and the exact 95 % interval.

    Args:
        outcomes: One row a presentation: `species` and `flag`.
        tuning: Those that the rules were chosen on: their error rates become a column.
    """
    rows = []
    for species, presented in outcomes.groupby("species", sort=False):
        people = species == BONA_FIDE
        found = _error(presented["flag"], FAILED if people else PASSED)
        row = _rate_row("people" if people else str(species), presented["flag"], found, error="BPCER" if people else "APCER")
        if tuning is not None:
            before = _error(tuning.loc[tuning["species"] == species, "flag"], FAILED if people else PASSED)
            row["% of those the rules were chosen on"] = number(before["error"], percent=True)
        rows.append(row)
    return pd.DataFrame(rows).set_index("presented")


def _error(flags: pd.Series, error: str) -> dict[str, float]:
    errors, n = int((flags == error).sum()), len(flags)
    pairs = {"error_ci": wilson(errors, n), "exact_ci": clopper_pearson(errors, n)}
    bounds = {f"{name}_{side}": pair[place] for name, pair in pairs.items() for place, side in enumerate(("low", "high"))}
    rate = errors / n if n else float("nan")
    return {"error": rate, "exact": rate, **bounds}


def _rate_row(name: str, flags: pd.Series, found: Mapping[str, float], *, error: str) -> dict[str, Any]:
    counts = {key: int((flags == key).sum()) for key in (PASSED, FAILED, UNDECIDED)}
    return {"presented": name, "n": len(flags), **counts, "error rate": error, "%": cell(found, "error"), "exact interval, %": cell(found, "exact")}


def rates_text(outcomes: pd.DataFrame) -> str:
    """Report the largest APCER, BPCER and ACER of presentations."""
    rates, species = detection_rates(outcomes), attack_rates(outcomes)
    largest = species.loc[species["apcer"] == rates["apcer"], "species"]
    of = f"{estimate(rates, 'apcer')} of {rates['attacks']:,} {'presentation' if rates['attacks'] == 1 else 'presentations'}"
    worst = f"The largest APCER is that of *{rates['worst_species']}*: {of}"
    if len(largest) > 1:
        worst = f"The largest APCER, that of {len(largest)} species, is {of} each" if rates["apcer"] else "No attack of any species passed"
    return (
        f"{worst}. BPCER is {estimate(rates, 'bpcer')} of {rates['people']:,} {'person' if rates['people'] == 1 else 'people'}, and ACER, the mean "
        f"of both, {estimate(rates, 'acer')}. An attack counts by its worst species, not by the mean over species."
    )


def prediction_text(outcomes: pd.DataFrame, drawn: pd.DataFrame, answers: np.ndarray, *, challenge: Challenge) -> str:
    """Compare measured rates of people and guessers with those that the confusion matrix and the binomial predict.

    Args:
        outcomes: From `ferlab.live.verification.attacks.presentations`.
        drawn: `prompt_chances` of other control faces.
        answers: From `ferlab.live.verification.attacks.apex_answers`, of the same people.
        challenge: Of the check.
    """
    at_once, in_time = (challenge.person(drawn[column].to_numpy()) for column in ("at_once", "in_time"))
    people, guessers, own = *(_passed(outcomes, name) for name in (BONA_FIDE, "guesser")), challenge.person(answers.astype(float))
    return (
        f"The confusion matrix of other control faces predicts that people pass in {percent(at_once)} (recall) to {percent(in_time)} (recall "
        f"without neutral predictions); measured: {estimate(people, 'pass')} of {people['n']} people{_excludes(people, at_once, in_time)}. The "
        "matrix treats prompts as independent. Each person's own faces at the apex, by which an expression is accepted always or never, predict "
        f"{percent(own)}{_excludes(people, own, own)}. A guesser is expected to pass in at most {percent(challenge.guess())}; measured: "
        f"{estimate(guessers, 'pass')} of {guessers['n']}{_excludes(guessers, 0.0, challenge.guess())}."
    )


def _excludes(measured: Mapping[str, Any], low: float, high: float) -> str:
    """Say so where an interval and the predictions from low to high do not overlap."""
    overlap = measured["pass_ci_low"] <= high and low <= measured["pass_ci_high"]
    return "" if overlap else ", an interval that excludes the prediction"


def _passed(outcomes: pd.DataFrame, species: str) -> dict[str, Any]:
    passed = outcomes.loc[outcomes["species"] == species, "flag"] == PASSED
    low, high = wilson(int(passed.sum()), len(passed))
    return {"pass": float(passed.mean()), "pass_ci_low": low, "pass_ci_high": high, "n": len(passed)}


def plot_errors(outcomes: pd.DataFrame) -> dict[str, Any]:
    """Draw APCER of each species over BPCER as the threshold of the score rises: a detection error trade-off.

    Returns:
        `figure` and `alt`, as `ferlab.reporting.style.show` takes them.
    """
    scores = {name: rows["score"].to_numpy() for name, rows in outcomes.groupby("species", sort=False)}
    people = scores.pop(BONA_FIDE)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    said = []
    for (name, attack), colour in zip(scores.items(), SPECIES_COLOURS, strict=False):
        points = det_points(people, attack)
        points = points[points["threshold"] > 0]  # 0 would pass everybody, whatever the check found
        axes.step(points["bpcer"], points["apcer"], where="post", color=colour, linewidth=2, label=name)
        said.append(f"{name} {percent(points['apcer'].iloc[0], digits=0)}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(xlabel="people fail (BPCER)", ylabel="attacks pass (APCER)", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="upper right")
    first = percent(float((people <= 0).mean()), digits=0)
    alt = f"Attacks that pass over people who fail, one line a species. Where {first} of the people fail, {', '.join(said)} pass."
    return {"figure": figure, "alt": alt}


def plot_expressiveness(outcomes: pd.DataFrame) -> dict[str, Any]:
    """Draw how often people pass by the intensity of their apex: the part of BPCER that falls on people who act weakly.

    Returns:
        `figure` and `alt`, as `ferlab.reporting.style.show` takes them.
    """
    people = outcomes[outcomes["species"] == BONA_FIDE]
    bands = pd.cut(people["intensity"], BANDS, include_lowest=True)
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    said = []
    for place, (band, rows) in enumerate(people.groupby(bands, observed=False)):
        name = f"{band.left:.1f} to {band.right:.1f}"
        if not len(rows):
            said.append(f"{name}: nobody")
            continue
        passed = int((rows["flag"] == PASSED).sum())
        low, high = wilson(passed, len(rows))
        share = passed / len(rows)
        axes.bar(place, share, color=COLOURS["happy"], width=0.6)
        axes.errorbar(place, share, [[share - low], [high - share]], color="#222222", capsize=4, linewidth=1.2)
        axes.annotate(f"{passed} of {len(rows)}", (place, 0.03), ha="center")
        said.append(f"{name}: {passed} of {len(rows)}")
    axes.set_xticks(range(len(BANDS) - 1), [f"{low:.1f} to {high:.1f}" for low, high in pairwise(BANDS)])
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set(ylim=(0, 1.05), xlabel="intensity of the apex (5 is the strongest)", ylabel="people pass")
    axes.grid(visible=False, axis="x")
    return {"figure": figure, "alt": f"Simulated people who pass, by the intensity of their apex: {', '.join(said)}. The bars are 95 % intervals."}


def failures_table(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Return which parts of the check failed, per species: in how many presentations."""
    parts = outcomes.assign(part=outcomes["failed"].str.split(", ")).explode("part")
    counts = parts[parts["part"] != ""].groupby(["species", "part"], sort=False).size().unstack(fill_value=0)
    counts = counts.reindex(index=outcomes["species"].unique(), fill_value=0).rename(index={BONA_FIDE: "people"})
    counts.insert(0, "n", outcomes.groupby("species", sort=False).size().to_numpy())
    return counts.rename_axis(index="presented", columns=None)
