"""Worst pair, subjects, two-label faces and training labels on the page of errors: sentences in both branches, figures with their numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ferlab.error_analysis.drill_down import explained_rows
from ferlab.error_analysis.persons import overdispersion, rates_by_subject
from ferlab.error_analysis.rankings import BOTH, CONFIDENT_LEARNING, TRACIN, precision_at
from ferlab.evaluation.predictions import predictions_table
from ferlab.reporting.pages import hard_faces, training_labels, worst_pair

NAMES = ("angry", "fear", "sad")


def words(figure: Figure) -> list[str]:
    figure.canvas.draw()
    return [text.get_text() for axis in figure.axes for text in [axis.title, *axis.texts] if text.get_text()]


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Ten faces: angry is three times predicted as fear, once the other way; subjects a and b."""
    target, pred = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2]), np.array([1, 1, 1, 0, 0, 1, 0, 1, 2, 2])
    probs = np.full((10, 3), 0.1)
    probs[np.arange(10), pred] = 0.8
    probs[0] = [0.3, 0.6, 0.1]
    return predictions_table([f"s/{row}" for row in range(10)], ["val"] * 10, target, probs=probs, expressions=NAMES)


def maps_of(predictions: pd.DataFrame, *, apart: bool) -> dict[tuple[str, int], np.ndarray]:
    rows, classes = explained_rows(predictions, [("angry", "fear")])
    maps = {}
    for row, each in zip(rows, classes, strict=True):
        values = np.zeros((8, 8), np.float32)
        values[(0 if apart and each else 4) :][:2] = 0.25
        maps[predictions["face_id"][row], int(each)] = values
    return maps


def test_the_worst_pair_is_drawn_with_probabilities_and_drops(predictions: pd.DataFrame) -> None:
    maps = maps_of(predictions, apart=True)
    figure = worst_pair.plot_pair(np.zeros((10, 8, 8), np.uint8), predictions, ("angry", "fear"), maps=maps)
    shown = words(figure)
    assert "angry 30 %\nfear 60 %" in shown
    assert shown.count("for angry\n25 points") == 5
    assert "angry as fear,\ntypical" in shown
    alt = worst_pair.pair_alt(predictions, ("angry", "fear"))
    assert "1 angry as fear, most confident" in alt
    assert "2 fear, correct" in alt


def test_the_pairs_sentence_repeats_its_numbers(predictions: pd.DataFrame) -> None:
    said = worst_pair.pair_sentence(predictions, ("angry", "fear"))
    assert said.startswith("**Angry as fear**: 3 faces, 60.0 % [23.1, 88.2] of the angry faces; the reverse, fear as angry, has 1.")
    assert "Mean probability of the wrong prediction 73.3 %, 56.7 points above that of the label, in 0 of 3 less than 5" in said
    assert " points; correctly classified angry faces have 80.0 %." in said
    assert "The label is the second most probable expression in 3 of 3: 100.0 %" in said
    without = predictions[~predictions.index.isin([3, 4])].reset_index(drop=True)
    assert "correctly classified" not in worst_pair.pair_sentence(without, ("angry", "fear"))


def test_maps_of_two_expressions_overlap_or_not(predictions: pd.DataFrame) -> None:
    apart, same = (worst_pair.map_sentence(predictions, ("angry", "fear"), maps=maps_of(predictions, apart=each)) for each in (True, False))
    assert apart == "On 3 of 3 misclassified faces with maps, both maps have a drop of 3 points or more; these overlap by 0 % (0 %: no common pixel)."
    assert "these overlap by 100 %" in same
    noise = {key: values / 10 for key, values in maps_of(predictions, apart=True).items()}
    assert worst_pair.map_sentence(predictions, ("angry", "fear"), maps=noise) == ""


def subjects_case(*, unequal: bool) -> tuple[pd.DataFrame, np.ndarray]:
    wrong = np.tile([True, False, False, False], 20)
    wrong[:20] |= unequal
    target, subjects = np.arange(80) % 3, np.repeat(["a", "b", "c", "d"], 20)
    pred = np.where(wrong, (target + 1) % 3, target)
    return predictions_table([str(row) for row in range(80)], ["val"] * 80, target, probs=np.eye(3)[pred], expressions=NAMES), subjects


