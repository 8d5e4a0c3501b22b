"""docs/extending.md, followed word for word on a copy of the repository: a model, a dataset, a figure."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
STEP = re.compile(r"^(Save as|In|At the end of) `([^`]+)`(?:, below `([^`]+)`)?[^\n]*:\n\n```\w+\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def follow(section: str, clone: Path) -> list[str]:
    """Do what a section of the page says to files of a clone; return their names."""
    text = (ROOT / "docs" / "extending.md").read_text()
    steps = STEP.findall(text[text.index(f"\n## {section}\n") :].split("\n## ")[1])
    for verb, name, anchor, block in steps:
        path = clone / name
        if verb == "Save as":
            assert not path.exists()
            path.write_text(block)
        elif name.endswith(".ipynb"):
            continue  # a cell
        else:
            before = path.read_text()
            lines = re.findall(rf"^{re.escape(anchor)}(?:  #.*)?\n", before, flags=re.MULTILINE) if anchor else [before]
            assert len(lines) == 1, f"{name} has no single line {anchor!r}"
            path.write_text(before.replace(lines[0], lines[0] + ("" if anchor else "\n\n") + block))
    return [name for _, name, _, _ in steps]


@pytest.fixture
def clone(tmp_path):
    """The package, its notebooks and params."""
    shutil.copytree(ROOT / "src" / "ferlab", tmp_path / "src" / "ferlab", ignore=shutil.ignore_patterns("static", "__pycache__"))
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def python(clone: Path, code: str) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=clone, env={"PYTHONPATH": str(clone / "src"), "PATH": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_model_of_the_page_is_built_and_has_the_parameters_of_its_card(clone):
    assert len(follow("A model", clone)) == 5
    code = """
from ferlab.models import MODELS, count_parameters, create_model
from ferlab.params import load_params
run = load_params().runs["mine"]
module = create_model(run.model)
print(run.family, count_parameters(module) == MODELS["mine"]["parameters"], dict(module.named_modules())[MODELS["mine"]["target_layer"]])
print(set.intersection(*map(set, MODELS.values())) == set.intersection(*(set(card) for name, card in MODELS.items() if name != "mine")))
"""
    assert python(clone, code) == "mine True ReLU()\nTrue\n", "and its card lacks no key that all others have"


def test_the_dataset_of_the_page_is_read_and_listed(clone):
    assert follow("A dataset", clone) == ["src/ferlab/data/readers/mine.py", "src/ferlab/data/readers/registry.py"]
    raw = clone / "data" / "raw" / "mine"
    raw.mkdir(parents=True)
    for name in ("happy_1", "sad_1", "bored_1"):
        Image.fromarray(np.full((48, 48), 9, np.uint8)).save(raw / f"{name}.png")
    code = """
from pathlib import Path
from ferlab.data.readers.reading import read_source
pictures, faces = read_source("mine", Path("data/raw/mine"))
print(len(pictures), pictures[0].shape, faces["target"].tolist(), faces["excluded"].tolist())
"""
    assert python(clone, code) == "3 (48, 48) [-1, 3, 4] ['bored', '', '']\n"
    python(clone, "import ferlab.dependencies as made; made.main()")
    listed = yaml.safe_load((clone / "dvc.yaml").read_text())["stages"]["prepare"]["do"]["deps"]
    assert "src/ferlab/data/readers/mine.py" in listed


def test_the_figure_of_the_page_draws_the_gap(clone):
    page, notebook = follow("A figure or a table", clone)
    assert notebook == "notebooks/03_train.ipynb"
    (clone / "src/ferlab/mine_page.py").write_text((clone / page).read_text())
    sys.path.insert(0, str(clone / "src" / "ferlab"))
    try:
        import mine_page
    finally:
        sys.path.remove(str(clone / "src" / "ferlab"))
    figure = mine_page.plot_gap(pd.DataFrame({"epoch": [1, 2], "train_accuracy": [0.5, 0.75], "val_accuracy": [0.5, 0.5]}))
    (line,) = figure.axes[0].get_lines()
    assert line.get_ydata().tolist() == [0.0, 25.0]
