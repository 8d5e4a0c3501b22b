"""What a run predicts for perturbed faces and for faces of other datasets: taken where its record holds, scored otherwise, and read either way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ferlab.data.regions import Registration, placement_of, template_masks
from ferlab.data.store import Store, open_store
from ferlab.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt, corruptions_for
from ferlab.evaluation.displacements import LEVELS, displace, levels_for
from ferlab.evaluation.ledger import record_scoring
from ferlab.evaluation.occluders import OCCLUSIONS, PARTS, Template, occlude
from ferlab.evaluation.robustness import CLEAN, KINDS, condition_rows
from ferlab.params import StageParams
from ferlab.paths import InputError, artefact, read_json, write_json
from ferlab.results import STORE, WEIGHTS, obtain

SMALL = 64  # pixels: a larger face is worth a second thread
Condition = tuple[str, float]  # name and severity


@dataclass(frozen=True)
class Perturbed:
    """A run under corruption, occlusion and displacement, and on other datasets.

    Attributes:
        table: One row per face, condition and severity: see `ferlab.evaluation.robustness`.
        transfer: The table of `ferlab.error_analysis.other_sets`.
        facts: `registration` of the template; per other set of `sets` what its comparison rests on; `trained_on` and `selected_on` of the model.
    """

    table: pd.DataFrame
    transfer: pd.DataFrame
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class PerturbedImages:
    """Faces under each condition in turn, made on access: images of condition c are rows c * N to (c + 1) * N - 1."""

    images: np.ndarray
    face_ids: Sequence[str]
    conditions: Sequence[Condition]
    template: Template
    seed: int

    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return it as an array does."""
        return (len(self.images) * len(self.conditions), *self.images.shape[1:])

    @property
    def ndim(self) -> int:
        """Axes, 3 or 4."""
        return self.images.ndim

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> np.ndarray:
        """Return the images of a slice."""
        rows = np.arange(len(self))[part]
        return np.concatenate(
            [self._perturbed(c, rows[rows // len(self.images) == c] % len(self.images)) for c in np.unique(rows // len(self.images))]
        )

    def _perturbed(self, condition: int, rows: np.ndarray) -> np.ndarray:
        ids = [self.face_ids[row] for row in rows]
        return perturb(self.images[rows], self.conditions[condition], template=self.template, face_ids=ids, seed=self.seed)


def perturb(images: np.ndarray, condition: Condition, *, template: Template, face_ids: Sequence[str], seed: int = 0) -> np.ndarray:
    """Return faces under one condition, uint8 as `images`; see `corrupt`, `occlude` and `displace`."""
    name, severity = condition
    given = {"face_ids": face_ids, "seed": seed}
    if name in CORRUPTIONS:
        return corrupt(images, name, severity=int(severity), **given)
    if name in OCCLUSIONS:
        return occlude(images, name, template=template, **given)
    return displace(images, name, level=severity, **given) if name in LEVELS else np.asarray(images)


def conditions_for(shape: tuple[int, ...]) -> list[Condition]:
    """Return all conditions of images of this shape, "clean" first; occlusions have severity 1."""
    side = min(shape[1:3])
    corrupted = [(name, float(severity)) for name in corruptions_for(len(shape)) for severity in SEVERITIES]
    displaced = [(name, float(level)) for name in LEVELS for level in levels_for(name, side)]
    return [(CLEAN, 0.0), *corrupted, *((name, 1.0) for name in OCCLUSIONS), *displaced]


def kind_of(name: str) -> str:
    """Return the kind of a condition, one of KINDS, or CLEAN."""
    return next((kind for kind, names in zip(KINDS, (CORRUPTIONS, OCCLUSIONS, LEVELS), strict=True) if name in names), CLEAN)


def sample_rows(faces: pd.DataFrame, split: str, *, most: int, seed: int = 0) -> np.ndarray:
    """Return the rows of at most so many faces of a split, ascending, every expression with its share of the split.

    Which faces these are depends on the seed and on their ids, not on the order of the table.
    """
    rows = faces.reset_index(drop=True)
    rows = rows[rows["split"] == split]
    draws = [hashlib.blake2b(f"{seed}/{face_id}".encode(), digest_size=8).hexdigest() for face_id in rows["face_id"]]
    ranked = rows.assign(draw=draws).sort_values(["target", "draw"])
    place = (ranked.groupby("target").cumcount() + 0.5) / ranked.groupby("target")["draw"].transform("size")
    return np.sort(ranked.assign(place=place).sort_values(["place", "draw"]).index[:most].to_numpy(np.int64))


def template_of(registration: Mapping[str, Any] | Registration, size: tuple[int, int]) -> Template:
    """Return the template of faces of a size (H, W) from its registration."""
    placed = registration if isinstance(registration, Registration) else Registration(**registration)
    masks = template_masks(size, placed)
    return Template({part: masks[part] for part in PARTS}, (placed.shift_y, placed.shift_x), (placed.scale_y, placed.scale_x))


def perturbed(p: StageParams, store: Store) -> Perturbed:
    """Take what a run predicts for perturbed faces and on other datasets, or score it; test faces of a real set are put into the ledger.

    Args:
        p: The run's sections of params.yaml.
        store: Its prepared dataset, opened from disk.
    """
    made = obtain("robustness", p, _score, p=p, store=store)
    for name in dict.fromkeys([p.set_name, *p.robustness.sets]) if p.robustness.split == "test" else []:
        faces = open_store(artefact(*STORE, name)).faces
        record_scoring(faces, study=p.study, run=f"robustness:{p.name}", set_name=name, record=made.record)
    facts = read_json(made.places["facts"], made_by="stage robustness")
    return Perturbed(pd.read_parquet(made.places["table"]), pd.read_parquet(made.places["transfer"]), facts)


def strips_of(store: Store, result: Perturbed, *, kind: str, seed: int, faces: int = 1) -> dict[str, list[np.ndarray]]:
    """Return example pictures of each condition of a kind: of its severities, or of several faces at its first.

    The faces are those whose target has the highest probability as they are.

    Args:
        store: The prepared dataset.
        result: Of the same run.
        kind: "corruption" or "occlusion".
        seed: `robustness.seed`.
        faces: How many.
    """
    ids = list(result.table[result.table["kind"] == CLEAN].sort_values(["prob", "face_id"], ascending=False)["face_id"].iloc[:faces])
    images = np.asarray(store.images[pd.Index(store.faces["face_id"]).get_indexer(ids)])
    template = template_of(result.facts["registration"], images.shape[1:3])
    strips: dict[str, list[np.ndarray]] = {}
    for condition in conditions_for(store.images.shape):
        if kind_of(condition[0]) == kind:
            strips.setdefault(condition[0], []).extend(perturb(images, condition, template=template, face_ids=ids, seed=seed))
    return strips


def _score(table: Path, transfer: Path, facts: Path, *, p: StageParams, store: Store) -> None:
    import torch  # Keep: a page whose result is taken loads neither torch nor a model

    from ferlab.evaluation.scoring import predict_probs
    from ferlab.models import load_model

    asked, model = p.robustness, load_model(artefact(*WEIGHTS, p.name))
    if tuple(model.expressions) != tuple(store.expressions):
        raise InputError(
            f"The model predicts {', '.join(model.expressions)}; the set has {', '.join(store.expressions)}. Train the run on this set again."
        )
    model.module.to(memory_format=torch.channels_last)  # Keep: 3 times the faces per second on a CPU
    if max(store.images.shape[1:3]) <= SMALL:
        torch.set_num_threads(1)  # Keep: on small batches of small faces a second thread costs several times what it saves

    def predict(images: Any) -> np.ndarray:
        return predict_probs(model, images, batch_size=asked.batch_size)

    rows = sample_rows(store.faces, asked.split, most=asked.faces, seed=asked.seed)
    if not len(rows):
        raise InputError(f"set {p.set_name}: no face is in {asked.split}; check how prepare splits it")
    images, faces, conditions = np.asarray(store.images[rows]), store.faces.iloc[rows], conditions_for(store.images.shape)
    registration = placement_of(images, store.preparation)
    template = template_of(registration, images.shape[1:3])
    probs = predict(PerturbedImages(images, list(faces["face_id"]), conditions, template, asked.seed))
    scored = zip(conditions, np.split(probs, len(conditions)), strict=True)
    _write(table, pd.concat([_rows(faces, each, condition=name, severity=severity) for (name, severity), each in scored], ignore_index=True))
    others = {name: open_store(artefact(*STORE, name)) for name in asked.sets if name != p.set_name}
    compared, found = pd.DataFrame({name: pd.Series(dtype="str") for name in ("compared", "set")}), {}
    if others:
        from ferlab.error_analysis.other_sets import score_other_sets  # Keep: its search for duplicates loads FAISS

        compared, found = score_other_sets(store, others, split=asked.split, predict=predict, trained_on=model.trained_on)
    _write(transfer, compared)
    seen = {"trained_on": list(model.trained_on), "selected_on": list(model.selected_on)}
    write_json(facts, {"registration": vars(registration), "sets": found, **seen})


def _rows(faces: pd.DataFrame, probs: np.ndarray, *, condition: str, severity: float) -> pd.DataFrame:
    of_target = probs[np.arange(len(faces)), faces["target"].to_numpy()]
    return condition_rows(faces, probs.argmax(axis=1), of_target, kind=kind_of(condition), condition=condition, severity=severity)


def _write(path: Path, table: pd.DataFrame) -> None:
    # Keep: pandas' own metadata names library versions, which would change the bytes without a change of predictions.
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None), path, compression="zstd")
