"""What the section on abstention and prediction sets shows, in every branch."""

from __future__ import annotations

import numpy as np
import pytest

from ferlab.evaluation.conformal import score_sets
from ferlab.evaluation.selective import compare_scores, curve_table
from ferlab.reporting.pages.abstention import (
    plot_risk_coverage,
    plot_sets,
    selective_sentence,
    selective_table,
    sets_sentence,
    sets_table,
)

NAMES = ("angry", "happy")


def selective(**scores) -> dict:
    first = {"aurc": 0.1, "excess_aurc": 0.05, "coverage_at_5": 0.6, "coverage_at_5_ci_low": 0.5, "coverage_at_5_ci_high": 0.7, "coverage_at_10": 0.8}
    other = first | {"difference": -0.02, "difference_ci_low": -0.03, "difference_ci_high": -0.01, "p": 0.01}
    found = {"max_softmax": first} | {name: other | {"difference": sign * 0.02, "p_holm": p} for name, (sign, p) in scores.items()}
    return {"split": "test_dedup", "n": 600, "wrong": 100, "by_subject": True, "scores": found}


def test_coverage_and_the_better_score_are_told():
    told = selective_sentence(selective(margin=(-1, 0.02), entropy=(1, 0.01)))
    assert "60.0 % [50.0, 70.0] of faces at a risk of 5 % and 80.0 % of faces at a risk of 10 % (test, deduplicated, 600 faces)" in told
    assert "By AURC, margin over the second ranks faces significantly better (paired bootstrap of subjects, Holm, 5 %)" in told
    assert told.endswith("entropy ranks them significantly worse.")
    assert "No other score ranks faces significantly better" in selective_sentence(selective(margin=(-1, 0.2)))
    both = selective_sentence(selective(margin=(-1, 0.02), scaled=(-1, 0.03)))
    assert "margin over the second and largest probability, temperature-scaled rank faces" in both


def test_without_errors_there_is_nothing_to_gain_and_with_few_nothing_to_compare():
    assert "nothing to gain" in selective_sentence(selective() | {"wrong": 0})
    few = compare_scores({"max_softmax": np.arange(20.0), "margin": np.arange(20.0)}, np.arange(20) < 3, np.arange(20).astype(str), draws=100)
    assert selective_sentence(selective() | {"wrong": 3, "scores": few}).endswith("3 misclassified faces are too few to compare scores.")
    assert selective_table(selective() | {"scores": few}).loc["margin over the second", "Holm p"] == "–"


def test_curves_are_drawn_per_score_with_the_whole_error_rate():
    wrong = np.arange(50) % 5 == 0
    axis = plot_risk_coverage({"max_softmax": curve_table(np.arange(50.0), wrong), "entropy": curve_table(-np.arange(50.0), wrong)}).axes[0]
    assert [line.get_label() for line in axis.lines] == ["largest probability", "entropy", "faces accepted at random"]
    assert axis.lines[2].get_ydata()[0] == pytest.approx(20)


def sets(lac: tuple[int, int], by_class: tuple[int, int]) -> dict:
    """Return sets of 100 faces a class, of which so many hold the label."""
    targets = np.repeat([0, 1], 100)
    found = {}
    for method, held in {"lac": lac, "lac_by_class": by_class}.items():
        holds = np.concatenate([np.arange(100) < each for each in held])
        found[method] = score_sets(np.eye(2, dtype=bool)[np.where(holds, targets, 1 - targets)], targets, expressions=NAMES)
    return found


def test_a_class_below_the_stated_rate_is_named_and_what_mends_it():
    told = sets_sentence(sets((70, 99), (90, 90)), 0.9, reason="")
    assert "hold the label of 84.5 %" in told
    assert "excludes the stated 90 %" in told
    assert "lies below it in angry: 70.0 %" in told
    assert "With class-conditional thresholds it lies below in none, at 1.00 classes." in told
    assert "it still lies below in angry" in sets_sentence(sets((70, 99), (70, 90)), 0.9, reason="")
    fine = sets_sentence(sets((90, 90), (90, 90)), 0.9, reason="")
    assert "holds the stated 90 %" in fine
    assert fine.endswith("In no class does the interval lie below it.")


def test_without_sets_the_reason_stands_there():
    assert sets_sentence({}, 0.9, reason="no split is held out") == "No prediction sets: no split is held out."
    assert "too few faces" in sets_sentence({}, 0.9, reason="")
    assert sets_table({}) is None


def test_table_and_figure_show_the_lowest_class_and_every_class_with_faces():
    found = sets((70, 99), (90, 90))
    assert sets_table(found).loc["LAC", "lowest class, %"].startswith("angry 70.0 [")
    left, right = plot_sets(found, 0.9).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["happy (100)", "angry (100)"]
    assert (left.get_title(), right.get_title()) == ("LAC", "LAC, class-conditional")
