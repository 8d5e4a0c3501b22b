"""`ferlab forget ID`: the person is gone from every file, what is of others stays, and a crash in the middle is gone on from."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from toy_project import PARAMS, SOURCE, make_project

from ferlab import cli, forgetting, paths
from ferlab.data.faces import hash_images
from ferlab.data.readers.captured import read
from ferlab.forgetting import forget_person, without_stages
from ferlab.live.collection.storage import Collection
from ferlab.params import Params, check_params
from ferlab.paths import OUTPUTS, InputError, executed_notebook

sys.path.insert(0, str(Path(__file__).parent / "live"))
from collected import YES, filled, taken

LOCK = """schema: '2.0'
stages:
  prepare@control:
    cmd: python -m ferlab.pipeline prepare
    outs:
    - path: data/prepared/control
      md5: '123'
  prepare@collected:
    cmd: python -m ferlab.pipeline prepare
    outs:
    - path: data/prepared/collected
  train@web:
    cmd: x
  train@five_layer:
    cmd: x
  compare:
    cmd: x
  frame:
    cmd: x
  control_faces:
    cmd: x
  report:
    cmd: x
"""
EXPLORED = (
    "reports/site/index.html",
    "data/scratch/a.txt",
    "data/.partial/prepare-collected-abc/kept/x",
    "reports/_failed/01.ipynb",
    "reports/changes/HEAD-here.html",
    "reports/.site.work/pages/index.md",
    "reports/notebooks/.ipynb_checkpoints/01_prepare-collected-checkpoint.ipynb",
)


def captured_params() -> Params:
    """The quick study with a set of collected faces, a run on it, and a student of that run's teacher on control faces."""
    params = yaml.safe_load(PARAMS)
    control = params["prepare"]["control"]
    params["prepare"]["collected"] = {**control, "dataset": "captured", "raw": "data/raw/collected", "options": {}}
    run = params["runs"]["five_layer"]
    params["runs"] = {"web": {**run, "data": "collected", "group": "web"}, "five_layer": run}
    return check_params(params)


def with_runs(params: Params, **changes: dict) -> Params:
    """Params with further runs on control faces: name -> what is changed of `five_layer`, its train merged."""
    whole = params.model_dump()
    run = whole["runs"]["five_layer"]
    for name, change in changes.items():
        whole["runs"][name] = {**run, "group": name, **change, "train": {**run["train"], **change.get("train", {})}}
    return check_params(whole)


