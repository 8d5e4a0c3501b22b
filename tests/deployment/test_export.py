"""An exported model answers as its source does, and its bytes depend on nothing but the model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from ferlab.deployment.export import Parity, export_onnx, parity
from ferlab.deployment.predictor import open_session

FACES = np.random.default_rng(0).integers(0, 256, (37, 16, 16)).astype(np.uint8)


def test_probabilities_and_labels_agree_with_the_source(tiny, tiny_onnx) -> None:
    found = parity(tiny, open_session(tiny_onnx), FACES)
    assert found.faces == 37
    assert found.max_abs_diff < 1e-5
    assert found.label_agreement == 1.0


def test_parity_sees_another_net(tiny, tiny_onnx) -> None:
    torch.manual_seed(1)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 3)).eval()
    found = parity(dataclasses.replace(tiny, module=other), open_session(tiny_onnx), FACES)
    assert found.max_abs_diff > 0.1
    assert found.label_agreement < 1


def test_normalisation_and_softmax_are_inside_the_graph(tiny, tiny_onnx) -> None:
    (probs,) = open_session(tiny_onnx).run(None, {"faces": FACES[:, None].astype(np.float32) / 255})
    logits = tiny.module((torch.from_numpy(FACES)[:, None] / 255 - 0.5) / 0.25)
    np.testing.assert_allclose(probs, torch.softmax(logits, dim=1).detach().numpy(), atol=1e-5)


def test_any_number_of_faces_fits(tiny_onnx) -> None:
    session = open_session(tiny_onnx)
    assert [session.run(None, {"faces": np.zeros((n, 1, 16, 16), np.float32)})[0].shape[0] for n in (1, 2, 5)] == [1, 2, 5]


def test_it_is_one_file_whose_card_names_all_that_is_needed(tiny, tiny_onnx) -> None:
    assert [path.name for path in tiny_onnx.parent.iterdir()] == ["model.onnx"]
    (prop,) = onnx.load(tiny_onnx).metadata_props
    card = json.loads(prop.value)
    assert card == {"channels": 1, "expressions": list(tiny.expressions), "mean": [0.5], "name": "tiny", "size": 16, "std": [0.25]}


def test_no_path_of_this_machine_is_inside(tiny_onnx) -> None:
    content = tiny_onnx.read_bytes()
    assert str(Path(__file__).resolve().parents[2]).encode() not in content
    assert b".py" not in content


def test_a_failed_export_leaves_the_last_file(tiny, tmp_path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"last good")

    class Broken(torch.nn.Module):
        def forward(self, faces):
            raise RuntimeError("cannot trace")

    with pytest.raises(Exception, match="cannot trace"):
        export_onnx(dataclasses.replace(tiny, module=Broken().eval()), path)
    assert path.read_bytes() == b"last good"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_two_processes_in_two_folders_write_the_same_bytes(weights, tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; from ferlab.models import load_model; from ferlab.deployment.export import export_onnx;"
        "export_onnx(load_model(Path(sys.argv[1])), Path('model.onnx'))"
    )
    digests = []
    for seed in ("1", "2"):
        folder = tmp_path / f"clone{seed}"
        folder.mkdir()
        path = os.pathsep.join([str(Path(__file__).resolve().parents[2] / "src"), os.environ.get("PYTHONPATH", "")])
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, str(weights)],
            cwd=folder,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
        )
        digests.append(hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_the_metrics_keep_a_difference_below_six_decimals() -> None:
    found = Parity(faces=3, max_abs_diff=3.7e-8, label_agreement=1.0)
    assert found.metrics()["max_abs_diff_millionths"] == pytest.approx(0.037)
