"""The runner on toy notebooks: outputs move into place together or not at all, and the same inputs give the same bytes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from toy_project import GOOD, PARAMS, SOURCE, make_project

from ferlab import execution, paths, pipeline, results, staging
from ferlab.data.store import open_store
from ferlab.hashes import digest, hash_path
from ferlab.params import check_params, declared
from ferlab.paths import InputError
from ferlab.progress import Interruption


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ferlab.pipeline", *(arguments or ("prepare", "--set", "control"))]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE / "src")}
    return subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment, check=False)


def contents(project: Path) -> dict[str, bytes]:
    """Every output of the stage, by its path."""
    folders = (project / "data" / "prepared", project / "reports")
    return {p.relative_to(project).as_posix(): p.read_bytes() for folder in folders for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def clones(tmp_path_factory) -> dict[Path, str]:
    """Two projects at different paths in which the stage was run, each with what it printed."""
    metrics = """{"faces": 3, "excluded": {"no label": 1}, "level": __import__("logging").getLogger("tornado.general").getEffectiveLevel()}"""
    places, code = (tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("a longer name") / "b"), GOOD.replace('{"faces": 3}', metrics)
    told = {}
    for project in (make_project(place / "p", code) for place in places):
        done = run(project)
        assert done.returncode == 0, done.stderr
        told[project] = done.stdout
    return told


@pytest.mark.slow
def test_two_clones_at_different_paths_write_the_same_bytes(clones):
    first, second = (contents(project) for project in clones)
    store = {"data/prepared/control/images.npy", "data/prepared/control/faces.parquet"}
    assert set(first) == store | {"reports/metrics/prepare/control.json", "reports/notebooks/01_prepare-control.ipynb"}
    assert first == second
    metrics = json.loads(first["reports/metrics/prepare/control.json"])
    assert metrics["faces"] == 3
    assert set(metrics["provenance"]) == {"study", "params", "data", "code", "environment"}
    assert not list((next(iter(clones)) / "data" / ".partial").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("from ferlab.paths import InputError\nraise InputError('faces.csv, row 3: bad pixel')", "prepare: faces.csv, row 3: bad pixel"),
        ("from ferlab.paths import output, write_json\nstore = output('prepare', 'store', 'control')\nstore.mkdir()\n(store / 'images.npy').touch()\n"
         "[write_json(output('prepare', each, 'control'), {}) for each in ('facts', 'record', 'metrics')]",
         "faces.parquet is missing; expected a prepared dataset"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(0)", "left the notebook early"),
        ("import os; os.kill(os.getpid(), 9)", "the kernel of 01_prepare.ipynb stopped: it was killed, as happens where memory runs out"),
        ("pass", "the notebook did not write data/prepared/control"),
        ("from ferlab.paths import output\nopen('/dev/full', 'w').write('x' * 100_000)", "No space left on device"),
    ],
)
def test_a_failed_stage_keeps_what_was_good_and_says_why_in_one_line(tmp_path, code, cause):
    project = make_project(tmp_path / "p", code + "\n")
    good = project / "data" / "prepared" / "control"
    good.mkdir(parents=True)
    (good / "images.npy").write_bytes(b"the last good store")
    done = run(project)
    assert done.returncode == 1
    assert cause in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    kept = contents(project)
    assert kept.pop("data/prepared/control/images.npy") == b"the last good store"
    assert set(kept) <= {"reports/_failed/01_prepare-control.ipynb"}


def test_a_failed_notebook_is_kept_where_partial_work_lies_on_another_disk(tmp_path, monkeypatch):
    def other_disk(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(execution, "ROOT", tmp_path)
    executed = tmp_path / "executed.ipynb"
    for text in ("the first", "the second"):
        executed.write_text(text)
        with monkeypatch.context() as disks:
            disks.setattr(os, "rename", other_disk)
            disks.setattr(os, "replace", other_disk)
            kept = execution._keep_broken(executed, "prepare", "control")
        assert (tmp_path / kept).read_text() == text


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("prepare", "--set", "contrl"), "no set is called 'contrl'; did you mean 'control'?"),
        (("train", "--run", "five"), "no run is called 'five'; did you mean 'five_layer'?"),
        (("train",), "expected --run NAME"),
        (("evaluate", "--run", "five_layer"), "data/prepared/control: not found; `dvc repro` makes it in stage prepare"),
    ],
)
def test_a_stage_that_cannot_start_says_so_in_one_line(tmp_path, arguments, cause):
    done = run(make_project(tmp_path / "p", GOOD), *arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert cause in done.stderr


def test_a_notebook_without_the_injected_parameter_is_refused(tmp_path):
    done = run(make_project(tmp_path / "p", GOOD, parameters="set_name = None"))
    assert done.returncode == 1
    assert "its parameters cell lacks params" in done.stderr


@pytest.mark.parametrize("arguments", [("prepare", "--set", "control"), ("check",)])
def test_a_missing_raw_path_names_what_to_do(tmp_path, arguments):
    """DVC itself says [Errno 2] of it; `make repro` asks `check` before."""
    project = make_project(tmp_path / "p", GOOD)
    assert run(project, "check").returncode == 0
    (project / "data" / "raw" / "README.md").unlink()
    done = run(project, *arguments)
    assert done.returncode == 1
    assert "data/raw/README.md: not found; put the dataset there" in done.stderr


@pytest.mark.parametrize(
    ("stale", "cause"),
    [(["missing"], "not computed yet"), (["data"], "data"), (["code"], "code"), (["params", "environment"], "params, environment: requirements"),
     (["damaged"], "its files were changed by hand"), ([], None)],
)  # fmt: skip
def test_a_stale_teacher_teaches_no_more(monkeypatch, stale, cause):
    """With the set drawn anew, faces that a teacher was trained on may judge its student; its split names would not show it."""
    monkeypatch.setattr(results, "record_of", lambda *_: {})
    monkeypatch.setattr(results, "why_stale", lambda *_: stale)
    raw = yaml.safe_load(PARAMS)
    raw["runs"]["five_layer_seed1"]["train"] = {"teachers": ["five_layer"]}
    params = check_params(raw)
    section = declared(params, "train", "five_layer_seed1")
    if cause is None:
        pipeline._check_teachers(params, "train", section)
    else:
        said = rf"run 'five_layer_seed1': train.teachers: five_layer: its training is stale \({cause}.*\); train it first: dvc repro train@five_layer"
        with pytest.raises(InputError, match=said):
            pipeline._check_teachers(params, "train", section)


@pytest.mark.parametrize(("status", "kept"), [(0, [("report", "", "page")]), (1, [])])
def test_only_a_report_that_was_built_has_a_cost(monkeypatch, status, kept):
    noted = []
    monkeypatch.setattr(pipeline.privacy, "guard", lambda _: None)
    monkeypatch.setattr(pipeline.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, status))
    monkeypatch.setattr(pipeline, "keep_cost", lambda *cost: noted.append(cost))
    monkeypatch.setattr(pipeline, "_own_code_first", lambda: None)
    monkeypatch.setattr(pipeline.Interruption, "install", lambda _: None)
    assert pipeline.main(["report"]) == status
    assert noted == kept


SLOW = f"""
import time
from ferlab.locks import partial_folder
from ferlab.paths import report_progress
(partial_folder() / "epoch").write_text("10")
report_progress(done=10, total=16, note="epoch 10 of 16")
open("started", "w").close()
while not __import__("os").path.exists("go"):
    time.sleep(0.05)
{GOOD}
"""


def start(project: Path) -> subprocess.Popen[bytes]:
    """Run the stage until its notebook says that it has started."""
    command = [sys.executable, "-m", "ferlab.pipeline", "prepare", "--set", "control"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE / "src")}
    with open(project / "told.txt", "w") as told:
        process = subprocess.Popen(command, cwd=project, env=environment, stdout=subprocess.DEVNULL, stderr=told)
    until = time.monotonic() + 60
    while not (project / "started").exists():
        assert process.poll() is None, (project / "told.txt").read_text()
        assert time.monotonic() < until
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_a_second_process_at_the_same_work_is_told_who_is_busy(tmp_path):
    project = make_project(tmp_path / "p", SLOW)
    first = start(project)
    second = run(project)
    assert second.returncode == 1
    assert second.stderr == f"prepare: prepare control: busy: process {first.pid} works on it; wait for its end, or stop it, then start this again\n"
    (project / "go").touch()
    assert first.wait(60) == 0, (project / "told.txt").read_text()
    assert len(open_store(project / "data" / "prepared" / "control").faces) == 14


@pytest.mark.slow
def test_an_orphaned_kernel_holds_its_work_until_it_ends(tmp_path):
    """`kill -9` of the runner alone: its kernel ends by itself a moment later, and the next run waits for that."""
    project = make_project(tmp_path / "p", SLOW)
    process = start(project)
    process.kill()
    process.wait()
    (project / "go").touch()
    done = run(project)
    assert done.returncode == 0, done.stderr
    assert "going on where the interrupted run stopped" in done.stdout
    assert len(open_store(project / "data" / "prepared" / "control").faces) == 14


@pytest.mark.slow
@pytest.mark.parametrize(("reworded", "told"), [(True, "going on where the interrupted run stopped"), (False, "starting afresh")])
def test_a_reworded_notebook_loses_no_checkpoint_and_another_seed_does(tmp_path, reworded, told):
    project = make_project(tmp_path / "p", SLOW)
    process = start(project)
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    file = project / ("notebooks/01_prepare.ipynb" if reworded else "params.yaml")
    file.write_text(file.read_text().replace("import time", "import time, math") if reworded else PARAMS.replace("seed: 0", "seed: 1"))
    (project / "go").touch()
    assert told in run(project).stdout
    assert not list((project / "data" / ".partial").iterdir())
    noted = json.loads((project / "data" / ".costs.json").read_text())["prepare@control"]
    assert ("made" in noted) is not reworded  # how long both parts of an interrupted run took is not known


@pytest.mark.slow
def test_what_changes_while_a_stage_runs_stops_it_before_anything_moves(tmp_path):
    project = make_project(tmp_path / "p", SLOW)
    process = start(project)
    (project / "params.yaml").write_text(PARAMS.replace("duplicates: 0.02", "duplicates: 0.03"))
    (project / "requirements.lock").write_text("numpy==3\n")
    (project / "go").touch()
    assert process.wait(60) == 1
    what = "params.yaml and requirements.lock changed while the stage ran"
    end = "so its results are of neither state: nothing was moved into place; put it back, and dvc repro goes on from what is kept"
    assert (project / "told.txt").read_text().startswith(f"prepare: {what}, {end}")
    assert not contents(project)
    (project / "params.yaml").write_text(PARAMS)
    (project / "requirements.lock").write_text("numpy==2\n")
    assert "going on where the interrupted run stopped" in run(project).stdout
    assert contents(project)


@pytest.mark.slow
@pytest.mark.parametrize(("signals", "status"), [((signal.SIGINT, signal.SIGINT), 130), ((signal.SIGTERM,), 143)])
def test_a_stopped_stage_says_in_one_line_where_it_goes_on(tmp_path, signals, status):
    project = make_project(tmp_path / "p", SLOW)
    process = start(project)
    kernels = psutil.Process(process.pid).children(recursive=True)
    for number in signals:
        process.send_signal(number)
    assert process.wait(60) == status
    assert (project / "told.txt").read_text() == "prepare control: stopped in epoch 10 of 16; `dvc repro` goes on there\n"
    assert kernels
    assert not psutil.wait_procs(kernels, timeout=10)[1]
    (project / "go").touch()
    done = run(project)
    assert done.returncode == 0, done.stderr
    assert "going on where the interrupted run stopped" in done.stdout


def test_a_folder_left_aside_between_two_renames_is_put_back(tmp_path):
    (tmp_path / ".store.old").mkdir()
    staging.put_back([tmp_path / "store"])
    assert (tmp_path / "store").is_dir()


def test_a_notebook_without_anything_kept_is_said_to_run_again(tmp_path):
    stopped = Interruption("evaluate five_layer")
    expected = "evaluate five_layer: stopped; `dvc repro` runs this stage again, all that was finished is kept"
    assert stopped.line() == expected
    stopped.kept = tmp_path
    assert stopped.line() == expected


@pytest.mark.parametrize(
    ("stage", "variable", "name"),
    [("prepare", "prepare@control", "control"), ("train", "../dvc.yaml:train@five_layer", "five_layer"), ("train", "prepare@control", None)],
)
def test_under_dvc_the_name_comes_from_its_variable(monkeypatch, stage, variable, name):
    monkeypatch.setenv("DVC_STAGE", variable)
    if name is None:
        with pytest.raises(InputError, match="expected --run NAME"):
            pipeline._name_of(stage, run=None, set_name=None)
    else:
        assert pipeline._name_of(stage, run=None, set_name=None) == name


@pytest.mark.slow
def test_a_name_in_params_is_run_by_no_shell(tmp_path):
    """With plain `dvc repro` too: params.yaml is data, and people pass studies on."""
    project = make_project(tmp_path / "p", GOOD)
    stage = yaml.safe_load((SOURCE / "dvc.yaml").read_text())["stages"]["prepare"]
    stage["do"]["deps"] = ["${item.raw}"]
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"prepare": stage}}))
    params = yaml.safe_load(PARAMS)
    names = ["control; touch PWNED; echo $(id -un) > WHO #", "`touch PWNED`", "x' ; touch PWNED; '", '"; touch PWNED; "', "-x", "$(touch PWNED)"]
    params["prepare"] = {name: dict(params["prepare"]["control"], options={}) for name in names}  # a set each, no alias
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    environment = {**os.environ, "PYTHONPATH": str(SOURCE / "src"), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "-q"], cwd=project, env=environment, check=True)
    command = [sys.executable, "-m", "dvc", "repro", "--keep-going"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.count("a name holds letters, digits") == len(names)
    assert not {"PWNED", "WHO"} & {path.name for path in project.rglob("*")}


def test_the_last_line_of_prepare_says_what_is_excluded(tmp_path, monkeypatch, capsys):
    metrics = tmp_path / "metrics.json"
    monkeypatch.setattr(paths, "artefact", lambda *_: metrics)
    paths.write_json(metrics, {"excluded": {"no label": 2, "HEIC is not read: export it": 40} | {f"r{n}": 1 for n in range(4)}, "links": ["happy"]})
    pipeline._say_excluded("mine")
    linked, excluded = capsys.readouterr().out.splitlines()
    assert linked == "prepare mine: links to folders were followed ('happy'); DVC sees no change behind them: dvc repro -f prepare@mine"
    assert excluded == "prepare mine: 46 pictures excluded: 40 HEIC is not read: export it; 2 no label; 1 r0; 1 r1; 1 r2; 1 more reasons"
    paths.write_json(metrics, {"excluded": {}, "links": []})
    pipeline._say_excluded("mine")
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_prepare_ends_with_that_line(clones):
    assert {told.splitlines()[-1] for told in clones.values()} == {"prepare control: 1 picture excluded: 1 no label"}


def test_a_change_behind_a_link_is_found_by_check(tmp_path):
    project = make_project(tmp_path / "p", GOOD)
    params = yaml.safe_load(PARAMS)
    params["prepare"]["control"] |= {"dataset": "class_folders", "options": {}, "raw": "data/raw/mine"}
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    (project / "elsewhere").mkdir()
    (project / "elsewhere" / "1.png").write_bytes(b"1")
    (project / "data" / "raw" / "mine").mkdir()
    (project / "data" / "raw" / "mine" / "happy").symlink_to("../../../elsewhere")
    assert run(project, "check").returncode == 0  # not prepared yet
    paths.write_json(project / "reports" / "metrics" / "prepare" / "control.json", {"links": ["happy"]})
    found = digest(f".={hash_path(project / 'data' / 'raw' / 'mine')}")
    paths.write_json(project / "data" / "records" / "prepare" / "control.json", {"data": found})
    assert run(project, "check").returncode == 0
    (project / "elsewhere" / "1.png").write_bytes(b"2")
    done = run(project, "check")
    assert done.returncode == 1
    assert "'happy' or another link below mine leads to files that changed" in done.stderr
    assert "dvc repro -f prepare@control" in done.stderr


@pytest.mark.slow
def test_a_kernels_own_loggers_are_quiet(clones):
    levels = {json.loads((project / "reports" / "metrics" / "prepare" / "control.json").read_text())["level"] for project in clones}
    assert levels == {60}