def write_results(root: Path, params: Params) -> None:
    """Stand-ins for all outputs of both sets and runs, with the faces and ids that ours hold."""
    raw = root / "data" / "raw" / "collected"
    pictures, faces = read(raw)
    images = {"collected": np.stack([pictures[row][::4, ::4, 0] for row in range(len(faces))]), "control": np.zeros((3, 48, 48), np.uint8)}
    tables = {"collected": faces.assign(content_hash=hash_images(images["collected"]), split="train")}
    tables["control"] = pd.DataFrame(
        {"face_id": ["control/1", "control/2", "control/3"], "source": "control", "content_hash": hash_images(images["control"])}
    )
    for name, stages in [(name, paths.SET_STAGES) for name in params.prepare] + [(name, paths.RUN_STAGES) for name in params.runs]:
        for stage in stages:
            for place in OUTPUTS[stage].values():
                path = root / place.format(name=name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("{}") if path.suffix else path.mkdir()
            page = root / executed_notebook(stage, name).relative_to(paths.ROOT)
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text("a figure")
    for name, table in tables.items():
        np.save(root / "data" / "prepared" / name / "images.npy", images[name])
        table.to_parquet(root / "data" / "prepared" / name / "faces.parquet")
    for run, data in (("web", "collected"), ("five_layer", "control")):
        for split in ("predictions", "train_predictions"):
            tables[data][["face_id"]].to_parquet(root / "data" / split / f"{run}.parquet")
    for place in (*OUTPUTS["compare"].values(), *OUTPUTS["frame"].values()):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text("web: .9")
    for name in EXPLORED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a face")
    (root / "data" / ".hashes.json").write_text(json.dumps({"files": [str(raw / path) for path in faces["source_path"]]}))
    (root / "data" / "prepared" / "of_an_earlier_study").mkdir()
    np.save(root / "data" / "prepared" / "of_an_earlier_study" / "images.npy", images["collected"])
    (root / "data" / "embeddings").mkdir()
    tables["collected"][["face_id"]].to_parquet(root / "data" / "embeddings" / "map.parquet")
    (root / "dvc.lock").write_text(LOCK)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with results of two people's faces; returns it, its params and the two pseudonyms."""
    monkeypatch.setattr(forgetting, "clean_cache", lambda root: "")
    collection, files = filled(tmp_path / "data" / "raw" / "collected", people=2, each=3)
    gone, kept = files
    collection.label(files[kept][0], labeller=gone, expression="sad", time="t")
    (tmp_path / "data" / "raw" / "collected" / "corrections.csv").write_text(
        f"face_id,old,new,who,why,when\ncaptured/{files[gone][0]},sad,fear,x,y,z\n"
    )
    (tmp_path / "data" / "raw" / "poor.csv").write_text(f"face_id,why,who\ncaptured/web/{files[gone][0]},dark,x\ncaptured/{files[kept][0]},dark,x\n")
    params = captured_params()
    write_results(tmp_path, params)
    return tmp_path, params, gone, kept


def holding(root: Path, person: str) -> set[str]:
    """Files below a folder that hold a pseudonym as it is."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and person.encode() in path.read_bytes()}


def claims(root: Path) -> list[Path]:
    """Results of the person's set and run that are still there."""
    places = [
        place.format(name=name)
        for name, stages in (("collected", paths.SET_STAGES), ("web", paths.RUN_STAGES))
        for s in stages
        for place in OUTPUTS[s].values()
    ]
    places += [*OUTPUTS["compare"].values(), *OUTPUTS["frame"].values()]
    return [root / place for place in places if (root / place).exists()]


def test_a_person_is_gone_and_that_is_proved_and_others_stay(clone):
    root, params, gone, kept = clone
    lines, nothing_left = forget_person(root, params, gone)
    assert nothing_left
    assert "erased 3 pictures and 6 rows" in lines[0]  # three captures, one label, one correction, one exclusion
    assert "datasets collected; runs web" in lines[1]
    assert "of_an_earlier_study" in lines[2]
    assert "embeddings/map.parquet" in lines[2]
    assert ": 0 left" in lines[-2]
    assert holding(root, gone) == {"data/raw/collected/consent.csv"}
    assert claims(root) == []
    for name in (*EXPLORED, "reports/site", "data/.hashes.json"):
        assert not (root / name).exists(), name
    assert not (root / "data" / "prepared" / "of_an_earlier_study").exists()
    assert not list((root / "data").glob(".forgetting-*"))
    assert set(read(root / "data" / "raw" / "collected")[1]["subject"]) == {kept}
    assert (root / "data" / "raw" / "poor.csv").read_text().splitlines()[1:] == [
        line for line in (root / "data" / "raw" / "poor.csv").read_text().splitlines() if kept in line
    ]
    own = [
        place.format(name=name)
        for name, stages in (("control", paths.SET_STAGES), ("five_layer", paths.RUN_STAGES))
        for s in stages
        for place in OUTPUTS[s].values()
    ]
    assert all((root / place).exists() for place in own)
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    assert list(stages) == ["prepare@control", "train@five_layer", "control_faces"]
    assert forget_person(root, params, gone)[1], "again is no error"


@pytest.mark.parametrize("at", [0, 1, 9, 25, "cache", "rows"])
def test_after_a_crash_no_result_claims_faces_that_are_gone_and_the_same_command_goes_on(clone, monkeypatch, at):
    root, params, gone, _ = clone
    real, calls, pictures = forgetting._remove, [], len(list((root / "data" / "raw" / "collected" / gone).glob("*.png")))

    def remove(path: Path) -> tuple[int, int]:
        calls.append(path)
        if len(calls) > at:
            raise KeyboardInterrupt
        return real(path)

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            *{"rows": (Collection, "_remove_rows", stop), "cache": (forgetting, "_clean_dvc", stop)}.get(at, (forgetting, "_remove", remove))
        )
        with pytest.raises(KeyboardInterrupt):
            forget_person(root, params, gone)
    there = len(list((root / "data" / "raw" / "collected" / gone).glob("*.png"))) if (root / "data" / "raw" / "collected" / gone).is_dir() else 0
    assert there == pictures or claims(root) == []
    with pytest.raises(InputError, match="withdrawn"):
        Collection(root / "data" / "raw" / "collected").store(gone, taken(), expression="sad")
    lines, nothing_left = forget_person(root, params, gone)
    assert nothing_left, lines
    assert claims(root) == []
    assert holding(root, gone) == {"data/raw/collected/consent.csv"}


