from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ferlab.models.checkpoints import read_checkpoint
from ferlab.models.manifests import binary_files, manifest_sha256, read_manifest
from ferlab.paths import InputError

QUANTISED = {"name": "a", "shape": [2, 2], "dtype": "float32", "quantization": {"dtype": "uint8", "scale": 1 / 64, "min": -0.5}}
PLAIN = {"name": "b", "shape": [2], "dtype": "float32"}
WIDE = {"name": "c", "shape": [1], "dtype": "float32", "quantization": {"dtype": "uint16", "scale": 0.5, "min": 1.0}}
CONTENT = bytes([0, 48, 96, 255]) + np.array([0.1, 0.2], "<f4").tobytes() + np.array([1000], "<u2").tobytes()


def written(folder: Path, *, weights: list[Any] | None = None, paths: list[str] | None = None) -> Path:
    """Write three tensors into two binary files, the second of which begins within a tensor."""
    (folder / "net-shard1").write_bytes(CONTENT[:6])
    (folder / "net-shard2").write_bytes(CONTENT[6:])
    group = {"paths": paths or ["net-shard1", "net-shard2"], "weights": weights or [QUANTISED, PLAIN, WIDE]}
    (folder / "net.json").write_text(json.dumps([group]))
    return folder / "net.json"


def test_tensors_are_restored_from_their_steps_across_files(tmp_path: Path) -> None:
    found = read_manifest(written(tmp_path))
    assert found["a"].tolist() == [[-0.5, 0.25], [1.0, 3.484375]]
    np.testing.assert_allclose(found["b"], [0.1, 0.2], rtol=1e-6)
    assert found["c"].tolist() == [501.0]
    assert all(tensor.dtype == np.float32 for tensor in found.values())


def test_a_manifest_is_a_checkpoint_as_any(tmp_path: Path) -> None:
    found = read_checkpoint(written(tmp_path))
    assert found["a"].tolist() == [[-0.5, 0.25], [1.0, 3.484375]]


def test_one_checksum_holds_for_the_manifest_and_its_binary_files(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert binary_files(path) == [tmp_path / "net-shard1", tmp_path / "net-shard2"]
    before = manifest_sha256(path)
    assert before == hashlib.sha256(path.read_bytes() + CONTENT).hexdigest()
    (tmp_path / "net-shard2").write_bytes(CONTENT[6:-1] + b"\0")
    assert manifest_sha256(path) != before
    (tmp_path / "net-shard2").unlink()
    with pytest.raises(InputError, match=r"net-shard2: no such file; net\.json names it"):
        manifest_sha256(path)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        read_checkpoint(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(path))
    return str(raised.value)


def test_damaged_manifests_are_refused_in_one_line(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "net-shard2").write_bytes(CONTENT[6:-1])
    assert "its binary file has 13 bytes; c ends at 14. Get the file again." in refused(path)
    (tmp_path / "net-shard2").unlink()
    assert "no weights manifest (FileNotFoundError" in refused(path)
    assert "a is stored as 'int4'; known: float32" in refused(written(tmp_path, weights=[{**QUANTISED, "quantization": {"dtype": "int4"}}]))
    assert "no weights manifest (KeyError" in refused(written(tmp_path, weights=[{"name": "a", "dtype": "float32"}]))
    for text in ("[1]", "{}", "[", "null", '[{"weights": []}]'):
        path.write_text(text)
        assert "no weights manifest" in refused(path)


@pytest.mark.parametrize("name", ["../net-shard1", "/etc/hostname", "below/net-shard1", "..", ""])
def test_a_binary_file_lies_beside_its_manifest(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, paths=[name])
    assert "expected one beside it" in refused(path)
    with pytest.raises(InputError, match="expected one beside it"):
        binary_files(path)
