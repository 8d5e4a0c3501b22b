"""The frame's page: cells, marks and sentences of hand-made scores."""

from __future__ import annotations

import pandas as pd

from ferlab.origins import Origin
from ferlab.reporting.pages import frame


def score(accuracy: float) -> dict:
    bounds = {"accuracy_ci_low": accuracy - 0.1, "accuracy_ci_high": accuracy + 0.1}
    top3 = {"top3_accuracy": 0.9, "top3_accuracy_ci_low": 0.8, "top3_accuracy_ci_high": 0.95}
    per_class = {
        "happy": {"recall": accuracy, "recall_ci_low": 0.1, "recall_ci_high": 0.9, "support": 6},
        "sad": {"recall": 1 - accuracy, "recall_ci_low": 0.1, "recall_ci_high": 0.9, "support": 4},
    }
    return {"accuracy": accuracy, **bounds, **top3, "macro_f1": 0.5, "n": 10, "people": 2, "per_class": per_class}


SCORES = {"wild": {"ours": score(0.7), "theirs": score(0.4)}}
FACTS = {
    "models": {name: {"size": 48, "channels": 1, "expressions": ["happy", "sad"]} for name in ("ours", "theirs")},
    "sets": {
        "wild": {"pictures": 12, "not_found": 2, "dataset": "web", "usage": {"test": "test"}, "roles": {"ours": "untouched", "theirs": "unknown"}}
    },
}
PAIR = {
    "set": "wild", "run_a": "theirs", "run_b": "ours", "n": 10, "only_a": 1, "only_b": 4, "difference": -0.3, "ci_low": -0.5, "ci_high": -0.1,
    "p_subjects": float("nan"), "p_holm": 0.01, "detectable": 0.2, "verdict": "worse",
}  # fmt: skip
PAIRS = pd.DataFrame([PAIR])


def test_a_score_bears_its_mark_its_role_and_the_pictures_without_a_face() -> None:
    table = frame.scores_table(SCORES, PAIRS, FACTS)
    assert table.loc["ours", "wild: top-1 accuracy, %"] == "70.0 [60.0, 80.0]"
    assert table.loc["theirs", "wild: top-1 accuracy, %"] == "40.0 [30.0, 50.0] ▼ (training data not stated)"
    assert table["wild: no face found"].tolist() == ["2 of 12"] * 2


def test_sentences_state_the_highest_accuracy_the_verdict_and_the_lost_pictures() -> None:
    assert frame.best_sentence(SCORES, PAIRS, FACTS) == (
        "On wild the highest accuracy is that of ours, 70.0 % [60.0, 80.0]. "
        "Against ours, theirs (training data not stated) is significantly worse."
    )
    assert "no face was found in 2 of its 12 pictures" in frame.sets_sentence(FACTS, SCORES)
    assert frame.expressions_sentence(SCORES) == "Lowest recall on wild: sad (ours); happy (theirs)."
    none = PAIRS.assign(verdict="")
    assert "No model differs significantly from ours." in frame.best_sentence(SCORES, none, FACTS)


def test_a_model_of_the_highest_accuracy_bears_what_the_faces_are_to_it():
    facts = {"sets": {"wild": {"roles": {"ours": "trained", "theirs": "untouched"}}}}
    assert "that of ours (trained on), 70.0 %" in frame.best_sentence(SCORES, PAIRS, facts)
    assert "Against ours (trained on), theirs is significantly worse." in frame.best_sentence(SCORES, PAIRS, facts)


def test_models_are_told_with_training_data_and_licence_and_tests_with_their_verdict() -> None:
    origins = {"ours": Origin("A", {"fer2013": ("Training",)}, licence="MIT"), "theirs": Origin("B", None, stated="its page")}
    table = frame.models_table(FACTS, origins)
    assert table.loc["theirs", ["trained on", "stated by", "licence"]].tolist() == ["not stated", "its page", "–"]
    row = frame.tests_table(PAIRS).loc["theirs − ours"]
    assert row[["difference, points", "test", "Holm p", "verdict"]].tolist() == ["-30.0 [-50.0, -10.0]", "McNemar, exact", "0.010", "worse"]


def test_people_are_listed_from_the_hardest_and_a_set_without_people_says_so() -> None:
    people = pd.DataFrame(
        {"subject": ["a", "a", "b", "b"], "expression": ["happy", "sad"] * 2, "faces": [3, 2, 3, 2], "ours": [3, 2, 0, 1], "theirs": [1, 1, 1, 1]}
    )
    parts = frame.people_parts({"wild": people, "other": None}, {**SCORES, "other": SCORES["wild"]})
    assert parts[0].attrs == {"caption": "wild, ours: correct of all faces, by person and expression."}
    assert parts[0].loc["b"].tolist() == ["0/3", "1/2", "1/5"]
    assert parts[-1] == "The faces of **other** name no people."
    assert frame.people_sentence({"wild": people}, SCORES) == "On wild the accuracy of ours is between 20 and 100 % over 2 people."


def test_the_figure_has_a_panel_per_set_and_a_row_per_model() -> None:
    figure = frame.plot_frame({**SCORES, "other": SCORES["wild"]})
    assert [axis.get_title() for axis in figure.axes] == ["wild", "other"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["ours", "theirs"]


def test_of_many_people_the_hardest_have_rows_and_the_sums_are_of_all() -> None:
    count = frame.PEOPLE_AT_MOST + 6
    people = pd.DataFrame({"subject": [f"p{n:02}" for n in range(count)], "expression": "happy", "faces": 40, "ours": range(count), "theirs": 0})
    table, *_ = frame.people_parts({"wild": people}, SCORES)
    assert table.index.tolist() == [*(f"p{n:02}" for n in range(frame.PEOPLE_AT_MOST)), f"all {count} people"]
    assert table.iloc[-1].tolist() == [f"{sum(range(count))}/{40 * count}"] * 2
