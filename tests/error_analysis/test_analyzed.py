"""What an analysis of errors computes: the run's model is trained again without each fold, and neither the fold nor copies of its faces train."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ferlab.control.source import read
from ferlab.data.store import Store
from ferlab.error_analysis import analyzed
from ferlab.error_analysis.cross_validated import assign_folds, cross_validate
from ferlab.evaluation.predictions import predictions_table, probs_of
from ferlab.expressions import EXPRESSIONS
from ferlab.params import Train, load_params
from ferlab.paths import PARTIAL, ROOT
from ferlab.training import fit as training


def settings(**changed: object) -> Train:
    return Train(**load_params(ROOT / "params.yaml").train | {"epochs": 1, "precision": "32-true", "threads": 1} | changed)


@pytest.fixture(scope="module")
def store() -> Store:
    """Control faces, a fifth of them in val and in test; the last ten are copies of training faces."""
    images, faces = read(faces=130, subjects=26)
    place = faces["subject"].str[1:].astype(int).to_numpy()
    split = np.select([place < 5, place < 10], ["val", "test"], "train")
    original = np.where(np.arange(130) >= 120, faces["face_id"].shift(10), "")
    split = np.where(np.arange(130) >= 120, "train", split)
    return Store(images=images, faces=faces.assign(split=split, derived_from=original), expressions=EXPRESSIONS)


@pytest.mark.slow
@pytest.mark.parametrize(("changed", "select"), [({}, "val"), ({"refit": True}, "none"), ({"select": "test"}, "val")])
def test_the_runs_model_is_trained_without_each_fold(store: Store, monkeypatch, tmp_path, changed, select) -> None:
    monkeypatch.setenv(PARTIAL, str(tmp_path / "partial"))
    seen, whole = [], training.fit

    def watched(faces: Store, **how):
        seen.append((faces.faces["split"].to_numpy(), how["settings"]))
        return whole(faces, **how)

    monkeypatch.setattr(training, "fit", watched)
    trained_on = ("train", "val") if select == "none" else ("train",)
    rows = analyzed.training_rows(store, trained_on=trained_on, expressions=())
    assert (rows == np.flatnonzero(store.faces["split"].isin(trained_on) & (np.arange(130) < 120))).all()
    run = SimpleNamespace(model="hog_svm", options={}, seed=0, train=settings(**changed))
    p = SimpleNamespace(name="tiny", run=run, analyze_errors=SimpleNamespace(folds_model="run", seed=0))
    faces = store.faces.iloc[rows].reset_index(drop=True)
    fold = assign_folds(faces, folds=2, seed=0)
    table = cross_validate(faces, fold, analyzed._fold_model(p, store, rows), expressions=EXPRESSIONS)
    np.testing.assert_allclose(probs_of(table).sum(axis=1), 1, atol=1e-5)
    assert len(seen) == 2
    for each, (split, how) in enumerate(seen):
        fitted = split == "train" if select == "val" else split != "test"
        assert set(np.flatnonzero(fitted)) == set(rows[fold != each]), "not the fold, not the copies, not test"
        assert (how.select, how.refit) == (select, False)
        assert select == "none" or (split == "val").sum() == (store.faces["split"] == "val").sum()


def test_a_split_without_errors_has_no_maps(store: Store, tmp_path) -> None:
    val = store.faces[store.faces["split"] == "val"]
    target = val["target"].to_numpy()
    perfect = predictions_table(val["face_id"], val["split"], target, probs=np.eye(7)[target], expressions=EXPRESSIONS)
    analyzed._write_maps(tmp_path / "maps.npz", None, store, split="val", predictions=perfect)
    with np.load(tmp_path / "maps.npz") as file:
        assert len(file["face_id"]) == len(file["occlusion"]) == 0


@pytest.mark.parametrize(("side", "window", "stride"), [(48, 8, 4), (224, 37, 19)])
def test_occlusion_covers_the_same_part_of_a_face_of_any_size(store: Store, monkeypatch, tmp_path, side: int, window: int, stride: int) -> None:
    seen = {}

    def watched(model, images, *, explained_class, methods, window, stride):
        seen.update(window=window, stride=stride)
        return {"occlusion": np.zeros((len(images), side, side), np.float32)}

    monkeypatch.setattr("ferlab.explanation.attributions.explain_faces", watched)
    large = Store(images=np.zeros((len(store.faces), side, side), np.uint8), faces=store.faces, expressions=EXPRESSIONS)
    val = store.faces[store.faces["split"] == "val"]
    wrong = predictions_table(
        val["face_id"], val["split"], val["target"], probs=np.eye(7)[(val["target"].to_numpy() + 1) % 7], expressions=EXPRESSIONS
    )
    analyzed._write_maps(tmp_path / "maps.npz", None, large, split="val", predictions=wrong)
    assert seen == {"window": window, "stride": stride}


def test_equal_tables_give_equal_bytes(tmp_path) -> None:
    for name in ("a", "b"):
        analyzed._write_table(tmp_path / name, pd.DataFrame({"face_id": ["x"], "self_influence": [1 / 3]}))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_an_experts_training_faces_are_those_of_its_expressions(store: Store) -> None:
    rows = analyzed.training_rows(store, trained_on=("train",), expressions=("sad", "neutral"))
    assert set(store.faces["target"].iloc[rows]) == {4, 6}
    assert len(rows) < len(analyzed.training_rows(store, trained_on=("train",), expressions=()))
