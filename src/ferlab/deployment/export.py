"""A trained model as one ONNX file, float32, float16 or int8, and its parity with the source.

The graph takes float32 `faces` (N, C, size, size) in [0, 1] and returns float32 `probabilities` (N, K); normalisation and softmax are inside.
Size, channels, expressions and the preparation of the faces stand in its metadata, as JSON under the key `ferlab`.

References:
    Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, arXiv 1712.05877.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from ferlab.deployment.cards import KEY
from ferlab.deployment.half_weights import compared_tensors, halve_weights
from ferlab.deployment.inputs import prepare_faces
from ferlab.deployment.predictor import Predictor
from ferlab.paths import InputError, write_whole

if TYPE_CHECKING:
    from ferlab.models import LoadedModel

OPSET = 20
BATCH = 32  # faces per call during calibration: bounds memory
OPERATIONS = ("Conv", "Gemm", "MatMul", "Add", "Relu", "MaxPool", "AveragePool", "GlobalAveragePool")
LAYERS = ("Conv", "Gemm", "MatMul")  # those with weights


class Deployed(nn.Module):
    """A model, folded, with its normalisation before it and its probabilities behind it; regressed values are dropped."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.module, self.probs = fold(model.module), model.probs
        image = isinstance(model.mean, Tensor)
        self.register_buffer("mean", model.mean[None] if image else torch.tensor(model.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(model.std).view(1, -1, 1, 1))

    def forward(self, faces: Tensor) -> Tensor:
        """Return probabilities (N, K) of faces (N, C, H, W) in [0, 1]."""
        return self.probs(self.module((faces - self.mean) / self.std))


def fold(module: nn.Module) -> nn.Module:
    """Return a model for inference alone: where a layer has a method `folded`, as `ferlab.models.compact.Branches`, what that returns stands for it.

    A model without such layers is returned itself, another as a copy.
    """
    if not any(hasattr(layer, "folded") for layer in module.modules()):
        return module
    module = copy.deepcopy(module)
    for name, layer in list(module.named_modules()):
        if hasattr(layer, "folded"):
            module.set_submodule(name, layer.folded())
    return module


def export_onnx(model: LoadedModel, path: Path, *, weights: str = "float32", confidence: Mapping[str, Any] | None = None) -> int:
    """Write a model as one ONNX file with a free batch axis. The same model gives the same bytes in any checkout.

    Args:
        model: A trained model, from `ferlab.models.load_model`.
        path: The file; written whole or not at all.
        weights: How they are stored: "float32", or "float16" for half the size (`halve_weights`).
        confidence: From `ferlab.deployment.confidence_card`, for the card in the file.

    Returns:
        The file's size in bytes.
    """
    if weights not in ("float32", "float16"):
        raise ValueError(f"Expected weights in {{'float32', 'float16'}}, got {weights!r}")
    with _quiet():
        program = torch.onnx.export(
            Deployed(model).eval(), (torch.zeros(2, model.channels, model.size, model.size),), dynamo=True, external_data=False, opset_version=OPSET,
            input_names=["faces"], output_names=["probabilities"], dynamic_shapes=({0: torch.export.Dim("N")},), verbose=False,
        )  # fmt: skip
    proto = _without_traces(program.model_proto)
    card = exported_card(model) | ({"confidence": dict(confidence)} if confidence else {})
    helper.set_model_props(proto, {KEY: json.dumps(card, sort_keys=True)})  # one key: several would come in random order
    return _write(halve_weights(proto) if weights == "float16" else proto, path)


def exported_card(model: LoadedModel) -> dict[str, Any]:
    """Return the card in the file's metadata: what `Predictor` needs, and name and scaling for readers.

    `preparation` and `sources` are those of `LoadedModel`, absent where unknown. A mean image is a constant of the graph; the card has its
    channel means.
    """
    mean = model.mean.mean(dim=(1, 2)).tolist() if isinstance(model.mean, Tensor) else list(model.mean)
    card = {"channels": model.channels, "expressions": list(model.expressions), "mean": mean, "name": model.name}
    card |= {"size": model.size, "std": list(model.std)}
    known = {"preparation": model.preparation, "sources": list(model.sources)}
    return card | {key: value for key, value in known.items() if value}


@torch.inference_mode()
def parity(model: LoadedModel, exported: Predictor, faces: np.ndarray) -> dict[str, float]:
    """Compare an exported model with its source on the same faces, before any temperature.

    Args:
        model: The source.
        exported: The export, opened.
        faces: uint8 (N, H, W) or (N, H, W, 3), N at least 1.

    Returns:
        `faces`, `label_agreement` (fraction with the same arg max), and the largest difference of a probability as `max_abs_diff_millionths`: metrics
        files keep six decimals.
    """
    expected, found = model.probs(model.module(model.normalise(faces))).numpy(), exported.predict_prepared(faces, raw=True)
    agreement = float((expected.argmax(axis=1) == found.argmax(axis=1)).mean())
    return {"faces": len(faces), "label_agreement": agreement, "max_abs_diff_millionths": 1e6 * float(np.abs(expected - found).max())}


class CalibrationFaces(CalibrationDataReader):
    """Prepared faces in batches, in the interface of the runtime's quantiser."""

    def __init__(self, prepared: np.ndarray) -> None:
        self.batches = ({"faces": prepared[start : start + BATCH]} for start in range(0, len(prepared), BATCH))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch, None after the last."""
        return next(self.batches, None)


def quantise(source: Path, path: Path, faces: np.ndarray) -> int:
    """Write the int8 variant of an exported model by static quantisation. The same model and faces give the same bytes.

    QDQ form, weights per channel, activations per tensor; normalisation and softmax stay float32. Activations are unsigned: with signed ones
    the runtime leaves six of the compact model's ten convolutions in float32 on x86. Weights keep 7 bits, so that sums of two products fit
    16 bits and a processor without VNNI gives the same results: on 900 control faces 98.9 and 99.4 % of two five-layer models' labels stay
    (8 bits: 99.1 and 99.2 %). The file has a quarter of the bytes. The speed depends on processor and model: with VNNI a face takes the
    compact model 0.42 ms instead of 1.5, the five-layer model 0.5 instead of 0.3. What is compared stays float32: on quantised features boosted
    trees change 15 % of their labels. A model without other layers, as these trees, is stored as it is.

    Args:
        source: The float32 file, from `export_onnx`.
        path: The file; written whole or not at all.
        faces: uint8 (N, H, W) or (N, H, W, 3) of the training split; they set the range of each activation.

    Returns:
        The file's size in bytes.

    Raises:
        InputError: If the source is not one of ours, or there are no faces.
    """
    if len(faces) == 0:
        raise InputError(f"{path}: no faces to find the range of the activations; expected some of those that the model was trained on")
    model = Predictor.load(source)
    reader = CalibrationFaces(prepare_faces(faces, size=model.size, channels=model.channels))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        folded, integer = Path(folder, "folded.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        proto = onnx.load(folded)
        exact = compared_tensors(proto.graph)
        kept = [node.name for node in proto.graph.node if exact & set(node.output)]
        if any(node.op_type in LAYERS and node.name not in kept for node in proto.graph.node):
            quantize_static(
                str(folded), str(integer), reader, quant_format=QuantFormat.QDQ, per_channel=True, op_types_to_quantize=list(OPERATIONS),
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, reduce_range=True, calibrate_method=CalibrationMethod.MinMax,
                nodes_to_exclude=kept,
            )  # fmt: skip
            proto = onnx.load(integer)
        else:
            proto = onnx.load(source)
    helper.set_model_props(proto, {prop.key: prop.value for prop in onnx.load(source, load_external_data=False).metadata_props})
    return _write(proto, path)


def _write(proto: onnx.ModelProto, path: Path) -> int:
    onnx.checker.check_model(proto)
    content = proto.SerializeToString(deterministic=True)
    write_whole(path, content)
    return len(content)


def _without_traces(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Drop the exporter's notes beside each node: Python stack traces with this machine's paths."""
    del proto.metadata_props[:]
    for graph in [proto.graph, *proto.functions]:
        for part in [graph, *graph.node, *getattr(graph, "initializer", []), *graph.value_info, *graph.input, *graph.output]:
            if hasattr(part, "metadata_props"):
                del part.metadata_props[:]
            if getattr(part, "doc_string", ""):
                part.doc_string = ""
    return proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the prints, warnings and log of exporter and quantiser; errors still raise."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
