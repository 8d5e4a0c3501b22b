"""dlib's face recognition network with a head for expressions in place of its last layers: transfer as in cs230, from other weights.

| layers | output at 112 | at 150 |
|---|---|---|
| conv32_down: 7x7, stride 2; max pool 3x3, stride 2 | 26x26x32 | 35x35x32 |
| conv32_1 to conv32_3 | 26x26x32 | 35x35x32 |
| conv64_down, conv64_1 to conv64_3 | 13x13x64 | 17x17x64 |
| conv128_down, conv128_1, conv128_2 | 6x6x128 | 8x8x128 |
| conv256_down, conv256_1, conv256_2 | 3x3x256 | 4x4x256 |
| conv256_down_out (`features="conv256_down_out"` and `"descriptor"`) | 1x1x256 | 2x2x256 |
| mean over positions | 256 | 256 |
| descriptor, linear without bias (`features="descriptor"`) | 128 | 128 |
| hidden, linear with ReLU (`hidden`) | `hidden` | `hidden` |
| dropout, one linear layer | K | K |

The original has 29 convolutions and ends in the descriptor, the embedding by which it tells persons apart. A block is two 3x3 convolutions and a
shortcut. A block that halves the maps convolves without padding, averages its shortcut over 2x2, fills the missing channels of the shortcut with
zeros, and, where the side was even, the missing last row and column of its branch. A side below 55 leaves conv256_down no whole window, one below
103 conv256_down_out.

`features` names what the head stands on: the means of a block, or the descriptor. The default leaves away the descriptor and the block next to it,
which tell persons, not expressions, apart. `features="descriptor"` with `hidden` and `freeze="all_but_head"` is FER-Sys's description of its
VGG-Face model: embeddings of a recognition network, and a dense head.

`variant="affine"` is the network as its weights have it: dlib folds each batch normalisation into a scale and shift per channel, which are
folded into the convolutions here. `variant="batch_norm"` has the normalisations of dlib's training, for training from scratch; weights fit the
first alone. `freeze`: "none"; "all_but_last_stage": all before conv256_down; "all_but_head": all convolutions and the descriptor.

Initial weights, where no pretrained ones are loaded: He (2015), and without normalisation zeros in the second convolution of each block, so that
its residual sums do not multiply the variance (Zhang, Dauphin & Ma, 2019, of whose rules this is one).

References:
    King (2017), High quality face recognition with deep metric learning; dlib, examples/dnn_face_recognition_ex.cpp: a ResNet-34 with fewer layers
    and half the filters, trained on about 3 million faces of 7,485 persons.
    Layer order and padding: github.com/vladmandic/face-api, src/faceRecognitionNet/FaceRecognitionNet.ts and residualLayer.ts (Muehler, 2018).
    Zhang, Dauphin & Ma (2019), Fixup initialization, arXiv 1901.09321.
    Singh & Saharan, FER-Sys, sections 3.3 and 4.2 (a dense head on embeddings; neither its layers nor their widths are stated).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from ferlab.paths import InputError

VARIANTS = ("affine", "batch_norm")
FEATURES = {"conv256_2": 55, "conv256_down_out": 103, "descriptor": 103}  # what the head stands on, and the least side of its input
DESCRIPTOR = 128  # values
FREEZE = ("none", "all_but_last_stage", "all_but_head")
STAGES = ((32, 3, False), (64, 3, True), (128, 2, True), (256, 2, True))  # channels, blocks, whether a halving block comes first
HEAD = ("hidden", "logits")  # prefixes of what `freeze` leaves
LAST_STAGE = ("conv256", "descriptor", *HEAD)


class RecognitionNet(nn.Sequential):
    """The network and its head.

    Attributes:
        variant: "affine" or "batch_norm".
    """

    variant = ""


class Block(nn.Module):
    """Two 3x3 convolutions and the shortcut: (N, inputs, H, W) to (N, outputs, H, W), or where `down` to half of H and W, rounded down."""

    def __init__(self, inputs: int, outputs: int, *, down: bool, variant: str) -> None:
        super().__init__()
        self.down, self.added = down, outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2 if down else 1, padding=0 if down else 1)
        self.norm1, self.relu1 = _norm(outputs, variant), nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm2, self.relu2 = _norm(outputs, variant), nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output."""
        out = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(inputs)))))
        if not self.down:
            return self.relu2(out + inputs)
        shortcut = F.avg_pool2d(inputs, 2)
        missing = shortcut.shape[2] - out.shape[2]  # 1 where the side was even
        return self.relu2(F.pad(out, (0, missing, 0, missing)) + F.pad(shortcut, (0, 0, 0, 0, 0, self.added)))


