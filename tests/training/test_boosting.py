from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from ferlab.data.store import Store
from ferlab.models import load_model
from ferlab.models.classical import BoostedTrees
from ferlab.params import Train
from ferlab.paths import InputError
from ferlab.training.fit import FitResult, fit

Make = Callable[..., Any]
PLAIN = {"flip": False, "rotation": 0.0, "shift": 0.0, "lr": 0.2, "weight_decay": 0.0, "schedule": "constant"}


def grown(store: Store, settings: Train, partial: Path, **options: Any) -> FitResult:
    asked = {"run": "trees", "model": "hog_boosting", "options": {"rounds": 12, "depth": 2, **options}, "seed": 1}
    return fit(store, settings=settings, partial=partial, **asked)


@pytest.mark.parametrize("classes", [(0, 1, 2), (0, 2, 3)])
def test_the_logits_are_those_of_scikit_learn(classes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    targets = np.array(classes)[np.arange(240) % 3]
    features = (rng.normal(size=(240, 5)) + targets[:, None] * (np.arange(5) == 2)).round(1).astype(np.float32)  # many values lie on a threshold
    machine = HistGradientBoostingClassifier(max_iter=9, max_depth=3, max_leaf_nodes=8, random_state=0).fit(features, targets)
    trees = BoostedTrees(4, rounds=10, depth=3)
    trees.hold([[tree.nodes for tree in turn] for turn in machine._predictors], prior=machine._baseline_prediction.ravel(), classes=machine.classes_)
    found = trees(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(found[:, classes], machine.decision_function(features), atol=1e-5)
    assert found.argmax(axis=1).tolist() == machine.predict(features).tolist()
    trees.keep(4)
    *_, fourth = (probs for _, probs in zip(range(4), machine.staged_predict_proba(features), strict=False))
    np.testing.assert_allclose(trees(torch.from_numpy(features)).softmax(1).numpy()[:, classes], fourth, atol=1e-5)


def test_of_two_classes_the_probabilities_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    targets = np.array([1, 3])[np.arange(120) % 2]
    features = (rng.normal(size=(120, 5)) + targets[:, None]).round(1).astype(np.float32)
    machine = HistGradientBoostingClassifier(max_iter=9, max_depth=3, max_leaf_nodes=8, random_state=0).fit(features, targets)
    trees = BoostedTrees(4, rounds=10, depth=3)
    trees.hold([[tree.nodes for tree in turn] for turn in machine._predictors], prior=machine._baseline_prediction.ravel(), classes=machine.classes_)
    probs = trees(torch.from_numpy(features)).softmax(1).detach().numpy()
    np.testing.assert_allclose(probs[:, [1, 3]], machine.predict_proba(features), atol=1e-5)
    np.testing.assert_allclose(probs[:, [0, 2]], 0, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_an_expert_for_two_expressions_may_be_trees(toy_store: Make, settings: Make, tmp_path: Path, classes: int) -> None:
    store = toy_store(classes=classes)
    two = [store.expressions[1], store.expressions[0]]
    result = grown(store, settings(epochs=12, expressions=two, **PLAIN), tmp_path / "p")
    result.save(tmp_path / "w.safetensors")
    loaded = load_model(tmp_path / "w.safetensors")
    val = ((store.faces["split"] == "val") & (store.faces["target"] < 2)).to_numpy()
    preds = loaded.module(loaded.normalise(store.images[val])).argmax(1).numpy()
    assert set(preds) == {0, 1}
    assert (preds == store.faces["target"].to_numpy()[val]).mean() == pytest.approx(result.val["accuracy"])
    assert result.val["accuracy"] > 0.6


def test_val_selects_the_round_and_the_saved_model_has_its_numbers(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    store = toy_store(300)
    store.faces.loc[::4, "target"] = (store.faces["target"] + 1) % 3  # noise, so that the last round is not the best
    result = grown(store, settings(epochs=12, monitor="val/loss", **PLAIN), tmp_path / "p")
    losses = result.history["val_loss"].to_numpy()
    assert result.best_epoch == 1 + int(losses.argmin()) < len(losses) == 12
    result.save(tmp_path / "w.safetensors")
    loaded = load_model(tmp_path / "w.safetensors")
    val = (store.faces["split"] == "val").to_numpy()
    logits, target = loaded.module(loaded.normalise(store.images[val])), torch.from_numpy(store.faces["target"].to_numpy()[val].copy())
    assert torch.nn.functional.cross_entropy(logits, target).item() == pytest.approx(result.val["loss"], rel=1e-4)
    assert (logits.argmax(1) == target).float().mean().item() == pytest.approx(result.val["accuracy"])
    again = grown(store, settings(epochs=12, monitor="val/loss", **PLAIN), tmp_path / "p")
    assert again.history.equals(result.history), "resumed from its checkpoint"


def test_a_refit_grows_as_many_rounds_on_train_and_val(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    result = grown(toy_store(), settings(epochs=6, refit=True, **PLAIN), tmp_path / "p")
    assert result.card["trained_on"] == ("train", "val")
    assert (result.history["phase"] == "refit").sum() == result.best_epoch


def test_what_trees_cannot_follow_is_refused_by_name(toy_store: Make, settings: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run 'trees': train.label_smoothing: .* expected 0.0, got 0.1"):
        grown(toy_store(), settings(label_smoothing=0.1, **PLAIN), tmp_path / "a")
    with pytest.raises(InputError, match=r"train.epochs: expected at most 12, the model's option `rounds`, got 13"):
        grown(toy_store(), settings(epochs=13, **PLAIN), tmp_path / "b")
    with pytest.raises(InputError, match=r"run 'trees': train.expressions: trees need two expressions or more, got \['happy'\]"):
        grown(toy_store(), settings(expressions=["happy"], **PLAIN), tmp_path / "c")
