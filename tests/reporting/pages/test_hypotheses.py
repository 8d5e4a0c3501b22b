"""The hypotheses on the explain page: the figure shows the faces it should, verdicts are counted and named, doubts are stated where they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ferlab.explanation.hypotheses import FAILS, HOLDS, OPEN
from ferlab.reporting.pages import hypotheses as page

NAMES = ("disgust", "happy", "neutral", "surprise")


def rows(method: str, verdicts: dict[tuple[str, str, str], str], *, n: int = 30) -> list[dict[str, Any]]:
    interval = {"ratio": 2.0, "ratio_ci_low": 1.5, "ratio_ci_high": 2.6, "ratio_p": 0.001, "ratio_p_holm": 0.004}
    interval |= {"difference": 0.05, "difference_ci_low": 0.01, "difference_ci_high": 0.09, "difference_p": 0.01, "difference_p_holm": 0.03}
    return [
        {"method": method, "expression": name, "regions": regions, "sources": sources, "n": n, "clusters": n, **interval, "verdict": verdict}
        for (name, regions, sources), verdict in verdicts.items()
    ]


SMILE, ALL_BUT, BROWS = ("happy", "mouth", "cs230, Du et al."), ("neutral", "brows, eyes, mouth, rest", "cs230"), ("sad", "brows, mouth", "EMFACS")
OWN = {SMILE: HOLDS, ALL_BUT: FAILS, BROWS: OPEN}


def judged(*others: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame([*rows("occlusion", OWN), *others])


def test_figure_8_shows_faces_of_median_confidence_beside_their_maps() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (7, 8, 8), dtype=np.uint8)
    target = np.array([0, 0, 0, 0, 0, 1, 3])
    probs = np.full((7, 4), 0.05)
    probs[np.arange(7), [0, 0, 0, 0, 0, 1, 2]] = [0.9, 0.3, 0.6, 0.5, 0.7, 0.8, 0.9]  # the last face, surprise, is misclassified
    faces = pd.DataFrame({"target": target, "duplicate_group": [0, 1, 2, 2, 4, 5, 6]})  # rows 2 and 3 are one photograph
    assert page.nearest_to_median(faces, probs, 0) == [2, 4]
    assert page.nearest_to_median(faces.assign(duplicate_group=range(7)), probs, 0, most=3) == [2, 3, 4]
    figure = page.plot_figure8(images, maps=rng.uniform(size=(7, 8, 8)), faces=faces, probs=probs, expressions=NAMES)
    axes = figure.axes[:12]
    assert [axis.get_title() for axis in axes[:4:2]] == ["disgust 60 %", "disgust 70 %"]
    np.testing.assert_array_equal(axes[0].images[0].get_array(), images[2])
    assert axes[1].images
    assert axes[4].get_title() == "happy 80 %"
    assert not axes[6].images
    assert axes[8].texts[0].get_text() == "no correctly\nclassified\nsurprise face"


def test_the_forest_plot_has_a_mark_for_each_hypothesis_and_shows_verdicts() -> None:
    figure = page.plot_hypotheses(judged(*rows("grad_cam", OWN)))
    ratio, difference = figure.axes
    marks = [line for line in ratio.lines if line.get_marker() in ("o", "X")]
    assert [line.get_marker() for line in marks] == ["o", "X", "o"]
    assert marks[2].get_markerfacecolor() == "white" != marks[0].get_markerfacecolor()
    assert [line.get_xdata()[0] for line in difference.lines if line.get_marker() in ("o", "X")] == [5.0] * 3
    assert [label.get_text() for label in ratio.get_yticklabels()] == ["happy: mouth", "neutral: all but the nose", "sad: brows, mouth"]


def test_the_sentence_counts_and_names_verdicts_of_cs230_and_of_the_others() -> None:
    said = page.hypotheses_sentence(judged(), believed={"occlusion": "believed"}, source="FER2013")
    assert said == (
        "**By occlusion on FER2013, of cs230's 2 findings 1 holds (happy: mouth) and 1 does not hold (neutral: all but the nose).** "
        "Of the other 1 hypotheses 1 cannot be told."
    )


def test_hypotheses_of_which_none_can_be_told_are_counted_once() -> None:
    table = judged()
    said = page.hypotheses_sentence(table.assign(verdict="cannot be told"), believed={}, source="x")
    assert said.startswith("**By occlusion on x, none of cs230's 2 findings can be told.** Of the other 1 hypotheses 1 cannot")


def test_methods_that_are_not_believed_are_named_and_counted_out() -> None:
    unlike = rows("grad_cam", {**OWN, SMILE: FAILS}) + rows("hires_cam", OWN)
    table = judged(*unlike)
    said = page.hypotheses_sentence(table, believed={"grad_cam": "not believed", "occlusion": "undecided"}, source="x")
    assert "Occlusion and HiResCAM have the same verdict on 3 of 3 hypotheses." in said
    assert "12_worlds does not believe Grad-CAM, whose verdicts decide nothing." in said
    shown = page.hypotheses_table(table, believed={"grad_cam": "not believed"})
    assert shown["Grad-CAM (not believed)"].tolist() == [FAILS, FAILS, OPEN]
    assert shown["HiResCAM"].tolist() == [HOLDS, FAILS, OPEN]
    said = page.hypotheses_sentence(table, believed={}, source="x")
    assert "have the same verdict on 2 of 3 hypotheses" in said
    assert "not believe" not in said


def test_control_faces_are_compared_with_the_drawn_action_units() -> None:
    truth = rows("truth", {SMILE: HOLDS, BROWS: FAILS}) + rows("truth", {ALL_BUT: OPEN}, n=0)
    truth = [truth[0], truth[2], truth[1]]
    table = judged(*truth)
    said = page.hypotheses_sentence(table, believed={}, source="x")
    assert said.endswith("support 1 of the hypotheses and contradict 1; occlusion agrees with them on 1 and opposes them on 0.")
    assert page.hypotheses_table(table, believed={})["drawn action units"].tolist() == ["supported", "none known", "contradicted"]
    assert "drawn action units" not in page.hypotheses_table(judged(), believed={})
    opposed = pd.DataFrame(rows("occlusion", {SMILE: FAILS}) + rows("truth", {SMILE: HOLDS}))
    assert page.hypotheses_sentence(opposed, believed={}, source="x").endswith("agrees with them on 0 and opposes them on 1.")


def test_the_table_shows_effects_with_intervals_and_the_larger_p() -> None:
    shown = page.hypotheses_table(judged(), believed={})
    assert shown.loc["happy"].tolist() == ["mouth", "cs230, Du et al.", 30, "2.00 [1.50, 2.60]", "5.0 [1.0, 9.0]", "0.030", HOLDS]
