"""The page of prompted sessions, beside the three stages of cs231a's live test: figures, tables and what they show in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import SPLIT_COLOURS
from ferlab.evaluation.proportions import holm, wilson
from ferlab.evaluation.published import read_published
from ferlab.live.collection.storage import counted
from ferlab.live.session.files import CONDITIONS, DRAWN, FOLDER, SCORED
from ferlab.live.session.scores import compare_counts, compare_groups, compare_people, count_predictions, score_attempts, tally
from ferlab.reporting.pages.evaluate import plot_confusions
from ferlab.reporting.style import present, show
from ferlab.reporting.tables import MISSING, as_difference, cell, estimate, number, p_equals, p_value, percent
from ferlab.roles import listed

PAPER = "cs231a"
OURS, THEIRS = SPLIT_COLOURS["test"], SPLIT_COLOURS["train"]
NOTHING = (
    f"**There is no session yet.** A session is recorded above: choose a condition, agree to keep its numbers, and press Start. Its file lies in "
    f"`{FOLDER}/`; then run this cell again."
)
HEADINGS = {"person": "person", "prompt": "prompted expression", "condition": "condition"}


def show_sessions(table: pd.DataFrame) -> None:
    """Display the page of a table of attempts (`ferlab.live.session.files`); where it has none, how to make a session, and nothing else."""
    if table.empty:
        present(NOTHING)
        return
    facts, stages = score_attempts(table), live_stages()
    present(headline(table, facts))
    if not facts["n"]:
        return
    show(**stages_figure(table, stages))
    present(stages_table(facts, stages), stages_sentence(facts, stages), chance_sentence(facts))
    counts = count_predictions(table)
    show(confusion_figure(counts), alt=confusion_alt(counts))
    show(**ranks_figure(table))
    present(ranks_sentence(facts), tally_table(table, "prompt"))
    present(people_sentence(table, facts), tally_table(table, "person") if facts["people"] > 1 else None)
    present(conditions_sentence(table), tally_table(table, "condition") if table["condition"].nunique() > 1 else None)


def live_stages() -> pd.DataFrame:
    """Return the published live tests of cs231a with `correct`, in the order of its stages."""
    published = read_published()
    stages = published[(published["paper"] == PAPER) & (published["kind"] == "live")].reset_index(drop=True)
    return stages.assign(n=stages["n"].astype(int), correct=(stages["accuracy"] * stages["n"]).round().astype(int))


def headline(table: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    """Say correct of n, and of whom."""
    drawn = set(table["source"]) == {DRAWN}
    people = f"{facts['people']} {'drawn ' if drawn else ''}{'person' if facts['people'] == 1 else 'people'}"
    of = f"{counted(facts['sessions'], 'session')} of {people}"
    lost = f" Without a face, and so not scored: {counted(facts['no_face'], 'attempt')}." if facts["no_face"] else ""
    where = "**Control faces, not people.** " if drawn else ""
    if not facts["n"]:
        return f"{where}No prompt was scored in {of}.{lost}"
    models = listed(sorted(set(table["model"])))
    got = f"**Predicted correctly: {facts['correct']} of {counted(facts['n'], 'prompt')}, {estimate(facts, 'accuracy')}**"
    return f"{where}{got} (95 % interval by Wilson; {of}; model: {models}).{lost}"


def stages_figure(table: pd.DataFrame, stages: pd.DataFrame) -> dict[str, Any]:
    """Draw the accuracies of the published stages, of all sessions and of each condition, with 95 % intervals and chance; return figure and alt."""
    rows = [(f"{PAPER}: {row.system}", row.correct, row.n, 1 / row.expressions, THEIRS) for row in stages.itertuples()]
    facts = score_attempts(table)
    rows.append(("these sessions", facts["correct"], facts["n"], facts["chance"], OURS))
    for condition, row in tally(table, "condition").iterrows() if table["condition"].nunique() > 1 else ():
        rows.append((f"these sessions, {condition}", int(row["correct"]), int(row["n"]), facts["chance"], OURS))
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(rows) + 1.2), layout="constrained")
    for place, (_, correct, n, chance, colour) in enumerate(rows):
        low, high = wilson(correct, n)
        axis.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
        axis.plot(100 * correct / n if n else np.nan, place, "o", color=colour, markersize=7)
        axis.plot(100 * chance, place, "|", color="black", markersize=14, label="chance" if place == 0 else None)
    axis.set_yticks(range(len(rows)), [f"{name} ({correct} of {n})" for name, correct, n, _, _ in rows])
    axis.set(xlim=(-2, 102), ylim=(len(rows) - 0.4, -0.6), xlabel="prompts predicted correctly, %")
    axis.grid(axis="y", visible=False)
    axis.legend(loc="upper right")
    told = "; ".join(f"{name}: {correct} of {n}" for name, correct, n, _, _ in rows)
    return {"figure": figure, "alt": f"Prompts predicted correctly with 95 % intervals. {told}. Bars mark chance."}


def compare_stages(facts: Mapping[str, Any], stages: pd.DataFrame) -> pd.DataFrame:
    """Return the difference of these sessions to each published stage: `ferlab.live.session.scores.compare_counts`, and Holm's p."""
    rows = [compare_counts(("", facts["correct"], facts["n"]), (row.system, row.correct, row.n)) for row in stages.itertuples()]
    compared = pd.DataFrame(rows)
    return compared.assign(p_holm=holm(compared["p_exact"]))


