"""Predictions with their faces, as linked views show them: those of a run, or of the model that ships on control faces drawn on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ferlab.data.faces import has_duplicate_in
from ferlab.data.shards import ShardedImages
from ferlab.data.store import open_store
from ferlab.evaluation.predictions import expressions_of, predictions_table, probs_of, read_predictions
from ferlab.hashes import hash_path
from ferlab.params import load_params
from ferlab.paths import InputError, artefact
from ferlab.roles import planned

METHODS = ("grad_cam", "occlusion")
DRAWN, DRAWN_SUBJECTS, SIDE = 350, 35, 48  # control faces for the model that ships
DRAWN_NAME = "shipped model, control faces"
DUPLICATES = ("unique", "has duplicates", "has a duplicate in train")


@dataclass(frozen=True)
class Scored:
    """Predictions and the faces they are about.

    Attributes:
        run: The run's name.
        predictions: A predictions table of N rows.
        faces: The face table's rows of these faces, in the same order; `duplicates` is one of DUPLICATES where groups are known.
        images: uint8, (M, H, W) or (M, H, W, 3).
        rows: Rows of the faces in `images`, (N,).
        load: Loads the model; None where no weights are at hand.
        weights: Hash of the weights, "" where none are at hand.
        note: What a reader must know of these faces, in a line.
        window: Side of the square that covers a face for an occlusion map, in pixels of the stored face.
        stride: Its step.
        set_name: The prepared set that the faces are of, "" for none.
        trained_on: Splits that the model was trained on.
    """

    run: str
    predictions: pd.DataFrame
    faces: pd.DataFrame
    images: np.ndarray | ShardedImages
    rows: np.ndarray
    load: Callable[[], Any] | None = None
    weights: str = ""
    note: str = ""
    window: int = 8
    stride: int = 4
    set_name: str = ""
    trained_on: tuple[str, ...] = ()
    kept: dict[tuple[str, int, int], np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def held_out(self) -> pd.DataFrame:
        """The rows of the predictions whose faces the model was not trained on."""
        return self.predictions[~self.predictions["split"].isin(self.trained_on)].reset_index(drop=True)

    @property
    def expressions(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return expressions_of(self.predictions)

    @cached_property
    def probs(self) -> np.ndarray:
        """The probabilities, float32 (N, K)."""
        return probs_of(self.predictions)

    @cached_property
    def model(self) -> Any:
        """The trained model (`ferlab.models.LoadedModel`), loaded on first use.

        Raises:
            InputError: No weights are at hand.
        """
        if self.load is None:
            raise InputError(f"{self.run}: no weights are at hand; attribution maps need them. Train the run, or open one that is trained.")
        return self.load()

    def pictures(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the stored faces of some rows of the predictions, uint8 (n, H, W) or (n, H, W, 3)."""
        return np.asarray(self.images[self.rows[np.asarray(rows, dtype=np.int64)]])

    def maps(self, rows: Sequence[int], explained_class: Sequence[int]) -> dict[str, np.ndarray]:
        """Return the attribution maps of some faces, computed on first use: of Grad-CAM where the model has a convolution, and of occlusion.

        Args:
            rows: Rows of the predictions.
            explained_class: The class to explain per row.

        Returns:
            Per method float32 (n, H, W); units as in `ferlab.explanation.attributions`.
        """
        from ferlab.explanation.attributions import explain_faces

        methods = METHODS if self.model.target_layer is not None else METHODS[1:]
        keys = list(zip(rows, explained_class, strict=True))
        missing = [key for key in keys if (methods[0], *key) not in self.kept]
        if missing:
            images, classes = self.pictures([row for row, _ in missing]), np.array([chosen for _, chosen in missing])
            found = explain_faces(self.model, images, explained_class=classes, methods=methods, window=self.window, stride=self.stride)
            self.kept.update({(method, *key): heat for method in methods for key, heat in zip(missing, found[method], strict=True)})
        return {method: np.stack([self.kept[method, *key] for key in keys]) for method in methods}


