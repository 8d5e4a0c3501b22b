"""Faces whose given label is doubtful, by confident learning, and what raters said of them where votes are at hand.

Owns the table of doubtful labels. It ranks faces for a person to look at and changes no label. Confident learning needs
probabilities of faces the model was not fitted on.

References:
    Northcutt, Jiang & Chuang (2021), Confident Learning, arXiv 1911.00068; its package cleanlab: "label quality score".
    Barsoum et al. (2016), arXiv 1608.01041 (FER+): ten raters' votes on the faces of FER2013.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from ferlab.evaluation.predictions import expressions_of, probs_of

VOTES = "votes_"
LABEL_COLUMNS = ("face_id", "given", "suggested", "label_quality", "prob_suggested")
VOTE_COLUMNS = ("raters_label", "raters_share", "raters_agree_with")


def doubtful_labels(predictions: pd.DataFrame, faces: pd.DataFrame | None = None) -> pd.DataFrame:
    """Rank the faces whose given label confident learning doubts, most doubtful first.

    Args:
        predictions: A predictions table of faces the model was not fitted on.
        faces: Face table with those faces; where it has votes, the raters' answer is set beside.

    Returns:
        `face_id`, names `given` and `suggested` (the predicted expression; where no label bears that, the most probable of those that occur),
        `label_quality` (the probability of the given label, cleanlab's self-confidence) and `prob_suggested`. With votes also
        `raters_label` (most votes; "tie" where several lead), `raters_share` (its share of the votes) and `raters_agree_with`: "given",
        "suggested" or "neither".
    """
    names, probs = expressions_of(predictions), probs_of(predictions).astype(np.float64)
    given = predictions["target"].to_numpy()
    occurring = np.unique(given)
    doubted = _doubted(given, probs, occurring)
    pred = occurring[probs[:, occurring].argmax(axis=1)]
    table = pd.DataFrame(
        {
            "face_id": predictions["face_id"].to_numpy(),
            "given": [names[c] for c in given],
            "suggested": [names[c] for c in pred],
            "label_quality": get_label_quality_scores(given, probs, method="self_confidence"),
            "prob_suggested": probs[np.arange(len(pred)), pred],
        },
        columns=list(LABEL_COLUMNS),
    )
    issues = table[doubted].sort_values(["label_quality", "face_id"]).reset_index(drop=True)
    return issues if faces is None or not _vote_columns(faces) else with_votes(issues, faces)


def with_votes(issues: pd.DataFrame, faces: pd.DataFrame) -> pd.DataFrame:
    """Add what raters said of each face; see `doubtful_labels`.

    Args:
        issues: Columns `face_id`, `given`, `suggested`.
        faces: Face table with `face_id` and columns `votes_<expression>`.
    """
    votes = faces.set_index("face_id").loc[issues["face_id"], _vote_columns(faces)]
    counts = votes.to_numpy(dtype=np.float64)
    names = np.array([column.removeprefix(VOTES) for column in votes.columns])
    top, total = counts.max(axis=1, initial=0), counts.sum(axis=1)
    leads = (counts == top[:, None]).sum(axis=1)
    label = np.where(leads == 1, names[counts.argmax(axis=1)] if len(counts) else "", "tie")
    agrees = np.select([label == issues["given"], label == issues["suggested"]], ["given", "suggested"], "neither")
    with np.errstate(invalid="ignore"):  # a face that FER+ dropped has no votes: 0 / 0
        return issues.assign(raters_label=label, raters_share=top / total, raters_agree_with=agrees)


def count_agreement(issues: pd.DataFrame) -> dict[str, int]:
    """Count with whom the raters agree on the doubted labels: `{"given": .., "suggested": .., "neither": ..}`; empty without votes."""
    if "raters_agree_with" not in issues:
        return {}
    return {side: int((issues["raters_agree_with"] == side).sum()) for side in ("given", "suggested", "neither")}


def issues_per_class(issues: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Count doubted labels per given expression: `expression, faces, doubted, share, most_suggested`."""
    names = expressions_of(predictions)
    rows = []
    for number, name in enumerate(names):
        faces, own = int((predictions["target"] == number).sum()), issues[issues["given"] == name]
        suggested = own["suggested"].value_counts()
        rows.append((name, faces, len(own), len(own) / faces if faces else np.nan, suggested.index[0] if len(own) else "none"))
    return pd.DataFrame(rows, columns=["expression", "faces", "doubted", "share", "most_suggested"])


def _doubted(given: np.ndarray, probs: np.ndarray, occurring: np.ndarray) -> np.ndarray:
    """Mask (N,) of cleanlab's `prune_by_noise_rate` over the classes that occur: of others it could tell no threshold, and suggest none.

    n_jobs=1, because its worker processes cost more than they save here.
    """
    if len(occurring) < 2:
        return np.zeros(len(given), bool)
    own = probs[:, occurring] + 1e-12  # a face whose whole probability lies elsewhere has none to share out
    with warnings.catch_warnings():  # a class of one face gets no issue; `issues_per_class` shows how many faces it has
        warnings.filterwarnings("ignore", message="May not flag all label issues", category=UserWarning)
        issues = find_label_issues(np.searchsorted(occurring, given), own / own.sum(axis=1, keepdims=True), filter_by="prune_by_noise_rate", n_jobs=1)
    return np.asarray(issues)


def _vote_columns(faces: pd.DataFrame) -> list[str]:
    return [column for column in faces.columns if str(column).startswith(VOTES)]
