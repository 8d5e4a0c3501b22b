"""cs230's three transfer models: a backbone pretrained on face recognition, and a new head of 4096, 1024 and the classes.

| model | paper: depth, parameters, accuracy | here: trainable |
|---|---|---|
| cs230_vgg16 | 16, 138M, 70.2 % | 94,418,759 |
| cs230_resnet50 | 50, 25M, 73.2 % | 36,103,239 |
| cs230_senet50 | 50, 27M, 72.5 % | 38,634,231 |

The paper's counts are those of the ImageNet models with 1,000 classes. Layers are those of keras-vggface, which the notebooks use, without
its classifiers: the stride of a bottleneck is in its first 1x1 convolution and the first pool is not padded (`variant="caffe"`).
torchvision's ResNet-50 and timm's SE-ResNet-50 have it in the 3x3 convolution and pad (`variant="torchvision"`); weights of one variant fit the
other, and are wrong there.
Names are torchvision's for the residual models and VGG-Face's for VGG16; a gate is `se.down`, `se.up`.

`freeze="paper"` is what the notebooks freeze. Keras lists ResNet-50's 175 layers as input, stem (1-4), then 12 for a block with a
projection and 10 for one without; `for i in range(170)` without batch normalisation therefore freezes *every* convolution of the backbone
and trains its 26,560 scales and 26,560 shifts. SENet-50 has 23 and 17 layers to a block: of its first 201 the last convolution is
`layer3.4.conv1`. VGG16's 19 are all of it. `freeze="all_but_head"` is the paper's negative result: batch normalisation is frozen too, in eval
mode. (The notebook's list of batch normalisations lacks index 50, `layer2.1.bn1`, which it freezes by mistake; here it is trained.)

Initial weights, where no pretrained ones are loaded: He (2015) in the backbone, Keras's Glorot in the head.

References:
    Khanzada, Bai & Celepcikay (2020), Facial Expression Recognition with Deep Learning, arXiv 2004.11823, and its notebooks
    models/tf-{ResNet50,SeNet50,VGG16}.ipynb at github.com/amilkh/cs230-fer.
    Cao, Shen, Xie, Parkhi & Zisserman (2018), VGGFace2; Parkhi, Vedaldi & Zisserman (2015), Deep face recognition.
    He, Zhang, Ren & Sun (2016), Deep residual learning; Hu, Shen & Sun (2018), Squeeze-and-excitation networks.
    Layer order: github.com/rcmalli/keras-vggface, keras_vggface/models.py; github.com/huggingface/pytorch-image-models,
    timm/models/resnet.py and timm/layers/squeeze_excite.py (Wightman, 2019).
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from ferlab.models.layers import numbered, sequential
from ferlab.paths import InputError

FREEZE = ("none", "paper", "all_but_head")
VARIANTS = ("caffe", "torchvision")
VGG_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions
RESIDUAL_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width, blocks; a block has four times as many outputs
RESNET50_FROZEN = ("conv1", "layer1", "layer2", "layer3", "layer4")  # convolutions among Keras's first 170 layers
SENET50_FROZEN = ("conv1", "layer1", "layer2", "layer3.0", "layer3.1", "layer3.2", "layer3.3", "layer3.4.conv1")  # its first 201


class TransferNet(nn.Sequential):
    """A backbone and its head. Batch normalisation with frozen weights stays in eval mode.

    Attributes:
        variant: Whose weights fit, "caffe" or "torchvision"; "" where there is no difference.
    """

    variant = ""

    def train(self, mode: bool = True) -> TransferNet:
        """Set the mode of all layers except the frozen normalisations."""
        super().train(mode)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm2d) and not layer.weight.requires_grad:
                layer.eval()
        return self


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, a gate if wanted, and the shortcut: (N, inputs, H, W) to (N, 4 width, H', W')."""

    def __init__(self, inputs: int, width: int, *, stride: int, stride_in: str, norm_eps: float, gated: bool) -> None:
        super().__init__()
        outputs = 4 * width
        first, second = (stride, 1) if stride_in == "conv1" else (1, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, stride=first, bias=False)
        self.bn1, self.relu1 = _norm(width, norm_eps), nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride=second, padding=1, bias=False)
        self.bn2, self.relu2 = _norm(width, norm_eps), nn.ReLU()
        self.downsample = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), _norm(outputs, norm_eps))
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = _norm(outputs, norm_eps)
        self.se = _gate(outputs) if gated else None
        self.relu3 = nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the block's output."""
        out = self.relu1(self.bn1(self.conv1(inputs)))
        out = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(out)))))
        if self.se is not None:
            out = out * self.se(out)
        return self.relu3(out + self.downsample(inputs))


