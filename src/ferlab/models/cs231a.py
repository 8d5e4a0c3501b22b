"""Caffe's models of cs231a: LeNet, CaffeNet and AlexNet on grey faces of 250x250, from random weights.

| model | depth | here: trainable, 7 classes, 250 px | at Caffe's own size |
|---|---|---|---|
| lenet_caffe | 4 | 87,054,577; by Caffe's own rule of rounding 90,029,577 | 429,577 at 28 px (431,080 with the ten digits) |
| caffenet, alexnet_caffe | 8 | 70,505,159 | 56,873,671 at 227 px |

The paper says LeNet and AlexNet; in its repository "lenet" holds CaffeNet and "alexnet" AlexNet, which differ in the order of pool and
normalisation and in the initial biases. All three start from Caffe's own fillers, as the paper's code does (see the cards).

Caffe and torch agree on local response normalisation (both divide alpha by n and have k = 1), on dropout, and on pools with ceil_mode, as no
pool here has padding or a stride above its kernel. Caffe's "xavier" is uniform on +-sqrt(3 / fan_in), not Glorot's.

References:
    The cs231a paper, its section 3.2.3; its code at github.com/barisakis/cs231a_eai.
    Jia et al. (2014), Caffe, arXiv 1408.5093; models/bvlc_reference_caffenet, models/bvlc_alexnet and
    examples/mnist/lenet_train_test.prototxt of github.com/BVLC/caffe.
    Krizhevsky, Sutskever & Hinton (2012), ImageNet classification with deep convolutional neural networks.
"""

from __future__ import annotations

from torch import Tensor, nn

from ferlab.models.layers import numbered, sequential

WEIGHT_STD = 0.01  # of Caffe's gaussian filler
HIDDEN_STD = 0.005  # of the two hidden layers' weights
ZERO_BIASES = ("conv1", "conv3", "fc8")  # the others start at 1 (CaffeNet) or 0.1 (AlexNet)


class GreyLevels(nn.Module):
    """Multiply standardised faces by a constant, back to grey levels."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.spread = spread

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, C, H, W) in grey levels."""
        return images * self.spread

    def extra_repr(self) -> str:
        """Show the constant in the printed model."""
        return f"spread={self.spread}"


def lenet_caffe(num_classes: int = 7, in_channels: int = 1, *, size: int = 250, ceil_mode: bool = False) -> nn.Module:
    """Build conv 5x5x20, pool, conv 5x5x50, pool, FC 500 with the model's only ReLU, and the classes.

    Args:
        size: H and W of the faces.
        ceil_mode: Round the pools' sides up, as Caffe does (study cs231a); at 28 px, the size of Caffe's example, it makes no difference.
    """
    maps = size
    for _ in range(2):
        maps = (maps - 4 + ceil_mode) // 2  # a 5x5 convolution, then a 2x2 pool
    module = sequential(
        numbered(1, conv=nn.Conv2d(in_channels, 20, 5), pool=nn.MaxPool2d(2, ceil_mode=ceil_mode)),
        numbered(2, conv=nn.Conv2d(20, 50, 5), pool=nn.MaxPool2d(2, ceil_mode=ceil_mode)),
        flatten=nn.Flatten(),
        ip1=nn.Linear(50 * maps**2, 500),
        relu1=nn.ReLU(),
        logits=nn.Linear(500, num_classes),
    )
    for layer in module:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")  # +-sqrt(3 / fan_in)
            nn.init.zeros_(layer.bias)
    return module


def caffenet(num_classes: int = 7, in_channels: int = 1, *, size: int = 250, dropout: float = 0.5, grey_std: float = 64.0) -> nn.Module:
    """Build CaffeNet: a pool before each local response normalisation, initial biases of 1.

    Args:
        size: H and W of the faces.
        dropout: Rate after each hidden layer.
        grey_std: Factor on the faces before the first layer. Caffe's gaussian weights expect grey levels of 0 to 255 less the mean: 64, a
            standard deviation, for standardised faces; 255 for faces in [0, 1] less the mean image.
    """
    return _alexnet(num_classes, in_channels, size=size, dropout=dropout, grey_std=grey_std, pool_first=True, bias=1.0)


def alexnet_caffe(num_classes: int = 7, in_channels: int = 1, *, size: int = 250, dropout: float = 0.5, grey_std: float = 64.0) -> nn.Module:
    """Build AlexNet as Caffe has it: local response normalisation before each pool, initial biases of 0.1. Options as in `caffenet`."""
    return _alexnet(num_classes, in_channels, size=size, dropout=dropout, grey_std=grey_std, pool_first=False, bias=0.1)


def _alexnet(num_classes: int, in_channels: int, *, size: int, dropout: float, grey_std: float, pool_first: bool, bias: float) -> nn.Module:
    """Name the layers as Caffe does; shapes in comments are those of a 250-pixel face."""
    maps = (size - 11) // 4 + 1
    for _ in range(3):
        maps = -(-(maps - 3) // 2) + 1  # three pools; the other convolutions keep the side
    model = sequential(
        {"grey": GreyLevels(grey_std)},
        numbered(1, conv=nn.Conv2d(in_channels, 96, 11, stride=4), relu=nn.ReLU(), **_pool_and_norm(pool_first=pool_first)),  # (N, 96, 30, 30)
        numbered(2, conv=nn.Conv2d(96, 256, 5, padding=2, groups=2), relu=nn.ReLU(), **_pool_and_norm(pool_first=pool_first)),  # (N, 256, 15, 15)
        numbered(3, conv=nn.Conv2d(256, 384, 3, padding=1), relu=nn.ReLU()),
        numbered(4, conv=nn.Conv2d(384, 384, 3, padding=1, groups=2), relu=nn.ReLU()),
        numbered(5, conv=nn.Conv2d(384, 256, 3, padding=1, groups=2), relu=nn.ReLU(), pool=_pool()),  # (N, 256, 7, 7)
        {"flatten": nn.Flatten()},
        numbered(6, fc=nn.Linear(256 * maps**2, 4096), relu=nn.ReLU(), drop=nn.Dropout(dropout)),
        numbered(7, fc=nn.Linear(4096, 4096), relu=nn.ReLU(), drop=nn.Dropout(dropout)),
        fc8=nn.Linear(4096, num_classes),
    )
    for name, layer in model.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=HIDDEN_STD if name in ("fc6", "fc7") else WEIGHT_STD)
            nn.init.constant_(layer.bias, 0.0 if name in ZERO_BIASES else bias)
    return model


def _pool_and_norm(*, pool_first: bool) -> dict[str, nn.Module]:
    layers = {"pool": _pool(), "norm": nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)}
    return layers if pool_first else dict(reversed(layers.items()))


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
