"""The deduplicated test split: test faces without an exact duplicate among the faces that fitted or selected the model.

FER2013 holds the same picture more than once, across its usages too; a model may have learnt such a face by heart. Every test accuracy
therefore has its deduplicated part beside it, and the difference between the two kinds of face an interval; the same for near-duplicates, which
are the same picture with another crop, watermark or tone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.evaluation.predictions import faces_in
from ferlab.evaluation.proportions import newcombe, wilson
from ferlab.paths import InputError

KINDS = ("duplicate", "near_duplicate")


def mark_duplicates(predictions: pd.DataFrame, duplicates: pd.DataFrame) -> pd.DataFrame:
    """Return the test rows with two columns: `duplicate` (an exact duplicate lies in train or val) and `near_duplicate` (any duplicate does).

    Args:
        predictions: A predictions table.
        duplicates: The set's duplicates table (`face_id, duplicate_in_train, duplicate_in_val, near_duplicate_in_train, near_duplicate_in_val`).

    Raises:
        InputError: If a test face is not in the duplicates table, or one is named there twice.
    """
    test = faces_in(predictions, "test")
    known = duplicates.set_index("face_id")
    if known.index.has_duplicates:
        raise InputError(f"duplicates: face {known.index[known.index.duplicated()][0]} is named twice; run audit again for this set")
    unknown = ~test["face_id"].isin(known.index)
    if unknown.any():
        raise InputError(f"duplicates: test face {test.loc[unknown, 'face_id'].iloc[0]} is not in the duplicates table; run audit again for this set")
    marks = {kind: known.loc[test["face_id"], [f"{kind}_in_train", f"{kind}_in_val"]].any(axis=1) for kind in KINDS}
    return test.assign(**{kind: mark.to_numpy(dtype=bool) for kind, mark in marks.items()})


def compare_duplicates(marked: pd.DataFrame, kind: str = "duplicate") -> dict[str, float | int | None]:
    """Return the accuracy of test faces with a duplicate minus that of test faces without: two independent groups of faces, one model.

    Args:
        marked: Test rows from `mark_duplicates`.
        kind: "duplicate" (byte) or "near_duplicate".

    Returns:
        `n_duplicates, n_dedup, accuracy_duplicates, accuracy_dedup` and their Wilson bounds, `difference, difference_ci_low, difference_ci_high`
        (Newcombe, 95 %); None where a group is empty.
    """
    correct = (marked["pred"] == marked["target"]).to_numpy()
    groups = {"duplicates": correct[marked[kind].to_numpy()], "dedup": correct[~marked[kind].to_numpy()]}
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
        duplicates, clean = groups["duplicates"], groups["dedup"]
        gap = newcombe(int(duplicates.sum()), len(duplicates), other_successes=int(clean.sum()), other_n=len(clean))
    return compared | {"difference": gap["difference"], "difference_ci_low": gap["ci_low"], "difference_ci_high": gap["ci_high"]}
