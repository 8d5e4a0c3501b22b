"""Faces that are frames of sequences: accuracy of whole sequences, of smoothed frames, and flicker. Without torch.

References:
    resemotenet: "individual frames were extracted and preprocessed in a similar manner to still images and predictions averaged across the
    frames to determine the overall emotion".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.clusters import cluster_proportion, proportion_bounds
from ferlab.evaluation.intervals import named_bounds
from ferlab.evaluation.predictions import PROB_PREFIX, subjects_of

ALPHA = 0.3  # weight of the newest frame: the last two frames carry half of a prediction


def score_sequences(rows: pd.DataFrame, faces: pd.DataFrame) -> dict[str, Any] | None:
    """Return the scores of sequences and of their frames, or None where no face is in a sequence; `rows` of one split.

    Returns:
        `sequences` and `frames` (how many), `mixed` (sequences whose frames have several targets), `accuracy` of sequences (mean probabilities
        against the target of the last frame, the apex), `frame_accuracy` and `smoothed_accuracy` of frames, each with 95 % bounds, `flicker` and
        `smoothed_flicker`, and `alpha`. Bounds are over subjects where faces name two or more; without subjects, those of frames are over
        sequences, and NaN for a single one.
    """
    frames = frames_in_order(rows, faces)
    if frames.empty:
        return None
    sequences, names = frames.groupby("sequence", sort=False), frames["sequence"].to_numpy()
    targets, preds, smoothed = frames["target"].to_numpy(), frames["pred"].to_numpy(), smooth_frames(frames).argmax(axis=1)
    correct = average_frames(frames).to_numpy().argmax(axis=1) == sequences["target"].last().to_numpy()
    persons = subjects_of(faces.set_index("face_id").reindex(frames["face_id"]))
    related, first = names if persons is None else persons, ~frames["sequence"].duplicated().to_numpy()
    of_sequences = proportion_bounds(correct, persons, rows=first)
    bounds = {"accuracy": of_sequences, "frame_accuracy": cluster_proportion(preds == targets, related)}
    return {
        "sequences": len(correct),
        "frames": len(frames),
        "mixed": int((sequences["target"].nunique() > 1).sum()),
        "accuracy": float(correct.mean()),
        "frame_accuracy": float((preds == targets).mean()),
        "smoothed_accuracy": float((smoothed == targets).mean()),
        **named_bounds(bounds | {"smoothed_accuracy": cluster_proportion(smoothed == targets, related)}),
        "flicker": flicker_rate(preds, names),
        "smoothed_flicker": flicker_rate(smoothed, names),
        "alpha": ALPHA,
    }


def frames_in_order(rows: pd.DataFrame, faces: pd.DataFrame) -> pd.DataFrame:
    """Return the predictions rows of faces in sequences with their `sequence`, ordered by its first row, then by `frame` where there is one."""
    known = faces.set_index("face_id").reindex(index=rows["face_id"], columns=["sequence", "frame"])
    frames = rows.assign(sequence=known["sequence"].to_numpy(), frame=known["frame"].to_numpy(np.float64, na_value=np.nan)).dropna(subset="sequence")
    order = frames.assign(first=pd.factorize(frames["sequence"])[0]).sort_values(["first", "frame"], kind="stable").index
    return frames.loc[order].reset_index(drop=True)


def average_frames(frames: pd.DataFrame) -> pd.DataFrame:
    """Return the mean probabilities of each sequence; `frames` from `frames_in_order`."""
    return frames.groupby("sequence", sort=False)[_columns(frames)].mean()


def smooth_frames(frames: pd.DataFrame, *, alpha: float = ALPHA) -> np.ndarray:
    """Return probabilities per frame, (N, K): an exponential moving average that starts with the first frame of each sequence."""
    moving = frames.groupby("sequence", sort=False)[_columns(frames)].ewm(alpha=alpha, adjust=False).mean()
    return moving.droplevel(0).sort_index().to_numpy()


def flicker_rate(preds: np.ndarray, sequences: np.ndarray) -> float:
    """Return the fraction of consecutive frames (N,) of one sequence whose predictions differ; NaN where no sequence has two frames.

    >>> flicker_rate(np.array([0, 0, 1, 2, 2]), np.array(["a", "a", "a", "b", "b"]))
    0.3333333333333333
    """
    together = sequences[1:] == sequences[:-1]
    return float((preds[1:] != preds[:-1])[together].mean()) if together.any() else float("nan")


def _columns(frames: pd.DataFrame) -> list[str]:
    return [str(column) for column in frames if str(column).startswith(PROB_PREFIX)]
