"""Soft targets from FER+ votes, several labels, and regressed values; a model with values returns logits (N, K), then R columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ferlab.data.faces import value_of
from ferlab.data.readers.ferplus import mixed_targets
from ferlab.paths import InputError

# The range of each value in the face table; models are trained on [-1, 1], so that one weight in the loss serves all.
VALUES = {"valence": (-1.0, 1.0), "arousal": (-1.0, 1.0), "intensity": (0.0, 5.0), "vote_share": (0.0, 1.0)}


def wanted_targets(
    faces: pd.DataFrame, *, expressions: tuple[str, ...], loss: str, ferplus_weight: float, regress: Sequence[str]
) -> np.ndarray | None:
    """Return the soft targets of faces and the values to regress; None where column `target` suffices.

    Args:
        faces: Face table of N rows.
        expressions: The K classes, in the order of `target`.
        loss: For "multi_label" every expression that FER+'s rule multi_target selects is 1, instead of its proportion of the votes.
        ferplus_weight: Of the votes against the label, 0 to 1.
        regress: Keys of VALUES.

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
    return np.concatenate([wanted, scaled_values(faces, regress, expressions=expressions)], axis=1)


def scaled_values(faces: pd.DataFrame, regress: Sequence[str], *, expressions: Sequence[str]) -> np.ndarray:
    """Return the values (see `ferlab.data.faces.value_of`) scaled from their range to [-1, 1], float32 (N, R), NaN where unknown.

    Raises:
        InputError: If the dataset lacks one, or all faces of a split do, on which it could not be scored.
    """
    columns = []
    for name in regress:
        known = value_of(faces, name, expressions=expressions)
        if np.isnan(known).all():
            have = {"vote_share": "FER2013 with FER+ votes", "intensity": "control faces, JAFFE"}.get(name, "control faces, AffectNet")
            raise InputError(f"train.regress: the dataset has no {name!r}; drop it, or choose a dataset that has it ({have})")
        if "split" in faces and (without := sorted(set(faces["split"]) - set(faces["split"][~np.isnan(known)]))):
            raise InputError(f"train.regress: no face of {' and '.join(without)} has a {name!r}; drop it, or split so that each part has some")
        low, high = VALUES[name]
        columns.append((known - (low + high) / 2) / ((high - low) / 2))
    return np.stack(columns, axis=1).astype(np.float32) if columns else np.empty((len(faces), 0), np.float32)
