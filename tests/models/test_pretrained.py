from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ferlab.expressions import EXPRESSIONS
from ferlab.models import MODELS, create_model, save_model
from ferlab.models.checkpoints import LAYOUTS
from ferlab.models.cs230_transfer import cs230_resnet50, cs230_senet50, cs230_vgg16
from ferlab.models.pretrained import load_pretrained, pretrained_or_scratch
from ferlab.paths import PROGRESS, InputError

NOWHERE = "http://127.0.0.1:1"  # a port nobody listens on


def small_net(channels: int = 3, classes: int = 7, *, seed: int = 0) -> nn.Module:
    """A model of two convolutions and a head, named as torchvision's residual models begin."""
    torch.manual_seed(seed)
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(channels, 4, 3, bias=False),
            bn1=nn.BatchNorm2d(4),
            relu=nn.ReLU(),
            conv2=nn.Conv2d(4, 6, 3),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            logits=nn.Linear(6, classes),
        )
    ).eval()


def features(net: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return net[:4](images)


def written(path: Path, net: nn.Module, **more: Tensor) -> str:
    """Write a model's weights with a classifier of its own in place of its last layer."""
    weights = {name: tensor for name, tensor in net.state_dict().items() if not name.startswith("logits")}
    save_file({**weights, "fc.weight": torch.zeros(100, 6), "fc.bias": torch.zeros(100), **more}, path)
    return str(path)


def one_line(net: nn.Module, source: str, **options: Any) -> str:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(InputError) as raised:
        load_pretrained(net, source, **{"layout": "torchvision", **options})
    assert "\n" not in str(raised.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())  # nothing half-loaded
    return str(raised.value)


def test_the_backbone_comes_from_the_file_and_the_head_starts_afresh(tmp_path: Path) -> None:
    other, net, images = small_net(seed=1), small_net(), torch.rand(2, 3, 8, 8)
    head = net.logits.weight.clone()
    source = written(tmp_path / "net.safetensors", other)
    report = load_pretrained(net, source, layout="torchvision")
    assert torch.equal(features(net, images), features(other, images))
    assert torch.equal(net.logits.weight, head)
    assert report.loaded == ("conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "conv2.weight", "conv2.bias")
    assert report.head == ("logits.weight", "logits.bias")
    assert (report.missing, report.unused, report.other_shape) == ((), (), {})
    assert report.sha256 == hashlib.sha256(Path(source).read_bytes()).hexdigest()
    assert f"sha256 {report.sha256}, not checked, no known value" in report.sentence()
    assert report.sentence().endswith("the head is random (logits).")


def test_a_known_checksum_is_checked(tmp_path: Path) -> None:
    source = written(tmp_path / "net.safetensors", small_net(seed=1))
    known = hashlib.sha256(Path(source).read_bytes()).hexdigest()
    report = load_pretrained(small_net(), source, layout="torchvision", sha256=known)
    assert report.checked
    assert "as expected" in report.sentence()
    assert "expected aaaa" in one_line(small_net(), source, sha256="a" * 64)


def test_layers_that_do_not_fit_are_named(tmp_path: Path) -> None:
    weights = small_net(seed=1).state_dict()
    del weights["bn1.bias"]
    weights["conv2.weight"] = torch.zeros(5, 4, 3, 3)
    weights["layer1.0.conv1.weight"] = torch.zeros(1)
    weights["logits.weight"], weights["logits.bias"] = torch.zeros(8, 6), torch.zeros(8)  # another number of classes
    save_file(weights, tmp_path / "net.safetensors")
    report = load_pretrained(small_net(), str(tmp_path / "net.safetensors"), layout="torchvision")
    assert report.missing == ("bn1.bias",)
    assert report.unused == ("layer1.0.conv1.weight",)
    assert report.other_shape["conv2.weight"] == ((5, 4, 3, 3), (6, 4, 3, 3))
    assert report.other_shape["logits.weight"] == ((8, 6), (7, 6))
    sentence = report.sentence()
    assert "random: bn1;" in sentence
    assert "not in the model: layer1.0.conv1;" in sentence
    assert "logits.bias (8,) for (7,)" in sentence


def test_a_file_that_leaves_a_frozen_layer_random_is_refused(tmp_path: Path) -> None:
    source = written(tmp_path / "net.safetensors", small_net(seed=1))
    save_file({"conv1.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "first.safetensors")
    save_file({"conv1.weight": torch.zeros(4, 3, 3, 3), "conv2.weight": torch.zeros(5, 4, 3, 3)}, tmp_path / "another.safetensors")
    net = small_net()
    net.conv2.requires_grad_(False)
    load_pretrained(net, source, layout="torchvision")
    wanted = "no tensors in it fit frozen layers, which would stay random (conv2); is its layout 'torchvision'? Train these layers (`freeze: none`)"
    assert wanted in one_line(net, str(tmp_path / "first.safetensors"))
    assert wanted in one_line(net, str(tmp_path / "another.safetensors"))
    weights = small_net(seed=1).state_dict()
    del weights["bn1.running_mean"]
    save_file(weights, tmp_path / "means.safetensors")
    load_pretrained(small_net(), str(tmp_path / "means.safetensors"), layout="torchvision")  # trained, so estimated anew
    net.bn1.requires_grad_(False)
    assert "random (bn1)" in one_line(net, str(tmp_path / "means.safetensors"))


@pytest.mark.parametrize("freeze", ["none", "paper"])
@pytest.mark.parametrize(("name", "other"), [("vgg16_bn", "features.1.weight"), ("vgg19", "features.16.weight")])
def test_torchvisions_other_vggs_are_refused_although_some_layers_fit(name: str, other: str, freeze: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        net = cs230_vgg16(size=224, freeze=freeze)
    weights, place, inputs = {}, 0, 3
    for channels, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count + (name == "vgg19" and channels > 128)):
            weights |= {f"features.{place}.weight": (channels, inputs, 3, 3), f"features.{place}.bias": (channels,)}
            if name == "vgg16_bn":
                weights |= {f"features.{place + 1}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
            place, inputs = place + (3 if name == "vgg16_bn" else 2), channels
        place += 1  # a pool
    torch.save({tensor: torch.zeros(()).expand(shape) for tensor, shape in weights.items()}, tmp_path / "vgg.pth")
    with pytest.raises(InputError, match=f"{other}: no layer of torchvision's vgg16; expected vgg16, without batch normalisation"):
        load_pretrained(net, str(tmp_path / "vgg.pth"), layout="torchvision")


def test_weights_that_want_bgr_are_turned_so_that_rgb_gives_the_same(tmp_path: Path) -> None:
    other, net, images = small_net(seed=1), small_net(), torch.rand(2, 3, 8, 8)
    load_pretrained(net, written(tmp_path / "net.safetensors", other), layout="vggface2")
    assert torch.allclose(features(net, images), features(other, images.flip(1)), atol=1e-6)


@pytest.mark.parametrize("layout", ["torchvision", "vggface2"])
def test_a_grey_net_takes_the_sum_over_the_colours_where_asked(layout: str, tmp_path: Path) -> None:
    """Faces are normalised as each network's run does: by the layout's mean and standard deviation, or their means over the colours."""
    other, faces = small_net(seed=1), torch.rand(2, 1, 8, 8)
    source = written(tmp_path / "net.safetensors", other)
    mean, std = (torch.tensor(getattr(LAYOUTS[layout], key)).view(3, 1, 1) for key in ("mean", "std"))
    coloured, grey = (faces - mean) / std, (faces - mean.mean()) / std.mean()
    coloured = coloured.flip(1) if layout == "vggface2" else coloured
    net = small_net(1)
    load_pretrained(net, source, layout=layout, grey="sum")
    with torch.no_grad():
        off = net.conv1(grey) - other.conv1(coloured)
        torch.testing.assert_close(off, off[:1, :, :1, :1].expand_as(off), rtol=0, atol=1e-3 if layout == "vggface2" else 1e-5)  # the means' alone
        biased, ours = (nn.Sequential(OrderedDict(conv1=nn.Conv2d(channels, 4, 3), logits=nn.Linear(6, 7))) for channels in (3, 1))
        load_pretrained(ours, written(tmp_path / "biased.safetensors", biased), layout=layout, grey="sum")
        torch.testing.assert_close(ours.conv1(grey), biased.conv1(coloured), rtol=1e-4, atol=1e-3)
    report = load_pretrained(small_net(1), source, layout=layout)
    assert report.other_shape == {"conv1.weight": ((4, 3, 3, 3), (4, 1, 3, 3))}
    assert "grey: expected 'refuse' or 'sum', got 'mean'" in one_line(small_net(1), source, grey="mean")


def test_bad_files_are_refused_in_one_line_and_change_nothing(tmp_path: Path) -> None:
    nan = written(tmp_path / "nan.safetensors", small_net(seed=1), **{"conv2.bias": torch.tensor([0, 1, 2, torch.nan, 4, 5])})
    assert "tensor 'conv2.bias' holds NaN or infinity" in one_line(small_net(), nan)
    save_file({"encoder.weight": torch.zeros(2, 2)}, tmp_path / "another.safetensors")
    message = one_line(small_net(), str(tmp_path / "another.safetensors"))
    assert "nothing in it fits the model (encoder.weight (2, 2) there, conv1.weight (4, 3, 3, 3) here); is its layout 'torchvision'?" in message
    cut = Path(written(tmp_path / "cut.safetensors", small_net(seed=1)))
    cut.write_bytes(cut.read_bytes()[:-10])
    assert "get the file again" in one_line(small_net(), str(cut))
    assert "no such file" in one_line(small_net(), str(tmp_path / "none.safetensors"))
    assert "did you mean 'torchvision'" in one_line(small_net(), str(cut), layout="torchvison")


def test_weights_of_the_other_resnet_50_are_refused_although_they_would_fit(tmp_path: Path) -> None:
    with torch.device("meta"):
        caffe, torchvision = cs230_resnet50(), cs230_resnet50(variant="torchvision")
    zero = torch.zeros(())
    torch.save({name: zero.expand(tensor.shape) for name, tensor in caffe.state_dict().items()}, tmp_path / "net.pth")
    with pytest.raises(InputError, match="layout 'torchvision' fits a model built with variant 'torchvision', this one has 'caffe'"):
        load_pretrained(caffe, str(tmp_path / "net.pth"), layout="torchvision")
    with pytest.raises(InputError, match="this one has 'torchvision': set the option `variant`"):
        load_pretrained(torchvision, str(tmp_path / "net.pth"), layout="vgg_dag")
    report = load_pretrained(torchvision, str(tmp_path / "net.pth"), layout="torchvision")
    assert len(report.loaded) == len(caffe.state_dict()) - 53  # less the counters of batch normalisation
    assert (report.missing, report.unused) == ((), ())


@pytest.mark.parametrize(("build", "gated"), [(cs230_resnet50, False), (cs230_senet50, True)])
def test_timms_file_fills_the_variant_that_strides_as_timm_does(build: Callable[..., nn.Module], gated: bool, tmp_path: Path) -> None:
    torch.manual_seed(1)
    source, net = build(variant="torchvision").eval(), build(variant="torchvision").eval()
    for norm in (layer for layer in source.modules() if isinstance(layer, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_var, 0.5, 1.5)
    theirs = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith(("fc", "logits"))}
    gates = {f"layer{stage}.{n}.se.{ours}.": f"layer{stage}.{n}.se.{timms}." for stage, count in enumerate((3, 4, 6, 3), start=1)
             for n in range(count) for ours, timms in (("down", "fc1"), ("up", "fc2"))}  # fmt: skip
    for ours, timms in gates.items() if gated else ():
        theirs |= {f"{timms}{part}": theirs.pop(f"{ours}{part}") for part in ("weight", "bias")}
    save_file(theirs | {"fc.weight": torch.rand(1000, 2048), "fc.bias": torch.rand(1000)}, tmp_path / "model.safetensors")
    assert sum(name.endswith("num_batches_tracked") for name in theirs) == 53
    report = load_pretrained(net, str(tmp_path / "model.safetensors"), layout="timm")
    assert len(report.loaded) == len(theirs) - 53
    assert (report.missing, report.unused, report.other_shape) == ((), (), {})
    face = torch.rand(1, 3, 197, 197)
    with torch.inference_mode():
        assert torch.equal(net[:9](face), source[:9](face))  # to the average pool
    with pytest.raises(InputError, match="layout 'timm' fits a model built with variant 'torchvision', this one has 'caffe'"):
        load_pretrained(build(), str(tmp_path / "model.safetensors"), layout="timm")


def test_vgg_face_fills_vgg16_but_for_its_head_even_where_a_layer_of_that_would_fit(tmp_path: Path) -> None:
    with torch.device("meta"):
        net = cs230_vgg16(size=224)
    shapes = {n: t.shape for n, t in net.state_dict().items() if n.startswith("conv")} | {"fc6.weight": (4096, 512 * 7 * 7), "fc8.bias": (2622,)}
    torch.save({name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}, tmp_path / "vgg_face_dag.pth")
    report = load_pretrained(net, str(tmp_path / "vgg_face_dag.pth"), layout="vgg_dag")
    assert len(report.loaded) == 26
    assert report.head == ("fc6.weight", "fc6.bias", "fc7.weight", "fc7.bias", "logits.weight", "logits.bias")
    assert (report.missing, report.unused, report.other_shape) == ((), (), {})


def known(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Give the five-layer model published weights."""
    card = {"hub": NOWHERE, "file": "net.pth", "sha256": None, "layout": "vggface2", "colour": "BGR", "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    card["trained_on"] = "many faces"
    monkeypatch.setitem(MODELS["five_layer"], "pretrained", {**card, **changes})


def test_a_run_without_pretrained_weights_says_that_they_are_random() -> None:
    first = pretrained_or_scratch(small_net(), "five_layer")
    assert (first.report, first.mean, first.std, first.sentence) == (None, None, None, "The initial weights are random.")
    assert first.trained_on == ""


def test_weights_that_are_not_available_mean_from_scratch_with_nothing_frozen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(PROGRESS, str(tmp_path / "lines"))
    with torch.device("meta"):
        net = create_model("cs230_resnet50", freeze="all_but_head")
    monkeypatch.setitem(MODELS["cs230_resnet50"], "pretrained", {**MODELS["cs230_resnet50"]["pretrained"], "hub": NOWHERE})
    first = pretrained_or_scratch(net, "cs230_resnet50", source="published", folder=tmp_path)
    assert (first.report, first.mean, first.std) == (None, None, None)
    source = f"{NOWHERE}/resnet50_ft_dag.pth"
    assert first.sentence == f"Trained from scratch, without frozen layers: the pretrained weights ({source}) are not available."
    assert "no answer" in (tmp_path / "lines").read_text()
    assert first.trained_on == ""
    assert all(p.requires_grad for p in net.parameters())
    assert all(m.training for m in net.modules())
    assert pretrained_or_scratch(small_net(), "five_layer", source="published").report is None
    assert "card names no pretrained weights" in (tmp_path / "lines").read_text()


def test_published_weights_bring_the_mean_and_spread_they_want_in_rgb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch)
    place = tmp_path / "127.0.0.1_1" / "net.pth"
    place.parent.mkdir()
    torch.save(small_net(seed=1).state_dict(), place)  # put there by hand
    first = pretrained_or_scratch(small_net(), "five_layer", source="published", folder=tmp_path)
    assert (first.mean, first.std) == ((0.3, 0.2, 0.1), (0.6, 0.5, 0.4))
    assert first.report is not None
    assert first.sentence == first.report.sentence()
    assert first.trained_on == "many faces"
    grey = pretrained_or_scratch(small_net(1), "five_layer", source="published", grey="sum", folder=tmp_path)
    assert grey.mean == pytest.approx((0.2,))
    known(monkeypatch, sha256="0" * 64)
    with pytest.raises(InputError, match="expected 0000"):  # there, but not what it should be: no reason to go on without
        pretrained_or_scratch(small_net(), "five_layer", source="published", folder=tmp_path)


def test_a_file_of_ones_own_brings_what_its_layout_wants(tmp_path: Path) -> None:
    source = written(tmp_path / "net.safetensors", small_net(seed=1))
    first = pretrained_or_scratch(small_net(), "five_layer", source=source, layout="torchvision")
    assert (first.mean, first.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # ImageNet's, torchvision's documentation
    assert first.trained_on == "not stated (net.safetensors)"
    with pytest.raises(InputError, match="no such file"):
        pretrained_or_scratch(small_net(), "five_layer", source=str(tmp_path / "none.pth"), layout="torchvision")
    with pytest.raises(InputError, match="no layout is called ''"):
        pretrained_or_scratch(small_net(), "five_layer", source=source)


@pytest.mark.parametrize(("name", "layer"), [("five_layer", "logits"), ("mini_xception", "maps")])
def test_rows_of_other_expressions_and_values_are_not_loaded_although_they_fit(name: str, layer: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    before, path = create_model(name, 8), tmp_path / "weights.safetensors"
    card = {"name": name, "options": {}, "mean": (0.5,), "std": (0.25,), "size": 48, "channels": 1}
    theirs = {"expressions": EXPRESSIONS, "values": {"valence": (-1.0, 1.0)}, "output": "softmax"}
    save_model(path, before, **card, **theirs)  # type: ignore[arg-type]
    eight = (*EXPRESSIONS, "contempt")
    renamed = ("fury", *EXPRESSIONS[1:])
    for changed in ({"expressions": eight, "values": {}}, {"expressions": renamed}, {"values": {"valence": (0.0, 1.0)}}, {"output": "sigmoid"}):
        net = create_model(name, 8)
        own = net.get_submodule(layer).weight.clone()
        first = pretrained_or_scratch(net, name, source=str(path), layout="ferlab", outputs={**theirs, **changed})
        assert torch.equal(net.get_submodule(layer).weight, own)
        assert layer in first.sentence.partition("random")[2]
        assert f"the output layer is not loaded, as it predicts {', '.join(EXPRESSIONS)}, valence (softmax), not what this run does" in first.sentence
    net = create_model(name, 8)
    first = pretrained_or_scratch(net, name, source=str(path), layout="ferlab", outputs=theirs)
    assert all(torch.equal(tensor, net.state_dict()[tensor_name]) for tensor_name, tensor in before.state_dict().items())
    assert "output layer" not in first.sentence


def test_a_run_of_this_workspace_can_be_gone_on_from(tmp_path: Path) -> None:
    torch.manual_seed(1)
    before, net = create_model("five_layer"), create_model("five_layer", 8)
    values = {"name": "five_layer", "options": {}, "expressions": EXPRESSIONS, "mean": (0.5,), "std": (0.25,), "size": 48, "channels": 1}
    save_model(tmp_path / "weights.safetensors", before, **values, sources=("fer2013", "jaffe"))  # type: ignore[arg-type]
    first = pretrained_or_scratch(net, "five_layer", source=str(tmp_path / "weights.safetensors"), layout="ferlab")
    assert (first.mean, first.std) == ((0.5,), (0.25,))
    assert first.trained_on == "fer2013, jaffe"
    assert torch.equal(net.conv3.weight, before.conv3.weight)
    assert torch.equal(net.fc1.weight, before.fc1.weight)  # the head too, where it fits
    assert first.report is not None
    assert list(first.report.other_shape) == ["logits.weight", "logits.bias"]
