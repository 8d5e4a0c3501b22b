from __future__ import annotations

import pandas as pd
import pytest

from ferlab.evaluation.ensembles import ENSEMBLE, WEIGHTED
from ferlab.evaluation.tta import PASSES
from ferlab.reporting.sentences import (
    TTA,
    accuracy_sentence,
    best_and_worst_sentence,
    calibration_sentence,
    confidence_sentence,
    confusion_sentence,
    duplicates_sentence,
    ensembles_sentence,
    hardest_sentence,
    pairs_sentence,
    runs_sentence,
    seeds_sentence,
    sequences_text,
    source_name,
    subjects_sentence,
    tta_sentence,
)

BOUNDED = {"accuracy": 0.6, "accuracy_ci_low": 0.55, "accuracy_ci_high": 0.65}


def test_accuracy_is_told_with_faces_and_interval():
    told = accuracy_sentence("r", {"test": BOUNDED | {"balanced_accuracy": 0.5}, "n": {"test": 3589}}, source="control faces, drawn")
    assert "60.0 % [55.0, 65.0] of 3,589 test faces (control faces, drawn)" in told
    assert "50.0 %" in told


def test_control_faces_are_always_called_so():
    assert source_name({"dataset": "control", "usage": {"test": "Training"}}) == "control faces, drawn"
    assert source_name({"dataset": "fer2013", "usage": {"test": "PublicTest"}}, "test_dedup") == "fer2013, PublicTest"


def test_best_and_worst_class_skip_what_is_undefined():
    per_class = {"a": {"f1": 0.9, "support": 5}, "b": {"f1": None, "support": 0}, "c": {"f1": 0.1, "support": 7}}
    told = best_and_worst_sentence(per_class)
    assert "Best class by F1: a, 90.0 % (5 faces)" in told
    assert "Worst: c, 10.0 % (7 faces)" in told
    assert hardest_sentence({"run": per_class}) == "Lowest F1 on test per run: run: c (10.0 %)."


def test_the_largest_confusion_is_told_by_name():
    table = pd.DataFrame([[8, 2], [5, 5]], index=["sad", "neutral"], columns=["sad", "neutral"])
    assert "13 of 20 faces" in confusion_sentence(table)
    assert "neutral called sad, 5 of 10 (50.0 %)" in confusion_sentence(table)
    assert "All 3 faces are classified correctly" in confusion_sentence(pd.DataFrame([[1, 0], [0, 2]], index=["a", "b"], columns=["a", "b"]))


@pytest.mark.parametrize(("ece", "words"), [(0.05, ": more than chance"), (0.02, "no more than chance")])
def test_an_ece_is_read_against_chance(ece, words):
    assert words in calibration_sentence({"ece": ece, "ece_if_calibrated": 0.02, "ece_if_calibrated_high": 0.03})


def test_confidence_above_accuracy_is_overconfident():
    assert confidence_sentence(pd.DataFrame({"faces": [10], "confidence": [0.9], "accuracy": [0.5]})).endswith("overconfident.")
    assert confidence_sentence(pd.DataFrame({"faces": [10], "confidence": [0.5], "accuracy": [0.9]})).endswith("underconfident.")


def test_duplicates_are_told_with_both_groups_and_a_verdict():
    duplicates = {"n_duplicates": 20, "n_dedup": 80, "accuracy_duplicates": 0.9, "accuracy_dedup": 0.6, "difference": 0.3}
    assert "excludes 0" in duplicates_sentence(duplicates | {"difference_ci_low": 0.1, "difference_ci_high": 0.4})
    assert "includes 0" in duplicates_sentence(duplicates | {"difference_ci_low": -0.1, "difference_ci_high": 0.4})
    told = duplicates_sentence(duplicates | {"difference_ci_low": 0, "difference_ci_high": 1}, "exact or near-duplicate")
    assert told.startswith("20 of 100 test faces (20.0 %) have an exact or near-duplicate in train or val. ")
    assert "nothing to compare" in duplicates_sentence({"n_duplicates": 0, "n_dedup": 80, "difference": None})


def test_the_reported_view_stands_beside_the_single_one_with_its_cost():
    augmented = {"tta_none": {"test": BOUNDED}, "tta_flip": {"test": BOUNDED | {"accuracy": 0.61}}, "ties": None}
    told = tta_sentence(augmented | {"tta": "flip", "passes": 2})
    assert told.startswith("Without test-time augmentation: 60.0 % [55.0, 65.0] on test, one pass")
    assert "mirror image: 61.0 % [55.0, 65.0], 2 passes. Reported is the last." in told
    assert "No augmentation is reported" in tta_sentence(augmented | {"tta": "none", "passes": 1})


def test_augmentations_within_the_reported_one_stand_before_it():
    augmented = {f"tta_{tta}": {"test": BOUNDED | {"accuracy": share}} for tta, share in (("two_scales", 0.63), ("ten_crop", 0.62), ("flip", 0.61))}
    told = tta_sentence(augmented | {"tta_none": {"test": BOUNDED}, "tta": "two_scales", "passes": 12, "ties": None})
    places = [told.index(share) for share in ("60.0", "61.0", "62.0", "63.0")]
    assert places == sorted(places)
    assert told.endswith("the mean of both: 63.0 % [55.0, 65.0], 12 passes. Reported is the last.")


