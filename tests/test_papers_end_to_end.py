"""The study of each paper, whole and small: `ferlab draw` in place of its data, `ferlab study`, and its stages in a clone.

What is small stands in `SMALL` and `STUDIES` and nowhere else: fewer faces, epochs, random draws and runs. Models, input sizes, preparation and
datasets are the study's own. The stages control_faces, frame, worlds and claims are the same in every study and run in test_end_to_end.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml
from test_end_to_end import call

from ferlab.paths import RUN_STAGES, SET_STAGES

pytestmark = [pytest.mark.slow, pytest.mark.long]

COMPARED = ("train", "evaluate", "robustness")  # what compare reads
NOWHERE = "http://127.0.0.1:1"  # a port nobody listens on
SMALL: dict[str, dict[str, Any]] = {  # section -> what every study has less of; `train` of each run
    "train": {"epochs": 1, "batch_size": 16, "threads": 1},
    "evaluate": {"bootstrap": 100},
    "explain": {
        "faces_per_class": 1,
        "hypothesis_faces": 2,
        "faithfulness": {"faces": 2, "recomputed": 2, "squares": 2, "samples": 1, "copies": 1, "stages": 1},
    },
    "analyze_errors": {"folds": 2, "most": 4},
    "robustness": {"faces": 7},
    "deploy": {"repeats": 10, "compared": 10, "calibration": 8},
}


class Study(NamedTuple):
    """What is drawn for a study, and which of its runs go through."""

    draws: tuple[str, ...]  # arguments of `ferlab draw`
    run: str  # the smallest
    beside: tuple[str, ...] = ()  # differs from it in faces, selection or network; only what compare reads
    trained: tuple[str, ...] = ()  # only trained
    whole: bool = False  # all stages of `run`, at a size of its own; of the others what compare reads, since test_end_to_end has the rest


FER2013 = "fer2013 --subjects 5 --each 1"
STUDIES = {
    "resemotenet": Study((FER2013,), "cnn"),
    "cs230_paper": Study((FER2013,), "five_layer_text"),
    # At 197 pixels a robustness page of a transfer model takes minutes: one is trained, without the weights that it begins with.
    "cs230_table2": Study((FER2013, "ckplus --subjects 3 --each 1", "jaffe --subjects 3 --each 1"), "five_layer_aux_ncw", (), ("resnet50_aux_ncw",)),
    "fersys": Study((FER2013, "fer2013_reshuffled --subjects 5 --each 1"), "cnn_reshuffled", ("cnn_official",)),
    "fersys_official": Study((FER2013,), "cnn_official"),
    "fers": Study(("affectnet --subjects 4 --each 1",), "weighted_test", whole=True),
    # CaffeNet and AlexNet have the input and the preparation of the LeNet; its other seven sets differ in their faces and split.
    "cs231a": Study(("ckplus --subjects 4 --each 1",), "lenet_caffe_ckplus8_random"),
}


@pytest.fixture
def clone(tiny_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the clone in which a tiny study ran, since explain reads its worlds; no weights can be fetched."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    return Path(shutil.copytree(tiny_study, tmp_path / "clone", symlinks=True))


@pytest.mark.parametrize("name", STUDIES)
def test_the_study_of_a_paper_goes_through_on_drawn_faces(name: str, clone: Path) -> None:
    ledger = clone / "reports" / "test_scorings.csv"
    study, scored = STUDIES[name], ledger.read_bytes()
    params = begin(clone, name)
    stages = go_through(clone, study, params)
    check(clone, name, params, stages)
    assert ledger.read_bytes() == scored, "control faces are in no ledger"


def begin(clone: Path, name: str) -> dict[str, Any]:
    """Draw the data of a study, write its params as a user does, and make them small; return them."""
    study = STUDIES[name]
    for drawn in study.draws:
        assert "control faces, drawn" in call(clone, "ferlab.cli", "draw", *drawn.split())
    call(clone, "ferlab.cli", "study", name)
    params = yaml.safe_load((clone / "params.yaml").read_text())
    kept = {run: params["runs"][run] for run in (study.run, *study.beside, *study.trained)}
    for run in kept.values():
        run["train"] = run.get("train", {}) | SMALL["train"]
    sections = {section: params[section] | less for section, less in SMALL.items() if section != "train"}
    own = {data: params["prepare"][data] for data in dict.fromkeys(run["data"] for run in kept.values())}
    quarter = (own[kept[study.run]["data"]].get("size") or 48) // 4
    sections["explain"] |= {"window": quarter, "stride": quarter}
    return params | sections | {"prepare": own, "runs": kept, "compare": params["compare"] | {"ensemble": []}}


def go_through(clone: Path, study: Study, params: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Run the stages in order and build the report; return stage, set or run, and page of each."""
    compared = {run: params["runs"][run] for run in (study.run, *study.beside)}
    stages = [(stage, data, f"data/{data}/{stage}") for data in params["prepare"] for stage in SET_STAGES]
    for run in compared:
        of_run = RUN_STAGES if study.whole and run == study.run else [stage for stage in RUN_STAGES if stage in COMPARED]
        stages += [(stage, run, f"runs/{run}/{stage}") for stage in of_run]
    for kept, parts in ((compared, stages), (params["runs"], [("train", run, f"runs/{run}/train") for run in study.trained])):
        (clone / "params.yaml").write_text(yaml.safe_dump(params | {"runs": kept}, sort_keys=False))
        for stage, of, _ in parts:
            call(clone, "ferlab.pipeline", stage, "--set" if stage in SET_STAGES else "--run", of)
        if kept is compared:
            call(clone, "ferlab.pipeline", "compare")
    call(clone, "ferlab.pipeline", "report")
    return [*stages, *(("train", run, f"runs/{run}/train") for run in study.trained)]