def test_subjects_that_differ_are_named_and_others_are_not() -> None:
    predictions, subjects = subjects_case(unequal=True)
    rates = rates_by_subject(predictions, subjects)
    said = hard_faces.subjects_sentence(rates, overdispersion(predictions, subjects))
    assert said.startswith("Error rates of 4 subjects run from 25.0 % to 100.0 %. They differ significantly at the 5 % level (chi-square 34.2 at 3")
    assert "Against all others: a (Fisher's exact test, Holm). 1 of 4 subjects has an expression of which every face, of 3 or" in said
    assert hard_faces.subjects_table(rates).loc["a", "expressions missed"] == "angry, fear, sad"
    predictions, subjects = subjects_case(unequal=False)
    said = hard_faces.subjects_sentence(rates_by_subject(predictions, subjects), overdispersion(predictions, subjects))
    assert "They do not differ significantly at the 5 % level" in said
    assert "Against" not in said
    faultless = predictions.assign(pred=predictions["target"])
    said = hard_faces.subjects_sentence(rates_by_subject(faultless, subjects), overdispersion(faultless, subjects))
    assert said.endswith("There is nothing to compare: all faces are errors, or none is.")


def test_subjects_are_drawn_at_their_rates_and_the_worst_with_their_faces() -> None:
    predictions, subjects = subjects_case(unequal=True)
    rates = rates_by_subject(predictions, subjects)
    axis = hard_faces.plot_subjects(rates, overall=0.4).axes[0]
    np.testing.assert_allclose(axis.containers[0].lines[0].get_ydata(orig=False), [100, 25, 25, 25])
    assert [label.get_text() for label in axis.get_xticklabels()] == ["a", "b", "c", "d"]
    errors = hard_faces.worst_faces(rates, predictions, subjects)
    assert errors["subject"].value_counts().to_dict() == {"a": 6, "b": 5, "c": 5}
    assert errors.loc[errors["subject"] == "a", "target"].tolist() == [0, 1, 2, 0, 1, 2], "expressions in turn"
    assert "angry\nas fear" in words(hard_faces.plot_worst(np.zeros((16, 8, 8), np.uint8), errors, names=NAMES))


def split_case(**changed: float) -> dict[str, float]:
    facts = {"faces": 200, "errors": 80, "error_rate": 0.4, "error_rate_ci_low": 0.33, "error_rate_ci_high": 0.47, "error_rate_others": 0.25}
    other = {"other_chosen": 56, "other_share": 0.7, "other_share_ci_low": 0.59, "other_share_ci_high": 0.79, "other_expected": 0.4}
    return {**facts, **other, **changed}


def test_errors_on_split_faces_are_called_the_raters_only_where_they_are() -> None:
    said = hard_faces.split_sentence(split_case())
    assert said.startswith("Raters are split between the label and one other expression on 200 faces: their error rate is 40.0 % [33.0, 47.0]")
    assert "Of 80 errors on them, 56 predict the raters' other choice: 70.0 % [59.0, 79.0]; errors on other faces with the same labels" in said
    assert said.endswith(": these errors are more often the raters' choice.")
    assert hard_faces.split_sentence(split_case(other_expected=0.65)).endswith("would do so in 65.0 %, which the interval does not exclude.")
    assert hard_faces.split_sentence(split_case(other_expected=0.9)).endswith("in 90.0 %: these errors are less often the raters' choice.")
    assert "the raters' other choice: 70.0 % [59.0, 79.0]." in hard_faces.split_sentence(split_case(other_expected=float("nan")))
    assert "errors on them" not in hard_faces.split_sentence(split_case(errors=0))
    assert hard_faces.split_sentence(split_case(faces=0)).startswith("On none of these faces")


def test_split_faces_show_both_expressions_and_the_prediction() -> None:
    row = {"target": "angry", "other": "sad", "share_target": 0.5, "share_other": 0.4, "pred": "sad"}
    assert words(hard_faces.plot_split(np.zeros((1, 8, 8), np.uint8), pd.DataFrame([row]))) == ["angry 50 %\nsad 40 %\npredicted sad"]


def ranked(best: str, *, both_bad: bool = False) -> pd.DataFrame:
    wrong = np.arange(1000) < 100
    good, bad = -np.arange(1000.0), -(7 * np.arange(1000.0) % 1000)
    scores = {name: bad if both_bad or name != best else good for name in (CONFIDENT_LEARNING, TRACIN)}
    return precision_at(scores, wrong).assign(n=1000)


