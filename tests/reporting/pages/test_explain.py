"""Figures and sentences of explanations: what they hold, what they say is missing, and numbers that are the measured ones."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ferlab.explanation.regions import Registration, template_masks
from ferlab.explanation.sample import typical_pairs
from ferlab.explanation.shares import area_shares, class_shares, method_shares, region_shares
from ferlab.expressions import EXPRESSIONS
from ferlab.reporting.pages import explain_text as explanation_text
from ferlab.reporting.pages import explain_verdict as explanation_verdict
from ferlab.reporting.pages.explain import plot_gallery, plot_mean_maps, plot_region_shares

DPI = 120


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def explained() -> dict[str, np.ndarray]:
    """Fourteen faces, a right and a wrong one of each expression but disgust (both right) and sad (both wrong); one dead map."""
    rng = np.random.default_rng(0)
    target = np.repeat(np.arange(7), 2)
    pred = target.copy()
    pred[1::2] = (target[1::2] + 1) % 7
    pred[3], pred[8] = 1, 5
    probs = np.full((14, 7), 0.05)
    probs[np.arange(14), pred] = 0.7
    grad_cam = rng.random((14, 48, 48))
    grad_cam[0] = 0
    images = rng.integers(0, 256, (14, 48, 48), dtype=np.uint8)
    return {"images": images, "target": target, "probs": probs, "grad_cam": grad_cam, "occlusion": rng.normal(0, 0.1, (14, 48, 48))}


def gallery_of(explained: dict[str, np.ndarray]) -> Figure:
    pairs = typical_pairs(explained["target"], explained["probs"], num_classes=7)
    maps = {"grad_cam": explained["grad_cam"], "occlusion": explained["occlusion"]}
    return plot_gallery(explained["images"], maps=maps, target=explained["target"], probs=explained["probs"], pairs=pairs, expressions=EXPRESSIONS)


def words(figure: Figure) -> list[str]:
    figure.canvas.draw()
    return [text.get_text() for axis in figure.axes for text in [axis.title, *axis.texts] if text.get_text()]


def test_gallery_says_in_words_what_is_missing_and_what_is_dead(explained: dict[str, np.ndarray]) -> None:
    said = words(gallery_of(explained))
    assert "no wrong disgust face\namong those explained" in said
    assert "no right sad face\namong those explained" in said
    assert said.count("zero\neverywhere") == 1
    assert "angry 70 %" in said
    assert "angry, called\ndisgust 70 %" in said


def test_gallery_s_faces_are_large_and_share_one_colour_bar(explained: dict[str, np.ndarray]) -> None:
    figure = gallery_of(explained)
    figure.set_dpi(DPI)
    figure.canvas.draw()
    shown = [axis for axis in figure.axes if axis.images]
    assert len(shown) == 12 * 3  # two faces are missing
    for axis in shown:
        box = axis.get_window_extent()
        assert min(box.width, box.height) >= 70
    assert len([axis for axis in figure.axes if axis.get_label() == "<colorbar>"]) == 1


def test_strong_and_weak_maps_of_one_shape_look_the_same(explained: dict[str, np.ndarray]) -> None:
    first = gallery_of(explained)
    second = gallery_of(explained | {"grad_cam": 50 * explained["grad_cam"]})
    for one, other in zip(first.axes, second.axes, strict=True):
        for before, after in zip(one.images, other.images, strict=True):
            np.testing.assert_allclose(before.get_array(), after.get_array(), atol=1e-9)


def test_mean_maps_count_their_faces_and_say_where_there_are_none(explained: dict[str, np.ndarray]) -> None:
    right = np.where(explained["probs"].argmax(axis=1) == explained["target"], explained["target"], -1)
    maps = {"grad_cam": explained["grad_cam"], "occlusion": explained["occlusion"]}
    figure = plot_mean_maps(explained["images"], maps=maps, classes=right, expressions=EXPRESSIONS, masks=template_masks((48, 48)))
    said = words(figure)
    assert "disgust" in said
    counts = [axis.get_xlabel() for axis in figure.axes if axis.get_xlabel()]
    assert (counts[0], counts[1], counts[7]) == ("0 of 1 maps", "2 of 2 maps", "1 of 1 maps")  # Grad-CAM of angry is zero, occlusion is not
    assert said.count("no right face") == 2  # sad, both methods
    assert said.count("zero\neverywhere") == 1  # angry has one right face, and its Grad-CAM is dead
    assert [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()][:2] == ["Grad-CAM", "occlusion"]


def test_share_figure_draws_the_measured_shares_over_the_areas(explained: dict[str, np.ndarray]) -> None:
    masks = template_masks((48, 48))
    tables = method_shares({"grad_cam": explained["grad_cam"]}, masks, classes=explained["target"], expressions=EXPRESSIONS)
    figure = plot_region_shares(tables, area_shares(masks))
    axis = figure.axes[3]
    assert axis.get_title() == "happy\nn = 2"
    drawn = axis.containers[0].lines[0].get_xdata(orig=False)
    happy = tables["grad_cam"][tables["grad_cam"]["expression"] == "happy"].set_index("region")["share"]
    np.testing.assert_allclose(drawn, 100 * happy.loc[["brows", "eyes", "nose", "mouth"]])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["brows", "eyes", "nose", "mouth"]


def test_tables_and_sentences_repeat_the_numbers() -> None:
    masks = {"eyes": np.array([[True, False, False, False]]), "rest": np.array([[False, True, True, True]])}
    maps = np.array([[[3.0, 1.0, 0.0, 0.0]], [[1.0, 1.0, 0.0, 0.0]]])
    table = class_shares(region_shares(maps, masks), np.array([0, 0]), expressions=("angry", "fear"))
    wide = explanation_text.shares_table(table, area_shares(masks))
    assert wide.loc["angry", "eyes"] == "62.5 [50.0, 75.0]"
    assert wide.loc["area, %", "eyes"] == "25.0"
    assert (wide.loc["fear", "faces"], wide.loc["fear", "eyes"]) == ("0", "–")
    said = explanation_text.density_ratio_sentence({"occlusion": table}, area_shares(masks))
    assert said.startswith("Occlusion is densest on the eyes of angry faces, 2.5 times its area; 1 of 2 parts")


def test_registration_sentence_names_the_direction_and_the_fallback() -> None:
    said = explanation_text.registration_sentence(Registration(-1 / 48, 2 / 48, 0.85, 0.8, 0.731, True), 48)
    assert "1.0 px up and 2.0 px to the right" in said
    assert "85 % in height and 80 % in width" in said
    assert "stays where it lies" in explanation_text.registration_sentence(Registration(correlation=0.1), 48)


def test_sample_and_gallery_sentences_count() -> None:
    said = explanation_text.sample_sentence(
        np.array([0, 1, 2]), np.array([0, 1, 1]), scored=1500, split="val", source="control faces, drawn", dead={"grad_cam": 2, "occlusion": 0}
    )
    assert said.startswith("3 of 1,500 val faces (control faces, drawn) are explained: 2 that the model names right and 1 it names wrong.")
    assert said.endswith("Grad-CAM 2, occlusion 0.")
    assert explanation_text.gallery_sentence([(3, None), (1, 2)], ("angry", "fear")).endswith("Missing: no wrong angry face.")


def test_carrying_table_keeps_the_order_of_methods_and_expressions() -> None:
    rows = [
        {
            "method": method,
            "expression": name,
            "n": 5,
            "share": share,
            "ci_low": share - 0.1,
            "ci_high": share + 0.1,
            "area": 0.2,
            "density_ratio": share / 0.2,
        }
        for method, share in (("grad_cam", 0.3), ("occlusion", 0.4), ("centre", 0.2), ("edges", 0.25))
        for name in ("sad", "happy", "all")
    ]
    wide = explanation_text.carrying_table(pd.DataFrame(rows))
    assert wide.index.tolist() == ["Grad-CAM", "occlusion", "blob in the middle", "edges of the face", "area, %"]
    assert wide.columns.tolist() == ["maps", "sad", "happy", "all"]
    assert wide["maps"].tolist() == ["5", "5", "5", "5", ""]
    assert wide.loc["occlusion", "all"] == "40.0 [30.0, 50.0]"
    said = explanation_text.carrying_sentence(pd.DataFrame(rows))
    assert "Grad-CAM 1.50, occlusion 2.00; maps that know no net: blob in the middle 1.00" in said
    assert "nothing to compare" in explanation_text.carrying_sentence(pd.DataFrame(columns=list(rows[0])))


def test_faces_without_truth_are_said_to_be_unchecked() -> None:
    assert "nothing here was checked" in explanation_text.truth_sentence(None, None)


def judged_rows() -> pd.DataFrame:
    interval = {"ratio_ci_low": 1.5, "ratio_ci_high": 2.5, "ahead_ci_low": 0.1, "ahead_ci_high": 0.5}
    row = {"maps": 91, "zero": 0, "n": 72, "ratio": 2.0, "baseline": "centre", "baseline_ratio": 1.7, "ahead": 0.3, **interval}
    wide = {"ahead": 0.1, "ahead_ci_low": -0.2}
    return pd.DataFrame(
        [
            {"method": "grad_cam", **row, "zero": 48, "n": 32, **wide, "verdict": "not believed"},
            {"method": "hires_cam", **row, **wide, "verdict": "undecided"},
            {"method": "occlusion", **row, "verdict": "believed"},
        ]
    )


def test_the_verdict_names_each_method_its_reasons_and_the_criterion() -> None:
    dead = {"grad_cam": 48, "hires_cam": 0, "occlusion": 0}
    said = explanation_verdict.verdict_sentence(judged_rows(), dead=dead, maps=91)
    assert "Occlusion may be believed on this run." in said
    assert "Grad-CAM may not be believed on this run: 48 of 91 maps are zero" in said
    assert "HiResCAM is undecided on this run: its difference 0.10 [-0.20, 0.50] from the blob in the middle is not above 0." in said
    assert "Criterion: at most 5 %" in said
    wide = explanation_verdict.verdict_table(judged_rows())
    assert wide["verdict"].tolist() == ["not believed", "undecided", "believed"]
    assert wide.loc["occlusion", "density ratio"] == "2.00 [1.50, 2.50]"
    assert wide["maps judged"].tolist() == ["32", "72", "72"]


def test_without_truth_only_zero_maps_rule_a_method_out() -> None:
    said = explanation_verdict.verdict_sentence(None, dead={"grad_cam": 48, "hires_cam": 0, "occlusion": 0}, maps=91)
    assert "Grad-CAM may not be believed on this run: 48 of 91 maps are zero (limit: 5 %)." in said
    assert "Whether HiResCAM and occlusion may be believed is not known" in said
    every = explanation_verdict.verdict_sentence(None, dead={"grad_cam": 0, "hires_cam": 0, "occlusion": 0}, maps=91)
    assert "Whether Grad-CAM, HiResCAM and occlusion may be believed" in every
    assert "may not" not in explanation_verdict.verdict_sentence(None, dead={"grad_cam": 1, "occlusion": 0}, maps=91)


def test_the_reason_for_zero_maps_is_given_only_where_the_counts_bear_it_out() -> None:
    said = explanation_text.zero_sentence({"grad_cam": 48, "hires_cam": 0, "occlusion": 0}, maps=91)
    assert "Grad-CAM is zero for 48 of 91 faces; HiResCAM" in said
    assert "averages gradients over space" in said
    assert "averages" not in explanation_text.zero_sentence({"grad_cam": 48, "occlusion": 0}, maps=91)
    assert "averages" not in explanation_text.zero_sentence({"grad_cam": 3, "hires_cam": 3, "occlusion": 0}, maps=91)
    assert explanation_text.zero_sentence({"grad_cam": 0, "hires_cam": 0, "occlusion": 0}, maps=91) == "No map is zero everywhere."
