"""The clean test split: test faces without a byte twin among the faces that fitted or selected the net.

FER2013 holds the same picture more than once, across its usages too; a net may have learnt such a face by heart. Every test accuracy
therefore has its clean twin beside it, and the difference between the two kinds of face an interval; the same for near twins, which
are the same picture with another crop, watermark or tone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.evaluation.predictions import faces_in
from ferlab.evaluation.shares import newcombe, wilson
from ferlab.paths import InputError

KINDS = ("twin", "near_twin")


def mark_twins(predictions: pd.DataFrame, twins: pd.DataFrame) -> pd.DataFrame:
    """Return the test rows with a column `twin`, the face has a byte twin in train or val, and one `near_twin`, it has any (byte twins among them).

    Args:
        predictions: A predictions table.
        twins: The set's twins table (`face_id, twin_in_train, twin_in_val, near_twin_in_train, near_twin_in_val`).

    Raises:
        InputError: If a test face is not in the twins table, or one is named there twice.
    """
    test = faces_in(predictions, "test")
    known = twins.set_index("face_id")
    if known.index.has_duplicates:
        raise InputError(f"twins: face {known.index[known.index.duplicated()][0]} is named twice; run audit again for this set")
    unknown = ~test["face_id"].isin(known.index)
    if unknown.any():
        raise InputError(f"twins: test face {test.loc[unknown, 'face_id'].iloc[0]} is not in the twins table; run audit again for this set")
    marks = {kind: known.loc[test["face_id"], [f"{kind}_in_train", f"{kind}_in_val"]].any(axis=1) for kind in KINDS}
    return test.assign(**{kind: mark.to_numpy(dtype=bool) for kind, mark in marks.items()})


def compare_twins(marked: pd.DataFrame, kind: str = "twin") -> dict[str, float | int | None]:
    """Return the accuracy of test faces with a twin minus that of test faces without: two independent groups of faces, one net.

    Args:
        marked: Test rows from `mark_twins`.
        kind: "twin" (byte) or "near_twin".

    Returns:
        `n_twins, n_clean, accuracy_twins, accuracy_clean` and their Wilson bounds, `difference, difference_ci_low, difference_ci_high`
        (Newcombe, 95 %); None where a group is empty.
    """
    correct = (marked["pred"] == marked["target"]).to_numpy()
    groups = {"twins": correct[marked[kind].to_numpy()], "clean": correct[~marked[kind].to_numpy()]}
    compared: dict[str, float | int | None] = {}
    for name, hits in groups.items():
        low, high = wilson(int(hits.sum()), len(hits)) if len(hits) else (None, None)
        compared |= {
            f"n_{name}": len(hits),
            f"accuracy_{name}": float(np.mean(hits)) if len(hits) else None,
            f"accuracy_{name}_ci_low": low,
            f"accuracy_{name}_ci_high": high,
        }
    gap = dict.fromkeys(("difference", "ci_low", "ci_high"))
    if all(len(hits) for hits in groups.values()):
        twins, clean = groups["twins"], groups["clean"]
        gap = newcombe(int(twins.sum()), len(twins), other_successes=int(clean.sum()), other_n=len(clean))
    return compared | {"difference": gap["difference"], "difference_ci_low": gap["ci_low"], "difference_ci_high": gap["ci_high"]}
