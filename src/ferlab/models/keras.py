"""Keras's defaults, for the families whose papers used Keras: initial weights and batch normalisation. All that families may share."""

from __future__ import annotations

from torch import nn


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
