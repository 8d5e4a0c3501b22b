"""The faithfulness section: every sentence has each of its readings, the table marks the best, the figures hold what they should."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ferlab.explanation.agreement import agreement_over_faces, agreement_over_methods
from ferlab.explanation.faithfulness import GAINS, SHOWN, summarise
from ferlab.reporting.pages import faithfulness as page

FACES = [f"f{number}" for number in range(12)]
NOISE = np.random.default_rng(0).normal(scale=0.02, size=12)


def table(**methods: float | np.ndarray) -> pd.DataFrame:
    """Scores of a metric: a mean per method, with noise that no two methods share."""
    values = {name: mean + np.roll(NOISE, place) for place, (name, mean) in enumerate(methods.items())}
    return pd.DataFrame(values, index=FACES)


def summary(**scores: pd.DataFrame) -> pd.DataFrame:
    return summarise(scores, clusters=FACES)


def gains(**methods: float) -> dict[str, pd.DataFrame]:
    return {metric: table(random=0.0, centre=0.1, edges=0.05, **methods) for metric in GAINS}


def test_a_method_is_better_or_worse_than_the_random_map_or_not_distinguishable_from_it():
    text = page.gain_sentence(summary(**gains(occlusion=0.5, hires_cam=0.4, gradients=-0.5, grad_cam=0.0)))
    assert text.startswith("The order of pixels is better than that of the random map under all 3 imputations: occlusion 50.0 points [48")
    assert "; HiResCAM 40.0 points [" in text
    assert "It is worse under one imputation or more, and better under none: gradients -50.0 points" in text
    assert "It is not distinguishable from it under any imputation: Grad-CAM" in text
    assert "the centred blob has a higher mean gain than gradients and Grad-CAM" in text
    assert "the map of edges a higher one than gradients and Grad-CAM" in text


def test_a_finding_of_one_imputation_is_said_to_depend_on_it():
    scores = gains(occlusion=0.5)
    scores["gain_blur"] = table(random=0.0, occlusion=0.0)
    text = page.gain_sentence(summary(**scores))
    assert text.startswith("The order of pixels is better under some imputations only: occlusion 50.0 points [")
    assert "], better under mean and noisy linear." in text
    assert page.gain_sentence(summary(**gains(occlusion=0.5))).endswith("Each method has a higher mean gain than the maps that need no model.")


def test_the_best_method_is_named_where_intervals_decide():
    scores = {"infidelity": table(occlusion=0.1, grad_cam=0.5), "max_sensitivity": table(occlusion=0.3, grad_cam=0.3)}
    assert page.best_sentence(summary(**scores)) == (
        "Best of 2 metrics with a direction, every interval of a difference above 0 (single intervals, not corrected for the number of metrics): "
        "occlusion by 1; 1 decides nothing."
    )
    undecided = page.best_sentence(summary(max_sensitivity=scores["max_sensitivity"]))
    assert undecided.startswith("No method is best by the one metric with a direction: an interval of a difference contains 0 (")
    assert page.best_sentence(summary(infidelity=table(occlusion=0.1, random=0.3))) == ""


def test_maps_that_random_weights_leave_alone_are_pointed_out():
    text = page.sanity_sentence(summary(randomised=table(occlusion=0.05, guided_grad_cam=0.9)))
    assert "occlusion 0.05 [" in text
    assert "**Guided Grad-CAM shows the face more than the model.**" in text
    assert "depend on the trained weights" not in text
    assert "the maps depend on the trained weights" in page.sanity_sentence(summary(randomised=table(occlusion=0.05, grad_cam=0.1)))
    unsure = pd.DataFrame({"occlusion": np.tile([0.0, 1.0], 6)}, index=FACES)
    assert page.sanity_sentence(summary(randomised=unsure)).endswith(". The interval of occlusion contains 0.5, which decides nothing.")
    both = page.sanity_sentence(summary(randomised=unsure.assign(rise=unsure["occlusion"][::-1].to_numpy(), grad_cam=0.0)))
    assert both.endswith(" The intervals of occlusion and RISE contain 0.5, which decides nothing.")
    one_subject = summarise({"randomised": unsure}, clusters=["a"] * 12)
    assert page.sanity_sentence(one_subject).endswith("randomised: occlusion 0.50.")  # no interval
    assert page.sanity_sentence(summary(infidelity=table(occlusion=0.1))) == ""


def test_maps_that_are_the_same_for_another_class_are_pointed_out():
    text = page.class_sentence(summary(other_class=table(occlusion=-0.2, grad_cam_pp=0.9)))
    assert "nearly the same for another class" in text
    assert "Grad-CAM++ 0.90 [" in text
    assert "occlusion" not in text
    assert page.class_sentence(summary(other_class=table(occlusion=-0.2))).startswith("No method's interval")
    assert page.class_sentence(summary(infidelity=table(occlusion=0.1))) == ""


def test_the_table_marks_the_best_and_leaves_unknown_scores_blank():
    shown = page.scores_table(summary(**gains(occlusion=0.5, grad_cam=0.2), max_sensitivity=table(occlusion=0.1, grad_cam=0.1)))
    assert shown.index.tolist() == ["occlusion", "Grad-CAM", "random map", "centred blob", "map of edges"]
    assert shown.loc["occlusion", "gain (blur), points ↑"].endswith("(best)")
    assert shown.loc["occlusion", "gain (blur), points ↑"].startswith("50.")
    assert not shown.loc["Grad-CAM"].str.contains("best").any()
    assert shown.loc["random map", "max-sensitivity ↓"] == "–"
    assert shown.shape[1] == len(GAINS) + 1 < len(SHOWN)


def curves() -> pd.DataFrame:
    at = [0.0, 0.1, 1.0]
    rows = [
        {"metric": metric, "method": method, "at": x, "value": (1 - x) ** power if metric == "deletion" else x ** (1 / power)}
        for metric in ("deletion", "insertion") for method, power in (("occlusion", 4), ("random", 1), ("edges", 2)) for x in at
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_curves_of_methods_and_of_the_random_map_are_drawn_whole():
    figure = page.plot_removal(curves())
    left, right = figure.axes
    assert [line.get_label() for line in left.lines] == ["occlusion", "random map"]
    np.testing.assert_allclose(left.lines[0].get_ydata(), [100, 100 * 0.9**4, 0])
    for axis in (left, right):
        assert axis.get_ylim()[0] == 0
        assert axis.get_ylim()[1] > max(line.get_ydata().max() for line in axis.lines)
    assert "occlusion 65.6 and 56.2; random map 90.0 and 10.0" in page.removal_alt(curves())


def test_sample_sentence_names_faces_or_subjects():
    judged = pd.DataFrame({"face_id": [*FACES, "f0"], "metric": ["infidelity"] * 12 + ["max_sensitivity"], "method": "occlusion"})
    text = page.sample_sentence(judged, clusters=FACES, source="FER2013")
    assert text.startswith("12 of the explained faces (FER2013)")
    assert "the maps of 1 of them are computed again" in text
    slow = pd.concat([judged, pd.DataFrame({"face_id": FACES[:3], "metric": "max_sensitivity", "method": "gradients"})])
    assert "the maps of 3 of them (occlusion of 1) are" in page.sample_sentence(slow, clusters=FACES, source="FER2013")
    assert text.endswith("95 % intervals are over faces.")
    assert page.sample_sentence(judged, clusters=["s1"] * 6 + ["s2"] * 6, source="x").endswith("over 2 subjects.")


@pytest.mark.parametrize(
    ("noise", "reading"),
    [
        (0.1, "Different metrics agree on which"),
        (1.3, "agree in part on"),
        (99, "Different metrics disagree on which faces are explained well, so that none"),
    ],
)
def test_agreement_is_read_by_its_size(noise, reading):
    rng = np.random.default_rng(0)
    base = rng.normal(size=(40, 2))
    other = base + noise * rng.normal(size=base.shape)
    scores = {name: pd.DataFrame(values, columns=["grad_cam", "occlusion"]) for name, values in (("infidelity", base), ("sparseness", other))}
    pairs = agreement_over_faces(scores, clusters=range(40))
    text = page.agreement_sentence(pairs, agreement_over_methods(scores, clusters=range(40)), methods=2)
    assert reading in text
    assert text.endswith("For correlations over methods 2 methods are too few (4 are needed).")


def test_wide_intervals_do_not_show_that_metrics_disagree():
    rng = np.random.default_rng(1)
    scores = {name: pd.DataFrame(rng.normal(size=(10, 1)), columns=["occlusion"]) for name in ("infidelity", "sparseness")}
    pairs = agreement_over_faces(scores, clusters=np.arange(10) // 2)
    assert abs(pairs["correlation"].iloc[0]) < 0.5
    text = page.agreement_sentence(pairs, pairs.iloc[:0], methods=1)
    assert "the faces are too few to tell whether different metrics agree" in text
    assert "disagree" not in text


def test_the_gains_of_different_imputations_are_reported_apart():
    values = np.random.default_rng(0).normal(size=(20, 2))
    scores = {name: pd.DataFrame(sign * values, columns=list("ab")) for name, sign in (("gain_blur", 1), ("gain_mean", 1), ("infidelity", -1))}
    text = page.agreement_sentence(agreement_over_faces(scores, clusters=range(20)), agreement_over_methods(scores, clusters=range(20)), methods=2)
    assert "-1.00 between different metrics (0 of 2 intervals lie above 0, 2 below), 1.00 between the gains of different imputations" in text


def test_agreement_over_methods_is_reported_where_there_are_enough_and_none_where_faces_are_few():
    rng = np.random.default_rng(0)
    scores = {name: pd.DataFrame(rng.normal(size=(20, 4)), columns=list("abcd")) for name in ("infidelity", "sparseness")}
    text = page.agreement_sentence(agreement_over_faces(scores, clusters=range(20)), agreement_over_methods(scores, clusters=range(20)), methods=4)
    assert "Mean of Kendall's tau between different metrics over 4 methods:" in text
    few = {name: values.iloc[:5] for name, values in scores.items()}
    text = page.agreement_sentence(agreement_over_faces(few, clusters=range(4)), agreement_over_methods(few, clusters=range(4)), methods=4)
    assert text == "Too few faces are judged for rank correlations between the metrics."


def test_the_heat_map_holds_each_pair_once_and_sure_ones_in_bold_type():
    pairs = pd.DataFrame({
        "first": ["gain_blur", "gain_blur", "infidelity"], "second": ["infidelity", "sparseness", "sparseness"], "n": 20,
        "correlation": [0.8, 0.1, -0.4], "correlation_ci_low": [0.6, -0.2, -0.6], "correlation_ci_high": [0.9, 0.4, -0.1],
    })  # fmt: skip
    axis = page.plot_agreement(pairs).axes[0]
    assert {(text.get_text(), text.get_fontweight()) for text in axis.texts} == {("0.80", "bold"), ("0.10", "normal"), ("-0.40", "bold")}
    assert [label.get_text() for label in axis.get_xticklabels()] == ["gain, blur", "infidelity"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["infidelity", "sparseness"]
