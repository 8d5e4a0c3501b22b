"""What a change costs, on a copy of the repository: the files and lines that it takes, and the stages that run again.

The study is run once, on a few control faces. After each change `ferlab status` is asked; a reworded page and a new model's run are executed.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from test_end_to_end import call
from test_extending import follow

pytestmark = pytest.mark.slow
RUN = ("train@tiny", "evaluate@tiny", "explain@tiny", "deploy@tiny", "analyze_errors@tiny", "robustness@tiny")
PAGES = ("prepare@control", "audit@control", *RUN, "worlds", "compare")
FOLLOWING = {"report", "control_faces", "frame", "claims"}  # not run again here, to save their time
COSTLY = ("train", "evaluate", "explain", "analyze_errors", "deploy", "robustness")  # of a run


@pytest.fixture
def clone(tiny_study, tmp_path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(tiny_study, tmp_path / "clone", symlinks=True))


def edit(clone: Path, name: str, old: str, new: str) -> None:
    """Replace a text in a file; in a new one, "" by its text."""
    path = clone / name
    text = path.read_text() if path.is_file() else ""
    assert old in text
    path.write_text(text.replace(old, new, 1))


def status(clone: Path) -> dict[str, str]:
    """Return what `ferlab status` says of each stage that is not fresh: stage -> "<state>: <why>"."""
    lines = [line.split(maxsplit=1) for line in call(clone, "ferlab.cli", "status").splitlines()[:-1]]
    states = {stage: state.strip() for stage, state in lines}
    told = {stage: state for stage, state in states.items() if state != "fresh"}
    return {stage: state.replace("page only  ", "page only: ").replace("stale      ", "stale: ") for stage, state in told.items()}


def states(found: dict[str, str], *, of: str) -> set[str]:
    return {stage for stage, state in found.items() if state.startswith(of)} - FOLLOWING


@pytest.mark.long
def test_a_reworded_page_is_made_anew_and_computes_nothing(clone):
    notebooks = ("01_prepare", "02_audit", "03_train", "04_evaluate", "05_explain", "06_analyze_errors", "08_deploy")
    for name in notebooks:
        edit(clone, f"notebooks/{name}.ipynb", "## 1. ", "## 1. In other words: ")
    found = status(clone)
    runs = {f"{stage}@tiny" for stage in ("train", "evaluate", "explain", "analyze_errors", "deploy")}
    assert states(found, of="page only") == {"prepare@control", "audit@control", *runs}
    assert not states(found, of="stale")
    kept = [path for folder in ("data/prepared", "data/records", "data/predictions", "data/attributions", "models") for path in walk(clone / folder)]
    metrics = [path for path in walk(clone / "reports" / "metrics")]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept}, {path: path.read_bytes() for path in metrics}
    told = call(clone, "dvc", "repro", *PAGES)
    assert told.count("its result holds and is taken: only its page is made") == len(notebooks)
    assert "is computed" not in told
    assert "Running stage 'compare'" not in told
    assert "In other words" in (clone / "reports" / "notebooks" / "03_train-tiny.ipynb").read_text()
    assert ({path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept}, {path: path.read_bytes() for path in metrics}) == before
    assert set(status(clone)) <= FOLLOWING


def walk(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_colour_a_comment_and_a_figure_on_a_page_compute_nothing(clone):
    edit(clone, "src/ferlab/reporting/style.py", "def use_style", "SHADE = 'red'\n\n\ndef use_style")
    assert states(status(clone), of="page only") == set(PAGES)
    edit(clone, "src/ferlab/reporting/style.py", "SHADE = 'red'\n\n\n", "")
    edit(clone, "src/ferlab/colours.py", "#D55E00", "#D55E01")
    assert states(status(clone), of="stale") == set()
    assert "evaluate@tiny" in states(status(clone), of="page only")
    edit(clone, "src/ferlab/colours.py", "#D55E01", "#D55E00")
    edit(clone, "src/ferlab/training/fit.py", "from __future__", "# A comment.\nfrom __future__")
    assert status(clone).keys() - FOLLOWING == {"train@tiny", "worlds"}
    assert status(clone)["train@tiny"].startswith("page only: src/ferlab/training/fit.py")
    edit(clone, "src/ferlab/training/fit.py", "# A comment.\n", "")
    edit(clone, "src/ferlab/reporting/pages/train.py", "\n\ndef ", "\n\ndef plot_more() -> None: ...\n\n\ndef ")
    edit(clone, "notebooks/03_train.ipynb", "result.history", "training.plot_more()")
    assert status(clone).keys() - FOLLOWING == {"train@tiny"}
    assert status(clone)["train@tiny"].startswith("page only")


def test_a_cards_target_layer_makes_explain_stale_and_its_input_size_train(clone):
    card = "src/ferlab/models/cards/cs230.py"
    edit(clone, card, '"target_layer": "relu3"', '"target_layer": "relu2"')
    found = status(clone)
    assert states(found, of="stale") == {"explain@tiny", "worlds"}
    assert found["explain@tiny"] == "stale: params"
    assert {"train@tiny", "evaluate@tiny", "deploy@tiny"} <= states(found, of="page only")
    edit(clone, card, '"target_layer": "relu2"', '"target_layer": "relu3"')
    edit(clone, card, '"input_size": 48', '"input_size": 64')
    found = status(clone)
    assert found["train@tiny"] == "stale: params"
    assert found["evaluate@tiny"] == "stale: waits for train@tiny"
    assert found["analyze_errors@tiny"] == "stale: waits for train@tiny"
    assert not {"prepare@control", "audit@control"} & found.keys()
    edit(clone, card, '"input_size": 64', '"input_size": 48')
    edit(clone, card, '"title": "', '"title": "The ')
    assert not states(status(clone), of="stale")


def test_a_new_pin_makes_every_result_stale_and_says_so(clone):
    edit(clone, "requirements.lock", "numpy==", "numpy==9.")
    found = status(clone)
    costly = {"prepare@control", "audit@control", "worlds", *(f"{stage}@tiny" for stage in COSTLY)}
    assert states(found, of="stale") == costly
    assert all("environment: requirements.lock" in found[stage] for stage in costly)
    assert set(PAGES) <= found.keys()


@pytest.mark.long
def test_other_data_in_data_raw_leaves_sets_alone_and_a_file_of_theirs_does_not(clone):
    params = yaml.safe_load((clone / "params.yaml").read_text())
    params["prepare"]["fer"] = {"dataset": "fer2013", "raw": "data/raw"}
    (clone / "params.yaml").write_text(yaml.safe_dump(params))
    call(clone, "ferlab.cli", "draw", "fer2013", "data/raw/fer2013")
    call(clone, "dvc", "repro", "prepare@fer")
    edit(clone, "data/raw/README.md", "# data/raw", "# data / raw")
    (clone / "data" / "raw" / "jaffe").mkdir()
    (clone / "data" / "raw" / "jaffe" / "KA.AN1.39.tiff").write_bytes(b"1")
    assert status(clone)["prepare@control"] == "page only: data/raw/README.md"
    told = call(clone, "dvc", "repro", "prepare@fer", "prepare@control")
    assert told.count("its result holds and is taken") == 2  # DVC looks at all of data/raw
    assert not {"prepare@fer", "prepare@control"} & status(clone).keys()
    file = clone / "data" / "raw" / "fer2013" / "fer2013.csv"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    assert status(clone)["prepare@fer"] == "stale: data"


def test_a_new_reader_is_a_file_and_a_line_and_leaves_sets_alone(clone):
    follow("A dataset", clone)
    assert set(status(clone)) <= FOLLOWING
    call(clone, "ferlab.dependencies")  # `make deps`
    found = status(clone)
    assert not states(found, of="stale")
    assert states(found, of="page only") == {"prepare@control"}


def test_a_new_model_is_two_files_two_lines_and_a_run_and_leaves_others_alone(clone):
    follow("A model", clone)
    found = status(clone)
    assert found["train@mine"] == "stale: not computed yet"
    assert {stage for stage in found if not stage.endswith("@mine")} - FOLLOWING == {"compare"}
    weights = clone / "models" / "tiny" / "weights.safetensors"
    before = weights.read_bytes(), weights.stat().st_mtime_ns
    told = call(clone, "dvc", "repro", "train@mine", *RUN)
    assert told.count("Running stage") == 1
    assert "train mine: its result is computed (not computed yet)" in told
    assert (weights.read_bytes(), weights.stat().st_mtime_ns) == before
    assert json.loads((clone / "reports" / "metrics" / "train" / "mine.json").read_text())["parameters"] == 1111
    assert "train@mine" not in status(clone)
