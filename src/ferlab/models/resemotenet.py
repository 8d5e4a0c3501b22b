"""The plain CNN of the paper that sets "CNN against ResEmoteNet", from random weights on 48x48 grey faces.

| net | paper | here: trainable (with running statistics) |
|---|---|---|
| resemotenet_cnn | depth 8, parameters not stated, 62.6 % | 1,180,103 (1,182,151) |

Three stages of two 3x3 convolutions (64, 128, 256 channels), each with batch normalisation and ReLU, a 2x2 pool and dropout that
grows from .25 to .45; global average pooling; a hidden layer of 128 with batch normalisation; the classes. 341 million
multiply-adds a face: heavy on a CPU.

References:
    Roy, Kathania, Sharma, Dey & Ansari (2024), ResEmoteNet: Bridging Accuracy and Loss Reduction in Facial Emotion Recognition,
    arXiv 2409.10545: the net this CNN is compared with.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

STAGES = ((64, 0.25), (128, 0.35), (256, 0.45))  # channels, dropout


def resemotenet_cnn(num_classes: int = 7, in_channels: int = 1, *, fc_dropout: float = 0.5) -> nn.Module:
    """Build the three-stage CNN.

    Args:
        num_classes: K, the width of the last layer.
        in_channels: C of the input, float32 (N, C, H, W), H and W of 8 or more.
        fc_dropout: Rate before the last layer; the paper does not give it.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for n, (channels, dropout) in enumerate(STAGES, start=1):
        layers[f"stage{n}"] = _stage(in_channels if n == 1 else STAGES[n - 2][0], channels, dropout=dropout)
    layers |= OrderedDict(
        average=nn.AdaptiveAvgPool2d(1),  # (N, 256, 1, 1)
        flatten=nn.Flatten(),
        fc1=nn.Linear(STAGES[-1][0], 128),
        bn=nn.BatchNorm1d(128),
        relu=nn.ReLU(),
        dropout=nn.Dropout(fc_dropout),
        logits=nn.Linear(128, num_classes),
    )
    return nn.Sequential(layers)


def _stage(inputs: int, outputs: int, *, dropout: float) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(inputs, outputs, 3, padding=1),
            bn1=nn.BatchNorm2d(outputs),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(outputs, outputs, 3, padding=1),
            bn2=nn.BatchNorm2d(outputs),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            dropout=nn.Dropout(dropout),
        )
    )
