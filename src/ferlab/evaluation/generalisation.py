"""The generalisation gap: the scores of a model on the faces that it was trained on, beside those on val and test. Without torch.

All splits are scored without test-time augmentation, and train without the augmentation of training. Train and test are different faces, so the
interval of their difference combines the intervals of both (Newcombe's for accuracies over faces).

References:
    Newcombe (1998), Interval estimation for the difference between independent proportions: comparison of eleven methods.
    Zou & Donner (2008), Construction of confidence limits about effect measures: a general approach.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.calibration import log_losses
from ferlab.evaluation.clusters import cluster_proportion, mean_bounds
from ferlab.evaluation.deduplicated import mark_duplicates, split_rows
from ferlab.evaluation.intervals import named_bounds
from ferlab.evaluation.predictions import PROB_PREFIX, expressions_of, predictions_table, probs_of, subjects_of

KEYS = ("accuracy", "nll")


def score_generalisation(train: pd.DataFrame, predictions: pd.DataFrame, faces: pd.DataFrame) -> dict[str, Any]:
    """Return the scores of train, val, test and test_dedup, and the gap between train and the last.

    Args:
        train: Predictions on train.
        predictions: Predictions on val and test, of the same passes of the model.
        faces: The face table of the prepared dataset, with `duplicate_group`.

    Returns:
        Per split `n, accuracy, nll` with 95 % bounds; `gap`: both as train minus `judged`, with bounds: "test_dedup", or "test" where every
        test face has a duplicate; `over`: "subjects" where the faces of every split name them, else "faces". A split without faces is missing.
    """
    splits = {"train": train, **split_rows(predictions, mark_duplicates(predictions, faces))}
    splits = {name: rows for name, rows in splits.items() if len(rows)}
    over = "subjects" if all(subjects_of(rows) is not None for rows in splits.values()) else "faces"
    scores = {name: _scores(rows, over=over) for name, rows in splits.items()}
    judged = "test_dedup" if "test_dedup" in scores else "test"
    return {**scores, "gap": _gap(scores["train"], scores[judged]), "judged": judged, "over": over}


def with_probs(predictions: pd.DataFrame, probs: np.ndarray) -> pd.DataFrame:
    """Return a predictions table of the same faces with other probabilities, (N, K); its other columns are kept."""
    same = (predictions[column] for column in ("face_id", "split", "target"))
    table = predictions_table(*same, probs=probs, expressions=expressions_of(predictions))
    more = [c for c in predictions if c not in table and not str(c).startswith(PROB_PREFIX)]
    return table.assign(**{str(column): predictions[column].to_numpy() for column in more})


def _scores(rows: pd.DataFrame, *, over: str) -> dict[str, float]:
    hits = (rows["pred"] == rows["target"]).to_numpy()
    losses = log_losses(rows["target"].to_numpy(), probs_of(rows))
    clusters = subjects_of(rows) if over == "subjects" else np.arange(len(rows))
    bounds = named_bounds({"accuracy": cluster_proportion(hits, clusters), "nll": mean_bounds(losses, clusters, least=0.0)})
    return {"n": len(rows), "accuracy": float(hits.mean()), "nll": float(losses.mean()), **bounds}


def _gap(train: Mapping[str, float], test: Mapping[str, float]) -> dict[str, float]:
    return {name: value for key in KEYS for name, value in difference_of(train, test, key).items()}


def difference_of(first: Mapping[str, float], second: Mapping[str, float], key: str) -> dict[str, float]:
    """Return `key` of the first sample minus that of an independent second one, with the 95 % bounds that follow from those of both."""
    difference = first[key] - second[key]
    below = np.hypot(first[key] - first[f"{key}_ci_low"], second[f"{key}_ci_high"] - second[key])
    above = np.hypot(first[f"{key}_ci_high"] - first[key], second[key] - second[f"{key}_ci_low"])
    return {key: difference, f"{key}_ci_low": float(difference - below), f"{key}_ci_high": float(difference + above)}
