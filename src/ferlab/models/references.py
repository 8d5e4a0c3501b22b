"""Reference models on FER2013: a VGG, a ResNet-18 for small faces and a mini-Xception, from random weights.

| model | source: parameters, accuracy | here: trainable (with running statistics) |
|---|---|---|
| vgg_fer | not stated, 73.28 % | 29,890,759 (29,894,599) |
| resnet18_fer | not stated, 73.70 % | 11,171,271 (11,180,871) |
| resnet18_fer, width=32 | - | 2,796,263 (2,801,063) |
| mini_xception | 58,423, 66 % | 56,951 (58,423) |

The first two are trained on random crops of 40 and 44 pixels and tested on the average of ten or five crops.

References:
    Khaireddin & Chen (2021), Facial Emotion Recognition: State of the Art Performance on FER2013, arXiv 2105.03588; its code at
    github.com/usef-kh/fer, models/vgg.py.
    He, Zhang, Ren & Sun (2016), Deep Residual Learning for Image Recognition, arXiv 1512.03385, with the 3x3 stem of its CIFAR models; on
    FER2013 github.com/LetheSec/Fer2013-Facial-Emotion-Recognition-Pytorch and github.com/WuJie1010/Facial-Expression-Recognition.Pytorch.
    Arriaga, Plöger & Valdenegro (2017), Real-time Convolutional Neural Networks for Emotion and Gender Classification, arXiv
    1710.07557; its code at github.com/oarriaga/face_classification, src/models/cnn.py, which the `fer` package ships trained.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ferlab.models.layers import keras_norm, keras_weights, numbered, sequential


def vgg_fer(num_classes: int = 7, in_channels: int = 1, *, size: int = 40, dropout: float = 0.2) -> nn.Module:
    """Build four stages of two 3x3 convolutions (64, 128, 256, 512), each with batch normalisation and ReLU, a 2x2 pool each, FC 4096 twice.

    Args:
        size: H and W of the input.
        dropout: Rate after each hidden layer.
    """
    layers: dict[str, nn.Module] = {}
    widths = (in_channels, 64, 128, 256, 512)
    for n in range(1, 5):
        for part, inputs in ((f"{n}a", widths[n - 1]), (f"{n}b", widths[n])):
            layers |= numbered(part, conv=nn.Conv2d(inputs, widths[n], 3, padding=1), bn=nn.BatchNorm2d(widths[n]), relu=nn.ReLU())
        layers[f"pool{n}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    for n, inputs in ((1, 512 * (size // 16) ** 2), (2, 4096)):
        layers |= numbered(n, fc=nn.Linear(inputs, 4096), fc_relu=nn.ReLU(), fc_dropout=nn.Dropout(dropout))
    return sequential(layers, logits=nn.Linear(4096, num_classes))


def resnet18_fer(num_classes: int = 7, in_channels: int = 1, *, width: int = 64, dropout: float = 0.0) -> nn.Module:
    """Build a ResNet-18 whose first layer is a 3x3 convolution of stride 1 without a pool, for small faces.

    Args:
        width: Channels of the first of four stages; each further one has twice as many.
        dropout: Rate before the last layer.
    """
    layers = numbered(1, conv=nn.Conv2d(in_channels, width, 3, padding=1, bias=False), bn=nn.BatchNorm2d(width), relu=nn.ReLU())
    inputs = width
    for stage in range(1, 5):
        outputs = width * 2 ** (stage - 1)
        for block in (1, 2):
            layers[f"stage{stage}_{block}"] = ResidualBlock(inputs, outputs, stride=2 if stage > 1 and block == 1 else 1)
            inputs = outputs
    layers |= {"average": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "dropout": nn.Dropout(dropout)}
    return sequential(layers, logits=nn.Linear(inputs, num_classes))


def mini_xception(num_classes: int = 7, in_channels: int = 1) -> nn.Module:
    """Build two 3x3x8 convolutions without padding, four residual blocks of separable convolutions (16, 32, 64, 128) and a map for each class.
    """
    layers: dict[str, nn.Module] = {}
    for n, inputs in ((1, in_channels), (2, 8)):
        layers |= numbered(n, conv=nn.Conv2d(inputs, 8, 3, bias=False), bn=keras_norm(8), relu=nn.ReLU())
    for n, outputs in enumerate((16, 32, 64, 128), start=1):
        layers[f"block{n}"] = SeparableBlock(outputs // 2, outputs)
    maps = nn.Conv2d(128, num_classes, 3, padding=1)
    return keras_weights(sequential(layers, maps=maps, average=nn.AdaptiveAvgPool2d(1), logits=nn.Flatten()))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to the input, or to a 1x1 convolution of it where the shape changes."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu2 = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, outputs, H / stride, W / stride), rounded up."""
        changed = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(maps)))))
        return self.relu2(changed + self.shortcut(maps))


class SeparableBlock(nn.Module):
    """Two separable convolutions and a pool of stride 2, added to a strided 1x1 convolution of the input; no activation behind the sum."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), keras_norm(outputs))  # of every other pixel, see forward
        self.conv1 = _separable(inputs, outputs)
        self.bn1 = keras_norm(outputs)
        self.relu = nn.ReLU()
        self.conv2 = _separable(outputs, outputs)
        self.bn2 = keras_norm(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (N, outputs, ceil(H / 2), ceil(W / 2))."""
        changed = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(maps)))))
        # Keep: with stride=2, 8 channels, channels_last and float32 the convolution's backward pass ends the process (PyTorch 2.13, oneDNN).
        return _pool_same(changed) + self.shortcut(maps[:, :, ::2, ::2])


def _separable(inputs: int, outputs: int) -> nn.Module:
    depthwise = nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False)
    return sequential(depthwise=depthwise, pointwise=nn.Conv2d(inputs, outputs, 1, bias=False))


def _pool_same(maps: Tensor) -> Tensor:
    """Pool 3x3 with stride 2 and Keras's 'same': an odd side is padded on both ends, an even one right and below alone, as ceil_mode does."""
    return F.max_pool2d(maps, 3, stride=2, padding=(maps.shape[2] % 2, maps.shape[3] % 2), ceil_mode=True)
