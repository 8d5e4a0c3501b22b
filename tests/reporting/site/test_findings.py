"""The three findings of the first page: what they say, and what they do not say where the numbers do not bear it out."""

from __future__ import annotations

from typing import Any

from ferlab.params import Params, check_params
from ferlab.reporting.site.findings import best_finding, best_run, condition_finding, confusion_finding, findings, trained_sentence
from ferlab.roles import Exposure

SEEN = Exposure(("train",), ("val",))
TRAIN = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant"}
SECTIONS = ("audit", "evaluate", "explain", "analyze_errors", "compare", "deploy")


def study(*runs: str) -> Params:
    named = {run: {"family": "cs230", "model": "five_layer", "data": "faces", "seed": 0, "group": run[0]} for run in runs}
    whole = {"study": "t", "prepare": {"faces": {"dataset": "control"}}, "train": TRAIN, "runs": named, **{name: {} for name in SECTIONS}}
    return check_params(whole)


def score(accuracy: float) -> dict[str, Any]:
    return {"accuracy": accuracy, "accuracy_ci_low": accuracy - 0.04, "accuracy_ci_high": accuracy + 0.04, "n": 1200}


def run(val: float, test: float, **more: Any) -> dict[str, Any]:
    return {"val": score(val), "test": score(test), "trained_on": ["train"], "selected_on": ["val"], "tta": "flip", **more}


def paired_test(difference: float, p: float) -> dict[str, Any]:
    return {"difference": difference, "ci_low": difference - 0.02, "ci_high": difference + 0.02, "p_holm": p}


def test_the_best_model_is_chosen_on_val_and_reported_on_test() -> None:
    evaluations = {"a": run(0.80, 0.70), "b": run(0.78, 0.75)}
    assert best_run(study("a", "b"), evaluations, data="faces") == ("a", "val")
    told = best_finding("a", "val", params=study("a", "b"), evaluations=evaluations, pairs={"b": {"a": paired_test(0.05, 0.01)}})
    assert "`a`, the best of 2 models on val, classifies **70.0 % [66.0, 74.0]** of the 1,200 test faces" in told
    assert "over faces; TTA: flip" in told
    assert "Its difference from `b`, -5.0 points [-7.0, -3.0], is significant (paired, Holm p = 0.010)." in told
    assert "biased" not in told


def test_a_difference_that_no_test_finds_is_called_not_significant() -> None:
    evaluations = {"a": run(0.80, 0.70), "b": run(0.78, 0.65)}
    told = best_finding("a", "val", params=study("a", "b"), evaluations=evaluations, pairs={"a": {"b": paired_test(0.05, 0.06)}})
    assert "is not significant" in told
    assert "significant (" not in told.replace("is not significant (", "")
    assert "difference" not in best_finding("a", "val", params=study("a", "b"), evaluations=evaluations, pairs={})


def test_a_choice_on_test_and_an_epoch_selected_on_test_are_called_biased() -> None:
    refit = {"trained_on": ["train", "val"], "selected_on": []}
    evaluations = {"a": run(0.99, 0.70, **refit), "b": run(0.90, 0.75, **refit)}
    assert best_run(study("a", "b"), evaluations, data="faces") == ("b", "test")
    told = best_finding("b", "test", params=study("a", "b"), evaluations=evaluations, pairs={})
    assert "Chosen on the faces that it is scored on, it is optimistically biased." in told
    peeked = {"a": run(0.80, 0.99, selected_on=["test"]), "b": run(0.70, 0.60)}
    assert best_run(study("a", "b"), peeked, data="faces") == ("b", "val")
    alone = {"a": peeked["a"]}
    assert "Test selected its epoch" in best_finding("a", "val", params=study("a"), evaluations=alone, pairs={})
    assert best_run(study("a"), {}, data="faces") is None


