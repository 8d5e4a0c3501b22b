"""Figures and sentences of errors: bars, dots and captions hold the measured numbers, and empty cases are said in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ferlab.error_analysis.confusions import most_confident_errors, rank_confusions
from ferlab.evaluation.predictions import predictions_table
from ferlab.reporting.pages import analyze_errors as error_text
from ferlab.reporting.pages.analyze_errors import plot_confused_pairs, plot_errors, plot_label_issues

NAMES = ("angry", "fear", "sad")


@pytest.fixture
def predictions() -> pd.DataFrame:
    """Ten faces: angry is twice predicted as fear, sad once as angry."""
    target, pred = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2]), np.array([1, 1, 0, 0, 1, 1, 1, 0, 2, 2])
    probs = np.full((10, 3), 0.1)
    probs[np.arange(10), pred] = 0.8
    probs[0] = [0.02, 0.95, 0.03]
    return predictions_table([f"s/{row}" for row in range(10)], ["val"] * 10, target, probs=probs, expressions=NAMES)


def words(figure: Figure) -> list[str]:
    figure.canvas.draw()
    return [text.get_text() for axis in figure.axes for text in [axis.title, *axis.texts] if text.get_text()]


def test_bars_of_confused_pairs_are_the_counts_most_frequent_on_top(predictions: pd.DataFrame) -> None:
    figure = plot_confused_pairs(rank_confusions(predictions))
    left = figure.axes[0]
    assert [bar.get_width() for bar in left.patches] == [1, 2]
    assert [label.get_text() for label in left.get_yticklabels()] == ["sad as angry", "angry as fear"]
    assert {"of 4", "of 3"} <= set(words(figure))


def test_captions_of_errors_hold_label_answer_and_probabilities(predictions: pd.DataFrame) -> None:
    errors = most_confident_errors(predictions, most=2)
    figure = plot_errors(np.zeros((2, 48, 48), np.uint8), errors)
    assert words(figure) == ["angry 2 %\nas fear 95 %", "angry 10 %\nas fear 80 %"]
    assert len([axis for axis in figure.axes if axis.images]) == 2


def test_captions_of_label_issues_hold_the_raters_where_they_voted() -> None:
    issues = pd.DataFrame({"face_id": ["a", "b"], "given": ["sad", "fear"], "suggested": ["fear", "sad"], "prob_suggested": [0.9, 0.6]})
    faces = np.zeros((2, 48, 48, 3), np.uint8)
    assert words(plot_label_issues(faces, issues)) == ["given sad\nmodel: fear 90 %", "given fear\nmodel: sad 60 %"]
    noted = plot_label_issues(faces, issues, notes=["TracIn: 3 of 40", ""])
    assert words(noted) == ["given sad\nmodel: fear 90 %\nTracIn: 3 of 40", "given fear\nmodel: sad 60 %"]
    voted = issues.assign(raters_label=["fear", "tie"], raters_share=[0.8, np.nan])
    assert words(plot_label_issues(faces, voted)) == ["given sad\nmodel: fear 90 %\nraters: fear 80 %", "given fear\nmodel: sad 60 %\nno votes"]


def test_empty_cases_are_said_in_words(predictions: pd.DataFrame) -> None:
    faultless = predictions[predictions["target"] == predictions["pred"]]
    assert "no errors" in words(plot_confused_pairs(rank_confusions(faultless)))
    assert words(plot_errors(np.zeros((0, 48, 48), np.uint8), most_confident_errors(faultless, most=3))) == ["no errors"]
    assert words(plot_label_issues(np.zeros((0, 48, 48), np.uint8), pd.DataFrame(columns=["given", "suggested", "prob_suggested"]))) == [
        "no label issue"
    ]
    assert error_text.pairs_sentence(rank_confusions(faultless)) == "No prediction differs from its label."
    assert error_text.confident_sentence(most_confident_errors(faultless, most=3)) == "No prediction differs from its label."
    one = error_text.confident_sentence(most_confident_errors(predictions, most=1))
    assert one == "One error, angry as fear, with probability 95.0 %."


def test_sentences_repeat_the_numbers(predictions: pd.DataFrame) -> None:
    said = error_text.errors_sentence(predictions, run="net", split="val", source="control faces, drawn")
    assert said.startswith("**net** misclassifies 3 of 10 val faces (control faces, drawn): 30.0 % [10.8, 60.3].")
    assert said.endswith("Brackets hold 95 % intervals over faces, unless stated.")
    people = predictions.assign(subject=[f"p{row % 5}" for row in range(10)])
    assert error_text.errors_sentence(people, run="net", split="val", source="x").endswith("over 5 subjects, unless stated.")
    alone = rank_confusions(people.assign(subject=people["target"].astype(str)))
    assert alone["rate_ci_low"].isna().all()
    assert "of 4" in words(plot_confused_pairs(alone)), "without an interval, as one subject shows each expression"
    said = error_text.pairs_sentence(rank_confusions(predictions))
    assert said.startswith("Most frequent: angry as fear, 2 faces, 50.0 % [15.0, 85.0] of 4 and 66.7 % of all errors. It leads by rate too.")
    said = error_text.confident_sentence(most_confident_errors(predictions, most=3))
    assert said.startswith("The 3 most confident errors, from 95.0 % (angry as fear) down to 80.0 %. Most frequent among them: ")
    assert said.endswith("angry as fear, 2 times.")


def test_rate_leader_is_named_where_it_is_another_pair() -> None:
    target, pred = np.array([0] * 10 + [1, 1]), np.array([2, 2, 2] + [0] * 7 + [0, 1])
    table = predictions_table([str(i) for i in range(12)], ["val"] * 12, target, probs=np.eye(3)[pred], expressions=NAMES)
    assert "By rate fear as angry leads, 50.0" in error_text.pairs_sentence(rank_confusions(table))


def test_control_faces_are_always_named_so() -> None:
    assert error_text.source_of(pd.DataFrame({"source": ["control"], "usage": ["Training"]})) == "control faces, drawn"
    assert error_text.source_of(pd.DataFrame({"source": ["fer2013"], "usage": ["PublicTest"]})) == "fer2013, PublicTest"


def test_issues_table_writes_percent_and_a_dash_for_no_faces() -> None:
    counts = pd.DataFrame(
        {"expression": ["sad", "fear"], "faces": [40, 0], "issues": [3, 0], "share": [0.075, np.nan], "most_suggested": ["fear", "none"]}
    )
    table = error_text.issues_table(counts)
    assert table.loc["sad", "label issues, %"] == "7.5"
    assert table.loc["fear", "label issues, %"] == "–"


def test_issues_sentence_tells_whether_raters_voted() -> None:
    issues = pd.DataFrame({"face_id": ["a", "b"]})
    assert "no raters' votes" in error_text.issues_sentence(issues, n=40, role="untouched")
    true = error_text.issues_sentence(issues, n=40, role="untouched", true_labels=True)
    assert true.endswith("every one of these issues is a false alarm.**")
    assert "alarm" not in error_text.issues_sentence(issues.iloc[:0], n=40, role="untouched", true_labels=True)
    said = error_text.issues_sentence(issues.assign(raters_agree_with=["given", "neither"]), n=40, role="selected_on")
    assert said.startswith("Confident learning on out-of-sample probabilities finds 2 label issues among 40 faces (5.0 %).")
    seen = error_text.issues_sentence(issues, n=40, role="trained")
    assert "on cross-validated probabilities, as the run was trained on these faces, finds" in seen
    assert "given label on 1 of them, with the model on 0, and with neither on 1" in said


def test_tables_are_written_also_where_the_dataset_has_none(tmp_path) -> None:
    error_text.write_tables({"pairs": (tmp_path / "a.csv", pd.DataFrame({"x": [1 / 3]})), "subjects": (tmp_path / "b.csv", None)})
    assert ((tmp_path / "a.csv").read_text(), (tmp_path / "b.csv").read_text()) == ("x\n0.333333\n", "face_id\n")