def face_recognition(
    num_classes: int = 7,
    in_channels: int = 3,
    *,
    size: int = 112,
    features: str = "conv256_2",
    hidden: int = 0,
    dropout: float = 0.0,
    freeze: str = "none",
    variant: str = "affine",
) -> nn.Module:
    """Build the network to its features, then a hidden layer if asked for, dropout and the classes.

    Args:
        size: H and W of the input.
        features: The means of "conv256_2" or "conv256_down_out", or the "descriptor".
        hidden: Width of a hidden layer before the classes; 0 for none.
        dropout: Rate before the last layer.
        freeze: "none"; "all_but_last_stage": the convolutions before conv256_down; "all_but_head": all but `hidden` and the classes.
        variant: "affine", for the published weights, or "batch_norm".

    Raises:
        InputError: An unknown option, a width below 0, faces too small for the features, or layers frozen at random weights.
    """
    _check(size, features, hidden=hidden, freeze=freeze, variant=variant)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv32_down=nn.Conv2d(in_channels, 32, 7, stride=2), norm=_norm(32, variant), relu=nn.ReLU(), maxpool=nn.MaxPool2d(3, stride=2)
    )
    inputs = 32
    for channels, count, halves in STAGES:
        for name in ([f"conv{channels}_down"] if halves else []) + [f"conv{channels}_{n}" for n in range(1, count + 1)]:
            layers[name] = Block(inputs, channels, down=name.endswith("down"), variant=variant)
            inputs = channels
    if features != "conv256_2":
        layers["conv256_down_out"] = Block(256, 256, down=True, variant=variant)
    model = RecognitionNet(layers | _after(features, hidden, dropout=dropout, num_classes=num_classes))
    model.variant = variant
    return _frozen(_initialised(model), freeze)


def _after(features: str, hidden: int, *, dropout: float, num_classes: int) -> OrderedDict[str, nn.Module]:
    """Return the layers behind the last block, by name."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(average=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten())
    inputs = 256
    if features == "descriptor":
        layers["descriptor"] = nn.Linear(256, DESCRIPTOR, bias=False)
        inputs = DESCRIPTOR
    if hidden:
        layers |= {"hidden": nn.Linear(inputs, hidden), "hidden_relu": nn.ReLU()}
        inputs = hidden
    return layers | OrderedDict(dropout=nn.Dropout(dropout), logits=nn.Linear(inputs, num_classes))


def _check(size: int, features: str, *, hidden: int, freeze: str, variant: str) -> None:
    for option, value, known in (("features", features, FEATURES), ("freeze", freeze, FREEZE), ("variant", variant, VARIANTS)):
        if value not in known:
            raise InputError(f"{option}: expected one of {', '.join(known)}, got {value!r}")
    if size < FEATURES[features]:
        raise InputError(f"size: features {features!r} takes faces of {FEATURES[features]} or more pixels a side, got {size}")
    if hidden < 0:
        raise InputError(f"hidden: expected a width, or 0 for no hidden layer, got {hidden}")
    if freeze != "none" and variant == "batch_norm":
        raise InputError(f"freeze: {freeze!r} needs pretrained weights, which fit variant 'affine' alone; expected 'none' with 'batch_norm'")


def _norm(channels: int, variant: str) -> nn.Module:
    return nn.BatchNorm2d(channels) if variant == "batch_norm" else nn.Identity()


def _initialised(model: RecognitionNet) -> RecognitionNet:
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    for block in model.modules():
        if isinstance(block, Block) and model.variant == "affine":
            nn.init.zeros_(block.conv2.weight)
    return model


def _frozen(model: RecognitionNet, freeze: str) -> RecognitionNet:
    trained = {"all_but_head": HEAD, "all_but_last_stage": LAST_STAGE}.get(freeze, ("",))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(trained))
    return model
