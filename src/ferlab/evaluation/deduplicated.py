"""The deduplicated test split, `test_dedup`: test faces without an exact, mirrored or near-duplicate in train or val.

FER2013 holds many photographs more than once, across its usages too, and a model recalls those that it was trained on. So `test_dedup` carries
every metric of `test`. Its expressions are distributed differently (on PublicTest duplicates are half of surprise and disgust, 8 % of
happy), which moves its accuracy by itself; `accuracy_at_test_mix` weights the recalls of `test_dedup` by the class frequencies of `test`.

References:
    Holt & Smith (1979), Post Stratification.
    Zou & Donner (2008), Construction of confidence limits about effect measures: a general approach.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.data.faces import has_duplicate_in
from ferlab.evaluation.confusion_posterior import mean_bounds
from ferlab.evaluation.predictions import faces_in
from ferlab.evaluation.proportions import newcombe, wilson
from ferlab.paths import InputError

MARK = "duplicate"  # column: the test face has a duplicate in train or val


def mark_duplicates(predictions: pd.DataFrame, faces: pd.DataFrame) -> pd.DataFrame:
    """Return the test rows with the bool column `duplicate`: an exact, mirrored or near-duplicate of the face is in train or val.

    Args:
        predictions: A predictions table.
        faces: The face table of its prepared dataset, with `split` and `duplicate_group`.

    Raises:
        InputError: If a test face is not in the face table, or the table has no duplicate groups.
    """
    test = faces_in(predictions, "test")
    known = pd.Series(has_duplicate_in(faces, ("train", "val")), index=faces["face_id"])
    unknown = ~test["face_id"].isin(known.index)
    if unknown.any():
        raise InputError(f"test face {test.loc[unknown, 'face_id'].iloc[0]} is not in the prepared dataset; run prepare, then evaluate again")
    return test.assign(**{MARK: known[test["face_id"]].to_numpy(dtype=bool)})


def compare_duplicates(marked: pd.DataFrame) -> dict[str, float | int | None]:
    """Compare test faces with a duplicate in train or val and those without: two independent groups of faces, one model.

    Args:
        marked: Test rows from `mark_duplicates`.

    Returns:
        `n_duplicates, n_dedup, accuracy_duplicates, accuracy_dedup` with Wilson's bounds, and `difference, difference_ci_low,
        difference_ci_high` (with minus without; Newcombe, 95 %); None where a group is empty.
    """
    correct = (marked["pred"] == marked["target"]).to_numpy()
    groups = {"duplicates": correct[marked[MARK].to_numpy()], "dedup": correct[~marked[MARK].to_numpy()]}
    compared: dict[str, float | int | None] = {}
    for name, hits in groups.items():
        low, high = wilson(int(hits.sum()), len(hits)) if len(hits) else (None, None)
        accuracy = float(hits.mean()) if len(hits) else None
        compared |= {f"n_{name}": len(hits), f"accuracy_{name}": accuracy, f"accuracy_{name}_ci_low": low, f"accuracy_{name}_ci_high": high}
    gap = dict.fromkeys(("difference", "ci_low", "ci_high"))
    if all(len(hits) for hits in groups.values()):
        first, second = groups.values()
        gap = newcombe(int(first.sum()), len(first), other_successes=int(second.sum()), other_n=len(second))
    return compared | {"difference": gap["difference"], "difference_ci_low": gap["ci_low"], "difference_ci_high": gap["ci_high"]}


def accuracy_at_mix(rows: pd.DataFrame, mix: pd.Series) -> dict[str, float]:
    """Return the accuracy that faces would have at another mix of expressions: the sum of frequency times recall (post-stratification).

    Args:
        rows: Predictions rows, such as those of `test_dedup`.
        mix: True class ids whose frequencies are taken, such as those of `test`. Expressions without rows are excluded from both.

    Returns:
        `accuracy_at_test_mix` and its 95 % bounds, from Wilson's of each recall by the method of Zou and Donner; frequencies count as known.
    """
    hits = (rows["pred"] == rows["target"]).groupby(rows["target"]).agg(["sum", "size"])
    weights = mix.value_counts().reindex(hits.index, fill_value=0).to_numpy()
    weights = weights * len(hits) / weights.sum()  # the mean of weight times recall is the accuracy
    recalls = (hits["sum"] / hits["size"]).to_numpy()
    bounds = [wilson(int(right), int(n)) for right, n in hits.itertuples(index=False)]
    low, high = mean_bounds(weights * recalls, (weights[:, None] * np.array(bounds)).tolist())
    return {"accuracy_at_test_mix": float((weights * recalls).mean()), "accuracy_at_test_mix_ci_low": low, "accuracy_at_test_mix_ci_high": high}


def split_rows(predictions: pd.DataFrame, marked: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of val, test and test_dedup, without the mark; `marked` are the test rows from `mark_duplicates`."""
    val, test = predictions[predictions["split"] == "val"], marked.drop(columns=MARK)
    return {"val": val.drop(columns=MARK, errors="ignore").reset_index(drop=True), "test": test, "test_dedup": test[~marked[MARK]]}
