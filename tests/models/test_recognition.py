"""The recognition network against face-api.js's own, whose descriptors of two control faces are in golden_recognition.json.

`python tests/models/test_recognition.py` computes them anew: it fetches the npm package, and runs its FaceRecognitionNet in chromium on the two faces
of golden_recognition.png, which it draws, once with the published weights and once with made-up ones.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from math import prod
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from ferlab.models import MODELS, count_parameters, create_model
from ferlab.models.checkpoints import LAYOUTS, read_checkpoint, renamed
from ferlab.models.hub import fetch
from ferlab.models.inputs import prepare_images, standardise
from ferlab.models.pretrained import load_pretrained, pretrained_or_scratch
from ferlab.models.recognition import Block, face_recognition
from ferlab.paths import InputError

NAME = "face_recognition"
CARD = MODELS[NAME]["pretrained"]
FACES, DESCRIPTORS = (Path(__file__).with_name(f"golden_recognition{ending}") for ending in (".png", ".json"))
BLOCKS = {  # name -> inputs, outputs
    **{f"conv32_{n}": (32, 32) for n in (1, 2, 3)}, "conv64_down": (32, 64), **{f"conv64_{n}": (64, 64) for n in (1, 2, 3)},
    "conv128_down": (64, 128), **{f"conv128_{n}": (128, 128) for n in (1, 2)}, "conv256_down": (128, 256),
    **{f"conv256_{n}": (256, 256) for n in (1, 2)}, "conv256_down_out": (256, 256),
}  # fmt: skip


def made_up_manifest(folder: Path) -> Path:
    """Write a manifest with the names and shapes of the published one, 117 tensors, and random values; the 64-channel blocks are not quantised."""
    draws, entries, content = np.random.RandomState(0), [], []

    def add(name: str, shape: tuple[int, ...], low: float, high: float) -> None:
        entry: dict[str, Any] = {"name": name, "shape": list(shape), "dtype": "float32"}
        values = draws.randint(0, 256, prod(shape)).astype(np.uint8)
        scale = (high - low) / 255
        if name.startswith("conv64_"):
            content.append((values * scale + low).astype("<f4").tobytes())
        else:
            entry["quantization"] = {"dtype": "uint8", "scale": scale, "min": low}
            content.append(values.tobytes())
        entries.append(entry)

    def add_layer(name: str, size: int, inputs: int, outputs: int) -> None:
        widest = (3 / (size * size * inputs)) ** 0.5
        add(f"{name}/conv/filters", (size, size, inputs, outputs), -widest, widest)
        add(f"{name}/conv/bias", (outputs,), -0.1, 0.1)
        add(f"{name}/scale/weights", (outputs,), 0.5, 1.5)
        add(f"{name}/scale/biases", (outputs,), -0.2, 0.2)

    add_layer("conv32_down", 7, 3, 32)
    for name, (inputs, outputs) in BLOCKS.items():
        add_layer(f"{name}/conv1", 3, inputs, outputs)
        add_layer(f"{name}/conv2", 3, outputs, outputs)
    add("fc", (256, 128), -0.1, 0.1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.bin").write_bytes(b"".join(content))
    (folder / "net.json").write_text(json.dumps([{"weights": entries, "paths": ["net.bin"]}]))
    return folder / "net.json"


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_manifest(tmp_path_factory.mktemp("made_up"))


def golden_faces() -> np.ndarray:
    """Return the two faces, uint8 (2, 150, 150, 3) in RGB."""
    return np.stack(np.hsplit(cv2.imread(str(FACES), cv2.IMREAD_COLOR)[..., ::-1], 2))


def descriptors(manifest: Path) -> np.ndarray:
    """Return the network's descriptors of the two faces: float32 (2, 128)."""
    net = create_model(NAME, size=150, features="descriptor", hidden=16, freeze="all_but_head").eval()
    load_pretrained(net, str(manifest), layout="face_api")
    return described(net, golden_faces(), size=150).numpy()


