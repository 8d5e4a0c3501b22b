"""Any model on any set: which preparation, which columns, which faces."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from means_model import foreign

from ferlab.data.store import Store, write_faces
from ferlab.deployment import frame
from ferlab.paths import InputError

EXPRESSIONS = ("angry", "happy", "sad")
DRAWS = np.random.default_rng(0)
IMAGES = DRAWS.integers(0, 256, (12, 16, 16)).astype(np.uint8)


def store(preparation=None, *, expressions=EXPRESSIONS, folder=None) -> Store:
    faces = pd.DataFrame(
        {
            "face_id": [f"x/{n}" for n in range(12)],
            "source": "x",
            "usage": "all",
            "split": ["train"] * 4 + ["test"] * 8,
            "target": [n % len(expressions) for n in range(12)],
            "subject": [f"p{n % 3}" for n in range(12)],
        }
    )
    return Store(IMAGES, faces, expressions, folder=folder, preparation=preparation or {})


def test_classes_are_matched_by_name_and_what_the_set_lacks_is_dropped(tmp_path) -> None:
    model = frame.open_model(str(foreign(tmp_path / "m")), {})
    assert (model.name, model.origin.licence, len(model.checksum)) == ("means", "MIT", 64)
    table = frame.score_set(model, store())
    assert table["face_id"].tolist() == [f"x/{n}" for n in range(4, 12)]
    assert table["subject"].tolist() == [f"p{n % 3}" for n in range(4, 12)]
    means = IMAGES[4:].mean(axis=(1, 2)) / 255
    both = np.stack([np.exp(2 * means), np.exp(0 * means)], axis=1)  # angry, happy; contempt is dropped
    np.testing.assert_allclose(table[["prob_angry", "prob_happy"]], both / both.sum(axis=1, keepdims=True), atol=1e-4)
    assert (table["prob_sad"] == 0).all()


@pytest.mark.parametrize(("name", "told"), [("shipped", "as the one that ships"), ("five_layer", "as a run of params.yaml")])
def test_a_file_that_bears_the_name_of_one_of_our_models_is_refused(tmp_path, name, told) -> None:
    folder = foreign(tmp_path / "m")
    card = folder / "model.yaml"
    card.write_text(card.read_text().replace("name: means", f"name: {name}"))
    with pytest.raises(InputError, match=f"is called '{name}', {told}; name it otherwise in model.yaml"):
        frame.open_model(str(folder), {"five_layer": None})


def test_a_model_and_a_set_that_share_too_little_are_refused(tmp_path) -> None:
    model = frame.open_model(str(foreign(tmp_path / "m", words=("happy", "contempt", "neutral"))), {})
    with pytest.raises(InputError, match="means predicts happy, contempt, neutral; the set has angry, happy, sad: fewer than two are shared"):
        frame.score_set(model, store())


def test_faces_are_prepared_by_the_models_card_unless_the_set_was_prepared_so(tmp_path, monkeypatch) -> None:
    model = frame.open_model(str(foreign(tmp_path / "m", whole_pixels=True)), {})
    asked = []
    for way in ("predict_faces", "predict_prepared"):
        real = getattr(model.predictor, way)
        monkeypatch.setattr(model.predictor, way, lambda *a, real=real, way=way, **k: asked.append(way) or real(*a, **k))
    frame.score_set(model, store())
    frame.score_set(model, store({"size": 48}))
    assert [way for way in asked if way == "predict_prepared"] == ["predict_prepared"] * 2  # predict_faces goes on to it
    assert asked.count("predict_faces") == 2
    asked.clear()
    frame.score_set(model, store(model.preparation))
    assert asked == ["predict_prepared"]


def test_pictures_without_a_face_are_counted(tmp_path) -> None:
    faces = store().faces.assign(content_hash=[f"{n:064x}" for n in range(12)], duplicate_group=range(12), source_path="x.png")
    gone = pd.DataFrame(
        {"face_id": ["x/a", "x/b", "x/c"], "source": "x", "source_path": "p", "usage": "all", "reason": ["no face found", "no face found", "cut"]}
    )
    write_faces(tmp_path, faces, expressions=EXPRESSIONS, excluded=gone)
    assert frame.count_not_found(store(folder=tmp_path)) == {"pictures": 14, "not_found": 2}


def test_what_is_no_model_is_named_with_what_there_is() -> None:
    with pytest.raises(InputError, match=r"nosuch: no model; expected shipped, or the path .*peers"):
        frame.open_model("nosuch", {})


def test_the_shipped_model_is_one_of_them() -> None:
    model = frame.open_model("shipped", {})
    assert (model.name, model.origin.trained) == ("shipped", {"fer2013": ("Training",)})
