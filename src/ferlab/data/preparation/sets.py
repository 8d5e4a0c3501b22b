"""A prepared dataset: pictures are prepared one by one, searched for duplicates, split, multiplied where that is asked for, and stored.

The order matters: duplicates are found before faces are split, and faces are split before labels are corrected by hand, so that no correction moves a
face that a model was trained on into test. Last are faces copied or synthesised; only faces of train are.
What is prepared survives an interruption; under another plan it starts afresh.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.duplicates.pairs import find_pairs, group_faces, keep_faces, write_pairs
from ferlab.data.faces import DERIVED, check_faces
from ferlab.data.preparation.appearance import mean_image
from ferlab.data.preparation.building import ImageWriter, Step, append_images, prepare_pictures
from ferlab.data.preparation.covering import cover_file
from ferlab.data.preparation.resampling import copies_of, oversample
from ferlab.data.preparation.sources import Gathered, join_tables
from ferlab.data.preparation.steps import prepared_as
from ferlab.data.regions import Registration
from ferlab.data.shards import INDEX, SHARDS, ShardFiles
from ferlab.data.splits import assign_splits
from ferlab.data.store import EXCLUDED_COLUMNS, IMAGES, ImageFile, Store, open_store, write_faces
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.locks import held, lock_of
from ferlab.paths import InputError

MEAN_IMAGE, PLAN = "mean_image.npy", "plan.json"
CORRECTED = "corrected"  # folder for the images without those that a correction excludes
LEAST_EXPRESSIONS = 2  # in each split: with one there is nothing to tell apart
MOST_SYNTHETIC = 4 << 30  # bytes of float32 pixels that oversampling may take


def prepare_set(
    folder: Path,
    gathered: Gathered,
    step: Step,
    *,
    split: Mapping[str, Any],
    work: Path,
    plan: Mapping[str, Any],
    shards: int = 0,
    copies: bool = False,
    method: str = "none",
    skip_unreadable: bool = False,
    keep_mean: bool = False,
    cover: Sequence[str] = (),
    preparation: Mapping[str, Any] | None = None,
) -> Store:
    """Prepare a dataset, find its duplicates, split it and store it.

    Args:
        folder: The store's; made if missing.
        gathered: What was read.
        step: From a picture of `gathered.whole` to its face, see `preparation.step_of`.
        split: Keyword arguments of `assign_splits`.
        work: Where preparation keeps what survives an interruption.
        plan: What decides the result, as plain values; what lies in `work` under another plan is dropped.
        shards: Faces per shard; 0: one array.
        copies: Add mirrored and turned copies of train's faces, as cs231a.
        method: "smote" or "adasyn": add synthetic samples to train until expressions are even; "none".
        skip_unreadable: Exclude pictures that cannot be decoded instead of stopping.
        keep_mean: Write the mean image of train beside the faces, as cs231a's models want it.
        cover: Regions of the face to fill with mid-grey in every face, once duplicates are found and faces are split; not with shards.
        preparation: What `step` does, as keyword arguments of `prepared_as`, which travels with trained models; None where it is not known.

    Raises:
        InputError: If a picture, the split or what is to be multiplied is not as it should be; what was prepared is kept.
    """
    whole = gathered.whole
    # A split that cannot be made is found out before an hour of preparation, not after: only the duplicates are not known yet.
    _check_expressions(_as_corrected(assign_splits(whole.faces, **split), gathered), gathered.excluded)
    with held(lock_of(work), what=f"set {work.name}"):
        _start_or_go_on(work, plan)
        folder.mkdir(parents=True, exist_ok=True)
        with _writer(work, shards) as read:
            names = whole.faces["source_path"]
            records = prepare_pictures(whole.pictures, names, step, writer=read, work=work, skip_unreadable=skip_unreadable)
            faces, excluded = _tables(gathered, records)
            pairs, limit = find_pairs(read.kept(), faces)
            faces = assign_splits(faces.assign(duplicate_group=group_faces(pairs, len(faces))), **split)
            stays = faces["face_id"].isin(gathered.faces["face_id"]).to_numpy()
            pairs, faces = keep_faces(pairs, stays, faces["content_hash"]), _as_corrected(faces, gathered)
            _check_expressions(faces, excluded)
            with _only(stays, read, work / CORRECTED, shards) as writer:
                if copies or method != "none":
                    kept = np.flatnonzero((records["content_hash"] != "").to_numpy())[stays]
                    synthetic = {"method": method, "seed": int(split["seed"]), "expressions": gathered.expressions}
                    faces = _multiply(faces, _again(whole, step, kept), writer, copies=copies, synthetic=synthetic)
                writer.finish()
                shape = writer.shape or ()
        written = work if stays.all() else work / CORRECTED
        for name in (IMAGES, SHARDS, INDEX):
            _remove(folder / name)  # a store that lies here may have been of the other kind
            if (written / name).exists():
                os.replace(written / name, folder / name)
            _remove(work / name)
        faces, placed = _cover(folder, faces, cover)
        made = prepared_as(**preparation, shape=shape, cover=cover, placed=placed) if preparation else None
        write_faces(folder, faces, expressions=gathered.expressions, excluded=excluded, preparation=made)
        write_pairs(folder, pairs, limit=limit)
        store = open_store(folder)
        if keep_mean:
            np.save(folder / MEAN_IMAGE, mean_image(store.images, np.flatnonzero(store.faces["split"] == "train")))
    return store


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _cover(folder: Path, faces: pd.DataFrame, regions: Sequence[str]) -> tuple[pd.DataFrame, Registration | None]:
    """Cover the stored faces, and return their table with new content hashes and the placement of the template; nothing changes without regions."""
    if not regions:
        return faces, None
    hashes, placed = cover_file(folder / IMAGES, regions)
    return faces.assign(content_hash=hashes), placed


def _check_expressions(faces: pd.DataFrame, excluded: pd.DataFrame) -> None:
    """Refuse a dataset with one expression alone in train, val or test."""
    for split, targets in faces.groupby("split")["target"]:
        if targets.nunique() < LEAST_EXPRESSIONS:
            alone = f"The split {split!r} holds {ALL_EXPRESSIONS[targets.iloc[0]]} alone, in {len(targets):,} faces"
            reasons = excluded["reason"].value_counts().head(3)
            out = f" Excluded were: {', '.join(f'{reason} ({count:,})' for reason, count in reasons.items())}." if len(reasons) else ""
            way = "Name more folders in `labels`, give more faces, or another split"
            raise InputError(f"{alone}; expected at least {LEAST_EXPRESSIONS} expressions in each of train, val and test. {way}.{out}")


def _as_corrected(faces: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """Return the faces of the whole set that stay in it, with corrected labels."""
    if gathered.before is None:
        return faces
    found = faces.set_index("face_id", drop=False).drop(columns=gathered.before.faces.columns)
    corrected = gathered.faces[gathered.faces["face_id"].isin(faces["face_id"])].join(found, on="face_id").reset_index(drop=True)
    return corrected.assign(duplicate_group=pd.factorize(corrected["duplicate_group"])[0]) if "duplicate_group" in corrected else corrected


@contextmanager
def _only(stays: np.ndarray, read: ImageWriter, place: Path, shards: int) -> Iterator[ImageWriter]:
    """Write the images that stay to a folder of their own, and go on there; on with the same writer where all stay."""
    _remove(place)
    if stays.all():
        yield read
        return
    with _writer(place, shards) as writer:
        writer.resume(0, None)
        for image in compress(read.kept(), stays):
            writer.append(image)
        yield writer


def _writer(work: Path, shards: int) -> ImageWriter:
    return ShardFiles(work, faces_per_shard=shards) if shards else ImageFile(work / IMAGES)


def _start_or_go_on(work: Path, plan: Mapping[str, Any]) -> None:
    text = json.dumps(plan, sort_keys=True, default=str)
    path = work / PLAN
    if work.is_dir() and (not path.is_file() or path.read_bytes() != text.encode()):
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _tables(gathered: Gathered, records: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the face table of what was prepared, before corrections, and the table of all excluded pictures, by the reader, by hand or here."""
    kept = (records["content_hash"] != "").to_numpy()
    if not kept.any():
        reason = records["reason"].iloc[0]
        raise InputError(f"None of {len(kept)} pictures gave a face ({reason}); expected some. Look at `face` of the set in params.yaml.")
    found = records.drop(columns="reason")[kept]
    for column in found:
        if column.startswith("found_") and found[column].dtype == object:
            found[column] = found[column].astype("str")
    whole = gathered.whole.faces
    faces = pd.concat([whole[kept], found], axis=1).reset_index(drop=True)
    gone = whole.loc[~kept, ["face_id", "source", "source_path", "usage"]].assign(reason=records["reason"][~kept])
    gone = gone[gone["face_id"].isin(gathered.faces["face_id"])]  # not those that a correction excludes
    excluded = pd.concat([gathered.excluded, gone], ignore_index=True)[list(EXCLUDED_COLUMNS)].astype("str")
    return check_faces(faces), excluded


