from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from ferlab.models import count_parameters, create_model
from ferlab.models.cs230_transfer import Bottleneck, cs230_resnet50, cs230_senet50, cs230_vgg16
from ferlab.paths import InputError

HEAD = (2048 * 4096 + 4096) + (4096 * 1024 + 1024) + (1024 * 7 + 7)
STAGES = {2: 3, 3: 4, 4: 6, 5: 3}  # Keras's numbers of the stages, and their blocks

# `batch_norm_indices` of the notebooks models/tf-ResNet50.ipynb and tf-SeNet50.ipynb, github.com/amilkh/cs230-fer
RESNET50_NORMS = [2, 6, 9, 13, 14, 18, 21, 24, 28, 31, 34, 38, 41, 45, 46, 53, 56, 60, 63, 66, 70, 73, 76, 80, 83, 87, 88, 92, 95, 98, 102, 105,
                  108, 112, 115, 118, 122, 125, 128, 132, 135, 138, 142, 145, 149, 150, 154, 157, 160, 164, 167, 170]  # fmt: skip
SENET50_NORMS = [2, 6, 9, 12, 21, 25, 28, 31, 42, 45, 48, 59, 62, 65, 74, 78, 81, 84, 95, 98, 101, 112, 115, 118, 129, 132, 135, 144, 148, 151,
                 154, 165, 168, 171, 182, 185, 188, 199, 202, 205, 216, 219, 222, 233, 236, 239, 248, 252, 255, 258, 269, 272, 275]  # fmt: skip


def keras_layers(*, gated: bool) -> list[str]:
    """List the layers as Keras sorts them, farthest from the output first, by the names they have here; those without weights are ""."""
    layers = ["", "conv1", "bn1", "", ""]  # input, convolution, normalisation, ReLU, pool
    for stage, blocks in STAGES.items():
        for n in range(blocks):
            at = f"layer{stage - 1}.{n}."
            layers += [at + "conv1", at + "bn1", "", at + "conv2", at + "bn2", "", at + "conv3"]
            projection = [at + "downsample.0", at + "downsample.1"] if n == 0 else []
            if gated:  # average, reshape; then a sigmoid beside the projection and a product beside its normalisation
                layers += [at + "bn3", "", "", at + "se.down", "", at + "se.up", "", *projection[:1], "", *projection[1:]]
            else:
                layers += [*projection[:1], at + "bn3", *projection[1:]]
            layers += ["", ""]  # addition, ReLU
    return [*layers, "", ""]  # two pools


def layers_of(module: nn.Module, kind: type, *, trainable: bool) -> set[str]:
    return {name for name, m in module.named_modules() if isinstance(m, kind) and m.weight.requires_grad == trainable}


@pytest.mark.parametrize(
    ("build", "backbone"),
    [(cs230_resnet50, 23_508_032), (cs230_senet50, 23_508_032 + 2_530_992)],  # torchvision's ResNet-50 without fc; the gates: 2 C^2/16 + C + C/16
)
def test_residual_nets_count_their_backbone_and_the_head(build: Callable[..., nn.Module], backbone: int) -> None:
    with torch.device("meta"):
        module = build()
    assert count_parameters(module) == backbone + HEAD
    assert module(torch.rand(2, 3, 197, 197, device="meta")).shape == (2, 7)
    assert module(torch.rand(2, 3, 224, 224, device="meta")).shape == (2, 7)


def test_vgg16_counts_its_backbone_and_a_head_that_hangs_on_the_size() -> None:
    with torch.device("meta"):
        module = cs230_vgg16()
        assert count_parameters(module) == 14_714_688 + (6 * 6 * 512 * 4096 + 4096) + (4096 * 1024 + 1024) + (1024 * 7 + 7)
        assert module[:-9](torch.rand(1, 3, 197, 197)).shape == (1, 512, 6, 6)
        assert create_model("cs230_vgg16", size=224)(torch.rand(1, 3, 224, 224)).shape == (1, 7)
        with pytest.raises(InputError, match="197 or more pixels a side, got size 96"):
            create_model("cs230_vgg16", size=96)


def test_keras_counts_175_layers_in_resnet50_and_lists_normalisations_where_the_notebooks_do() -> None:
    resnet, senet = keras_layers(gated=False), keras_layers(gated=True)
    assert len(resnet) == 175  # "It is defined in Keras with 175 layers"
    norms = [[i for i, name in enumerate(layers) if ".bn" in name or name == "bn1" or name.endswith("downsample.1")] for layers in (resnet, senet)]
    assert norms[0] == sorted([*RESNET50_NORMS, 50])  # the notebook's list leaves out 50
    assert resnet[50] == "layer2.1.bn1"
    assert norms[1] == SENET50_NORMS