def test_precision_sentences_conclude_what_the_intervals_bear_out() -> None:
    said = training_labels.precision_sentences({"planted": ranked(CONFIDENT_LEARNING)})
    assert said.startswith("On control faces of which 10 % were given a wrong label, of the first 100 labels are wrong: 100.0 % [96.3, 100.0] by")
    better = "A random ranking has 10.0 %: confident learning is better than that (the interval excludes it)"
    assert said.endswith(f"{better}, and confident learning finds more than TracIn.")
    said = training_labels.precision_sentences({"raters": ranked(TRACIN)})
    assert said.endswith("TracIn is better than that (the interval excludes it), and TracIn finds more than confident learning.")
    assert "these faces, by the raters' first choice, of the first 100 labels differ from it: " in said
    assert training_labels.precision_sentences({"planted": ranked("", both_bad=True)}).endswith("no ranking is better than that at this k.")
    poor = -(7 * np.arange(1000.0) % 1000)
    three = precision_at({CONFIDENT_LEARNING: poor, TRACIN: poor, BOTH: -np.arange(1000.0)}, np.arange(1000) < 100)
    assert training_labels.precision_sentences({"planted": three}).endswith("; the mean of both ranks finds more than either.")
    one = ranked(CONFIDENT_LEARNING)
    assert "confident learning is better" in training_labels.precision_sentences({"planted": one[one["ranking"] == CONFIDENT_LEARNING]})


def test_precision_is_drawn_per_truth() -> None:
    tables = {"planted": ranked(CONFIDENT_LEARNING), "raters": ranked(TRACIN)}
    figure = training_labels.plot_precision(tables)
    assert [axis.get_title() for axis in figure.axes] == ["control faces, planted", "this dataset, raters"]
    np.testing.assert_allclose(figure.axes[0].containers[0].lines[0].get_ydata(orig=False), [100, 100, 100, 100, 50])


def test_training_issues_are_called_false_alarms_only_where_labels_are_known_to_be_right() -> None:
    checked = pd.DataFrame({"face_id": list("abcd"), "target": [0, 0, 1, 1], "pred": [0, 1, 1, 1], "fold": [0, 0, 1, 1]})
    checked = checked.assign(self_influence=[1.0, 4.0, 2.0, 3.0])
    issues = pd.DataFrame({"face_id": ["b", "c"]})
    said = training_labels.found_sentence(issues, checked, folds_model="features", true_labels=True)
    assert said.startswith("Cross-validated over 2 folds by a classifier on gradient histograms (accuracy 75.0 %), 2 of 4 training")
    assert "every one of these issues is a false alarm" in said
    said = training_labels.found_sentence(issues, checked, folds_model="run", true_labels=False)
    assert "by the run's own model, trained again for each fold" in said
    assert "false alarm" not in said


def test_training_issues_are_ordered_by_both_opinions() -> None:
    probs = np.array([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6], [0.2, 0.8]])
    checked = predictions_table(list("abcd"), ["train"] * 4, np.zeros(4, int), probs=probs, expressions=NAMES[:2])
    issues = pd.DataFrame({"face_id": ["d", "b", "c"]})  # by label quality
    noted = training_labels.with_influence(issues, checked.assign(self_influence=[3.0, 4.0, 1.0, 2.0]))
    assert noted["face_id"].tolist() == ["b", "d", "c"], "ranks 2 and 1, 1 and 3, 3 and 4"
    assert training_labels.influence_notes(noted) == ["TracIn rank 1", "TracIn rank 3", "TracIn rank 4"]
    unknown = training_labels.with_influence(issues, checked.assign(self_influence=np.nan))
    assert unknown["face_id"].tolist() == ["d", "b", "c"]
    assert training_labels.influence_notes(unknown) == ["", "", ""]


def test_the_second_opinion_is_missed_in_words() -> None:
    agreed = {"k": 20, "rank_correlation": 0.5, "overlap": 8, "overlap_expected": 4.0}
    said = training_labels.opinions_sentence(agreed, n=100)
    assert said.endswith("the first 20 of 100 labels of both rankings share 8, 2.0 times what random rankings share.")
    assert training_labels.opinions_sentence({}, n=100).startswith("TracIn is not available")
