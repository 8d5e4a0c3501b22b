"""The page of one run's evaluation: figures of confusions, classes and reliability, and what they show in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ferlab.colours import COLOURS
from ferlab.evaluation.clusters import OVER_FACES
from ferlab.evaluation.proportions import wilson
from ferlab.reporting.style import readable_on
from ferlab.reporting.tables import MISSING, SPLIT_NAMES, TTA, captioned, cell, estimate, over_units, percent, shown_splits
from ferlab.roles import MARKS, Exposure, listed

COLOUR_MAP = "Blues"
# How each metric is written: its name for a reader, whether in percent, and digits.
METRICS: dict[str, tuple[str, bool, int]] = {
    "accuracy": ("accuracy, %", True, 1),
    "accuracy_at_test_mix": ("accuracy at test's class mix, %", True, 1),
    "balanced_accuracy": ("balanced accuracy, %", True, 1),
    "macro_f1": ("macro F1, %", True, 1),
    "weighted_f1": ("weighted F1, %", True, 1),
    "mcc": ("MCC", False, 3),
    "nll": ("NLL, nats", False, 3),
    "ece": ("ECE, %", True, 1),
    "top3_accuracy": ("top-3 accuracy, %", True, 1),
}
KEYS = {"recall": "recall", "precision": "precision", "f1": "F1"}


def plot_confusions(confusions: pd.DataFrame) -> Figure:
    """Draw the confusion matrix, counts on the left, percent of each row on the right.

    Args:
        confusions: (K, K) counts, actual as rows, predicted as columns, expressions as names.
    """
    counts = confusions.to_numpy(dtype=float)
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(100 * counts, support, out=np.zeros_like(counts), where=support > 0)
    side = 0.62 * len(confusions) + 1.1
    figure, axes = plt.subplots(1, 2, figsize=(2 * side, side), layout="constrained", sharey=True)
    _draw_matrix(axes[0], counts, confusions, top=max(counts.max(), 1), text="{:,.0f}")
    _draw_matrix(axes[1], shares, confusions, top=100, text="{:.0f}")
    axes[0].set(title="faces", ylabel="actual", xlabel="predicted")
    axes[1].set(title="% of the actual class", ylabel="", xlabel="predicted")
    return figure


def plot_per_class(per_class: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw recall, precision and F1 of each expression as dots with 95 % intervals, expressions from most to fewest faces.

    Args:
        per_class: `{expression: {recall, recall_ci_low, recall_ci_high, ..., support}}`; undefined values are marked.
    """
    names = sorted(per_class, key=lambda name: per_class[name]["support"])
    figure, axes = plt.subplots(1, 3, figsize=(10, 0.42 * len(names) + 1.1), layout="constrained", sharex=True, sharey=True)
    for axis, (key, label) in zip(axes, KEYS.items()):
        for row, name in enumerate(names):
            _draw_dot(axis, row, per_class[name], key, colour=COLOURS[name])
        axis.set(title=label, xlim=(-3, 103), xlabel="%")
        axis.grid(axis="y", visible=False)
    axes[0].set_yticks(range(len(names)), [f"{name} ({per_class[name]['support']:,})" for name in names])
    return figure


def accuracy_sentence(run: str, scores: Mapping[str, Any], *, source: str) -> str:
    """Say a run's test accuracy, and on which faces (`source`)."""
    got, n = scores["test"], scores["n"]["test"]
    return (
        f"**{run}** classifies {estimate(got, 'accuracy')} of {n:,} test faces ({source}) correctly; its balanced accuracy is "
        f"{percent(got['balanced_accuracy'])}. Brackets hold 95 % intervals {over_units(got)}."
    )


def val_and_test_sentence(scores: Mapping[str, Any], seen: Exposure) -> str:
    """Say whether the accuracies on val and test agree within their intervals; of a model that was trained on val, that they do not compare."""
    if seen.role("val") == "trained":
        return "The model was trained on val, so accuracies on val and test do not compare."
    val, test = scores["val"], scores["test"]
    if val["accuracy_ci_low"] <= test["accuracy_ci_high"] and test["accuracy_ci_low"] <= val["accuracy_ci_high"]:
        return "The 95 % intervals of val and test accuracy overlap."
    selected = [split for split in ("val", "test") if seen.role(split) == "selected_on"]
    cause = f", or selection biases {listed(selected)}" if selected else ""
    return f"The 95 % intervals of val and test accuracy do not overlap: the faces of the two splits differ{cause}."


