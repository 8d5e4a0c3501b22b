"""Run one stage: check params, execute its notebook through papermill, move the outputs into place.

    python -m ferlab.pipeline train --run five_layer
    python -m ferlab.pipeline prepare --set control
    python -m ferlab.pipeline report
    python -m ferlab.pipeline check         what `make repro` asks first: can params.yaml be run?

Under DVC the set or run comes from the variable DVC_STAGE, so that no name of params.yaml ever stands in a command that a shell reads.

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

import psutil

from ferlab import paths, privacy, staging
from ferlab.params import Params, declared, load_params
from ferlab.paths import NOTEBOOKS, OUTPUTS, ROOT, RUN_STAGES, SET_STAGES, InputError
from ferlab.progress import Interruption, follow
from ferlab.results import digest, hash_path, import_closure

# What each stage reads, besides params and code: (stage, output) pairs of its set or run.
INPUTS: dict[str, tuple[tuple[str, str], ...]] = {
    "prepare": (),
    "audit": (("prepare", "store"),),
    "train": (("prepare", "store"),),
    "evaluate": (("prepare", "store"), ("audit", "duplicates"), ("train", "weights")),
    "explain": (("prepare", "store"), ("train", "weights")),
    "analyze_errors": (("prepare", "store"), ("evaluate", "predictions")),
    "compare": (("evaluate", "predictions"), ("evaluate", "metrics")),
    "deploy": (("prepare", "store"), ("train", "weights")),
    "control_faces": (),
}

# A kernel that ends may find its sockets closed already: of that no one need read.
QUIET = ["--log-level=50", "--IPKernelApp.exec_lines=__import__('logging').getLogger('tornado').setLevel(60)"]
PROGRESS = "progress.jsonl"  # of the kernel, in the work folder
EXTRA_INPUTS = {"compare": ("conf/published",)}  # what lies in the repository


def main(arguments: list[str] | None = None) -> int:
    """Run one stage; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m ferlab.pipeline", description="Run one stage of the pipeline.")
    parser.add_argument("stage", choices=(*NOTEBOOKS, "report", "check"))
    parser.add_argument("--run", help="the run, for " + ", ".join(RUN_STAGES))
    parser.add_argument("--set", help="the set, for " + ", ".join(SET_STAGES))
    chosen = parser.parse_args(arguments)
    _own_code_first()
    interruption = Interruption(chosen.stage)
    interruption.install()
    try:
        if chosen.stage == "check":
            return _check(load_params())
        if chosen.stage == "report":
            privacy.guard(load_params())
            return subprocess.run([sys.executable, "-m", "ferlab.reporting.site.build"], cwd=ROOT, check=False, start_new_session=True).returncode
        name = _name_of(chosen.stage, run=chosen.run, set_name=chosen.set)
        interruption.title = f"{chosen.stage} {name}".strip()
        run_stage(chosen.stage, name, interruption)
    except (InputError, OSError) as error:
        print(f"{chosen.stage}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def run_stage(stage: str, name: str, interruption: Interruption | None = None) -> None:
    """Execute the notebook of one stage and move its outputs into place.

    Args:
        stage: A key of `ferlab.paths.NOTEBOOKS`.
        name: The set or the run, "" for a stage that has neither.
        interruption: Is told where the work lies.

    Raises:
        InputError: Bad params, a missing input, another process at the same work, a failed cell, an output that the notebook did not write,
            or params, inputs or code that changed meanwhile. What was good stays.
    """
    with staging.alone(stage, name) as partials:
        params = load_params()
        section, provenance = _provenance(params, stage, name)
        privacy.guard(params)
        work = staging.open_work(partials, stage, name, digest(json.dumps(provenance, sort_keys=True)))
        if interruption:
            interruption.lines, interruption.kept = work / PROGRESS, work / "kept"
        source = ROOT / "notebooks" / f"{NOTEBOOKS[stage]}.ipynb"
        executed = _execute(source, section, stage=stage, name=name, work=work)
        _check_unchanged(stage, name, provenance)
        _move_into_place(stage, name, new=staging.staging_of(work), executed=executed, provenance=provenance)
        shutil.rmtree(work)
        if stage == "prepare":
            privacy.tell_withdrawn(params.prepare[name], paths.artefact("prepare", "metrics", name))
            _say_excluded(name)


def _check(params: Params) -> int:
    """Say what keeps `dvc repro` from running, as far as that can be seen beforehand; DVC itself names no more than a missing path."""
    for name in params.prepare:
        raw = _inputs("prepare", declared(params, "prepare", name), runs=[])
        _check_links(name, raw)
    return 0


def _check_links(name: str, raw: list[Path]) -> None:
    """DVC does not look behind links to folders: a set that was read through some is compared here, and no other."""
    metrics = paths.artefact("prepare", "metrics", name)
    made = paths.read_json(metrics, made_by="stage prepare") if metrics.is_file() else {}
    if made.get("links") and made["provenance"]["data"] != digest(*map(hash_path, raw)):
        changed = f"{made['links'][0]!r} or another link below {raw[0].name} leads to files that changed since set {name!r} was prepared"
        raise InputError(f"{changed}, which DVC does not see: dvc repro -f prepare@{name}")


def _provenance(params: Params, stage: str, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what a stage may see of params, and the fingerprint of its params, inputs and code."""
    section = declared(params, stage, name)
    inputs = _inputs(stage, section, runs=list(params.runs))
    hash_once = cache(hash_path)  # a set may weigh gigabytes, and every teacher has learnt it
    for teacher in _teachers(stage, section):
        _check_teacher(name, teacher, declared(params, "train", teacher), hash_once)
    source = ROOT / "notebooks" / f"{NOTEBOOKS[stage]}.ipynb"
    return section, {
        "study": params.study,
        "params": digest(json.dumps(section, sort_keys=True)),
        "data": digest(*map(hash_once, inputs)),
        "code": digest(*(hash_path(path) for path in import_closure(source, families=_families(stage, section, params)))),
    }


def _check_unchanged(stage: str, name: str, before: dict[str, str]) -> None:
    """DVC locks what lies there when a stage ends: results of what lay there when it began must not be taken for it."""
    try:
        now = _provenance(load_params(), stage, name)[1]
    except InputError as error:
        raise InputError(f"{error}; that changed while the stage ran, so nothing was moved into place; mend it and run dvc repro again") from None
    named = {"study": "the study", "params": "params.yaml", "data": "an input", "code": "the code"}
    if changed := [named[key] for key in before if before[key] != now[key]]:
        told = f"{' and '.join(changed)} changed while the stage ran, so its results are of neither state"
        back = "put it back, and dvc repro goes on from what is kept; or run dvc repro as it is now, which starts afresh"
        raise InputError(f"{told}: nothing was moved into place; {back}")


def _name_of(stage: str, *, run: str | None, set_name: str | None) -> str:
    """Return the set or run: the one that was given, or that of DVC_STAGE, as `prepare@control` or `../dvc.yaml:prepare@control`."""
    wanted = "--set" if stage in SET_STAGES else "--run" if stage in RUN_STAGES else None
    group, _, ours = os.environ.get("DVC_STAGE", "").rpartition("dvc.yaml:")[2].partition("@")
    given = {"--set": set_name, "--run": run}
    name = given[wanted] if wanted and given[wanted] is not None else ours if group == stage and ours else None
    if wanted and name is None:
        raise InputError(f"expected {wanted} NAME")
    return name or "" if wanted else ""


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
    """A teacher that learnt an earlier state of the set may have learnt faces that now judge the taught model."""
    path = paths.artefact("train", "metrics", teacher)
    made = paths.read_json(path, made_by=f"stage train@{teacher}").get("provenance", {}).get("data") if path.is_file() else None
    if made != digest(*map(hash_of, _inputs("train", section, runs=[]))):
        what = "it learnt an earlier state of its set or of its own teachers" if made else "it is not trained yet"
        raise InputError(f"run {run!r}: train.teachers: {teacher}: {what}; train it first: dvc repro train@{teacher}")


def _execute(source: Path, section: dict[str, Any], *, stage: str, name: str, work: Path) -> Path:
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
    progress = work / PROGRESS
    progress.unlink(missing_ok=True)
    os.environ.update(_kernel_environment(work, progress))
    os.environ.pop("JUPYTER_PATH", None)  # it can shadow the python3 kernel of this environment
    try:
        with follow(progress, title=f"{stage} {name}".strip()):
            papermill.execute_notebook(
                source, executed, parameters, kernel_name="python3", cwd=ROOT, progress_bar=False, record_timing=False, coalesce_streams=True,
                store_widget_state=False, request_save_on_cell_execute=False, extra_arguments=QUIET,
            )  # fmt: skip
    except PapermillExecutionError as error:
        raise InputError(f"{_cause(error)} (its notebook: {_keep_broken(executed, stage, name)})") from None
    except Exception as error:  # noqa: BLE001 - a kernel that died: papermill and nbclient raise many types here
        kept = _keep_broken(executed, stage, name)
        aside = f" (its notebook: {kept})" if kept else ""
        raise InputError(f"the kernel of {source.name} stopped: {_why(error)}{aside}") from None
    notebook = nbformat.read(executed, as_version=4)
    if any(_left_early(cell) for cell in notebook.cells):
        raise InputError(f"{source.name}: a cell left the notebook early (its notebook: {_keep_broken(executed, stage, name)})")
    nbformat.write(_stable(notebook), executed)
    return executed


def _why(error: Exception) -> str:
    if type(error).__name__ != "DeadKernelError":
        return f"{type(error).__name__}: {error}"
    memory = psutil.virtual_memory()
    free = f"{memory.available / 2**30:.0f} of {memory.total / 2**30:.0f} GiB are free now"
    return f"it was killed, as happens where memory runs out ({free}); `dvc repro` goes on where it stopped, a smaller batch_size or size needs less"


def _left_early(cell: Any) -> bool:
    """papermill takes sys.exit(0) for success and silently skips the cells behind it."""
    if cell.cell_type != "code" or not cell.source.strip():
        return False
    return cell.execution_count is None or any(out.output_type == "error" for out in cell.outputs)


def _kernel_environment(work: Path, progress: Path) -> dict[str, str]:
    return {
        paths.STAGING: str(staging.staging_of(work)),
        paths.PARTIAL: str(work / "kept"),
        paths.PROGRESS: str(progress),
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


def _move_into_place(stage: str, name: str, *, new: Path, executed: Path, provenance: dict[str, str]) -> None:
    outputs = {what: template.format(name=name) for what, template in OUTPUTS[stage].items()}
    moves = {new / place: ROOT / place for place in outputs.values()}
    staging.put_back(list(moves.values()))
    staging.check_outputs(moves, outputs, staging=new)
    metrics = new / outputs["metrics"]
    paths.write_json(metrics, {**paths.read_json(metrics, made_by="its notebook"), "provenance": provenance})
    staging.move_into_place({**moves, executed: paths.executed_notebook(stage, name)})
    (ROOT / "reports" / "_failed" / executed.name).unlink(missing_ok=True)


def _say_excluded(name: str) -> None:
    """Say in the terminal's last line how many pictures a set does not hold, and why; before it, what DVC does not see."""
    metrics = paths.read_json(paths.artefact("prepare", "metrics", name), made_by="its notebook")
    if links := metrics.get("links"):
        told = f"prepare {name}: links to folders were followed ({', '.join(map(repr, links[:3]))})"
        print(f"{told}; DVC sees no change behind them: dvc repro -f prepare@{name}")
    if reasons := metrics.get("excluded"):
        most = sorted(reasons.items(), key=lambda item: -item[1])
        more = f"; {len(most) - 5} more reasons" if len(most) > 5 else ""
        total, counts = sum(reasons.values()), "; ".join(f"{count:,} {reason}" for reason, count in most[:5])
        print(f"prepare {name}: {total:,} {'picture' if total == 1 else 'pictures'} excluded: {counts}{more}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
