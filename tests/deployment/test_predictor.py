"""The predictor: faces in, probabilities out, bad input in one line."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch

from ferlab.data.faces import CONTROL
from ferlab.data.preparation.detection import Detections
from ferlab.deployment import Predictor, ReadFace
from ferlab.deployment import predictor as module
from ferlab.deployment.cards import MOST_BATCH
from ferlab.deployment.trial import try_model
from ferlab.paths import InputError

FACES = np.random.default_rng(0).integers(0, 256, (300, 16, 16)).astype(np.uint8)


def test_rows_are_probabilities_in_the_order_of_expressions(tiny, tiny_onnx) -> None:
    predictor = Predictor.load(tiny_onnx)
    probs = predictor.predict_faces(FACES)
    assert predictor.expressions == tiny.expressions
    assert (probs.dtype, probs.shape) == (np.float32, (300, 3))
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    with torch.inference_mode():
        expected = torch.softmax(tiny.module(tiny.normalise(FACES)), dim=1).numpy()
    np.testing.assert_allclose(probs, expected, atol=1e-5)


def test_grey_faces_in_three_channels_give_the_same_answer(tiny_onnx) -> None:
    predictor = Predictor.load(tiny_onnx)
    grey = predictor.predict_faces(FACES[:9])
    np.testing.assert_allclose(predictor.predict_faces(np.repeat(FACES[:9, :, :, None], 3, axis=3)), grey, atol=1e-4)


def test_a_face_does_not_depend_on_its_company(tiny_onnx) -> None:
    predictor = Predictor.load(tiny_onnx)
    np.testing.assert_allclose(predictor.predict_faces(FACES)[[299]], predictor.predict_faces(FACES[[299]]), atol=1e-6)


def test_no_faces_give_no_rows(tiny_onnx) -> None:
    assert Predictor.load(tiny_onnx).predict_faces(FACES[:0]).shape == (0, 3)


def test_the_missing_shipped_net_is_told(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("ferlab.deployment.predictor.SHIPPED", tmp_path / "none.onnx")
    with pytest.raises(InputError, match="no model ships"):
        Predictor.load()


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"gone\.onnx: no such file"):
        Predictor.load(tmp_path / "gone.onnx")


def test_a_truncated_file_is_named_in_one_line(tiny_onnx, tmp_path) -> None:
    (tmp_path / "cut.onnx").write_bytes(tiny_onnx.read_bytes()[:200])
    with pytest.raises(InputError, match=r"cut\.onnx: not an ONNX file") as error:
        Predictor.load(tmp_path / "cut.onnx")
    assert "\n" not in str(error.value)


def test_an_onnx_file_of_others_is_refused(tiny_onnx, tmp_path) -> None:
    proto = onnx.load(tiny_onnx)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "other.onnx")
    with pytest.raises(InputError, match=r"other\.onnx: no ferlab card"):
        Predictor.load(tmp_path / "other.onnx")


def test_a_face_and_its_mirror_image_are_averaged(tiny_onnx) -> None:
    predictor = Predictor.load(tiny_onnx)
    both = (predictor.predict_faces(FACES[:5]) + predictor.predict_faces(FACES[:5, :, ::-1])) / 2
    np.testing.assert_allclose(predictor.predict_faces(FACES[:5], flip=True), both, atol=1e-6)
    np.testing.assert_allclose(predictor.predict_faces(FACES[:5, :, ::-1], flip=True), both, atol=1e-6)


def test_each_box_of_a_picture_is_read_as_its_crop_is(tiny_onnx) -> None:
    predictor = Predictor.load(tiny_onnx)
    picture = np.random.default_rng(1).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    boxes = np.array([[5, 10, 30, 30], [50, 20, 36, 36]])
    read = predictor.predict_image(picture, detector=lambda image: Detections(boxes, None, "as stated"), flip=False)
    assert [face.box for face in read] == [(5, 10, 30, 30), (50, 20, 36, 36)]
    np.testing.assert_array_equal(read[1].probs, predictor.predict_faces(picture[None, 20:56, 50:86])[0])


def test_a_whole_picture_is_one_face_and_nothing_is_searched(tiny_onnx) -> None:
    predictor = Predictor.load(tiny_onnx)
    picture = np.random.default_rng(1).integers(0, 256, (60, 90)).astype(np.uint8)
    (read,) = predictor.predict_image(picture, whole=True, detector=lambda image: pytest.fail("searched"))
    assert read.box == (0, 0, 90, 60)
    np.testing.assert_array_equal(read.probs, predictor.predict_faces(picture[None], flip=True)[0])


def test_a_picture_without_a_face_gives_an_empty_list(tiny_onnx) -> None:
    assert Predictor.load(tiny_onnx).predict_image(np.full((100, 100), 90, np.uint8)) == []


def test_the_likeliest_come_first_and_ties_in_the_order_of_expressions() -> None:
    face = ReadFace(box=(0, 0, 1, 1), probs=np.array([0.1, 0.3, 0.3, 0.3], np.float32), expressions=("angry", "happy", "sad", "fear"))
    assert face.likeliest(3) == ("happy", "sad", "fear")
    assert face.likeliest(1) == ("happy",)


@pytest.fixture
def shipped(tiny_onnx, tmp_path, monkeypatch):
    """Return a folder of weights that ships the tiny model."""
    content = tiny_onnx.read_bytes()
    (tmp_path / "model.onnx").write_bytes(content)
    (tmp_path / "card.json").write_text(json.dumps({"sha256": hashlib.sha256(content).hexdigest(), "name": "tiny"}))
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "model.onnx")
    return tmp_path


def test_the_net_that_ships_opens_without_a_path(shipped) -> None:
    assert Predictor.load().expressions == ("angry", "happy", "neutral")
    assert module.shipped_card()["name"] == "tiny"


def test_the_shipped_file_is_tried_once_when_it_ships() -> None:
    """Its card states what the trial found; a trial at each start would take as long as the prediction."""
    assert module.shipped_card()["batch"] == try_model(module.SHIPPED.read_bytes(), where="it") == Predictor.load().batch < MOST_BATCH


def test_control_faces_have_one_name() -> None:
    assert module.CONTROL == CONTROL


def test_a_shipped_net_that_was_changed_is_refused(shipped) -> None:
    with open(shipped / "model.onnx", "ab") as file:
        file.write(b"more")
    with pytest.raises(InputError, match=r"model\.onnx: changed or cut: its sha256 is .* get the folder again") as error:
        Predictor.load()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_a_shipped_net_without_its_card_is_refused(shipped, text) -> None:
    (shipped / "card.json").unlink()
    if text is not None:
        (shipped / "card.json").write_text(text)
    with pytest.raises(InputError, match=r"card\.json: missing or broken"):
        Predictor.load()


def test_reading_a_picture_needs_no_torch(tiny_onnx) -> None:
    code = (
        "import sys, numpy as np; from ferlab.deployment import Predictor;"
        f"Predictor.load({str(tiny_onnx)!r}).predict_image(np.zeros((64, 64), np.uint8), whole=True); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
