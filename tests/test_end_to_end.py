"""The whole pipeline as a user runs it: `dvc repro` in fresh clones, on tiny control faces and on a few hundred real faces where they are at hand."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from evidence_again import differing

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data" / "fer2013.parquet"
TINY = """
prepare:
  control:
    dataset: control
    raw: data/raw/README.md
    options: {faces: 280, subjects: 28, size: 48, seed: 0, duplicates: 0.05}
    val_fraction: 0.2
    test_fraction: 0.25
    seed: 0
train: {epochs: 2, batch_size: 64}
runs:
  tiny: {family: cs230, model: five_layer, data: control, seed: 0, group: tiny}
evaluate: {bootstrap: 100}
explain: {faces_per_class: 2, faithfulness: {faces: 12, recomputed: 2, squares: 4, samples: 1, copies: 2, stages: 2}}
deploy: {repeats: 10}
robustness: {faces: 10}
frame: {models: [shipped, tiny], sets: [control]}
claims: {draws: 2, subjects: 12, sequences: 24}
control_faces: {size: 48}
worlds: {faces: 120, epochs: 1, per_class: 1, chimeras: 2, methods: [grad_cam, hires_cam, occlusion], stride: 8}
"""
pytestmark = pytest.mark.slow


def make_clone(folder: Path, *, zipped: bool = False) -> Path:
    """A fresh clone of the working tree: what git tracks or would track, committed, or unpacked from a zip. The tree itself may be either."""
    blank = folder.parent / "blank"
    subprocess.run(["git", "init", "-q", str(blank)], check=True)
    listing = ["git", f"--git-dir={blank / '.git'}", f"--work-tree={ROOT}", "ls-files", "-o", "--exclude-standard"]
    listed = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "conf" / "study" / "tiny.yaml").write_text(TINY)
    call(folder, "ferlab.cli", "study", "tiny")
    if zipped:
        call(folder, "ferlab.clone")
        return folder
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "init", "-q", "-b", "main"], cwd=folder, check=True)
    subprocess.run(["git", "config", "user.name", "test"], cwd=folder, check=True)
    subprocess.run(["git", "config", "user.email", "test@example.org"], cwd=folder, check=True)
    subprocess.run([*git, "add", "-A"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-q", "-m", "A clone"], cwd=folder, check=True)
    return folder


def call(clone: Path, module: str, *arguments: str, expect: int = 0) -> str:
    """Run `python -m module` in a clone the way an active environment does; return what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FERLAB_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["PYTHONPATH"] = str(clone / "src")
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=clone, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == expect, f"{arguments}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def locked(clone: Path) -> dict:
    """dvc.lock without deploy, whose latencies move, and report, which is made of it."""
    stages = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    return {name: body for name, body in stages.items() if not name.startswith(("deploy", "report"))}


@pytest.fixture(scope="module")
def clone(tiny_study, tmp_path_factory) -> Path:
    """A copy, to be changed, with its results committed."""
    return Path(shutil.copytree(tiny_study, tmp_path_factory.mktemp("first") / "clone", symlinks=True))


def test_the_pipeline_ends_with_a_report_page_per_stage_set_and_run(clone):
    site = clone / "reports" / "site"
    pages = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert {"index", "data/control/prepare", "data/control/audit", "compare"} <= pages
    assert {f"runs/tiny/{stage}" for stage in ("train", "evaluate", "explain", "analyze_errors", "robustness", "deploy")} <= pages
    assert {"control_faces", "worlds", "frame", "claims"} <= pages
    assert not [path for path in site.rglob("*.html") if "&lt;IPython.core" in path.read_text()], "an empty text is not shown as an object"
    metrics = json.loads((clone / "reports" / "metrics" / "evaluate" / "tiny.json").read_text())
    assert {"val", "test", "test_dedup", "calibration", "selective", "prediction_sets", "votes"} <= set(metrics)
    assert metrics["provenance"]["study"] == "tiny"


def test_nothing_to_do_says_so_and_leaves_the_tree_clean(clone):
    assert "up to date" in call(clone, "dvc", "repro")
    assert not subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True).stdout


@pytest.mark.long
def test_a_zip_unpacked_at_another_path_and_run_side_by_side_ends_with_the_same_lock(clone, tmp_path):
    second = make_clone(tmp_path / "a longer path" / "second", zipped=True)
    stages = ("audit@control", "compare", "explain@tiny", "analyze_errors@tiny", "control_faces", "frame", "claims")
    call(second, "ferlab.cli", "repro", "-j", "2", *stages)
    ours, theirs = locked(clone), locked(second)
    assert {name for name in ours if ours[name] != theirs.get(name)} == set()


PUBLISH = "from pathlib import Path; from ferlab.params import load_params; from ferlab.reporting.site.publish import publish"


