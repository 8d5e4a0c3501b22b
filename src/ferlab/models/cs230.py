"""The small models of cs230: the five-layer model and two readings of the baseline, all from random weights on 48x48 grey faces.

| model | paper: depth, parameters, accuracy | here: trainable (with running statistics) |
|---|---|---|
| five_layer | 5, 2.4M, 66.3 % | 2,436,263 (2,436,519) |
| baseline, the authors' notebook | - | 2,434,921 (2,437,355) |
| baseline_text, fc_units=8192 | -, 37.8M, 64.0 % | 37,842,599 (37,842,855) |
| five_layer_hog (no model of cs230's) | - | 3,357,863 (3,358,119) |

Faithful to Keras 2: Glorot uniform weights, zero biases, batch normalisation with epsilon 1e-3 and momentum 0.99 after the ReLU,
'same' padding that puts the odd pixel of an even kernel on the right and below.

References:
    Khanzada, Bai & Celepcikay (2020), Facial Expression Recognition with Deep Learning, arXiv 2004.11823; its code and the
    five-layer model it ships (webapp/public/jsmodel/model.json) at github.com/amilkh/cs230-fer.
    Kim, Roh, Dong & Lee (2016), Hierarchical committee of deep convolutional neural networks: where the five-layer model comes from.
    Zhang, Luo, Loy & Tang (2015), Learning Social Relation Traits from Face Images, arXiv 1509.03936: histograms of oriented gradients beside the
    maps in the first dense layer, as cs230 describes it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ferlab.models.descriptors import BLOCK_VALUES, CELL, GradientHistograms
from ferlab.models.layers import keras_norm, keras_weights, numbered, sequential
from ferlab.paths import InputError

SIZE = 48  # H and W of the faces
MAP_VALUES = 64 * (SIZE // 8) ** 2  # of the five-layer model's last maps
GREY_LEVELS = 64.0  # per unit of a standardised face, see `ferlab.models.classical.hog_svm`


def five_layer(num_classes: int = 7, in_channels: int = 1, *, pool: str = "2x2", dropout: float = 0.3) -> nn.Module:
    """Build conv 5x5x32, 4x4x32, 5x5x64, each with ReLU, batch normalisation and a pool, then FC 1024 and the classes.

    Args:
        pool: "2x2" (the shipped model) or "3x3same" (the text: 3x3, stride 2; 'same', as only that gives 2.4M parameters).
        dropout: Rate after the hidden layer.
    """
    return keras_weights(sequential(_five_layer_maps(in_channels, pool), _dense(MAP_VALUES, num_classes, dropout=dropout)))


def five_layer_hog(num_classes: int = 7, in_channels: int = 1, *, pool: str = "2x2", dropout: float = 0.3) -> nn.Module:
    """Build `five_layer` whose first dense layer takes histograms of oriented gradients beside the flattened maps (early fusion).

    Args:
        pool: As of `five_layer`.
        dropout: Rate after the hidden layer.
    """
    return keras_weights(_Fused(sequential(_five_layer_maps(in_channels, pool)), num_classes, dropout=dropout))


class _Fused(nn.Module):
    def __init__(self, maps: nn.Sequential, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.maps, self.histograms = maps, GradientHistograms(grey_levels=GREY_LEVELS)
        self.dense = sequential(_dense(MAP_VALUES + (SIZE // CELL - 1) ** 2 * BLOCK_VALUES, num_classes, dropout=dropout))

    def forward(self, faces: Tensor) -> Tensor:
        """Return logits."""
        maps = self.maps(faces)
        histograms = self.histograms(faces).detach()  # Keep: in flat patches their gradient is infinite; gradient maps are those of the maps
        return self.dense(torch.cat([maps, histograms.to(maps.dtype)], dim=1))


def baseline(num_classes: int = 7, in_channels: int = 1, *, dropout: float = 0.3) -> nn.Module:
    """Build the notebook's baseline: batch normalisation of the input, 3x3 convolutions 32, 32, 64, 64 with dropout 0.2, FC 1024 with `dropout`."""
    layers: dict[str, nn.Module] = {"bn0": keras_norm(in_channels)}
    widths = (in_channels, 32, 32, 64, 64)
    for n in range(1, 5):
        layers |= _stage(n, widths[n - 1], widths[n])
        if n > 1:  # the notebook comments the first pool out
            layers[f"pool{n}"] = nn.MaxPool2d(2)
        layers[f"dropout{n}"] = nn.Dropout(0.2)
    hidden, norm = nn.Linear(64 * (SIZE // 8) ** 2, 1024), nn.BatchNorm1d(1024, eps=1e-3, momentum=0.01)
    layers |= {"flatten": nn.Flatten(), "fc1": hidden, **numbered(5, relu=nn.ReLU(), dropout=nn.Dropout(dropout), bn=norm)}
    return keras_weights(sequential(layers, logits=nn.Linear(1024, num_classes)))


def baseline_text(num_classes: int = 7, in_channels: int = 1, *, fc_units: int = 8192, dropout: float = 0.5, norm: bool = True) -> nn.Module:
    """Build the text's baseline: four 3x3x32 convolutions with batch normalisation, a pool after the second and the fourth, one hidden layer.

    Args:
        fc_units: Width of the hidden layer, which the text does not give.
        dropout: Rate after the hidden layer.
        norm: With batch normalisation; the paper states 53.0 % without it and dropout, 64.0 % with both.
    """
    layers: dict[str, nn.Module] = {}
    for n in range(1, 5):
        layers |= _stage(n, in_channels if n == 1 else 32, 32, norm=norm)
        if n in (2, 4):
            layers[f"pool{n}"] = nn.MaxPool2d(2)
    layers |= {"flatten": nn.Flatten(), "fc1": nn.Linear(32 * (SIZE // 4) ** 2, fc_units), "relu5": nn.ReLU()}
    return keras_weights(sequential(layers, dropout=nn.Dropout(dropout), logits=nn.Linear(fc_units, num_classes)))


def _five_layer_maps(in_channels: int, pool: str) -> dict[str, nn.Module]:
    return {
        **numbered(1, conv=nn.Conv2d(in_channels, 32, 5, padding=2), relu=nn.ReLU(), bn=keras_norm(32), pool=_pool(pool)),
        "pad2": nn.ZeroPad2d((1, 2, 1, 2)),  # Keras's 'same' for a 4x4 kernel: 1 left and above, 2 right and below
        **numbered(2, conv=nn.Conv2d(32, 32, 4), relu=nn.ReLU(), bn=keras_norm(32), pool=_pool(pool)),
        **numbered(3, conv=nn.Conv2d(32, 64, 5, padding=2), relu=nn.ReLU(), bn=keras_norm(64), pool=_pool(pool)),
        "flatten": nn.Flatten(),
    }


def _dense(inputs: int, num_classes: int, *, dropout: float) -> dict[str, nn.Module]:
    hidden = {"fc1": nn.Linear(inputs, 1024), "relu4": nn.ReLU(), "dropout": nn.Dropout(dropout)}
    return {**hidden, "logits": nn.Linear(1024, num_classes)}


def _stage(n: int, inputs: int, outputs: int, *, norm: bool = True) -> dict[str, nn.Module]:
    layers = numbered(n, conv=nn.Conv2d(inputs, outputs, 3, padding=1), relu=nn.ReLU(), bn=keras_norm(outputs))
    return layers if norm else {name: layer for name, layer in layers.items() if not isinstance(layer, nn.BatchNorm2d)}


def _pool(pool: str) -> nn.MaxPool2d:
    if pool == "2x2":
        return nn.MaxPool2d(2)
    if pool == "3x3same":
        return nn.MaxPool2d(3, stride=2, ceil_mode=True)  # 'same' on an even side pads right and below alone, as ceil_mode does
    raise InputError(f"five_layer: pool: expected '2x2' or '3x3same', got {pool!r}")