def stages_table(facts: Mapping[str, Any], stages: pd.DataFrame) -> pd.DataFrame:
    """Return the published stages and these sessions, and the difference of these sessions to each stage with its test."""
    rows = {
        f"{PAPER}: {row.system}": {
            "correct": f"{row.correct} of {row.n}",
            "accuracy, %": cell({"accuracy": row.accuracy, "accuracy_ci_low": row.ci_low, "accuracy_ci_high": row.ci_high}, "accuracy"),
            "chance, %": number(1 / row.expressions, percent=True),
            "these sessions − this, points": cell(as_difference(one._asdict()), "difference"),
            "Fisher p": p_value(one.p_exact),
            "Holm p": p_value(one.p_holm),
            "detectable, points": number(one.detectable, percent=True),
        }
        for row, one in zip(stages.itertuples(), compare_stages(facts, stages).itertuples(), strict=True)
    }
    ours = {
        "correct": f"{facts['correct']} of {facts['n']}",
        "accuracy, %": cell(facts, "accuracy"),
        "chance, %": number(facts["chance"], percent=True),
    }
    table = pd.DataFrame.from_dict(rows | {"these sessions": ours}, orient="index").fillna(MISSING)
    table.index.name = "stage"
    return table


def stages_sentence(facts: Mapping[str, Any], stages: pd.DataFrame) -> str:
    """Say how to read the comparison."""
    last = compare_stages(facts, stages).iloc[-1]
    return (
        f"{PAPER} counted its prompts by hand, before other cameras, with other people and models: the comparison is descriptive. The difference to "
        f"its last stage is {_verdict(last['p_holm'])} (Fisher's exact test, Holm's p {p_equals(last['p_holm'])}).{_detects(last['detectable'])}"
    )


def chance_sentence(facts: Mapping[str, Any]) -> str:
    """Say whether the model is better than a guesser, by both tests, and what n could detect."""
    verdict = "better than a guesser at the 5 % level" if facts["p_chance"] <= 0.05 else "not significantly better than a guesser"
    least = facts["detectable"]
    could = "cannot distinguish any accuracy" if least != least else f"distinguish an accuracy of {percent(least)} or more"
    return (
        f"A guesser is right in {percent(facts['chance'])} of prompts. The model is {verdict} (exact test, p {p_equals(facts['p_chance'])}). Against "
        f"random orders of the same prompts, to which a preference for one expression is no advantage, p {p_equals(facts['p_order'])}. "
        f"{counted(facts['n'], 'prompt')} {could} from chance with 80 % power."
    )


def confusion_figure(counts: pd.DataFrame) -> Figure:
    """Draw which expression each prompt was predicted as."""
    figure = plot_confusions(counts)
    left, right = figure.axes
    left.set(title="prompts", ylabel="prompted")
    right.set(title="% of the prompted expression")
    return figure


def confusion_alt(counts: pd.DataFrame) -> str:
    """Name the diagonal, and the most frequent confusion where there is one."""
    values = counts.to_numpy()
    wrong = values * (1 - np.eye(len(values), dtype=values.dtype))
    told = f"Confusion matrix, {counted(int(values.sum()), 'prompt')}; on the diagonal: {values.trace()}."
    if not wrong.any():
        return told
    prompt, predicted = divmod(int(wrong.argmax()), len(wrong))
    most, times = int(wrong.max()), "once" if wrong.max() == 1 else f"{wrong.max()} times"
    which = "The most frequent confusion" if (wrong == most).sum() == 1 else "One of the most frequent confusions"
    return f"{told} {which}: {counts.index[prompt]} predicted as {counts.columns[predicted]}, {times}."