def check(clone: Path, name: str, params: dict[str, Any], stages: list[tuple[str, str, str]]) -> None:
    """Every stage has its metrics and its page, numbers are numbers with their n, and no page takes drawn faces for real ones."""
    study, pages = STUDIES[name], {page: text_of(clone, page) for _, _, page in stages}
    for stage, of, _ in (*stages, ("compare", "", "")):
        assert metrics_of(clone, stage, of)["provenance"]["study"] == name
    assert f"Drawn here: {', '.join(params['prepare'])}." in text_of(clone, "index")
    for page, text in pages.items():
        named = re.findall(r"(?:test|val) faces \(([^)\d][^)]*)\)", text) + re.findall(r"Task: ([^,]*),", text)
        assert [faces for faces in named if not faces.startswith(("control faces, drawn in the layout of ", "control:"))] == [], page
        assert named or not page.endswith(("evaluate", "robustness", "analyze_errors")), page
    for data in params["prepare"]:
        assert "control faces in the layout of " in pages[f"data/{data}/prepare"]
    for run in (study.run, *study.beside):
        check_numbers(clone, run)
    check_comparison(clone, name, params)
    for run in study.trained:
        assert "Trained from scratch, without frozen layers: the pretrained weights (" in pages[f"runs/{run}/train"]
        assert metrics_of(clone, "train", run)["pretrained_on"] == ""


def check_numbers(clone: Path, run: str) -> None:
    """Each split of the summary has finite numbers, and the n of the faces that were scored."""
    summary = json.loads((clone / "reports" / "summary" / f"{run}.json").read_text())
    counts = pd.read_parquet(clone / "data" / "predictions" / f"{run}.parquet", columns=["split"])["split"].value_counts()
    n = metrics_of(clone, "evaluate", run)["n"]
    assert {"val", "test"} <= set(summary)
    assert {split: n[split] for split in ("val", "test")} == counts.to_dict()
    assert n["test"] > 0
    assert [(split, key) for split, scores in summary.items() for key, value in scores.items() if not math.isfinite(value)] == []


def check_comparison(clone: Path, name: str, params: dict[str, Any]) -> None:
    """The comparison page names the factors of the study and their levels, and says that no published row was measured on these faces."""
    text, compared = text_of(clone, "compare"), (STUDIES[name].run, *STUDIES[name].beside)
    assert set(metrics_of(clone, "compare", "")["runs"]) == set(compared)
    for run in compared:
        assert [word for factor in params["runs"][run]["factors"].items() for word in factor if word not in text] == []
    assert re.search(r"None of the \d+ published rows was measured on our faces \(control:", text)
    assert "No human accuracy is drawn" in text
    assert ("fersys: DeepFace, stated" in text) == name.startswith("fersys")


def metrics_of(clone: Path, stage: str, of: str) -> dict[str, Any]:
    return json.loads((clone / "reports" / "metrics" / stage / f"{of}.json" if of else clone / "reports" / "metrics" / f"{stage}.json").read_text())


def text_of(clone: Path, page: str) -> str:
    """The text of a page of the report, without tags."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", (clone / "reports" / "site" / f"{page}.html").read_text())).split())
