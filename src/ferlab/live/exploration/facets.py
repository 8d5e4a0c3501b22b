"""Conditions on scored faces: one facet for each column that occurs, the selection that conditions give, and its counts. Masks of numpy alone.

A selection is the intersection of its conditions. A facet counts the faces that all *other* conditions select, so that its own other values stay
visible; the confusion matrix likewise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.path import Path as Polygon

from ferlab.evaluation.clusters import proportion_bounds
from ferlab.evaluation.predictions import count_confusions
from ferlab.live.exploration.scored import Scored
from ferlab.params import nearest
from ferlab.paths import InputError

MOST_LEVELS, MOST_NUMBERS, BINS = 24, 12, 20
UNIT, IDS = ("confidence", "probability of the label"), ("face_id", "duplicate_group", "duplicate_of")
MISSING = "(none)"
BY_OUTCOME = ("outcome", "runs", "probability of the label", "label issue")  # facets that depend on whether a prediction is correct
OUTCOMES = ("misclassified", "correct")
AGREEMENT = ("both correct", "only this run", "only the other", "both misclassified", "not scored by the other")
MAIN = ("split", "outcome", "label", "predicted", "confidence", "label issue", "duplicates", "occluder", "intensity", "subject", "runs")
ORDERS = {
    "label": "lowest probability of the label",
    "confident": "highest confidence",
    "uncertain": "lowest confidence",
    "dataset": "order of the dataset",
    "random": "random order",
}
HIDDEN = ("content_hash", "source_path", "target", "label_sha")
MOST_CLUSTERED = 50_000  # faces; above, an interval by subject takes longer than a click may


@dataclass(frozen=True)
class Facet:
    """What one column says of N faces.

    Attributes:
        name: Shown, and the key in a query.
        kind: "levels", "range" (of numbers) or "text" (found by a part of it).
        levels: The distinct values as text; of a range its BINS + 1 edges.
        codes: Place of each face's level, or its bin, (N,).
        values: Of a range, float64 (N,).
    """

    name: str
    kind: str
    levels: tuple[str, ...]
    codes: np.ndarray
    values: np.ndarray | None = None

    def matches(self, wanted: Sequence[Any]) -> np.ndarray:
        """Return which faces match, bool (N,).

        Args:
            wanted: Levels; of a range its lowest and highest value, None where it is open; of a text the parts of which one must occur.

        Raises:
            InputError: A level that does not occur, or no pair of numbers.
        """
        if self.kind == "range":
            return self._inside(wanted)
        chosen = np.zeros(len(self.levels), bool)
        names = pd.Index(self.levels)
        for value in map(str, wanted):
            if self.kind == "text":
                chosen |= names.str.contains(value, regex=False, case=False)
            elif value not in names:
                raise InputError(f"{self.name}: no face has {value!r}; {nearest(value, self.levels)}")
            else:
                chosen[names.get_loc(value)] = True
        return chosen[self.codes]

    def _inside(self, wanted: Sequence[Any]) -> np.ndarray:
        try:
            low, high = (end if end is None else float(end) for end in wanted)
        except (TypeError, ValueError):
            raise InputError(f"{self.name}: expected the lowest and the highest value, got {wanted!r}") from None
        assert self.values is not None
        inside = np.isfinite(self.values)
        if low is not None:
            inside &= self.values >= low
        if high is not None:
            inside &= self.values <= high
        return inside


@dataclass(frozen=True)
class Selection:
    """What conditions select.

    Attributes:
        mask: bool (N,).
        matrix: Counts by label and prediction of the faces that all conditions but cells select, (K, K).
        counts: Per facet of levels or of a range the faces of each level or bin, by all other conditions.
    """

    mask: np.ndarray
    matrix: np.ndarray
    counts: dict[str, list[int]]


def facets_of(scored: Scored, *, label_issues: Sequence[str] | None = None, other: Scored | None = None) -> dict[str, Facet]:
    """Return the facets of scored faces: those in MAIN first, then every other column of the face table that occurs.

    Args:
        scored: The faces.
        label_issues: Ids of the faces with a label issue; None: unknown.
        other: Another run's predictions of the same dataset, to compare with.
    """
    names, predictions = np.array(scored.expressions), scored.predictions
    target, pred = predictions["target"].to_numpy(), predictions["pred"].to_numpy()
    columns: dict[str, pd.Series] = {
        "split": predictions["split"],
        "outcome": pd.Series(np.where(target == pred, OUTCOMES[1], OUTCOMES[0])),
        "label": pd.Series(pd.Categorical.from_codes(target, categories=list(names))),
        "predicted": pd.Series(pd.Categorical.from_codes(pred, categories=list(names))),
        "confidence": pd.Series(scored.probs.max(axis=1)),
        "probability of the label": pd.Series(scored.probs[np.arange(len(target)), target]),
    }
    if label_issues is not None:
        columns["label issue"] = pd.Series(np.where(predictions["face_id"].isin(set(label_issues)), "yes", "no"))
    if other is not None:
        columns["runs"] = _agreement(scored, other)
    columns |= {str(name): scored.faces[name] for name in scored.faces if name not in (*columns, *HIDDEN)}
    found = {name: facet for name, column in columns.items() if (facet := _facet(name, column)) is not None}
    return {name: found[name] for name in [*(name for name in MAIN if name in found), *(name for name in found if name not in MAIN)]}


def _agreement(scored: Scored, other: Scored) -> pd.Series:
    rows = pd.Index(other.predictions["face_id"]).get_indexer(scored.predictions["face_id"])
    own = (scored.predictions["target"] == scored.predictions["pred"]).to_numpy()
    theirs = (other.predictions["target"] == other.predictions["pred"]).to_numpy()[rows]
    levels = np.select([rows < 0, own & theirs, own & ~theirs, ~own & theirs], [AGREEMENT[4], AGREEMENT[0], AGREEMENT[1], AGREEMENT[2]], AGREEMENT[3])
    return pd.Series(pd.Categorical(levels, categories=list(AGREEMENT)))


def _facet(name: str, column: pd.Series) -> Facet | None:
    """Return the facet of a column; None where all faces have the same value."""
    if column.dtype == object and column.map(lambda value: isinstance(value, (list, tuple, dict, np.ndarray))).any():
        return None  # landmarks, boxes
    if isinstance(column.dtype, pd.CategoricalDtype):
        levels, codes = tuple(map(str, column.cat.categories)), column.cat.codes.to_numpy()
        return Facet(name, "levels", levels, codes.astype(np.uint8)) if len(np.unique(codes)) > 1 else None
    distinct = column.nunique(dropna=False)
    if distinct < 2:
        return None
    number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if name in UNIT or (number and distinct > MOST_NUMBERS and name not in IDS):
        return _range(name, column)
    text = column.map({True: "yes", False: "no"}) if pd.api.types.is_bool_dtype(column) else column
    codes, values = pd.factorize(text, sort=True)
    if (codes < 0).any():
        values, codes = [MISSING, *values], codes + 1
    levels = tuple(str(value) or MISSING for value in values)
    kind = "text" if len(levels) > MOST_LEVELS or name in IDS else "levels"
    return Facet(name, kind, levels, codes.astype(np.int32 if kind == "text" else np.uint8))


def _range(name: str, column: pd.Series) -> Facet | None:
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    values = np.round(values, 6)  # float32 0.7 is 0.7 to whoever types it
    low, high = (0.0, 1.0) if name in UNIT else (float(finite.min()), float(finite.max()))
    edges = np.linspace(low, high, BINS + 1)
    codes = np.where(np.isfinite(values), np.clip(np.searchsorted(edges, np.nan_to_num(values), side="right") - 1, 0, BINS - 1), BINS)
    return Facet(name, "range", tuple(f"{edge:.4g}" for edge in edges), codes.astype(np.uint8), values)


def conditions(scored: Scored, facets: Mapping[str, Facet], points: np.ndarray, query: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the mask of each condition of a query.

    Args:
        scored: The faces.
        facets: Of `facets_of`.
        points: Their map, float32 (N, 2).
        query: `facets` (name to what `Facet.matches` takes), `cells` (pairs of label and prediction as class ids) and `lasso` (corners of a
            polygon on the map, [x, y]), each optional.

    Raises:
        InputError: An unknown facet or level, a cell or polygon of another form.
    """
    masks: dict[str, np.ndarray] = {}
    for name, wanted in query.get("facets", {}).items():
        if name not in facets:
            raise InputError(f"no column of these faces is called {name!r}; {nearest(name, facets)}")
        masks[name] = facets[name].matches(wanted)
    k = len(scored.expressions)
    if query.get("cells"):
        cells = np.zeros((k, k), bool)
        try:
            for target, pred in query["cells"]:
                cells[target, pred] = True
        except (TypeError, ValueError, IndexError):
            raise InputError(f"cells: expected pairs of class ids of 0 to {k - 1}, got {query['cells']!r}") from None
        masks["cells"] = cells[scored.predictions["target"].to_numpy(), scored.predictions["pred"].to_numpy()]
    if query.get("lasso"):
        masks["lasso"] = inside(points, query["lasso"])
    return masks