def test_what_is_no_result_of_ours_is_named_and_not_removed(clone):
    root, params, gone, _ = clone
    copy = root / "reports" / "published" / "figure.png"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(next((root / "data" / "raw" / "collected" / gone).glob("*.png")).read_bytes())
    lines, nothing_left = forget_person(root, params, gone)
    assert not nothing_left
    assert "left: reports/published/figure.png: the bytes of a picture; not removed" in "\n".join(lines)
    assert "1 left" in lines[-2]
    copy.unlink()
    assert forget_person(root, params, gone)[1], "the note of the first time still knows the picture"


def test_who_withdrew_in_a_session_is_found_by_the_checksums_that_were_kept(clone):
    root, params, gone, _ = clone
    Collection(root / "data" / "raw" / "collected").withdraw(gone)
    lines, nothing_left = forget_person(root, params, gone)
    assert nothing_left
    assert "erased 0 pictures and 1 row" in lines[0]
    assert claims(root) == []
    assert holding(root, gone) == {"data/raw/collected/consent.csv"}


def test_who_only_labelled_is_forgotten_too(clone):
    root, params, _, _ = clone
    collection = Collection(root / "data" / "raw" / "collected")
    collection.label(collection.faces()["file"].iloc[0], labeller="l-2222", expression="sad", time="t")
    lines, nothing_left = forget_person(root, params, "l-2222")
    assert nothing_left
    assert "erased 0 pictures and 1 row" in lines[0]
    assert len(collection.faces()) == 6
    assert holding(root, "l-2222") == set()


