"""The two models of FER-Sys: its own three-block CNN, and the emotion model inside the `deepface` package; 48x48 grey faces, random weights.

| model | paper: depth, parameters, accuracy | here: trainable (with running statistics) |
|---|---|---|
| fersys_cnn | 5, not stated, 59 % | 1,306,823 (1,307,271); its widths are ours |
| deepface_emotion | "VGG-Face", not stated, 82 % | 1,485,831 |

Both are Keras models; initial weights and batch normalisation are Keras's.

References:
    Singh & Saharan, FER-Sys: A real-time facial emotion recognition system using DeepFace and CNN frameworks, sections 3.2 and 5.3.
    Serengil, deepface/models/demography/Emotion.py at github.com/serengil/deepface.
"""

from __future__ import annotations

from torch import nn

from ferlab.models.layers import keras_norm, keras_weights, numbered, sequential

SIZE = 48  # H and W of the faces
WIDTHS = (32, 64, 128)  # of fersys_cnn's blocks, which the paper does not give
HIDDEN = (256, 128)  # of its hidden layers, likewise


def fersys_cnn(num_classes: int = 7, in_channels: int = 1, *, dropout: float = 0.25) -> nn.Module:
    """Build three blocks of 3x3 convolution, batch normalisation, ReLU and 2x2 pool, two hidden layers with dropout, and the classes.

    Args:
        dropout: Rate after each hidden layer; the paper does not give it, see the card.
    """
    layers: dict[str, nn.Module] = {}
    inputs = in_channels
    for n, channels in enumerate(WIDTHS, start=1):
        layers |= numbered(n, conv=nn.Conv2d(inputs, channels, 3, padding=1), bn=keras_norm(channels), relu=nn.ReLU(), pool=nn.MaxPool2d(2))
        inputs = channels
    hidden = _hidden((WIDTHS[-1] * (SIZE // 8) ** 2, *HIDDEN), first=4, dropout=dropout)
    return keras_weights(sequential(layers, {"flatten": nn.Flatten()}, hidden, logits=nn.Linear(HIDDEN[-1], num_classes)))


def deepface_emotion(num_classes: int = 7, in_channels: int = 1, *, dropout: float = 0.2) -> nn.Module:
    """Build conv 5x5x64, max pool, 3x3x64 twice, average pool, 3x3x128 twice, average pool, FC 1024 twice with dropout, the classes; all 'valid'."""
    layers = (
        numbered(1, conv=nn.Conv2d(in_channels, 64, 5), relu=nn.ReLU(), pool=nn.MaxPool2d(5, stride=2)),  # (N, 64, 20, 20)
        numbered(2, conv=nn.Conv2d(64, 64, 3), relu=nn.ReLU()),
        numbered(3, conv=nn.Conv2d(64, 64, 3), relu=nn.ReLU(), pool=nn.AvgPool2d(3, stride=2)),  # (N, 64, 7, 7)
        numbered(4, conv=nn.Conv2d(64, 128, 3), relu=nn.ReLU()),
        numbered(5, conv=nn.Conv2d(128, 128, 3), relu=nn.ReLU(), pool=nn.AvgPool2d(3, stride=2)),  # (N, 128, 1, 1)
    )
    hidden = _hidden((128, 1024, 1024), first=6, dropout=dropout)
    return keras_weights(sequential(*layers, {"flatten": nn.Flatten()}, hidden, logits=nn.Linear(1024, num_classes)))


def _hidden(widths: tuple[int, ...], *, first: int, dropout: float) -> dict[str, nn.Module]:
    """Name linear layers between these widths, each with ReLU and dropout; the first activation is relu<first>."""
    layers: dict[str, nn.Module] = {}
    for n in range(1, len(widths)):
        layers |= {f"fc{n}": nn.Linear(widths[n - 1], widths[n]), f"relu{first + n - 1}": nn.ReLU(), f"dropout{n}": nn.Dropout(dropout)}
    return layers