def evaluated_runs() -> list[str]:
    """Return the runs of params.yaml that have been evaluated, in order."""
    return [run for run in load_params().runs if artefact("evaluate", "predictions", run).is_file()]


def open_run(run: str) -> Scored:
    """Open predictions and store of a run.

    Raises:
        InputError: If params.yaml has no such run, it has not been evaluated, or its predictions are not of its store.
    """
    params = load_params()
    if run not in params.runs:
        raise InputError(f"params.yaml: no run is called {run!r}; known: {', '.join(params.runs)}")
    set_name = params.runs[run].data
    predictions = read_predictions(artefact("evaluate", "predictions", run))
    store = open_store(artefact("prepare", "store", set_name))
    rows = pd.Index(store.faces["face_id"]).get_indexer(predictions["face_id"])
    if (rows < 0).any():
        missing = predictions["face_id"].iloc[int((rows < 0).argmax())]
        raise InputError(f"{run}: its predictions name the face {missing}, which {set_name} does not hold; evaluate the run again")
    weights = artefact("train", "weights", run)

    def load() -> Any:
        from ferlab.models import load_model  # Keep: torch costs seconds, and most views need no model

        return load_model(weights)

    faces = with_duplicates(store.faces).iloc[rows].reset_index(drop=True)
    explain = {"window": params.explain.window, "stride": params.explain.stride}
    trained = {"load": load, "weights": hash_path(weights)} if weights.is_file() else {}
    seen = planned(params.runs[run].train.select, refit=params.runs[run].train.refit)
    return Scored(run, predictions, faces, store.images, rows, **trained, **explain, set_name=set_name, trained_on=seen.trained_on)


def open_any(run: str | None = None) -> Scored:
    """Open a run, or the first of params.yaml that has been evaluated; where none has, the model that ships on drawn control faces.

    Raises:
        InputError: As `open_run`, of a run that is named.
    """
    runs = [run] if run else evaluated_runs()
    return open_run(runs[0]) if runs else draw_scored()


def draw_scored(*, faces: int = DRAWN, seed: int = 0) -> Scored:
    """Draw control faces and score them with the model that ships, which was trained on photographs."""
    from ferlab.control.source import read
    from ferlab.deployment.predictor import Predictor, shipped_card

    images, table = read(faces=faces, subjects=min(faces, DRAWN_SUBJECTS), size=SIDE, seed=seed)
    model = Predictor.load()
    table = table.assign(split="test", face_id=table["face_id"].str.replace("control/", "drawn/", regex=False))  # no face of any prepared set
    ids, splits, targets = table["face_id"].tolist(), table["split"].tolist(), table["target"].to_numpy()
    predictions = predictions_table(ids, splits, targets, probs=model.predict_prepared(images), expressions=model.expressions)
    note = f"No run has been evaluated here (make repro does it), so these are {faces} control faces, drawn now, scored by the model that ships."
    return Scored(DRAWN_NAME, predictions, table, images, np.arange(faces), _load_shipped, str(shipped_card()["sha256"]), note)


def _load_shipped() -> Any:
    from ferlab.deployment.as_torch import load_exported
    from ferlab.deployment.predictor import SHIPPED

    return load_exported(SHIPPED)


def with_duplicates(faces: pd.DataFrame) -> pd.DataFrame:
    """Add `duplicates`, one of DUPLICATES, to a whole face table with duplicate groups."""
    if "duplicate_group" not in faces or "split" not in faces:
        return faces
    several = faces["duplicate_group"].duplicated(keep=False).to_numpy()
    in_train = has_duplicate_in(faces, ["train"]) & (faces["split"] != "train").to_numpy()
    return faces.assign(duplicates=np.select([in_train, several], [DUPLICATES[2], DUPLICATES[1]], DUPLICATES[0]))
