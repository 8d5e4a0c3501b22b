"""Conditions on scored faces: what each selects, what is counted beside it, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from errors_faces import PROBS, TARGETS, six_faces, synthetic
from sklearn.metrics import accuracy_score, confusion_matrix

from ferlab.evaluation.clusters import cluster_proportion
from ferlab.evaluation.proportions import wilson
from ferlab.live.exploration.facets import BINS, accuracy_of, accuracy_text, conditions, facets_of, inside, orders_of, select
from ferlab.paths import InputError

SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [0, 0], [0.9, 0]], np.float32)


def rows_of(query, scored=None, points=SQUARE, **known) -> list[int]:
    scored = scored or six_faces()
    facets = facets_of(scored, **known)
    return np.flatnonzero(select(scored, facets, conditions(scored, facets, points, query)).mask).tolist()


@pytest.mark.parametrize(
    ("facets", "rows"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"split": ["test"]}, [4, 5]),
        ({"outcome": ["misclassified"]}, [1, 5]),
        ({"outcome": ["correct"], "label": ["happy"]}, [2, 3, 4]),
        ({"predicted": ["angry", "sad"]}, [0, 1, 5]),
        ({"confidence": [0.75, None]}, [0, 2, 4]),
        ({"confidence": [0.5, 0.7]}, [1, 3, 5]),
        ({"label": ["sad"], "outcome": ["correct"]}, []),
        ({"occluder": ["mask"]}, [1, 3]),
        ({"intensity": ["4", "5"]}, [4, 5]),
        ({"glasses": ["yes"]}, [0]),
        ({"face_id": ["0003"]}, [3]),
    ],
)
def test_faces_that_conditions_select(facets, rows) -> None:
    assert rows_of({"facets": facets}) == rows


def test_cells_and_regions_of_the_map_select() -> None:
    assert rows_of({"cells": [[0, 2], [2, 0]]}) == [1, 5]
    assert rows_of({"lasso": [[-1, -1], [1, -1], [-1, 0.9]]}) == [0]  # the line passes below the second
    assert rows_of({"lasso": [[0.8, -1], [1, -1], [1, 1], [0.8, 1]], "facets": {"split": ["test"]}}) == [5]


def test_a_region_holds_the_points_that_matplotlib_and_a_formula_agree_on() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (5000, 2)).astype(np.float32)
    circle = np.stack([0.6 * np.cos(t := np.linspace(0, 2 * np.pi, 200)), 0.6 * np.sin(t)], axis=1)
    radius = np.hypot(*points.T)
    found, clear = inside(points, circle.tolist()), np.abs(radius - 0.6) > 0.001
    assert (found[clear] == (radius < 0.6)[clear]).all()
    with pytest.raises(InputError, match="at least three corners"):
        inside(points, [[0, 0], [1, 1]])


def test_the_matrix_is_scikit_learns_and_ignores_its_own_cells() -> None:
    scored = synthetic(2000)
    facets = facets_of(scored)
    masks = conditions(scored, facets, np.zeros((2000, 2), np.float32), {"facets": {"split": ["val"]}, "cells": [[0, 1]]})
    val = scored.predictions[scored.predictions["split"] == "val"]
    found = select(scored, facets, masks)
    assert (found.matrix == confusion_matrix(val["target"], val["pred"], labels=range(7))).all()
    assert found.mask.sum() == found.matrix[0, 1]


def test_a_facet_counts_the_faces_that_all_other_conditions_select() -> None:
    scored = synthetic(2000)
    facets, table = facets_of(scored), scored.faces.assign(wrong=(scored.predictions["target"] != scored.predictions["pred"]))
    query = {"facets": {"occluder": ["mask"], "outcome": ["misclassified"], "intensity": [1, 3]}}
    counts = select(scored, facets, conditions(scored, facets, np.zeros((2000, 2)), query)).counts
    middle = table["intensity"].between(1, 3)
    by_occluder = table[table["wrong"] & middle]["occluder"].value_counts()
    assert counts["occluder"] == [by_occluder[level] for level in facets["occluder"].levels]
    edges = np.array(facets["intensity"].levels, float)
    assert counts["intensity"] == pytest.approx(np.histogram(table[table["wrong"] & (table["occluder"] == "mask")]["intensity"], edges)[0], abs=1)
    assert len(counts["intensity"]) == BINS
    assert sum(counts["split"]) == int((table["wrong"] & middle & (table["occluder"] == "mask")).sum())


def test_facets_are_the_columns_that_occur() -> None:
    scored = six_faces()
    scored.faces["subject"] = ["a", None, "b", "b", "c", "c"]
    found = facets_of(scored, label_issues=["control/0000005"])
    assert list(found)[:6] == ["split", "outcome", "label", "predicted", "confidence", "label issue"]
    assert "source" not in found  # one value for all faces
    assert found["subject"].levels == ("(none)", "a", "b", "c")
    assert rows_of({"facets": {"subject": ["(none)"]}}, scored) == [1]
    assert rows_of({"facets": {"label issue": ["yes"]}}, label_issues=["control/0000005"]) == [5]


def test_two_runs_are_compared_face_by_face() -> None:
    other = six_faces("other", PROBS[:, [2, 1, 0]])  # angry and sad exchanged: its first face is wrong, its second and sixth are right
    assert rows_of({"facets": {"runs": ["only the other"]}}, other=other) == [1, 5]
    assert rows_of({"facets": {"runs": ["only this run"]}}, other=other) == [0]
    assert rows_of({"facets": {"runs": ["both correct"]}}, other=other) == [2, 3, 4]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"facets": {"ocluder": ["mask"]}}, "'occluder'"),
        ({"facets": {"occluder": ["masc"]}}, "'mask'"),
        ({"cells": [[0, 9]]}, "class ids of 0 to 2"),
        ({"lasso": [[0, 0]]}, "three corners"),
    ],
)
def test_a_condition_that_does_not_exist_is_named(query, told) -> None:
    with pytest.raises(InputError, match=told):
        rows_of(query)


def test_a_range_takes_two_numbers() -> None:
    with pytest.raises(InputError, match="lowest and the highest"):
        rows_of({"facets": {"confidence": ["a"]}})


def test_missing_numbers_are_in_no_range_and_no_bin() -> None:
    scored = synthetic(40)
    scored.faces.loc[3, "yaw"] = np.nan
    assert 3 not in rows_of({"facets": {"yaw": [None, None]}}, scored, points=np.zeros((40, 2)))
    assert sum(select(scored, found := facets_of(scored), {}).counts["yaw"]) == 39
    assert found["yaw"].codes[3] == BINS


def test_accuracy_has_the_interval_of_faces_or_of_subjects() -> None:
    scored, everything = six_faces(), np.ones(6, bool)
    found = accuracy_of(scored, everything)
    assert (found["n"], found["accuracy"], found["by"]) == (6, accuracy_score(TARGETS, PROBS.argmax(axis=1)), "faces")
    assert (found["low"], found["high"]) == wilson(4, 6)
    scored.faces["subject"] = list("aabbcc")
    by_subject = accuracy_of(scored, everything)
    assert (by_subject["low"], by_subject["high"]) == cluster_proportion(np.array([1, 0, 1, 1, 1, 0]), np.array(list("aabbcc")))
    assert accuracy_text(by_subject, {"facets": {"split": ["val"]}}).endswith("by subjects")
    for query in ({"cells": [[0, 0]]}, {"facets": {"outcome": ["correct"]}}, {"facets": {"label issue": ["yes"]}}):
        assert accuracy_text(by_subject, query).startswith("4 correct and 2 misclassified; no accuracy")
    assert accuracy_text(accuracy_of(scored, ~everything), {}) == "no face matches these conditions"
    assert accuracy_text(accuracy_of(scored, (scored.faces["subject"] == "a").to_numpy()), {}) == "accuracy 50.0 %, one subject: no interval"
    alone = np.arange(6) == 0
    assert accuracy_text(accuracy_of(scored, alone), {}) == "accuracy 100.0 %, one subject: no interval"
    assert accuracy_text(accuracy_of(six_faces(), alone), {}) == "accuracy 100.0 % [20.7, 100.0]"


def test_orders_put_the_most_confident_errors_first() -> None:
    orders = orders_of(six_faces())
    assert orders["label"][:2].tolist() == [1, 5]
    assert orders["confident"][0] == 4
    assert orders["dataset"].tolist() == list(range(6))
    assert all(sorted(order) == list(range(6)) for order in orders.values())
