"""The faces of one split as a browser reads them: sheets of thumbnails, and columns of what is known of each face, as plain values for JSON.

What a dataset knows of its faces (ids, labels, conditions, duplicates) is apart from what a run adds (probabilities, label issues, maps), so that the
runs of a dataset share it. A face is named by its place among the faces of its split. `ferlab.reporting.site.faces_page` reads the files and
writes the page; reports/_static/faces.js shows it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ferlab.data.faces import has_duplicate_in
from ferlab.data.store import ImageRows, Store
from ferlab.error_analysis.slices import face_slices
from ferlab.evaluation.clusters import proportion_bounds
from ferlab.evaluation.predictions import expressions_of, probs_of, subjects_of
from ferlab.explanation.methods import METHODS
from ferlab.paths import InputError
from ferlab.reporting.maps import blend, relative_values, top_density

COLUMNS, LINES = 64, 64  # thumbnails abreast on a sheet, and lines of them
SIDE, QUALITY = 48, 80  # pixels of a thumbnail's longer side; of the JPEG
MOST = 2 * COLUMNS * LINES  # faces of a split; of more a random sample is shown
MOST_GROUPS = 40  # of a condition: of hundreds of subjects nobody chooses one from a list
SHOWN_METHODS = ("grad_cam", "occlusion")
DUPLICATES = ("unique", "has duplicates", "has a duplicate in train")
Values = dict[str, Any]


def rows_of_split(faces: pd.DataFrame, split: str, *, most: int = MOST) -> np.ndarray:
    """Return the rows of a split's faces in a face table, in order; of more than `most` a random sample that is always the same."""
    rows = np.flatnonzero(faces["split"] == split)
    return rows if len(rows) <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def make_sheets(images: Iterable[np.ndarray]) -> list[bytes]:
    """Return thumbnails side by side as JPEG files of COLUMNS x LINES, the last one shorter; equal faces give equal bytes.

    Args:
        images: uint8, (H, W) or (H, W, 3), all of one shape.
    """
    small = np.stack([_shrink(image) for image in images])
    height, width, *channels = small.shape[1:]
    sheets = []
    for start in range(0, len(small), COLUMNS * LINES):
        part = small[start : start + COLUMNS * LINES]
        lines = -(-len(part) // COLUMNS)
        grid = np.zeros((lines * COLUMNS, *small.shape[1:]), np.uint8)
        grid[: len(part)] = part
        sheet = grid.reshape(lines, COLUMNS, height, width, *channels).swapaxes(1, 2).reshape(lines * height, COLUMNS * width, *channels)
        file = io.BytesIO()
        Image.fromarray(sheet).save(file, "JPEG", quality=QUALITY, subsampling=0)  # no colour runs into the next face
        sheets.append(file.getvalue())
    return sheets


def _shrink(image: np.ndarray) -> np.ndarray:
    height, width = thumbnail_size(image.shape)
    return image if image.shape[:2] == (height, width) else np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def thumbnail_size(shape: Sequence[int]) -> tuple[int, int]:
    """Return height and width of the thumbnail of a face of some shape: SIDE at most, never enlarged.

    >>> thumbnail_size((224, 112, 3))
    (48, 24)
    """
    scale = min(1.0, SIDE / max(shape[:2]))
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def faces_of_split(store: Store, split: str, *, pairs: pd.DataFrame | None) -> tuple[Values, list[bytes]]:
    """Return what a dataset knows of the faces of a split, and their sheets, on which duplicates in other splits follow.

    Args:
        store: The prepared dataset.
        split: Of its faces.
        pairs: The audit's pairs of duplicates; None where it has not run.

    Returns:
        `ids`, `target`, and `conditions` (of each its `name`, its `groups`, and `of`: the group of each face, -1 for none); `total` faces of the
        split; `duplicates` (place -> list of [place, kind, mirrored, score]) and `beside` (id, split and label of the duplicates in other splits,
        which have the places after the last face); None and [] without pairs.
    """
    rows = rows_of_split(store.faces, split)
    faces = store.faces.iloc[rows].reset_index(drop=True)
    conditions = face_slices(ImageRows(store.images, rows), faces)
    if "duplicate_group" in store.faces:
        conditions["duplicates"] = _duplicated(store.faces).iloc[rows]
    ids = faces["face_id"].tolist()
    duplicates, beside = _duplicates(pairs, ids, store.faces["face_id"]) if pairs is not None else (None, np.array([], np.int64))
    others = store.faces.iloc[beside]
    values = {
        "names": list(store.expressions),
        "side": list(thumbnail_size(store.images.shape[1:])),
        "columns": COLUMNS,
        "per_sheet": COLUMNS * LINES,
        "total": int((store.faces["split"] == split).sum()),
        "ids": ids,
        "target": faces["target"].tolist(),
        "conditions": [_condition(name, groups) for name, groups in conditions.items() if 1 < groups.nunique() <= MOST_GROUPS],
        "duplicates": duplicates,
        "beside": others[["face_id", "split", "target"]].to_numpy().tolist(),
    }
    return values, make_sheets(store.images[row] for row in [*rows, *beside])


def _duplicated(faces: pd.DataFrame) -> pd.Series:
    """Return what each face of a whole dataset has, as its duplicate groups say: one of DUPLICATES."""
    several = faces["duplicate_group"].duplicated(keep=False)
    in_train = has_duplicate_in(faces, ["train"]) & (faces["split"] != "train")
    return pd.Series(pd.Categorical(np.select([in_train, several], DUPLICATES[:0:-1], DUPLICATES[0]), categories=DUPLICATES))


def _condition(name: str, groups: pd.Series) -> Values:
    found = groups.cat.remove_unused_categories().cat
    return {"name": name, "groups": [str(group) for group in found.categories], "of": found.codes.tolist()}


def _duplicates(pairs: pd.DataFrame, ids: Sequence[str], stored: pd.Series) -> tuple[Values, np.ndarray]:
    """Return the duplicates of each place, and the rows of the store that those in other splits have."""
    first, second = pairs["face_id_first"], pairs["face_id_second"]
    both = pd.concat([pairs.assign(face=first, other=second), pairs.assign(face=second, other=first)])
    own = both[both["face"].isin(set(ids)) & both["other"].isin(set(stored))]
    beside = np.sort(np.unique(pd.Index(stored).get_indexer(own.loc[~own["other"].isin(set(ids)), "other"])))
    places = {face: place for place, face in enumerate([*ids, *stored.iloc[beside]])}
    found: Values = {}
    for pair in own.sort_values(["face", "other"]).itertuples():
        found.setdefault(str(places[pair.face]), []).append([places[pair.other], pair.kind, bool(pair.mirrored), round(float(pair.score), 3)])
    return found, beside


def scored_of_split(predictions: pd.DataFrame, ids: Sequence[str], *, issues: pd.DataFrame | None, maps: Mapping[str, np.ndarray] | None) -> Values:
    """Return what a run knows of the faces of a split.

    Args:
        predictions: Its predictions of the split, in any order.
        ids: The faces of the split, in the order of their places.
        issues: Its label issues, lowest quality first; None where the split was not searched.
        maps: Its attributions, as the stage explain stores them; None where it has not run.

    Returns:
        `rows` (places that it scored) and for each of them `pred` and `probs` (K each, in thousandths); `bounds` (K x K, the 95 % interval of the
        fraction of an expression's faces with a prediction; null where it has none); `issues` (place -> [suggested, quality, its probability, rank])
        or None; `explained` (place -> [row of the maps' sheet, explained class]).

    Raises:
        InputError: A prediction of a face that the split does not hold, where it is shown whole.
    """
    places = pd.Index(ids).get_indexer(predictions["face_id"])
    kept = np.flatnonzero(places >= 0)
    kept = kept[np.argsort(places[kept])]
    own = predictions.iloc[kept]
    names, where = expressions_of(own), {face: place for place, face in enumerate(ids)}
    listed = None
    if issues is not None:
        columns = issues[["face_id", "suggested", "label_quality", "prob_suggested"]].itertuples(index=False)
        listed = {
            str(where[face]): [names.index(suggested), round(float(quality), 4), round(float(prob), 4), rank]
            for rank, (face, suggested, quality, prob) in enumerate(columns, 1)
            if face in where
        }
    explained = zip(maps["face_id"].tolist(), maps["explained_class"].tolist()) if maps else ()
    return {
        "rows": places[kept].tolist(),
        "pred": own["pred"].tolist(),
        "probs": np.round(1000 * probs_of(own).astype(np.float64)).astype(int).ravel().tolist(),
        "by": "faces" if subjects_of(own) is None else "subjects",
        "bounds": _bounds(own),
        "issues": listed,
        "explained": {str(where[face]): [row, label] for row, (face, label) in enumerate(explained) if face in where},
    }


def check_scored(predictions: pd.DataFrame, store: Store, *, run: str) -> None:
    """Check that a run's predictions are of faces of the dataset as it is.

    Raises:
        InputError: They name a face that it does not hold.
    """
    strange = ~predictions["face_id"].isin(set(store.faces["face_id"]))
    if strange.any():
        face = predictions.loc[strange, "face_id"].iloc[0]
        raise InputError(f"{run}: its predictions name the face {face}, which its prepared dataset does not hold; evaluate the run again")


def _bounds(own: pd.DataFrame) -> list[list[list[float] | None]]:
    target, pred, subjects, classes = own["target"].to_numpy(), own["pred"].to_numpy(), subjects_of(own), range(len(expressions_of(own)))

    def ends(label: int, predicted: int) -> list[float] | None:
        labelled = target == label
        found = proportion_bounds(pred[labelled] == predicted, subjects, rows=labelled) if labelled.any() else (np.nan, np.nan)
        return None if np.isnan(found[0]) else [round(float(end), 4) for end in found]

    return [[ends(label, predicted) for predicted in classes] for label in classes]


def map_tiles(maps: Mapping[str, np.ndarray], faces: np.ndarray, *, verdicts: Mapping[str, str]) -> tuple[list[Values], list[bytes]]:
    """Return what the maps of explained faces are, and their sheets: a tile for each face and method, faces in order.

    Args:
        maps: The attributions of M faces, as the stage explain stores them.
        faces: These faces, uint8 (M, H, W) or (M, H, W, 3).
        verdicts: Of each method on control faces.

    Returns:
        Of each method `title`, `signed`, `verdict`, and `notes` on each map: those of SHOWN_METHODS that are stored, else the first two that are.
    """
    stored = [name for name in METHODS if name in maps]
    methods = [name for name in SHOWN_METHODS if name in stored] or stored[:2]
    density = {name: relative_values(maps[name]) for name in methods}
    tops = {name: top_density({name: density[name]}, range(len(faces))) for name in methods}

    def tile(row: int, name: str) -> np.ndarray:
        ground = faces[row] / 255 if faces.ndim == 4 else faces[row][..., None] / 255
        return np.round(255 * blend(ground, density[name][row], tops[name], signed=METHODS[name].signed)).astype(np.uint8)

    told = [
        {"title": METHODS[name].title, "signed": METHODS[name].signed, "verdict": verdicts.get(name, ""), "notes": _notes(name, maps[name])}
        for name in methods
    ]
    return told, make_sheets(tile(row, name) for row in range(len(faces)) for name in methods)


def _notes(method: str, values: np.ndarray) -> list[str]:
    probability = METHODS[method].unit == "probability"
    return ["zero everywhere" if not one.any() else f"up to {100 * one.max():.0f} points" if probability else "" for one in values]
