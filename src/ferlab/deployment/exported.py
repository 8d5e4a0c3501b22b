"""The exported model of a run as it lies on disk: taken where its record holds, exported and compared otherwise, and read back either way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ferlab.data.store import Store
from ferlab.deployment.inputs import spread_rows
from ferlab.deployment.latency import measure_side_by_side
from ferlab.deployment.predictor import Predictor
from ferlab.evaluation.comparison import compare_correctness
from ferlab.params import StageParams
from ferlab.paths import artefact, read_json, write_json
from ferlab.results import WEIGHTS, obtain

TIMED = 512  # faces that are timed in turn


@dataclass(frozen=True)
class Exported:
    """An exported model and how it compares with its source.

    Attributes:
        onnx: The float32 file.
        int8: The int8 file.
        facts: `parameters`; `bytes` of each file; `parity` of the float32 file with the model; `compared`, the int8 file's right answers against
            the float32 file's, with their `label_agreement`; `confidence`, from `ferlab.deployment.confidence_card`.
        times: Per file the milliseconds that single faces took, float64 (repeats,); measured when the files were made.
    """

    onnx: Path
    int8: Path
    facts: dict[str, Any]
    times: dict[str, np.ndarray]


def exported(p: StageParams, store: Store) -> Exported:
    """Take the exported files of a run, or export its model.

    Args:
        p: The run's sections of params.yaml.
        store: Its prepared dataset, opened from disk.
    """
    made = obtain("deploy", p, _export, p=p, store=store)
    facts = read_json(made.places["facts"], made_by="stage deploy")
    times = {name: np.array(each) for name, each in facts.pop("times").items()}
    return Exported(onnx=made.places["onnx"], int8=made.places["int8"], facts=facts, times=times)


def _export(onnx: Path, int8: Path, facts: Path, *, p: StageParams, store: Store) -> None:
    from ferlab.deployment import confidence_card, export  # Keep: a page whose files are taken starts no PyTorch
    from ferlab.models import count_parameters, load_model

    model, split = load_model(artefact(*WEIGHTS, p.name)), store.faces["split"].to_numpy()
    rows = spread_rows(split, "val", p.deploy.compared)
    faces, target = np.asarray(store.images[rows]), store.faces["target"].to_numpy()[rows]
    calibrating = np.asarray(store.images[spread_rows(split, "train", p.deploy.calibration)])
    evaluated = (artefact("evaluate", what, p.name) for what in ("predictions", "tta"))
    confidence = confidence_card.read_confidence(*evaluated, store.faces, risk=p.deploy.risk)
    sizes = {"float32": export.export_onnx(model, onnx, confidence=confidence), "int8": export.quantise(onnx, int8, calibrating)}
    opened = {"float32": Predictor.load(onnx), "int8": Predictor.load(int8)}
    ways = {name: predictor.predict_prepared for name, predictor in opened.items()}
    whole, small = (predict(faces).argmax(axis=1) for predict in ways.values())
    compared = {**compare_correctness(small == target, whole == target), "label_agreement": float((whole == small).mean())}
    times = measure_side_by_side(ways, faces[:TIMED], repeats=p.deploy.repeats)
    parity = export.parity(model, opened["float32"], faces)
    found = {"parameters": count_parameters(model.module), "bytes": sizes, "parity": parity, "compared": compared, "times": times}
    write_json(facts, {**found, "confidence": confidence})
