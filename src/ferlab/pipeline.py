"""Run one stage: check params, execute its notebook through papermill, move the outputs into place.

    python -m ferlab.pipeline train --run five_layer
    python -m ferlab.pipeline prepare --set control
    python -m ferlab.pipeline report

The notebook writes to a staging folder; only when every cell has run and every output is there do the outputs replace the last good
ones. A stage that fails keeps its broken notebook in reports/_failed/ and exits non-zero with the cause in its last line. This module
knows params and paths only: it never imports the rooms whose notebooks it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ferlab import paths
from ferlab.fingerprint import digest, hash_path, import_closure
from ferlab.params import Params, declared, load_params
from ferlab.paths import NOTEBOOKS, OUTPUTS, ROOT, RUN_STAGES, SET_STAGES, InputError
from ferlab.progress import follow

# What each stage reads, besides params and code: (stage, output) pairs of its set or run.
INPUTS: dict[str, tuple[tuple[str, str], ...]] = {
    "prepare": (),
    "audit": (("prepare", "store"),),
    "train": (("prepare", "store"),),
    "evaluate": (("prepare", "store"), ("audit", "twins"), ("train", "weights")),
    "explain": (("prepare", "store"), ("train", "weights")),
    "analyze_errors": (("prepare", "store"), ("evaluate", "predictions")),
    "compare": (("evaluate", "predictions"), ("evaluate", "metrics")),
    "deploy": (("prepare", "store"), ("train", "weights")),
    "control_faces": (),
}

EXTRA_INPUTS = {"compare": ("conf/published",)}  # what lies in the repository


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ferlab.pipeline", description="Run one stage of the pipeline.")
    parser.add_argument("stage", choices=(*NOTEBOOKS, "report"))
    parser.add_argument("--run", help="the run, for " + ", ".join(RUN_STAGES))
    parser.add_argument("--set", help="the set, for " + ", ".join(SET_STAGES))
    chosen = parser.parse_args(arguments)
    _own_code_first()
    try:
        if chosen.stage == "report":
            return subprocess.run([sys.executable, "-m", "ferlab.reporting.site"], cwd=ROOT, check=False).returncode
        name = _name_of(chosen.stage, run=chosen.run, set_name=chosen.set)
        run_stage(chosen.stage, name)
    except (InputError, OSError) as error:
        print(f"{chosen.stage}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def run_stage(stage: str, name: str) -> None:
    """Execute the notebook of one stage and move its outputs into place.

    Args:
        stage: A key of `ferlab.paths.NOTEBOOKS`.
        name: The set or the run, "" for a stage that has neither.

    Raises:
        InputError: Bad params, a missing input, a failed cell, or an output that the notebook did not write. What was good stays.
    """
    params = load_params()
    section = declared(params, stage, name)
    inputs = _inputs(stage, section, runs=list(params.runs))
    hash_once = cache(hash_path)  # a set may weigh gigabytes, and every teacher has learnt it
    for teacher in _teachers(stage, section):
        _check_teacher(name, teacher, declared(params, "train", teacher), hash_once)
    source = ROOT / "notebooks" / f"{NOTEBOOKS[stage]}.ipynb"
    provenance = {
        "study": params.study,
        "params": digest(json.dumps(section, sort_keys=True)),
        "data": digest(*map(hash_once, inputs)),
        "code": digest(*(hash_path(path) for path in import_closure(source, families=_families(stage, section, params)))),
    }
    work = ROOT / "data" / ".partial" / f"{stage}-{name}-{digest(json.dumps(provenance, sort_keys=True))}"
    _drop_other_partials(stage, name, keep=work)
    staging = work / "staging"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    executed = _execute(source, section, stage=stage, name=name, work=work, params_hash=provenance["params"])
    _move_into_place(stage, name, staging=staging, executed=executed, provenance=provenance)
    shutil.rmtree(work)


def _name_of(stage: str, *, run: str | None, set_name: str | None) -> str:
    wanted = "--set" if stage in SET_STAGES else "--run" if stage in RUN_STAGES else None
    given = {"--set": set_name, "--run": run}
    if wanted and given[wanted] is None:
        raise InputError(f"expected {wanted} NAME")
    return given[wanted] or "" if wanted else ""


def _own_code_first() -> None:
    """Start again with ROOT/src first on the path where another clone's ferlab was found: each clone runs its own code."""
    own = (ROOT / "src").resolve()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(own), *(p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != str(own))])
    if (own / "ferlab").is_dir() and not Path(__file__).resolve().is_relative_to(own):
        os.execv(sys.executable, [sys.executable, "-m", "ferlab.pipeline", *sys.argv[1:]])


