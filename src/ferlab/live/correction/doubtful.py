"""Which faces of a set to look at again: label issues, models that disagree, low confidence, and labels that models find improbable.

Scores come from predictions of models; on faces that a model was trained on it repeats wrong labels, so that fewer are found there. Label issues of
training faces come from cross-validated probabilities.

References:
    Northcutt, Jiang & Chuang (2021), Confident Learning, arXiv 1911.00068: label issues, label quality (the probability of the given label).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ferlab.data.faces import originals
from ferlab.data.store import ImageRows, Store
from ferlab.evaluation.predictions import expressions_of, predictions_table, probs_of, read_predictions
from ferlab.params import Params
from ferlab.paths import InputError, artefact

ISSUE, DISAGREE, UNSURE, IMPROBABLE = "label issue", "models disagree", "low confidence", "improbable label"
SOURCES = (ISSUE, DISAGREE, UNSURE, IMPROBABLE)
MEANING = {
    ISSUE: "confident learning, from the page analyze_errors of a run",
    DISAGREE: "two or more models predict different expressions",
    UNSURE: "the most probable expression has less than half of the probability",
    IMPROBABLE: "another expression is predicted, and the given label has less than a tenth of the probability",
}
CONFIDENT, PROBABLE = 0.5, 0.1
Predict = Callable[[np.ndarray | ImageRows], np.ndarray]


@dataclass(frozen=True)
class Scores:
    """What models predict for the faces of a set.

    Attributes:
        tables: Predictions tables by model.
        issues: `face_id` of the label issues, by run.
    """

    tables: Mapping[str, pd.DataFrame]
    issues: Mapping[str, frozenset[str]]

    def of(self, face_id: str) -> dict[str, tuple[str, float]]:
        """Return the predicted expression and its probability, by model that scored the face."""
        found = {}
        for model, table in self.tables.items():
            rows = table[table["face_id"] == face_id]
            if len(rows):
                probs = probs_of(rows)[0]
                found[model] = (expressions_of(table)[int(probs.argmax())], float(probs.max()))
        return found

    def with_model(self, model: str, table: pd.DataFrame) -> Scores:
        """Return these scores and further ones of a model, new or known."""
        known = self.tables.get(model)
        if known is not None:
            table = pd.concat([known[~known["face_id"].isin(table["face_id"])], table], ignore_index=True)
        return Scores({**self.tables, model: table}, self.issues)


def read_scores(params: Params, set_name: str) -> Scores:
    """Return what the evaluated runs of a set predict, and their label issues; runs without predictions are passed over."""
    tables, issues = {}, {}
    for name, run in params.runs.items():
        path = artefact("evaluate", "predictions", name)
        if run.data == set_name and path.is_file():
            tables[name] = read_predictions(path)
            listed = [artefact("analyze_errors", table, name) for table in ("label_issues", "training_issues")]
            issues[name] = frozenset(face for table in listed if table.is_file() for face in _face_ids(table))
    return Scores(tables, issues)


def _face_ids(path: object) -> list[str]:
    try:
        return pd.read_csv(path, dtype=str, usecols=["face_id"])["face_id"].dropna().tolist()  # type: ignore[call-overload]
    except (ValueError, OSError) as error:  # pandas' errors are ValueErrors
        raise InputError(f"{path}: no table of label issues ({' '.join(str(error).split())[:80]}); dvc repro makes it anew") from None


def score_split(store: Store, split: str, predict: Predict) -> pd.DataFrame:
    """Return the predictions table of the original faces of one split.

    Args:
        store: The prepared set.
        split: One of its splits.
        predict: From uint8 faces (N, H, W) or (N, H, W, 3) to probabilities (N, K) in the order of the set's expressions.

    Raises:
        InputError: No face is in the split; or as `predict`.
    """
    faces = originals(store.faces)
    rows = np.flatnonzero((store.faces["split"] == split).to_numpy() & store.faces["face_id"].isin(faces["face_id"]).to_numpy())
    if not len(rows):
        raise InputError(f"no face of the set is in {split}; choose another split")
    of = store.faces.iloc[rows]
    probs = predict(ImageRows(store.images, rows))
    return predictions_table(of["face_id"], of["split"], of["target"].to_numpy(), probs=probs, expressions=store.expressions)


def find_doubtful(faces: pd.DataFrame, scores: Scores, *, expressions: Sequence[str]) -> pd.DataFrame:
    """Return the doubtful faces of a set, those with most reasons first, then by the probability of the given label, ascending.

    Args:
        faces: Face table with `face_id`, `split` and `target`.
        scores: See `Scores`; faces that a set no longer has are passed over.
        expressions: The names that `target` counts.

    Returns:
        `face_id`, `split`, `given` (the label by name), `quality` (its mean probability over models; NaN without scores), and a bool column for
        each of SOURCES.
    """
    table = faces[["face_id", "split", "target"]].reset_index(drop=True)
    place = pd.Series(np.arange(len(table)), index=table["face_id"])
    names = tuple(expressions)
    total, count = np.zeros((len(table), len(names))), np.zeros(len(table))
    first, differ = np.full(len(table), -1), np.zeros(len(table), bool)
    for model, scored in scores.tables.items():
        if expressions_of(scored) != names:
            raise InputError(f"{model} predicts {', '.join(expressions_of(scored))}; the set has {', '.join(names)}. Evaluate the run again.")
        known = scored[scored["face_id"].isin(place.index)]
        rows, probs = place[known["face_id"]].to_numpy(), probs_of(known)
        total[rows] += probs
        count[rows] += 1
        differ[rows] |= (first[rows] >= 0) & (first[rows] != probs.argmax(axis=1))
        first[rows] = np.where(first[rows] < 0, probs.argmax(axis=1), first[rows])
    mean = np.divide(total, count[:, None], out=np.full_like(total, np.nan), where=count[:, None] > 0)
    quality = mean[np.arange(len(table)), table["target"]]
    top = np.nan_to_num(mean, nan=2.0).max(axis=1)
    predicted = np.nan_to_num(mean, nan=-1.0).argmax(axis=1)
    issues = frozenset().union(*scores.issues.values()) if scores.issues else frozenset()
    found = {
        ISSUE: table["face_id"].isin(issues).to_numpy(),
        DISAGREE: differ,
        UNSURE: top < CONFIDENT,
        IMPROBABLE: (count > 0) & (np.nan_to_num(quality, nan=1.0) < PROBABLE) & (predicted != table["target"].to_numpy()),
    }
    given = np.array(names, dtype=object)[table["target"]]
    table = pd.DataFrame({"face_id": table["face_id"], "split": table["split"], "given": given, "quality": quality, **found})
    doubtful = table[table[list(SOURCES)].any(axis=1)]
    order = doubtful.assign(reasons=-doubtful[list(SOURCES)].sum(axis=1)).sort_values(["reasons", "quality", "face_id"])
    return order.drop(columns="reasons").reset_index(drop=True)


def choose(doubtful: pd.DataFrame, *, sources: Sequence[str], splits: Sequence[str]) -> pd.DataFrame:
    """Return the doubtful faces of chosen sources and splits, in the same order."""
    return doubtful[doubtful[list(sources)].any(axis=1) & doubtful["split"].isin(splits)].reset_index(drop=True)


def count_doubtful(doubtful: pd.DataFrame, *, splits: Sequence[str]) -> dict[str, int]:
    """Return how many faces of chosen splits each source finds."""
    return {source: int((doubtful[source] & doubtful["split"].isin(splits)).sum()) for source in SOURCES}


def neighbours(faces: pd.DataFrame, row: int, *, count: int = 2) -> list[int]:
    """Return the rows just before and after a face in its sequence by `frame`, or of its person by `time`, up to `count` either way."""
    for group, order in (("sequence", "frame"), ("subject", "time")):
        if group not in faces or order not in faces or pd.isna(faces[group].iloc[row]) or pd.isna(faces[order].iloc[row]):
            continue
        same = faces[faces[group] == faces[group].iloc[row]].sort_values(order, kind="stable")
        place = same.index.get_loc(faces.index[row])
        around = [*same.index[max(place - count, 0) : place], *same.index[place + 1 : place + 1 + count]]
        if around:
            return [int(faces.index.get_loc(index)) for index in around]
    return []
