"""The explain page: figures hold what they should and name what is missing; tables and sentences repeat the measured numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ferlab.data.regions import REGIONS, template_masks
from ferlab.explanation.attribution_mass import mass_by_expression
from ferlab.expressions import EXPRESSIONS
from ferlab.params import Train
from ferlab.reporting.pages import explain
from ferlab.reporting.pages.explain import plot_mean_maps, plot_region_mass


def words(figure: Figure) -> list[str]:
    figure.canvas.draw()
    return [text.get_text() for axis in figure.axes for text in [axis.title, *axis.texts] if text.get_text()]


def test_mean_maps_count_their_faces_and_say_where_there_are_none(explained: dict[str, np.ndarray]) -> None:
    right = np.where(explained["probs"].argmax(axis=1) == explained["target"], explained["target"], -1)
    maps = {"grad_cam": explained["grad_cam"], "occlusion": explained["occlusion"]}
    figure = plot_mean_maps(explained["images"], maps=maps, classes=right, expressions=EXPRESSIONS, masks=template_masks((48, 48)))
    said = words(figure)
    assert "disgust" in said
    counts = [axis.get_xlabel() for axis in figure.axes if axis.get_xlabel()]
    assert (counts[0], counts[1], counts[7]) == ("0 of 1 maps", "2 of 2 maps", "1 of 1 maps")  # Grad-CAM of angry is zero, occlusion is not
    assert said.count("no correctly\nclassified face") == 2  # sad, both methods
    assert said.count("zero\neverywhere") == 1  # angry has one right face, and its Grad-CAM is dead
    assert [axis.get_ylabel() for axis in figure.axes if axis.get_ylabel()][:2] == ["Grad-CAM", "occlusion"]


def test_mass_figure_draws_the_measured_masses_over_the_areas(explained: dict[str, np.ndarray]) -> None:
    masks = template_masks((48, 48))
    table = mass_by_expression(explained["grad_cam"], masks, classes=explained["target"], expressions=EXPRESSIONS)
    figure = plot_region_mass({"grad_cam": table})
    axis = figure.axes[3]
    assert axis.get_title() == "happy\nn = 2"
    drawn = axis.containers[0].lines[0].get_xdata(orig=False)
    happy = table[table["expression"] == "happy"].set_index("region")["mass"]
    np.testing.assert_allclose(drawn, 100 * happy.loc[["brows", "eyes", "nose", "mouth"]])
    areas = [segment[1, 0] for segment in axis.collections[0].get_segments()]
    np.testing.assert_allclose(areas, [100 * masks[region].mean() for region in REGIONS if region != "rest"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["brows", "eyes", "nose", "mouth"]


def test_tables_and_sentences_repeat_the_numbers() -> None:
    masks = {"eyes": np.array([[True, False, False, False]]), "rest": np.array([[False, True, True, True]])}
    maps = np.tile(np.array([[[3.0, 1.0, 0.0, 0.0]], [[1.0, 1.0, 0.0, 0.0]]]), (10, 1, 1))
    table = mass_by_expression(maps, masks, classes=np.zeros(20, int), expressions=("angry", "fear"))
    wide = explain.mass_table(table)
    assert wide.columns.tolist() == ["faces", "eyes", "rest"]
    assert wide.loc["angry", "eyes"] == "62.5 [56.5, 68.5]"
    assert wide.loc["area, %", "eyes"] == "25.0"
    assert (wide.loc["fear", "faces"], wide.loc["fear", "eyes"]) == ("0", "–")
    said = explain.density_ratio_sentence({"occlusion": table})
    assert said == "Occlusion: the highest density ratio is 2.5, on the eyes of angry faces; 1 of 2 intervals lies above the area."


def sample_sentence(dead: dict[str, int], *, select: str = "val") -> str:
    settings = Train(epochs=1, batch_size=8, optimizer="sgd", lr=0.1, weight_decay=0.0, schedule="constant", select=select)
    pred, how = np.array([0, 1, 1]), {"split": "val", "source": "control faces, drawn", "settings": settings}
    return explain.sample_sentence(np.array([0, 1, 2]), pred, scored=1500, dead=dead, **how)


def test_the_sample_sentence_counts_faces_and_zero_maps() -> None:
    said = sample_sentence({"grad_cam": 2, "occlusion": 0})
    assert said.startswith("3 of 1,500 val faces (control faces, drawn) are explained: 2 classified correctly, 1 misclassified.")
    assert said.endswith("Grad-CAM 2, occlusion 0.")
    assert sample_sentence({"grad_cam": 0, "occlusion": 0}).endswith("1 misclassified. No map is zero everywhere.")


def test_the_sample_sentence_says_where_the_model_was_trained_on_the_faces() -> None:
    said = sample_sentence({"occlusion": 0}, select="none")
    assert said.endswith("1 misclassified. **The model was trained on these val faces.** No map is zero everywhere.")


def test_the_reason_for_zero_maps_is_given_only_where_the_counts_bear_it_out() -> None:
    assert "averages gradients over space" in sample_sentence({"grad_cam": 48, "hires_cam": 0, "occlusion": 0})
    assert "averages" not in sample_sentence({"grad_cam": 48, "occlusion": 0})
    assert "averages" not in sample_sentence({"grad_cam": 3, "hires_cam": 3, "occlusion": 0})


def truth() -> dict[str, pd.DataFrame]:
    """Return what `compare_with_truth` would: three methods, one not believed, one undecided, one believed."""
    interval = {"ratio_ci_low": 1.5, "ratio_ci_high": 2.5, "ahead_ci_low": 0.1, "ahead_ci_high": 0.5}
    row = {"maps": 91, "zero": 0, "n": 72, "ratio": 2.0, "baseline": "centre", "baseline_ratio": 1.7, "ahead": 0.3, **interval}
    wide = {"ahead": 0.1, "ahead_ci_low": -0.2}
    judged = [
        {"method": "grad_cam", **row, "zero": 48, "n": 32, **wide, "verdict": "not believed"},
        {"method": "hires_cam", **row, **wide, "verdict": "undecided"},
        {"method": "occlusion", **row, "verdict": "believed"},
    ]
    mass = [
        {"method": method, "expression": name, "n": 5, "mass": value, "mass_ci_low": value - 0.1, "mass_ci_high": value + 0.1, "area": 0.2}
        for method, value in (("grad_cam", 0.3), ("hires_cam", 0.3), ("occlusion", 0.4), ("centre", 0.2), ("edges", 0.25))
        for name in ("sad", "happy", "all")
    ]
    both = {f"{row['method']}_{kind}": value for row in judged for kind, value in (("template", 0.3), ("true", 0.25))}
    regions = {"region": "mouth", "iou": 0.6, "area_template": 0.1, "area_true": 0.12, **both, "occlusion_true": 0.4}
    return {"regions": pd.DataFrame([regions]), "ground_truth": pd.DataFrame(mass), "verdict": pd.DataFrame(judged)}


def test_truth_tables_keep_the_order_of_methods_and_expressions() -> None:
    regions, mass, verdict = explain.truth_tables(truth())
    assert regions.loc["mouth", ["IoU", "area, true, %", "occlusion, true, %"]].tolist() == ["0.60", "12.0", "40.0"]
    assert mass.index.tolist() == ["Grad-CAM", "HiResCAM", "occlusion", "centred blob", "map of edges", "area, %"]
    assert mass.columns.tolist() == ["maps", "sad", "happy", "all"]
    lacking = truth()["ground_truth"].drop(index=0)  # Grad-CAM of sad: every map is zero
    other = explain.truth_tables(truth() | {"ground_truth": lacking})[1]
    assert other.columns.tolist() == mass.columns.tolist()
    assert other.loc["Grad-CAM", "sad"] == "–"
    assert mass["maps"].tolist() == ["5", "5", "5", "5", "5", ""]
    assert mass.loc["occlusion", "all"] == "40.0 [30.0, 50.0]"
    assert verdict["verdict"].tolist() == ["not believed", "undecided", "believed"]
    assert verdict.loc["occlusion", "density ratio"] == "2.00 [1.50, 2.50]"
    assert verdict["maps judged"].tolist() == ["32", "72", "72"]
    assert explain.truth_tables({}) == []


def test_without_a_correct_face_the_tables_that_exist_are_shown() -> None:
    nothing = {"n": 0, "ratio": np.nan, "baseline_ratio": np.nan, "ahead": np.nan}
    some = truth()
    lacking = some | {"ground_truth": some["ground_truth"].iloc[:0], "verdict": some["verdict"].assign(**nothing)}
    regions, verdict = explain.truth_tables(lacking)
    assert regions.index.name == "region"
    assert verdict.loc["occlusion", ["maps judged", "density ratio", "best baseline", "difference"]].tolist() == ["0", "–", "–", "–"]
    assert "none can be compared" in explain.verdict_sentence(lacking, dead={}, maps=91, missing="")
    assert "ground-truth pixels in percent" not in explain.truth_text(lacking)
    single = some | {"verdict": some["verdict"].assign(**nothing | {"n": 1})}
    assert "only one can be compared with the truth." in explain.verdict_sentence(single, dead={}, maps=91, missing="")


def test_the_tables_are_described_only_where_they_are() -> None:
    assert explain.truth_text({}) == ""
    assert "The next gives the attribution mass on the ground-truth pixels in percent" in explain.truth_text(truth())


def test_the_verdict_names_each_method_its_reasons_and_the_criterion() -> None:
    said = explain.verdict_sentence(truth(), dead={"grad_cam": 48, "hires_cam": 0, "occlusion": 0}, maps=91, missing="")
    assert "Occlusion may be believed on this run." in said
    assert "Grad-CAM may not be believed on this run: 48 of 91 maps are zero" in said
    assert "HiResCAM is undecided on this run: its difference 0.10 [-0.20, 0.50] from the centred blob is not above 0." in said
    assert "Criterion: at most 5 %" in said
    assert said.endswith("differs by at most 10.0 points (occlusion).")


def test_without_truth_only_zero_maps_rule_a_method_out() -> None:
    said = explain.verdict_sentence({}, dead={"grad_cam": 48, "hires_cam": 0, "occlusion": 0}, maps=91, missing="they were aligned")
    assert "Grad-CAM may not be believed on this run: 48 of 91 maps are zero (limit: 5 %)." in said
    assert said.endswith("Whether HiResCAM and occlusion may be believed is not known on these faces: they were aligned.")
    every = explain.verdict_sentence({}, dead={"grad_cam": 0, "hires_cam": 0, "occlusion": 0}, maps=91, missing="")
    assert "Whether Grad-CAM, HiResCAM and occlusion may be believed" in every
    assert "may not" not in explain.verdict_sentence({}, dead={"grad_cam": 1, "occlusion": 0}, maps=91, missing="")
