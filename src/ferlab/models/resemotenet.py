"""The two models of the paper that compares a CNN with ResEmoteNet, from random weights on 48x48 grey faces.

| model | paper | here: trainable (with running statistics) |
|---|---|---|
| resemotenet_cnn | depth 8, parameters not stated, 62.6 % | 1,180,103 (1,182,151) |
| resemotenet | parameters not stated, 61.9 % | 80,237,447 (80,259,847) |
| resemotenet, 3 channels, as its authors train it | 79.79 % in Roy et al. | 80,238,599 (80,260,999) |

The CNN: three stages of two 3x3 convolutions (64, 128, 256 channels), each with batch normalisation and ReLU, a 2x2 pool and
dropout that grows from 0.25 to 0.45; global average pooling; a hidden layer of 128 with batch normalisation; the classes. 341 million
multiply-adds a face.

ResEmoteNet: three 3x3 convolutions (64, 128, 256 channels) with batch normalisation, ReLU and a 2x2 pool, a gate on the channels
(squeeze and excitation), three residual blocks that double the channels and halve the side, global average pooling, hidden layers
of 1024, 512 and 256. The last block reduces 48 pixels to one.

References:
    Roy, Kathania, Sharma, Dey & Ansari (2024), ResEmoteNet: Bridging Accuracy and Loss Reduction in Facial Emotion Recognition,
    arXiv 2409.10545; its code at github.com/ArnabKumarRoy02/ResEmoteNet, approach/ResEmoteNet.py.
    Hu, Shen & Sun (2018), Squeeze-and-Excitation Networks, arXiv 1709.01507.
"""

from __future__ import annotations

from torch import Tensor, nn

from ferlab.models.layers import numbered, sequential
from ferlab.paths import InputError

STAGES = ((64, 0.25), (128, 0.35), (256, 0.45), (512, 0.45), (512, 0.45))  # channels, dropout; the paper's model has the first three


def resemotenet_cnn(num_classes: int = 7, in_channels: int = 1, *, stages: int = 3, fc_dropout: float = 0.5) -> nn.Module:
    """Build the three-stage CNN, or a deeper one.

    Args:
        stages: 3, or 4 or 5 with 512 channels in those: the paper tried deeper ones, which "overfitted", and gives no widths. H and W are at least
            2 to the power of `stages`.
        fc_dropout: Rate before the last layer; the paper does not give it.
    """
    if stages not in (3, 4, 5):
        raise InputError(f"stages: expected 3, 4 or 5, got {stages!r}")
    layers: dict[str, nn.Module] = {}
    for n, (channels, dropout) in enumerate(STAGES[:stages], start=1):
        layers[f"stage{n}"] = _stage(in_channels if n == 1 else STAGES[n - 2][0], channels, dropout=dropout)
    layers |= {"average": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "fc1": nn.Linear(STAGES[stages - 1][0], 128), "bn": nn.BatchNorm1d(128)}
    return sequential(layers, relu=nn.ReLU(), dropout=nn.Dropout(fc_dropout), logits=nn.Linear(128, num_classes))


def resemotenet(num_classes: int = 7, in_channels: int = 1, *, dropout: float = 0.2, fc_dropout: float = 0.5) -> nn.Module:
    """Build ResEmoteNet as its authors' code has it.

    Args:
        dropout: Rate after the first two pools.
        fc_dropout: Rate after each of the three hidden layers.
    """
    layers: dict[str, nn.Module] = {}
    for n, (inputs, outputs) in enumerate(((in_channels, 64), (64, 128), (128, 256)), start=1):
        layers |= numbered(n, conv=nn.Conv2d(inputs, outputs, 3, padding=1), bn=nn.BatchNorm2d(outputs), relu=nn.ReLU(), pool=nn.MaxPool2d(2))
        if n < 3:
            layers[f"dropout{n}"] = nn.Dropout(dropout)
    layers |= {"gate": ChannelGate(256, reduction=16), "block1": ResidualBlock(256, 512), "block2": ResidualBlock(512, 1024)}
    layers |= {"block3": ResidualBlock(1024, 2048), "average": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    for n, (inputs, outputs) in enumerate(((2048, 1024), (1024, 512), (512, 256)), start=1):
        layers |= numbered(n, fc=nn.Linear(inputs, outputs), fc_relu=nn.ReLU(), fc_dropout=nn.Dropout(fc_dropout))
    return sequential(layers, logits=nn.Linear(256, num_classes))


class ChannelGate(nn.Module):
    """Squeeze and excitation: scale each channel by a factor in (0, 1), computed from the means of all (Hu, Shen & Sun, 2018)."""

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        self.average = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Linear(channels, channels // reduction, bias=False)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(channels // reduction, channels, bias=False)
        self.sigmoid = nn.Sigmoid()

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, C, H, W), scaled."""
        scales = self.sigmoid(self.fc2(self.relu(self.fc1(self.average(maps).flatten(1)))))  # (N, C)
        return maps * scales[:, :, None, None]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, the first with stride 2, added to a 1x1 convolution of the input (He et al., 2016, arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = sequential(conv=nn.Conv2d(inputs, outputs, 1, stride=2), bn=nn.BatchNorm2d(outputs))
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, outputs, ceil(H / 2), ceil(W / 2))."""
        changed = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(maps)))))
        return self.relu2(changed + self.shortcut(maps))


def _stage(inputs: int, outputs: int, *, dropout: float) -> nn.Module:
    first = numbered(1, conv=nn.Conv2d(inputs, outputs, 3, padding=1), bn=nn.BatchNorm2d(outputs), relu=nn.ReLU())
    second = numbered(2, conv=nn.Conv2d(outputs, outputs, 3, padding=1), bn=nn.BatchNorm2d(outputs), relu=nn.ReLU())
    return sequential(first, second, pool=nn.MaxPool2d(2), dropout=nn.Dropout(dropout))