def described(net: nn.Module, faces: np.ndarray, *, size: int) -> torch.Tensor:
    """Return what the head of a network stands on, float32 (N, 128)."""
    images = standardise(prepare_images(faces, size=size, channels=3), mean=CARD["mean"], std=CARD["std"])
    with torch.no_grad():
        return net[: list(net._modules).index("descriptor") + 1](images)


def test_descriptors_are_those_of_face_apis_own_network(made_up: Path) -> None:
    golden = np.array(json.loads(DESCRIPTORS.read_text())["made up"])
    assert np.abs(golden).max() > 0.3
    np.testing.assert_allclose(descriptors(made_up), golden, atol=1e-4)


@pytest.mark.slow
def test_the_published_weights_give_face_apis_descriptors(tmp_path: Path) -> None:
    net = create_model(NAME)
    first = pretrained_or_scratch(net, NAME, source="published", folder=tmp_path)
    if first.report is None:
        pytest.skip(f"the npm registry does not answer: {first.sentence}")
    assert first.report.checked
    assert (len(first.report.loaded), first.report.head) == (54, ("logits.weight", "logits.bias"))
    assert (first.report.missing, first.report.other_shape) == ((), {})
    assert {name.split(".")[0] for name in first.report.unused} == {"conv256_down_out", "descriptor"}
    golden = np.array(json.loads(DESCRIPTORS.read_text())["published"])
    np.testing.assert_allclose(descriptors(first.report.file), golden, atol=1e-4)
    assert np.linalg.norm(golden[0] - golden[1]) > 0.1


def test_the_head_alone_is_random_on_a_block_and_on_the_descriptor(made_up: Path) -> None:
    report = load_pretrained(face_recognition(features="conv256_down_out"), str(made_up), layout="face_api")
    assert len(report.loaded) == 2 * 29
    assert (report.head, report.missing, report.unused, report.other_shape) == (
        ("logits.weight", "logits.bias"), (), ("descriptor.weight",), {},
    )  # fmt: skip
    report = load_pretrained(face_recognition(features="descriptor", hidden=16), str(made_up), layout="face_api")
    assert len(report.loaded) == 2 * 29 + 1
    assert (report.missing, report.unused, report.other_shape) == ((), (), {})
    assert report.head == ("hidden.weight", "hidden.bias", "logits.weight", "logits.bias")
    assert report.sentence().endswith("the head is random (hidden, logits).")


def test_a_dense_head_on_the_descriptor_is_trained_and_the_descriptor_stays_as_published(made_up: Path) -> None:
    """Frozen are 29 convolutions and the 128 values; the head is 128 to 16 to the classes."""
    torch.manual_seed(0)
    net = create_model(NAME, size=103, features="descriptor", hidden=16, freeze="all_but_head")
    assert count_parameters(net) == (128 * 16 + 16) + (16 * 7 + 7)
    load_pretrained(net, str(made_up), layout="face_api")
    before, faces = {name: tensor.clone() for name, tensor in net.state_dict().items()}, golden_faces()
    frozen = described(net, faces, size=103)
    assert frozen.shape == (2, 128)
    images = standardise(prepare_images(faces, size=103, channels=3), mean=CARD["mean"], std=CARD["std"])
    found = net(images)
    expected = net.logits(torch.relu(net.hidden(frozen)))
    torch.testing.assert_close(found, expected)
    step = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    nn.functional.cross_entropy(found, torch.tensor([0, 3])).backward()
    step.step()
    changed = {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"hidden.weight", "hidden.bias", "logits.weight", "logits.bias"}
    assert torch.equal(described(net, faces, size=103), frozen)


def test_a_scale_is_folded_into_the_convolution_before_it(made_up: Path) -> None:
    stored = read_checkpoint(made_up)
    folded = renamed(stored, LAYOUTS["face_api"])
    images = torch.rand(1, 3, 20, 20)
    filters, bias = stored["conv32_down/conv/filters"].permute(3, 2, 0, 1), stored["conv32_down/conv/bias"]
    out = nn.functional.conv2d(images, filters, bias, stride=2)
    expected = out * stored["conv32_down/scale/weights"].view(-1, 1, 1) + stored["conv32_down/scale/biases"].view(-1, 1, 1)
    found = nn.functional.conv2d(images, folded["conv32_down.weight"], folded["conv32_down.bias"], stride=2)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(folded["descriptor.weight"], stored["fc"].T)
    assert "fc" not in folded


