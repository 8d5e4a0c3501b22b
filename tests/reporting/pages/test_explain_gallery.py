"""The explain page's gallery: faces and maps that it holds, what it names as missing, and the signs of maps."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ferlab.explanation.methods import METHODS
from ferlab.explanation.sample import typical_pairs
from ferlab.expressions import EXPRESSIONS
from ferlab.reporting.maps import relative_values
from ferlab.reporting.pages.explain_gallery import TEXTS, gallery_alt, methods_text, plot_gallery

DPI = 120


def gallery_of(explained: dict[str, np.ndarray]) -> Figure:
    pairs = typical_pairs(explained["target"], explained["probs"], num_classes=7)
    maps = {"grad_cam": explained["grad_cam"], "occlusion": explained["occlusion"]}
    return plot_gallery(explained["images"], maps=maps, target=explained["target"], probs=explained["probs"], pairs=pairs, expressions=EXPRESSIONS)


def words(figure: Figure) -> list[str]:
    figure.canvas.draw()
    return [text.get_text() for axis in figure.axes for text in [axis.title, *axis.texts] if text.get_text()]


def test_gallery_says_in_words_what_is_missing_and_what_is_dead(explained: dict[str, np.ndarray]) -> None:
    said = words(gallery_of(explained))
    assert "no misclassified\ndisgust face" in said
    assert "no correctly classified\nsad face" in said
    assert said.count("zero\neverywhere") == 1
    assert "angry 70 %" in said
    assert "angry, predicted as\ndisgust 70 %" in said


def test_gallery_s_faces_are_large_and_share_a_colour_bar_per_sign(explained: dict[str, np.ndarray]) -> None:
    figure = gallery_of(explained)
    figure.set_dpi(DPI)
    figure.canvas.draw()
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 12 * 3  # two faces are missing
    for axis in shown:
        box = axis.get_window_extent()
        assert min(box.width, box.height) >= 70
    bars = [axis for axis in figure.axes if axis.get_label() == "<colorbar>"]
    assert [axis.get_ylabel() for axis in bars] == ["attribution, 1: mean of its own map", "signed attribution, 1: mean magnitude"]
    (low, _), (bottom, top) = (axis.get_ylim() for axis in bars)
    assert (low, bottom) == (0, -top)


def test_strong_and_weak_maps_of_one_shape_look_the_same(explained: dict[str, np.ndarray]) -> None:
    first = gallery_of(explained)
    second = gallery_of(explained | {"grad_cam": 50 * explained["grad_cam"]})
    for one, other in zip(first.axes, second.axes, strict=True):
        for before, after in zip(one.images, other.images, strict=True):
            np.testing.assert_allclose(before.get_array(), after.get_array(), atol=1e-9)


def test_the_gallery_s_alt_text_names_the_faces_that_are_missing(explained: dict[str, np.ndarray]) -> None:
    pairs = typical_pairs(explained["target"], explained["probs"], num_classes=7)
    said = gallery_alt(pairs, EXPRESSIONS)
    assert "a correctly classified and a misclassified face of angry, fear, happy, surprise and neutral; " in said
    assert "; a correctly classified face alone of disgust; a misclassified face alone of sad." in said
    assert gallery_alt([(None, None), (1, 2)], ("angry", "fear")).endswith("misclassified face of fear; no face of angry.")


def test_more_than_three_maps_are_wrapped_below_each_other(explained: dict[str, np.ndarray]) -> None:
    maps, probs = dict.fromkeys(METHODS, explained["occlusion"]), np.ones((2, 1))
    figure = plot_gallery(explained["images"][:2], maps=maps, target=np.array([0, 0]), probs=probs, pairs=[(0, 1)], expressions=["angry"])
    figure.set_dpi(DPI)
    figure.canvas.draw()
    shown = [axis for axis in figure.axes if axis.images and axis.get_label() != "<colorbar>"]
    assert len(shown) == 2 * (1 + len(METHODS))
    assert min(axis.get_window_extent().width for axis in shown) >= 70
    titles = [axis.get_title() for axis in shown if axis.get_title()]
    assert sum(title.endswith("points") for title in titles) == 4  # occlusion and RISE measure probabilities, of two faces
    assert {title.split("\n")[0] for title in titles} >= {method.title for method in METHODS.values()}


def test_what_opposes_the_prediction_is_blue_in_signed_maps_alone(explained: dict[str, np.ndarray]) -> None:
    left = np.zeros((14, 48, 48))
    left[:, :, :24], left[:, :, 24:] = 1.0, -1.0
    figure = gallery_of(explained | {"grad_cam": left, "occlusion": left, "images": np.full((14, 48, 48), 128, np.uint8)})
    _, grad_cam, occlusion = [axis.images[0].get_array() for axis in figure.axes if axis.images][:3]
    assert occlusion[5, 5, 0] > occlusion[5, 5, 2] + 0.1
    assert occlusion[5, 40, 2] > occlusion[5, 40, 0] + 0.1
    np.testing.assert_allclose(grad_cam[5, 40], 128 / 255)  # nothing below 0 is drawn


def test_relative_values_keep_their_sign_and_have_mean_magnitude_one() -> None:
    maps = np.array([[[2.0, -1.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    np.testing.assert_allclose(relative_values(maps), maps)
    np.testing.assert_allclose(relative_values(5 * maps), maps)


def test_the_text_describes_the_methods_shown_their_signs_and_what_is_excluded() -> None:
    assert list(TEXTS) == list(METHODS)
    text = methods_text({"grad_cam": np.zeros(1), "rise": np.zeros(1)}, excluded=["xrai"])
    assert text.startswith("- Grad-CAM weighs the channels")
    assert "(Petsiuk et al., 2018)." in text
    assert "Maps of RISE are signed: red pixels support" in text
    assert text.endswith("that they need: XRAI.")
    unsigned = methods_text({"grad_cam": np.zeros(1)})
    assert "signed" not in unsigned
    assert "Excluded" not in unsigned
