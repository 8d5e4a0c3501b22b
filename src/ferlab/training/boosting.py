"""Boosted trees as a phase of training: scikit-learn grows them on a model's fixed features, one round per epoch, and val selects the round.

References:
    Friedman (2001), Greedy function approximation: a gradient boosting machine. Ke et al. (2017), LightGBM, whose histograms scikit-learn uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, log_loss, recall_score
from torch import Tensor, nn

from ferlab.params import Train
from ferlab.paths import InputError, report_progress

UNUSED: dict[str, Any] = {
    "loss": "cross_entropy", "label_smoothing": 0.0, "ferplus_weight": 0.0, "regress": [], "teachers": [], "mixup": 0.0, "cutmix": 0.0,
    "averaging": "none", "patience": 0, "repeats": 1, "sam": 0.0, "devices": 1, "num_nodes": 1,
}  # fmt: skip


def check_settings(settings: Train, net: nn.Module, *, run: str) -> None:
    """Refuse settings that boosted trees cannot follow.

    Raises:
        InputError: Naming the key.
    """
    for key, expected in UNUSED.items():
        if (given := getattr(settings, key)) != expected:
            raise InputError(f"run {run!r}: train.{key}: trees are grown by one process on labels alone; expected {expected!r}, got {given!r}")
    if settings.epochs > net.trees.rounds:
        most = f"expected at most {net.trees.rounds}, the model's option `rounds`"
        raise InputError(f"run {run!r}: train.epochs: {most}, got {settings.epochs}")
    if len(set(settings.expressions)) == 1:
        raise InputError(f"run {run!r}: train.expressions: trees need two expressions or more, got {settings.expressions}; name another")


def grow(net: nn.Module, data: Any, settings: Train, *, rounds: int, seed: int, selecting: bool) -> list[dict[str, float]]:
    """Grow the trees of a model and return its history.

    Args:
        net: A model with `features` and `trees`.
        data: Its faces, see `ferlab.data.batches.FaceData`; training faces are augmented once.
        settings: `lr` shrinks each tree, `weight_decay` is the L2 term of leaves, `class_weights` balances the classes.
        rounds: Trees per class.
        seed: Of scikit-learn.
        selecting: Whether to score val after each round.
    """
    report_progress(done=0, total=1, note="trees are grown")
    net.eval()
    data.train_batches.set_epoch(0)
    features, targets = _features(net, data.train_batches)
    depth = net.trees.depth
    machine = HistGradientBoostingClassifier(
        learning_rate=settings.lr, max_iter=rounds, max_depth=depth, max_leaf_nodes=2**depth, l2_regularization=settings.weight_decay,
        early_stopping=False, class_weight="balanced" if settings.class_weights else None, random_state=seed,
    ).fit(features, targets)  # fmt: skip
    # Keep: scikit-learn has no public access to the nodes; a test compares the logits with its decision_function
    trees = [[tree.nodes for tree in of_round] for of_round in machine._predictors]
    net.trees.hold(trees, prior=machine._baseline_prediction.ravel(), classes=machine.classes_)
    scored = {"train": (features, targets), **({"val": _features(net, data.val_batches)} if selecting else {})}
    report_progress(done=1, total=1, note="trees are grown")
    return _history(machine, scored, lr=settings.lr)


def save(module: nn.Module, folder: Path, history: list[dict[str, float]], *, name: str) -> None:
    """Write a checkpoint with the keys of Lightning's that training reads."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f"{name}.part"
    torch.save({"state_dict": module.state_dict(), "history": history, "optimizer_states": []}, beside)
    beside.replace(folder / name)


def _features(net: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        parts = [(net.features(images).cpu().numpy(), target.cpu().numpy()) for images, target, *_ in batches]
    return np.concatenate([features for features, _ in parts]), np.concatenate([target for _, target in parts])


def _history(machine: HistGradientBoostingClassifier, scored: dict[str, tuple[np.ndarray, np.ndarray]], *, lr: float) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = [{"epoch": turn + 1} for turn in range(machine.n_iter_)]
    for split, (features, targets) in scored.items():
        known = np.isin(targets, machine.classes_)  # a val face of an expression that was not trained on is wrong, and has no finite loss
        for row, probs in zip(rows, machine.staged_predict_proba(features), strict=True):
            preds = machine.classes_[probs.argmax(axis=1)]
            row[f"{split}_loss"] = float(log_loss(targets[known], probs[known], labels=machine.classes_))
            row[f"{split}_accuracy"] = float(accuracy_score(targets, preds))
            if split == "val":
                row["val_balanced_accuracy"] = float(recall_score(targets, preds, labels=np.unique(targets), average="macro", zero_division=0))
    return [{**row, "lr": lr, "factor": 1.0} for row in rows]
