"""Sentences whose numbers come from the metrics: what a table or figure says, in words, for prose and for alt text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ferlab.reporting.tables import MISSING, control_name, estimate, number, p_equals, percent
from ferlab.roles import Exposure, listed

TTA = {
    "flip": "the mean over a face and its mirror image",
    "ten_crop": "the mean over ten crops",
    "two_scales": "the mean of both",
    "seven": "the mean over a face and seven changed at random",
    "vote": "a vote among the face, its mirror image and the face turned either way",
}

def accuracy_sentence(run: str, scores: Mapping[str, Any], *, source: str, split: str = "test") -> str:
    """Say a run's accuracy, on how many faces of what.

    Args:
        run: Its name.
        scores: The run's metrics.
        source: What the faces are, e.g. "control faces" or "FER2013 PublicTest".
        split: "val", "test" or "test_dedup".
    """
    got, n = scores[split], scores["n"][split]
    balanced = percent(got["balanced_accuracy"])
    return (
        f"**{run}** names the expression of {estimate(got, 'accuracy')} of {n:,} {split.replace('_', ' ')} faces ({source}) right; "
        f"averaged over expressions, {balanced}. Brackets hold 95 % intervals."
    )


def source_name(described: Mapping[str, Any], split: str = "test") -> str:
    """Name the faces of a split: their dataset and usage; control faces always by that name.

    Args:
        described: The run's metrics (`dataset`, `usage`).
        split: "val", "test" or "test_dedup".
    """
    if (drawn := control_name(described["dataset"])) is not None:
        return drawn
    usage = described["usage"][split.removesuffix("_dedup")]
    return described["dataset"] if usage == "Training" else f"{described['dataset']}, {usage}"


def best_and_worst_sentence(per_class: Mapping[str, Mapping[str, Any]], key: str = "f1") -> str:
    """Say the expressions with the highest and lowest value of `key` ("f1", "recall" or "precision"), all of them where several tie."""
    known = {name: values for name, values in per_class.items() if values[key] is not None}
    label = {"f1": "F1"}.get(key, key)
    if not known:
        return f"{label} is undefined for every expression."
    ends = [end(values[key] for values in known.values()) for end in (max, min)]
    best, worst = ([name for name in known if known[name][key] == end] for end in ends)
    if best == worst:
        return f"All {len(known)} expressions have the same {label}, {percent(ends[0])}."
    return f"Best class by {label}: {_class(known, best, key)}. Worst: {_class(known, worst, key)}."


def _class(known: Mapping[str, Mapping[str, Any]], names: Sequence[str], key: str) -> str:
    if len(names) == 1:
        return f"{names[0]}, {estimate(known[names[0]], key)} ({known[names[0]]['support']} faces)"
    return f"{listed(names)}, {percent(known[names[0]][key])} each"


def confusion_sentence(confusions: pd.DataFrame) -> str:
    """Say the diagonal and the largest off-diagonal cell.

    Args:
        confusions: (K, K) counts, actual as rows, predicted as columns, expressions as names.
    """
    counts = confusions.to_numpy()
    wrong = counts.copy()
    wrong[range(len(wrong)), range(len(wrong))] = 0
    if not wrong.any():
        return f"All {counts.sum():,} faces are classified correctly."
    actual, predicted = divmod(int(wrong.argmax()), len(wrong))
    names, support = list(confusions.index), counts[actual].sum()
    return (
        f"{counts.trace():,} of {counts.sum():,} faces lie on the diagonal. The largest confusion: {names[actual]} called {names[predicted]}, "
        f"{wrong[actual, predicted]} of {support} ({percent(wrong[actual, predicted] / support)})."
    )


def calibration_sentence(scores: Mapping[str, Any]) -> str:
    """Say the ECE, and what chance alone would make of it."""
    gap = "more than" if scores["ece"] > scores["ece_if_calibrated_high"] else "no more than"
    return (
        f"Confidence and accuracy lie {estimate(scores, 'ece', unit='points')} apart (ECE, 15 bins). A perfectly calibrated model with these confidences would "
        f"show {number(scores['ece_if_calibrated'], percent=True)} on so many faces, in 95 % of draws at most "
        f"{number(scores['ece_if_calibrated_high'], percent=True)}: {gap} chance explains."
    )


def confidence_sentence(bins: pd.DataFrame) -> str:
    """Say whether the mean confidence lies above or below the accuracy, to a tenth of a point.

    Args:
        bins: From `reliability_bins`.
    """
    faces = bins["faces"].sum()
    claimed, delivered = (float((bins["faces"] * bins[c]).sum() / faces) for c in ("confidence", "accuracy"))
    gap = round(100 * (claimed - delivered), 1)
    word = f": {'over' if gap > 0 else 'under'}confident" if gap else ""
    return f"Mean confidence is {percent(claimed)}, accuracy {percent(delivered)}{word}."


def duplicates_sentence(duplicates: Mapping[str, Any], kind: str = "exact duplicate") -> str:
    """Say what faces with a duplicate of this kind in train or val do to the test accuracy."""
    total, named = duplicates["n_duplicates"] + duplicates["n_dedup"], f"an {kind} in train or val"
    if duplicates["difference"] is None:
        return f"{duplicates['n_duplicates']} of {total:,} test faces have {named}: nothing to compare."
    shares = {name: estimate(duplicates, f"accuracy_{name}") for name in ("duplicates", "dedup")}
    verdict = "The interval includes 0" if duplicates["difference_ci_low"] <= 0 <= duplicates["difference_ci_high"] else "The interval excludes 0"
    return (
        f"{duplicates['n_duplicates']} of {total:,} test faces ({percent(duplicates['n_duplicates'] / total)}) have {named}. "
        f"Accuracy on them is {shares['duplicates']}, on the others {shares['dedup']}: a difference of {estimate(duplicates, 'difference', unit='points')} "
        f"between two independent groups of faces (Newcombe). {verdict}."
    )


def val_and_test_sentence(scores: Mapping[str, Any], seen: Exposure) -> str:
    """Say whether the accuracies on val and test agree within their intervals; of a model that was trained on val, that they do not compare.

    Args:
        scores: A run's metrics, `val` and `test`.
        seen: What the run was fitted and selected on.
    """
    if seen.role("val") == "trained":
        return "The model was trained on val, so accuracies on val and test do not compare."
    val, test = scores["val"], scores["test"]
    if val["accuracy_ci_low"] <= test["accuracy_ci_high"] and test["accuracy_ci_low"] <= val["accuracy_ci_high"]:
        return "The 95 % intervals of val and test accuracy overlap."
    selected = [split for split in ("val", "test") if seen.role(split) == "selected_on"]
    cause = f", or {listed(selected)} flatters by the selection" if selected else ""
    return f"The 95 % intervals of val and test accuracy do not overlap: the faces of the two splits differ{cause}."


def val_by_tta_sentence(scores: Mapping[str, Any], seen: Exposure) -> str:
    """Say how the val accuracy of this page goes with that of the training page.

    Args:
        scores: `tta_none` and `tta_<name>`, each with `val`; `tta`.
        seen: What the run was fitted and selected on.
    """
    said = f"Without test-time augmentation, the val accuracy is {estimate(scores['tta_none']['val'], 'accuracy')}"
    if scores["tta"] != "none":
        said += f", with it {estimate(scores['tta_' + scores['tta']]['val'], 'accuracy')}"
    if seen.role("val") == "selected_on":
        return f"{said}. The training page reports it without augmentation, computed in the precision of training."
    return f"{said}. The val accuracies of the training page are those of the model before the refit." if "val" in seen.selected_on else f"{said}."


def tta_sentence(scores: Mapping[str, Any]) -> str:
    """Say what test-time augmentation gives on test, what it costs, and for a vote how often it was tied.

    Args:
        scores: `tta_none`, `tta_<name>` and those within it, each with `test`; `tta`, `passes` of the model per face, and
            `ties` among test faces (None where nothing is voted).
    """
    single = f"Without test-time augmentation: {estimate(scores['tta_none']['test'], 'accuracy')} on test, one pass of the model per face"
    if scores["tta"] == "none":
        return f"{single}. No augmentation is reported."
    means = [f"{name}: {estimate(scores[f'tta_{tta}']['test'], 'accuracy')}" for tta, name in TTA.items() if f"tta_{tta}" in scores]
    told = f"{'; '.join([single, *means])}, {scores['passes']} passes. Reported is the last."
    if scores["ties"] is None:
        return told
    return f"{told} The vote was tied on {scores['ties']} test faces. Its probabilities are shares of votes: NLL and ECE say little of them."


def sequences_text(sequences: Mapping[str, Any] | None) -> list[str]:
    """Say what averaging the frames of a sequence gives, and how much the named expression flickers; nothing where faces are no frames.

    Args:
        sequences: From `score_sequences`.
    """
    if sequences is None:
        return []
    flicker = {key: percent(sequences[key]) for key in ("flicker", "smoothed_flicker")}
    mixed = f" {sequences['mixed']} sequences hold frames of several expressions and count as their last frame." if sequences["mixed"] else ""
    return [
        f"**The test faces are {sequences['frames']:,} frames of {sequences['sequences']:,} sequences.** Frame by frame "
        f"{estimate(sequences, 'frame_accuracy')} are named right; the mean over all frames of a sequence names {estimate(sequences, 'accuracy')} of the "
        f"sequences right.{mixed} From one frame to the next the name changes in {flicker['flicker']} of cases; an average that follows the frames "
        f"(weight of the newest {sequences['alpha']}) changes it in {flicker['smoothed_flicker']} and names "
        f"{estimate(sequences, 'smoothed_accuracy')} of frames right. Frames of one person or sequence resemble each other, so no interval "
        f"here counts frames as independent."
    ]


def subjects_sentence(scores: Mapping[str, Any], subjects: Mapping[str, Any] | None) -> str:
    """Say how much wider the interval is once faces of one person count as related."""
    if subjects is None:
        return "The faces of this set name no subjects; its intervals take every face as drawn by itself."
    over_faces = scores["accuracy_ci_high"] - scores["accuracy_ci_low"]
    over_subjects = subjects["accuracy_ci_high"] - subjects["accuracy_ci_low"]
    low, high = (number(subjects[f"accuracy_ci_{side}"], percent=True) for side in ("low", "high"))
    few = " Fewer than 20 subjects: a rough interval." if subjects["subjects"] < 20 else ""
    ratio = f", {over_subjects / over_faces:.1f} times as wide" if over_faces > 0 else ""
    return (
        f"Counted by subject ({subjects['subjects']}) instead of by face, the interval of the test accuracy is [{low}, {high}] %{ratio}.{few}"
    )


def runs_sentence(runs: pd.DataFrame, datasets: Mapping[str, str]) -> str:
    """Say the best run of each set by test accuracy.

    Args:
        runs: From `table_of_runs`.
        datasets: Set -> dataset.
    """
    told = []
    for name, rows in runs.groupby("set", sort=False):
        top = rows[rows["test.accuracy"] == rows["test.accuracy"].max()]
        best = top.iloc[0]
        value = estimate({key.removeprefix("test."): best[key] for key in best.index if str(key).startswith("test.")}, "accuracy")
        faces = (control_name(datasets[str(name)]) or datasets[str(name)]).replace("control faces, drawn", "control faces")
        what = f"Highest test accuracy among {len(rows)} runs" if len(rows) > 1 else "Test accuracy of the one run"
        told.append(f"{what} on {name} ({faces}): {listed(top['run'])}, {value}.")
    if len(runs) > len(told):
        told.append("Choosing a run by this number would be selecting on test.")
    return " ".join(told)


def hardest_sentence(per_class: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Say for each run which expression has the lowest F1."""
    known = {run: {name: v["f1"] for name, v in scores.items() if v["f1"] is not None} for run, scores in per_class.items()}
    return f"Lowest F1 on test per run: {', '.join(f'{run}: {_lowest(values)}' for run, values in known.items())}."


