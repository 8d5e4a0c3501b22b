from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlab.evaluation.robustness import Outcomes, compare_conditions, corruption_table, drops_by_expression, severity_table
from ferlab.params import load_params
from ferlab.reporting.pages import robustness as page
from ferlab.reporting.pages.corruption_error import corruption_error_sentence, corruption_errors_table, nested_errors
from ferlab.reporting.site.publish_sections import robustness_section
from ferlab.reporting.site.publish_stages import Ran
from ferlab.roles import Exposure

NAMES = ("happy", "sad")
SEEN = Exposure(("train",), ("val",))
LIGHT = {"jpeg": 0.9, "gaussian_noise": 0.8}
MOVED = {
    "shift": {0.04: 0.88, 0.2: 0.3}, "rotation": {5.0: 0.88, 45.0: 0.3}, "scale": {0.6: 0.2, 0.9: 0.88, 1.1: 0.89, 1.5: 0.3},
    "resolution": {8.0: 0.3, 32.0: 0.88},
}  # fmt: skip
CONDITIONS = [
    ("clean", "clean", 0.0, 0.9),
    *(("corruption", name, float(severity), start - 0.1 * severity) for name, start in LIGHT.items() for severity in range(1, 6)),
    ("occlusion", "mask", 1.0, 0.4),
    ("occlusion", "glasses", 1.0, 0.89),
    *(("displacement", name, level, accuracy) for name, levels in MOVED.items() for level, accuracy in levels.items()),
]


