from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ferlab.control.drawing.picture import draw_image
from ferlab.control.specs import sample_spec
from ferlab.deployment.confidence import Confidence, Precision
from ferlab.deployment.predictor import SHIPPED
from ferlab.explanation.methods import METHODS
from ferlab.expressions import EXPRESSIONS
from ferlab.live.frames import LiveFace, Still
from ferlab.live.neutral import subtract_neutral
from ferlab.live.try_face import MAPS, TryFace, annotated, overlay

FACE = np.pad(draw_image(sample_spec(7, 3), 120, colour=True), ((40, 40), (40, 40), (0, 0)), mode="edge")
STILL = Still(FACE, (LiveFace(0, (40.0, 40.0, 120.0, 120.0), score=0.9),), 0, "a face.png", "file")


@pytest.fixture(scope="module")
def panel() -> TryFace:
    return TryFace()


def test_the_result_is_the_models_for_the_selected_box(panel):
    panel._show(STILL)
    model = panel.camera.model
    probs = model.predict(FACE, STILL.face.box, flip=False)
    assert f"{model.expressions[probs.argmax()]} {100 * probs.max():.0f} %" in panel.results.value
    assert model.confidence.sentence(model.expressions[probs.argmax()]).replace("'", "&#x27;") in panel.results.value


def test_the_saved_picture_has_the_size_of_the_original_and_a_box(panel):
    panel._show(STILL)
    saved = base64.b64decode(re.search(r"base64,([^\"]+)", panel.save.value)[1])
    picture = np.asarray(Image.open(io.BytesIO(saved)))
    assert picture.shape == FACE.shape
    assert (picture != FACE).any()
    assert (picture[70:120, 70:120] == FACE[70:120, 70:120]).all()
    assert 'download="a_face-expression.png"' in panel.save.value


@pytest.mark.slow
@pytest.mark.parametrize("method", ["Grad-CAM", "guided Grad-CAM", "integrated gradients", "occlusion"])
def test_a_map_stands_beside_the_prediction_and_explains_the_chosen_expression(panel, method):
    panel.method.value, panel.explained.value = method, "happy"
    panel._show(STILL)
    assert f"{method} of happy" in panel.results.value
    assert ("blue opposes it" in panel.results.value) is (method != "Grad-CAM")
    assert ("(probability)" in panel.results.value) is (method == "occlusion")
    panel.method.value, panel.explained.value = "none", "the prediction"
    assert f"{method} of" not in panel.results.value


def test_an_expression_that_a_model_lacks_is_told_in_place_of_its_map(panel):
    """Two models may know other expressions; the list is the first's."""
    panel._show(STILL)
    panel.explained.options = [*panel.explained.options, "contempt"]
    panel.method.value, panel.explained.value = "occlusion", "contempt"
    assert "does not know contempt" in panel.results.value
    panel.method.value, panel.explained.value = "none", "the prediction"


def test_the_panel_offers_every_method(panel):
    assert [MAPS[title] for title in panel.method.options] == ["none", *METHODS]


def test_a_signed_map_shows_what_opposes_in_another_colour():
    heat = np.zeros((48, 48), np.float32)
    heat[:, :24], heat[:, 24:] = 1.0, -0.5
    signed, unsigned = (np.asarray(overlay(np.full((48, 48), 128, np.uint8), heat, signed=sign)).astype(int) for sign in (True, False))
    left, right = signed[20, 20], signed[20, 170]
    assert left[0] > left[2] + 20  # red
    assert right[2] > right[0] + 20  # blue
    assert unsigned[20, 170].max() < 70  # as dark as where the scale begins


def test_a_file_of_another_kind_is_told_in_one_line_and_changes_nothing(panel, tmp_path):
    (tmp_path / "weights.onnx").write_bytes(b"no model")
    panel._show(STILL)
    before = panel.models.value
    panel.path.value = str(tmp_path / "weights.onnx")
    assert "weights.onnx" in panel.told.value
    assert panel.models.value == before


def test_two_models_stand_side_by_side(panel, tmp_path):
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / "model.onnx").write_bytes(SHIPPED.read_bytes())
    panel._show(STILL)
    panel.path.value = str(tmp_path / "same" / "model.onnx")
    assert panel.results.value.count('class="fl-result"') == 2
    panel.models.value = ("shipped",)


def test_a_picture_without_a_face_keeps_no_result_of_the_one_before(panel):
    panel._show(STILL)
    panel._show(replace(STILL, faces=(), chosen=None))
    assert "No face is selected" in panel.results.value
    assert panel.save.value == ""


def test_the_neutral_face_reads_as_neutral_once_subtracted(panel):
    panel._show(STILL)
    panel._take_neutral()
    panel.subtract.value = True
    model = panel.camera.model
    right = model.confidence.precision_of("neutral")
    assert f"neutral {100 * right.right / right.n:.0f} %" in panel.results.value
    panel.subtract.value = False


def test_subtracting_a_typical_neutral_face_changes_nothing_and_another_shifts_odds():
    confidence = Confidence(precision={"neutral": Precision(60, 100, 0.5, 0.7, "sad")})
    model = type("Model", (), {"expressions": EXPRESSIONS, "confidence": confidence, "name": "m"})()
    typical = np.full(7, 0.4 / 6, np.float32)
    typical[EXPRESSIONS.index("neutral")] = 0.6
    probs = np.random.default_rng(0).dirichlet(np.ones(7)).astype(np.float32)
    np.testing.assert_allclose(subtract_neutral(probs, typical, model=model), probs, atol=1e-5)
    sad, neutral = EXPRESSIONS.index("sad"), EXPRESSIONS.index("neutral")
    person = typical.copy()
    person[[sad, neutral]] = person[[sad, neutral]] + [0.3, -0.3]  # a face at rest that the model reads as sad
    shifted = subtract_neutral(probs, person, model=model)
    odds = (shifted[sad] / shifted[neutral]) / (probs[sad] / probs[neutral])
    assert odds == pytest.approx((typical[sad] / typical[neutral]) / (person[sad] / person[neutral]), rel=1e-4)


def test_a_map_without_positive_values_is_drawn_dark():
    face = np.full((48, 48), 128, np.uint8)
    dark, bright = (np.asarray(overlay(face, heat))[:192] for heat in (-np.ones((48, 48), np.float32), np.ones((48, 48), np.float32)))
    assert dark.mean() < bright.mean() - 50


def test_the_annotation_names_the_most_probable_expression_in_its_colour():
    probs = np.eye(7, dtype=np.float32)[EXPRESSIONS.index("happy")]
    picture = np.asarray(annotated(STILL, probs, EXPRESSIONS))
    assert (picture[40:160, 40] == (0xE6, 0x9F, 0x00)).all(axis=1).any()
