"""Training by several processes: their devices, their start, and their log in the notebook.

`train.devices` and `train.num_nodes` ask for devices x num_nodes processes, one per device. `ferlab.training.fit.fit` starts them as a child,
waits, and reads their checkpoints in the partial folder:

    one machine                                torchrun, with its own free port
    several, in a SLURM allocation of as many  srun, each task through Lightning's SLURMEnvironment
    several, PET_RDZV_ENDPOINT=host:port set   torchrun here; the same command, from the progress line, is started on each other machine

In an allocation (sbatch, salloc) the stage is started once, on its first machine: `dvc repro train@NAME`. All machines must see the store and the
partial folder under one path.

The processes read their task as JSON and open the store themselves. Rank 0 writes checkpoints, progress and a log without times, which the notebook
shows; a resumed fit prints the same lines.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import ClusterEnvironment, LightningEnvironment, SLURMEnvironment, TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy

from ferlab.params import Train
from ferlab.paths import InputError, report_progress

TASK, LOG, OUTPUT, ERROR = "task.json", "log.txt", "processes.txt", "error.json"
WITH_PARENT = "--with-parent"  # on a command line: leave when standard input closes, so that nothing outlives a killed kernel
RENDEZVOUS = "PET_RDZV_ENDPOINT"  # torchrun's own variable for --rdzv-endpoint
BF16 = ("avx512_bf16", "amx_bf16", "bf16")  # instructions of x86, and of ARM
EVERY = 0.2  # seconds between reads of the log


@dataclass(frozen=True)
class Place:
    """Which process of a fit this is: by default the only one."""

    rank: int = 0
    local_rank: int = 0
    world: int = 1

    def device(self, settings: Train) -> str:
        """Return the device of this process's batches; a kernel that waits for others uses none of theirs."""
        kind = device(settings.accelerator)
        if kind == "cpu" or self.world != processes(settings):
            return "cpu"
        return kind if self.world == 1 else f"{kind}:{self.local_rank}"


def device(accelerator: str = "auto") -> str:
    """Return "cuda" or "cpu", with "auto" cuda where PyTorch has one."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if accelerator == "auto" else accelerator


def precision(asked: str = "auto", *, accelerator: str = "auto") -> str:
    """Return the arithmetic of a training: with "auto" bf16-mixed where the processor has instructions for it, else 32-true.

    Without them bfloat16 is emulated: a step of the five-layer network then takes nine times as long as in float32 (EPYC of 2021, AVX2).
    """
    if asked != "auto":
        return asked
    if device(accelerator) == "cuda":
        computes = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        computes = any(torch.cpu.get_capabilities().get(name) for name in BF16)
    return "bf16-mixed" if computes else "32-true"


def processes(settings: Train) -> int:
    """Return the number of processes."""
    return settings.devices * settings.num_nodes


def check_devices(settings: Train, *, run: str) -> None:
    """Check devices and machines before anything is trained.

    Raises:
        InputError: cuda where PyTorch has none, more devices than present, several machines without a way to start them, a batch that cannot be
            divided evenly, sync_batchnorm without cuda.
    """
    kind, world = device(settings.accelerator), processes(settings)
    where = f"run {run!r}: train."
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{where}accelerator: 'cuda', but PyTorch {torch.__version__} finds no CUDA device here; set it to auto or cpu")
    there = torch.cuda.device_count() if kind == "cuda" else os.cpu_count() or 1
    if settings.devices > there:
        what = "CUDA devices" if kind == "cuda" else "CPU cores"
        raise InputError(f"{where}devices: {settings.devices}, but this machine has {there} {what}; expected at most as many")
    if settings.num_nodes > 1:
        _check_machines(settings.num_nodes, where)
    if settings.batch_size % world or settings.batch_size < 2 * world:
        hint = f"expected a multiple of {world}, {2 * world} or more, so that all have equally many"
        raise InputError(f"{where}batch_size: {settings.batch_size} faces for {world} processes (devices x num_nodes); {hint}")
    if settings.sync_batchnorm and world > 1 and kind == "cpu":
        raise InputError(f"{where}sync_batchnorm: PyTorch has it for cuda alone, and this run is on the cpu; set it to false")


def command(folder: Path, settings: Train) -> list[str]:
    """Return the command line that starts the processes of this machine, or in a SLURM allocation those of all."""
    program = ["-m", "ferlab.training.fit", str(folder)]
    if settings.num_nodes > 1 and RENDEZVOUS not in os.environ:
        return ["srun", f"--nodes={settings.num_nodes}", f"--ntasks-per-node={settings.devices}", "--overlap", sys.executable, *program]
    meeting = ["--standalone", "--local-addr=localhost"] if settings.num_nodes == 1 else [f"--nnodes={settings.num_nodes}", "--rdzv-backend=c10d"]
    return [sys.executable, "-m", "torch.distributed.run", *meeting, f"--nproc-per-node={settings.devices}", *program]


def launch(folder: Path, task: dict[str, Any], settings: Train) -> None:
    """Start the processes of a fit, print the log of rank 0 as it grows, and wait for their end.

    Args:
        folder: The partial folder; standard output and error go to `processes.txt` there.
        task: The arguments of the fit as JSON values.
        settings: Devices and machines.

    Raises:
        InputError: As raised by a process.
        RuntimeError: If they stop otherwise.
    """
    for stale in (LOG, ERROR):
        (folder / stale).unlink(missing_ok=True)
    (folder / TASK).write_text(json.dumps(task, sort_keys=True))
    line = command(folder, settings)
    if settings.num_nodes > 1 and line[0] != "srun":
        report_progress(done=0, total=1, note=f"waiting for the other machines; start there: {RENDEZVOUS}={os.environ[RENDEZVOUS]} {' '.join(line)}")
    how = "srun" if line[0] == "srun" else "torchrun"
    print(f"processes: {processes(settings)}, on machines: {settings.num_nodes}, each on its own {device(settings.accelerator)}, by {how}")
    own = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [own, os.environ.get("PYTHONPATH")]))}
    with open(folder / OUTPUT, "w") as output:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": output, "stderr": subprocess.STDOUT}
        child = subprocess.Popen([*line, WITH_PARENT], env=environment, start_new_session=True, **pipes)
        with child:  # leaving it closes their standard input
            try:
                _show(folder / LOG, child)
            except BaseException:
                child.terminate()
                raise
    if child.returncode:
        raise _failure(folder, child.returncode)


def own_place() -> Place:
    """Return the place of this process, from the variables of torchrun or srun."""
    environment = cluster()
    return Place(rank=environment.global_rank(), local_rank=environment.local_rank(), world=environment.world_size())


def cluster() -> ClusterEnvironment:
    """Return Lightning's environment for the variables of torchrun or srun.

    Raises:
        InputError: If there are none.
    """
    if TorchElasticEnvironment.detect():  # first: torchrun may run inside a SLURM job
        return TorchElasticEnvironment()
    if "SLURM_PROCID" in os.environ:
        return SLURMEnvironment(auto_requeue=False)
    raise InputError("this process was started neither by torchrun nor by srun; `fit` starts it where train.devices or train.num_nodes is above 1")


def trainer_options(settings: Train, place: Place) -> dict[str, Any]:
    """Return the Trainer's options for devices and machines; a single process ignores the variables of torchrun and SLURM."""
    options = {"accelerator": "gpu" if device(settings.accelerator) == "cuda" else "cpu"}
    if place.world == 1:
        return {**options, "devices": 1, "plugins": [LightningEnvironment()]}
    # Batch normalisation: each process keeps the statistics of its part; MeanStatistics averages them once an epoch.
    machines = {"devices": settings.devices, "num_nodes": settings.num_nodes, "plugins": [cluster()], "sync_batchnorm": settings.sync_batchnorm}
    return {**options, **machines, "strategy": DDPStrategy(broadcast_buffers=False), "use_distributed_sampler": False}


