"""An exported model as a PyTorch module, so that captum explains the very file that predicts; also one made elsewhere and adopted.

Its final softmax is dropped: attributions are of logits. A graph with an operation that `ferlab.models.graphs` does not follow is refused by
name; occlusion needs no module and works for every file.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from ferlab.deployment.predictor import Predictor, read_model
from ferlab.models import LoadedModel
from ferlab.models.graphs import Graph
from ferlab.paths import InputError


def load_exported(path: Path) -> LoadedModel:
    """Return an ONNX file as `ferlab.explanation.attributions` takes a model.

    Its target layer is the last feature map behind a convolution. Normalisation is part of the graph, so mean and standard deviation are 0 and 1.

    Raises:
        InputError: As `Predictor.load`; an operation of the graph that is not followed here.
    """
    predictor = Predictor.load(path)
    graph = onnx.load_from_string(read_model(path)).graph
    try:
        module = Graph(graph).eval().requires_grad_(False)
    except InputError as error:
        raise InputError(f"{error} for Grad-CAM; choose occlusion") from None
    channels = predictor.channels
    shape = {"size": predictor.size, "channels": channels, "mean": (0.0,) * channels, "std": (1.0,) * channels}
    names = {"name": path.parent.name, "expressions": predictor.expressions, "target_layer": module.target_layer}
    return LoadedModel(module=module, options={}, trained_on=(), **names, **shape)
