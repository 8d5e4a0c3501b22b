"""ferlab's own compact model for 48x48 grey faces: two hours of training on a CPU, milliseconds a face on one thread.

| model | trainable (with running statistics) | multiply-adds a face |
|---|---|---|
| compact | 1,940,199 (1,942,951) | 160 million |
| compact, block: plain, down: pool | 1,165,159 (1,167,015) | 96 million |
| compact, block: reparam, down: pool; the row above once exported | 1,296,871 (1,301,415) | 107 million |
| compact, block: plain, down: pool, widths: 48, 96, 192, 384 (ships) | 2,618,647 (2,621,431) | 216 million |

One 3x3 convolution at full size, then three stages at half, a quarter and an eighth of it: a 3x3 convolution with stride 2 and a
residual block of two, or one more convolution (plain). With block: reparam the convolutions of the stages are those of plain, trained as
parallel branches and exported as one convolution each. With stem: whitened the first convolution is fixed: it whitens the patches of the training
faces, which training computes; only its biases are trained. There is no hidden layer: the logits are linear in the means of the last maps, so any
input size is possible and each class has its class activation map.

References:
    He, Zhang, Ren & Sun (2015), Deep Residual Learning for Image Recognition, arXiv 1512.03385: the block, its initial weights.
    Ding, Zhang, Ma, Han, Ding & Sun (2021), RepVGG: Making VGG-style ConvNets Great Again, arXiv 2101.03697: the branches and their folding.
    Page (2018), How to train your ResNet: that one block a stage is enough where time is short; whitening of 3x3 patches.
    Jordan (2024), 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv 2404.00498, section 3.2: each filter and its negative, trained biases.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ferlab.models.layers import sequential
from ferlab.paths import InputError

VARIANCE = 5e-4  # added to that of each direction of the patches, as Jordan's code has it


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


class Whitening(nn.Module):
    """A 3x3 convolution whose fixed weights whiten patches, each filter beside its negative, with trained biases, and a ReLU.

    The weights are random until `whiten` sets them.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 2 * 9 * channels, 3, padding=1)
        self.conv.weight.requires_grad_(False)
        nn.init.zeros_(self.conv.bias)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return float (N, 18 C, H, W) of (N, C, H, W)."""
        return self.relu(self.conv(x))

    @torch.no_grad()
    def whiten(self, inputs: Tensor) -> None:
        """Set the weights from the patches of a model's inputs, float32 (N, C, H, W), by a PCA of their second moments."""
        patches = F.unfold(inputs.cpu(), 3).transpose(1, 2).flatten(0, 1)  # (N L, 9 C)
        moments = (patches.double().T @ patches.double()) / len(patches)
        variances, directions = torch.linalg.eigh(moments)
        filters = (directions / (variances + VARIANCE).sqrt()).T.view(-1, *self.conv.weight.shape[1:])
        self.conv.weight.copy_(torch.cat([filters, -filters]))


class Branches(nn.Module):
    """A 3x3 and a 1x1 convolution and, where input and output have one shape, the identity, added after a batch normalisation each, and a ReLU.

    Once trained, all is one 3x3 convolution, see `folded`.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv3 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.same = nn.BatchNorm2d(outputs) if inputs == outputs and stride == 1 else None
        self.relu = nn.ReLU(inplace=False)  # Keep: Grad-CAM hooks this layer

    def forward(self, x: Tensor) -> Tensor:
        """Return float (N, outputs, H', W') of (N, inputs, H, W)."""
        added = self.bn3(self.conv3(x)) + self.bn1(self.conv1(x))
        return self.relu(added if self.same is None else added + self.same(x))

    @torch.no_grad()
    def folded(self) -> nn.Sequential:
        """Return the same function in eval mode as one convolution and the ReLU."""
        weight = self.conv3.weight
        kernels = [(weight, self.bn3), (F.pad(self.conv1.weight, (1, 1, 1, 1)), self.bn1)]
        if self.same is not None:
            identity = torch.eye(len(weight), device=weight.device).view(*weight.shape[:2], 1, 1)
            kernels.append((F.pad(identity, (1, 1, 1, 1)), self.same))
        conv = nn.Conv2d(weight.shape[1], len(weight), 3, stride=self.conv3.stride, padding=1)
        parts = [_normalised(kernel.double(), norm) for kernel, norm in kernels]
        conv.weight.copy_(sum(kernel for kernel, _ in parts))
        conv.bias.copy_(sum(bias for _, bias in parts))
        return sequential(conv=conv, relu=nn.ReLU()).to(weight.device)


def _normalised(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return kernel and bias of a convolution followed by a batch normalisation in eval mode."""
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return kernel * scale.view(-1, 1, 1, 1), norm.bias.double() - norm.running_mean.double() * scale


def compact(
    num_classes: int = 7,
    in_channels: int = 1,
    *,
    widths: tuple[int, ...] = (32, 64, 128, 256),
    blocks: tuple[int, ...] = (1, 1, 1),
    down: str = "stride",
    block: str = "residual",
    stem: str = "conv",
    dropout: float = 0.4,
) -> nn.Module:
    """Build the compact model.

    Args:
        widths: Channels of the first convolution and of each stage.
        blocks: Blocks of each stage.
        down: How a stage halves the side: "stride" (of its first convolution) or "pool" (2x2, before it).
        block: "residual" (two convolutions and the identity), "plain" (one convolution) or "reparam" (plain, trained in branches).
        stem: "conv", or "whitened" (fixed weights of the training faces' patches; 18 channels, 54 of a colour model).
        dropout: Rate before the last layer.
    """
    if down not in ("stride", "pool"):
        raise InputError(f"compact: down: expected 'stride' or 'pool', got {down!r}")
    if block not in ("residual", "plain", "reparam"):
        raise InputError(f"compact: block: expected 'residual', 'plain' or 'reparam', got {block!r}")
    if len(blocks) != len(widths) - 1 or not blocks:
        raise InputError(f"compact: blocks: expected one number for each of the {len(widths) - 1} widths after the first, got {len(blocks)}")
    if stem not in ("conv", "whitened"):
        raise InputError(f"compact: stem: expected 'conv' or 'whitened', got {stem!r}")
    if stem == "whitened" and widths[0] != 18 * in_channels:
        raise InputError(f"compact: widths: a whitened stem has {18 * in_channels} channels; expected them to begin with that, got {widths[0]}")
    first_layer = Whitening(in_channels) if stem == "whitened" else _convolution(in_channels, widths[0], stride=1)
    layers: dict[str, nn.Module] = {"stem": first_layer}
    for n, count in enumerate(blocks, start=1):
        pool = {"pool": nn.MaxPool2d(2)} if down == "pool" else {}
        first = {"down": (Branches if block == "reparam" else _convolution)(widths[n - 1], widths[n], stride=1 if pool else 2)}
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
    if kind == "reparam":
        return Branches(channels, channels, stride=1)
    return Residual(channels) if kind == "residual" else _convolution(channels, channels, stride=1, inplace=False)  # likewise


def _convolution(inputs: int, outputs: int, *, stride: int, inplace: bool = True) -> nn.Sequential:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return sequential(conv=conv, bn=nn.BatchNorm2d(outputs), relu=nn.ReLU(inplace=inplace))
