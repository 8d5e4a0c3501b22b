from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from ferlab.data.store import Store
from ferlab.deployment.predictor import SHIPPED, Predictor, shipped_card
from ferlab.models import MODELS
from ferlab.models.inputs import prepare_images, standardise
from ferlab.paths import InputError, artefact
from ferlab.roles import planned
from ferlab.training import distillation
from ferlab.training.distillation import load_teachers
from ferlab.training.fit import FitResult, fit
from ferlab.training.module import Classifier

Make = Callable[..., Any]
STEADY = {"lr": 0.01, "schedule": "constant", "rotation": 0.0, "shift": 0.0}
QUICK = {**STEADY, "optimizer": "adamw", "lr": 0.001, "batch_size": 12, "epochs": 5}  # learns the toy set whatever the seed and the processor
WANTED = {"run": "small", "expressions": ("angry", "happy", "sad"), "seen": planned("none", refit=False), "faces": pd.DataFrame(), "device": "cpu"}


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A workspace's root of its own; return it."""
    monkeypatch.setattr("ferlab.paths.ROOT", tmp_path)
    return tmp_path


def run_fit(store: Store, settings: Any, folder: Path, *, run: str) -> FitResult:
    return fit(store, run=run, model="five_layer", options={}, seed=1, settings=settings, partial=folder / "partial" / run)


