"""A process killed with SIGKILL in the middle of an epoch, in both phases, against one left alone: the same bytes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys
from pathlib import Path
import numpy as np, pandas as pd
from ferlab.data.store import Store
from ferlab.params import Train
from ferlab.training.fit import fit
from ferlab.training.module import Classifier

folder, phase, epoch, batch = Path(sys.argv[1]), *sys.argv[2:5]
step = Classifier.training_step

def killing(self, data, batch_idx):
    fitted = "refit" if self.factors is not None else "select"
    if [fitted, self.current_epoch, batch_idx] == [phase, int(epoch), int(batch)]:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, data, batch_idx)

Classifier.training_step = killing
generator = np.random.default_rng(0)
targets = np.arange(160) % 4
images = generator.integers(0, 160, (160, 48, 48)).astype(np.uint8)
for row, target in enumerate(targets):
    images[row, 10 * target : 10 * target + 8] = 250
faces = pd.DataFrame({"target": targets, "split": ["train"] * 112 + ["val"] * 48})
settings = Train(epochs=3, batch_size=32, optimizer="sgd", lr=0.02, weight_decay=5e-4, schedule="one_cycle", label_smoothing=0.1, threads=1,
                 rotation=10.0, zoom=0.1, shift=0.1, refit=True, monitor="val/loss")
result = fit(Store(images, faces, tuple("abcd")), run="toy", model="five_layer", options={}, seed=7, settings=settings, partial=folder / "partial")
result.save(folder / "weights.safetensors")
result.save_history(folder / "history.csv")
"""


def run(folder: Path, *, kill: tuple[str, int, int] = ("never", 0, 0)) -> int:
    folder.mkdir(exist_ok=True)
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(folder), *map(str, kill)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.slow
@pytest.mark.long
def test_killed_in_mid_epoch_of_each_phase_the_files_equal_the_unbroken_runs(tmp_path: Path) -> None:
    assert run(tmp_path / "whole") == 0
    assert run(tmp_path / "killed", kill=("select", 1, 2)) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "weights.safetensors").exists()
    assert run(tmp_path / "killed", kill=("refit", 0, 1)) == -signal.SIGKILL
    assert run(tmp_path / "killed") == 0
    for name in ("weights.safetensors", "history.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert b"killed" not in (tmp_path / "killed" / "weights.safetensors").read_bytes()