def _lowest(values: Mapping[str, float]) -> str:
    if not values:
        return "undefined"
    least = min(values.values())
    names = [name for name in values if values[name] == least]
    return f"{'all alike' if 1 < len(names) == len(values) else listed(names)} ({percent(least)})"


def ensembles_sentence(votes: Mapping[str, Mapping[str, Mapping[str, Any]]], pairs: pd.DataFrame) -> str:
    """Say what the soft votes of each set give over its members, and fitted weights over equal ones.

    Args:
        votes: From `score_ensembles`.
        pairs: From `compare_ensembles`.
    """
    if not votes:
        return "No set has two runs: nothing to vote."
    told = []
    for name, kinds in votes.items():
        of_set = pairs[pairs["set"] == name]
        told += [_vote_sentence(name, kind, scores, pairs=of_set[of_set["run_a"] == kind]) for kind, scores in kinds.items()]
    return " ".join(told)


def _vote_sentence(name: str, kind: str, scores: Mapping[str, Any], *, pairs: pd.DataFrame) -> str:
    equal = pairs[pairs["run_b"] == "ensemble"]  # the one that fitted weights are set against
    against = pairs.drop(index=equal.index)
    gains = " to ".join(dict.fromkeys(number(gain, percent=True) for gain in (against["difference"].min(), against["difference"].max())))
    beaten = int(((against["p_holm"] < 0.05) & (against["difference"] > 0)).sum())
    told = (
        f"On {name} the {kind} of {len(against)} runs reaches {estimate(scores['test'], 'accuracy')} on test, {gains} points from its members; "
        f"it beats {beaten} of them at the 5 % level after Holm's correction."
    )
    if equal.empty:
        return told
    row = equal.iloc[0]
    return (
        f"{told} Fitted weights against equal ones: {number(row['difference'], percent=True)} points "
        f"[{number(row['ci_low'], percent=True)}, {number(row['ci_high'], percent=True)}], Holm p {p_equals(row['p_holm'])}; its numbers on val are "
        f"those the weights were fitted on."
    )


