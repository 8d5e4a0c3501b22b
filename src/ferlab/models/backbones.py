"""An ONNX file as a backbone: its graph as a PyTorch module, and a new head for expressions.

| layer | output for InsightFace's w600k_r50.onnx |
|---|---|
| normalise: faces in [0, 1], less `mean`, divided by `std` | 3x112x112 |
| backbone: the graph to its output without a softmax, or to the value that `features` names | 512 |
| average: the mean over positions, where the features are maps | 512 |
| dropout, and with `hidden` one layer and a ReLU | 512, or `hidden` |
| logits | K |

`freeze="all_but_head"` trains the head alone, "none" the weights of the graph too, of which `ferlab.models.graphs` says which they are. Batch
normalisation keeps its statistics in both.

The file is needed for the graph whenever the model is built, so also to load a trained run; `sha256` makes sure that it is the same. An exported run
needs it no longer. The head has Glorot's initial weights.

References:
    Deng, Guo, Xue & Zafeiriou (2019), ArcFace, arXiv 1801.07698, and github.com/deepinsight/insightface, whose ONNX files take faces of 112 pixels
    in RGB, less 127.5, divided by 127.5.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data
from torch import Tensor, nn
from torch.func import functional_call

from ferlab.models.graphs import Graph
from ferlab.models.layers import keras_weights, sequential
from ferlab.paths import ROOT, InputError

FREEZE = ("all_but_head", "none")


@dataclass(frozen=True)
class Source:
    """Where the weights of a model come from.

    Attributes:
        path: The file.
        sha256: Of the file.
        checked: Whether it was compared with a known one.
        trained_on: The data that they were trained on, in words.
    """

    path: Path
    sha256: str
    checked: bool
    trained_on: str


class BackboneNet(nn.Sequential):
    """The graph of a file, which computes the same in training and eval mode, and a head.

    Attributes:
        source: Where the graph's weights come from.
    """

    source: Source


class Normalise(nn.Module):
    """Subtract a mean and divide by a standard deviation, each one value or one per channel."""

    def __init__(self, channels: int, *, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            tensor = torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1, 1)
            if tensor.shape[1] not in (1, channels) or (name == "std" and min(np.atleast_1d(values)) <= 0):
                raise InputError(f"{name}: expected one value or {channels}{', above 0' * (name == 'std')}, got {values}")
            self.register_buffer(name, tensor, persistent=False)  # options, so not in the weights file

    def forward(self, faces: Tensor) -> Tensor:
        """Return normalised faces (N, C, H, W)."""
        return (faces - self.mean) / self.std


class MeanOverPositions(nn.Module):
    """Maps (N, C, H, W) to features (N, C); features stay as they are."""

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, C)."""
        return features.mean(dim=(2, 3)) if features.ndim == 4 else features


def onnx_backbone(
    num_classes: int = 7,
    in_channels: int = 3,
    *,
    file: str = "",
    sha256: str = "",
    trained_on: str = "",
    size: int = 112,
    mean: float | Sequence[float] = 0.5,
    std: float | Sequence[float] = 0.5,
    features: str = "",
    hidden: int = 0,
    dropout: float = 0.0,
    freeze: str = "all_but_head",
) -> nn.Module:
    """Build the graph of an ONNX file and a head.

    Args:
        file: Its path; relative ones below the clone.
        sha256: Of the file; "" where it is not known.
        trained_on: The data that its weights were trained on, in words, for every row of results.
        size: H and W of the input.
        mean: Subtracted from faces in [0, 1]: one value, or one per channel.
        std: Divides them then.
        features: The value of the graph that is taken as features, (N, D) or maps (N, D, H, W); "" for its output.
        hidden: Width of a hidden layer of the head; 0 for none.
        dropout: Rate before the head.
        freeze: "all_but_head" or "none".
    """
    if freeze not in FREEZE:
        raise InputError(f"freeze: expected one of {', '.join(FREEZE)}, got {freeze!r}")
    if not trained_on.strip():
        raise InputError("trained_on: expected the data that the weights of the file were trained on, in words, as 'WebFace600K'; got none")
    path = ROOT / Path(file).expanduser()
    content = _content(path, file)
    found = hashlib.sha256(content).hexdigest()
    if sha256 and found != sha256.lower():
        raise InputError(f"{path}: sha256 is {found}, expected {sha256}; get the file again, or correct the option `sha256`")
    try:
        backbone = Graph(_proto(content, in_channels, size), value=features)
        width = _width(backbone, in_channels, size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    head = {"hidden": nn.Linear(width, hidden), "relu": nn.ReLU()} if hidden else {}
    head = keras_weights(sequential({"dropout": nn.Dropout(dropout)}, head, logits=nn.Linear(hidden or width, num_classes)))
    layers = {"normalise": Normalise(in_channels, mean=mean, std=std), "backbone": backbone, "average": MeanOverPositions()}
    model = BackboneNet(OrderedDict(layers | dict(head.named_children())))
    model.source = Source(path, found, bool(sha256), trained_on.strip())
    backbone.requires_grad_(freeze == "none")
    return model.train()


def _content(path: Path, file: str) -> bytes:
    if not file or not path.is_file():
        wanted = "expected an ONNX file, whose graph the model needs whenever it is built, also to load a trained run"
        raise InputError(f"{path if file else 'file'}: {'no such file' if file else 'no path given'}; {wanted}")
    return path.read_bytes()


def _proto(content: bytes, channels: int, size: int) -> onnx.ModelProto:
    """Return an ONNX file whose graph takes faces of this shape."""
    try:
        proto = onnx.load_from_string(content)
    except DecodeError:
        raise InputError("not an ONNX file, or cut short; get the file again") from None
    graph = proto.graph
    if not graph.output:
        raise InputError("not an ONNX file, or one without an output; get the file again")
    if any(uses_external_data(tensor) for tensor in graph.initializer):
        raise InputError("its weights lie in other files; save it as one file, with onnx.save(onnx.load(PATH), PATH)")
    constants = {tensor.name for tensor in graph.initializer}
    entry = [given for given in graph.input if given.name not in constants]
    sides = [side.dim_value for given in entry for side in given.type.tensor_type.shape.dim]  # 0: free
    if len(entry) != 1 or len(sides) != 4 or any(side not in (0, own) for side, own in zip(sides[1:], (channels, size, size))):
        raise InputError(f"expected a graph with one input (N, {channels}, {size}, {size}); its inputs have the sides {sides} (0: free)")
    return proto


def _width(backbone: Graph, channels: int, size: int) -> int:
    """Return the number of features, found without computing anything."""
    state = {name: tensor.to("meta") for name, tensor in backbone.state_dict().items()}
    try:
        shape = functional_call(backbone, state, (torch.empty(2, channels, size, size, device="meta"),)).shape
    except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        raise InputError(f"its graph takes no two faces (2, {channels}, {size}, {size}) ({' '.join(str(error).split())[:120]})") from None
    if len(shape) not in (2, 4) or shape[0] != 2:
        raise InputError(f"features: expected (N, D) or maps (N, D, H, W), but of two faces {backbone.exit!r} is {tuple(shape)}")
    if backbone.target_layer is None:
        raise InputError("its graph has no convolution; expected an image network with some")
    return int(shape[1])