def _again(gathered: Gathered, step: Step, kept: np.ndarray) -> Mapping[int, np.ndarray]:
    """The prepared faces once more, made when they are asked for: one array or shards, they need not be read back."""

    class Faces(dict):  # type: ignore[type-arg]
        def __missing__(self, row: int) -> np.ndarray:
            original = int(kept[row])
            return step(original, gathered.pictures[original])[0]

    return Faces()


def _multiply(faces: pd.DataFrame, images: Mapping[int, np.ndarray], writer: ImageWriter, *, copies: bool, synthetic: dict[str, Any]) -> pd.DataFrame:
    """Append copies and synthetic samples of train's faces to the images and to the table."""
    train = np.flatnonzero((faces["split"] == "train").to_numpy())
    tables = [faces.assign(**dict.fromkeys(DERIVED, ""))]
    if copies:
        derived: list[tuple[int, str]] = []
        hashes = list(append_images(_copies(train, images, derived), writer))
        rows, names = zip(*derived, strict=True)
        origin = faces.iloc[list(rows)].reset_index(drop=True)
        ids = [f"{face_id}#{name.replace(' ', '')}" for face_id, name in zip(origin["face_id"], names, strict=True)]
        tables.append(origin.assign(derived_from=origin["face_id"], derivation=list(names), face_id=ids, content_hash=hashes))
    if synthetic["method"] != "none":
        tables.append(_oversampled(faces, train, images, writer, **synthetic))
    return check_faces(join_tables(tables))


