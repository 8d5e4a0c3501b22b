"""The part on annotators of a run's page: what one annotator reaches, accuracy by agreement, two labels, and the distribution of votes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.colours import REFERENCE, SPLIT_COLOURS
from ferlab.reporting.pages.calibration import SCALINGS
from ferlab.reporting.style import present, show
from ferlab.reporting.tables import captioned, cell, estimate, p_equals, percent
from ferlab.roles import listed

HITS = {"annotator": "one annotator, %", "label": "label, %", "model": "model, %"}


def rank_sentence(scores: Mapping[str, Any]) -> str:
    """Say how far the label ranks from the first place, over all and over misclassified faces; `scores` of one split."""
    counts = {int(rank): n for rank, n in scores["rank_counts"].items()}
    wrong = sum(n for rank, n in counts.items() if rank > 1)
    said = f"The label has mean rank {cell(scores, 'rank_mean', percent=False, digits=2)} among the probabilities"
    if not wrong:
        return f"{said}."
    return f"{said}, and is the second or third in {estimate(scores, 'close_rate')} of {wrong:,} misclassified faces."


def votes_text(votes: Mapping[str, Any] | None) -> list[str]:
    """Report ceilings, two-label faces and soft calibration; in a list, empty where the dataset has no votes.

    Args:
        votes: From `ferlab.evaluation.votes.score_votes`.
    """
    if votes is None:
        return []
    over = "subjects" if votes["by_subject"] else "faces"
    said = (
        f"**One annotator's vote is the most frequent of the others' in {estimate(votes, 'annotator')} of {votes['n']:,} faces**, the dataset's "
        f"label in {estimate(votes, 'label')}, the prediction in {estimate(votes, 'model')} (over {over}). {_ceiling(votes)}"
    )
    return [" ".join(filter(None, [said, _two_labels(votes["labels"])])), *([_soft(votes["soft"])] if votes["soft"] else [])]


def show_shares(votes: Mapping[str, Any] | None) -> None:
    """Display the share of votes against confidence, or that the faces have no votes."""
    if votes is None:
        present("The faces have no votes of annotators for the model's expressions.")
    elif votes["soft"]:
        show(plot_shares(votes["soft"]), alt=f"Share of the votes for the prediction against confidence, per bin. {shares_sentence(votes['soft'])}")


def levels_table(votes: Mapping[str, Any] | None) -> list[pd.DataFrame]:
    """Return the accuracy by agreement of the votes, in a list; empty where there are none."""
    if votes is None:
        return []
    rows = [
        {"votes for the most frequent": row["level"], "faces": row["n"], "accuracy, %": cell(row, "accuracy")}
        | {f"agrees with the others: {name}": cell(row, key) for key, name in HITS.items()}
        for row in votes["levels"]
        if row["n"]
    ]
    table = pd.DataFrame(rows).set_index("votes for the most frequent")
    return [captioned(table, "Accuracy of the model and of other annotators by the number of votes for the most frequent expression")]


def plot_shares(soft: Mapping[str, Any]) -> Figure:
    """Draw the mean share of the votes for the prediction against the mean confidence, per bin; `soft` of `score_votes`."""
    bins = pd.DataFrame(soft["bins"])
    figure, axis = plt.subplots(figsize=(5.2, 4.2), layout="constrained")
    axis.plot([0, 100], [0, 100], color=REFERENCE, linestyle="--", linewidth=1, label="confidence = share of votes")
    areas = 8 + 220 * bins["faces"] / bins["faces"].max()
    axis.scatter(
        100 * bins["confidence"], 100 * bins["share"], s=areas, color=SPLIT_COLOURS["test"], alpha=0.8, label="faces of a bin (area: how many)"
    )
    axis.set(xlabel="confidence (largest probability), %", ylabel="votes for the prediction, %", xlim=(-3, 103), ylim=(-3, 103))
    axis.legend(loc="lower right", fontsize=9)
    return figure


def shares_sentence(soft: Mapping[str, Any]) -> str:
    """Say whether confidence is above or below the share of votes, over all bins."""
    bins = pd.DataFrame(soft["bins"])
    confidence, share = (float(np.average(bins[key], weights=bins["faces"])) for key in ("confidence", "share"))
    gap = round(100 * (confidence - share), 1)
    word = f": the model is {'over' if gap > 0 else 'under'}confident beside the annotators" if gap else ""
    return f"Mean confidence is {percent(confidence)}; {percent(share)} of the votes are for the prediction{word}."


def _ceiling(votes: Mapping[str, Any]) -> str:
    model, annotator = (tuple(votes[f"{who}_ci_{side}"] for side in ("low", "high")) for who in ("model", "annotator"))
    if model[1] < annotator[0]:
        return "The model agrees with the annotators less than one of them does."
    if model[0] > annotator[1]:
        return "The model agrees with the annotators more than one of them does: it predicts their majority, an annotator is a single vote."
    return "The intervals of model and annotator overlap."


def _two_labels(labels: Mapping[str, Any] | None) -> str:
    if not labels or not labels["n"]:
        return ""
    return (
        f"{labels['n']:,} faces have two labels (three tenths of the votes each, FER+'s rule): the prediction is one of the two in "
        f"{estimate(labels, 'first')}; the two rank first and second in {estimate(labels, 'both')}."
    )


def _soft(soft: Mapping[str, Any]) -> str:
    scalings = soft["scalings"]
    said = (
        f"The KL divergence of the probabilities from the distribution of votes is {scalings['none']['kl']:.3f} nats ({soft['n']:,} faces); "
        f"that of the mean votes, which ignore the face, is {soft['mean_kl']:.3f}. {shares_sentence(soft)}"
    )
    changed = [
        f"{SCALINGS[name]}, fitted on labels, changes it by {cell(found, 'difference', percent=False, digits=4)} (p {p_equals(found['p'])})"
        for name, found in scalings.items()
        if name != "none"
    ]
    return f"{said} {listed(changed)[0].upper()}{listed(changed)[1:]}." if changed else said