def cs230_vgg16(num_classes: int = 7, in_channels: int = 3, *, size: int = 197, dropout: float = 0.5, freeze: str = "none") -> nn.Module:
    """Build VGG16's thirteen convolutions, then FC 4096, FC 1024 and the classes, with dropout before the two hidden layers.

    Args:
        size: H and W of the input; at 197 the head has 6x6x512 inputs.
        dropout: Rate before each hidden layer.
        freeze: "none"; "paper" and "all_but_head" are the same here: every convolution.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = in_channels
    for block, (channels, count) in enumerate(VGG_BLOCKS, start=1):
        for n in range(1, count + 1):
            layers |= {f"conv{block}_{n}": nn.Conv2d(inputs, channels, 3, padding=1), f"relu{block}_{n}": nn.ReLU()}
            inputs = channels
        layers[f"pool{block}"] = nn.MaxPool2d(2)
    head = _head(512 * (size // 32) ** 2, num_classes, dropout=dropout, last_dropout=0.0)
    return _frozen(TransferNet(layers | head), freeze, paper=("conv",))


def cs230_resnet50(
    num_classes: int = 7, in_channels: int = 3, *, dropout: float = 0.5, freeze: str = "none", variant: str = "caffe"
) -> nn.Module:
    """Build ResNet-50 to its average pool, then FC 4096, FC 1024 and the classes, each after dropout.

    Args:
        dropout: Rate before each layer of the head.
        freeze: "none"; "paper": every convolution of the backbone; "all_but_head": its normalisations too.
        variant: "caffe", for VGGFace2's weights, or "torchvision".
    """
    # keras-vggface leaves Keras's epsilon here; VGGFace2's Caffe model and torchvision have 1e-5
    norm_eps = 1e-3 if variant == "caffe" else 1e-5
    model = _residual(num_classes, in_channels, dropout=dropout, variant=variant, norm_eps=norm_eps, gated=False)
    return _frozen(model, freeze, paper=RESNET50_FROZEN)


def cs230_senet50(
    num_classes: int = 7, in_channels: int = 3, *, dropout: float = 0.5, freeze: str = "none", variant: str = "caffe"
) -> nn.Module:
    """Build SE-ResNet-50 to its average pool, then FC 4096, FC 1024 and the classes, each after dropout.

    Args:
        dropout: Rate before each layer of the head.
        freeze: "none"; "paper": the convolutions up to `layer3.4.conv1`; "all_but_head": the whole backbone.
        variant: "caffe", for VGGFace2's weights, or "torchvision", for timm's.
    """
    norm_eps = 1e-4 if variant == "caffe" else 1e-5
    model = _residual(num_classes, in_channels, dropout=dropout, variant=variant, norm_eps=norm_eps, gated=True)
    return _frozen(model, freeze, paper=SENET50_FROZEN)


def _residual(num_classes: int, in_channels: int, *, dropout: float, variant: str, norm_eps: float, gated: bool) -> TransferNet:
    if variant not in VARIANTS:
        raise InputError(f"variant: expected one of {', '.join(VARIANTS)}, got {variant!r}")
    caffe = variant == "caffe"
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False),  # (N, 64, 99, 99) at 197
        bn1=_norm(64, norm_eps),
        relu=nn.ReLU(),
        maxpool=nn.MaxPool2d(3, stride=2, ceil_mode=True) if caffe else nn.MaxPool2d(3, stride=2, padding=1),  # 49, or 50
    )
    inputs = 64
    for stage, (width, count) in enumerate(RESIDUAL_STAGES, start=1):
        blocks = nn.Sequential()
        for n in range(count):
            stride = 2 if n == 0 and stage > 1 else 1
            where = "conv1" if caffe else "conv2"
            blocks.append(Bottleneck(inputs, width, stride=stride, stride_in=where, norm_eps=norm_eps, gated=gated))
            inputs = 4 * width
        layers[f"layer{stage}"] = blocks
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)  # (N, 2048, 1, 1), of 7x7 maps at 197
    model = TransferNet(layers | _head(2048, num_classes, dropout=dropout, last_dropout=dropout))
    model.variant = variant
    return model


def _head(features: int, num_classes: int, *, dropout: float, last_dropout: float) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        flatten=nn.Flatten(),
        **numbered(6, dropout=nn.Dropout(dropout), fc=nn.Linear(features, 4096), relu=nn.ReLU()),
        **numbered(7, dropout=nn.Dropout(dropout), fc=nn.Linear(4096, 1024), relu=nn.ReLU()),
        dropout8=nn.Dropout(last_dropout),
        logits=nn.Linear(1024, num_classes),
    )


def _gate(channels: int) -> nn.Module:
    """Return squeeze and excitation with a reduction of 16: (N, C, H, W) to weights (N, C, 1, 1)."""
    down, up = nn.Conv2d(channels, channels // 16, 1), nn.Conv2d(channels // 16, channels, 1)
    return sequential(average=nn.AdaptiveAvgPool2d(1), down=down, relu=nn.ReLU(), up=up, sigmoid=nn.Sigmoid())


def _norm(channels: int, eps: float) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=eps, momentum=0.01)  # Keras's momentum of 0.99


def _frozen(model: TransferNet, freeze: str, *, paper: tuple[str, ...]) -> TransferNet:
    """Draw the initial weights and freeze layers; `paper` holds the prefixes of the layers that the paper's notebook freezes."""
    if freeze not in FREEZE:
        raise InputError(f"freeze: expected one of {', '.join(FREEZE)}, got {freeze!r}")
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
        by_paper, in_head = isinstance(layer, nn.Conv2d) and name.startswith(paper), name.startswith(("fc6", "fc7", "logits"))
        if (freeze == "paper" and by_paper) or (freeze == "all_but_head" and not in_head):
            for parameter in layer.parameters(recurse=False):
                parameter.requires_grad_(False)
    return model.train()