@pytest.mark.parametrize(("side", "half"), [(8, 4), (7, 3)])
def test_a_halving_block_pads_the_branch_behind_and_the_shortcut_with_zero_channels(side: int, half: int) -> None:
    torch.manual_seed(0)
    block, inputs = Block(3, 5, down=True, variant="affine"), torch.randn(2, 3, side, side)
    with torch.no_grad():
        found = block(inputs)
        branch = block.conv2(torch.relu(block.conv1(inputs)))
        expected = torch.zeros(2, 5, half, half)
        expected[:, :, : branch.shape[2], : branch.shape[3]] += branch
        expected[:, :3] += nn.functional.avg_pool2d(inputs, 2)
    assert branch.shape[2] == 3
    torch.testing.assert_close(found, torch.relu(expected))


def test_each_level_of_freezing_leaves_what_it_says() -> None:
    with torch.device("meta"):
        trained = {freeze: {n for n, p in create_model(NAME, freeze=freeze).named_parameters() if p.requires_grad} for freeze in
                   ("none", "all_but_last_stage", "all_but_head")}  # fmt: skip
        assert count_parameters(create_model(NAME, freeze="all_but_head")) == 256 * 7 + 7
    assert trained["all_but_head"] == {"logits.weight", "logits.bias"}
    assert {name.split(".")[0] for name in trained["all_but_last_stage"]} == {"conv256_down", "conv256_1", "conv256_2", "logits"}
    assert len(trained["none"]) == 56
    with torch.device("meta"):
        whole = create_model(NAME, features="descriptor", hidden=16, freeze="all_but_last_stage")
    last = {"conv256_down", "conv256_1", "conv256_2", "conv256_down_out", "descriptor", "hidden", "logits"}
    assert {name.split(".")[0] for name, p in whole.named_parameters() if p.requires_grad} == last
    with pytest.raises(InputError, match="hidden: expected a width, or 0 for no hidden layer, got -1"):
        create_model(NAME, hidden=-1)
    with pytest.raises(InputError, match="freeze: expected one of none, all_but_last_stage, all_but_head, got 'paper'"):
        create_model(NAME, freeze="paper")


def test_normalisations_are_for_training_from_scratch_alone(made_up: Path) -> None:
    with torch.device("meta"):
        net = create_model(NAME, variant="batch_norm")
        assert len([m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]) == 27
        with pytest.raises(InputError, match="freeze: 'all_but_head' needs pretrained weights"):
            create_model(NAME, variant="batch_norm", freeze="all_but_head")
        with pytest.raises(InputError, match="variant: expected one of affine, batch_norm, got 'caffe'"):
            create_model(NAME, variant="caffe")
    with pytest.raises(InputError, match="layout 'face_api' fits a model built with variant 'affine', this one has 'batch_norm'"):
        load_pretrained(net, str(made_up), layout="face_api")


def test_without_pretrained_weights_a_block_begins_as_its_shortcut() -> None:
    torch.manual_seed(0)
    net = create_model(NAME).eval()
    inputs = torch.rand(1, 32, 6, 6)
    assert torch.equal(net.conv32_1(inputs), inputs)
    with torch.no_grad():
        assert 0.01 < float(net(torch.randn(4, 3, 112, 112)).std()) < 10


@pytest.mark.parametrize(("features", "least", "outputs"), [("conv256_2", 55, 1), ("conv256_down_out", 103, 1), ("descriptor", 103, 1)])
def test_the_least_side_has_a_whole_window_in_each_convolution(features: str, least: int, outputs: int) -> None:
    with torch.device("meta"):
        net = create_model(NAME, size=least, features=features).eval()
        assert net[: list(net._modules).index("average")](torch.empty(1, 3, least, least)).shape == (1, 256, outputs, outputs)
        with pytest.raises(InputError, match=r"55 or more|103 or more"):
            create_model(NAME, size=least - 1, features=features)
        with pytest.raises(RuntimeError, match="Kernel size"):
            net[: list(net._modules).index("average")](torch.empty(1, 3, least - 1, least - 1))
    with pytest.raises(InputError, match="features: expected one of conv256_2, conv256_down_out, descriptor, got 'fc'"):
        create_model(NAME, features="fc")


