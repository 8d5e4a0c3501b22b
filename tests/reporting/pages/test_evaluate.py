from __future__ import annotations

import matplotlib.colors
import numpy as np
import pandas as pd

from ferlab.colours import COLOURS
from ferlab.evaluation.proportions import wilson
from ferlab.evaluation.tta import PASSES
from ferlab.reporting.pages.evaluate import (
    accuracy_sentence,
    best_and_worst_sentence,
    confusion_sentence,
    duplicates_sentence,
    metrics_table,
    per_class_table,
    plot_confusions,
    plot_per_class,
    sequences_text,
    subjects_sentence,
    tta_sentence,
    values_tables,
)
from ferlab.reporting.tables import TTA, source_name
from ferlab.roles import Exposure

NAMES = ["angry", "happy", "sad"]
BOUNDED = {"accuracy": 0.6, "accuracy_ci_low": 0.55, "accuracy_ci_high": 0.65}



def confusions() -> pd.DataFrame:
    return pd.DataFrame([[6, 3, 1], [0, 1200, 0], [0, 0, 0]], index=NAMES, columns=NAMES)


def per_class() -> dict:
    values = {"recall": 0.5, "precision": 0.25, "f1": 0.333}
    bounds = {f"{key}_ci_{side}": values[key] + step for key in values for side, step in (("low", -0.1), ("high", 0.1))}
    absent = dict.fromkeys((*values, *bounds))
    return {"angry": {**values, **bounds, "support": 10}, "happy": {**values, **bounds, "support": 1200}, "sad": {**absent, "support": 0}}


def texts(axis) -> list[str]:
    return [text.get_text() for text in axis.texts]


def test_confusions_show_counts_and_shares_of_each_row_side_by_side():
    left, right = plot_confusions(confusions()).axes
    assert texts(left) == ["6", "3", "1", "0", "1,200", "0", "0", "0", "0"]
    assert texts(right) == ["60", "30", "10", "0", "100", "0", "0", "0", "0"]
    assert (left.get_ylabel(), left.get_xlabel()) == ("actual", "predicted")
    assert [label.get_text() for label in left.get_xticklabels()] == NAMES


def test_numbers_stand_out_from_their_cell():
    axis = plot_confusions(confusions()).axes[1]
    cells = axis.collections[0].get_facecolors()
    for text, cell in zip(axis.texts, cells, strict=True):
        assert contrast(matplotlib.colors.to_rgb(text.get_color()), cell[:3]) > 4.5


