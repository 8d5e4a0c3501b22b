"""docs/scale.md: its job array runs as it stands there, and its numbers are those of reports/published/scale.json."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "tests" / "bench"
PAGE = ROOT / "docs" / "scale.md"
SBATCH = """#!{python}
import os, re, subprocess, sys
from pathlib import Path
text = Path(sys.argv[1]).read_text()
Path({kept!r}).write_text(text)
last = int(re.search(r"--array=0-(\\d+)", text)[1])
shared = dict(os.environ, SLURM_JOB_NUM_NODES="1", SLURM_NTASKS="1", SLURM_NNODES="1", SLURM_NODEID="0", SLURM_PROCID="0", SLURM_LOCALID="0",
              SLURM_ARRAY_JOB_ID="4711", SLURM_JOB_NODELIST="localhost")
quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
for task in range(last + 1):  # the script may be moved as soon as this returns
    own = dict(shared, SLURM_JOB_ID=str(4800 + task), SLURM_ARRAY_TASK_ID=str(task))
    subprocess.Popen(["bash", "-c", text], env=own, start_new_session=True, **quiet)
print("Submitted batch job 4711")
"""
SRUN = """#!{python}
import subprocess, sys
program = sys.argv[sys.argv.index({python!r}):]
sys.exit(subprocess.run(program, stdout=subprocess.DEVNULL).returncode)
"""


def job_array() -> str:
    """Return the page's one block of Python."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    return block


def run_array(clone: Path, code: str, *, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run the block as a file in a clone."""
    (clone / "runs.py").write_text(code)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("FERLAB_", "SLURM_"))}
    programs = os.pathsep.join(filter(None, [path, str(Path(sys.executable).parent), environment["PATH"]]))
    environment |= {"PATH": programs, "PYTHONPATH": str(clone / "src")}
    return subprocess.run([sys.executable, "runs.py"], cwd=clone, capture_output=True, text=True, env=environment, check=False)


def script(name: str) -> ModuleType:
    """Return a script of tests/bench as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def published() -> dict:
    return json.loads((ROOT / "reports" / "published" / "scale.json").read_text())


def test_the_pages_tables_are_those_of_the_measured_numbers() -> None:
    tables, page = script("scale_tables"), PAGE.read_text()
    marks = re.findall(r"^<!-- (\w+) -->$", page, flags=re.MULTILINE)
    assert marks == [mark for part in tables.TABLES if part in published() for mark in (part, "end")]
    assert tables.rewritten(page, published()) == page


def test_a_number_that_moves_moves_on_the_page() -> None:
    moved = published()
    moved["growth"]["store"]["sizes"][0]["cpu"] += 1
    assert script("scale_tables").rewritten(PAGE.read_text(), moved) != PAGE.read_text()


def test_exponents_are_the_slopes_of_what_was_measured() -> None:
    for work in script("scale_tables").WORKS.keys() & published()["growth"].keys():
        of = published()["growth"][work]
        sizes = of["sizes"][1:] if len(of["sizes"]) > 2 else of["sizes"]
        for cost, exponent in of["exponents"].items():
            slope = np.polyfit(np.log([each["n"] for each in sizes]), np.log([each[cost] for each in sizes]), 1)[0]
            assert exponent == pytest.approx(slope, abs=1e-9)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a prepared dataset and a study of two runs."""
    from test_end_to_end import TINY, call, make_clone

    folder = make_clone(tmp_path_factory.mktemp("array") / "clone")
    first = "  tiny: {family: cs230, model: five_layer, data: control, seed: 0, group: tiny}\n"
    assert first in TINY
    again = first.replace("tiny:", "tiny_again:").replace("seed: 0", "seed: 1")
    (folder / "conf" / "study" / "two.yaml").write_text(TINY.replace(first, first + again))
    call(folder, "ferlab.cli", "study", "two")
    call(folder, "dvc", "repro", "prepare@control")
    return folder


@pytest.mark.slow
def test_the_job_array_trains_every_run_and_dvc_takes_the_results(clone: Path) -> None:
    from test_end_to_end import call

    done = run_array(clone, job_array())
    assert done.returncode == 0, done.stderr
    for run in ("tiny", "tiny_again"):
        assert (clone / "models" / run / "weights.safetensors").is_file()
        assert (clone / "reports" / "metrics" / "evaluate" / f"{run}.json").is_file()
    told = call(clone, "dvc", "repro", "evaluate@tiny", "evaluate@tiny_again")
    taken = [f"{stage} {run}: its result holds and is taken" for stage in ("train", "evaluate") for run in ("tiny", "tiny_again")]
    assert [line for line in taken if line not in told] == []
    assert "is computed" not in told


@pytest.mark.slow
def test_slurm_gets_the_same_runs_as_one_array(clone: Path, tmp_path: Path) -> None:
    programs, kept = tmp_path / "bin", tmp_path / "array.sh"
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", "#!/bin/sh\n")):
        (programs / name).write_text(text.format(python=sys.executable, kept=str(kept)))
        (programs / name).chmod(0o755)
    code = job_array().replace('cluster = "local"', 'cluster = "slurm"').replace('("train", "evaluate")', '("check",)')
    done = run_array(clone, code, path=str(programs))
    assert done.returncode == 0, done.stderr
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", kept.read_text(), flags=re.MULTILINE))
    assert (options["array"], options["cpus-per-task"], options["time"], options["nodes"]) == ("0-1%2", "2", "1440", "1")


@pytest.mark.slow
def test_runs_that_fail_are_named_and_the_next_is_tried(clone: Path) -> None:
    code = job_array().replace("list(load_params().runs)", '["absent", "missing"]').replace('"local": 2', '"local": 1')
    done = run_array(clone, code)
    assert done.returncode == 1
    logs = re.findall(r"^(absent|missing) failed: (.*)$", done.stderr, flags=re.MULTILINE)
    assert [run for run, _ in logs] == ["absent", "missing"], done.stderr
    assert all(f"'{run}'" in Path(log).read_text() for run, log in logs)
