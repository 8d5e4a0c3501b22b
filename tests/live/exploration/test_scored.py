"""Scored faces: found by id, explained with the map of their own class, and the model that ships with its file's probabilities."""

from __future__ import annotations

import numpy as np
import onnx
import pandas as pd
import pytest
from errors_faces import six_faces, with_model
from scipy.special import softmax

from ferlab.deployment.predictor import SHIPPED, Predictor
from ferlab.evaluation.predictions import write_predictions
from ferlab.live.exploration import scored as opened
from ferlab.live.exploration.scored import DUPLICATES, draw_scored, open_any, open_run, with_duplicates
from ferlab.paths import InputError


def test_faces_are_found_by_id_not_by_place() -> None:
    assert six_faces().pictures(range(6))[:, 0, 0].tolist() == list(range(6))


def test_maps_have_the_size_of_the_stored_face_and_are_computed_once(monkeypatch) -> None:
    from ferlab.explanation import attributions

    scored, calls, real = with_model(six_faces()), [], attributions.explain_faces

    def counted(model, images, *, explained_class, **options):
        calls.append(explained_class.tolist())
        return real(model, images, explained_class=explained_class, **options)

    monkeypatch.setattr(attributions, "explain_faces", counted)
    maps = scored.maps([1, 4], [2, 1])
    assert {method: heat.shape for method, heat in maps.items()} == {"grad_cam": (2, 8, 8), "occlusion": (2, 8, 8)}
    assert all(np.isfinite(heat).all() for heat in maps.values())
    again = scored.maps([4, 1, 0], [1, 2, 0])
    assert (again["occlusion"][:2] == maps["occlusion"][::-1]).all()
    assert calls == [[2, 1], [0]]


def test_a_model_without_convolutions_has_occlusion_maps_alone() -> None:
    assert list(with_model(six_faces(), target_layer=None).maps([0], [0])) == ["occlusion"]


def test_missing_weights_are_told() -> None:
    with pytest.raises(InputError, match="no weights are at hand"):
        six_faces().maps([0], [0])


def test_duplicate_groups_are_told_apart_from_those_that_reach_into_train() -> None:
    faces = pd.DataFrame({"split": ["train", "test", "test", "test", "val"], "duplicate_group": [0, 0, 1, 1, 2]})
    assert with_duplicates(faces)["duplicates"].tolist() == [DUPLICATES[1], DUPLICATES[2], DUPLICATES[1], DUPLICATES[1], DUPLICATES[0]]


@pytest.mark.slow
def test_drawn_faces_are_explained_by_the_model_that_scored_them() -> None:
    from ferlab.evaluation.scoring import predict_probs
    from ferlab.live.exploration.embedding import penultimate_features

    scored = draw_scored(faces=40)
    assert "control faces" in scored.run
    assert scored.predictions["face_id"].str.startswith("drawn/").all()
    assert "make repro" in scored.note
    faces, predictor = scored.pictures(range(40)), Predictor.load()
    raw = predictor.predict_prepared(faces, raw=True)
    assert predict_probs(scored.model, faces) == pytest.approx(raw, abs=1e-5)
    assert scored.probs == pytest.approx(predictor.predict_prepared(faces))
    # The features are those that the file's last layer takes.
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor).astype(np.float32) for tensor in onnx.load(SHIPPED).graph.initializer}
    logits = penultimate_features(scored) @ tensors["module.logits.weight.float16"].T + tensors["module.logits.bias"]
    assert softmax(logits, axis=1) == pytest.approx(raw, abs=1e-5)
    grad_cam = scored.maps([0], [int(scored.predictions["pred"].iloc[0])])["grad_cam"]
    assert grad_cam.shape == (1, 48, 48)
    assert grad_cam.max() > 0


def test_where_no_run_has_been_evaluated_control_faces_are_drawn(monkeypatch) -> None:
    drawn = six_faces()
    monkeypatch.setattr(opened, "evaluated_runs", list)
    monkeypatch.setattr(opened, "draw_scored", lambda: drawn)
    assert open_any() is drawn


def test_predictions_of_other_faces_than_the_store_holds_are_refused(monkeypatch, tmp_path) -> None:
    scored = six_faces()
    path = tmp_path / "five_layer.parquet"
    write_predictions(path, scored.predictions)
    store = type("Store", (), {"faces": scored.faces.iloc[:4], "images": scored.images})
    monkeypatch.setattr(opened, "artefact", lambda *_: path)
    monkeypatch.setattr(opened, "open_store", lambda _: store)
    with pytest.raises(InputError, match="control/0000004, which control does not hold"):
        open_run("five_layer")
    with pytest.raises(InputError, match="known: five_layer"):
        open_run("six_layer")
