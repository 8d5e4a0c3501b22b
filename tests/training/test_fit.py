from __future__ import annotations

import json
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import recall_score
from tiny_models import write_iresnet
from torch import nn
from torchmetrics.classification import MulticlassStatScores

from ferlab.data.batches import epoch_order
from ferlab.data.readers.ferplus import BALLOT
from ferlab.data.store import Store
from ferlab.models import create_model, load_model
from ferlab.models.cs230 import five_layer
from ferlab.params import Train
from ferlab.paths import PROGRESS, InputError
from ferlab.training import phases
from ferlab.training.fit import COLUMNS, FitResult, fit
from ferlab.training.module import Classifier, mean_recall

Make = Callable[..., Any]


def run_fit(store: Store, settings: Train, partial: Path, **changes: Any) -> FitResult:
    values = {"run": "toy", "model": "five_layer", "options": {}, "seed": 1}
    return fit(store, settings=settings, partial=partial, **{**values, **changes})


def bytes_of(result: FitResult, folder: Path) -> tuple[bytes, bytes]:
    folder.mkdir(exist_ok=True)
    result.save(folder / "weights.safetensors")
    result.save_history(folder / "history.csv")
    return (folder / "weights.safetensors").read_bytes(), (folder / "history.csv").read_bytes()


def test_a_fit_learns_and_its_numbers_are_those_of_the_saved_net(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    store = toy_store()
    result = run_fit(store, settings(epochs=8, lr=0.01, schedule="constant", rotation=0.0, shift=0.0, monitor="val/loss"), tmp_path / "p")
    assert list(result.history) == COLUMNS
    assert result.epochs_run == len(result.history) == 8
    assert result.history["train_accuracy"].iloc[-1] > 0.9
    assert result.best_epoch == 1 + int(result.history["val_loss"].to_numpy().argmin())
    result.save(tmp_path / "w.safetensors")
    loaded = load_model(tmp_path / "w.safetensors")
    val = (store.faces["split"] == "val").to_numpy()
    with torch.no_grad():
        logits = loaded.module(loaded.normalise(store.images[val]))
    target = torch.from_numpy(store.faces["target"].to_numpy()[val].copy())
    assert (logits.argmax(1) == target).float().mean().item() == pytest.approx(result.val["accuracy"], abs=1e-6)
    assert torch.nn.functional.cross_entropy(logits, target).item() == pytest.approx(result.val["loss"], rel=1e-3)
    assert loaded.mean == pytest.approx((store.images[store.faces["split"] == "train"].mean() / 255,))


def test_a_fit_goes_on_from_the_weights_of_another_run_with_their_statistics(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    store, short = toy_store(), {"epochs": 1, "lr": 1e-9, "schedule": "constant"}
    before = run_fit(store, settings(epochs=2, lr=0.01, schedule="constant"), tmp_path / "a")
    before.save(tmp_path / "weights.safetensors")
    brighter = Store(images=store.images // 2 + 60, faces=store.faces, expressions=store.expressions)
    given = {"pretrained": str(tmp_path / "weights.safetensors"), "pretrained_layout": "ferlab"}
    after = run_fit(brighter, settings(**short, **given), tmp_path / "b", seed=9)
    assert after.first.report
    assert [after.card[key] for key in ("mean", "std")] == [before.card[key] for key in ("mean", "std")]
    assert torch.allclose(after.module.fc1.weight, before.module.fc1.weight, atol=1e-4)
    fresh = run_fit(brighter, settings(**short), tmp_path / "b", seed=9)  # the same folder, asked otherwise
    assert fresh.first.sentence == "The initial weights are random."
    assert not torch.allclose(fresh.module.fc1.weight, before.module.fc1.weight, atol=1e-4)


def test_a_head_is_trained_on_the_network_of_a_file_and_the_run_names_its_data(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    path = write_iresnet(tmp_path / "made_up.onnx", size=48, features=12)
    options = {"file": str(path), "trained_on": "made-up faces", "size": 48}
    given = settings(epochs=8, lr=0.01, schedule="constant", rotation=0.0, shift=0.0, scaling="unit", averaging="ema", precision="bf16-mixed")
    result = run_fit(toy_store(), given, tmp_path / "p", model="onnx_backbone", options=options)
    assert result.history["train_accuracy"].iloc[-1] > 0.6  # chance: a third
    assert (result.first.trained_on, result.first.report.file) == ("made-up faces", path)
    result.save(tmp_path / "weights.safetensors")
    loaded, untrained = load_model(tmp_path / "weights.safetensors"), create_model("onnx_backbone", 3, **options)
    assert (loaded.channels, loaded.mean, loaded.std) == (3, (0.0,) * 3, (1.0,) * 3)
    changed = {name for name, tensor in untrained.state_dict().items() if not torch.equal(tensor, loaded.module.state_dict()[name])}
    assert changed == {"logits.weight", "logits.bias"}


def test_the_test_split_is_never_read(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    store = toy_store()
    other = Store(images=store.images.copy(), faces=store.faces.copy(), expressions=store.expressions)
    other.images[(other.faces["split"] == "test").to_numpy()] = 77
    short = settings(epochs=1, refit=True)
    assert bytes_of(run_fit(store, short, tmp_path / "a"), tmp_path / "o") == bytes_of(run_fit(other, short, tmp_path / "b"), tmp_path / "q")


def test_the_callers_generator_threads_and_algorithms_stay_as_they_were(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    run_fit(toy_store(), settings(epochs=1), tmp_path / "p")
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_seeds_differ_and_folders_do_not(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    one, two, three = (run_fit(toy_store(), settings(epochs=1), tmp_path / name, seed=seed) for name, seed in [("a", 1), ("b", 1), ("c", 2)])
    assert bytes_of(one, tmp_path / "o1") == bytes_of(two, tmp_path / "o2") != bytes_of(three, tmp_path / "o3")


class Stopped(Exception):
    pass


def stop_at(monkeypatch: pytest.MonkeyPatch, *, epoch: int, batch: int, by: type[BaseException] = Stopped) -> None:
    step = Classifier.training_step

    def stopping(self: Classifier, data: Any, batch_idx: int) -> torch.Tensor:
        if (self.current_epoch, batch_idx) == (epoch, batch):
            raise by
        return step(self, data, batch_idx)

    monkeypatch.setattr(Classifier, "training_step", stopping)


def unbroken_and_resumed(store: Store, chosen: Train, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[FitResult, FitResult]:
    """Fit twice: in one go, and stopped in the middle of the third epoch and called again."""
    whole = run_fit(store, chosen, folder / "whole")
    with monkeypatch.context() as patched:
        stop_at(patched, epoch=2, batch=1)
        with pytest.raises(Stopped):
            run_fit(store, chosen, folder / "broken")
    return whole, run_fit(store, chosen, folder / "broken")


@pytest.mark.parametrize("schedule", ["one_cycle", "plateau"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stopped_in_mid_epoch_it_goes_on_as_if_nothing_had_happened(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str, optimizer: str
) -> None:
    # The plateau acts after each epoch: nothing is ever better by 2.
    monkeypatch.setattr("ferlab.training.schedules.FLAT_EPOCHS", 1)
    monkeypatch.setattr("ferlab.training.schedules.BETTER_BY", 2.0)
    chosen = settings(epochs=4, schedule=schedule, optimizer=optimizer, lr=0.002, class_weights=True, gradient_clip=1.0)
    whole, resumed = unbroken_and_resumed(toy_store(), chosen, tmp_path, monkeypatch)
    assert bytes_of(resumed, tmp_path / "o1") == bytes_of(whole, tmp_path / "o2")
    assert schedule != "plateau" or whole.history["lr"].tolist() == pytest.approx([0.002, 0.002, 0.001, 0.0005])


def test_a_resumed_fit_with_repeats_alternating_flip_and_sam_equals_the_unbroken_one(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(epochs=4, repeats=2, flip="alternating", sam=0.05, averaging="ema", gradient_clip=1.0, mixup=0.2)
    whole, resumed = unbroken_and_resumed(toy_store(60), chosen, tmp_path, monkeypatch)
    assert bytes_of(resumed, tmp_path / "o1") == bytes_of(whole, tmp_path / "o2")


WHITENED = {"model": "compact", "options": {"stem": "whitened", "widths": [18, 8, 8], "blocks": [1, 1], "block": "plain"}}


def test_a_whitened_stem_is_of_the_training_faces_alone_and_stays_as_it_is(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    store, short = toy_store(), settings(epochs=1)
    result = run_fit(store, short, tmp_path / "a", **WHITENED)
    train = (store.faces["split"] == "train").to_numpy()
    faces = (torch.from_numpy(store.images[train]).unsqueeze(1) / 255 - result.card["mean"][0]) / result.card["std"][0]
    maps = torch.nn.functional.conv2d(faces, result.module.stem.conv.weight).transpose(0, 1).flatten(1)[:9]
    torch.testing.assert_close(maps @ maps.T / maps.shape[1], torch.eye(9), atol=0.02, rtol=0)
    assert result.module.stem.conv.bias.abs().max() > 0
    assert "72 training faces" in result.first.sentence
    other = Store(images=store.images.copy(), faces=store.faces.copy(), expressions=store.expressions)
    other.images[~train] = 77
    assert torch.equal(run_fit(other, short, tmp_path / "b", **WHITENED).module.stem.conv.weight, result.module.stem.conv.weight)
    result.save(tmp_path / "weights.safetensors")
    assert torch.equal(load_model(tmp_path / "weights.safetensors").module.stem.conv.weight, result.module.stem.conv.weight)
    given = settings(epochs=1, pretrained=str(tmp_path / "weights.safetensors"), pretrained_layout="ferlab")
    brighter = Store(images=store.images // 2 + 60, faces=store.faces, expressions=store.expressions)
    assert torch.equal(run_fit(brighter, given, tmp_path / "c", **WHITENED).module.stem.conv.weight, result.module.stem.conv.weight)


def test_a_whitened_stem_is_resumed_and_refitted_with_the_same_bytes(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_fit(toy_store(60), settings(refit=True), tmp_path / "whole", **WHITENED)
    with monkeypatch.context() as patched:
        stop_at(patched, epoch=2, batch=1)
        with pytest.raises(Stopped):
            run_fit(toy_store(60), settings(refit=True), tmp_path / "broken", **WHITENED)
    resumed = run_fit(toy_store(60), settings(refit=True), tmp_path / "broken", **WHITENED)
    assert bytes_of(resumed, tmp_path / "o1") == bytes_of(whole, tmp_path / "o2")
    assert "48 training faces" in whole.first.sentence  # the refit's, of train and val


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_full_disk_is_one_line_and_the_last_good_epoch_is_gone_on_from(
    device: str, toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file may grow beyond 12 MB from the second epoch on: best.ckpt fits, last.ckpt with the optimizer does not."""
    writer, kept = phases.checkpoint_io, tmp_path / "p" / "select" / "last.ckpt"
    monkeypatch.setattr(phases, "checkpoint_io", lambda _: writer(device))  # as on that device; the model stays on the CPU
    begin, (soft, hard) = Classifier.on_train_epoch_start, resource.getrlimit(resource.RLIMIT_FSIZE)

    def filling(self: Classifier) -> None:
        begin(self)
        if self.current_epoch == 1:
            while not kept.is_file():  # a thread may still be at it
                time.sleep(0.01)
            resource.setrlimit(resource.RLIMIT_FSIZE, (12_000_000, hard))

    unbroken = bytes_of(run_fit(toy_store(), settings(), tmp_path / "unbroken"), tmp_path / "u")
    with monkeypatch.context() as patch:
        patch.setattr(Classifier, "on_train_epoch_start", filling)
        try:
            with pytest.raises(InputError, match=r"last.ckpt: not saved: File too large \(19.5 MB\); the file from before is kept"):
                run_fit(toy_store(), settings(), tmp_path / "p")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert bytes_of(run_fit(toy_store(), settings(), tmp_path / "p"), tmp_path / "r") == unbroken


@pytest.mark.parametrize(("name", "damage"), [("last.ckpt", "empty"), ("last.ckpt", "zeros"), ("best.ckpt", "cut"), ("best.ckpt", "gone")])
def test_a_damaged_checkpoint_is_named_and_dropped(
    name: str, damage: str, toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PROGRESS, str(tmp_path / "progress.jsonl"))
    chosen = settings(epochs=2)
    unbroken = bytes_of(run_fit(toy_store(), chosen, tmp_path / "p"), tmp_path / "u")
    path = tmp_path / "p" / "select" / name
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes({"empty": b"", "cut": content[:half], "zeros": content[:half] + bytes(4096) + content[half + 4096 :]}.get(damage, b""))
    if damage == "gone":
        path.unlink()
    assert bytes_of(run_fit(toy_store(), chosen, tmp_path / "p"), tmp_path / "r") == unbroken
    told = f"select/{name}{' (missing)' if damage == 'gone' else ''} cannot be read, as after a power cut: removed, this phase starts again"
    assert told in (tmp_path / "progress.jsonl").read_text()


def test_an_interrupt_in_a_notebook_leaves_the_kernel_able_to_hear_the_next(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = signal.getsignal(signal.SIGINT)
    stop_at(monkeypatch, epoch=1, batch=1, by=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        run_fit(toy_store(), settings(), tmp_path / "p")
    assert signal.getsignal(signal.SIGINT) is handler


def test_partial_work_of_other_settings_is_not_continued(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_fit(toy_store(), settings(epochs=2), tmp_path / "p")
    again = run_fit(toy_store(), settings(epochs=2, lr=0.03), tmp_path / "p")
    fresh = run_fit(toy_store(), settings(epochs=2, lr=0.03), tmp_path / "q")
    assert bytes_of(again, tmp_path / "o1") == bytes_of(fresh, tmp_path / "o2")


def test_the_processor_decides_the_precision_and_work_begun_in_another_is_not_continued(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {}
    for name, instructions in (("none", {}), ("bf16", {"avx512_bf16": True}), ("again", {})):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=instructions: known)
        made[name] = run_fit(toy_store(), settings(epochs=1, precision="auto"), tmp_path / "p")
    assert [of.precision for of in made.values()] == ["32-true", "bf16-mixed", "32-true"]
    given = [bytes_of(of, tmp_path / name) for name, of in made.items()]
    assert given[0] == given[2] != given[1]
    asked = [run_fit(toy_store(), settings(epochs=1, precision=name), tmp_path / name) for name in ("32-true", "bf16-mixed")]
    assert [bytes_of(of, tmp_path / f"asked {of.precision}") for of in asked] == given[:2]


def test_a_finished_fit_is_not_run_again(toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(epochs=6, patience=1, lr=1e-9, schedule="constant", refit=True)
    first = run_fit(toy_store(), chosen, tmp_path / "p")
    assert first.epochs_run < 6
    stop_at(monkeypatch, epoch=0, batch=0)
    monkeypatch.setattr(phases.pl.Trainer, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert bytes_of(run_fit(toy_store(), chosen, tmp_path / "p"), tmp_path / "o1") == bytes_of(first, tmp_path / "o2")


def test_patience_stops_after_so_many_epochs_without_a_better_one(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    result = run_fit(toy_store(), settings(epochs=12, patience=2, lr=1e-9, schedule="constant"), tmp_path / "p")
    assert result.epochs_run == result.best_epoch + 2 < 12


def test_refit_starts_afresh_on_train_and_val_and_stops_at_the_chosen_epoch(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    store = toy_store()
    result = run_fit(store, settings(epochs=3, refit=True), tmp_path / "p")
    again = result.history[result.history["phase"] == "refit"]
    assert len(again) == result.best_epoch
    assert again["val_accuracy"].isna().all()
    assert result.card["trained_on"] == ("train", "val")
    assert result.trained_faces == 96
    fitted = store.faces["split"].isin(["train", "val"])
    assert result.card["mean"] == pytest.approx((store.images[fitted].mean() / 255,))
    select = result.history[result.history["phase"] == "select"]
    assert result.val["accuracy"] == pytest.approx(select["val_accuracy"].iloc[result.best_epoch - 1])


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_epoch(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Classifier.training_step

    def broken(self: Classifier, data: Any, batch_idx: int) -> torch.Tensor:
        loss = step(self, data, batch_idx)
        if self.current_epoch == 1:
            self.train_sums += torch.nan
            return loss * torch.nan
        return loss

    monkeypatch.setattr(Classifier, "training_step", broken)
    with pytest.raises(InputError, match=r"run 'toy': the loss is not finite in epoch 2 of 3; lower train.lr \(0.02\)"):
        run_fit(toy_store(), settings(), tmp_path / "p")
    kept = torch.load(tmp_path / "p" / "select" / "last.ckpt", weights_only=True)
    assert len(kept["history"]) == 1
    assert all(torch.isfinite(value).all() for value in kept["state_dict"].values() if value.is_floating_point())


def test_progress_within_and_after_epochs_goes_to_the_file_and_nothing_to_the_screen(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FERLAB_PROGRESS", str(tmp_path / "lines"))
    monkeypatch.setattr("ferlab.training.progress.EVERY", 0.0)
    monkeypatch.chdir(tmp_path)
    result = run_fit(toy_store(), settings(epochs=2, refit=True), tmp_path / "p")
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    done = [line["done"] for line in lines]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (1, lines[-1]["total"])
    assert lines[1]["note"] == "select epoch 1 of 2"
    assert f"refit epoch {result.best_epoch} of {result.best_epoch}" in lines[-1]["note"]
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.glob("**/lightning_logs"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines", "p"]


def test_a_set_that_lacks_an_expression_can_be_fitted_with_and_without_class_weights(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    store = toy_store()
    keep = (store.faces["target"] != 1).to_numpy()
    lacking = Store(images=store.images[keep], faces=store.faces[keep].reset_index(drop=True), expressions=store.expressions)
    for weighted in (False, True):
        result = run_fit(lacking, settings(epochs=1, class_weights=weighted), tmp_path / str(weighted))
        assert np.isfinite(result.val["balanced_accuracy"])
        assert result.history["train_loss"].notna().all()


def test_balanced_accuracy_of_val_is_scikit_learns_whatever_is_predicted() -> None:
    counts = MulticlassStatScores(4, average=None)
    target, pred = torch.tensor([0, 0, 2, 2, 2, 3]), torch.tensor([0, 1, 2, 2, 1, 3])  # no face shows class 1, which is predicted twice
    counts.update(pred[:2], target[:2])
    counts.update(pred[2:], target[2:])
    expected = recall_score(target, pred, labels=[0, 2, 3], average="macro")
    assert mean_recall(counts.compute()).item() == pytest.approx(expected)


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_the_averaged_net_is_what_val_judges_and_what_is_kept(toy_store: Make, settings: Make, tmp_path: Path, averaging: str) -> None:
    store = toy_store()
    chosen = settings(epochs=4, averaging=averaging, ema_decay=0.8, swa_start=0.5, monitor="val/loss", rotation=0.0, shift=0.0)
    result = run_fit(store, chosen, tmp_path / "p")
    result.save(tmp_path / "w.safetensors")
    loaded = load_model(tmp_path / "w.safetensors")
    val = (store.faces["split"] == "val").to_numpy()
    with torch.no_grad():
        logits = loaded.module(loaded.normalise(store.images[val]))
    target = torch.from_numpy(store.faces["target"].to_numpy()[val].copy())
    assert torch.nn.functional.cross_entropy(logits, target).item() == pytest.approx(result.val["loss"], rel=1e-3)
    best = torch.load(tmp_path / "p" / "select" / "best.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(best["averaged.module.fc1.weight"], loaded.module.fc1.weight)
    assert averaging == "swa" or not torch.equal(best["net.fc1.weight"], loaded.module.fc1.weight)


def test_swa_is_the_mean_of_the_last_epochs_weights(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    # A constant rate, so that a shorter plan walks the same way: its last weights are those of the longer plan after as many epochs.
    ends = []
    for epochs in (1, 2, 3):
        run_fit(toy_store(), settings(epochs=epochs, schedule="constant"), tmp_path / f"{epochs}")
        state = torch.load(tmp_path / f"{epochs}" / "select" / "last.ckpt", weights_only=True)["state_dict"]
        ends.append(state["net.fc1.weight"])
    run_fit(toy_store(), settings(epochs=3, schedule="constant", averaging="swa", swa_start=1 / 3), tmp_path / "swa")
    state = torch.load(tmp_path / "swa" / "select" / "last.ckpt", weights_only=True)["state_dict"]
    assert torch.allclose(state["averaged.module.fc1.weight"], (ends[1] + ends[2]) / 2, atol=1e-7)


def test_swa_estimates_the_running_statistics_of_the_mean_weights(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    """By hand: without augmentation and dropout the first normalisation's are the mean and variance, meant over batches, of what comes into it."""
    store = toy_store()
    plain = {"flip": False, "rotation": 0.0, "shift": 0.0, "channels_last": False}
    result = run_fit(store, settings(epochs=4, averaging="swa", swa_start=0.5, select="none", schedule="constant", **plain), tmp_path / "p")
    state = torch.load(tmp_path / "p" / "whole" / "last.ckpt", weights_only=True)["state_dict"]
    rows = np.flatnonzero(store.faces["split"].isin(["train", "val"]))
    order = epoch_order(len(rows), seed=1, epoch=3)
    faces = (torch.from_numpy(store.images[rows[order]]).unsqueeze(1) / 255 - result.card["mean"][0]) / result.card["std"][0]
    with torch.no_grad():
        into = [result.module.relu1(result.module.conv1(part)) for part in faces.split(24)]
    norm = result.module.bn1
    torch.testing.assert_close(norm.running_mean, torch.stack([part.mean(dim=(0, 2, 3)) for part in into]).mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, torch.stack([part.transpose(0, 1).flatten(1).var(1) for part in into]).mean(0), rtol=1e-4, atol=1e-5)
    assert norm.momentum is not None
    assert not torch.allclose(norm.running_mean, state["net.bn1.running_mean"], rtol=1e-3)


def test_swa_goes_on_after_a_stop_as_if_nothing_had_happened(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, resumed = unbroken_and_resumed(toy_store(), settings(epochs=4, averaging="swa", swa_start=0.25), tmp_path, monkeypatch)
    assert bytes_of(resumed, tmp_path / "o1") == bytes_of(whole, tmp_path / "o2")


@pytest.mark.parametrize(("scaling", "least", "most"), [("unit", 0.0, 1.0), ("mean_image", -1.0, 1.0)])
def test_another_scaling_is_what_val_and_the_weights_file_have(
    toy_store: Make, settings: Make, tmp_path: Path, scaling: str, least: float, most: float
) -> None:
    store = toy_store()
    result = run_fit(store, settings(epochs=2, scaling=scaling), tmp_path / "p")
    result.save(tmp_path / "w.safetensors")
    loaded, val = load_model(tmp_path / "w.safetensors"), (store.faces["split"] == "val").to_numpy()
    inputs = loaded.normalise(store.images[val])
    assert least <= inputs.min() < inputs.max() <= most
    if scaling == "mean_image":
        train = (store.faces["split"] == "train").to_numpy()
        torch.testing.assert_close(loaded.mean[0], torch.from_numpy(store.images[train].mean(axis=0) / 255).float())
    with torch.no_grad():
        logits = loaded.module(inputs)
    target = torch.from_numpy(store.faces["target"].to_numpy()[val].copy())
    last = result.val["loss"]
    assert torch.nn.functional.cross_entropy(logits, target).item() == pytest.approx(last, rel=1e-3)


def test_mixing_averaging_and_soft_targets_go_on_after_a_stop_as_if_nothing_had_happened(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(epochs=4, mixup=0.3, cutmix=1.0, mixing_ends=0.75, averaging="ema", ema_decay=0.9, erasing=0.5, contrast=0.2, decay="weights")
    whole, resumed = unbroken_and_resumed(toy_store(), chosen, tmp_path, monkeypatch)
    assert bytes_of(resumed, tmp_path / "o1") == bytes_of(whole, tmp_path / "o2")


def test_a_mixed_face_is_right_when_called_what_the_larger_part_of_it_is(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    """Beta of .05 leaves hardly a face mixed: half of them are their partners. A model that knows all of them must not look like a coin's toss."""
    plain = {"epochs": 8, "lr": 0.01, "schedule": "constant", "rotation": 0.0, "shift": 0.0}
    assert run_fit(toy_store(), settings(**plain, mixup=0.05), tmp_path / "p").history["train_accuracy"].iloc[-1] > 0.8


def test_without_selection_train_and_val_are_fitted_to_the_last_epoch(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERLAB_PROGRESS", str(tmp_path / "lines"))
    result = run_fit(toy_store(), settings(epochs=2, select="none"), tmp_path / "p")
    assert (result.card["trained_on"], result.trained_faces, result.best_epoch, result.val) == (("train", "val"), 96, 2, {})
    assert result.history["phase"].tolist() == ["whole", "whole"]
    assert json.loads((tmp_path / "lines").read_text().splitlines()[-1])["note"] == "whole epoch 2 of 2"
    assert result.history["val_loss"].isna().all()


def test_selection_on_test_watches_test_and_fits_train_alone(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    store = toy_store()
    other = Store(images=store.images.copy(), faces=store.faces.copy(), expressions=store.expressions)
    other.images[(other.faces["split"] == "test").to_numpy()] = 77
    one, two = (run_fit(s, settings(epochs=2, select="test"), tmp_path / n) for s, n in ((store, "a"), (other, "b")))
    assert one.card["trained_on"] == two.card["trained_on"] == ("train",)
    assert one.train == two.train
    assert one.test["loss"] != two.test["loss"]
    assert (one.card["selected_on"], one.val) == (("test",), {})
    assert {"test_loss", "test_accuracy"} <= set(one.history)
    assert one.history[["val_loss", "val_accuracy"]].isna().all(axis=None)


def test_votes_move_the_weights_and_need_a_set_that_has_them(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    store = toy_store()
    with pytest.raises(InputError, match="votes"):
        run_fit(store, settings(epochs=1, ferplus_weight=0.5), tmp_path / "p")
    for name in BALLOT:
        store.faces[f"votes_{name}"] = 0
    store.faces["votes_angry"] = 10
    voted, plain = (run_fit(store, settings(epochs=1, ferplus_weight=weight), tmp_path / f"{weight}") for weight in (0.9, 0.0))
    assert voted.module.logits.bias[0] > plain.module.logits.bias[0]


def test_weights_alone_decay_where_asked(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    heavy = {"epochs": 2, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 200.0, "schedule": "constant"}
    spared, shrunk = (run_fit(toy_store(), settings(decay=decay, **heavy), tmp_path / decay).module for decay in ("weights", "all"))
    assert spared.bn1.weight.mean() > 0.9 > shrunk.bn1.weight.mean()
    assert spared.fc1.weight.abs().mean() < 0.6 * five_layer().fc1.weight.abs().mean()


def test_biases_learn_at_a_rate_of_their_own_and_rates_fall_as_keras_has_it(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    """Steps of plain gradient descent: a bias of twice the rate goes twice as far in the first, and the second is shorter by 1 + decay."""
    plain = {"epochs": 1, "batch_size": 1000, "momentum": 0.0, "nesterov": False, "schedule": "constant", "lr": 0.01, "weight_decay": 0.0}
    one, two = (run_fit(toy_store(), settings(bias_lr_mult=rate, **plain), tmp_path / f"{rate}").module for rate in (1.0, 2.0))
    zero = {key: value.clone() for key, value in run_fit(toy_store(), settings(**{**plain, "lr": 1e-12}), tmp_path / "0").module.state_dict().items()}
    torch.testing.assert_close(two.logits.bias - zero["logits.bias"], 2 * (one.logits.bias - zero["logits.bias"]))
    torch.testing.assert_close(two.logits.weight, one.logits.weight)
    result = run_fit(toy_store(), settings(**{**plain, "epochs": 3}, lr_decay=0.5), tmp_path / "d")
    assert result.history["lr"].tolist() == pytest.approx([0.01, 0.01 / 1.5, 0.01 / 2])


@pytest.mark.parametrize("loss", ["l2_svm", "multi_label", "logit_adjusted", "balanced_focal"])
def test_other_losses_learn_the_expressions_too(toy_store: Make, settings: Make, tmp_path: Path, loss: str) -> None:
    chosen = settings(epochs=8, optimizer="adamw", lr=0.001, schedule="constant", rotation=0.0, shift=0.0, loss=loss)
    assert run_fit(toy_store(), chosen, tmp_path / "p").history["train_accuracy"].iloc[-1] > 0.9


class Prior(nn.Module):
    """It ignores the face, so all it can fit is how frequent the expressions are."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(3))

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(faces), -1)


@pytest.mark.parametrize(("loss", "least"), [("logit_adjusted", 0.3), ("balanced_focal", 0.15)])
def test_losses_for_imbalanced_classes_predict_the_rare_one_more_than_its_share(
    toy_store: Make, settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str, least: float
) -> None:
    store = toy_store(300)
    store.faces["target"] = np.where(np.arange(300) % 15 == 0, 2, np.arange(300) % 2)
    monkeypatch.setattr("ferlab.training.phases.create_model", lambda *_, **__: Prior())
    predicted = {}
    for name in ("cross_entropy", loss):
        chosen = settings(epochs=20, optimizer="adamw", lr=0.05, schedule="constant", loss=name, balance_beta=0.99, select="none")
        module = run_fit(store, chosen, tmp_path / name).module
        predicted[name] = module(torch.zeros(1, 1, 48, 48)).softmax(1)[0, 2].item()
    assert predicted["cross_entropy"] == pytest.approx(1 / 15, abs=0.02)
    assert predicted[loss] > least


def test_an_expert_is_trained_and_selected_on_its_expressions_alone(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    result = run_fit(toy_store(120), settings(epochs=6, lr=0.01, schedule="constant", expressions=["sad", "happy"]), tmp_path / "p")
    assert result.trained_faces == 48, "of 72 training faces a third is angry"
    assert result.val["accuracy"] > 0.9
    with pytest.raises(InputError, match=r"run 'toy': train\.expressions: the dataset has no 'hapy'; expected some of angry, happy, sad"):
        run_fit(toy_store(), settings(expressions=["hapy"]), tmp_path / "q")
    store = toy_store()
    store.faces.loc[store.faces["split"] == "val", "target"] = 0
    with pytest.raises(InputError, match="no face of sad in split 'val'"):
        run_fit(store, settings(expressions=["sad"]), tmp_path / "r")


def test_a_net_says_values_beside_the_expression(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    store = toy_store()
    with pytest.raises(InputError, match="no 'intensity'"):
        run_fit(store, settings(regress=["intensity"]), tmp_path / "q")
    store.faces["intensity"] = np.where(np.arange(120) % 5 == 0, np.nan, 2.0 * store.faces["target"])  # the bar's place, where it is known
    chosen = settings(epochs=12, lr=0.01, schedule="constant", rotation=0.0, shift=0.0, regress=["intensity"], mixup=0.2)
    result = run_fit(store, chosen, tmp_path / "p")
    assert result.module.logits.out_features == 4
    assert result.val["intensity_ccc"] > 0.5
    assert result.val["accuracy"] > 0.6
