"""An exported model as a PyTorch module, so that captum explains the very file that predicts; also one made elsewhere and adopted.

Its final softmax is dropped: attributions are of logits. A graph with an operation that `ferlab.models.graphs` does not follow is refused by
name, and one whose module gives a random face other probabilities than onnxruntime; occlusion needs no module and works for every file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch

from ferlab.deployment.predictor import Predictor, read_model
from ferlab.models import LoadedModel
from ferlab.models.graphs import Graph
from ferlab.paths import InputError

OFF = 1e-3  # of probabilities, from rounding


def load_exported(path: Path) -> LoadedModel:
    """Return an ONNX file as `ferlab.explanation.attributions` takes a model.

    Its target layer is the last feature map behind a convolution. Normalisation is part of the graph, so mean and standard deviation are 0 and 1.

    Raises:
        InputError: As `Predictor.load`; an operation of the graph that is not followed here, or not as onnxruntime does.
    """
    predictor = Predictor.load(path)
    proto = onnx.load_from_string(read_model(path))
    try:
        module = Graph(proto).eval().requires_grad_(False)
        _check_probs(module, predictor, softmax=module.exit != proto.graph.output[0].name)
    except InputError as error:
        raise InputError(f"{error} for Grad-CAM; choose occlusion") from None
    channels = predictor.channels
    shape = {"size": predictor.size, "channels": channels, "mean": (0.0,) * channels, "std": (1.0,) * channels}
    names = {"name": path.parent.name, "expressions": predictor.expressions, "target_layer": module.target_layer}
    return LoadedModel(module=module, options={}, trained_on=(), **names, **shape)


def _check_probs(module: Graph, predictor: Predictor, *, softmax: bool) -> None:
    """Compare the probabilities of a random face with the runtime's; `softmax`: whether the module lacks the graph's own."""
    face = np.random.default_rng(0).random((1, predictor.channels, predictor.size, predictor.size), dtype=np.float32)
    expected = predictor.predict_inputs(face, raw=True)
    try:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(face))
        found = (outputs.softmax(1) if softmax else outputs).numpy()
        off = np.abs(found - expected).max()
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the graph cannot be followed ({' '.join(str(error).split())[:120]})") from None
    if not off <= OFF:
        raise InputError(f"the graph's probabilities differ from onnxruntime's by {off:.2g}, so it is not followed")