def inside(points: np.ndarray, polygon: Sequence[Sequence[float]]) -> np.ndarray:
    """Return which points (N, 2) lie in a polygon of at least three corners, bool (N,)."""
    corners = np.asarray(polygon, dtype=np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise InputError("lasso: expected at least three corners, each [x, y]")
    found = ((points >= corners.min(axis=0)) & (points <= corners.max(axis=0))).all(axis=1)
    near = np.flatnonzero(found)
    found[near] = Polygon(corners).contains_points(points[near])
    return found


def select(scored: Scored, facets: Mapping[str, Facet], masks: Mapping[str, np.ndarray]) -> Selection:
    """Return what the masks of `conditions` select, and the counts beside it."""
    total = np.logical_and.reduce(list(masks.values())) if masks else np.ones(len(scored.predictions), bool)
    rows = np.flatnonzero(total)

    def others(name: str) -> np.ndarray:
        rest = [mask for key, mask in masks.items() if key != name]
        return rows if name not in masks else np.flatnonzero(np.logical_and.reduce(rest)) if rest else np.arange(len(total))

    target, pred = (scored.predictions[name].to_numpy().take(others("cells")) for name in ("target", "pred"))
    matrix = count_confusions(target, pred, num_classes=len(scored.expressions))
    counts = {}
    for name, facet in facets.items():
        if facet.kind != "text":
            length = BINS if facet.kind == "range" else len(facet.levels)
            counts[name] = np.bincount(facet.codes.take(others(name)), minlength=length)[:length].tolist()
    return Selection(total, matrix, counts)


def accuracy_of(scored: Scored, mask: np.ndarray) -> dict[str, Any]:
    """Return `n`, `correct`, `accuracy` and the bounds `low` and `high` of its 95 % interval, and what the interval counts: `by` faces or subjects.

    Where subjects are named the interval holds for new subjects (`ferlab.evaluation.clusters`); faces of one subject have none.
    """
    chosen = scored.predictions[mask]
    hits = (chosen["target"] == chosen["pred"]).to_numpy()
    n, correct = len(hits), int(hits.sum())
    if not n:
        return {"n": 0, "correct": 0, "accuracy": None, "low": None, "high": None, "by": "faces"}
    named = scored.faces.loc[mask, "subject"] if "subject" in scored.faces else pd.Series([None])
    subjects = named.to_numpy(str) if n <= MOST_CLUSTERED and named.notna().all() else None
    low, high = proportion_bounds(hits, subjects)
    return {"n": n, "correct": correct, "accuracy": correct / n, "low": low, "high": high, "by": "faces" if subjects is None else "subjects"}


def accuracy_text(found: Mapping[str, Any], query: Mapping[str, Any]) -> str:
    """Return an accuracy of `accuracy_of` in words; counts alone where the query selects by outcome, which decides the accuracy.

    >>> accuracy_text({"n": 4, "accuracy": 0.5, "low": 0.15, "high": 0.85, "by": "faces"}, {})
    'accuracy 50.0 % [15.0, 85.0]'
    """
    if not found["n"]:
        return "no face matches these conditions"
    if query.get("cells") or set(BY_OUTCOME) & set(query.get("facets", {})):
        return f"{found['correct']:,} correct and {found['n'] - found['correct']:,} misclassified; no accuracy: the conditions select by outcome"
    if found["low"] != found["low"]:
        return f"accuracy {100 * found['accuracy']:.1f} %, one subject: no interval"
    by = " by subjects" if found["by"] == "subjects" else ""
    return f"accuracy {100 * found['accuracy']:.1f} % [{100 * found['low']:.1f}, {100 * found['high']:.1f}]{by}"


def orders_of(scored: Scored) -> dict[str, np.ndarray]:
    """Return the rows of the faces in each of ORDERS; ties keep the order of the dataset."""
    n, confidence = len(scored.predictions), scored.probs.max(axis=1)
    of_label = scored.probs[np.arange(n), scored.predictions["target"].to_numpy()]
    keys = {"label": of_label, "confident": -confidence, "uncertain": confidence}
    ordered = {name: np.argsort(key, kind="stable") for name, key in keys.items()}
    return {**ordered, "dataset": np.arange(n), "random": np.random.default_rng(0).permutation(n)}