def test_an_unknown_person_and_a_stage_that_runs_change_nothing(clone):
    root, params, gone, _ = clone
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    near = gone[:-1] + ("2" if gone[-1] != "2" else "3")
    with pytest.raises(InputError, match=f"nobody is called '{near}' in .*did you mean '{gone}'"):
        forget_person(root, params, near)
    command = "import sys, time, pathlib, ferlab.locks as p; p.hold(pathlib.Path(sys.argv[1]), what='x'); print(1, flush=True); time.sleep(60)"
    lock = root / "data" / ".partial" / "train-web.lock"
    with subprocess.Popen(
        [sys.executable, "-c", command, str(lock)], env={**os.environ, "PYTHONPATH": str(SOURCE / "src")}, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(InputError, match="train web: busy: process"):
            forget_person(root, params, gone)
        other.kill()
    lock.unlink()
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    consent = root / "data" / "raw" / "collected" / "consent.csv"
    consent.write_text(consent.read_text() + "one,cell\n")
    with pytest.raises(InputError, match=r"consent\.csv, data row 3"):
        forget_person(root, params, gone)


def test_a_cache_that_cannot_be_cleaned_is_not_called_proved(clone, monkeypatch):
    root, params, gone, _ = clone
    (root / ".dvc").mkdir()
    monkeypatch.setattr(forgetting, "clean_cache", lambda root: "dvc gc: locked")
    lines, nothing_left = forget_person(root, params, gone)
    assert not nothing_left
    assert "DVC's cache was not cleaned: dvc gc: locked" in "\n".join(lines)
    monkeypatch.setattr(forgetting, "clean_cache", lambda root: "")
    assert forget_person(root, params, gone)[1]


def test_stages_are_cut_out_of_a_lock_byte_for_byte():
    assert without_stages(LOCK, set()) == LOCK
    assert yaml.safe_load(without_stages(LOCK, {"prepare@control"}))["stages"].keys() == yaml.safe_load(LOCK)["stages"].keys() - {"prepare@control"}
    assert without_stages(LOCK, set(yaml.safe_load(LOCK)["stages"])) == "schema: '2.0'\nstages: {}\n"  # DVC refuses an empty value


def test_the_command_says_what_is_left_by_its_status(clone, monkeypatch, capsys):
    root, params, gone, _ = clone
    monkeypatch.setattr(cli, "ROOT", root)
    monkeypatch.setattr("ferlab.params.load_params", lambda: params)
    assert cli.main(["forget", "p-2222"]) == 1
    assert "nobody is called 'p-2222'" in capsys.readouterr().err
    assert cli.main(["forget", gone]) == 0
    assert "0 left" in capsys.readouterr().out


def test_evaluations_of_their_faces_and_of_runs_that_saw_them_are_removed_whole(clone):
    root, params, gone, kept = clone
    faces = pd.read_parquet(root / "data" / "prepared" / "collected" / "faces.parquet")
    others = faces[faces["subject"] == kept]
    captures = pd.DataFrame({"file": others["face_id"].str.removeprefix("captured/")})
    own = pd.DataFrame({"file": faces.loc[faces["subject"] == gone, "face_id"].str.removeprefix("captured/")})
    made = {
        "shipped-collected": ("shipped", faces, None), "web-fer2013": ("web", others, None), "shipped-fer2013": ("shipped", others, None),
        "shipped-photographs": ("shipped", others, own), "shipped-other_photographs": ("shipped", others, captures),
    }  # fmt: skip
    for name, (model, table, photographs) in made.items():
        folder = root / "reports" / "evaluations" / name
        folder.mkdir(parents=True)
        (folder / "index.html").write_text("a figure with faces")
        (folder / "metrics.json").write_text(json.dumps({"model": model}))
        table[["face_id"]].to_parquet(folder / "predictions.parquet")
        if photographs is not None:
            photographs.to_csv(folder / "photographs.csv", index=False)
    lines, nothing_left = forget_person(root, params, gone)
    assert nothing_left, lines
    assert {path.name for path in (root / "reports" / "evaluations").iterdir()} == {"shipped-fer2013", "shipped-other_photographs"}


@pytest.mark.parametrize(
    "changes",
    [
        {"tuned": {"train": {"pretrained": "./models/other/../web/weights.safetensors"}}},
        {"tuned": {"train": {"pretrained": "{root}/models/web/weights.safetensors"}}},
        {"tuned": {"train": {"pretrained": "models/first/a.onnx"}}, "first": {"train": {"pretrained": "models/web/weights.safetensors"}}},
        {"tuned": {"family": "backbones", "model": "onnx_backbone", "options": {"file": "models/web/model.onnx"}, "train": {"scaling": "unit"}}},
    ],
)
def test_what_begins_with_a_model_that_saw_them_is_removed(clone, changes):
    root, params, gone, _ = clone
    changes = json.loads(json.dumps(changes).replace("{root}", str(root)))
    others = {"web_2": {"train": {"pretrained": "models/web_1/weights.safetensors"}}}
    params = with_runs(params, **changes, **others)
    for run in params.runs:
        for path in (root / "models" / run / "weights.safetensors", root / "models" / run / "model.onnx"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("tensors")
    lines, nothing_left = forget_person(root, params, gone)
    assert nothing_left, lines
    assert {path.parent.name for path in (root / "models").rglob("*") if path.is_file()} == {"five_layer", *others}
    assert f"runs {', '.join(sorted({*changes, 'web'}))}, and" in lines[1]


def test_a_run_that_params_no_longer_name_is_removed_where_they_were_training_faces_alone(clone):
    root, params, gone, _ = clone
    faces = pd.read_parquet(root / "data" / "prepared" / "collected" / "faces.parquet")
    for name, rows in (("web", faces["subject"] == gone), ("other_web", faces["subject"] != gone)):
        table = root / "data" / "train_predictions" / f"earlier_{name}.parquet"
        faces.loc[rows, ["face_id"]].to_parquet(table)
        weights = root / "models" / f"earlier_{name}" / "weights.safetensors"
        weights.parent.mkdir()
        weights.write_text("tensors")
    assert forget_person(root, params, gone)[1]
    assert not (root / "models" / "earlier_web" / "weights.safetensors").exists()
    assert (root / "models" / "earlier_other_web" / "weights.safetensors").exists()


def test_the_page_of_a_set_that_excluded_their_pictures_is_removed_too(clone):
    root, params, gone, _ = clone
    (root / "data" / "raw" / "collected" / "labels.csv").unlink()  # they did not label others either
    store = root / "data" / "prepared" / "collected"
    faces = pd.read_parquet(store / "faces.parquet")
    own = faces["subject"] == gone
    faces[~own].to_parquet(store / "faces.parquet")
    np.save(store / "images.npy", np.load(store / "images.npy")[~own.to_numpy()])
    excluded = faces.loc[own, ["face_id"]].assign(source="captured", source_path="x", usage="", reason="no face found")
    excluded.to_parquet(store / "excluded.parquet")
    for split in ("predictions", "train_predictions"):
        faces.loc[~own, ["face_id"]].to_parquet(root / "data" / split / "web.parquet")
    lines, nothing_left = forget_person(root, params, gone)
    assert nothing_left
    assert "datasets collected; runs web" in lines[1]
    assert claims(root) == []
    assert not (root / "reports" / "notebooks" / "01_prepare-collected.ipynb").exists()


@pytest.mark.parametrize(
    "lock", ["data/.partial/train-other.lock", "reports/.site.work.lock", ".dvc/tmp/exps/a/b/data/.partial/train-x.lock", "data/.forgetting.lock"]
)
def test_nothing_is_removed_under_a_stage_an_experiment_or_another_forgetting(clone, lock):
    root, params, gone, _ = clone
    before = {path for path in root.rglob("*") if path.is_file()}
    command = "import sys, time, pathlib, ferlab.locks as p; p.hold(pathlib.Path(sys.argv[1]), what='x'); print(1, flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", command, str(root / lock)], env={**os.environ, "PYTHONPATH": str(SOURCE / "src")}, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(InputError, match="busy: process"):
            forget_person(root, params, gone)
        other.kill()
    assert {path for path in root.rglob("*") if path.is_file()} - {root / lock} == before
    assert forget_person(root, params, gone)[1], "a lock that a killed process left holds nothing"


def test_faces_in_a_notebook_that_another_editor_saved_are_found(clone):
    root, params, gone, _ = clone
    picture = next((root / "data" / "raw" / "collected" / gone).glob("*.png")).read_bytes()
    page = root / "notebooks" / "live" / ".ipynb_checkpoints" / "collect-checkpoint.ipynb"
    page.parent.mkdir(parents=True)
    page.write_text(json.dumps({"outputs": [{"data": {"image/png": base64.b64encode(picture).decode()}}]}))
    lines, nothing_left = forget_person(root, params, gone)
    assert not nothing_left
    assert "left: notebooks/live/.ipynb_checkpoints/collect-checkpoint.ipynb" in "\n".join(lines)


def test_a_person_with_a_slash_in_the_name_is_forgotten(clone):
    root, params, _, _ = clone
    with open(root / "data" / "raw" / "collected" / "consent.csv", "a") as table:
        table.write("Anna/Ben,yes,2024-05-31,research,,,,yes,1\n")
    assert forget_person(root, params, "Anna/Ben")[1]


PREPARE = """
import io, matplotlib.pyplot as plt, numpy as np
from IPython.display import Image
from ferlab.data.faces import hash_images
from ferlab.data.readers.captured import read
from ferlab.data.store import write_store
from ferlab.paths import ROOT, output, write_json
pictures, faces = read(ROOT / "data/raw/collected")
images = np.stack([pictures[row][::4, ::4, 0] for row in range(len(faces))])
write_store(output("prepare", "store", "control"), images, faces.assign(content_hash=hash_images(images), split="train"))
content = io.BytesIO()
plt.imsave(content, images[0], cmap="gray", format="png")
for what in ("facts", "record", "metrics"):
    write_json(output("prepare", what, "control"), {"faces": len(faces)})
Image(content.getvalue())
"""


@pytest.mark.slow
def test_a_person_is_gone_from_dvcs_cache_and_the_pipeline_goes_on(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", PREPARE)
    stage = yaml.safe_load((SOURCE / "dvc.yaml").read_text())["stages"]["prepare"]
    stage["do"]["deps"] = ["${item.raw}"]
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"prepare": stage}}))
    params = yaml.safe_load(PARAMS)
    params["prepare"]["control"] |= {"dataset": "captured", "raw": "data/raw/collected", "options": {}}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    for name, value in {"PYTHONPATH": str(SOURCE / "src"), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> str:
        done = subprocess.run([sys.executable, "-m", *arguments], cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    run("dvc", "init", "--no-scm", "-q")
    collection = Collection(project / "data" / "raw" / "collected")
    gone, kept = (collection.agree(YES) for _ in range(2))
    for number, person in enumerate([gone, gone, kept, kept]):
        collection.store(person, taken(number), expression="sad")
    run("dvc", "repro")
    cache = project / ".dvc" / "cache" / "files" / "md5"
    before = {path for path in cache.rglob("*") if path.is_file()}
    assert len(before) >= 5
    told = run("ferlab.cli", "forget", gone)
    assert "erased 2 pictures and 2 rows" in told
    assert ": 0 left" in told
    assert holding(project, gone) == {"data/raw/collected/consent.csv"}
    left = {path for path in cache.rglob("*") if path.is_file()}
    assert not any(b"image/png" in path.read_bytes() or path.read_bytes().startswith(b"\x93NUMPY") for path in left)
    run("dvc", "repro")
    assert "up to date" in run("dvc", "status")
    assert set(pd.read_parquet(project / "data" / "prepared" / "control" / "faces.parquet")["subject"]) == {kept}
    run("ferlab.cli", "forget", gone)


def test_a_person_of_prompted_sessions_alone_is_forgotten(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "raw" / "collected" / "sessions"
    folder.mkdir(parents=True)
    for name, person in (("a", "p-7k3q"), ("b", "p-2222")):
        (folder / f"{name}.csv").write_text(f"session,person,prompt\n{name},{person},happy\n{name},{person},sad\n")
    lines, gone = forget_person(tmp_path, captured_params(), "p-7k3q")
    assert gone, lines
    assert "2 rows" in lines[0]
    assert [path.name for path in folder.iterdir()] == ["b.csv"]
