"""A project of one notebook, for tests of the runner, and one of stages without notebooks, for tests of what runs stages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ferlab import notebooks

SOURCE = Path(__file__).parents[1]
PARAMS = (SOURCE / "params.yaml").read_text()
GOOD = """
from ferlab.paths import output, write_json
from ferlab.control import read
from ferlab.data.faces import hash_images
from ferlab.data.store import write_store
import warnings, sys
images, faces = read(faces=14, subjects=2, size=48, seed=0)
write_store(output("prepare", "store", "control"), images, faces.assign(content_hash=hash_images(images), split="train"))
warnings.warn("a warning with the kernel's process id in its path")
for what in ("facts", "record"):
    write_json(output("prepare", what, "control"), {})
write_json(output("prepare", "metrics", "control"), {"faces": 3})
print(params["prepare"]["dataset"])
"""


def make_project(folder: Path, code: str, *, parameters: str = "set_name = None\nparams = None") -> Path:
    """A project with one notebook, 01_prepare, whose only code is `code`."""
    (folder / "notebooks").mkdir(parents=True)
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "data" / "raw" / "README.md").write_text("raw\n")
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "requirements.lock").write_text("numpy==2\n")
    (folder / "params.yaml").write_text(PARAMS)
    cells = [
        {"cell_type": "code", "id": "cell-000", "metadata": {"tags": ["parameters"]}, "source": parameters},
        {"cell_type": "code", "id": "cell-001", "metadata": {}, "source": code},
    ]
    whole = {"cells": [{**c, "outputs": [], "execution_count": None} for c in cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "notebooks" / "01_prepare.ipynb").write_text(notebooks.stored_text(whole))
    return folder


STAGE = """
import os, pathlib, sys, time
name, reads = os.environ["DVC_STAGE"], sys.argv[1:]
with open("log.txt", "a") as log:
    log.write(f"start {name}\\n")
pathlib.Path("data", f"{name}.pid").write_text(str(os.getpid()))
beside = {"train@first": "train@second", "train@second": "train@first"}.get(name)
while beside and os.path.exists("together") and not os.path.exists(f"data/{beside}.pid"):
    time.sleep(0.02)
while name == "train@first" and os.path.exists("together") and not os.path.exists("data/out/train@second"):
    time.sleep(0.02)
while os.path.exists(f"{name}.waits"):
    time.sleep(0.02)
if os.path.exists(f"{name}.fails"):
    sys.exit(f"{name}: it cannot be done")
out = pathlib.Path("data", "out", name)
out.parent.mkdir(exist_ok=True)
out.write_text(f"{name} of " + " and ".join(pathlib.Path(each).read_text() for each in reads))
with open("log.txt", "a") as log:
    log.write(f"end {name}\\n")
"""
STAGES = """stages:
  prepare:
    foreach: [control]
    do: {cmd: python stage.py, deps: [stage.py], outs: ["data/out/prepare@${item}": {persist: true}]}
  train:
    foreach: [first, second]
    do: {cmd: python stage.py data/out/prepare@control, deps: [stage.py, data/out/prepare@control], outs: ["data/out/train@${item}": {persist: true}]}
  deploy:
    foreach: [first, second]
    do:
      cmd: python stage.py data/out/train@${item}
      deps: [stage.py, "data/out/train@${item}"]
      outs: ["data/out/deploy@${item}": {persist: true}]
  compare:
    cmd: python stage.py data/out/train@first data/out/train@second
    deps: [stage.py, data/out/train@first, data/out/train@second]
    outs: [data/out/compare: {persist: true}]
  worlds:
    cmd: python stage.py
    deps: [stage.py]
    outs: [data/out/worlds: {persist: true}]
  report:
    cmd: python stage.py data/out/compare data/out/deploy@first data/out/deploy@second data/out/worlds
    deps: [stage.py, data/out/compare, data/out/deploy@first, data/out/deploy@second, data/out/worlds]
    outs: [data/out/report: {persist: true}]
"""
NEEDS: dict[str, set[str]] = {
    "prepare@control": set(),
    "train@first": {"prepare@control"},
    "train@second": {"prepare@control"},
    "deploy@first": {"train@first"},
    "deploy@second": {"train@second"},
    "compare": {"train@first", "train@second"},
    "worlds": set(),
    "report": {"compare", "deploy@first", "deploy@second", "worlds"},
}


def make_stages(folder: Path) -> Path:
    """A project of DVC without notebooks: eight stages that write a line each, note in log.txt when they run, and fail or wait where a file says so.

    With a file `together`, each training waits until the other has started, and the first for the end of the second.
    """
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "data" / "raw" / "README.md").write_text("raw\n")
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc.yaml").write_text(STAGES)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    return folder
