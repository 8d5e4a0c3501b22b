"""Faces that fit what is fitted after training, and faces that judge it: val and test without duplicates of what the model has seen.

Scalings and conformal quantiles are fitted on val, which a run was selected on and not trained on, and judged on test. A face with an exact,
mirrored or near-duplicate among those trained on is not held out: its confidence is that of a memorised face. Test faces that have one in val
would judge what they fitted. A run that was also trained on val has no held-out split and fits nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ferlab.data.faces import has_duplicate_in
from ferlab.evaluation.predictions import subjects_of
from ferlab.roles import Exposure

TRAINED = "no split is held out, as the model was also trained on val"
NONE_LEFT = {"val": "every val face has a duplicate among those trained on", "test": "every test face has a duplicate in train or val"}


@dataclass(frozen=True)
class HeldOut:
    """See the module.

    Attributes:
        fitting: Val rows without duplicates in train, in the order of their ids; empty where the model was trained on val.
        judging: Test rows without duplicates in train or val, in the order of their ids; where every one has a duplicate, all of them.
        judged: Which of the two they are, "test_dedup" or "test".
        units: What intervals on `judging` are over, (N,) str: subjects where faces name two or more, else faces.
        by_subject: Whether they are subjects.
        reason: Why nothing is fitted and judged; "" where both have faces.
    """

    fitting: pd.DataFrame
    judging: pd.DataFrame
    judged: str
    units: np.ndarray
    by_subject: bool
    reason: str


def hold_out(predictions: pd.DataFrame, faces: pd.DataFrame, seen: Exposure) -> HeldOut:
    """Return the faces that fit and those that judge.

    Args:
        predictions: Predictions on val and test.
        faces: The face table of their prepared dataset, with `split` and `duplicate_group`.
        seen: What each split was to the model.
    """
    known = faces.set_index("face_id")
    parts = {}
    for split, before in {"val": ("train",), "test": ("train", "val")}.items():
        duplicate = pd.Series(has_duplicate_in(faces, before), index=known.index)
        # Keep: ordered by id, so that draws, folds and their results do not depend on the order of the rows.
        rows = predictions[predictions["split"] == split].sort_values("face_id").reset_index(drop=True)
        parts[split] = (rows, rows[~duplicate[rows["face_id"]].to_numpy(dtype=bool)].reset_index(drop=True))
    (_, val), (every, test) = parts.values()
    trained = seen.role("val") == "trained"
    reason = NONE_LEFT["test"] if test.empty else TRAINED if trained else NONE_LEFT["val"] if val.empty else ""
    judging, judged = (every, "test") if test.empty else (test, "test_dedup")
    subjects = subjects_of(known.loc[judging["face_id"]])
    units = judging["face_id"].to_numpy(dtype=str) if subjects is None else subjects
    return HeldOut(val.iloc[:0] if trained else val, judging, judged, units=units, by_subject=subjects is not None, reason=reason)