@pytest.fixture(scope="module")
def found() -> Outcomes:
    columns = pd.MultiIndex.from_tuples([(name, severity) for _, name, severity, _ in CONDITIONS])
    hits = np.stack([np.arange(200) % 100 < 100 * accuracy for *_, accuracy in CONDITIONS], axis=1)
    return Outcomes(pd.DataFrame(hits, columns=columns), np.arange(200) // 100, None, {name: kind for kind, name, *_ in CONDITIONS})


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_sample_sentence_says_what_the_split_was(found):
    said = [
        page.sample_sentence(found, split="val", source="faces", seen=seen)
        for seen in (SEEN, Exposure(("train", "val"), ()), Exposure(("train",), ()))
    ]
    assert "optimistically biased" in said[0]
    assert "**The model was trained on val:**" in said[1]
    assert said[2].endswith("neither trained nor selected on val.")
    assert said[0].startswith("200 val faces (faces)")
    assert "90.0 % [" in said[0]


def test_corruptions_in_words_and_rows(found):
    errors = corruption_table(found, found.named("corruption"))
    said = page.corruption_sentence(errors)
    assert "2 of 2 corruptions raise it significantly" in said
    assert "The largest rise: Gaussian noise" in said
    assert "the smallest: JPEG" in said
    table = page.corruptions_table(errors)
    assert list(table.index) == ["Gaussian noise", "JPEG", "mean"]
    assert table.loc["mean", "Holm p"] == "–"


def test_accuracy_near_chance_is_called_so(found):
    severities = severity_table(found, found.named("corruption"), expressions=NAMES)
    said = page.severity_sentence(severities, classes=2)
    assert "not significantly above the 50.0 % of random predictions" in said
    assert "random" not in page.severity_sentence(severities, classes=7)
    assert "The lowest recall at severity 5: happy" in said
    assert page.severities_table(severities).index[0] == "unchanged"


def test_occlusions_in_words_and_rows(found):
    occlusions = compare_conditions(found, ["mask", "glasses"])
    drops = drops_by_expression(found, ["mask", "glasses"], expressions=NAMES)
    assert page.occlusion_sentence(occlusions).startswith("Significant drops (paired, Holm, 5 % level): mask 50.0 points")
    assert page.occlusion_sentence(occlusions).endswith("Not significant: glasses.")
    assert page.occlusion_sentence(occlusions.iloc[1:]) == "No occlusion costs accuracy significantly."
    table = page.occlusions_table(occlusions, drops)
    assert table.loc["mask", "happy"] == "50.0*"
    assert table.loc["glasses", "sad"] == "1.0"
    assert page.occlusions_table(occlusions, drops.assign(n=19)).loc["mask", "happy"] == "–"


def test_curves_name_the_least_change_that_costs_accuracy(found):
    displacements = compare_conditions(found, found.named("displacement"))
    said = page.curves_sentence(displacements)
    for part in ("shift 20 % of the side", "rotation 45 degrees", "scale 1.5", "resolution 8 pixels"):
        assert part in said
    mild = displacements[displacements["severity"].isin((0.04, 5.0, 0.9, 1.1, 32.0))]
    assert page.curves_sentence(mild).count("none of the levels") == 4


def test_curves_have_four_panels_with_the_unchanged_face_in_its_place(found):
    figure = page.plot_curves(compare_conditions(found, found.named("displacement")), found, side=48)
    axes = figure.axes
    assert [axis.get_xlabel().split(",")[0] for axis in axes] == ["shift", "rotation", "scale", "resolution"]
    assert [list(axis.lines[2].get_xdata()) for axis in axes] == [[0], [0], [1], [48]]
    assert list(axes[2].lines[0].get_xdata()) == [0.6, 0.9, 1, 1.1, 1.5]
    assert all(len(axis.collections) == 1 for axis in axes)


def test_the_heat_map_has_the_least_harmful_corruption_on_top(found):
    axis = page.plot_corruptions(found).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["JPEG", "Gaussian noise"]
    assert [text.get_text() for text in axis.texts][:6] == ["90", "80", "70", "60", "50", "40"]


def test_occlusions_are_drawn_with_their_intervals(found):
    axis = page.plot_occlusions(compare_conditions(found, ["mask", "glasses"])).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["glasses", "mask"]


def test_strips_hold_all_pictures_of_a_condition():
    faces = [np.full((48, 48), tone, np.uint8) for tone in (10, 200, 90)]
    figure = page.plot_strips({"jpeg": faces, "fog": faces, "mask": faces})
    shown = sorted(
        (axis for axis in figure.axes if axis.images), key=lambda axis: (axis.get_subplotspec().colspan.start, axis.get_subplotspec().rowspan.start)
    )
    assert [axis.get_ylabel() for axis in shown] == ["JPEG", "fog", "mask"], "down the first column, then the second"
    assert shown[0].images[0].get_array().shape == (48, 3 * 48 + 2 * 2)


def transfer(low: float, high: float) -> pd.DataFrame:
    row = {"compared": "b", "n": 50, "n_own": 60, "accuracy": 0.5, "accuracy_ci_low": 0.4, "accuracy_ci_high": 0.6, "own": 0.8, "own_ci_low": 0.7,
           "own_ci_high": 0.9, "drop": 0.3, "drop_ci_low": low, "drop_ci_high": high, "balanced_accuracy": 0.45, "balanced_own": 0.75}  # fmt: skip
    return pd.DataFrame([row])


def test_each_reading_of_a_transfer():
    facts = {"b": {"expressions": ["happy", "sad"], "duplicates": 3, "own_duplicates": 4, "lacking": 2, "prepared_alike": False}}
    said = page.transfer_sentence(transfer(0.1, 0.5), facts, own="a")
    for part in (
        "significantly less than the 80.0 %",
        "3 faces are training faces or duplicates",
        "4 faces of a have a duplicate among training faces",
        "2 faces of other expressions",
        "prepared differently",
    ):
        assert part in said
    assert "not significantly different from" in page.transfer_sentence(transfer(-0.1, 0.5), facts, own="a")
    assert "significantly more than" in page.transfer_sentence(transfer(-0.5, -0.1), facts, own="a")
    assert page.transfer_sentence(transfer(0, 0).iloc[:0], {}, own="a") == "`robustness.sets` names no other prepared dataset."
    assert page.transfers_table(transfer(0, 0).iloc[:0], own="a") is None
    assert page.transfers_table(transfer(0.1, 0.5), own="a").loc["b", "accuracy on a, %"] == "80.0 [70.0, 90.0]"


def summarised(found: Outcomes) -> dict:
    names = {kind: found.named(kind) for kind in ("corruption", "occlusion", "displacement")}
    return page.summarise(
        found, corruption_table(found, names["corruption"]), severity_table(found, names["corruption"], expressions=NAMES),
        occlusions=compare_conditions(found, names["occlusion"]), drops=drops_by_expression(found, names["occlusion"], expressions=NAMES),
        displacements=compare_conditions(found, names["displacement"]), transfer=transfer(0.1, 0.5),
    )  # fmt: skip


def test_metrics_are_nested_by_name(found):
    summary = summarised(found)
    assert summary["accuracy_by_corruption"]["jpeg"]["3"] == pytest.approx(0.6)
    assert summary["occlusions"]["mask"]["by_expression"]["sad"]["drop"] == pytest.approx(0.5)
    assert summary["displacements"]["shift"]["0.04"]["accuracy"] == pytest.approx(0.88)
    assert summary["other_sets"]["b"]["drop"] == 0.3


def test_a_published_run_says_what_its_perturbed_faces_were_to_it(found):
    params = load_params()
    first = next(iter(params.runs))
    of = {"split": "val", "dataset": "fer2013", "usage": {"val": "Training"}, **summarised(found)}
    for seen, told, mark in (
        ({"trained_on": ["train", "val"]}, "Scores on val are training scores. ", " (trained on)"),
        ({"trained_on": ["train"]}, "Scores on val describe the best of several epochs and are optimistically biased. ", " (selected its epoch)"),
        ({"trained_on": ["train"], "selected_on": []}, "", ""),
    ):
        text = robustness_section(params, Ran({}, {first: {"robustness": of, "evaluate": seen}}, {}, {}), [first])
        assert f"200 val faces (fer2013), without test-time augmentation. {told}Over 2 corruptions" in text
        assert text.splitlines()[-1].endswith(f"| 80.0 [70.0, 90.0]{mark} | 30.0 [10.0, 50.0] | 45.0 | 75.0{mark} |")


def runs(difference: float, p: float, *, role: str = "selected_on") -> pd.DataFrame:
    base = {"run": "base", "role": "selected_on"}
    base |= {"n": 10, "clean_error": 0.1, "error": 0.4, "mce": 1.0, "mce_ci_low": 1.0, "mce_ci_high": 1.0, "relative_mce": 1.0,
            "relative_mce_ci_low": 1.0, "relative_mce_ci_high": 1.0, "relative_corruptions": 15, "difference": 0.0, "difference_ci_low": 0.0,
            "difference_ci_high": 0.0, "p": 1.0, "p_holm": float("nan")}  # fmt: skip
    bounds = {"difference_ci_low": difference - 0.01, "difference_ci_high": difference + 0.01}
    other = base | bounds | {"run": "other", "role": role, "mce": 0.9, "difference": difference, "p_holm": p}
    return pd.DataFrame([base, other])


def test_each_reading_of_the_corruption_errors():
    assert "other has a lower one, by 5.0 points [4.0, 6.0]" in corruption_error_sentence({"a": runs(-0.05, 0.01)})
    assert "other has a higher one, by 5.0 points [4.0, 6.0]" in corruption_error_sentence({"a": runs(0.05, 0.01)})
    assert "no run differs from it significantly" in corruption_error_sentence({"a": runs(0.05, 0.2)})
    assert "base is the only run" in corruption_error_sentence({"a": runs(0.05, 0.2).iloc[:1]})
    assert "trained" not in corruption_error_sentence({"a": runs(0.05, 0.2)})
    table = corruption_errors_table({"a": runs(0.05, 0.2)})
    assert list(table["mCE, %"]) == ["100 (baseline)", "90.0 [100.0, 100.0]"]
    assert nested_errors({"a": runs(0.05, 0.2)})["a"]["other"]["mce"] == 0.9


def test_runs_of_another_exposure_to_the_faces_get_no_verdict_on_corruption():
    told = corruption_error_sentence({"a": runs(float("nan"), float("nan"), role="trained")})
    assert told == (
        "On a, the baseline is base, with a mean error under corruption of 40.0 %: no run is compared with it. "
        "Other than the baseline, other was trained on these faces."
    )
    assert list(corruption_errors_table({"a": runs(0.05, 0.2, role="trained")})["faces"]) == ["10", "10 (trained on)"]
    both = pd.concat([runs(-0.05, 0.01), runs(float("nan"), float("nan"), role="untouched").iloc[1:].assign(run="third")])
    assert corruption_error_sentence({"a": both}).endswith(
        "other has a lower one, by 5.0 points [4.0, 6.0]. Other than the baseline, third was neither trained nor selected on these faces."
    )


def test_runs_that_were_all_trained_on_the_faces_say_so():
    table = runs(-0.05, 0.01).assign(role="trained")
    told = corruption_error_sentence({"a": table})
    assert told.endswith("by 5.0 points [4.0, 6.0]. **These runs were trained on these faces:** the errors are training scores.")
    assert corruption_error_sentence({"a": table.iloc[:1]}).endswith("**It was trained on these faces:** the error is a training score.")
