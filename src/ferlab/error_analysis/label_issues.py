"""Label issues by confident learning, beside the raters' votes where a dataset has them. No label is changed.

Confident learning needs probabilities of faces that the model was not trained on: a run's own on the splits it did not see, cross-validated ones
on the others. In-sample probabilities are refused.

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

from ferlab.data.faces import VOTES
from ferlab.error_analysis.cross_validated import FOLD
from ferlab.evaluation.predictions import expressions_of, faces_in, probs_of
from ferlab.paths import InputError
from ferlab.roles import Role


def out_of_sample(predictions: pd.DataFrame, checked: pd.DataFrame, *, role: Role) -> pd.DataFrame:
    """Return the predictions of one split by models that were not trained on it: the run's own, or the cross-validated ones where it was.

    Args:
        predictions: The run's predictions of the split.
        checked: Cross-validated predictions of the faces that the run was trained on.
        role: What the split is to the run.
    """
    return faces_in(checked, predictions["split"].iloc[0]) if role == "trained" else predictions


def label_quality(predictions: pd.DataFrame) -> np.ndarray:
    """Return the quality of each label, float64 (N,): the probability of the given label, cleanlab's self-confidence."""
    probs = probs_of(predictions).astype(np.float64)
    return np.asarray(get_label_quality_scores(predictions["target"].to_numpy(), probs, method="self_confidence"))


def rank_label_issues(predictions: pd.DataFrame, faces: pd.DataFrame | None = None, *, role: Role) -> pd.DataFrame:
    """Return the label issues, lowest label quality first.

    Args:
        predictions: A predictions table of faces the model was not trained on, see `out_of_sample`.
        faces: Face table with those faces; its votes are added where it has any, see `with_votes`.
        role: What these faces are to the run; a table with the column `fold` is cross-validated, whatever they are.

    Returns:
        `face_id`, names `given` and `suggested` (the most probable expression that occurs among the labels), `label_quality` (the
        probability of the given label, cleanlab's self-confidence) and `prob_suggested`.

    Raises:
        InputError: If the probabilities are in-sample.
    """
    if role == "trained" and FOLD not in predictions:
        told = f"the model was trained on these {len(predictions)} faces"
        raise InputError(f"label issues: {told}; expected out-of-sample probabilities. Give cross-validated ones, see out_of_sample.")
    names, probs = np.array(expressions_of(predictions), dtype=object), probs_of(predictions).astype(np.float64)
    given = predictions["target"].to_numpy()
    occurring = np.unique(given)
    suggested = occurring[probs[:, occurring].argmax(axis=1)]
    table = pd.DataFrame(
        {
            "face_id": predictions["face_id"].to_numpy(),
            "given": names[given],
            "suggested": names[suggested],
            "label_quality": label_quality(predictions),
            "prob_suggested": probs[np.arange(len(given)), suggested],
        }
    )
    issues = table[_is_issue(given, probs, occurring)].sort_values(["label_quality", "face_id"]).reset_index(drop=True)
    return issues if faces is None or not vote_columns(faces) else with_votes(issues, faces)


def with_votes(issues: pd.DataFrame, faces: pd.DataFrame) -> pd.DataFrame:
    """Add `raters_label` (most votes, or "tie"), `raters_share` (its fraction of the votes; NaN without any) and `raters_agree_with`
    ("given", "suggested" or "neither"), from the columns `votes_<expression>` of a face table.
    """
    label, share = raters_choice(faces.set_index("face_id").loc[issues["face_id"]])
    agrees = np.select([label == issues["given"], label == issues["suggested"]], ["given", "suggested"], "neither")
    return issues.assign(raters_label=label, raters_share=share, raters_agree_with=agrees)


def raters_choice(faces: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the expression with most votes of each face, (N,) str, "tie" where two lead, and its fraction of the votes; NaN without any."""
    votes = faces[vote_columns(faces)]
    counts = votes.to_numpy(dtype=np.float64)
    names = np.array([column.removeprefix(VOTES) for column in votes.columns])
    top, total = counts.max(axis=1, initial=0), counts.sum(axis=1)
    leads = (counts == top[:, None]).sum(axis=1)
    label = np.where(leads == 1, names[counts.argmax(axis=1)] if len(counts) else "", "tie")
    with np.errstate(invalid="ignore"):  # a face that FER+ dropped has no votes: 0 / 0
        return label, top / total


def count_agreement(issues: pd.DataFrame) -> dict[str, int]:
    """Count with which label the raters agree: `{"given": .., "suggested": .., "neither": ..}`; empty without votes."""
    if "raters_agree_with" not in issues:
        return {}
    return {side: int((issues["raters_agree_with"] == side).sum()) for side in ("given", "suggested", "neither")}


def issues_per_class(issues: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Count label issues per given expression: `expression, faces, issues, share, most_suggested`."""
    names = expressions_of(predictions)
    faces = predictions["target"].value_counts().reindex(range(len(names)), fill_value=0).to_numpy()
    found = issues["given"].value_counts().reindex(names, fill_value=0).to_numpy()
    suggested = issues.groupby("given")["suggested"].agg(lambda names: names.value_counts().index[0]).reindex(names, fill_value="none").to_numpy()
    with np.errstate(invalid="ignore"):
        return pd.DataFrame({"expression": names, "faces": faces, "issues": found, "share": found / faces, "most_suggested": suggested})


def vote_columns(faces: pd.DataFrame) -> list[str]:
    """Return the columns of a face table that count raters' votes."""
    return [column for column in faces.columns if str(column).startswith(VOTES)]


def _is_issue(given: np.ndarray, probs: np.ndarray, occurring: np.ndarray) -> np.ndarray:
    """Mask (N,) of cleanlab's `prune_by_noise_rate` over the classes that occur: the others have no threshold."""
    if len(occurring) < 2:
        return np.zeros(len(given), bool)
    own = probs[:, occurring] + 1e-12  # a face whose whole probability lies elsewhere
    with warnings.catch_warnings():  # a class of one face gets no issue; `issues_per_class` shows how many faces it has
        warnings.filterwarnings("ignore", message="May not flag all label issues", category=UserWarning)
        # n_jobs=1: cleanlab's worker processes cost more than they save here.
        issues = find_label_issues(np.searchsorted(occurring, given), own / own.sum(axis=1, keepdims=True), filter_by="prune_by_noise_rate", n_jobs=1)
    return np.asarray(issues)