@pytest.mark.parametrize(("build", "gated", "first"), [(cs230_resnet50, False, 170), (cs230_senet50, True, 201)])
def test_the_paper_holds_the_convolutions_among_the_first_layers_and_no_normalisation(
    build: Callable[..., nn.Module], gated: bool, first: int
) -> None:
    with torch.device("meta"):
        module = build(freeze="paper")
    layers, convolutions = keras_layers(gated=gated), {n for n, m in module.named_modules() if isinstance(m, nn.Conv2d)}
    assert set(filter(None, layers)) == {n for n, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)}
    assert layers_of(module, nn.Conv2d, trainable=False) == convolutions & set(layers[:first])
    assert layers_of(module, nn.BatchNorm2d, trainable=False) == set()
    assert layers_of(module, nn.Linear, trainable=True) == {"fc6", "fc7", "logits"}
    assert all(m.training for m in module.modules())


def test_170_layers_of_resnet50_are_all_its_convolutions() -> None:
    with torch.device("meta"):
        module = cs230_resnet50(freeze="paper")
        senet = cs230_senet50(freeze="paper")
    assert layers_of(module, nn.Conv2d, trainable=True) == set()
    assert count_parameters(module) == 53_120 + HEAD
    assert min(layers_of(senet, nn.Conv2d, trainable=True)) == "layer3.4.conv2"


@pytest.mark.parametrize("build", [cs230_vgg16, cs230_resnet50, cs230_senet50])
def test_a_backbone_held_whole_leaves_the_head_and_its_normalisations_do_not_move(build: Callable[..., nn.Module]) -> None:
    with torch.device("meta"):
        module = build(freeze="all_but_head")
        trainable = {name.split(".")[0] for name, p in module.named_parameters() if p.requires_grad}
        assert trainable == {"fc6", "fc7", "logits"}
        with pytest.raises(InputError, match="freeze: expected one of none, paper, all_but_head, got 'half'"):
            build(freeze="half")
    nn.ModuleDict({"net": module}).train()
    assert not any(m.training for m in module.modules() if isinstance(m, nn.BatchNorm2d))
    module.requires_grad_(True).train()
    assert all(m.training for m in module.modules())


def test_vgg16_is_held_whole_by_the_paper() -> None:
    with torch.device("meta"):
        assert count_parameters(cs230_vgg16(freeze="paper")) == count_parameters(cs230_vgg16(freeze="all_but_head")) == 79_704_071


def strides(module: nn.Module) -> Iterator[tuple[int, int]]:
    for stage in ("layer2", "layer3", "layer4"):
        block = module.get_submodule(f"{stage}.0")
        yield block.conv1.stride[0], block.conv2.stride[0]


@pytest.mark.parametrize("build", [cs230_resnet50, cs230_senet50])
def test_variants_differ_in_where_they_stride_and_pad(build: Callable[..., nn.Module]) -> None:
    with torch.device("meta"):
        caffe, torchvision = build(), build(variant="torchvision")
        images = torch.rand(1, 3, 197, 197)
        assert caffe[:4](images).shape[2:] == (49, 49)
        assert torchvision[:4](images).shape[2:] == (50, 50)
        assert caffe[:8](images).shape == torchvision[:8](images).shape == (1, 2048, 7, 7)
        assert list(caffe.state_dict()) == list(torchvision.state_dict())
        with pytest.raises(InputError, match="variant: expected one of caffe, torchvision, got 'v2'"):
            build(variant="v2")
    assert set(strides(caffe)) == {(2, 1)}
    assert set(strides(torchvision)) == {(1, 2)}


def test_a_block_adds_its_gated_output_to_the_shortcut() -> None:
    torch.manual_seed(0)
    block = Bottleneck(64, 16, stride=1, stride_in="conv1", norm_eps=1e-4, gated=True).eval()
    inputs = torch.randn(2, 64, 5, 5)
    with torch.no_grad():
        out = block.bn3(block.conv3(torch.relu(block.bn2(block.conv2(torch.relu(block.bn1(block.conv1(inputs))))))))
        squeezed = out.mean(dim=(2, 3))
        hidden = torch.relu(squeezed @ block.se.down.weight[:, :, 0, 0].T + block.se.down.bias)
        gate = torch.sigmoid(hidden @ block.se.up.weight[:, :, 0, 0].T + block.se.up.bias)
        expected = torch.relu(out * gate[:, :, None, None] + inputs)
        assert torch.allclose(block(inputs), expected, atol=1e-6)


def test_heads_drop_out_as_the_notebooks_do_and_normalise_with_keras_constants() -> None:
    with torch.device("meta"):
        vgg, resnet, senet = cs230_vgg16(), cs230_resnet50(), cs230_senet50()
    assert [m.p for m in vgg.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5, 0.0]  # two in the notebook
    assert [m.p for m in resnet.modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5, 0.5]
    for module, eps in ((resnet, 1e-3), (senet, 1e-4)):
        assert {(m.eps, m.momentum) for m in module.modules() if isinstance(m, nn.BatchNorm2d)} == {(eps, 0.01)}


def test_only_what_is_not_held_gets_a_gradient() -> None:
    torch.manual_seed(0)
    net = cs230_vgg16(size=32, freeze="paper")
    net(torch.rand(2, 3, 32, 32)).sum().backward()
    assert net.conv1_1.weight.grad is None
    assert net.conv5_3.bias.grad is None
    assert net.fc6.weight.grad is not None
