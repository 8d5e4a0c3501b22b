"""docs/troubleshooting.md: every message that it shows is produced again, or stands in the file that prints it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ferlab import clone, paths
from ferlab.control.layouts import draw_layout
from ferlab.data.readers.reading import read_source
from ferlab.deployment import Predictor
from ferlab.deployment.face_search import read_picture
from ferlab.params import check_params, load_params, read_yaml
from ferlab.paths import InputError
from ferlab.reporting.site.entries import collect
from ferlab.studies import studies, write_study

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "troubleshooting.md"
RAW = Path("data", "raw")
PRINTED_BY = {"Python 3.11 is needed": "Makefile", "accelerator: 'cuda', but": "src/ferlab/training/distributed.py"}  # needs what is not here


def shown() -> list[str]:
    return re.findall(r"^```text\n(.*)\n```$", PAGE.read_text(), flags=re.MULTILINE)


def edited(*keys: str, value: Any) -> None:
    """Check params.yaml with one key changed."""
    params = read_yaml(ROOT / "params.yaml", source="params.yaml")
    section = params
    for key in keys[:-1]:
        section = section[key]
    section[keys[-1]] = value
    check_params(params)


def pictures(*folders: str) -> Path:
    for name in folders:
        (RAW / "mine" / name).mkdir(parents=True)
        Image.new("L", (48, 48)).save(RAW / "mine" / name / "1.png")
    return RAW / "mine"


def nothing_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROOT", Path.cwd())
    collect(load_params(ROOT / "params.yaml"))


def written(name: str, content: bytes) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(content)
    return name


CAUSES: list[Callable[[pytest.MonkeyPatch], Any]] = [
    lambda _: edited("train", "epoch", value=3),
    lambda _: edited("runs", "five_layer", "data", value="contrl"),
    lambda _: edited("train", "epochs", value="many"),
    lambda _: write_study(ROOT, "cs23"),
    lambda _: load_params(Path("params.yaml")),
    lambda _: studies(Path("clips")),
    lambda _: read_source("fer2013", RAW),
    lambda _: read_source("fer2013", Path(written("data/raw/fer2013.csv", b"emotion,pixels,Usage\n0,1 2 3,Training\n")).parent),
    lambda _: read_source("class_folders", pictures("hapy", "sad")),
    lambda _: read_source("class_folders", pictures("1", "2")),
    lambda _: read_source("jaffe", RAW, {"label": "ratings"}),
    lambda _: draw_layout("captured", Path(written("data/raw/fer2013.csv", b"1")).parent),
    lambda _: read_picture(written("photo.heic", b"\0\0\0\x18ftypheic" + bytes(99))),
    lambda _: read_picture("photo.jpg"),
    lambda _: Predictor.load("models/five_layer/model.onnx"),
    lambda _: Predictor.load(written("other.onnx", b"nothing")),
    nothing_ran,
]


def test_every_message_of_the_page_is_what_the_code_says(tmp_path, monkeypatch):
    told = []
    for number, cause in enumerate(CAUSES):
        (tmp_path / str(number) / RAW).mkdir(parents=True)
        monkeypatch.chdir(tmp_path / str(number))
        with monkeypatch.context() as patch, pytest.raises(InputError) as error:
            cause(patch)
        told.append(str(error.value))
    (tmp_path / ".dvc").mkdir()
    told.append(clone.tell_dvc_of_git(tmp_path))
    printed = [line for line in shown() if line.startswith(tuple(PRINTED_BY))]
    assert [line for line in shown() if line not in [*told, *printed]] == []
    assert [line for line in told if line not in shown()] == []
    assert len(printed) == len(PRINTED_BY)


@pytest.mark.parametrize("start", PRINTED_BY)
def test_a_message_that_needs_another_machine_is_one_of_the_file_that_prints_it(start):
    (template,) = re.findall(rf'f"([^"]*{start}[^"]*)"', (ROOT / PRINTED_BY[start]).read_text())
    pattern = re.sub(r"\\{.*?\\}", ".*", re.escape(template))
    assert [line for line in shown() if re.fullmatch(pattern, line)] == [line for line in shown() if line.startswith(start)]
