"""What `reports/metrics/evaluate/<run>.json` says: metrics and bounds of val, test and deduplicated test, and the short summary that DVC lists.

Where faces name two or more subjects, bounds are for new subjects, but for those of `clusters.OVER_FACES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.calibration import classwise_errors
from ferlab.evaluation.calibration_scores import score_calibration
from ferlab.evaluation.clusters import intervals_over, proportion_bounds
from ferlab.evaluation.confusion_posterior import KEYS
from ferlab.evaluation.deduplicated import accuracy_at_mix, compare_duplicates, mark_duplicates, split_rows
from ferlab.evaluation.intervals import RESAMPLES
from ferlab.evaluation.metrics import compute_metrics
from ferlab.evaluation.predictions import expressions_of, faces_in, probs_of, subjects_of
from ferlab.evaluation.ranks import score_ranks

BY_SUBJECT = ("accuracy", "top3_accuracy", "nll", *KEYS)  # that `subjects_by_split` repeats
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
    known = faces.set_index("face_id")
    scores = {
        name: score_split(rows, subjects=subjects_of(known.loc[rows["face_id"]]), resamples=resamples, seed=seed) if len(rows) else None
        for name, rows in splits.items()
    }
    if scores["test_dedup"]:
        scores["test_dedup"] |= accuracy_at_mix(splits["test_dedup"], marked["target"])
    return {**scores, "duplicates": compare_duplicates(marked), "n": {name: len(rows) for name, rows in splits.items()}}


def score_split(rows: pd.DataFrame, *, subjects: np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Any]:
    """Return the metrics of the faces of one split with their 95 % bounds, `<key>` beside `<key>_ci_low` and `<key>_ci_high`.

    Args:
        rows: Predictions rows.
        subjects: (N,) the subject of each face, two or more; None: bounds are over faces.
        resamples: Random draws behind the bounds.
        seed: Of the draws.

    Returns:
        The keys of `ferlab.evaluation.metrics` and of `intervals_over`, `score_calibration` and `score_ranks`, flat; `per_class: {expression:
        {...}}`.
    """
    targets, probs, expressions = rows["target"].to_numpy(), probs_of(rows), expressions_of(rows)
    metrics = compute_metrics(targets, probs, expressions=expressions)
    bounds = intervals_over(targets, probs, subjects, expressions=expressions, resamples=resamples, seed=seed)
    ranks = score_ranks(targets, probs, expressions=expressions, subjects=subjects)
    calibrated = score_calibration(targets, probs, subjects=subjects, resamples=resamples, seed=seed)
    classwise = classwise_errors(targets, probs).tolist()
    per_class = {
        name: {**metrics["per_class"][name], **bounds["per_class"][name], **ranks["per_class"][name], "ece": error}
        for name, error in zip(expressions, classwise, strict=True)
    }
    return {**metrics, **bounds, **calibrated, **ranks, "per_class": per_class}


def score_tta(predictions: pd.DataFrame, by_tta: Mapping[str, np.ndarray]) -> dict[str, dict[str, dict[str, float]]]:
    """Return `{tta_<name>: {val, test}}` of each test-time augmentation.

    Args:
        predictions: The run's predictions table; bounds are over its subjects where it names them.
        by_tta: "none", the chosen one and those within it, each (N, K) for the same rows.
    """
    chosen = {split: (predictions["split"] == split).to_numpy() for split in ("val", "test")}
    return {
        f"tta_{tta}": {split: score_probs(predictions[rows], probs[rows]) for split, rows in chosen.items()} for tta, probs in by_tta.items()
    }


def score_probs(rows: pd.DataFrame, probs: np.ndarray) -> dict[str, float]:
    """Return accuracy with its bounds, and NLL, of other probabilities of the same faces.

    Args:
        rows: Predictions rows (for the targets and subjects).
        probs: (N, K) of another test-time augmentation.
    """
    targets = rows["target"].to_numpy()
    metrics = compute_metrics(targets, probs, expressions=expressions_of(rows))
    low, high = proportion_bounds(probs.argmax(axis=1) == targets, subjects_of(rows))
    kept = {key: metrics[key] for key in ("accuracy", "balanced_accuracy", "macro_f1", "nll", "ece")}
    return {**kept, "accuracy_ci_low": low, "accuracy_ci_high": high}


def subjects_by_split(scores: Mapping[str, Any]) -> dict[str, dict[str, float] | None]:
    """Return the bounds of val, test and test_dedup that are over subjects, with `subjects` and `effective_faces`; None for a split without.

    Args:
        scores: From `score_run`.
    """
    keys = ("subjects", "effective_faces", *(f"{key}_ci_{side}" for key in BY_SUBJECT for side in ("low", "high")))
    return {split: {key: of[key] for key in keys} if (of := scores[split]) and "subjects" in of else None for split in SPLITS}


def summarise(scores: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the few numbers that `dvc metrics show` and `dvc exp show` list."""
    return {split: {key: scores[split][key] for key in SUMMARY} for split in SPLITS if scores[split]}
