"""`ferlab repro`: the pipeline's stages side by side, on this machine or as arrays of SLURM."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ferlab.paths import ROOT, InputError

if TYPE_CHECKING:
    from ferlab.params import Params

AT_ONCE = 2  # stages of this machine


def add_parser(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    repro = commands.add_parser("repro", help="as dvc repro, with independent stages side by side, here or on SLURM")
    repro.add_argument("stages", nargs="*", metavar="STAGE", help="as dvc.yaml names them, with all that they need: compare, train@five_layer (all)")
    repro.add_argument("-j", "--jobs", type=int, metavar="N", help=f"stages at once ({AT_ONCE}; on SLURM as many as it starts); 1 is dvc repro")
    repro.add_argument("--slurm", action="store_true", help="stages of one kind that are ready are one array of SLURM")
    told = "an option of submitit for --slurm, e.g. slurm_partition=gpu, gpus_per_node=1, mem_gb=16, timeout_min=600; again for each"
    repro.add_argument("--with", action="append", default=[], dest="options", metavar="KEY=VALUE", help=told)
    repro.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Run the stages that have to run; return the exit status.

    Raises:
        InputError: Bad arguments; a stage that failed; or one that is stale again at the end.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; the stages that ran are stopped.
    """
    from ferlab.params import load_params
    from ferlab.privacy import guard

    if chosen.jobs is not None and chosen.jobs < 1:
        raise InputError(f"-j {chosen.jobs}: expected 1 or more")
    if chosen.options and not chosen.slurm:
        raise InputError("--with: for --slurm alone")
    os.chdir(ROOT)  # where DVC knows stages by their names alone
    params = load_params()
    guard(params)
    if chosen.jobs == 1 and not chosen.slurm:
        return subprocess.run([sys.executable, "-m", "dvc", "repro", "--keep-going", *chosen.stages], cwd=ROOT, check=False).returncode
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    return _side_by_side(params, chosen)


def _side_by_side(params: Params, chosen: argparse.Namespace) -> int:
    from ferlab.repro.display import Display
    from ferlab.repro.local import Processes
    from ferlab.repro.scheduling import run_stages
    from ferlab.repro.slurm import MOST, Jobs
    from ferlab.repro.stage_graph import StageGraph

    graph = StageGraph(ROOT, params, targets=chosen.stages)
    with Display(len(graph.tasks)) as display:
        if chosen.slurm:
            threads = max((each.train.threads for each in params.runs.values()), default=1)
            workers: Any = Jobs(ROOT, _options(chosen.options), display.line, at_once=chosen.jobs or MOST, threads=threads)
        else:
            workers = Processes(ROOT, chosen.jobs or AT_ONCE, display.line)
        failed = run_stages(graph, workers, display)
    if failed:
        causes = "; ".join(f"{name} failed: {cause}" for name, cause in failed.items())
        raise InputError(f"{causes}. What is finished is kept; mend it and start this again.")
    if changed := graph.stale(graph.tasks):
        raise InputError(f"{', '.join(sorted(changed))}: stale again, since params, data or code changed meanwhile; start this again")
    print(f"{display.ran} {'stage' if display.ran == 1 else 'stages'} run, {display.fresh} up to date; dvc.lock holds them all")
    return 0


def _options(given: list[str]) -> dict[str, Any]:
    import yaml

    options = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not (key and equals):
            raise InputError(f"--with {each}: expected KEY=VALUE")
        options[key] = yaml.safe_load(value)
    return options


def _stop(*_: object) -> None:
    raise KeyboardInterrupt
