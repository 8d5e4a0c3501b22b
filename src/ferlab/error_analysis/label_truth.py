"""What is known of wrong labels, and how many of them each ranking of doubtful labels holds among its first.

| truth | known where | a label is wrong if |
|---|---|---|
| planted | always: control faces | another class was planted |
| recorded | control faces with `label_noise` | it differs from `true_target` |
| raters | votes | one expression has most votes, and it is another |

The raters' first choice is no truth; beside its base rate it is a measure that real faces have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ferlab.error_analysis.label_issues import label_quality, raters_choice, vote_columns
from ferlab.error_analysis.planted import is_control
from ferlab.error_analysis.rankings import doubt_scores, precision_at
from ferlab.evaluation.predictions import expressions_of

PLANTED, RECORDED, RATERS = "planted", "recorded", "raters"


def measured(checked: pd.DataFrame, faces: pd.DataFrame, planted: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the precision of the rankings by the name of the truth, see `precision_at`, with `n`, the labels that are ranked.

    Args:
        checked: Cross-validated predictions with `self_influence`, see `ferlab.error_analysis.analyzed`.
        faces: The face table of their rows, in the same order.
        planted: From `plant`.
    """
    tables = {PLANTED: _precision(planted["label_quality"], planted["self_influence"], (planted["target"] != planted["true_target"]).to_numpy())}
    quality = label_quality(checked)
    for name, (known, wrong) in known_truths(faces, expressions_of(checked)).items():
        if wrong[known].any():
            tables[name] = _precision(quality[known], checked["self_influence"][known], wrong[known])
    return tables


def known_truths(faces: pd.DataFrame, expressions: Sequence[str]) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Return by name of the truth for which labels it is known, and which are wrong, bool (N,) each."""
    truths = {}
    if "true_target" in faces:
        truths[RECORDED] = (faces["true_target"].notna().to_numpy(), (faces["true_target"] != faces["target"]).to_numpy())
    if vote_columns(faces):
        choice, share = raters_choice(faces)
        truths[RATERS] = ((choice != "tie") & np.isfinite(share), choice != np.array(expressions, dtype=object)[faces["target"]])
    return truths


def labels_are_true(faces: pd.DataFrame) -> bool:
    """Return whether every label is known to be right: control faces without label noise."""
    return is_control(faces) and "true_target" not in faces


def _precision(quality: pd.Series | np.ndarray, influence: pd.Series | np.ndarray, wrong: np.ndarray) -> pd.DataFrame:
    return precision_at(doubt_scores(np.asarray(quality), np.asarray(influence)), wrong).assign(n=len(wrong))
