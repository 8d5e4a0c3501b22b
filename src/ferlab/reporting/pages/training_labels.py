"""Label issues among training faces on the page of errors: cross-validated confident learning, TracIn beside it, and what each is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ferlab.error_analysis.label_issues import label_quality
from ferlab.error_analysis.label_truth import PLANTED, RATERS, RECORDED
from ferlab.error_analysis.planted import SHARE
from ferlab.error_analysis.rankings import BOTH, CONFIDENT_LEARNING, TRACIN, doubt_scores
from ferlab.reporting.pages.analyze_errors import FALSE_ALARMS
from ferlab.reporting.tables import estimate, number, percent
from ferlab.roles import listed

STYLES = {CONFIDENT_LEARNING: ("#0072B2", "o"), TRACIN: ("#D55E00", "s"), BOTH: ("#4A4A4A", "D")}
TITLES = {PLANTED: "control faces, planted", RECORDED: "this dataset, recorded", RATERS: "this dataset, raters"}
MEANING = {
    PLANTED: f"control faces of which {percent(SHARE, digits=0)} were given a wrong label",
    RECORDED: "these faces, whose wrong labels are recorded",
    RATERS: "these faces, by the raters' first choice",
}
FOLD_MODELS = {"features": "a classifier on gradient histograms", "run": "the run's own model, trained again for each fold"}


def plot_precision(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw precision at k of each ranking with 95 % intervals, a panel per truth (from `measured`), over the line of a random ranking."""
    figure, axes = plt.subplots(1, len(tables), figsize=(3.5 * len(tables) + 0.4, 3.4), layout="constrained", sharey=True, squeeze=False)
    for axis, (truth, table) in zip(axes[0], tables.items(), strict=True):
        axis.axhline(100 * table["base_rate"].iloc[0], color="#6A6A6A", linestyle="--", linewidth=1)
        for place, (ranking, rows) in enumerate(table.groupby("ranking", sort=False)):
            colour, marker = STYLES[ranking]
            spans = np.abs(100 * (rows[["precision_ci_low", "precision_ci_high"]].to_numpy() - rows[["precision"]].to_numpy())).T
            apart = rows["k"] * 1.06 ** (place - 1)  # intervals beside each other
            axis.errorbar(apart, 100 * rows["precision"], yerr=spans, fmt=f"-{marker}", color=colour, markersize=4, capsize=2, label=ranking)
        ks = sorted(set(table["k"]))
        axis.set(title=TITLES[truth], xlabel="first k labels", xscale="log", ylim=(0, 103))
        axis.xaxis.set_major_locator(FixedLocator(ks[::2] if len(ks) > 5 else ks))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.xaxis.set_major_formatter("{x:,.0f}")
    axes[0, 0].set_ylabel("wrong labels among them, %")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def found_sentence(issues: pd.DataFrame, checked: pd.DataFrame, *, folds_model: str, true_labels: bool) -> str:
    """Say how many training faces have a label issue, by what model of the folds and how accurate it is.

    Args:
        issues: From `rank_label_issues` of `checked`.
        checked: Cross-validated predictions.
        folds_model: See params.
        true_labels: Whether every label is known to be that of the face, as on control faces without label noise.
    """
    n, right = len(checked), (checked["target"] == checked["pred"]).mean()
    said = (
        f"Cross-validated over {checked['fold'].nunique()} folds by {FOLD_MODELS[folds_model]} (accuracy {percent(right)}), "
        f"{len(issues):,} of {n:,} training faces have a label issue ({percent(len(issues) / n)}). Folds keep subjects and duplicates together."
    )
    if true_labels and len(issues):
        return f"{said} **{FALSE_ALARMS}**"
    return said


