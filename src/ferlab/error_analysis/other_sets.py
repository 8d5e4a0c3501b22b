"""A run's model on other prepared datasets, without retraining: the drop from its own dataset on the expressions that both have.

Expressions are matched by name; the model chooses among those that both datasets have, on either. Faces of the other dataset that are the model's
training faces, or an exact, mirrored or near-duplicate of one, are excluded, and so are the run's own faces with a duplicate among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.duplicates.codes import thumbnails
from ferlab.data.duplicates.search import find_near_pairs
from ferlab.data.faces import has_duplicate_in
from ferlab.data.store import ImageRows, Store
from ferlab.evaluation.robustness import condition_rows
from ferlab.paths import InputError

OWN = ""  # of the column `set`: the run's own dataset
CHUNK = 512
Predict = Callable[[Any], np.ndarray]


def score_other_sets(
    own: Store, others: Mapping[str, Store], *, split: str, predict: Predict, trained_on: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Score all faces of one split of other datasets, and those of the run's own, on the expressions that both have.

    Args:
        own: The dataset that the run was trained on.
        others: The other datasets by name.
        split: Scored of each.
        predict: Probabilities (N, K) of uint8 faces, in the order of `own.expressions`.
        trained_on: The splits of `own` that the model was trained on.

    Returns:
        One row per other dataset (`compared`) and face of it or of the run's own (`set`: its name, or OWN): `face_id`, `subject` where known,
        `target` and `pred` in the order of `own.expressions`, `prob` of the target; and per other dataset `faces` scored, `duplicates` and
        `own_duplicates` excluded, `lacking` faces of other expressions, `expressions` that both have, and `prepared_alike`.

    Raises:
        InputError: Fewer than two shared expressions, or no face left of either.
    """
    every = own.faces["split"] == split
    own_rows = np.flatnonzero(every & ~has_duplicate_in(own.faces, [name for name in trained_on if name != split]))
    if not len(own_rows):
        raise InputError(f"robustness.sets: every {split} face of the run's own set has a duplicate among its training faces; expected others")
    own_probs = predict(ImageRows(own.images, own_rows))
    tables, facts = [], {}
    for name, other in others.items():
        shared = [expression for expression in own.expressions if expression in other.expressions]
        if len(shared) < 2:
            raise InputError(f"robustness.sets: {name}: shares fewer than two expressions with the run's set: {', '.join(other.expressions)}")
        rows, facts[name] = _rows_of(name, other, own, split=split, shared=shared, trained_on=trained_on)
        facts[name]["own_duplicates"] = int(every.sum()) - len(own_rows)
        targets = np.array([own.expressions.index(e) if e in shared else -1 for e in other.expressions])[other.faces["target"].iloc[rows]]
        found = _scored(other.faces.iloc[rows].assign(target=targets), predict(ImageRows(other.images, rows)), own, shared)
        kept = own.faces["target"].iloc[own_rows].isin([own.expressions.index(e) for e in shared]).to_numpy()
        reference = _scored(own.faces.iloc[own_rows[kept]], own_probs[kept], own, shared)
        tables += [reference.assign(compared=name, set=OWN), found.assign(compared=name, set=name)]
    return pd.concat(tables, ignore_index=True), facts


def _rows_of(
    name: str, other: Store, own: Store, *, split: str, shared: Sequence[str], trained_on: Sequence[str]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the rows of the other dataset that are scored, and what was excluded."""
    faces = other.faces
    asked = np.flatnonzero(faces["split"] == split)
    named = np.array(other.expressions)[faces["target"].iloc[asked]]
    lacking = ~np.isin(named, shared)
    asked = asked[~lacking]
    repeated = find_known(own, np.flatnonzero(own.faces["split"].isin(trained_on)), other, asked)
    if repeated.all():
        out = f"{int(lacking.sum())} have expressions that the run's set lacks, {int(repeated.sum())} are among its training faces"
        raise InputError(f"robustness.sets: {name}: none of its {split} faces can be scored: {out}")
    alike = dict(own.preparation) == dict(other.preparation)
    facts = {"faces": int((~repeated).sum()), "duplicates": int(repeated.sum()), "lacking": int(lacking.sum()), "expressions": list(shared)}
    return asked[~repeated], {**facts, "prepared_alike": alike}


def find_known(own: Store, trained: np.ndarray, other: Store, asked: np.ndarray) -> np.ndarray:
    """Return which asked rows of another dataset are training faces, or an exact, mirrored or near-duplicate of one, (N,) bool.

    Args:
        own: The dataset of the run.
        trained: Rows of `own` that the model was trained on.
        other: The other dataset.
        asked: N of its rows.
    """
    known = other.faces["face_id"].iloc[asked].isin(own.faces["face_id"].iloc[trained]).to_numpy().copy()
    small = np.concatenate([_thumbnails(own, trained), _thumbnails(other, asked)])
    names = [*np.array(own.expressions)[own.faces["target"].iloc[trained]], *np.array(other.expressions)[other.faces["target"].iloc[asked]]]
    pairs, _ = find_near_pairs(small, np.arange(len(small)), targets=pd.factorize(np.array(names))[0])
    across = pairs[(pairs["first"] < len(trained)) & (pairs["second"] >= len(trained))]
    known[across["second"].unique() - len(trained)] = True
    return known


def _thumbnails(store: Store, rows: np.ndarray) -> np.ndarray:
    chunks = [thumbnails(np.asarray(store.images[rows[start : start + CHUNK]])) for start in range(0, len(rows), CHUNK)]
    return np.concatenate(chunks) if chunks else np.empty((0, 48, 48), np.uint8)


def _scored(faces: pd.DataFrame, probs: np.ndarray, own: Store, shared: Sequence[str]) -> pd.DataFrame:
    """Return the rows of some faces, the prediction chosen among the shared expressions."""
    known = np.array([own.expressions.index(expression) for expression in shared])
    among = probs[:, known] / np.maximum(probs[:, known].sum(axis=1, keepdims=True), 1e-12)
    place = {c: number for number, c in enumerate(known.tolist())}
    of_target = among[np.arange(len(faces)), [place[int(c)] for c in faces["target"]]]
    return condition_rows(faces, known[among.argmax(axis=1)], of_target)
