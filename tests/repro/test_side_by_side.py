"""`ferlab repro`: stages side by side leave what `dvc repro` leaves; an order that holds, a failure, an interruption, memory, latencies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml
from toy_project import NEEDS, PARAMS, SOURCE, make_stages

from ferlab import costs, paths
from ferlab.params import check_params
from ferlab.paths import InputError
from ferlab.repro import local
from ferlab.repro.local import GUESS, Processes
from ferlab.repro.scheduling import run_stages
from ferlab.repro.stage_graph import StageGraph, Task, in_order


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "ferlab.cli", "repro", *arguments]


def run(project: Path, *arguments: str, module: str = "ferlab.cli repro") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE / "src"), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    words = [sys.executable, "-m", *module.split(), *arguments]
    return subprocess.run(words, cwd=project, capture_output=True, text=True, env=environment, check=False, timeout=600)


def log(project: Path) -> list[str]:
    """What the stages noted since the last call."""
    path = project / "log.txt"
    lines = path.read_text().splitlines() if path.is_file() else []
    path.unlink(missing_ok=True)
    return lines


def outputs(project: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted((project / "data" / "out").iterdir())} | {"lock": (project / "dvc.lock").read_text()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which `dvc repro` has run every stage."""
    project = make_stages(tmp_path_factory.mktemp("plain") / "p")
    done = run(project, module="dvc repro")
    assert done.returncode == 0, done.stderr
    log(project)
    return project


@pytest.fixture
def project(plain: Path, tmp_path: Path) -> Path:
    """The same project before anything ran."""
    left = shutil.ignore_patterns("out", "dvc.lock", "cache", "tmp", "*.pid")
    return Path(shutil.copytree(plain, tmp_path / "another place" / "p", ignore=left))


