"""Worlds as they are drawn and trained, and the result of the stage at its smallest."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from ferlab.control.truth import label_mask
from ferlab.explanation import world_scores, worlds
from ferlab.explanation.roar import RANDOM, TRUTH, remove_highest, roar_curves
from ferlab.params import Worlds
from ferlab.paths import InputError

SMALL = {"faces": 40, "subjects": 30, "size": 48, "intensity": 3.0, "region": "mouth", "rho": 1.0, "seed": 0}


@pytest.fixture(scope="module")
def drawn() -> dict[str, worlds.World]:
    return {name: worlds.draw_world(name, **SMALL) for name in worlds.WORLDS}


def test_both_shortcut_worlds_have_the_same_test_faces_and_differ_in_training(drawn):
    """What the two models show on them is then a difference of the models alone."""
    one, other = drawn["shortcut"], drawn["independent"]
    test, train = one.rows("test"), one.rows("train")
    assert len(test) > 2
    assert (one.images[test] == other.images[test]).all()
    assert (one.images[train] != other.images[train]).any()
    marks = one.faces["shortcut"].to_numpy()[train]
    assert (pd.factorize(marks)[0] >= 0).all()
    assert {len(one.faces.iloc[train].groupby("shortcut")["target"].unique()[mark]) for mark in set(marks)} == {1}  # rho is 1


def test_no_subject_is_in_two_splits_and_no_expression_is_weak(drawn):
    for world in drawn.values():
        assert world.faces.groupby("subject")["split"].nunique().max() == 1
        assert (world.faces.loc[world.faces["intensity"] > 0, "intensity"] >= 3).all()


def test_labels_of_the_null_world_are_not_the_expressions(drawn):
    null = worlds.null_world(drawn["independent"], seed=0)
    assert (null.images == drawn["independent"].images).all()
    assert (null.faces["target"] == drawn["independent"].faces["target"]).mean() < 0.4


def test_too_few_strong_faces_are_an_error_that_names_the_key():
    with pytest.raises(InputError, match=r"worlds.intensity: only \d+ of 120 sampled faces reach 4.9"):
        worlds.draw_world("independent", **SMALL | {"intensity": 4.9})


def test_removing_the_highest_pixels_removes_those_and_no_others():
    images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    order = np.array([[[0.1, 0.9], [0.5, 0.2]], [[1, 0], [0, 0]]])
    assert remove_highest(images, order, 0.5, fill=99).tolist() == [[[0, 99], [99, 3]], [[99, 99], [6, 7]]]
    assert images[0, 0, 1] == 1


def test_statistics_of_batch_normalisation_are_those_of_the_train_faces(drawn, tmp_path):
    """After two steps running means would be near their initial 0, and the model would predict other classes than it learned."""
    of = drawn["one_region"]
    world = worlds.World(of.name, of.images, of.faces.assign(split=of.faces["split"].replace("test", "val")))
    model = worlds.train_model(world, model="five_layer", options={}, epochs=1, batch_size=16, seed=0, folder=tmp_path)
    with torch.no_grad():
        before = model.module.relu1(model.module.conv1(model.normalise(world.images[world.rows("train")])))
    torch.testing.assert_close(model.module.bn1.running_mean, before.mean(dim=(0, 2, 3)), rtol=1e-3, atol=1e-4)
    assert not model.module.training


@pytest.mark.slow
@pytest.mark.long
def test_roar_loses_most_accuracy_in_the_true_order(tmp_path):
    """The deciding region is removed first in the true order, and hardly in random order."""
    world = worlds.draw_world("one_region", **SMALL | {"faces": 300, "subjects": 60, "region": "mouth"})
    training = {"model": "five_layer", "options": {"dropout": 0.0}, "epochs": 10, "batch_size": 16, "seed": 0}
    model = worlds.train_model(world, **training, folder=tmp_path)
    assert roar_curves(world, model, methods=[], fractions=[0.2], training=training, options={}, folder=tmp_path) == []
    rows = roar_curves(world, model, methods=["gradients"], fractions=[0.2], training=training, options={}, folder=tmp_path)
    found = {row["method"]: row["accuracy"] for row in rows}
    assert set(found) == {"gradients", RANDOM, TRUTH}
    assert found[TRUTH] < found[RANDOM]
    assert all(row["accuracy_ci_low"] <= row["accuracy"] <= row["accuracy_ci_high"] for row in rows)


@pytest.mark.slow
def test_the_stage_scores_every_method_in_every_test(tmp_path, monkeypatch):
    monkeypatch.setattr(world_scores, "partial_folder", lambda: tmp_path / "partial")
    asked = Worlds(faces=120, epochs=1, per_class=1, chimeras=3, methods=["hires_cam", "gradients"], subjects=40)
    places = {name: tmp_path / f"{name}.parquet" for name in ("scores", "interventions")}
    world_scores._compute(**places, examples=tmp_path / "examples.npz", facts=tmp_path / "facts.json", asked=asked)
    scores, changes = (pd.read_parquet(path) for path in places.values())
    methods = {"hires_cam", "gradients", "random", "centre", "edges", "class mean of hires_cam", "class mean of gradients"}
    for test, model in (("shortcut", "shortcut"), ("shortcut", "independent"), ("wired", "wired")):
        own = scores[(scores["test"] == test) & (scores["model"] == model)]
        assert set(own["method"]) == methods
        assert {"mass", "rank", "pointing", "auc", "iou", "kappa", "zero"} <= set(own["measure"])
    assert {"correctness", "completeness"} <= set(scores["measure"])
    alike = scores[scores["measure"] == "similarity"].groupby("method")["value"].mean()
    assert alike[["random", "edges"]].to_list() == pytest.approx([1, 1])  # maps without a model are the same for both
    assert alike["gradients"] < 0.9
    assert {"mark", "mouth", "brows", "nothing"} <= set(changes["part"])
    wired = scores[(scores["test"] == "wired") & (scores["method"] == "hires_cam") & (scores["measure"] == "kappa")]
    assert wired["value"].mean() == pytest.approx(1)
    with np.load(tmp_path / "examples.npz") as file:
        assert {"shortcut/image", "shortcut/mask", "shortcut/shortcut/gradients", "wired/wired/hires_cam"} <= set(file.files)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert set(facts["seeds"]["0"]["models"]) == {*worlds.WORLDS, worlds.NULL}


def test_masks_of_the_worlds_are_neither_empty_nor_full(drawn):
    for name in ("one_region", "shortcut"):
        masks = label_mask(drawn[name].faces.head(5), size=48)
        assert (masks.any(axis=(1, 2)) & ~masks.all(axis=(1, 2))).all()