class MeanStatistics(pl.Callback):
    """Averages running statistics over the processes at the end of an epoch, before validation and checkpoint."""

    def __init__(self, *, validating: bool) -> None:
        """Hold whether epochs end with a validation."""
        self.validating = validating

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Average before validation."""
        _average_buffers(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Average before the checkpoint, without validation."""
        if not self.validating:
            _average_buffers(trainer, pl_module)


def as_one_of_several(work: Callable[[Path], None]) -> None:
    """Run a process of a fit from its command line: the folder of its task, and whether to exit with the parent."""
    folder = Path(sys.argv[1])
    if WITH_PARENT in sys.argv:
        threading.Thread(target=_leave_with_parent, daemon=True).start()
    try:
        work(folder)
    except Exception as error:
        kind = "InputError" if isinstance(error, InputError) else type(error).__name__
        if kind == "InputError" or not (folder / ERROR).exists():  # the cause, not what follows from it in the other processes
            with suppress(OSError):  # a full disk is often what the error is about
                (folder / ERROR).write_text(json.dumps([kind, str(error)]))
        raise
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _average_buffers(trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
    for name, buffer in pl_module.named_buffers():
        if buffer.is_floating_point() and name not in ("class_weights", "log_priors"):
            buffer.copy_(trainer.strategy.reduce(buffer, reduce_op="mean"))


def _check_machines(machines: int, where: str) -> None:
    if RENDEZVOUS in os.environ:
        return
    given = os.environ.get("SLURM_NNODES", os.environ.get("SLURM_JOB_NUM_NODES"))
    if given is None:
        hint = f"start it in a SLURM allocation of {machines} machines, or set {RENDEZVOUS}=host:port (see ferlab.training.distributed)"
        raise InputError(f"{where}num_nodes: {machines}, but no variable of SLURM or torchrun names the other machines; {hint}")
    if int(given) != machines:
        raise InputError(f"{where}num_nodes: {machines}, but the SLURM allocation has {given}; expected the same number")


def _show(log: Path, child: subprocess.Popen[bytes]) -> None:
    """Print complete lines of the log as they appear, until the child ends."""
    shown, running = 0, True
    while running:
        running = child.poll() is None
        text = log.read_text() if log.is_file() else ""
        whole = text[shown : text.rfind("\n") + 1]
        print(whole, end="", flush=True)
        shown += len(whole)
        time.sleep(EVERY if running else 0)


def _failure(folder: Path, status: int) -> Exception:
    kind, text = "", f"status {status}"
    with suppress(OSError, json.JSONDecodeError):  # none was written, or not to its end
        kind, text = json.loads((folder / ERROR).read_text())
    if kind == "InputError":
        return InputError(text)
    cause = " ".join(f"{kind}: {text}".split()).removeprefix(": ")
    return RuntimeError(f"the processes of the fit stopped ({cause}); the last finished epoch is kept; their output: {folder / OUTPUT}")


def _leave_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)
