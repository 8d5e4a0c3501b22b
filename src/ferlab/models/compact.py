"""ferlab's own compact model for 48x48 grey faces: two hours of training on a CPU, milliseconds a face on one thread.

| model | trainable (with running statistics) | multiply-adds a face |
|---|---|---|
| compact | 1,940,199 (1,942,951) | 160 million |
| compact, block: plain, down: pool | 1,165,159 (1,167,015) | 96 million |
| compact, block: plain, down: pool, widths: 48, 96, 192, 384 (ships) | 2,618,647 (2,621,431) | 216 million |

One 3x3 convolution at full size, then three stages at half, a quarter and an eighth of it: a 3x3 convolution with stride 2 and a
residual block of two, or one more convolution (plain). There is no hidden layer: the logits are linear in the means of the last maps, so any
input size is possible and each class has its class activation map.

References:
    He, Zhang, Ren & Sun (2015), Deep Residual Learning for Image Recognition, arXiv 1512.03385: the block, its initial weights.
    Page (2018), How to train your ResNet: that one block a stage is enough where time is short.
"""

from __future__ import annotations

from torch import Tensor, nn

from ferlab.models.layers import sequential
from ferlab.paths import InputError


class Residual(nn.Module):
    """A residual block of two 3x3 convolutions: relu(x + f(x)), float (N, C, H, W) to the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=False)  # Keep: Grad-CAM hooks this layer

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        return self.relu(x + self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x))))))


def compact(
    num_classes: int = 7,
    in_channels: int = 1,
    *,
    widths: tuple[int, ...] = (32, 64, 128, 256),
    blocks: tuple[int, ...] = (1, 1, 1),
    down: str = "stride",
    block: str = "residual",
    dropout: float = 0.4,
) -> nn.Module:
    """Build the compact model.

    Args:
        widths: Channels of the first convolution and of each stage.
        blocks: Blocks of each stage.
        down: How a stage halves the side: "stride" (of its first convolution) or "pool" (2x2, before it).
        block: "residual" (two convolutions and the identity) or "plain" (one convolution).
        dropout: Rate before the last layer.
    """
    if down not in ("stride", "pool"):
        raise InputError(f"compact: down: expected 'stride' or 'pool', got {down!r}")
    if block not in ("residual", "plain"):
        raise InputError(f"compact: block: expected 'residual' or 'plain', got {block!r}")
    if len(blocks) != len(widths) - 1 or not blocks:
        raise InputError(f"compact: blocks: expected one number for each of the {len(widths) - 1} widths after the first, got {len(blocks)}")
    layers: dict[str, nn.Module] = {"stem": _convolution(in_channels, widths[0], stride=1)}
    for n, count in enumerate(blocks, start=1):
        pool = {"pool": nn.MaxPool2d(2)} if down == "pool" else {}
        first = {"down": _convolution(widths[n - 1], widths[n], stride=1 if pool else 2)}
        layers[f"stage{n}"] = sequential(pool, first, {f"block{b}": _block(block, widths[n]) for b in range(1, count + 1)})
    logits = nn.Linear(widths[-1], num_classes)
    module = sequential(layers, average=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=nn.Dropout(dropout), logits=logits)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, Residual):
            nn.init.zeros_(layer.bn2.weight)  # a block begins as the identity
    return module


def _block(kind: str, channels: int) -> nn.Module:
    return Residual(channels) if kind == "residual" else _convolution(channels, channels, stride=1, inplace=False)  # likewise


def _convolution(inputs: int, outputs: int, *, stride: int, inplace: bool = True) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return sequential(conv=conv, bn=nn.BatchNorm2d(outputs), relu=nn.ReLU(inplace=inplace))
