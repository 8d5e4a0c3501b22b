"""Faces that are frames of a video: one answer per sequence, steadier answers per frame, and how often the named expression changes.

Owns what is made of frames that were scored one by one; cutting a video into frames is the deployment's business. Without torch.

References:
    resemotenet: "individual frames were extracted and preprocessed in a similar manner to still images and predictions averaged across the
    frames to determine the overall emotion".
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.predictions import PROB_PREFIX, expressions_of, predictions_table, subjects_of
from ferlab.evaluation.proportions import wilson
from ferlab.paths import InputError

ALPHA = 0.3  # weight of the newest frame: half of an answer comes from the last two frames


def average_frames(predictions: pd.DataFrame, faces: pd.DataFrame, *, by: str = "sequence") -> pd.DataFrame:
    """Return the predictions table of whole sequences: the mean probabilities of their frames.

    Args:
        predictions: Predictions rows of one split, frame by frame.
        faces: The set's face table.
        by: Its column that names the sequence; faces that have none are left out.

    Returns:
        One row per sequence, in the order of their first frames: `face_id` (the sequence's name), `split`, `target` (that of the last
        frame: a sequence from neutral to apex is named by its apex), `pred`, `prob_<expression>...`; and `frames`, how many there were.

    Raises:
        InputError: If no face is in a sequence, or a sequence is in several splits.
    """
    frames = frames_in_order(predictions, faces, by=by)
    grouped = frames.groupby(by, sort=False)
    if (grouped["split"].nunique() > 1).any():
        name = str((grouped["split"].nunique() > 1).idxmax())
        raise InputError(f"sequence {name} has frames in several splits; average the frames of one split at a time")
    rows, probs = grouped.last(), grouped[_columns(frames)].mean()
    table = predictions_table(
        list(rows.index), rows["split"], rows["target"].to_numpy(), probs=probs.to_numpy(), expressions=expressions_of(predictions)
    )
    return table.assign(frames=grouped.size().to_numpy())


def smooth_frames(
    predictions: pd.DataFrame, faces: pd.DataFrame, *, by: str = "sequence", alpha: float = ALPHA, window: int = 0
) -> pd.DataFrame:
    """Return predictions per frame that look at the frames before it, as a live display can: steadier, and later.

    Args:
        predictions: Predictions rows, frame by frame.
        faces: The set's face table.
        by: Its column that names the sequence; no answer looks beyond its own sequence.
        alpha: Weight of the newest frame in an exponential moving average, 0 to 1, that starts with the first frame.
        window: A plain moving average over so many frames instead (fewer at the start); 0: none.

    Returns:
        The predictions table of the frames, in the order of their sequences.

    Raises:
        InputError: If no face is in a sequence, or alpha or window are out of range.
    """
    if window < 0 or not 0 < alpha <= 1:
        raise InputError(f"smoothing frames: expected alpha above 0 and up to 1 and a window of 0 or more, got alpha {alpha} and window {window}")
    frames = frames_in_order(predictions, faces, by=by).reset_index(drop=True)
    grouped = frames.groupby(by, sort=False)[_columns(frames)]
    moving = grouped.rolling(window, min_periods=1).mean() if window else grouped.ewm(alpha=alpha, adjust=False).mean()
    probs = moving.droplevel(0).sort_index().to_numpy().clip(0, 1)
    targets = frames["target"].to_numpy()
    return predictions_table(frames["face_id"], frames["split"], targets, probs=probs, expressions=expressions_of(predictions))


def flicker_rate(preds: np.ndarray, sequences: np.ndarray) -> float:
    """Return the share of consecutive frames of one sequence whose named expression differs; NaN where no sequence has two frames.

    Args:
        preds: (N,) int, in the order of the frames, sequence after sequence.
        sequences: (N,) the sequence of each frame.

    >>> flicker_rate(np.array([0, 0, 1, 2, 2]), np.array(["a", "a", "a", "b", "b"]))
    0.3333333333333333
    """
    together = sequences[1:] == sequences[:-1]
    return float((preds[1:] != preds[:-1])[together].mean()) if together.any() else float("nan")


def score_sequences(rows: pd.DataFrame, faces: pd.DataFrame, *, by: str = "sequence") -> dict[str, Any] | None:
    """Return how sequences fare against their frames, or None where no face is in a sequence.

    Args:
        rows: Predictions rows of one split.
        faces: The set's face table, with or without `sequence`.
        by: The column that names the sequence.

    Returns:
        `sequences` and `frames` (how many), `mixed` (sequences whose frames have several targets), `accuracy` of sequences, `frame_accuracy`
        and `smoothed_accuracy` of frames, each with 95 % bounds, `flicker` and `smoothed_flicker`, and `alpha`. Bounds are over subjects where
        faces name two or more; without subjects, those of frames are over sequences, and NaN for a single one.
    """
    if by not in faces or faces.set_index("face_id")[by].reindex(rows["face_id"]).isna().all():
        return None
    frames = frames_in_order(rows, faces, by=by)
    whole, smoothed, names = average_frames(rows, faces, by=by), smooth_frames(rows, faces, by=by), frames[by].to_numpy()
    persons = subjects_of(faces.set_index("face_id").reindex(frames["face_id"]))
    related = names if persons is None else persons
    first = ~frames[by].duplicated().to_numpy()
    return {
        "sequences": len(whole),
        "frames": len(frames),
        "mixed": int((frames.groupby(by)["target"].nunique() > 1).sum()),
        **_share("accuracy", whole, None if persons is None else persons[first]),
        **_share("frame_accuracy", frames, related),
        **_share("smoothed_accuracy", smoothed, related),
        "flicker": flicker_rate(frames["pred"].to_numpy(), names),
        "smoothed_flicker": flicker_rate(smoothed["pred"].to_numpy(), names),
        "alpha": ALPHA,
    }


def frames_in_order(predictions: pd.DataFrame, faces: pd.DataFrame, *, by: str = "sequence") -> pd.DataFrame:
    """Return the predictions of faces in sequences with the column `by`: sequence after sequence, each in the order of `frame`.

    Sequences stand in the order of their first rows; without a column `frame`, frames keep the order of the rows.

    Raises:
        InputError: If no face is in a sequence.
    """
    known = faces.set_index("face_id").reindex(predictions["face_id"])
    if by not in known or known[by].isna().all():
        raise InputError(f"no face has a {by}; expected a set whose reader names sequences (control faces with `frames`, CK+)")
    number = known["frame"].to_numpy(dtype=np.float64, na_value=np.nan) if "frame" in known else np.zeros(len(known))
    frames = predictions.assign(**{by: known[by].to_numpy(), "_frame": number}).dropna(subset=by)
    frames["_first"] = pd.factorize(frames[by])[0]
    return frames.sort_values(["_first", "_frame"], kind="stable").drop(columns=["_first", "_frame"])


def _columns(frames: pd.DataFrame) -> list[str]:
    return [str(c) for c in frames if str(c).startswith(PROB_PREFIX)]


def _share(key: str, rows: pd.DataFrame, clusters: np.ndarray | None) -> dict[str, float]:
    """Return the share of right rows with its 95 % bounds: over clusters, Wilson's where there are none."""
    right = (rows["pred"] == rows["target"]).to_numpy()
    low, high = wilson(int(right.sum()), len(right)) if clusters is None else cluster_proportion(right, clusters)
    return {key: float(right.mean()), f"{key}_ci_low": low, f"{key}_ci_high": high}
