from __future__ import annotations

from ferlab.reporting.pages.generalisation import generalisation_sentence, generalisation_table
from ferlab.roles import Exposure

SEEN = Exposure(("train",), ("val",))


def bounded(value: float, *, half: float = 0.02, n: int = 100) -> dict[str, float]:
    return {
        "n": n,
        "accuracy": value,
        "accuracy_ci_low": value - half,
        "accuracy_ci_high": value + half,
        "nll": 0.5,
        "nll_ci_low": 0.4,
        "nll_ci_high": 0.6,
    }


def scores(gap: float) -> dict:
    return {"train": bounded(0.9, n=2091), "val": bounded(0.8), "test": bounded(0.9 - gap), "gap": bounded(gap), "judged": "test", "over": "faces"}


def test_each_reading_of_the_gap():
    assert "excludes 0: the model fits its training faces better" in generalisation_sentence(scores(0.1), SEEN)
    assert generalisation_sentence(scores(0.01), SEEN).endswith("its interval includes 0. Intervals are over faces.")
    said = "The generalisation gap, train less test, is 10.0 points [8.0, 12.0] in accuracy;"
    assert said in generalisation_sentence(scores(0.1), SEEN)
    assert "test faces are easier" in generalisation_sentence(scores(-0.1), SEEN)
    assert generalisation_sentence(scores(0.1), Exposure(("train",), ("test",))).endswith("makes the gap too small.")


def test_the_table_marks_what_each_split_was_and_ends_with_the_difference():
    table = generalisation_table(scores(0.1), SEEN)
    assert list(table.index) == ["train", "val", "test", "train − test"]
    assert list(table["role"]) == ["trained on", "selected its epoch", "untouched", ""]
    assert table.loc["train − test", "accuracy, %"] == "10.0 [8.0, 12.0]"
    assert table.loc["train", "faces"] == "2,091"