def test_side_by_side_leaves_the_outputs_and_the_lock_of_dvc_repro_byte_for_byte(plain, project):
    (project / "together").touch()  # each training waits for the start of the other: one by one they would wait for ever
    done = run(project, "-j", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert outputs(project) == outputs(plain)
    noted = log(project)
    assert noted.index("end train@second") < noted.index("end train@first"), "the order of dvc.lock is not put to the test"
    for name, needs in NEEDS.items():
        assert all(noted.index(f"end {need}") < noted.index(f"start {name}") for need in needs), name
    for name in ("deploy@first", "deploy@second"):  # nothing runs beside one that measures latencies
        assert noted[noted.index(f"start {name}") + 1] == f"end {name}"
    assert done.stdout.splitlines()[-1] == "8 stages run, 0 up to date; dvc.lock holds them all"
    assert run(project, module="dvc status").stdout == "Data and pipelines are up to date.\n"
    assert run(project / "data", "-j", "4").stdout == "0 stages run, 8 up to date; dvc.lock holds them all\n"
    assert log(project) == []


def test_a_failed_stage_stops_only_what_waits_for_it_and_is_named_last(project):
    (project / "train@first.fails").touch()
    done = run(project, "-j", "2")
    assert done.returncode == 1
    end = "train@first failed: train@first: it cannot be done. What is finished is kept; mend it and start this again."
    assert done.stderr.splitlines()[-1] == f"ferlab: {end}"
    started = {line.removeprefix("start ") for line in log(project) if line.startswith("start ")}
    assert started == {"prepare@control", "worlds", "train@first", "train@second", "deploy@second"}
    assert "compare: not run: it waits for a stage that failed" in done.stdout.splitlines()
    (project / "train@first.fails").unlink()
    assert run(project, "-j", "2").returncode == 0
    assert {line.removeprefix("start ") for line in log(project) if line.startswith("start ")} == {"train@first", "deploy@first", "compare", "report"}


def test_a_stage_whose_inputs_came_out_the_same_does_not_run(plain, project):
    assert run(project, "-j", "2", "compare").returncode == 0
    assert {line.removeprefix("end ") for line in log(project) if line.startswith("end ")} == {
        "prepare@control", "train@first", "train@second", "compare",
    }  # fmt: skip
    (project / "data" / "out" / "train@first").unlink()
    done = run(project, "-j", "2")
    assert done.returncode == 0
    assert not {"start compare", "start train@second"} & set(log(project))
    ours, theirs = outputs(project), outputs(plain)
    assert yaml.safe_load(ours.pop("lock")) == yaml.safe_load(theirs.pop("lock"))
    assert ours == theirs


def test_files_that_dvc_tracks_are_taken_as_dvc_repro_takes_them(project):
    """`dvc add` of raw data, which a stage then waits for."""
    raw = project / "raw.txt"
    raw.write_text("before")
    assert run(project, "raw.txt", module="dvc add").returncode == 0
    head, found, rest = (project / "dvc.yaml").read_text().partition("  worlds:\n")
    (project / "dvc.yaml").write_text(head + found + rest.replace("deps: [stage.py]", "deps: [stage.py, raw.txt]", 1))
    raw.unlink()
    raw.write_text("after")
    assert run(project, "-j", "2", "worlds").returncode == 0
    assert "md5: " + hashlib.md5(b"after").hexdigest() in (project / "raw.txt.dvc").read_text()
    assert log(project) == ["start worlds", "end worlds"]


def test_one_at_a_time_is_dvc_repro_itself(plain, project):
    (project / "data" / "below").mkdir()
    done = run(project / "data" / "below", "-j", "1")
    assert "Running stage 'train@first'" in done.stdout
    assert outputs(project) == outputs(plain)


def runs(pid: int) -> bool:
    """Whether a process is there and has not ended: an orphan stays a zombie until the first process of the machine takes notice."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_what_runs_and_keeps_what_is_finished(project, number):
    for name in ("train@first", "train@second"):
        (project / f"{name}.waits").touch()
    environment = {**os.environ, "PYTHONPATH": str(SOURCE / "src")}
    with open(project / "told.txt", "w") as told:
        process = subprocess.Popen(command("-j", "2"), cwd=project, env=environment, stdout=told, stderr=told)
    until = time.monotonic() + 120
    pids = [project / "data" / f"{name}.pid" for name in ("train@first", "train@second")]
    while not all(path.is_file() and path.read_text() for path in pids):
        assert process.poll() is None, (project / "told.txt").read_text()
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(60) == 130
    assert (project / "told.txt").read_text().splitlines()[-1] == "ferlab: stopped"
    assert not [path for path in pids if runs(int(path.read_text()))]
    for path in project.glob("*.waits"):
        path.unlink()
    log(project)
    assert run(project, "-j", "2").returncode == 0
    assert "start prepare@control" not in log(project)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("-j", "0"), "-j 0: expected 1 or more"), (("--with", "mem_gb=1"), "--with: for --slurm alone"), (("trian@first",), "'trian@first'")],
)
def test_bad_arguments_are_one_line(project, arguments, told):
    done = run(project, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert told in done.stderr


def test_a_student_waits_for_its_teachers_of_which_dvc_knows_nothing(project, monkeypatch):
    monkeypatch.chdir(project)
    raw = yaml.safe_load(PARAMS)
    raw["frame"]["models"] = ["shipped"]
    raw["runs"] = {"second": raw["runs"]["five_layer"], "first": {**raw["runs"]["five_layer"], "train": {"teachers": ["second"]}}}
    needs = StageGraph(project, check_params(raw)).tasks["train@first"].needs
    assert needs == {"prepare@control", "train@second"}


@pytest.mark.parametrize("names", [[], ["train@b"], ["train@b", "gone@x", "train@a"]])
def test_only_the_order_of_the_lock_changes(names):
    entries = {name: {"cmd": f"do {name}", "outs": [{"path": "a\nb"}]} for name in names}
    text = yaml.safe_dump({"schema": "2.0", "stages": entries}, sort_keys=False)
    places = {"train@a": 0, "train@b": 1}
    ordered = in_order(text, places)
    assert yaml.safe_load(ordered) == yaml.safe_load(text)
    assert list(yaml.safe_load(ordered)["stages"]) == sorted(names, key=lambda name: places.get(name, 2))
    assert sorted(ordered) == sorted(text)


class Graph:
    """Tasks in memory; those of `old` have to run."""

    def __init__(self, needs: dict[str, set[str]], *, lost: str = "") -> None:
        self.tasks = {name: Task(name, "", frozenset(before)) for name, before in needs.items()}
        self.lost = lost

    def stale(self, names: Sequence[str]) -> set[str]:
        return set(names)

    def keep(self, name: str) -> None:
        if name == self.lost:
            raise InputError(f"output of {name} is missing")


class Hands:
    """Runs what is ready at once; `orders` are the batches."""

    def __init__(self) -> None:
        self.orders: list[set[str]] = []
        self.stopped = False

    def start(self, ready: Sequence[Task], waiting: Sequence[Task]) -> list[str]:
        self.orders.append({task.name for task in ready})
        return [task.name for task in ready]

    def ended(self) -> list[tuple[str, str]]:
        return [(name, "") for name in self.orders[-1]]

    def stop(self) -> None:
        self.stopped = True


SILENT = SimpleNamespace(started=lambda name: None, settled=lambda name, how: None)


def test_every_stage_starts_as_soon_as_it_may():
    hands = Hands()
    assert run_stages(Graph(NEEDS), hands, SILENT) == {}
    deploys = {"deploy@first", "deploy@second"}
    assert hands.orders == [{"prepare@control", "worlds"}, {"train@first", "train@second"}, {*deploys, "compare"}, {"report"}]


def test_a_stage_whose_output_is_missing_has_failed():
    assert run_stages(Graph(NEEDS, lost="train@first"), Hands(), SILENT) == {"train@first": "output of train@first is missing"}


def test_whatever_ends_the_work_stops_what_runs():
    hands = Hands()
    hands.ended = lambda: 1 / 0  # type: ignore[method-assign, return-value]
    with pytest.raises(ZeroDivisionError):
        run_stages(Graph(NEEDS), hands, SILENT)
    assert hands.stopped


@pytest.mark.parametrize(
    ("free", "noted", "started"),
    [
        (9 * GUESS, None, 2),
        (1.5 * GUESS, None, 1),  # as much again may be taken by the one that runs
        (0.5 * GUESS, None, 1),  # one runs at any rate
        (1.5 * GUESS, GUESS // 4, 2),  # what they took when they last ran
    ],
)
def test_a_stage_starts_beside_another_only_within_the_memory_that_is_free(monkeypatch, tmp_path, free, noted, started):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    monkeypatch.setattr(local, "peak_memory", lambda name: noted)
    monkeypatch.setattr(local, "_resident", lambda pid: 0)
    tasks = [Task(name, "sleep 60", frozenset()) for name in ("train@a", "train@b")]
    workers = Processes(tmp_path, 2, lambda name, line: None)
    try:
        assert len(workers.start(tasks, tasks)) == started
    finally:
        workers.stop()


def test_a_killed_stage_says_what_may_have_killed_it(tmp_path):
    workers = Processes(tmp_path, 1, lambda name, line: None)
    workers.start([Task("train@a", "kill -9 $$", frozenset())], [])
    ended: list[tuple[str, str]] = []
    while not ended:
        ended = workers.ended()
    assert ended == [("train@a", "killed by SIGKILL, as happens where memory runs out")]


def test_the_runner_notes_the_memory_that_a_stage_took(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    costs.keep_cost("train", "a", "computed")
    costs.keep_cost("train", "a", "page")
    assert 1e6 < costs.peak_memory("train@a") < 1e12
    assert costs.peak_memory("train@b") is None
    assert set(json.loads((tmp_path / costs.COSTS).read_text())["train@a"]) == {"computed", "page", "memory"}
    assert [path.name for path in (tmp_path / "data").iterdir()] == [costs.COSTS.name]
