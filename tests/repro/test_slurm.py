"""`ferlab repro --slurm`: stages of a kind are one array; its options, failures and end. Substitutes stand for SLURM's programs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_slurm import scripts, write_programs
from toy_project import SOURCE, make_stages

from ferlab.repro.slurm import run_command


def environment(first: Path | None = None) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith(("FERLAB_", "SLURM_"))}
    path = os.pathsep.join([*([str(first)] if first else []), str(Path(sys.executable).parent), own["PATH"]])
    return {**own, "PATH": path, "PYTHONPATH": str(SOURCE / "src")}


def submit(project: Path, *arguments: str, first: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ferlab.cli", "repro", "--slurm", *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment(first), check=False, timeout=900)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_stages(tmp_path / "p")


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.slow
def test_stages_of_a_kind_are_one_array_and_leave_the_lock_of_dvc_repro(project, tmp_path):
    programs = write_programs(tmp_path / "bin")
    (project / "together").touch()
    done = submit(project, "-j", "1", "--with", "slurm_partition=gpu", "--with", "timeout_min=600", first=programs)
    assert done.returncode == 0, done.stdout + done.stderr
    options = [dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", text, flags=re.MULTILINE)) for text in scripts(programs)]
    single, arrays = ["-"] * 4, ["0-1%1"] * 2  # prepare, worlds, compare, report; train, deploy
    assert sorted(each.get("array", "-") for each in options) == single + arrays
    assert {(each["partition"], each["time"], each["nodes"], each["cpus-per-task"]) for each in options} == {("gpu", "600", "1", "2")}
    lock = (project / "dvc.lock").read_bytes()
    (project / "dvc.lock").unlink()
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=project, env=environment(), check=True, stdout=subprocess.DEVNULL)
    assert (project / "dvc.lock").read_bytes() == lock


@pytest.mark.slow
def test_a_job_that_fails_leaves_the_others_alone_and_is_named_with_its_cause(project, tmp_path):
    (project / "train@first.fails").touch()
    done = submit(project, first=write_programs(tmp_path / "bin"))
    assert done.returncode == 1
    cause = "train@first failed: train@first: it cannot be done"
    assert done.stderr.splitlines()[-1] == f"ferlab: {cause}. What is finished is kept; mend it and start this again."
    assert "end deploy@second" in (project / "log.txt").read_text().splitlines()
    assert not (project / "data" / "out" / "compare").exists()


@pytest.mark.slow
def test_an_interruption_cancels_the_jobs(project, tmp_path):
    programs = write_programs(tmp_path / "bin")
    (project / "worlds.waits").touch()
    with open(project / "told.txt", "w") as told:
        command = [sys.executable, "-m", "ferlab.cli", "repro", "--slurm", "worlds"]
        process = subprocess.Popen(command, cwd=project, env=environment(programs), stdout=told, stderr=told)
    wait_for((project / "data" / "worlds.pid").is_file)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    (project / "worlds.waits").unlink()
    assert (programs / "cancelled").read_text() == "4711\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "SLURM: "),
        (("--with", "mem_gb"), "--with mem_gb: expected KEY=VALUE"),
        (("--with", "slurm_party=gpu"), "slurm_party"),
        (("--with", "mem_gb=much"), "mem_gb"),
    ],
)
def test_no_slurm_or_a_wrong_option_is_one_line(project, tmp_path, arguments, told):
    done = submit(project, *arguments, first=write_programs(tmp_path / "bin") if arguments else None)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert told in done.stderr
    assert not (project / "log.txt").exists()


def test_a_job_returns_the_last_line_of_what_failed_and_logs_all(tmp_path, capsys):
    (tmp_path / "src").mkdir()
    code = 'import os; print(os.environ["DVC_STAGE"])'
    assert run_command(f"python -c '{code}'", "train@a", tmp_path) == ""
    assert run_command("echo first; echo its cause >&2; exit 3", "train@a", tmp_path) == "its cause"
    assert run_command("exit 3", "train@a", tmp_path) == "exit status 3"
    assert capsys.readouterr().out == "train@a\nfirst\nits cause\n"