def _copies(train: np.ndarray, images: Mapping[int, np.ndarray], derived: list[tuple[int, str]]) -> Iterator[np.ndarray]:
    for row in train.tolist():
        made = copies_of(images[row])
        derived += [(row, name) for name in made]
        yield from made.values()


def _oversampled(
    faces: pd.DataFrame, train: np.ndarray, images: Mapping[int, np.ndarray], writer: ImageWriter, *, method: str, **how: Any
) -> pd.DataFrame:
    needed = 4 * len(train) * int(np.prod(writer.shape or ()))
    if needed > MOST_SYNTHETIC:
        taken = f"{method} would take {needed / 2**30:.0f} GiB for {len(train):,} faces"
        raise InputError(f"{taken}; expected at most {MOST_SYNTHETIC >> 30}. Set a smaller size.")
    made, targets = oversample(np.stack([images[row] for row in train.tolist()]), faces["target"].to_numpy()[train], method=method, **how)
    hashes = list(append_images(made, writer))
    table = {"face_id": [f"{method}/{number:07d}" for number in range(len(hashes))], "content_hash": hashes, "target": targets}
    table["duplicate_group"] = np.arange(len(hashes)) + int(faces["duplicate_group"].max()) + 1  # of no photograph
    fixed = {"source": method, "source_path": "", "usage": method, "split": "train", "derived_from": method, "derivation": method}
    return pd.DataFrame(table).assign(**fixed)
