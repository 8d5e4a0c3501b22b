from __future__ import annotations

from typing import Any

import pytest

from ferlab.evaluation.intervals import named_bounds
from ferlab.evaluation.proportions import f1_bounds, wilson
from ferlab.reporting.html_tables import html_table
from ferlab.reporting.pages.stated_classes import stated_classes_sentence, stated_classes_table
from ferlab.reporting.tables import markdown_table

NOTHING: dict[str, Any] = {"precision": None, "recall": None, "f1": None}
STATED = {
    "fersys: CNN": {"happy": NOTHING | {"f1": 0.83}},
    "fersys: DeepFace": {"fear": NOTHING | {"precision": 0.9174, "f1": 0.8931}, "neutral": NOTHING | {"recall": 0.8286}},
}
RUNS = {"cnn_0": {"group": "cnn"}, "deep_0": {"group": "deep"}, "cnn_1": {"group": "cnn"}}


def counted(hits: int, support: int, predicted: int) -> dict[str, Any]:
    """Scores of an expression from its counts, as evaluate writes them."""
    bounds = named_bounds({"precision": wilson(hits, predicted), "recall": wilson(hits, support), "f1": f1_bounds(hits, support, predicted)})
    values = {"precision": hits / predicted, "recall": hits / support, "f1": 2 * hits / (support + predicted)}
    return values | bounds | {"support": support}


@pytest.fixture
def per_class() -> dict[str, dict[str, Any]]:
    deep = {"fear": counted(30, 40, 60), "happy": counted(9, 10, 9), "neutral": NOTHING | {"support": 0}}
    return {"cnn_0": {"happy": counted(37, 53, 50)}, "deep_0": deep, "cnn_1": {"happy": counted(1, 53, 50)}}


def test_what_is_stated_stands_beside_the_first_run_of_each_group_with_its_interval(per_class):
    table = stated_classes_table(STATED, per_class, RUNS)
    assert list(table.columns) == ["fersys: CNN, stated", "fersys: DeepFace, stated", "cnn_0", "deep_0"]
    assert list(table.index) == [(measure, name) for measure in ("precision", "recall", "F1") for name in ("fear", "happy", "neutral")]
    # By hand: Wilson's formula, for F1 = 2 J / (1 + J) that of J = 30 of 70. Fear: 30 of 40 found among 60 predicted; happy: 37 of 53, as in the
    # docstring of `wilson`.
    assert table.loc[("precision", "fear")].tolist() == ["–", "91.74", "–", "50.0 [37.7, 62.3]"]
    assert table.loc[("recall", "fear"), "deep_0"] == "75.0 [59.8, 85.8]"
    assert table.loc[("F1", "fear")].tolist() == ["–", "89.31", "–", "60.0 [48.4, 70.6]"]
    assert table.loc[("recall", "happy"), "cnn_0"] == "69.8 [56.5, 80.5]"
    assert table.loc[("F1", "happy"), "fersys: CNN, stated"] == "83"
    assert table.loc[("recall", "neutral")].tolist() == ["–", "82.86", "–", "–"]
    assert "| F1 | fear | – | 89.31 | – | 60.0 [48.4, 70.6] |" in markdown_table(table)
    assert html_table(table).count("82.86") == 1


def test_the_sentence_counts_what_each_system_states(per_class):
    told = stated_classes_sentence(STATED)
    assert "(fersys: CNN 1, fersys: DeepFace 3) are without interval" in told
    assert stated_classes_sentence({}) == ""
    assert len(stated_classes_table({}, per_class, RUNS)) == 0