def teach(store: Store, settings: Any, folder: Path, *, name: str = "teacher") -> FitResult:
    result, path = run_fit(store, settings, folder, run=name), artefact("train", "weights", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    result.save(path)
    return result


def relabelled(store: Store) -> Store:
    """Return the set with each face called what the next class is."""
    return Store(images=store.images, faces=store.faces.assign(target=(store.faces["target"] + 1) % 3), expressions=store.expressions)


def test_a_net_learns_what_its_teacher_says_and_not_what_the_labels_say(toy_store: Make, settings: Make, finished: Path) -> None:
    store = toy_store()
    teach(store, settings(select="none", **QUICK), finished)
    student = {**QUICK, "select": "none", "teachers": ["teacher"]}
    wrong = relabelled(store)
    result = run_fit(wrong, settings(**student, teacher_weight=1.0), finished, run="small")
    rows = (store.faces["split"] == "test").to_numpy()
    faces = torch.from_numpy(store.images[rows]).unsqueeze(1) / 255
    with torch.no_grad():
        said = result.module((faces - result.card["mean"][0]) / result.card["std"][0]).argmax(1).numpy()
    assert (said == store.faces["target"].to_numpy()[rows]).mean() > 0.9
    half = run_fit(wrong, settings(**{**student, "epochs": 1}, teacher_weight=0.5), finished, run="small")
    whole = run_fit(wrong, settings(**{**student, "epochs": 1}, teacher_weight=1.0), finished, run="small")
    assert half.train["accuracy"] != whole.train["accuracy"] or half.train["loss"] != whole.train["loss"]


def test_teachers_see_faces_by_their_own_statistics_and_have_equal_say(toy_store: Make, settings: Make, finished: Path) -> None:
    store, short = toy_store(), settings(epochs=1, select="none", **STEADY)
    brighter = Store(images=store.images // 2 + 60, faces=store.faces, expressions=store.expressions)
    nets = {name: teach(faces, short, finished, name=name) for name, faces in (("one", store), ("other", brighter))}
    faces = torch.rand(5, 1, 48, 48)
    mean, std = (0.3,), (0.2,)
    said = load_teachers(["one", "other"], **WANTED).probs((faces - mean[0]) / std[0], mean=mean, std=std)
    with torch.no_grad():
        each = [net.module((faces - net.card["mean"][0]) / net.card["std"][0]).softmax(1) for net in nets.values()]
    assert not torch.allclose(each[0], each[1], atol=1e-3)
    torch.testing.assert_close(said, (each[0] + each[1]) / 2)


def test_a_teacher_of_another_input_sees_the_same_faces_at_its_own_size(toy_store: Make, settings: Make, finished: Path) -> None:
    store, path = toy_store(), artefact("train", "weights", "colour")
    short = settings(epochs=1, select="none", **STEADY)
    large = fit(store, run="colour", model="mini_xception", options={"channels": 3}, seed=1, settings=short, partial=finished / "partial" / "colour")
    path.parent.mkdir(parents=True, exist_ok=True)
    large.save(path)
    faces = torch.from_numpy(store.images[:5])
    plain = faces.unsqueeze(1) / 255
    said = load_teachers(["colour"], **WANTED).probs((plain - 0.4) / 0.3, mean=(0.4,), std=(0.3,))
    side = MODELS["mini_xception"]["input_size"]
    assert side != 48
    own = standardise(prepare_images(faces, size=side, channels=3), mean=large.card["mean"], std=large.card["std"])
    with torch.no_grad():
        torch.testing.assert_close(said, large.module(own).softmax(1), atol=1e-5, rtol=1e-4)


def test_the_softened_loss_is_hintons(toy_store: Make, settings: Make, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, seen = toy_store(), []
    teach(store, settings(epochs=1, select="none", **STEADY), finished)
    softened = Classifier._softened

    def watched(self: Classifier, images: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        seen.append((self.teachers, self.trainer.datamodule, images.clone(), logits.detach().clone(), softened(self, images, logits)))
        return seen[-1][-1]

    monkeypatch.setattr(Classifier, "_softened", watched)
    options = {**STEADY, "epochs": 1, "select": "none", "teachers": ["teacher"], "teacher_weight": 0.5, "teacher_temperature": 3.0}
    run_fit(store, settings(**options), finished, run="small")
    teachers, data, images, logits, loss = seen[0]
    (teacher,) = teachers.models.values()
    with torch.no_grad():
        taught = torch.log_softmax(teacher.module(teacher.scale(images * data.std[0] + data.mean[0])).float() / 3, dim=1)
    expected = -9 * (taught.exp() * torch.log_softmax(logits.float() / 3, dim=1)).sum(1).mean()
    torch.testing.assert_close(loss.detach(), expected, atol=1e-3, rtol=1e-3)


def test_a_temperature_needs_teachers(settings: Make) -> None:
    with pytest.raises(ValueError, match="teacher_temperature: 2 needs teachers and loss: cross_entropy"):
        settings(teacher_temperature=2.0)


def test_a_teacher_is_not_written_into_checkpoints_and_another_one_starts_training_afresh(
    toy_store: Make, settings: Make, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = toy_store()
    teach(store, settings(epochs=1, select="none"), finished)
    chosen = settings(epochs=1, select="none", teachers=["teacher"])
    first = run_fit(store, chosen, finished, run="small")
    kept = torch.load(finished / "partial" / "small" / "whole" / "last.ckpt", weights_only=True)["state_dict"]
    assert {key.removeprefix("net.") for key in kept} == set(first.module.state_dict())
    said: list[int] = []
    probs = distillation.Teachers.probs
    monkeypatch.setattr(distillation.Teachers, "probs", lambda *args, **more: (said.append(1), probs(*args, **more))[1])
    assert run_fit(store, chosen, finished, run="small").teachers == first.teachers
    assert not said  # a finished fit is taken as it is
    teach(store, settings(epochs=2, select="none"), finished)
    assert run_fit(store, chosen, finished, run="small").teachers != first.teachers
    assert said


def test_a_teacher_must_be_there_be_of_a_kind_and_have_seen_no_face_that_judges_the_student(
    toy_store: Make, settings: Make, finished: Path
) -> None:
    with pytest.raises(InputError, match="teacher: it has no weights yet; train it first: dvc repro train@teacher"):
        load_teachers(["teacher"], **WANTED)
    teach(toy_store(), settings(epochs=1, select="none"), finished)
    load_teachers(["teacher"], **WANTED)
    with pytest.raises(InputError, match="it was trained on val, which this run only selects on; choose another teacher"):
        load_teachers(["teacher"], **{**WANTED, "seen": planned("val", refit=False)})
    with pytest.raises(InputError, match="its classes are angry, happy, sad, not angry, sad"):
        load_teachers(["teacher"], **{**WANTED, "expressions": ("angry", "sad")})
    with pytest.raises(ValueError, match="exclude each other"):
        settings(teachers=["teacher"], loss="multi_label")


def test_mixed_faces_are_distilled_as_mixed(toy_store: Make, settings: Make, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, seen = toy_store(), []
    teach(store, settings(epochs=1, select="none"), finished)
    probs = distillation.Teachers.probs
    monkeypatch.setattr(distillation.Teachers, "probs", lambda self, images, **more: (seen.append(images.clone()), probs(self, images, **more))[1])
    plain = {"epochs": 1, "select": "none", "teachers": ["teacher"], "rotation": 0.0, "shift": 0.0, "flip": False}
    run_fit(store, settings(**plain), finished, run="small")
    unmixed, seen[:] = seen[0], []
    run_fit(store, settings(**plain, mixup=1.0), finished, run="small")
    assert not np.allclose(unmixed, seen[0])


def shipped_wanted(faces: pd.DataFrame, select: str) -> dict[str, Any]:
    names = tuple(shipped_card()["expressions"])
    return {"run": "small", "expressions": names, "seen": planned(select, refit=False), "faces": faces, "device": "cpu"}


def photographs(source: str, train: str, test: str) -> pd.DataFrame:
    """Return a face table whose train and val are of usage `train`, whose test is of usage `test`."""
    splits, usages = ["train", "val", "test"], [train, train, test]
    return pd.DataFrame({"face_id": [f"{source}/{i}" for i in range(3)], "source": source, "usage": usages, "split": splits})


def test_the_shipped_model_teaches_the_probabilities_it_predicts() -> None:
    faces = np.random.default_rng(0).integers(0, 256, (5, 48, 48), dtype=np.uint8)
    teachers = load_teachers(["shipped"], **shipped_wanted(photographs("captured", "", ""), "val"))
    mean, std = (0.4,), (0.2,)
    images = standardise(prepare_images(faces, size=48, channels=1), mean=mean, std=std)
    found = teachers.probs(images, mean=mean, std=std).numpy()
    np.testing.assert_allclose(found, Predictor.load().predict_prepared(faces, raw=True), atol=1e-3)
    assert teachers.sha256 == {"shipped": shipped_card()["sha256"]}


@pytest.mark.parametrize(
    ("source", "train", "test", "select", "said"),
    [
        ("captured", "", "", "val", ""),  # photographs it has not seen
        ("fer2013", "Training", "PublicTest", "none", ""),
        ("fer2013", "Training", "PublicTest", "val", "it was trained on val, which this run only selects on"),
        ("ferplus", "Training", "PublicTest", "val", "it was trained on val, which this run only selects on"),  # the same photographs
        ("fer2013", "PublicTest", "Training", "none", "it was trained on test, which this run leaves untouched"),
        ("fer2013_reshuffled", "", "", "none", "it was trained on test, which this run leaves untouched"),  # or may have been
    ],
)
def test_the_shipped_model_teaches_no_student_that_is_judged_by_photographs_it_has_seen(
    source: str, train: str, test: str, select: str, said: str
) -> None:
    wanted = shipped_wanted(photographs(source, train, test), select)
    if not said:
        assert list(load_teachers(["shipped"], **wanted).models) == ["shipped"]
        return
    with pytest.raises(InputError, match=f"train.teachers: shipped: {said}"):
        load_teachers(["shipped"], **wanted)


def test_a_shipped_file_that_was_changed_teaches_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("model.onnx", "card.json"):
        shutil.copyfile(SHIPPED.with_name(name), tmp_path / name)
    with (tmp_path / "model.onnx").open("ab") as file:
        file.write(b"x")
    monkeypatch.setattr(distillation, "teacher_file", lambda name: tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"changed or cut: its sha256 is \w{12}\.\.\., its card states 9d7dbf89e748"):
        load_teachers(["shipped"], **shipped_wanted(photographs("captured", "", ""), "val"))