def contrast(one, other) -> float:
    def luminance(rgb):
        linear = np.where(np.array(rgb) <= 0.03928, np.array(rgb) / 12.92, ((np.array(rgb) + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_per_class_dots_are_in_their_colours_with_bounds_most_faces_on_top():
    axes = plot_per_class(per_class()).axes
    assert [axis.get_title() for axis in axes] == ["recall", "precision", "F1"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["sad (0)", "angry (10)", "happy (1,200)"]
    dots = [line for line in axes[0].lines if line.get_marker() == "o"]
    assert [line.get_color() for line in dots] == [COLOURS["angry"], COLOURS["happy"]]
    spans = [line.get_xdata() for line in axes[0].lines if line.get_marker() == "None"]
    np.testing.assert_allclose(spans[0], [40, 60])
    assert texts(axes[0]) == ["undefined"]


def test_accuracy_is_told_with_faces_and_interval():
    told = accuracy_sentence("r", {"test": BOUNDED | {"balanced_accuracy": 0.5}, "n": {"test": 3589}}, source="control faces, drawn")
    assert "60.0 % [55.0, 65.0] of 3,589 test faces (control faces, drawn)" in told
    assert "50.0 %" in told
    assert told.endswith("Brackets hold 95 % intervals over faces.")
    by_subject = {"test": BOUNDED | {"balanced_accuracy": 0.5, "subjects": 30}, "n": {"test": 3589}}
    assert accuracy_sentence("r", by_subject, source="control faces, drawn").endswith("Brackets hold 95 % intervals over 30 subjects.")


def test_control_faces_are_always_called_so():
    assert source_name({"dataset": "control", "usage": {"test": "Training"}}) == "control faces, drawn"
    assert source_name({"dataset": "fer2013", "usage": {"test": "PublicTest"}}, "test_dedup") == "fer2013, PublicTest"


def test_best_and_worst_class_skip_what_is_undefined():
    per_class = {"a": {"f1": 0.9, "support": 5}, "b": {"f1": None, "support": 0}, "c": {"f1": 0.1, "support": 7}}
    told = best_and_worst_sentence(per_class)
    assert told == "Highest F1: a, 90.0 % (5 faces). Lowest: c, 10.0 % (7 faces)."


def test_the_largest_confusion_is_told_by_name():
    table = pd.DataFrame([[8, 2], [5, 5]], index=["sad", "neutral"], columns=["sad", "neutral"])
    assert "13 of 20 faces" in confusion_sentence(table)
    assert "neutral predicted as sad, 5 of 10 (50.0 %)" in confusion_sentence(table)
    assert "All 3 faces are classified correctly" in confusion_sentence(pd.DataFrame([[1, 0], [0, 2]], index=["a", "b"], columns=["a", "b"]))


def test_duplicates_are_told_with_both_groups_and_a_verdict():
    duplicates = {"n_duplicates": 20, "n_dedup": 80, "accuracy_duplicates": 0.9, "accuracy_dedup": 0.6, "difference": 0.3}
    assert "excludes 0" in duplicates_sentence(duplicates | {"difference_ci_low": 0.1, "difference_ci_high": 0.4})
    assert "includes 0" in duplicates_sentence(duplicates | {"difference_ci_low": -0.1, "difference_ci_high": 0.4})
    told = duplicates_sentence(duplicates | {"difference_ci_low": 0, "difference_ci_high": 1})
    assert told.startswith("20 of 100 test faces (20.0 %) have an exact, mirrored or near-duplicate in train or val. ")
    assert "nothing to compare" in duplicates_sentence({"n_duplicates": 0, "n_dedup": 80, "difference": None})


def test_the_reported_augmentation_stands_beside_none_with_its_cost():
    augmented = {"tta_none": {"test": BOUNDED}, "tta_flip": {"test": BOUNDED | {"accuracy": 0.61}}, "ties": None}
    told = tta_sentence(augmented | {"tta": "flip", "passes": 2})
    assert told.startswith("Without test-time augmentation: 60.0 % [55.0, 65.0] on test, one pass")
    assert "mirror image: 61.0 % [55.0, 65.0], 2 passes. The last is reported." in told
    assert tta_sentence(augmented | {"tta": "none", "passes": 1}).endswith("per face. This is the reported accuracy.")


def test_augmentations_within_the_reported_one_stand_before_it():
    augmented = {f"tta_{tta}": {"test": BOUNDED | {"accuracy": share}} for tta, share in (("two_scales", 0.63), ("ten_crop", 0.62), ("flip", 0.61))}
    told = tta_sentence(augmented | {"tta_none": {"test": BOUNDED}, "tta": "two_scales", "passes": 12, "ties": None})
    places = [told.index(share) for share in ("60.0", "61.0", "62.0", "63.0")]
    assert places == sorted(places)
    assert told.endswith("the mean of flip (a face and its mirror image) and ten crops: 63.0 % [55.0, 65.0], 12 passes. The last is reported.")


def test_a_vote_tells_its_ties_and_that_its_probabilities_are_none():
    augmented = {"tta_none": {"test": BOUNDED}, "tta_vote": {"test": BOUNDED}, "tta": "vote", "passes": 4, "ties": 12}
    assert "12 test faces had tied votes." in tta_sentence(augmented)
    assert "vote fractions" in tta_sentence(augmented)


def test_every_augmentation_has_a_name():
    assert set(TTA) | {"none"} == set(PASSES)


def test_sequences_are_told_only_where_there_are_some():
    assert sequences_text(None) == []
    bounded = {f"{kind}{key}": value for kind in ("", "frame_", "smoothed_") for key, value in BOUNDED.items()}
    counts = {"sequences": 30, "frames": 240, "mixed": 0, "flicker": 0.25, "smoothed_flicker": 0.05, "alpha": 0.3}
    (told,) = sequences_text(bounded | counts)
    assert "240 frames of 30 sequences" in told
    assert "in 25.0 % of cases" in told
    assert "several expressions" not in told
    assert "2 sequences hold frames of several expressions" in sequences_text(bounded | counts | {"mixed": 2})[0]


def test_few_subjects_are_warned_of():
    low, high = wilson(240, 400)
    over_subjects = {"subjects": 8, "accuracy": 0.6, "accuracy_ci_low": 0.6 - (high - low), "accuracy_ci_high": 0.6 + (high - low)}
    told = subjects_sentence(over_subjects, 400)
    assert told.endswith("of the test accuracy over 8 subjects is 2.0 times as wide as over faces. Fewer than 20 subjects make a rough interval.")
    assert "Fewer" not in subjects_sentence(over_subjects | {"subjects": 40}, 400)
    assert "name no subjects" in subjects_sentence(BOUNDED, 400)


def test_the_table_of_metrics_has_a_column_per_split_with_its_faces():
    keys = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "nll", "ece", "top3_accuracy")
    got = {k: v for key in keys for k, v in ((key, 0.621), (f"{key}_ci_low", 0.605), (f"{key}_ci_high", 0.637))}
    scores = {"val": got, "test": got, "test_dedup": None, "n": {"val": 3589, "test": 10, "test_dedup": 0}}
    table = metrics_table(scores, Exposure(("train",), ("val",)))
    assert table.columns.tolist() == ["val, selected its epoch (n = 3,589)", "test (n = 10)"]
    assert table.loc["accuracy, %", "test (n = 10)"] == "62.1 [60.5, 63.7]"
    assert table.loc["NLL, nats", "test (n = 10)"] == "0.621 [0.605, 0.637]"
    same = metrics_table(scores | {"test_dedup": got, "n": {"val": 3589, "test": 10, "test_dedup": 10}}, Exposure(("train",), ("val",)))
    assert same.columns.tolist() == table.columns.tolist(), "no face was excluded"
    assert "over" not in " ".join([*table.columns, *table.index])
    assert "accuracy at test's class mix, %" not in table.index  # no split has it
    at_mix = {"subjects": 4, "accuracy_at_test_mix": 0.6}
    by_subject = metrics_table(scores | {"test": got | at_mix}, Exposure(("train",), ("val",)))
    assert by_subject.columns[1] == "test (n = 10, 4 subjects)"
    assert [name for name in by_subject.index if "over" in name] == ["accuracy at test's class mix, % (over faces)", "ECE, % (over faces)"]


def test_the_table_of_classes_names_faces_and_scores():
    table = per_class_table({"sad": {"support": 7, "recall": 0.5, "recall_ci_low": 0.3, "recall_ci_high": 0.7, "precision": None, "f1": 0.2}})
    assert table.loc["sad"].tolist() == [7, "50.0 [30.0, 70.0]", "–", "20.0"]
    ranked = {"support": 7, "recall": 0.5, "precision": None, "f1": 0.2, "rank_mean": 1.5, "rank_mean_ci_low": 1.2, "rank_mean_ci_high": 2.0}
    assert per_class_table({"sad": ranked}).loc["sad", "mean rank of the label"] == "1.50 [1.20, 2.00]"


def test_values_stand_with_their_bounds_and_what_they_must_beat():
    score = {"n": 40, "ccc": 0.8, "ccc_ci_low": 0.7, "ccc_ci_high": 0.86, "rmse": 0.5, "rmse_ci_low": 0.4, "rmse_ci_high": 0.61, "mean_rmse": 1.4}
    (table,) = values_tables({"intensity": score})
    assert table.loc["intensity"].tolist() == [40, "over faces", "0.800 [0.700, 0.860]", "0.500 [0.400, 0.610]", "1.400"]
    assert values_tables(None) == []