def _inputs(stage: str, section: dict[str, Any], *, runs: list[str]) -> list[Path]:
    """Return the existing input files of a stage; a missing one is an error that names the stage that makes it."""
    if stage == "prepare":
        raw = ROOT / section["prepare"]["raw"]
        if not raw.exists():
            raise InputError(f"{section['prepare']['raw']}: not found; put the data of set {section['name']!r} there (see data/raw/README.md)")
        return [raw]
    inputs = []
    for before, what in INPUTS[stage]:
        names = runs if stage == "compare" else [section["run"]["data"] if before in SET_STAGES and "run" in section else section["name"]]
        for name in names:
            path = paths.artefact(before, what, name)
            if not path.exists():
                raise InputError(f"{path.relative_to(ROOT)}: not found; `dvc repro` makes it in stage {before}")
            inputs.append(path)
    inputs += [paths.artefact("train", "weights", teacher) for teacher in _teachers(stage, section)]
    return [*inputs, *(ROOT / extra for extra in EXTRA_INPUTS.get(stage, ()))]


def _teachers(stage: str, section: dict[str, Any]) -> list[str]:
    return section["run"]["train"]["teachers"] if stage == "train" else []


def _families(stage: str, section: dict[str, Any], params: Params) -> tuple[str, ...]:
    own = {section["run"]["family"]} if "run" in section else set()
    return tuple(f"models.{family}" for family in sorted(own | {params.runs[teacher].family for teacher in _teachers(stage, section)}))


def _check_teacher(run: str, teacher: str, section: dict[str, Any], hash_of: Callable[[Path], str]) -> None:
    """A teacher that learnt an earlier state of the set may have learnt faces that now judge the taught net."""
    path = paths.artefact("train", "metrics", teacher)
    made = json.loads(path.read_text())["provenance"]["data"] if path.is_file() else None
    if made != digest(*map(hash_of, _inputs("train", section, runs=[]))):
        what = "it learnt an earlier state of its set or of its own teachers" if made else "it is not trained yet"
        raise InputError(f"run {run!r}: train.teachers: {teacher}: {what}; train it first: dvc repro train@{teacher}")


def _execute(source: Path, section: dict[str, Any], *, stage: str, name: str, work: Path, params_hash: str) -> Path:
    """Run the notebook with papermill and return the executed copy; on failure keep it aside and raise its cause."""
    import nbformat
    import papermill
    from papermill.exceptions import PapermillExecutionError

    parameters: dict[str, Any] = {"params": section}
    if stage in SET_STAGES:
        parameters["set_name"] = name
    elif stage in RUN_STAGES:
        parameters["run"] = name
    _check_parameters(source, parameters)
    executed = work / "executed.ipynb"
    progress = work / "progress.jsonl"
    progress.unlink(missing_ok=True)
    os.environ.update(_kernel_environment(work, progress, params_hash))
    os.environ.pop("JUPYTER_PATH", None)  # it can shadow the python3 kernel of this environment
    try:
        with follow(progress, title=f"{stage} {name}".strip()):
            papermill.execute_notebook(
                source, executed, parameters, kernel_name="python3", cwd=ROOT, progress_bar=False, record_timing=False, coalesce_streams=True,
                store_widget_state=False, request_save_on_cell_execute=False, extra_arguments=["--log-level=50"],  # quiet
            )  # fmt: skip
    except PapermillExecutionError as error:
        raise InputError(f"{_cause(error)} (its notebook: {_keep_broken(executed, stage, name)})") from None
    except Exception as error:  # noqa: BLE001 - a kernel that died: papermill and nbclient raise many types here
        kept = _keep_broken(executed, stage, name)
        aside = f" (its notebook: {kept})" if kept else ""
        raise InputError(f"the kernel of {source.name} stopped: {type(error).__name__}: {error}{aside}") from None
    notebook = nbformat.read(executed, as_version=4)
    if any(_left_early(cell) for cell in notebook.cells):
        raise InputError(f"{source.name}: a cell left the notebook early (its notebook: {_keep_broken(executed, stage, name)})")
    nbformat.write(_stable(notebook), executed)
    return executed