def confusion_sentence(confusions: pd.DataFrame) -> str:
    """Say the diagonal and the largest off-diagonal cell."""
    counts = confusions.to_numpy()
    wrong = counts * (1 - np.eye(len(counts), dtype=counts.dtype))
    if not wrong.any():
        return f"All {counts.sum():,} faces are classified correctly."
    actual, predicted = divmod(int(wrong.argmax()), len(wrong))
    names, support = list(confusions.index), counts[actual].sum()
    return (
        f"{counts.trace():,} of {counts.sum():,} faces lie on the diagonal. The largest confusion: {names[actual]} predicted as "
        f"{names[predicted]}, {wrong[actual, predicted]} of {support} ({percent(wrong[actual, predicted] / support)})."
    )


def best_and_worst_sentence(per_class: Mapping[str, Mapping[str, Any]]) -> str:
    """Say the expressions with the highest and lowest F1, all of them where several tie."""
    known = {name: values for name, values in per_class.items() if values["f1"] is not None}
    if not known:
        return "F1 is undefined for every expression."
    ends = [end(values["f1"] for values in known.values()) for end in (max, min)]
    best, worst = ([name for name in known if known[name]["f1"] == end] for end in ends)
    if best == worst:
        return f"All {len(known)} expressions have the same F1, {percent(ends[0])}."
    return f"Highest F1: {_class(known, best)}. Lowest: {_class(known, worst)}."