def publish_in(clone: Path, folder: Path) -> str:
    """Publish a finished clone to a folder outside of it; return what was printed."""
    environment = {**os.environ, "PYTHONPATH": str(clone / "src")}
    code = f"{PUBLISH}; publish(load_params(), Path({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=clone, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_a_finished_study_is_published_with_the_evidence_of_the_stages_that_ran(clone, tmp_path):
    assert publish_in(clone, tmp_path / "tiny") == ""
    page = (tmp_path / "tiny" / "README.md").read_text()
    sections = ("What ran", "Results", "Hypotheses", "Maps", "Robustness", "Label issues", "Worlds", "Claims", "Figures")
    assert [name for name in sections if f"\n## {name}\n" not in page] == []
    assert [name for name in ("Changes", "Experts", "Covered faces") if f"## {name}\n" in page] == []
    assert differing(tmp_path / "tiny") == []
    named = set(re.findall(r"\]\((\w[\w.-]*)\)", page))
    assert [name for name in named if not (tmp_path / "tiny" / name).is_file()] == []
    assert {path.name.partition("-")[0] for path in (tmp_path / "tiny").glob("*.png")} >= {"mean_maps", "hypotheses", "corruptions", "worlds"}


def test_stages_that_did_not_run_or_are_stale_are_not_published_and_worlds_alone_are(clone, tmp_path):
    other = tmp_path / "clone"
    shutil.copytree(clone, other, copy_function=os.link, ignore=shutil.ignore_patterns(".git"))
    (other / "reports" / "metrics" / "explain" / "tiny.json").unlink()
    record = other / "data" / "records" / "robustness" / "tiny.json"
    made = json.loads(record.read_text())
    record.unlink()
    record.write_text(json.dumps({**made, "code": "another"}))
    assert publish_in(other, tmp_path / "some" / "tiny") == "publish: robustness tiny is not published: it is stale (code)\n"
    page = (tmp_path / "some" / "tiny" / "README.md").read_text()
    assert "`explain` and `robustness` did not run." in page
    assert "## Hypotheses" not in page
    assert json.loads((tmp_path / "some" / "tiny" / "summary.json").read_text())["runs"]["tiny"].keys() == {"train", "evaluate", "analyze_errors"}
    (other / "reports" / "metrics" / "train" / "tiny.json").unlink()
    publish_in(other, tmp_path / "alone" / "tiny")
    page = (tmp_path / "alone" / "tiny" / "README.md").read_text()
    assert "No run of this study was trained: `worlds` and `claims` ran alone." in page
    assert "## Results" not in page
    assert differing(tmp_path / "alone" / "tiny") == []


@pytest.mark.long
def test_experiments_that_differ_in_one_param_are_both_listed_with_their_numbers(clone):
    call(clone, "dvc", "exp", "run", "-n", "no-tta", "-S", "evaluate.tta=none")
    table = list(csv.DictReader(io.StringIO(call(clone, "dvc", "exp", "show", "--csv"))))
    rows = {row["Experiment"] or row["rev"]: row for row in table}
    summary = json.loads((clone / "reports" / "summary" / "tiny.json").read_text())
    column = next(name for name in table[0] if name.endswith("test.accuracy"))
    assert float(rows["no-tta"][column]) == pytest.approx(summary["test"]["accuracy"])
    assert rows["no-tta"]["evaluate.tta"] != rows["main"]["evaluate.tta"]
    assert "evaluate" in call(clone, "dvc", "params", "diff")
    assert "test.accuracy" in call(clone, "dvc", "metrics", "diff", "--all")
    assert "tta: none" in (clone / "params.yaml").read_text()
    call(clone, "dvc", "plots", "show")
    call(clone, "dvc", "exp", "run", "--temp", "-n", "elsewhere", "-S", "deploy.repeats=11")
    assert "elsewhere" in call(clone, "dvc", "exp", "list", "--all-commits")


def rows_of_fer2013(training: int, public: int) -> str:
    """A few hundred real rows as Kaggle's csv."""
    import pyarrow.parquet as pq
    from PIL import Image

    lines = ["emotion,pixels,Usage"]
    table = pq.read_table(SHARED).to_pandas()
    for usage, number in (("Training", training), ("PublicTest", public)):
        for _, row in table[table["Usage"] == usage].head(number).iterrows():
            pixels = np.asarray(Image.open(io.BytesIO(row["image"])).convert("L")).ravel()
            lines.append(f"{row['emotion']},{' '.join(map(str, pixels))},{usage}")
    return "\n".join(lines) + "\n"


@pytest.mark.long
@pytest.mark.skipif(not SHARED.is_file(), reason="real FER2013 is not redistributed with the project; put its rows beside the clone to run this")
def test_real_fer2013_runs_through_the_cs230_study(tiny_study, tmp_path):
    clone = Path(shutil.copytree(tiny_study, tmp_path / "real", symlinks=True))  # its worlds and claims are of control faces here too
    (clone / "data" / "raw" / "fer2013.csv").write_text(rows_of_fer2013(600, 150))
    call(clone, "ferlab.cli", "study", "cs230")
    params = yaml.safe_load((clone / "params.yaml").read_text())
    params["runs"] = {"five_layer": params["runs"]["five_layer"]}  # the other run costs as much and differs in its loss alone
    tiny = yaml.safe_load(TINY)
    few = {section: tiny[section] for section in ("deploy", "robustness", "claims", "worlds")}
    for section, change in {**few, "train": {"epochs": 1}, "explain": {**tiny["explain"], "hypothesis_faces": 8}}.items():
        params[section] |= change
    (clone / "params.yaml").write_text(yaml.safe_dump(params))
    call(clone, "dvc", "repro")
    metrics = json.loads((clone / "reports" / "metrics" / "evaluate" / "five_layer.json").read_text())
    assert metrics["n"]["test"] == 150
    page = clone / "reports" / "site" / "runs" / "five_layer" / "evaluate.html"
    assert "PublicTest tests" in page.read_text()