def _left_early(cell: Any) -> bool:
    """papermill takes sys.exit(0) for success and silently skips the cells behind it."""
    if cell.cell_type != "code" or not cell.source.strip():
        return False
    return cell.execution_count is None or any(out.output_type == "error" for out in cell.outputs)


def _kernel_environment(work: Path, progress: Path, params_hash: str) -> dict[str, str]:
    return {
        paths.STAGING: str(work / "staging"),
        paths.PARTIAL: str(work / "kept"),
        paths.PROGRESS: str(progress),
        paths.PARAMS_HASH: params_hash,
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": str(work / "ipython"),  # no start-up files of the user's
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic matrix products on a GPU
        "TQDM_DISABLE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait give their core away: half the CPU time on a busy machine
    }


def _check_parameters(source: Path, parameters: dict[str, Any]) -> None:
    """papermill only warns of an unknown parameter; here it is an error."""
    cells = json.loads(source.read_text())["cells"]
    tagged = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    known = set(re.findall(r"^(\w+)\s*[:=]", "\n".join(tagged), flags=re.MULTILINE))
    if missing := set(parameters) - known:
        raise InputError(f"{source.name}: its parameters cell lacks {', '.join(sorted(missing))}")


def _stable(notebook: Any) -> Any:
    """Drop what differs between two runs: papermill's times and paths, random cell ids, process ids in warnings."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.pop("widgets", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        for volatile in ("papermill", "execution"):
            cell.metadata.pop(volatile, None)
        for out in cell.get("outputs", []):
            if "text" in out:
                out.text = re.sub(r"/\S*ipykernel_\d+/\d+\.py", "<cell>", out.text).replace(str(ROOT), ".")
    return notebook


def _cause(error: Any) -> str:
    """The last line of a failed cell's traceback, without colour codes: an InputError reads as written, others keep their type."""
    value = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error.evalue)).split())
    return value if error.ename == "InputError" else f"{error.ename}: {value}"


def _keep_broken(executed: Path, stage: str, name: str) -> str:
    if not executed.is_file():
        return ""
    kept = ROOT / "reports" / "_failed" / paths.executed_notebook(stage, name).name
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(executed, kept)  # data/.partial may lie on another disk
    return kept.relative_to(ROOT).as_posix()


def _move_into_place(stage: str, name: str, *, staging: Path, executed: Path, provenance: dict[str, str]) -> None:
    """Replace the last good outputs by the new ones: all are copied beside their places first, then renamed."""
    moves = {staging / template.format(name=name): ROOT / template.format(name=name) for template in OUTPUTS[stage].values()}
    for new in moves:
        if not new.exists():
            raise InputError(f"the notebook did not write {new.relative_to(staging)}")
    metrics = staging / OUTPUTS[stage]["metrics"].format(name=name)
    paths.write_json(metrics, {**json.loads(metrics.read_text()), "provenance": provenance})
    moves[executed] = paths.executed_notebook(stage, name)
    beside = {}
    for new, place in moves.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        beside[place] = place.with_name(f".{place.name}.new")
        _remove(beside[place])
        shutil.move(new, beside[place])
    for place, ready in beside.items():
        if place.is_dir():  # a folder cannot be replaced in one step: aside, in, away
            aside = place.with_name(f".{place.name}.old")
            _remove(aside)
            os.rename(place, aside)
            os.rename(ready, place)
            _remove(aside)
        else:
            os.replace(ready, place)
    (ROOT / "reports" / "_failed" / executed.name).unlink(missing_ok=True)


def _drop_other_partials(stage: str, name: str, *, keep: Path) -> None:
    """Partial work under another fingerprint belongs to other params, inputs or code: it is dropped, and the terminal says so."""
    for other in sorted(keep.parent.glob(f"{stage}-{name}-????????????")) if keep.parent.is_dir() else []:
        if other != keep:
            print(f"{stage} {name}: params, inputs or code changed since the interrupted run: starting afresh", flush=True)
            shutil.rmtree(other)
    if (keep / "kept").is_dir():
        print(f"{stage} {name}: going on where the interrupted run stopped", flush=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
