"""A project of one notebook, for tests of the runner."""

from __future__ import annotations

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
