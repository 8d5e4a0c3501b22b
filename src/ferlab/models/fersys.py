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

from collections import OrderedDict

from torch import nn

from ferlab.models.keras import keras_norm, keras_weights

SIZE = 48  # H and W of the faces
WIDTHS = (32, 64, 128)  # of fersys_cnn's blocks, which the paper does not give
HIDDEN = (256, 128)  # of its hidden layers, likewise


def fersys_cnn(num_classes: int = 7, in_channels: int = 1, *, dropout: float = 0.25) -> nn.Module:
    """Build three blocks of 3x3 convolution, batch normalisation, ReLU and 2x2 pool, two hidden layers with dropout, and the classes.

    Args:
        dropout: Rate after each hidden layer; the paper does not give it, see the card.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = in_channels
    for n, channels in enumerate(WIDTHS, start=1):
        layers[f"conv{n}"] = nn.Conv2d(inputs, channels, 3, padding=1)
        layers[f"bn{n}"] = keras_norm(channels)
        layers[f"relu{n}"] = nn.ReLU()
        layers[f"pool{n}"] = nn.MaxPool2d(2)
        inputs = channels
    layers |= OrderedDict(flatten=nn.Flatten())  # (N, 4608)
    layers |= _hidden((WIDTHS[-1] * (SIZE // 8) ** 2, *HIDDEN), first=4, dropout=dropout)
    layers["logits"] = nn.Linear(HIDDEN[-1], num_classes)
    return keras_weights(nn.Sequential(layers))


def deepface_emotion(num_classes: int = 7, in_channels: int = 1, *, dropout: float = 0.2) -> nn.Module:
    """Build conv 5x5x64, max pool, 3x3x64 twice, average pool, 3x3x128 twice, average pool, FC 1024 twice with dropout, the classes; all 'valid'."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, 64, 5),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(5, stride=2),  # (N, 64, 20, 20)
        conv2=nn.Conv2d(64, 64, 3),
        relu2=nn.ReLU(),
        conv3=nn.Conv2d(64, 64, 3),
        relu3=nn.ReLU(),
        pool3=nn.AvgPool2d(3, stride=2),  # (N, 64, 7, 7)
        conv4=nn.Conv2d(64, 128, 3),
        relu4=nn.ReLU(),
        conv5=nn.Conv2d(128, 128, 3),
        relu5=nn.ReLU(),
        pool5=nn.AvgPool2d(3, stride=2),  # (N, 128, 1, 1)
        flatten=nn.Flatten(),
    )
    layers |= _hidden((128, 1024, 1024), first=6, dropout=dropout)
    layers["logits"] = nn.Linear(1024, num_classes)
    return keras_weights(nn.Sequential(layers))


def _hidden(widths: tuple[int, ...], *, first: int, dropout: float) -> OrderedDict[str, nn.Module]:
    """Name linear layers between these widths, each with ReLU and dropout; the first activation is relu<first>."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for n in range(1, len(widths)):
        layers[f"fc{n}"] = nn.Linear(widths[n - 1], widths[n])
        layers[f"relu{first + n - 1}"] = nn.ReLU()
        layers[f"dropout{n}"] = nn.Dropout(dropout)
    return layers