def ranks_figure(table: pd.DataFrame) -> dict[str, Any]:
    """Draw how often the true class has each rank among the probabilities, beside a guesser's; figure and alt."""
    scored = table[table["outcome"] == SCORED]
    classes = scored.filter(like="prob_").notna().sum(axis=1)
    ranks = np.arange(1, int(classes.max()) + 1)
    counts = np.array([(scored["rank"] == rank).sum() for rank in ranks])
    guessed = [float((1 / classes[classes >= rank]).sum()) for rank in ranks]
    figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
    bars = axis.bar(ranks, counts, color=OURS, width=0.75, label="these sessions")
    axis.bar_label(bars, fontsize=9, padding=2)
    axis.step([0.5, *ranks + 0.5], [guessed[0], *guessed], color="black", linewidth=1.2, label="a guesser")
    axis.set(xticks=ranks, xlabel="rank of the prompted expression among the probabilities", ylabel="prompts", ylim=(0, 1.18 * counts.max()))
    axis.grid(axis="x", visible=False)
    axis.legend()
    told = ", ".join(f"{count} at rank {rank}" for rank, count in zip(ranks, counts) if count)
    same = "; a guesser has as many at every rank" if classes.nunique() == 1 else ""
    return {"figure": figure, "alt": f"Ranks of the prompted expression: {told}{same}."}


def ranks_sentence(facts: Mapping[str, Any]) -> str:
    """Say the mean rank and top 3."""
    return (
        f"The prompted expression has mean rank {number(facts['mean_rank'], digits=2)} among the probabilities (a guesser: "
        f"{number(facts['chance_rank'], digits=2)}), and is among the first three in {estimate(facts, 'top3_accuracy')} of prompts."
    )


def tally_table(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return one row per person, prompted expression or condition."""
    rows = {
        name: {
            "correct": f"{row['correct']:.0f} of {row['n']:.0f}",
            "accuracy, %": cell(row, "accuracy"),
            "mean rank": number(row["mean_rank"], digits=2),
            "in the first three": f"{row['top3']:.0f}",
            "no face": f"{row['no_face']:.0f}",
        }
        for name, row in tally(table, by).iterrows()
    }
    shown = pd.DataFrame.from_dict(rows, orient="index")
    shown.index.name = HEADINGS[by]
    return shown


def people_sentence(table: pd.DataFrame, facts: Mapping[str, Any]) -> str:
    """Say what holds for new people, and whether people differ; with one person, that nothing is known about others."""
    low, high = facts["accuracy_people_low"], facts["accuracy_people_high"]
    if low != low:
        return "All scored prompts are of one person: the interval is about more prompts of that person, and says nothing about other people."
    p, bounds = compare_people(table), {"accuracy": facts["accuracy"], "accuracy_ci_low": low, "accuracy_ci_high": high}
    scored = table.loc[table["outcome"] == SCORED, "person"].nunique()
    differ = (
        "Every prompt has the same outcome: there is no difference between people to test."
        if p != p
        else f"The difference between people is {_verdict(p)} (p {p_equals(p)})."
    )
    return f"Prompts of one person are not independent. For new people the interval is {estimate(bounds, 'accuracy')}, from {scored} people. {differ}"


def conditions_sentence(table: pd.DataFrame) -> str:
    """Say how acted and remembered expressions compare; with one condition, that the other is missing."""
    if table["condition"].nunique() < 2:
        (condition,) = set(table["condition"])
        (other,) = set(CONDITIONS) - {condition}
        return (
            f"All prompts are {condition} ({CONDITIONS[condition]}). A session in the condition *{other}* ({CONDITIONS[other]}) gives the comparison."
        )
    pairs = compare_groups(table, "condition", within="person")
    if pairs.empty:
        return "One of the conditions has no scored prompt: there is nothing to compare."
    row = pairs.iloc[0]
    differs = f"*{row['first']}* minus *{row['second']}*, over all prompts: {estimate(as_difference(row), 'difference', unit='points')}"
    if row["p_exact"] != row["p_exact"]:
        return f"{differs}. Nobody has scored prompts in both conditions: the difference is also one between people, and is not tested."
    return (
        f"{differs}; {_verdict(row['p_exact'])} (exact test within people, p {p_equals(row['p_exact'])}).{_detects(row['detectable'])} The condition "
        f"is chosen before a session, not drawn: practice and light are part of this difference."
    )


def _verdict(p: float) -> str:
    return "significant at the 5 % level" if p <= 0.05 else "not significant at the 5 % level"


def _detects(least: float) -> str:
    return f" Fisher's test of so many prompts has 80 % power for a difference of {number(least, percent=True)} points." if least == least else ""
