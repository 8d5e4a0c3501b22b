"""Soft targets from FER+ votes, several labels, and regressed values; a model with values returns logits (N, K), then R columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ferlab.data.readers.ferplus import mixed_targets
from ferlab.paths import InputError

# The range of each value in the face table; models are trained on [-1, 1], so that one weight in the loss serves all.
VALUES = {"valence": (-1.0, 1.0), "arousal": (-1.0, 1.0), "intensity": (0.0, 5.0)}


def wanted_targets(
    faces: pd.DataFrame, *, expressions: tuple[str, ...], loss: str, ferplus_weight: float, regress: Sequence[str]
) -> np.ndarray | None:
    """Return the soft targets of faces and the values to regress; None where column `target` suffices.

    Args:
        faces: Face table of N rows.
        expressions: The K classes, in the order of `target`.
        loss: For "multi_label" every expression that FER+'s rule multi_target selects is 1, instead of its proportion of the votes.
        ferplus_weight: Of the votes against the label, 0 to 1.
        regress: Columns of the face table, keys of VALUES.

    Returns:
        float32 (N, K + R): soft targets, then `scaled_values`.

    Raises:
        InputError: If the dataset lacks the votes or a value.
    """
    if not ferplus_weight and not regress:
        return None
    if ferplus_weight:
        wanted = mixed_targets(faces, weight=ferplus_weight, expressions=expressions, several=loss == "multi_label")
    else:
        wanted = np.eye(len(expressions), dtype=np.float32)[faces["target"].to_numpy()]
    return np.concatenate([wanted, scaled_values(faces, regress)], axis=1)


def scaled_values(faces: pd.DataFrame, regress: Sequence[str]) -> np.ndarray:
    """Return the values scaled from their range to [-1, 1], float32 (N, R), NaN where unknown.

    Raises:
        InputError: If the dataset lacks one.
    """
    columns = []
    for name in regress:
        if name not in faces or faces[name].isna().all():
            raise InputError(f"train.regress: the dataset has no {name!r}; drop it, or choose a dataset that has it (control faces, AffectNet)")
        low, high = VALUES[name]
        columns.append((faces[name].to_numpy(dtype=np.float32) - (low + high) / 2) / ((high - low) / 2))
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.empty((len(faces), 0), np.float32)