def test_intervals_are_over_subjects_and_faces_without_duplicates_where_they_are_known() -> None:
    over = {"subjects": 30, "accuracy_ci_low": 0.5, "accuracy_ci_high": 0.9}
    fewer = {**over, "subjects": 24}
    values = run(0.8, 0.7, subjects=over, subjects_by_split={"test": over, "test_dedup": fewer}, n={"test": 1200, "test_dedup": 900})
    values["test_dedup"] = {**score(0.65), "n": 900}
    told = best_finding("a", "val", params=study("a"), evaluations={"a": values}, pairs={})
    assert "**65.0 % [50.0, 90.0]** of the 900 test faces of faces without a duplicate in train or val correctly" in told
    assert "over 24 subjects" in told


def pair(target: str, pred: str, count: int, low: float, high: float) -> dict[str, Any]:
    return {"target": target, "pred": pred, "count": count, "support": 50, "rate": count / 50, "rate_ci_low": low, "rate_ci_high": high}


def test_the_main_confusion_is_beyond_doubt_only_where_intervals_do_not_overlap() -> None:
    near = {"split": "val", "confused_pairs": [pair("angry", "sad", 10, 0.1, 0.3), pair("sad", "angry", 9, 0.09, 0.29)]}
    assert "angry predicted as sad: 10 of 50 val faces, **20.0 % [10.0, 30.0]**" in confusion_finding(near, SEEN)
    assert "order of the two is not established" in confusion_finding(near, SEEN)
    far = {"split": "val", "confused_pairs": [pair("angry", "sad", 30, 0.5, 0.7), pair("sad", "angry", 2, 0.01, 0.1)]}
    assert "The next is significantly rarer: sad predicted as angry" in confusion_finding(far, SEEN)
    none = {"split": "val", "confused_pairs": [pair("angry", "sad", 0, 0.0, 0.1)]}
    assert confusion_finding(none, SEEN) == confusion_finding({}, SEEN) == ""


def test_what_is_confused_most_often_is_not_called_most_frequent_where_the_next_has_the_higher_rate() -> None:
    often = {**pair("angry", "sad", 60, 0.052, 0.085), "support": 900, "rate": 60 / 900}
    rare = {**pair("happy", "angry", 20, 0.249, 0.496), "support": 55, "rate": 20 / 55}
    told = confusion_finding({"split": "val", "confused_pairs": [often, rare]}, SEEN)
    assert "The next by count is significantly more frequent among the faces of its expression: happy predicted as angry, 20 of 55, 36.4 %" in told
    assert "overlap" not in told


def test_a_confusion_of_one_subjects_faces_has_no_interval_and_is_told_without() -> None:
    alone = {**pair("angry", "sad", 10, 0.1, 0.3), "rate_ci_low": None, "rate_ci_high": None}
    for pairs in ([alone, pair("sad", "angry", 9, 0.09, 0.29)], [pair("sad", "angry", 12, 0.1, 0.4), alone]):
        told = confusion_finding({"split": "val", "confused_pairs": pairs}, SEEN)
        assert told.endswith("One has no interval, since its faces are of one subject, so the order of the two is not established.")


def test_models_that_were_no_candidates_or_not_tested_are_not_counted() -> None:
    evaluations = {"a": run(0.80, 0.70), "b": run(0.78, 0.65), "c": run(0.70, 0.60), "d": run(0.99, 0.90, selected_on=["test"])}
    params = study("a", "b", "c", "d")
    tests = {"a": {"b": paired_test(0.05, 0.01), "c": paired_test(0.1, 0.2)}}
    told = best_finding("a", "val", params=params, evaluations=evaluations, pairs=tests)
    assert "`a`, the best of 3 models on val," in told
    assert told.endswith("It is significantly better than 1 of the 2 that it was tested against (paired tests, Holm, 5 % level).")


def slices(p_holm: float | None, low: float) -> dict[str, Any]:
    group = {"condition": "light", "group": "dark", "n": 40, "error_rate": 0.6, "ci_low": low, "ci_high": 0.8}
    easy = {**group, "group": "bright", "error_rate": 0.1, "ci_low": 0.05, "ci_high": 0.2}
    return {"split": "val", "n": 300, "errors": 60, "slice_tests": [{"condition": "light", "p_holm": p_holm}], "slices": [easy, group]}


