"""face-api.js's expression network as an ONNX graph, from its weights manifest: 8-bit quantised tensors in one binary file.

Four densely connected blocks of four depthwise separable convolutions (denseBlock4.ts), a mean over 7 x 7 positions and one linear layer.

References:
    github.com/vladmandic/face-api, src/faceFeatureExtractor/FaceFeatureExtractor.ts and src/faceExpressionNet/FaceExpressionNet.ts (Muehler, 2018).
    tensorflow/tfjs, weights_list and its quantization: value = quantised x scale + min.
"""

from __future__ import annotations

import json
from math import prod
from pathlib import Path

import numpy as np
import onnx

from ferlab.deployment.onnx_graph import Graph
from ferlab.paths import InputError

SIZE, BLOCKS, POOL = 112, 4, 7
STORED = {"float32": "<f4", "int32": "<i4", "uint8": "u1", "uint16": "<u2"}


def read_manifest(path: Path) -> dict[str, np.ndarray]:
    """Return the tensors of a TensorFlow.js weights manifest by name, float32, quantised ones restored.

    Args:
        path: The .json; the binary files that it names lie beside it.

    Raises:
        InputError: No such manifest, a missing or too short binary file, or an unknown type.
    """
    try:
        groups = json.loads(path.read_text())
        return {name: tensor for group in groups for name, tensor in _tensors(path, group).items()}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise error if isinstance(error, InputError) else InputError(f"{path}: no weights manifest ({type(error).__name__}: {error})") from None


def _tensors(path: Path, group: dict) -> dict[str, np.ndarray]:
    content, start, tensors = b"".join((path.parent / part).read_bytes() for part in group["paths"]), 0, {}
    for entry in group["weights"]:
        quantised = entry.get("quantization")
        kind = quantised["dtype"] if quantised else entry["dtype"]
        if kind not in STORED:
            raise InputError(f"{path}: {entry['name']} is stored as {kind!r}; known: {', '.join(STORED)}")
        dtype, count = np.dtype(STORED[kind]), prod(entry["shape"])
        stop = start + count * dtype.itemsize
        if stop > len(content):
            raise InputError(f"{path}: its binary file has {len(content):,} bytes; {entry['name']} ends at {stop:,}. Get the file again.")
        values = np.frombuffer(content[start:stop], dtype).astype(np.float32).reshape(entry["shape"])
        tensors[entry["name"]] = values * np.float32(quantised["scale"]) + np.float32(quantised["min"]) if quantised else values
        start = stop
    return tensors


def face_api_to_onnx(path: Path) -> onnx.ModelProto:
    """Convert face-api's expression network: input (N, 3, 112, 112) in RGB, minus the channel means, over 255; output (N, 7) logits.

    Args:
        path: face_expression_model-weights_manifest.json.

    Raises:
        InputError: As `read_manifest`; a manifest of another network.
    """
    tensors, graph = read_manifest(path), Graph()
    try:
        x = "input"
        for block in range(BLOCKS):
            x = _dense_block(graph, x, f"dense{block}", tensors)
        pooled = graph.add("AveragePool", [x], "pool", kernel_shape=[POOL, POOL], strides=[2, 2])
        graph.add("Gemm", [graph.add("Flatten", [pooled], "flatten")], "logits", tensors["fc/weights"], tensors["fc/bias"])
    except KeyError as error:
        raise InputError(f"{path}: no tensor {error}; expected the weights of face-api's expression network") from None
    return graph.model("input", (3, SIZE, SIZE), "logits")


def _dense_block(graph: Graph, x: str, name: str, tensors: dict[str, np.ndarray]) -> str:
    """Add a block of four convolutions of 3 x 3, the first of stride 2; each next one sees the sum of all before it."""
    outs: list[str] = []
    for number in range(4):
        conv, how = f"{name}/conv{number}", {"auto_pad": "SAME_UPPER", "strides": [1, 1] if number else [2, 2]}
        if f"{conv}/filters" in tensors:
            made = graph.convolution(x, conv, tensors[f"{conv}/filters"], tensors[f"{conv}/bias"], **how)
        else:
            kernels = (tensors[f"{conv}/depthwise_filter"], tensors[f"{conv}/pointwise_filter"])
            made = graph.separable(x, conv, kernels, tensors[f"{conv}/bias"], **how)
        outs.append(made if number else graph.add("Relu", [made], f"{conv}/relu"))
        x = graph.add("Relu", [graph.add("Sum", list(outs), f"{conv}/sum")], f"{conv}/dense") if number else outs[0]
    return x
