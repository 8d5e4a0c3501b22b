"""Rankings of the errors of one predictions table: confused pairs and the most confident errors."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.evaluation.clusters import proportion_bounds
from ferlab.evaluation.predictions import expressions_of, probs_of, subjects_of


def rank_confusions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rank the confused pairs (target, pred) of a split: by count, what costs most accuracy; by rate, what affects an expression most.

    Returns:
        One row per pair that occurs, most frequent first: names `target` and `pred`, `count`, `support` (faces of the target), `rate`
        (count / support) with its 95 % interval (over the subjects that the table names, else over faces), `rank_by_count` and `rank_by_rate`, from
        1; ties keep the order of the expressions.
    """
    targets, preds, subjects = predictions["target"].to_numpy(), predictions["pred"].to_numpy(), subjects_of(predictions)
    names = dict(enumerate(expressions_of(predictions)))
    wrong = predictions[predictions["target"] != predictions["pred"]]
    table = wrong.groupby(["target", "pred"]).size().rename("count").reset_index()
    table["support"] = table["target"].map(predictions["target"].value_counts())
    table["rate"] = table["count"] / table["support"]
    bounds = [
        proportion_bounds(preds[own] == pred, subjects, rows=own)
        for target, pred in zip(table["target"], table["pred"], strict=True)
        for own in [targets == target]
    ]
    table[["rate_ci_low", "rate_ci_high"]] = np.reshape(bounds, (-1, 2))
    for by in ("count", "rate"):
        table[f"rank_by_{by}"] = table[by].rank(method="first", ascending=False).astype(int)
    table[["target", "pred"]] = table[["target", "pred"]].apply(lambda column: column.map(names)).astype("str")
    return table.sort_values("rank_by_count").reset_index(drop=True)


def most_confident_errors(predictions: pd.DataFrame, *, most: int) -> pd.DataFrame:
    """Return at most `most` errors, most confident first: `face_id`, names `target` and `pred`, `prob_target` and `prob_pred`."""
    names, probs, rows = dict(enumerate(expressions_of(predictions))), probs_of(predictions), range(len(predictions))
    table = pd.DataFrame(
        {
            "face_id": predictions["face_id"].to_numpy(),
            "target": predictions["target"].map(names).to_numpy(),
            "pred": predictions["pred"].map(names).to_numpy(),
            "prob_pred": probs[rows, predictions["pred"]],
            "prob_target": probs[rows, predictions["target"]],
        }
    )
    wrong = table[table["target"] != table["pred"]]
    return wrong.sort_values(["prob_pred", "face_id"], ascending=[False, True]).head(most).reset_index(drop=True)