def test_a_condition_is_named_only_where_its_test_and_the_interval_of_the_group_bear_it_out() -> None:
    told = condition_finding(slices(0.001, 0.4), {}, SEEN)
    assert "**60.0 % [40.0, 80.0]** of the 40 val faces with light dark are misclassified (20.0 % of all 300)" in told
    for errors in (slices(0.06, 0.4), slices(None, 0.4), slices(0.001, 0.19)):
        assert condition_finding(errors, {}, SEEN) == "In none of 1 conditions does a group of val faces have a significantly higher error rate."


def test_a_group_of_one_subject_has_no_interval_and_is_not_named() -> None:
    errors = slices(0.001, 0.4)
    errors["slices"][1] |= {"ci_low": None, "ci_high": None}
    assert condition_finding(errors, {}, SEEN) == "In none of 1 conditions does a group of val faces have a significantly higher error rate."


def test_the_largest_rise_is_sought_only_among_those_that_cost_significantly() -> None:
    def rise(value: float, p: float | None) -> dict[str, Any]:
        return {"rise": value, "rise_ci_low": value - 0.1, "rise_ci_high": value + 0.1, "p_holm": p}

    found = {"fog": rise(0.3, 0.2), "motion_blur": rise(0.2, 0.01), "jpeg": rise(0.05, 0.03), "mean": rise(0.9, None)}
    told = condition_finding({}, {"split": "val", "corruptions": found}, SEEN)
    assert told == "2 of 3 corruptions raise the error on val faces significantly; the largest rise: motion blur, **20.0 points [10.0, 30.0]**."
    none = {"split": "val", "corruptions": {"fog": rise(0.3, 0.2)}}
    assert condition_finding({}, none, SEEN) == "None of 1 corruptions raises the error on val faces significantly."
    assert condition_finding({}, {}, SEEN) == ""


def test_findings_of_faces_that_the_model_was_trained_on_are_marked() -> None:
    errors = {**slices(0.001, 0.4), "confused_pairs": [pair("angry", "sad", 10, 0.1, 0.3)]}
    rise = {"rise": 0.3, "rise_ci_low": 0.2, "rise_ci_high": 0.4, "p_holm": 0.01}
    found = {"errors": {"a": errors}, "robustness": {"a": {"split": "val", "corruptions": {"fog": rise}}}, "pairs": {}, "links": {}}
    told = findings(study("a"), evaluations={"a": run(0.8, 0.7, trained_on=["train", "val"], selected_on=[])}, **found)
    rates = ("10 of 50 val faces (trained on), **20.0 %", "of the 40 val faces (trained on) with light dark")
    for part in (*rates, "1 of 1 corruptions raise the error on val faces (trained on) significantly;"):
        assert part in told
    assert "(trained on)" not in findings(study("a"), evaluations={"a": run(0.8, 0.7)}, **found)
    dull = {"errors": {"a": slices(0.2, 0.4)}, "robustness": {"a": {"split": "val", "corruptions": {"fog": {**rise, "p_holm": 0.2}}}}}
    told = findings(study("a"), evaluations={"a": run(0.8, 0.7, trained_on=["train", "val"])}, **{**found, **dull})
    assert "does a group of val faces (trained on) have" in told
    assert "raises the error on val faces (trained on) significantly." in told


def test_findings_are_numbered_and_lead_to_their_pages() -> None:
    links = {"evaluate": "runs/{run}/evaluate.ipynb"}
    errors = {"a": {"split": "val", "confused_pairs": [pair("angry", "sad", 10, 0.1, 0.3)]}}
    told = findings(study("a"), evaluations={"a": run(0.8, 0.7)}, errors=errors, robustness={}, pairs={}, links=links)
    first, second = told.splitlines()
    assert first.startswith("1. [Best model](runs/a/evaluate.ipynb): `a` classifies")
    assert second.startswith("2. Main confusion: angry")
    assert findings(study("a"), evaluations={}, errors={}, robustness={}, pairs={}, links={}) == ""


def test_what_was_done_is_one_sentence() -> None:
    told = trained_sentence(study("a", "a2"), {"faces": {"splits": {"train": 2100, "val": 300, "test": 600}}}, drawn=["faces"])
    faces = "control faces: 2,100 to train, 300 to validate and 600 to test"
    assert told == f"Study `t` trains and tests 2 models (1 recipe, several seeds) on `faces` ({faces})."
