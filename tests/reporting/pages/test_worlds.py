"""The page of the worlds says what the numbers bear out, and nothing else."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlab.explanation.ranking import BELIEVED, EVIDENCE, NOT_BELIEVED, UNDECIDED
from ferlab.reporting.pages import worlds as page
from ferlab.reporting.pages.believed import believed_sentence, believed_table


def row(method: str, score: float, verdict: str, *, rank: int = 1, against: tuple[str, ...] = (), missing: tuple[str, ...] = ()) -> dict:
    piece = {"value": score, "ahead": score, "ahead_ci_low": score - 0.1, "ahead_ci_high": score + 0.1, "beats": "centre", "n": 30}
    bounds = {"score": score, "score_ci_low": score - 0.1, "score_ci_high": score + 0.1}
    evidence = dict.fromkeys(EVIDENCE, piece)
    return {
        "rank": rank,
        "method": method,
        **bounds,
        "zero": 0.0,
        "verdict": verdict,
        "against": list(against),
        "missing": list(missing),
        "evidence": evidence,
    }


ROWS = [
    row("occlusion", 0.8, BELIEVED),
    row("gradients", 0.4, UNDECIDED, rank=2, missing=("effects",)),
    row("grad_cam", 0.1, NOT_BELIEVED, rank=3, against=("wired",)),
]
BASELINES = {"random": {name: {"value": 0.0} for name in ("region", "mark", "effects", "class")}}
USED = pd.DataFrame(
    [
        {"test": test, "model": model, "part": part, "n": 20, "flip": flip, "flip_ci_low": flip, "flip_ci_high": flip, "effect": flip,
         "effect_ci_low": flip, "effect_ci_high": flip, "used": flip > 0.05}
        for test, model, part, flip in (("one_region", "one_region", "mouth", 0.9), ("shortcut", "shortcut", "mark", 0.8),
                                        ("shortcut", "independent", "mark", 0.01))
    ]
)  # fmt: skip
HOLDS = {"one_region": True, "shortcut": True, "independent": True, "chimera": True}


def test_the_sentence_names_each_verdict_once_and_that_the_faces_are_drawn():
    text = page.ranking_sentence(ROWS)
    assert text.startswith("On control faces occlusion is believed; Grad-CAM is not believed; gradients is undecided.")
    assert "occlusion, 0.80 [0.70, 0.90]" in text


def test_models_that_do_not_use_the_evidence_void_its_scores():
    assert "A map can be right or wrong" not in page.premise_sentence(USED, HOLDS | {"one_region": False})
    assert "can be right or wrong about it" in page.premise_sentence(USED, HOLDS)
    text = page.premise_sentence(USED, HOLDS | {"one_region": False})
    assert "Not shown to use what it was meant to use: one region decides." in text
    assert "Void, and excluded from the ranking: finds the deciding region and only where it decides" in text
    assert "flips 90.0 %" in text


def test_marks_of_the_figure_follow_the_evidence():
    assert page.state_of(ROWS[2], "wired") == "against"
    assert page.state_of(ROWS[1], "effects") == "open"
    assert page.state_of(ROWS[0], "effects") == "for"
    assert page.state_of(ROWS[0] | {"evidence": {}}, "effects") == "void"
    figure = page.plot_ranking(ROWS, BASELINES)
    left, right = figure.axes
    assert [tick.get_text() for tick in left.get_yticklabels()] == ["occlusion", "gradients", "Grad-CAM"]
    assert len(right.collections) == len(ROWS) * len(EVIDENCE)
    plt.close(figure)


def test_the_hand_wired_network_is_reported_either_way():
    assert "every method finds the patch" in page.wired_sentence(ROWS[:2])
    failed = ROWS[2] | {"evidence": {"wired": {"ahead_ci_low": -0.3}}}
    assert "Grad-CAM does not find the patch" in page.wired_sentence([*ROWS[:2], failed])


def test_class_means_are_reported_either_way():
    ahead, behind = {"ahead": 0.2, "ahead_ci_low": 0.1, "ahead_ci_high": 0.3}, {"ahead": 0.0, "ahead_ci_low": -0.1, "ahead_ci_high": 0.1}
    assert page.own_face_sentence({"occlusion": behind}).startswith("No method is ahead of")
    assert page.own_face_sentence({"occlusion": ahead, "rise": behind}).endswith("not about what is special to one face.")
    assert ": occlusion. Maps of the other methods" in page.own_face_sentence({"occlusion": ahead, "rise": behind})


def test_randomised_labels_are_reported_either_way():
    low, high = {"value": 0.1, "value_ci_low": 0.0, "value_ci_high": 0.2}, {"value": 0.9, "value_ci_low": 0.8, "value_ci_high": 1.0}
    text = page.randomised_labels_sentence({"occlusion": high, "rise": low})
    assert "is 0.10 [0.00, 0.20] (RISE) to 0.90 [0.80, 1.00] (occlusion)" in text
    assert text.endswith("show the face more than what was learned: occlusion.**")
    assert page.randomised_labels_sentence({"rise": low}).endswith("All intervals lie below 0.5: the maps depend on what was learned.")
    unsure = {"value": 0.5, "value_ci_low": 0.4, "value_ci_high": 0.6}
    text = page.randomised_labels_sentence({"rise": low, "grad_cam_pp": unsure})
    assert text.endswith("No interval lies above 0.5, and all but that of Grad-CAM++ below it.")
    assert page.randomised_labels_sentence({}) == ""


def test_roar_is_shown_where_it_was_run():
    off = {"seeds": {"0": {"roar": []}}}
    assert "off in this study" in page.roar_text(off)
    assert page.roar_table(off).empty
    rows = [{"method": m, "fraction": f, "accuracy": a, "accuracy_ci_low": a - 0.1, "accuracy_ci_high": a + 0.1, "n": 50}
            for m, f, a in (("occlusion", 0.1, 0.5), ("occlusion", 0.2, 0.4), ("random", 0.1, 0.7), ("random", 0.2, 0.6))]  # fmt: skip
    on = {"seeds": {"0": {"roar": rows}, "1": {"roar": rows}}}
    assert "lower is better" in page.roar_text(on)
    assert page.roar_table(on).loc["occlusion"].tolist() == ["50.0 [40.0, 60.0]", "40.0 [30.0, 50.0]"]


def test_page_05_gets_a_line_per_method_also_of_those_not_ranked():
    rows = [*ROWS, {"method": "xrai", "verdict": "", "against": [], "missing": []}]
    table = believed_table(rows)
    assert table.loc["XRAI", "verdict"] == "not ranked"
    assert table.loc["Grad-CAM", "contradicted by"] == "hand-wired"
    how = {"window": 8, "stride": 6, "steps": 16, "masks": 64, "samples": 12}
    text = believed_sentence(rows, model="five_layer", ranked_with=how, shown_with=how)
    assert "ranked with" not in text
    told = believed_sentence(rows, model="five_layer", ranked_with=how, shown_with=how | {"stride": 4, "steps": 50})
    assert "Occlusion is ranked with stride 6, and shown with stride 4." in told
    assert "16" not in told  # XRAI is not ranked
    assert text.startswith("Occlusion is believed; Grad-CAM is not believed; gradients is undecided; XRAI is not ranked, by models")


def test_the_strip_shows_first_and_last_methods():
    rng = np.random.default_rng(0)
    examples = {}
    for test, models in (("one_region", ("one_region", "null")), ("shortcut", ("shortcut", "independent")), ("wired", ("wired",))):
        examples |= {f"{test}/image": rng.integers(0, 255, (2, 8, 8), np.uint8), f"{test}/mask": rng.random((2, 8, 8)) < 0.3}
        examples |= {f"{test}/{model}/{each['method']}": rng.random((2, 8, 8)) for model in models for each in ROWS}
    figure = page.plot_strip(examples, ROWS, most=2)
    assert [axis.get_title() for axis in figure.axes[:4]] == ["face", "evidence", "occlusion", "Grad-CAM"]
    assert len(figure.axes) == 5 * 4 + 1
    plt.close(figure)


@pytest.mark.parametrize("count", [1, 3])
def test_tables_have_a_row_per_method(count):
    own = {each["method"]: {"ahead": 0.1, "ahead_ci_low": 0.0, "ahead_ci_high": 0.2} for each in ROWS}
    assert len(page.ranking_table(ROWS[:count], own)) == count


def test_tables_give_the_ends_of_the_ranking_and_the_best_baseline():
    rows = [row(name, 0.5, BELIEVED) for name in ("occlusion", "rise", "gradients", "grad_cam", "hires_cam", "layer_cam")]
    values = {each["method"]: 0.5 for each in rows} | {"random": 0.1, "centre": 0.3, "edges": 0.2}
    scores = pd.DataFrame(
        [{"test": "one_region", "model": "one_region", "method": name, "measure": "kappa", "value": v} for name, v in values.items()]
    )
    table = page.measures_table(scores, rows, test="one_region", model="one_region", what="the deciding region")
    assert list(table.index) == ["occlusion", "RISE", "gradients", "HiResCAM", "LayerCAM", "best baseline map"]
    assert table["kappa"].iloc[-1] == "0.30"


def test_the_doubt_of_verdicts_is_reported_either_way():
    assert page.doubt_sentence(ROWS[:1], seeds=1) == (
        "No verdict rests on an interval that ends next to 0. The intervals are over subjects, of one training per world."
    )
    near = ROWS[0] | {"evidence": ROWS[0]["evidence"] | {"mark": {"ahead": 0.1, "ahead_ci_low": 0.01}}}
    assert "decides: occlusion (believed; planted mark).**" in page.doubt_sentence([near], seeds=3)
    assert page.doubt_sentence([near], seeds=3).endswith("of 3 trainings per world.")
