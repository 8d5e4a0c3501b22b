"""Two gloo processes against one; kernels that are killed; devices and machines that are not there."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from ferlab.control import read
from ferlab.data.faces import hash_images
from ferlab.data.store import Store, open_store, write_store
from ferlab.params import Train
from ferlab.paths import InputError, artefact
from ferlab.training import distributed
from ferlab.training.distributed import (
    ERROR,
    RENDEZVOUS,
    Place,
    as_one_of_several,
    check_devices,
    cluster,
    command,
    launch,
    own_place,
    trainer_options,
)
from ferlab.training.fit import FitResult, fit
from ferlab.training.progress import epoch_line

Make = Callable[..., Any]
SCHEDULERS = ("SLURM", "PET", "TORCHELASTIC")
SRUN = """#!{python}
import os, subprocess, sys
nodes, tasks = (int(word.split("=")[1]) for word in sys.argv[1:3])
program = [word for word in sys.argv[3:] if word != "--overlap"]
shared = dict(SLURM_JOB_ID="4711", SLURM_JOB_NAME="fit", SLURM_NTASKS=str(nodes * tasks), SLURM_NNODES=str(nodes), SLURM_NTASKS_PER_NODE=str(tasks),
              SLURM_NODELIST="127.0.0.1")
own = [dict(SLURM_PROCID=str(n), SLURM_LOCALID=str(n % tasks), SLURM_NODEID=str(n // tasks)) for n in range(nodes * tasks)]
started = [subprocess.Popen(program, env={{**os.environ, **shared, **each}}) for each in own]
sys.exit(max(each.wait() for each in started))
"""
SCRIPT = """
import sys
from pathlib import Path
from ferlab.data.store import open_store
from ferlab.params import Train
from ferlab.training.fit import fit

folder = Path(sys.argv[1])
settings = Train.model_validate_json(sys.argv[2])
store, partial = open_store(Path(sys.argv[3])), folder / "partial"
result = fit(store, run="toy", model="lenet_caffe", options={"size": 28}, seed=3, settings=settings, partial=partial)
result.save(folder / "weights.safetensors")
result.save_history(folder / "history.csv")
"""


@pytest.fixture(autouse=True)
def no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.split("_")[0] in SCHEDULERS]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set on disk of 150 control faces, 113 of them in train: batches of 32, 32, 32 and 17."""
    images, faces = read(faces=150, subjects=15, seed=4)
    folder = tmp_path_factory.mktemp("store")
    write_store(folder, images, faces.assign(content_hash=hash_images(images)).assign(split=np.where(np.arange(150) % 4 < 3, "train", "val")))
    return folder


def plain(settings: Make, **changes: Any) -> Train:
    """Return settings that leave faces as they are."""
    return settings(**{"epochs": 1, "batch_size": 32, "rotation": 0.0, "shift": 0.0, "flip": False, "accelerator": "cpu", **changes})


def fitted(store: Path | Store, settings: Train, partial: Path) -> FitResult:
    opened = store if isinstance(store, Store) else open_store(store)
    return fit(opened, run="toy", model="lenet_caffe", options={"size": 28}, seed=3, settings=settings, partial=partial)


def weights(result: FitResult) -> dict[str, torch.Tensor]:
    return dict(result.module.state_dict())


def assert_alike(one: FitResult, other: FitResult, *, tolerance: float) -> None:
    for name, value in weights(one).items():
        torch.testing.assert_close(weights(other)[name], value, rtol=0, atol=tolerance)
    columns = ["train_loss", "train_accuracy", "val_loss", "val_accuracy"]
    np.testing.assert_allclose(other.history[columns], one.history[columns], rtol=1e-5)
    assert other.val == pytest.approx(one.val, rel=1e-5)


@pytest.mark.slow
def test_two_processes_agree_with_one_at_the_same_batch_and_their_log_is_shown(
    stored: Path, settings: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen = {"refit": True, "class_weights": True, "label_smoothing": 0.1, "gradient_clip": 1.0, "averaging": "ema"}
    one = fitted(stored, plain(settings, **chosen), tmp_path / "one")
    assert capfd.readouterr().out == ""
    two = fitted(stored, plain(settings, devices=2, **chosen), tmp_path / "two")
    shown = capfd.readouterr().out.splitlines()
    assert shown[0] == "processes: 2, on machines: 1, each on its own cpu, by torchrun"
    assert [line.split(":")[0] for line in shown[1:]] == ["select epoch 1 of 1", "refit epoch 1 of 1"]
    assert shown[1] == epoch_line(two.history.iloc[0].to_dict(), phase="select", epochs=1)
    largest = max((weights(two)[name] - value).abs().max().item() for name, value in weights(one).items())
    print(f"largest difference of a weight after an epoch: {largest:.1e}")
    assert_alike(one, two, tolerance=1e-5)


@pytest.mark.slow
def test_two_processes_agree_with_one_on_repeats_and_sharpness(stored: Path, settings: Make, tmp_path: Path) -> None:
    chosen = {"sam": 0.05, "repeats": 2, "flip": "alternating", "rotation": 5.0, "gradient_clip": 1.0}
    one, two = (fitted(stored, plain(settings, devices=devices, **chosen), tmp_path / str(devices)) for devices in (1, 2))
    assert_alike(one, two, tolerance=1e-5)


@pytest.mark.slow
def test_two_processes_find_their_teachers_and_agree_with_one(stored: Path, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dvc.yaml").touch()  # a workspace's root: processes look for theirs from the folder they start in
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ferlab.paths.ROOT", tmp_path)
    weights_file = artefact("train", "weights", "teacher")
    weights_file.parent.mkdir(parents=True)
    teacher = fitted(stored, plain(settings, select="none"), tmp_path / "teacher")
    teacher.save(weights_file)
    student = {"select": "none", "teachers": ["teacher"], "teacher_weight": 0.7}
    one = fitted(stored, plain(settings, **student), tmp_path / "one")
    two = fitted(stored, plain(settings, devices=2, **student), tmp_path / "two")
    assert two.teachers == one.teachers
    assert_alike(one, two, tolerance=1e-5)
    alone = fitted(stored, plain(settings, select="none"), tmp_path / "alone")
    assert alone.train != one.train


@pytest.mark.slow
def test_tasks_of_srun_are_taken_for_machines_and_agree_too(
    stored: Path, settings: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "srun").write_text(SRUN.format(python=sys.executable))
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_NNODES", "2")
    two = fitted(stored, plain(settings, num_nodes=2), tmp_path / "two")
    assert capfd.readouterr().out.startswith("processes: 2, on machines: 2, each on its own cpu, by srun\nselect epoch 1 of 1: train loss ")
    monkeypatch.undo()
    assert_alike(fitted(stored, plain(settings), tmp_path / "one"), two, tolerance=1e-5)


@pytest.mark.slow
def test_an_error_of_a_process_is_told_in_its_words(stored: Path, settings: Make, tmp_path: Path) -> None:
    store = open_store(stored)
    changed = dataclasses.replace(store, faces=store.faces.assign(split=store.faces["split"].where(store.faces.index > 3, "test")))
    with pytest.raises(InputError, match=r"^run 'toy': the dataset in .* is not the one given to fit"):
        fitted(changed, plain(settings, devices=2), tmp_path)


@pytest.mark.parametrize("left", ["", '["InputEr', None])
def test_an_error_that_a_full_disk_cut_off_is_told_by_the_status(
    left: str | None, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import sys; sys.exit(3)" if left is None else f"import sys; open({ERROR!r}, 'w').write({left!r}); sys.exit(3)"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(distributed, "command", lambda folder, settings: [sys.executable, "-c", program])
    with pytest.raises(RuntimeError, match=r"^the processes of the fit stopped \(status 3\); the last finished epoch is kept"):
        launch(tmp_path, {}, plain(settings, devices=2))


def test_an_error_is_raised_though_the_disk_has_no_room_to_tell_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: Path) -> None:
        raise InputError("models/toy: no space left on device")

    (tmp_path / ERROR).mkdir()  # cannot be written
    monkeypatch.setattr(sys, "argv", ["fit", str(tmp_path)])
    with pytest.raises(InputError, match=r"^models/toy: no space left on device$"):
        as_one_of_several(full)


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_kernel_takes_its_processes_along_and_the_next_goes_on_to_the_same_bytes(stored: Path, settings: Make, tmp_path: Path) -> None:
    asked = plain(settings, epochs=40, devices=2, flip=True, rotation=10.0, threads=1)

    def start(folder: Path) -> subprocess.Popen[str]:
        folder.mkdir(exist_ok=True)
        environment = {"PYTHONPATH": ":".join(sys.path), "PATH": os.environ["PATH"]}
        line = [sys.executable, "-c", SCRIPT, str(folder), asked.model_dump_json(), str(stored)]
        return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, text=True)

    with start(tmp_path / "killed") as kernel:
        assert kernel.stdout is not None
        lines = [kernel.stdout.readline() for _ in range(4)]
        assert lines[3].startswith("select epoch 3 of 40: ")
        assert len(processes_of(tmp_path / "killed")) >= 3
        kernel.send_signal(signal.SIGKILL)
    until = time.monotonic() + 60
    while processes_of(tmp_path / "killed") and time.monotonic() < until:
        time.sleep(0.2)
    assert processes_of(tmp_path / "killed") == []
    assert len((tmp_path / "killed" / "partial" / "log.txt").read_text().splitlines()) < 40
    shown = {}
    for name in ("killed", "whole"):
        with start(tmp_path / name) as kernel:
            shown[name] = kernel.communicate()[0]
        assert kernel.returncode == 0
    assert shown["killed"] == shown["whole"]
    for name in ("weights.safetensors", "history.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def processes_of(folder: Path) -> list[str]:
    """Return the processes, beside kernels, whose command line names the folder."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = line.read_bytes().decode().split("\0")
        except OSError:  # gone
            continue
        if str(folder / "partial") in words:
            found.append(line.parent.name)
    return found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"devices": 999, "batch_size": 1998}, r"^run 'toy': train.devices: 999, but this machine has \d+ CPU cores; expected at most as many$"),
        ({"num_nodes": 2}, r"^run 'toy': train.num_nodes: 2, but no variable of SLURM or torchrun names the other machines"),
        ({"devices": 2, "batch_size": 33}, r"train.batch_size: 33 faces for 2 processes .* expected a multiple of 2, 4 or more"),
        ({"devices": 2, "batch_size": 2}, r"train.batch_size: 2 faces for 2 processes"),
        ({"devices": 2, "sync_batchnorm": True}, r"train.sync_batchnorm: PyTorch has it for cuda alone"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_made(
    changes: dict[str, Any], said: str, settings: Make, toy_store: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(InputError, match=said):
        fit(toy_store(), run="toy", model="five_layer", options={}, seed=0, settings=plain(settings, **changes), partial=tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_cuda_is_refused_where_there_is_none_and_so_are_more_of_them_than_there_are(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"^run 'a': train.accelerator: 'cuda', but PyTorch .* finds no CUDA device here; set it to auto or cpu$"):
        check_devices(plain(settings, accelerator="cuda"), run="a")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    check_devices(plain(settings, accelerator="auto", devices=2, sync_batchnorm=True), run="a")
    with pytest.raises(InputError, match=r"train.devices: 4, but this machine has 3 CUDA devices"):
        check_devices(plain(settings, accelerator="auto", devices=4), run="a")


def test_an_allocation_of_another_size_is_refused(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "3")
    check_devices(plain(settings, num_nodes=3, batch_size=33), run="a")
    with pytest.raises(InputError, match="the SLURM allocation has 3; expected the same number"):
        check_devices(plain(settings, num_nodes=2), run="a")


def test_a_set_that_was_made_in_memory_is_refused(settings: Make, toy_store: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    with pytest.raises(InputError, match="the dataset was made in memory; several processes need one from open_store"):
        fit(toy_store(), run="toy", model="five_layer", options={}, seed=0, settings=plain(settings, devices=2), partial=tmp_path)


def test_each_way_of_starting_has_its_command_and_its_environment(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here, far = plain(settings, devices=2), plain(settings, devices=4, num_nodes=2)
    assert command(Path("f"), here)[1:] == (
        ["-m", "torch.distributed.run", "--standalone", "--local-addr=localhost", "--nproc-per-node=2", "-m", "ferlab.training.fit", "f"]
    )
    assert command(Path("f"), far)[:4] == ["srun", "--nodes=2", "--ntasks-per-node=4", "--overlap"]
    with pytest.raises(InputError, match="started neither by torchrun nor by srun"):
        cluster()
    for name, value in {"PROCID": "5", "LOCALID": "1", "NODEID": "1", "NTASKS": "8", "NTASKS_PER_NODE": "4", "JOB_NAME": "bash"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert isinstance(cluster(), SLURMEnvironment)
    assert own_place() == Place(rank=5, local_rank=1, world=8)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)  # torchrun within a SLURM job
    assert isinstance(cluster(), TorchElasticEnvironment)
    assert own_place() == Place(rank=3, local_rank=3, world=4)
    monkeypatch.setenv(RENDEZVOUS, "first:29500")
    assert command(Path("f"), far)[1:6] == ["-m", "torch.distributed.run", "--nnodes=2", "--rdzv-backend=c10d", "--nproc-per-node=4"]


def test_a_single_process_in_a_job_of_many_tasks_stays_one(settings: Make, toy_store: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PROCID": "0", "LOCALID": "0", "NODEID": "0", "NTASKS": "8", "NTASKS_PER_NODE": "4", "NNODES": "2", "JOB_NAME": "x"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    options = trainer_options(plain(settings), Place())
    assert options["devices"] == 1
    result = fit(toy_store(), run="toy", model="five_layer", options={}, seed=0, settings=plain(settings, batch_size=24), partial=tmp_path)
    assert result.epochs_run == 1


def test_batches_are_made_on_a_process_own_device_and_a_waiting_kernel_leaves_them_free(settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Place().device(settings()) == "cuda"
    assert Place().device(settings(accelerator="cpu")) == "cpu"
    assert Place().device(settings(devices=4)) == "cpu"
    assert Place(rank=6, local_rank=2, world=8).device(settings(devices=4, num_nodes=2)) == "cuda:2"
    assert distributed.device("cpu") == "cpu"


def test_a_line_of_the_log_says_an_epoch_without_times() -> None:
    row = {"epoch": 3.0, "train_loss": 1.23456, "train_accuracy": 0.55, "val_loss": 1.3, "val_accuracy": 0.5125, "lr": 0.1}
    expected = "select epoch 3 of 14: train loss 1.2346, accuracy 55.0 %; val loss 1.3000, accuracy 51.2 %"
    assert epoch_line(row, phase="select", epochs=14) == expected
    unwatched = {key: value for key, value in row.items() if not key.startswith("val")}
    assert epoch_line(unwatched, phase="refit", epochs=14) == "refit epoch 3 of 14: train loss 1.2346, accuracy 55.0 %"


@pytest.mark.parametrize(
    ("asked", "instructions", "expected"),
    [
        ("auto", {"avx2": True, "avx512_f": True, "avx512_bf16": False}, "32-true"),  # emulated there, which takes nine times as long
        ("auto", {"avx512_bf16": True}, "bf16-mixed"),
        ("auto", {"amx_bf16": True}, "bf16-mixed"),
        ("auto", {"bf16": True}, "bf16-mixed"),  # ARM
        ("auto", {}, "32-true"),
        ("bf16-mixed", {}, "bf16-mixed"),  # as asked
        ("32-true", {"amx_bf16": True}, "32-true"),
    ],
)
def test_auto_trains_in_bfloat16_where_the_cpu_computes_in_it(
    asked: str, instructions: dict[str, bool], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert distributed.precision(asked, accelerator="cpu") == expected


@pytest.mark.parametrize(("computes", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_trains_in_bfloat16_where_the_gpu_computes_in_it(computes: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or computes)
    assert distributed.precision() == expected
