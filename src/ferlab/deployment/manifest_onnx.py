"""face-api.js's expression network as an ONNX graph, from its weights manifest: 8-bit quantised tensors in one binary file.

Four densely connected blocks of four depthwise separable convolutions (denseBlock4.ts), a mean over 7 x 7 positions and one linear layer.

References:
    github.com/vladmandic/face-api, src/faceFeatureExtractor/FaceFeatureExtractor.ts and src/faceExpressionNet/FaceExpressionNet.ts (Muehler, 2018).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from ferlab.deployment.onnx_graph import Graph
from ferlab.models.manifests import read_manifest
from ferlab.paths import InputError

SIZE, BLOCKS, POOL = 112, 4, 7


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