def family_sentence(pairs: pd.DataFrame, *, named: bool) -> str:
    """Say which tests Holm's correction counts together.

    Args:
        pairs: From `compare_within_sets`.
        named: Whether params or factors named them.
    """
    counts = " and ".join(f"{n} on {name}" for name, n in pairs.groupby("set", sort=False).size().items())
    if named:
        return f"Holm's correction counts the contrasts that params name: {counts}."
    return f"Params name no contrasts (`compare.contrasts`, `runs.<run>.factors`), so Holm's correction counts all pairs: {counts}."


def pairs_sentence(pairs: pd.DataFrame, *, named: bool = False) -> str:
    """Say which pairs are tested, how many differ beyond luck after Holm's correction, and which differs most.

    Args:
        pairs: From `compare_within_sets`.
        named: Whether params or factors named them; else they are all pairs.
    """
    if pairs.empty:
        return "No contrast names two runs of one set." if named else "Fewer than two runs share a set: no pair to compare."
    found = pairs[pairs["p_holm"] < 0.05]
    head = f"{family_sentence(pairs, named=named)} {len(found)} of {len(pairs)} pairs differ at the 5 % level after it."
    row = pairs.loc[pairs["difference"].abs().idxmax()]
    if row["difference"] == 0:
        return f"{head} No two runs differ in accuracy."
    tested = "p_exact" if row.get("p_subjects", float("nan")) != row.get("p_subjects", float("nan")) else "p_subjects"
    by = "" if tested == "p_exact" else " by subject"
    size = number(row["detectable"], percent=True)
    first, second = (row["run_a"], row["run_b"]) if row["difference"] >= 0 else (row["run_b"], row["run_a"])
    return (
        f"{head} The widest gap: {first} over {second} by {number(abs(row['difference']), percent=True)} points "
        f"on {row['n']:,} faces (p{by} {p_equals(row[tested])}, Holm {p_equals(row['p_holm'])})"
        + ("." if size == MISSING else f"; the corrected test of this pair finds {size} points in 80 % of cases.")
    )


def seeds_sentence(spread: pd.DataFrame) -> str:
    """Say how far seeds of one recipe lie apart on test."""
    several = spread[spread["seeds"] > 1]
    if several.empty:
        return "Every group has one seed: nothing is known of how far another seed would land."
    row = several.loc[several["test.accuracy_sd"].idxmax()]
    return (
        f"{len(several)} of {len(spread)} groups have more than one seed. The widest spread is that of {row['group']}: "
        f"{number(row['test.accuracy_mean'], percent=True)} ± {percent(row['test.accuracy_sd'])} over {row['seeds']} seeds."
    )
