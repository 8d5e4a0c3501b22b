"""What a face is wanted to be called, where that is more than one expression: FER+'s votes, several expressions at once, and values.

A model that gives values beside expressions has a column more for each: logits (N, K) first, then R values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ferlab.data.readers.ferplus import mixed_targets
from ferlab.paths import InputError

# The span of each value in the face table; models learn them on a scale of about 1, so that one weight in the loss serves all.
VALUES = {"valence": (-1.0, 1.0), "arousal": (-1.0, 1.0), "intensity": (0.0, 5.0)}


def wanted_targets(
    faces: pd.DataFrame, *, expressions: tuple[str, ...], loss: str, ferplus_weight: float, regress: Sequence[str]
) -> np.ndarray | None:
    """Return what each face is trained towards, or None where its target says it all.

    Args:
        faces: Face table of N rows.
        expressions: The K classes, as `target` counts them.
        loss: "multi_label": of the votes, every expression that FER+'s rule multi_target takes is right, not the shares.
        ferplus_weight: Of the votes against the label, 0 to 1.
        regress: Columns of the face table, keys of VALUES.

    Returns:
        float32 (N, K + R): shares of the expressions, or how right each is; then the values, scaled to about 1, NaN where unknown.

    Raises:
        InputError: If votes or values are wanted that the set lacks.
    """
    if not ferplus_weight and not regress:
        return None
    if ferplus_weight:
        wanted = mixed_targets(faces, weight=ferplus_weight, expressions=expressions, several=loss == "multi_label")
    else:
        wanted = np.eye(len(expressions), dtype=np.float32)[faces["target"].to_numpy()]
    return np.concatenate([wanted, scaled_values(faces, regress)], axis=1)


def scaled_values(faces: pd.DataFrame, regress: Sequence[str]) -> np.ndarray:
    """Return the values as models learn them, float32 (N, R): the middle of their span is 0, its ends are -1 and 1.

    Raises:
        InputError: If the set lacks one, or knows it of no face.
    """
    columns = []
    for name in regress:
        if name not in faces or faces[name].isna().all():
            raise InputError(f"train.regress: the set's faces have no {name!r}; drop it, or choose a set that has it (control faces, AffectNet)")
        low, high = VALUES[name]
        columns.append((faces[name].to_numpy(dtype=np.float32) - (low + high) / 2) / ((high - low) / 2))
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.empty((len(faces), 0), np.float32)


def unscaled_values(values: np.ndarray, regress: Sequence[str]) -> np.ndarray:
    """Return values (N, R) on the scale of the face table; the inverse of `scaled_values`."""
    low, high = (np.array([VALUES[name][end] for name in regress], dtype=np.float32) for end in (0, 1))
    return values * (high - low) / 2 + (low + high) / 2
