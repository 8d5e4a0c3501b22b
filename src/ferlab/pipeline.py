"""Run one stage: check params, execute its notebook through papermill, move the outputs into place.

    python -m ferlab.pipeline train --run five_layer
    python -m ferlab.pipeline prepare --set control
    python -m ferlab.pipeline report
    python -m ferlab.pipeline check         what `make repro` asks first: can params.yaml be run?

Under DVC the set or run comes from the variable DVC_STAGE, so that no name of params.yaml ever stands in a command that a shell reads.

The notebook writes to a staging folder; only when every cell has run and every output is there do the outputs replace the last good
ones. A stage that fails keeps its broken notebook in reports/_failed/ and exits non-zero with the cause in its last line. This module
knows params, paths and results only: it never imports the rooms whose notebooks it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ferlab import paths, privacy, results, staging
from ferlab.costs import COMPUTED, PAGE, keep_cost
from ferlab.execution import PROGRESS, execute
from ferlab.hashes import digest, hash_path, import_closure
from ferlab.params import Params, declared, load_params, stage_params
from ferlab.paths import NOTEBOOKS, OUTPUTS, ROOT, RUN_STAGES, SET_STAGES, InputError
from ferlab.progress import Interruption


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
            built = subprocess.run([sys.executable, "-m", "ferlab.reporting.site.build"], cwd=ROOT, check=False, start_new_session=True)
            if built.returncode == 0:
                keep_cost("report", "", PAGE)
            return built.returncode
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
        section = declared(params, stage, name)
        _check_teachers(params, stage, section)
        before = _provenance(stage, section)
        record = results.record_of(stage, stage_params(stage, name, section)) if results.STAGES[stage].modules else before
        stale = _say_stale(stage, name, record)
        privacy.guard(params)
        work = staging.open_work(partials, stage, name, digest(json.dumps(record, sort_keys=True)))
        resumed = staging.has_kept(work)
        if interruption:
            interruption.lines, interruption.kept = work / PROGRESS, work / "kept"
        executed = execute(_notebook(stage), section, stage=stage, work=work)
        _check_unchanged(stage, name, before)
        before.pop("page")
        _move_into_place(stage, name, new=staging.staging_of(work), executed=executed, provenance=before)
        shutil.rmtree(work)
        computed = stale or not results.STAGES[stage].modules  # without a result of its own a stage computes all that its page shows
        keep_cost(stage, name, COMPUTED if stale else PAGE, whole=computed and not resumed)
        if stage == "prepare":
            privacy.tell_withdrawn(params.prepare[name], paths.artefact("prepare", "metrics", name))
            _say_excluded(name)


def _check(params: Params) -> int:
    """Say what keeps `dvc repro` from running, as far as that can be seen beforehand; DVC itself names no more than a missing path.

    DVC does not look behind links to folders either: a set that was read through some is compared here, and no other.
    """
    for name, prepare in params.prepare.items():
        record = results.record_of("prepare", stage_params("prepare", name, declared(params, "prepare", name)))
        metrics = paths.artefact("prepare", "metrics", name)
        links = paths.read_json(metrics, made_by="stage prepare").get("links") if metrics.is_file() else None
        if links and results.kept_record("prepare", name).get("data") != record["data"]:
            changed = f"{links[0]!r} or another link below {Path(prepare.raw).name} leads to files that changed since set {name!r} was prepared"
            raise InputError(f"{changed}, which DVC does not see: dvc repro -f prepare@{name}")
    return 0


def _notebook(stage: str) -> Path:
    return ROOT / "notebooks" / f"{NOTEBOOKS[stage]}.ipynb"


def _provenance(stage: str, section: dict[str, Any]) -> dict[str, str]:
    """Return the study and hashes of what a stage's numbers come from; and last, as `page`, of all that its page is made of."""
    p = stage_params(stage, section["name"], section)
    source, modules = _notebook(stage), results.loaded_by_name(stage, p)
    return {
        **results.state_of(stage, section),
        "code": results.hash_code(source, modules=modules),
        "environment": hash_path(ROOT / results.LOCK)[:12],
        "page": digest(*map(hash_path, import_closure(source, modules=modules))),
    }


def _say_stale(stage: str, name: str, record: dict[str, str]) -> bool:
    """Say whether the stage's result is computed, and why; return it."""
    if not results.STAGES[stage].modules:
        return False
    stale = results.why_stale(stage, name, record)
    done = f"is computed ({results.in_words(stale)})" if stale else "holds and is taken: only its page is made"
    print(f"{stage} {name}".strip() + f": its result {done}", flush=True)
    return bool(stale)


def _check_unchanged(stage: str, name: str, before: dict[str, str]) -> None:
    """DVC locks what lies there when a stage ends: results of what lay there when it began must not pass for it."""
    try:
        now = _provenance(stage, declared(load_params(), stage, name))
    except InputError as error:
        raise InputError(f"{error}; that changed while the stage ran, so nothing was moved into place; mend it and run dvc repro again") from None
    named = {"study": "the study", "params": "params.yaml", "data": "an input", "environment": results.LOCK, "page": "the code"}
    if changed := [word for key, word in named.items() if before[key] != now[key]]:
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


def _check_teachers(params: Params, stage: str, section: dict[str, Any]) -> None:
    """A stale teacher is refused: one of an earlier state of the set, for one, may have been trained on faces that now judge its student."""
    for teacher in section["run"]["train"]["teachers"] if stage == "train" else ():
        if teacher == paths.SHIPS:
            continue
        _, stale = results.record_under(params, "train", teacher)
        if stale:
            what = f"its training is stale ({results.in_words(stale)}); train it first: dvc repro train@{teacher}"
            raise InputError(f"run {section['name']!r}: train.teachers: {teacher}: {what}")


def _move_into_place(stage: str, name: str, *, new: Path, executed: Path, provenance: dict[str, str]) -> None:
    outputs = {what: template.format(name=name) for what, template in OUTPUTS[stage].items()}
    moves = {new / place: ROOT / place for place in outputs.values()}
    staging.put_back(list(moves.values()))
    staging.check_outputs(moves, outputs, staging=new)
    metrics = new / outputs["metrics"]
    if stage in paths.ROWS:
        paths.read_rows(metrics, made_by="its notebook")
    else:
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
