"""What starts without the workspace: help and predictions load few packages, and a light install predicts with four."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ferlab
from ferlab.cli import main
from ferlab.control import read
from ferlab.version import ferlab_version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIGHT = {"numpy", "onnxruntime", "opencv-python-headless", "pillow"}
WORKSPACE = ("torch", "pandas", "scipy", "pydantic", "ruamel", "onnx", "rich", "psutil", "matplotlib", "sklearn", "skimage", "pyarrow", "yaml")
LOADS = ("numpy", "cv2", "PIL", "onnxruntime")
LIGHTLY = """import sys
sys.modules |= dict.fromkeys(sys.argv.pop(1).split(","))  # importing one of these fails, as where it is not installed
import ferlab
from ferlab.cli import main
sys.exit(main(sys.argv[1:]))"""


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A grey picture with a drawn face."""
    pixels = np.full((240, 240), 120, np.uint8)
    pixels[60:156, 70:166] = read(faces=1, size=96)[0][0]
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    known = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={**known, **variables})


def run_without(packages: tuple[str, ...], arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-c", LIGHTLY, ",".join(packages), *arguments], folder, PYTHONPATH=str(ROOT / "src"))


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["--version"]])
def test_help_and_version_load_no_package(arguments, tmp_path) -> None:
    ran = run_without((*WORKSPACE, *LOADS), arguments, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "ferlab" in ran.stdout


def test_a_prediction_loads_the_packages_of_the_light_install_alone(scene, tmp_path) -> None:
    ran = run_without(WORKSPACE, ["predict", "scene.png"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("scene.png: face at")


def test_the_light_dependencies_are_four_and_the_rest_is_the_workspaces() -> None:
    parts = (PROJECT["dependencies"], PROJECT["optional-dependencies"]["workspace"])
    light, rest = ([line.partition("==")[0] for line in part] for part in parts)
    assert set(light) == LIGHT
    assert not LIGHT & set(rest)
    assert {"torch", "dvc", "pytest"} <= set(rest)


def test_a_command_of_the_workspace_says_what_a_light_install_lacks(tmp_path) -> None:
    ran = run_without(WORKSPACE, ["study"], tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "ferlab: study needs ruamel, of the whole workspace: pip install '.[workspace]' in a clone of ferlab\n"


def test_a_map_that_needs_pytorch_is_refused_where_there_is_none(scene, tmp_path) -> None:
    ran = run_without(WORKSPACE, ["predict", "scene.png", "--save", "out", "--map", "grad_cam"], tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "ferlab: --map grad_cam needs PyTorch, of the whole workspace; --map occlusion needs none\n"
    ran = run_without(WORKSPACE, ["predict", "scene.png", "--save", "out", "--map", "occlusion"], tmp_path)
    assert (ran.returncode, [path.name for path in (tmp_path / "out").iterdir()]) == (0, ["scene.png"])


def test_the_version_is_stated_once_and_read_without_an_install(capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"ferlab {ferlab_version()}\n")
    assert ferlab.__version__ == ferlab_version() == PROJECT["version"]
    assert not hasattr(ferlab, "version_of_nothing")
    cited = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {PROJECT['version']}\n" in cited


@pytest.mark.slow
def test_a_light_install_predicts_from_another_folder(scene, tmp_path) -> None:
    """Four packages and what they need; skipped where no registry answers."""
    clone, place = tmp_path / "clone", tmp_path / "light"
    clone.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone / name)
    shutil.copytree(ROOT / "src", clone / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    assert run([sys.executable, "-m", "venv", str(place)], tmp_path).returncode == 0
    asked = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", str(clone)]
    made = run(asked, tmp_path)
    if made.returncode and re.search(r"No matching distribution|Could not find a version|connection|Retry", made.stderr):
        pytest.skip("no package registry answers")
    assert made.returncode == 0, made.stderr
    shutil.rmtree(clone)
    listed = json.loads(run([str(place / "bin" / "python"), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"], tmp_path).stdout)
    assert {each["name"] for each in listed} >= LIGHT
    assert len(listed) < 15, listed
    packed = next(place.glob("lib/python3*/site-packages/ferlab"))
    assert (packed / "deployment" / "weights" / "model.onnx").read_bytes() == (ROOT / "src/ferlab/deployment/weights/model.onnx").read_bytes()
    here = [sys.executable, "-m", "ferlab.cli", "predict", "scene.png"]
    ran, own = run([str(place / "bin" / "ferlab"), "predict", "scene.png"], tmp_path), run(here, tmp_path, PYTHONPATH=str(ROOT / "src"))
    assert (ran.returncode, ran.stdout) == (0, own.stdout)
    assert "face at" in ran.stdout
    assert run([str(place / "bin" / "ferlab"), "--version"], tmp_path).stdout == f"ferlab {PROJECT['version']}\n"
    code = "from ferlab.deployment import Predictor; print(Predictor.load().predict_image('scene.png')[0].likeliest(1)[0])"
    assert run([str(place / "bin" / "python"), "-c", code], tmp_path).stdout.strip() in own.stdout
