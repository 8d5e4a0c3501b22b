from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ferlab.models.checkpoints import LAYOUTS, read_checkpoint, renamed
from ferlab.models.cs230_transfer import cs230_resnet50, cs230_senet50, cs230_vgg16
from ferlab.paths import InputError

WEIGHTS = {"conv1.weight": torch.arange(6.0).reshape(1, 1, 2, 3), "conv1.bias": torch.tensor([1.5])}
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # widths and blocks of ResNet-50 (He et al., 2016, table 1)


class RunsCode:
    """A pickle of it makes a folder when it is opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def one_line(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        read_checkpoint(path)
    message = str(raised.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def same(found: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(WEIGHTS) and all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


def test_every_format_gives_the_same_weights(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "net.safetensors")
    torch.save(WEIGHTS, tmp_path / "net.pth")
    torch.save(WEIGHTS, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    found = read_checkpoint(tmp_path / "net.safetensors")
    assert sorted(found) == sorted(WEIGHTS)
    assert same(read_checkpoint(tmp_path / "net.pth"))
    assert same(read_checkpoint(tmp_path / "old.pt"))
    for protocol in range(2, 6):
        (tmp_path / "net.pkl").write_bytes(pickle.dumps({name: w.numpy() for name, w in WEIGHTS.items()}, protocol=protocol))
        assert same(read_checkpoint(tmp_path / "net.pkl"))


def test_arrays_that_python_2_pickled_are_read(tmp_path: Path) -> None:
    """What VGGFace2's files are: byte strings as str, numpy.core. Written out by hand, as Python 3 no longer writes it."""
    data = np.array([1.0, -2.0], dtype="<f4").tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntU\x01btR(I1\n(I2\ntcnumpy\ndtype\n(U\x02f4I0\nI1\ntR"
        b"(I3\nU\x01<NNNI-1\nI-1\nI0\ntbI00\nU" + bytes([len(data)]) + data + b"tb"
    )
    (tmp_path / "net.pkl").write_bytes(b"\x80\x02}U\x07fc.bias" + array + b"s.")
    assert read_checkpoint(tmp_path / "net.pkl")["fc.bias"].tolist() == [1.0, -2.0]


@pytest.mark.parametrize("ending", [".pth", ".pt", ".ckpt", ".bin", ".pkl"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(ending: str, protocol: int, tmp_path: Path) -> None:
    path, made = tmp_path / f"net{ending}", tmp_path / "made"
    path.write_bytes(pickle.dumps({"state_dict": {"fc.bias": np.zeros(2)}, "note": RunsCode(made)}, protocol=protocol))
    message = one_line(path)
    assert not made.exists()
    if ending == ".pkl":  # PyTorch's reader may stop at something else before
        assert "would run 'posix.mkdir' when opened, so it was not; expected weights alone" in message
    pickle.loads(path.read_bytes())
    assert made.exists()  # so it would have


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_of_pytorch_that_would_run_code_is_refused_and_does_not_run(zipped: bool, tmp_path: Path) -> None:
    torch.save({"note": RunsCode(tmp_path / "made"), **WEIGHTS}, tmp_path / "net.pth", _use_new_zipfile_serialization=zipped)
    assert "would run 'posix.mkdir'" in one_line(tmp_path / "net.pth")
    assert not (tmp_path / "made").exists()


def test_damaged_and_foreign_files_are_refused_in_one_line(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "net.safetensors")
    torch.save(WEIGHTS, tmp_path / "net.pth")
    torch.save(WEIGHTS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "net.pkl").write_bytes(pickle.dumps({name: w.numpy() for name, w in WEIGHTS.items()}))
    for name in ("net.safetensors", "net.pth", "old.pth", "net.pkl"):
        whole = (tmp_path / name).read_bytes()
        for share in (0.0, 0.1, 0.5, 0.9):
            (tmp_path / name).write_bytes(whole[: int(share * len(whole))])
            assert "get the file again" in one_line(tmp_path / name)
    assert "no such file" in one_line(tmp_path / "none.pth")
    (tmp_path / "net.h5").write_bytes(b"")
    assert "cannot tell what '.h5' holds; expected .safetensors, .pth" in one_line(tmp_path / "net.h5")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    assert "holds no weights by name" in one_line(tmp_path / "list.pth")


def test_what_trainers_wrap_around_weights_is_taken_off(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": w for name, w in WEIGHTS.items()}}, tmp_path / "a.pth")
    assert same(read_checkpoint(tmp_path / "a.pth"))
    torch.save({"model": {f"_orig_mod.net.{name}": w for name, w in WEIGHTS.items()}}, tmp_path / "b.pth")
    assert same(read_checkpoint(tmp_path / "b.pth"))
    torch.save({"module.a": torch.zeros(1), "b": torch.zeros(1)}, tmp_path / "c.pth")  # not before all: part of the name
    assert list(read_checkpoint(tmp_path / "c.pth")) == ["module.a", "b"]


@pytest.mark.parametrize(
    ("layout", "theirs", "ours"),
    [
        ("torchvision", "features.0.weight", "conv1_1.weight"),
        ("torchvision", "features.28.bias", "conv5_3.bias"),
        ("torchvision", "layer3.5.conv2.weight", "layer3.5.conv2.weight"),
        ("vggface2", "layer3.5.conv4.bias", "layer3.5.se.down.bias"),
        ("vggface2", "layer1.0.conv5.weight", "layer1.0.se.up.weight"),
        ("vggface2", "layer1.0.downsample.1.running_var", "layer1.0.downsample.1.running_var"),
        ("timm", "layer1.0.se.fc1.weight", "layer1.0.se.down.weight"),
        ("timm", "layer3.5.se.fc2.bias", "layer3.5.se.up.bias"),
        ("timm", "layer4.0.downsample.0.weight", "layer4.0.downsample.0.weight"),
        ("vgg_dag", "conv1_7x7_s2_bn.running_mean", "bn1.running_mean"),
        ("vgg_dag", "conv1_7x7_s2.weight", "conv1.weight"),
        ("vgg_dag", "conv2_1_1x1_reduce.weight", "layer1.0.conv1.weight"),
        ("vgg_dag", "conv3_4_3x3_bn.weight", "layer2.3.bn2.weight"),
        ("vgg_dag", "conv5_1_1x1_proj_bn.bias", "layer4.0.downsample.1.bias"),
        ("vgg_dag", "conv5_1_1x1_increase.weight", "layer4.0.conv3.weight"),
        ("vgg_dag", "conv4_6_1x1_down.bias", "layer3.5.se.down.bias"),
        ("vgg_dag", "conv4_6_1x1_up.bias", "layer3.5.se.up.bias"),
        ("vgg_dag", "conv3_2.weight", "conv3_2.weight"),
    ],
)
def test_names_of_each_source_become_the_names_here(layout: str, theirs: str, ours: str) -> None:
    assert list(renamed({theirs: torch.zeros(1)}, LAYOUTS[layout])) == [ours]


def torchvision_names() -> set[str]:
    """ResNet-50's tensors by torchvision's names, which VGGFace2-pytorch has too."""
    names = {"conv1", "bn1", "fc"}
    for stage, (_, blocks) in enumerate(STAGES, start=1):
        names |= {f"layer{stage}.{n}.{kind}{i}" for n in range(blocks) for kind in ("conv", "bn") for i in (1, 2, 3)}
        names |= {f"layer{stage}.0.downsample.{i}" for i in (0, 1)}
    return names


def caffe_names(*, gated: bool) -> set[str]:
    """The same by Caffe's, as pytorch-mcn has them."""
    names = {"conv1_7x7_s2", "conv1_7x7_s2_bn", "classifier"}
    for stage, (_, blocks) in enumerate(STAGES, start=2):
        convolutions = [f"conv{stage}_{n}_{kind}" for n in range(1, blocks + 1) for kind in ("1x1_reduce", "3x3", "1x1_increase")]
        convolutions.append(f"conv{stage}_1_1x1_proj")
        names |= {*convolutions, *(f"{name}_bn" for name in convolutions)}
        names |= {f"conv{stage}_{n}_1x1_{way}" for n in range(1, blocks + 1) for way in ("down", "up")} if gated else set()
    return names


@pytest.mark.parametrize(
    ("layout", "names", "build"),
    [
        ("torchvision", torchvision_names(), cs230_resnet50),
        ("vggface2", torchvision_names(), cs230_resnet50),
        ("vggface2", torchvision_names() | {f"layer{s}.{n}.conv{i}" for s, (_, b) in enumerate(STAGES, 1) for n in range(b) for i in (4, 5)},
         cs230_senet50),
        ("timm", torchvision_names(), cs230_resnet50),
        ("timm", torchvision_names() | {f"layer{s}.{n}.se.fc{i}" for s, (_, b) in enumerate(STAGES, 1) for n in range(b) for i in (1, 2)},
         cs230_senet50),
        ("vgg_dag", caffe_names(gated=False), cs230_resnet50),
        ("vgg_dag", caffe_names(gated=True), cs230_senet50),
        ("torchvision", {f"features.{n}" for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)} | {f"classifier.{n}" for n in (0, 3, 6)},
         cs230_vgg16),
        ("vgg_dag", {f"conv{b}_{n}" for b, c in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, c + 1)} | {"fc6", "fc7", "fc8"}, cs230_vgg16),
    ],
)  # fmt: skip
def test_each_layout_names_the_whole_backbone_and_nothing_else(layout: str, names: set[str], build: Any) -> None:
    with torch.device("meta"):
        backbone = {name.rpartition(".")[0] for name in build().state_dict() if not name.startswith(("fc6", "fc7", "logits"))}
    found = renamed({f"{name}.weight": torch.zeros(1) for name in names}, LAYOUTS[layout])
    assert {name.removesuffix(".weight") for name in found} == backbone
    assert len(found) == len(names) - (3 if build is cs230_vgg16 else 1)


def test_timms_other_stems_are_refused() -> None:
    with pytest.raises(InputError, match=r"conv1\.0\.weight: a stem of several convolutions, as of timm's resnet50d; expected resnet50"):
        renamed({"conv1.0.weight": torch.zeros(1), "bn1.weight": torch.zeros(1)}, LAYOUTS["timm"])