def test_a_vote_tells_its_ties_and_that_its_probabilities_are_none():
    augmented = {"tta_none": {"test": BOUNDED}, "tta_vote": {"test": BOUNDED}, "tta": "vote", "passes": 4, "ties": 12}
    assert "The vote was tied on 12 test faces." in tta_sentence(augmented)
    assert "shares of votes" in tta_sentence(augmented)


def test_every_view_has_a_name():
    assert set(TTA) | {"none"} == set(PASSES)


def test_sequences_are_told_only_where_there_are_some():
    assert sequences_text(None) == []
    bounded = {f"{kind}{key}": value for kind in ("", "frame_", "smoothed_") for key, value in BOUNDED.items()}
    counts = {"sequences": 30, "frames": 240, "mixed": 0, "flicker": 0.25, "smoothed_flicker": 0.05, "alpha": 0.3}
    (told,) = sequences_text(bounded | counts)
    assert "240 frames of 30 sequences" in told
    assert "changes in 25.0 % of cases" in told
    assert "several expressions" not in told
    assert "2 sequences hold frames of several expressions" in sequences_text(bounded | counts | {"mixed": 2})[0]


def test_few_subjects_are_warned_of():
    subjects = {"subjects": 8, "accuracy_ci_low": 0.5, "accuracy_ci_high": 0.7}
    assert "2.0 times as wide. Fewer than 20" in subjects_sentence(BOUNDED, subjects)
    assert "Fewer" not in subjects_sentence(BOUNDED, subjects | {"subjects": 40})
    assert "name no subjects" in subjects_sentence(BOUNDED, None)


def pairs() -> pd.DataFrame:
    rows = [("a", "b", -0.05, 0.0004, 0.0008), ("a", "c", 0.01, 0.4, 0.4)]
    columns = ["run_a", "run_b", "difference", "p_exact", "p_holm"]
    return pd.DataFrame(rows, columns=columns).assign(n=3589, detectable=0.015, set="x")


def test_the_widest_gap_names_the_better_run_first():
    told = pairs_sentence(pairs())
    assert told.startswith("Params name no contrasts (`compare.contrasts`, `runs.<run>.factors`), so Holm's correction counts all pairs: 2 on x. 1")
    assert told.endswith("the corrected test of this pair finds 1.5 points in 80 % of cases.")
    assert pairs_sentence(pairs(), named=True).startswith("Holm's correction counts the contrasts that params name: 2 on x. 1 of 2")
    assert "(p by subject = 0.020, Holm < 0.001)" in pairs_sentence(pairs().assign(p_subjects=0.02, detectable=float("nan")))
    assert "b over a by 5.0 points on 3,589 faces (p < 0.001, Holm < 0.001)" in told
    assert "no pair" in pairs_sentence(pairs().iloc[:0])


def test_one_seed_tells_nothing_of_spread():
    spread = pd.DataFrame({"group": ["g", "h"], "seeds": [1, 3], "test.accuracy_mean": [0.5, 0.6], "test.accuracy_sd": [float("nan"), 0.01]})
    assert "h: 60.0 ± 1.0 % over 3 seeds" in seeds_sentence(spread)
    assert "one seed" in seeds_sentence(spread.iloc[:1])


def test_votes_and_runs_are_told_per_set():
    told = ensembles_sentence({"x": {"ensemble": {"test": BOUNDED}}}, pairs().assign(run_a="ensemble"))
    assert "On x the ensemble of 2 runs reaches 60.0 % [55.0, 65.0] on test, -5.0 to 1.0 points from its members; it beats 0" in told
    assert "Fitted" not in told
    assert "nothing to vote" in ensembles_sentence({}, pairs().iloc[:0])
    rows = pd.DataFrame([{"run": "a", "set": "x", **{f"test.{key}": value for key, value in BOUNDED.items()}}])
    assert "on x (control faces): a, 60.0 % [55.0, 65.0]" in runs_sentence(rows, {"x": "control"})


def test_fitted_weights_are_told_against_equal_ones():
    rows = pd.concat([pairs().assign(run_a=kind) for kind in (ENSEMBLE, WEIGHTED)], ignore_index=True)
    against_equal = {"set": "x", "run_a": WEIGHTED, "run_b": ENSEMBLE, "difference": 0.003, "ci_low": -0.004, "ci_high": 0.01, "p_holm": 0.5}
    rows = pd.concat([rows, pd.DataFrame([against_equal])], ignore_index=True)
    votes = {"x": {kind: {"test": BOUNDED} for kind in (ENSEMBLE, WEIGHTED)}}
    told = ensembles_sentence(votes, rows)
    assert "On x the fitted ensemble of 2 runs reaches 60.0" in told
    assert "Fitted weights against equal ones: 0.3 points [-0.4, 1.0], Holm p = 0.500" in told