def test_files_of_other_networks_or_without_a_scale_are_refused(made_up: Path, tmp_path: Path) -> None:
    groups = json.loads(made_up.read_text())
    for entry in groups[0]["weights"]:
        entry["name"] = entry["name"].replace("conv64_1/conv2/scale/weights", "conv64_1/conv2/gain")
    shutil.copy(made_up.with_name("net.bin"), tmp_path)
    (tmp_path / "net.json").write_text(json.dumps(groups))
    with pytest.raises(InputError, match="no tensor 'conv64_1/conv2/scale/weights' beside conv64_1/conv2/conv/filters; expected the weights of"):
        load_pretrained(face_recognition(), str(tmp_path / "net.json"), layout="face_api")
    groups = json.loads(made_up.read_text())
    groups[0]["weights"].pop()  # fc, the last
    (tmp_path / "net.json").write_text(json.dumps(groups))
    with pytest.raises(InputError, match="no tensor 'fc'; expected the weights of face-api's recognition network"):
        load_pretrained(face_recognition(), str(tmp_path / "net.json"), layout="face_api")
    (tmp_path / "net.json").write_text(made_up.read_text())
    (tmp_path / "net.bin").write_bytes(made_up.with_name("net.bin").read_bytes()[:-1])
    with pytest.raises(InputError, match=r"its binary file has .* bytes; fc ends at .*Get the file again"):
        load_pretrained(face_recognition(), str(tmp_path / "net.json"), layout="face_api")


def _describe(package: Path, manifest: Path, faces: np.ndarray) -> list[list[float]]:
    """Return what the package's own network makes of the faces, in chromium, rounded to 6 digits."""
    from playwright.sync_api import sync_playwright

    group = json.loads(manifest.read_text())[0]
    content = b"".join(manifest.with_name(name).read_bytes() for name in group["paths"])
    code = """async ([weights, content, faces]) => {
        await faceapi.tf.setBackend('cpu');
        await faceapi.tf.ready();
        const net = new faceapi.FaceRecognitionNet(), found = [];
        net.loadFromWeightMap(faceapi.tf.io.decodeWeights(Uint8Array.from(atob(content), c => c.charCodeAt(0)).buffer, weights));
        for (const face of faces) found.push(Array.from(await net.computeFaceDescriptor(faceapi.tf.tensor3d(face, [150, 150, 3], 'int32'))));
        return found;
    }"""
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(path=str(package / "dist" / "face-api.js"))
        found = page.evaluate(code, [group["weights"], base64.b64encode(content).decode(), [face.ravel().tolist() for face in faces]])
        browser.close()
    return [[round(value, 6) for value in row] for row in found]


def _write_golden() -> None:
    from ferlab.control import read

    images, _ = read(faces=2, subjects=2, size=150, seed=0, colour=True)
    cv2.imwrite(str(FACES), np.hstack(images)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    with tempfile.TemporaryDirectory() as work:
        published = fetch(f"{CARD['hub']}/{CARD['file']}", folder=Path(work, "kept"), sha256=CARD["sha256"])
        package = CARD["hub"].removeprefix("npm:")
        tarball = subprocess.run(["npm", "pack", "--silent", package], cwd=work, capture_output=True, text=True, check=True).stdout.strip()
        shutil.unpack_archive(Path(work, tarball), work, filter="data")
        made = {"published": published, "made up": made_up_manifest(Path(work, "made_up"))}
        found = {name: _describe(Path(work, "package"), manifest, golden_faces()) for name, manifest in made.items()}
    DESCRIPTORS.write_text(json.dumps({"by": f"FaceRecognitionNet of {package}, {Path(__file__).name}", **found}, indent=None) + "\n")


if __name__ == "__main__":
    _write_golden()
