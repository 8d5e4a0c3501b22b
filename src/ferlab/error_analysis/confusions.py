"""Which expressions are taken for which, and the errors a model was surest of.

Owns rankings of the errors of one predictions table. Knows no torch and no images.

References:
    Wilson (1927), Probable inference, the law of succession, and statistical inference: the intervals.
"""

from __future__ import annotations

import pandas as pd

from ferlab.evaluation.predictions import expressions_of, probs_of
from ferlab.evaluation.proportions import wilson

PAIR_COLUMNS = ("target", "pred", "count", "support", "rate", "rate_ci_low", "rate_ci_high", "rank_by_count", "rank_by_rate")


def rank_confusions(predictions: pd.DataFrame) -> pd.DataFrame:
    """Rank the pairs (true expression, predicted expression) that a model confuses.

    By count, the pairs that cost most accuracy come first; by rate, those that a face of the true expression suffers most often.
    A rare expression can lead the second list and stand low in the first.

    Args:
        predictions: A predictions table of one split.

    Returns:
        One row per pair that occurs, most frequent first: names `target` and `pred`, `count`, `support` (faces of the true
        expression), `rate` (count / support) with Wilson's 95 % interval, and the place in both rankings, from 1.
    """
    names = expressions_of(predictions)
    wrong = predictions[predictions["target"] != predictions["pred"]]
    support = predictions["target"].value_counts()
    rows = []
    for (target, pred), count in wrong.groupby(["target", "pred"]).size().items():
        of = int(support[target])
        low, high = wilson(int(count), of)
        rows.append((names[target], names[pred], int(count), of, count / of, low, high))
    table = pd.DataFrame(rows, columns=list(PAIR_COLUMNS[:-2]))
    order = {name: place for place, name in enumerate(names)}
    table = table.sort_values(["target", "pred"], key=lambda column: column.map(order), kind="stable")
    for by in ("rate", "count"):  # the last one decides the order of the rows; ties keep the order of the expressions
        table = table.sort_values(by, ascending=False, kind="stable").reset_index(drop=True)
        table[f"rank_by_{by}"] = range(1, len(table) + 1)
    return table[list(PAIR_COLUMNS)]


def most_confident_errors(predictions: pd.DataFrame, *, most: int) -> pd.DataFrame:
    """Return the errors a model was surest of, surest first.

    Args:
        predictions: A predictions table.
        most: How many rows at most.

    Returns:
        `face_id`, names `target` and `pred`, `prob_pred` and `prob_target`, the probabilities of the two.
    """
    names, probs = expressions_of(predictions), probs_of(predictions)
    rows = range(len(predictions))
    table = pd.DataFrame(
        {
            "face_id": predictions["face_id"].to_numpy(),
            "target": [names[c] for c in predictions["target"]],
            "pred": [names[c] for c in predictions["pred"]],
            "prob_pred": probs[rows, predictions["pred"]],
            "prob_target": probs[rows, predictions["target"]],
        }
    )
    wrong = table[table["target"] != table["pred"]]
    return wrong.sort_values(["prob_pred", "face_id"], ascending=[False, True]).head(most).reset_index(drop=True)
