"""Faces on which the raters are split between two expressions, and whether errors on them are the raters' other choice.

Reference:
    Khanzada, Bai & Celepcikay (2020), arXiv 2004.11823 (cs230), section 5: errors on faces that fit two labels.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ferlab.data.faces import VOTES
from ferlab.error_analysis.label_issues import vote_columns
from ferlab.evaluation.clusters import proportion_bounds
from ferlab.evaluation.intervals import named_bounds
from ferlab.evaluation.predictions import expressions_of, probs_of, subjects_of

SPLIT = 0.3  # of the votes: what each of the two expressions has at least


def split_faces(predictions: pd.DataFrame, faces: pd.DataFrame) -> pd.DataFrame:
    """Return the faces whose raters are split between their label and one other expression, each with at least SPLIT of the votes.

    Args:
        predictions: The predictions table of N faces.
        faces: Their face table, with `votes_<name>`.

    Returns:
        `row` (of `predictions`), `face_id`, names `target`, `other` (the raters' second expression) and `pred`, `share_target` and `share_other`
        of the votes, `prob_pred`, `wrong`, `other_chosen`, and for an error `expected`, the probability that an error on a face of this label is
        predicted as `other`, by the errors on all other faces. Most evenly split first.
    """
    names = list(expressions_of(predictions))
    votes = faces.set_index("face_id").loc[predictions["face_id"], vote_columns(faces)]
    total = votes.sum(axis=1).to_numpy(dtype=np.float64)
    known = votes.reindex(columns=[VOTES + name for name in names], fill_value=0).to_numpy(dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = known / total[:, None]
    target, pred, rows = predictions["target"].to_numpy(), predictions["pred"].to_numpy(), np.arange(len(predictions))
    own = share[rows, target]
    rest = np.where(np.arange(len(names)) == target[:, None], -1.0, np.nan_to_num(share))
    other, second = rest.argmax(axis=1), rest.max(axis=1)
    chosen = np.flatnonzero((own >= SPLIT) & (second >= SPLIT))
    wrong = target != pred
    table = pd.DataFrame(
        {
            "row": chosen,
            "face_id": predictions["face_id"].to_numpy()[chosen],
            "target": np.array(names, dtype=object)[target[chosen]],
            "other": np.array(names, dtype=object)[other[chosen]],
            "pred": np.array(names, dtype=object)[pred[chosen]],
            "share_target": own[chosen],
            "share_other": second[chosen],
            "prob_pred": probs_of(predictions)[chosen, pred[chosen]],
            "wrong": wrong[chosen],
            "other_chosen": pred[chosen] == other[chosen],
            "expected": _expected(target, pred, other, chosen),
        }
    )
    order = (table["share_target"] - table["share_other"]).abs().round(9)
    return table.assign(order=order).sort_values(["order", "face_id"]).drop(columns="order").reset_index(drop=True)


def split_facts(split: pd.DataFrame, predictions: pd.DataFrame) -> dict[str, float]:
    """Return what errors on split faces are: `faces`, `errors`, `error_rate` with its 95 % interval beside `error_rate_others` (of all other
    faces), and of the errors `other_chosen`, a count, `other_share` with its interval and `other_expected`; NaN where there is no error. Intervals
    are over the subjects that the predictions name, else over faces.
    """
    wrong = (predictions["target"] != predictions["pred"]).to_numpy()
    others, errors, n = np.delete(wrong, split["row"]), split[split["wrong"]], len(split)
    found, count, subjects = int(errors["other_chosen"].sum()), len(errors), subjects_of(predictions)
    rates = {"error_rate": (split, "wrong"), "other_share": (errors, "other_chosen")}
    bounds = {key: proportion_bounds(of[hits].to_numpy(bool), subjects, rows=of["row"]) for key, (of, hits) in rates.items()}
    return {
        "faces": n,
        "errors": count,
        "error_rate": count / n if n else float("nan"),
        **named_bounds(bounds),
        "error_rate_others": float(others.mean()) if len(others) else float("nan"),
        "other_chosen": found,
        "other_share": found / count if count else float("nan"),
        "other_expected": float(errors["expected"].mean()) if count else float("nan"),
    }


def _expected(target: np.ndarray, pred: np.ndarray, other: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return for each chosen face the fraction of the errors of its label, on faces that are not chosen, that are predicted as its `other`."""
    rest = np.ones(len(target), bool)
    rest[chosen] = False
    errors = rest & (target != pred)
    counts = pd.crosstab(target[errors], pred[errors])
    totals = counts.sum(axis=1)
    cells = zip(target[chosen], other[chosen], strict=True)
    return np.array([counts.get(o, totals * 0)[t] / totals[t] if t in totals else np.nan for t, o in cells], dtype=np.float64)
