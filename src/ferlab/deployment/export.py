"""A trained model as one ONNX file, and the proof that it answers as the model does.

The graph takes float32 `faces` (N, C, size, size) in [0, 1] and returns float32 `probabilities` (N, K): normalisation and softmax are inside, so
whoever runs the file needs no statistics. Size, channels, expressions and how the faces were prepared stand in its metadata as one JSON string
under the key `ferlab`.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from ferlab.deployment.inputs import prepare_faces
from ferlab.deployment.storage import halve_weights

if TYPE_CHECKING:
    import onnxruntime

    from ferlab.models import LoadedModel
from ferlab.paths import write_whole

KEY = "ferlab"  # the one metadata key; several would be written in an order of their own
OPSET = 20


class Parity(NamedTuple):
    """How near an exported model is to its source."""

    faces: int
    max_abs_diff: float  # of probabilities
    label_agreement: float  # share of faces with the same arg max

    def metrics(self) -> dict[str, float]:
        """Return what the metrics file holds: the difference in millionths, since files keep six decimals."""
        return {"faces": self.faces, "label_agreement": self.label_agreement, "max_abs_diff_millionths": 1e6 * self.max_abs_diff}


class Deployed(nn.Module):
    """A model with its normalisation before it and its probabilities behind it; values that it says beside the expression are left out."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.module, self.probs = model.module, model.probs
        image = isinstance(model.mean, Tensor)
        self.register_buffer("mean", model.mean[None] if image else torch.tensor(model.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(model.std).view(1, -1, 1, 1))

    def forward(self, faces: Tensor) -> Tensor:
        """Return probabilities (N, K) of faces (N, C, H, W) in [0, 1]."""
        return self.probs(self.module(self.scale(faces)))

    def scale(self, faces: Tensor) -> Tensor:
        """Return faces (N, C, H, W) in [0, 1] as the network takes them."""
        return (faces - self.mean) / self.std


def export_onnx(model: LoadedModel, path: Path, *, weights: str = "float32") -> int:
    """Write a model as one ONNX file with a free batch axis. The same model gives the same bytes, wherever the checkout lies.

    Args:
        model: A trained model, as `ferlab.models.load_model` returns it.
        path: The file to write; it appears whole or not at all.
        weights: How they are stored: "float32", or "float16" for half the size, see `ferlab.deployment.storage`.

    Returns:
        The file's size in bytes.
    """
    if weights not in ("float32", "float16"):
        raise ValueError(f"Expected weights in {{'float32', 'float16'}}, got {weights!r}")
    deployed = Deployed(model).eval()
    example = torch.zeros(2, model.channels, model.size, model.size)
    with _quiet():
        program = torch.onnx.export(
            deployed,
            (example,),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=["faces"],
            output_names=["probabilities"],
            dynamic_shapes=({0: torch.export.Dim("N")},),
            verbose=False,
        )
    proto = _without_traces(program.model_proto)
    onnx.helper.set_model_props(proto, {KEY: json.dumps(exported_card(model), sort_keys=True)})
    if weights == "float16":
        proto = halve_weights(proto)
    onnx.checker.check_model(proto)
    content = proto.SerializeToString(deterministic=True)
    write_whole(path, content)
    return len(content)


def exported_card(model: LoadedModel) -> dict[str, Any]:
    """Return what the file says of a model beside its graph: what `Predictor` needs, and the model's name and scaling for readers.

    `preparation` and `sources` are as `LoadedModel` has them, and absent where they are not known; of a mean image, which is a constant of the
    graph, the card has the means of its channels.
    """
    mean = model.mean.mean(dim=(1, 2)).tolist() if isinstance(model.mean, Tensor) else list(model.mean)
    card = {"channels": model.channels, "expressions": list(model.expressions), "mean": mean, "name": model.name}
    card |= {"size": model.size, "std": list(model.std)}
    known = {"preparation": model.preparation, "sources": list(model.sources)}
    return card | {key: value for key, value in known.items() if value}


@torch.inference_mode()
def parity(model: LoadedModel, session: onnxruntime.InferenceSession, faces: np.ndarray) -> Parity:
    """Compare an exported model with its source on the same faces.

    Args:
        model: The source.
        session: The export, opened.
        faces: uint8 (N, H, W) or (N, H, W, 3), N at least 1.
    """
    expected = model.probs(model.module(model.normalise(faces))).numpy()
    (answered,) = session.run(["probabilities"], {"faces": prepare_faces(faces, size=model.size, channels=model.channels)})
    return Parity(
        faces=len(faces),
        max_abs_diff=float(np.abs(expected - answered).max()),
        label_agreement=float((expected.argmax(axis=1) == answered.argmax(axis=1)).mean()),
    )


def _without_traces(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the exporter notes beside each node: Python stack traces with this machine's paths."""
    del proto.metadata_props[:]
    for graph in [proto.graph, *proto.functions]:
        for part in [graph, *graph.node, *getattr(graph, "initializer", []), *graph.value_info, *graph.input, *graph.output]:
            if hasattr(part, "metadata_props"):
                del part.metadata_props[:]
            if getattr(part, "doc_string", ""):
                part.doc_string = ""
    return proto


@contextlib.contextmanager
def _quiet():
    """Silence the exporter's progress lines and its notes on its own internals; errors still raise."""
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        loud.setLevel(level)