def opinions_sentence(agreed: Mapping[str, float], *, n: int) -> str:
    """Say how far TracIn agrees with confident learning on `n` training faces (from `agreement`)."""
    if not agreed:
        return "TracIn is not available: the model's outputs are not those of a linear layer, or no label has an issue."
    times = agreed["overlap"] / agreed["overlap_expected"]
    return (
        f"TracIn's self-influence of the run's own training agrees with it at a rank correlation of {number(agreed['rank_correlation'], digits=2)}; "
        f"the first {agreed['k']:,} of {n:,} labels of both rankings share {agreed['overlap']:,}, {number(times)} times what random rankings share."
    )


def precision_sentences(tables: Mapping[str, pd.DataFrame]) -> str:
    """Say for each truth what the first labels of each ranking are worth beside a random ranking."""
    return " ".join(_precision_sentence(truth, table) for truth, table in tables.items())


def _precision_sentence(truth: str, table: pd.DataFrame) -> str:
    ks = sorted(set(table["k"]))
    k = max((each for each in ks if each <= 100), default=ks[0])
    rows = table[table["k"] == k].set_index("ranking").to_dict("index")
    first, base = rows[CONFIDENT_LEARNING], percent(table["base_rate"].iloc[0])
    parts = listed([f"{estimate(row, 'precision')} by {ranking}" for ranking, row in rows.items()])
    above = [ranking for ranking, row in rows.items() if row["precision_ci_low"] > row["base_rate"]]
    told = "all rankings are" if len(above) == len(rows) > 1 else f"{listed(above)} {'is' if len(above) == 1 else 'are'}" if above else ""
    verdict = f"{told} better than that (the interval excludes it)" if told else "no ranking is better than that at this k"
    other = rows.get(TRACIN)
    if other and first["precision_ci_low"] > other["precision_ci_high"]:
        verdict += ", and confident learning finds more than TracIn"
    elif other and other["precision_ci_low"] > first["precision_ci_high"]:
        verdict += ", and TracIn finds more than confident learning"
    both = rows.get(BOTH)
    if both and both["precision_ci_low"] > max(row["precision_ci_high"] for ranking, row in rows.items() if ranking != BOTH):
        verdict += "; the mean of both ranks finds more than either"
    what = "differ from it" if truth == RATERS else "are wrong"
    return f"On {MEANING[truth]}, of the first {k} labels {what}: {parts}. A random ranking has {base}: {verdict}."


def with_influence(issues: pd.DataFrame, checked: pd.DataFrame) -> pd.DataFrame:
    """Return label issues with the run's `self_influence`, `influence_rank`, 1 for the highest of all training faces, and `doubt_rank`, by the mean
    of both opinions' ranks, most doubtful first; without TracIn in their order, with NaN.
    """
    own = checked.set_index("face_id")["self_influence"]
    scores = doubt_scores(label_quality(checked), own.to_numpy())
    both = pd.Series(scores[BOTH], own.index).rank(ascending=False, method="first") if BOTH in scores else own
    named = {"self_influence": own, "influence_rank": own.rank(ascending=False, method="first"), "doubt_rank": both}
    table = issues.assign(**{name: values.reindex(issues["face_id"]).to_numpy() for name, values in named.items()})
    return table.sort_values("doubt_rank", kind="stable").reset_index(drop=True)


def influence_notes(issues: pd.DataFrame) -> list[str]:
    """Return the rank of each issue by TracIn, for a caption; empty texts without it."""
    return [f"TracIn rank {rank:,.0f}" if rank == rank else "" for rank in issues["influence_rank"]]


def summary(
    issues: pd.DataFrame, checked: pd.DataFrame, *, agreed: Mapping[str, float], precision: Mapping[str, pd.DataFrame]
) -> dict[str, Any]:
    """Return what the metrics keep of the training labels."""
    return {
        "n": len(checked),
        "folds": int(checked["fold"].nunique()),
        "accuracy": float((checked["target"] == checked["pred"]).mean()),
        "issues": len(issues),
        "tracin": dict(agreed),
        "precision": {truth: table.to_dict("records") for truth, table in precision.items()},
    }
