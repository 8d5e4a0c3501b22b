"""What families of models share: named sequences of layers, and Keras's defaults, for papers that used Keras."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import chain

from torch import nn


def sequential(*parts: Mapping[str, nn.Module], **last: nn.Module) -> nn.Sequential:
    """Return named layers in sequence."""
    return nn.Sequential(OrderedDict(chain(*(part.items() for part in (*parts, last)))))


def numbered(n: int | str, **layers: nn.Module) -> dict[str, nn.Module]:
    """Return layers named conv1, relu1, ... for `n` = 1."""
    return {f"{name}{n}": layer for name, layer in layers.items()}


def keras_norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch normalisation with Keras's epsilon 1e-3 and momentum 0.99, which torch writes as 0.01."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def keras_weights(module: nn.Module) -> nn.Module:
    """Set Glorot uniform weights and zero biases (Glorot & Bengio, 2010)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module