def _class(known: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> str:
    first = known[names[0]]
    return f"{names[0]}, {estimate(first, 'f1')} ({first['support']} faces)" if len(names) == 1 else f"{listed(names)}, {percent(first['f1'])} each"


def duplicates_sentence(duplicates: Mapping[str, Any]) -> str:
    """Say how the test accuracy differs between faces with and without a duplicate in train or val."""
    count, total = duplicates["n_duplicates"], duplicates["n_duplicates"] + duplicates["n_dedup"]
    named = "an exact, mirrored or near-duplicate in train or val"
    if duplicates["difference"] is None:
        return f"{count} of {total:,} test faces have {named}: nothing to compare."
    verdict = "includes" if duplicates["difference_ci_low"] <= 0 <= duplicates["difference_ci_high"] else "excludes"
    return (
        f"{count} of {total:,} test faces ({percent(count / total)}) have {named}. Accuracy is "
        f"{estimate(duplicates, 'accuracy_duplicates')} on them and {estimate(duplicates, 'accuracy_dedup')} on the others. The interval of the "
        f"difference, {estimate(duplicates, 'difference', unit='points')} (Newcombe, over faces), {verdict} 0."
    )


def tta_sentence(scores: Mapping[str, Any]) -> str:
    """Say the test accuracy without and with test-time augmentation, its cost, and the ties of a vote.

    Args:
        scores: `tta_none`, `tta_<name>` and those within it, each with `test`; `tta`, `passes` per face, and `ties` (None without a vote).
    """
    plain = f"Without test-time augmentation: {estimate(scores['tta_none']['test'], 'accuracy')} on test, one pass of the model per face"
    if scores["tta"] == "none":
        return f"{plain}. This is the reported accuracy."
    others = [f"{name}: {estimate(scores[f'tta_{tta}']['test'], 'accuracy')}" for tta, name in TTA.items() if f"tta_{tta}" in scores]
    told = f"{'; '.join([plain, *others])}, {scores['passes']} passes. The last is reported."
    if scores["ties"] is None:
        return told
    return f"{told} {scores['ties']} test faces had tied votes. The probabilities are vote fractions, to which NLL and ECE do not apply."


def val_by_tta_sentence(seen: Exposure) -> str:
    """Say which val accuracy the training page reports; "" where the model was trained on val without having been selected on it."""
    if seen.role("val") == "selected_on":
        return "The training page reports the val accuracy without augmentation, computed in the precision of training."
    return "The val accuracies of the training page are those of the model before the refit." if "val" in seen.selected_on else ""


def subjects_sentence(scores: Mapping[str, Any], n: int) -> str:
    """Say how much wider the interval of the test accuracy is over subjects than over `n` faces."""
    if "subjects" not in scores:
        return "The faces of this dataset name no subjects: its intervals take faces as independent."
    low, high = wilson(round(scores["accuracy"] * n), n)
    few = " Fewer than 20 subjects make a rough interval." if scores["subjects"] < 20 else ""
    ratio = (scores["accuracy_ci_high"] - scores["accuracy_ci_low"]) / (high - low)
    return (
        f"Faces of one subject are not independent: the interval of the test accuracy {over_units(scores)} is {ratio:.1f} times as wide as "
        f"over faces.{few}"
    )


def sequences_text(sequences: Mapping[str, Any] | None) -> list[str]:
    """Say the accuracy of sequences (from `score_sequences`) and of smoothed frames, and the flicker; nothing where faces are not frames."""
    if sequences is None:
        return []
    mixed = f" {sequences['mixed']} sequences hold frames of several expressions and count as their last frame." if sequences["mixed"] else ""
    return [
        f"**The test faces are {sequences['frames']:,} frames of {sequences['sequences']:,} sequences.** Accuracy is "
        f"{estimate(sequences, 'frame_accuracy')} of frames, and {estimate(sequences, 'accuracy')} of sequences by the mean over their frames."
        f"{mixed} Consecutive frames differ in their prediction in {percent(sequences['flicker'])} of cases. A moving average (weight of the newest "
        f"frame {sequences['alpha']}) changes this to {percent(sequences['smoothed_flicker'])}, at an accuracy of "
        f"{estimate(sequences, 'smoothed_accuracy')}. Intervals are over subjects or sequences, not over frames."
    ]


def metrics_table(scores: Mapping[str, Any], seen: Exposure) -> pd.DataFrame:
    """Return one row per metric, one column per split with its numbers of faces and subjects, and what it was to the run.

    Where bounds are over subjects, metrics whose bounds are over faces say so. Without duplicates test stands alone, and a metric that no split
    has is not shown.
    """
    by_subject = any("subjects" in (scores.get(split) or {}) for split in SPLIT_NAMES)
    names = [f"{name} (over faces)" if by_subject and key in OVER_FACES else name for key, (name, _, _) in METRICS.items()]
    marks = {split: f", {mark}" if (mark := MARKS[seen.role(split)]) else "" for split in SPLIT_NAMES}
    columns = {
        f"{SPLIT_NAMES[split]}{marks[split]} (n = {scores['n'][split]:,}{_subjects(scores[split])})": [
            cell(scores[split], key, percent=in_percent, digits=digits) for key, (_, in_percent, digits) in METRICS.items()
        ]
        for split in shown_splits(scores)
    }
    table = pd.DataFrame(columns, index=pd.Index(names, name="metric"))
    return captioned(table[(table != MISSING).any(axis=1)], "Metrics on each split, with 95 % intervals")


def _subjects(scores: Mapping[str, Any]) -> str:
    return f", {scores['subjects']:,} subjects" if "subjects" in scores else ""


def per_class_table(per_class: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per expression: faces, recall, precision and F1 in percent, and the mean rank of the label, with intervals."""
    rows = [
        {"expression": name, "faces": values["support"]}
        | {f"{key}, %": cell(values, key) for key in ("recall", "precision", "f1")}
        | ({"mean rank of the label": cell(values, "rank_mean", percent=False, digits=2)} if "rank_mean" in values else {})
        for name, values in per_class.items()
    ]
    table = pd.DataFrame(rows).rename(columns={"f1, %": "F1, %"}).set_index("expression")
    return captioned(table, f"Scores of each expression on test (n = {sum(values['support'] for values in per_class.values()):,})")


def values_tables(scores: Mapping[str, Mapping[str, Any]] | None) -> list[pd.DataFrame]:
    """Return the table of the values predicted beside the expression (from `score_values`), in a list; an empty one where there are none."""
    if scores is None:
        return []
    rows = {
        name: {
            "faces": score["n"],
            "intervals": over_units(score),
            **{key.upper(): cell(score, key, percent=False, digits=3) for key in ("ccc", "rmse")},
            "RMSE of the mean": f"{score['mean_rmse']:.3f}",
        }
        for name, score in scores.items()
    }
    return [captioned(pd.DataFrame.from_dict(rows, orient="index").rename_axis("value"), "Agreement of predicted values with labelled ones on test")]


def _draw_matrix(axis: Axes, values: np.ndarray, confusions: pd.DataFrame, *, top: float, text: str) -> None:
    labels = np.array([[text.format(v) for v in row] for row in values])
    sns.heatmap(
        values, ax=axis, annot=labels, fmt="", cmap=COLOUR_MAP, vmin=0, vmax=top, square=True, cbar=False, linewidths=1, linecolor="white",
        xticklabels=list(confusions.columns), yticklabels=list(confusions.index), annot_kws={"fontsize": 10},
    )  # fmt: skip
    for label, colour in zip(axis.texts, axis.collections[0].get_facecolors()):
        label.set_color(readable_on(colour))
    axis.tick_params(axis="x", rotation=40, length=0)
    axis.tick_params(axis="y", rotation=0, length=0)
    plt.setp(axis.get_xticklabels(), ha="right", rotation_mode="anchor")


def _draw_dot(axis: Axes, row: float, scores: Mapping[str, Any], key: str, *, colour: str) -> None:
    value, low, high = (scores.get(k) for k in (key, f"{key}_ci_low", f"{key}_ci_high"))
    if value is None or value != value:
        axis.text(2, row, "undefined", va="center", fontsize=9, color="#6B6B6B")
        return
    if low is not None and high is not None and low == low:
        axis.plot([100 * low, 100 * high], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
    axis.plot(100 * value, row, "o", color=colour, markersize=6)
