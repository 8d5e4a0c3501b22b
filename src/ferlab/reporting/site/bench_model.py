"""The model that the control-face bench carries: which one, how its file is stored, and what it predicts in Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import onnxruntime

from ferlab import paths
from ferlab.deployment.cards import KEY
from ferlab.deployment.class_maps import with_grad_cam
from ferlab.deployment.confidence import Confidence
from ferlab.deployment.half_weights import halve_weights
from ferlab.deployment.predictor import SHIPPED
from ferlab.params import Params
from ferlab.paths import InputError

MOST_MODEL = 12_000_000  # bytes of an ONNX file that the page may carry


@dataclass(frozen=True)
class BenchModel:
    """The model of the page: a run of params.yaml, or the one that ships ("")."""

    run: str
    proto: onnx.ModelProto
    card: Mapping[str, Any]

    @cached_property
    def content(self) -> bytes:
        """The file as the page carries it: its weights float16 where they are in float16's range, and Grad-CAM beside the probabilities."""
        return (self._explained or self._stored).SerializeToString()

    @property
    def has_grad_cam(self) -> bool:
        """Whether the file computes the Grad-CAM map of a face's predicted class too."""
        return self._explained is not None

    @cached_property
    def _stored(self) -> onnx.ModelProto:
        try:
            return halve_weights(self.proto)
        except InputError:
            return self.proto

    @cached_property
    def _explained(self) -> onnx.ModelProto | None:
        return with_grad_cam(self._stored)

    @property
    def temperature(self) -> float:
        """By which its probabilities are calibrated; 1 where its card has none."""
        return Confidence.from_card(self.card, where=self.run or str(SHIPPED)).temperature or 1.0


def choose_model(params: Params) -> BenchModel:
    """Return the first exported run that fits the page, control faces' first, or the model that ships."""
    runs = sorted(params.runs, key=lambda run: params.prepare[params.runs[run].data].dataset != "control")
    files = {run: paths.artefact("deploy", "onnx", run) for run in runs} | {"": SHIPPED}
    for run, path in files.items():
        if path.is_file() and (path.stat().st_size <= MOST_MODEL or not run):
            proto = onnx.load(path)
            card = json.loads({prop.key: prop.value for prop in proto.metadata_props}[KEY])
            if not run or _as_drawn(card.get("preparation") or {}):
                return BenchModel(run, proto, card)
    raise AssertionError("the model that ships is always a candidate")


def _as_drawn(preparation: Mapping[str, Any]) -> bool:
    """Whether a model's faces are prepared by their crop and size alone, and so may be drawn for it."""
    return not preparation.get("blur") and preparation.get("equalise", "none") == "none" and not preparation.get("cover")


def predict(model: BenchModel, faces: np.ndarray) -> np.ndarray:
    """Return calibrated probabilities (N, K) of grey faces uint8 (N, S, S), S the model's own: what the browser computes."""
    session = onnxruntime.InferenceSession(model.content, providers=["CPUExecutionProvider"])
    inputs = np.repeat(faces[:, None].astype(np.float32) / 255, model.card["channels"], axis=1)
    raised = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: inputs})[0] ** (1 / model.temperature)
    return raised / raised.sum(axis=1, keepdims=True)
