"""What `reports/metrics/evaluate/<run>.json` says: metrics and bounds of val, test and deduplicated test, and the short summary that DVC lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.calibration import brier, calibration_error, ece_if_calibrated, reliability_bins
from ferlab.evaluation.clusters import cluster_intervals
from ferlab.evaluation.deduplicated import accuracy_at_mix, compare_duplicates, mark_duplicates, split_rows
from ferlab.evaluation.intervals import RESAMPLES, metric_intervals
from ferlab.evaluation.metrics import compute_metrics
from ferlab.evaluation.predictions import expressions_of, faces_in, probs_of
from ferlab.evaluation.proportions import wilson

SPLITS = ("val", "test", "test_dedup")
SUMMARY = ("accuracy", "accuracy_ci_low", "accuracy_ci_high", "balanced_accuracy", "macro_f1", "nll", "ece")


def score_run(predictions: pd.DataFrame, faces: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Return everything a run's metrics file says of its predictions.

    Args:
        predictions: Predictions on val and test.
        faces: The face table of its prepared dataset, with `duplicate_group`.
        resamples: Random draws behind the bounds.
        seed: Of the draws.

    Returns:
        `val`, `test`, `test_dedup` (each as `score_split` gives it, `test_dedup` with `accuracy_at_test_mix` too), `duplicates` (as
        `compare_duplicates`) and `n` (faces of each). `test_dedup` is None where every test face has a duplicate.
    """
    marked = mark_duplicates(predictions, faces)
    splits = split_rows(predictions, marked) | {"val": faces_in(predictions, "val")}
    scores = {name: score_split(rows, resamples=resamples, seed=seed) if len(rows) else None for name, rows in splits.items()}
    if scores["test_dedup"]:
        scores["test_dedup"] |= accuracy_at_mix(splits["test_dedup"], marked["target"])
    return {**scores, "duplicates": compare_duplicates(marked), "n": {name: len(rows) for name, rows in splits.items()}}


def score_split(rows: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Return the metrics of the faces of one split with their 95 % bounds, `<key>` beside `<key>_ci_low` and `<key>_ci_high`.

    Returns:
        The keys of `ferlab.evaluation.metrics`, `ece_equal_mass`, `ece_if_calibrated` (`_high`) and `brier`, flat; `per_class: {expression: {...}}`.
    """
    targets, probs, expressions = rows["target"].to_numpy(), probs_of(rows), expressions_of(rows)
    metrics = compute_metrics(targets, probs, expressions=expressions)
    bounds = metric_intervals(targets, probs, expressions=expressions, resamples=resamples, seed=seed)
    per_class = {name: {**metrics["per_class"][name], **bounds["per_class"][name]} for name in expressions}
    chance = ece_if_calibrated(probs, seed=seed)
    more = {
        "ece_equal_mass": calibration_error(reliability_bins(targets, probs, equal_mass=True)),
        "ece_if_calibrated": chance["mean"],
        "ece_if_calibrated_high": chance["high"],
        "brier": brier(targets, probs),
    }
    return {**metrics, **bounds, **more, "per_class": per_class}


def score_tta(predictions: pd.DataFrame, by_tta: Mapping[str, np.ndarray]) -> dict[str, dict[str, dict[str, float]]]:
    """Return `{tta_<name>: {val, test}}` of each test-time augmentation.

    Args:
        predictions: The run's predictions table.
        by_tta: "none", the chosen one and those within it, each (N, K) for the same rows.
    """
    chosen = {split: (predictions["split"] == split).to_numpy() for split in ("val", "test")}
    return {
        f"tta_{tta}": {split: score_probs(predictions[rows], probs[rows]) for split, rows in chosen.items()} for tta, probs in by_tta.items()
    }


def score_probs(rows: pd.DataFrame, probs: np.ndarray) -> dict[str, float]:
    """Return accuracy with Wilson's bounds and NLL of other probabilities of the same faces.

    Args:
        rows: Predictions rows (for the targets).
        probs: (N, K) of another test-time augmentation.
    """
    targets = rows["target"].to_numpy()
    metrics = compute_metrics(targets, probs, expressions=expressions_of(rows))
    low, high = wilson(int((probs.argmax(axis=1) == targets).sum()), len(targets))
    kept = {key: metrics[key] for key in ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")}
    return {**kept, "accuracy_ci_low": low, "accuracy_ci_high": high}


def score_subjects(rows: pd.DataFrame, faces: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, float] | None:
    """Return the bounds for people not met before (see `clusters`), or None where the faces name fewer than two.

    Args:
        rows: Predictions rows of one split.
        faces: The set's face table, with or without `subject`.
        resamples: Random draws behind the bounds.
        seed: Of the draws.
    """
    if "subject" not in faces:
        return None
    subjects = faces.set_index("face_id")["subject"].reindex(rows["face_id"])
    if subjects.isna().any() or subjects.nunique() < 2:
        return None
    return cluster_intervals(rows["target"].to_numpy(), probs_of(rows), subjects.to_numpy(), resamples=resamples, seed=seed)


def score_subjects_by_split(
    predictions: pd.DataFrame, faces: pd.DataFrame, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, float] | None]:
    """Return `score_subjects` of val, test and test_dedup; arguments as for `score_run`."""
    splits = split_rows(predictions, mark_duplicates(predictions, faces))
    return {split: score_subjects(rows, faces, resamples=resamples, seed=seed) if len(rows) else None for split, rows in splits.items()}


def summarise(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the few numbers that `dvc metrics show` and `dvc exp show` list."""
    return {split: {key: scores[split][key] for key in SUMMARY} for split in SPLITS if scores[split]}
