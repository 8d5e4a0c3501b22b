"""Doubtful faces: each source by hand-computed example; what no model has scored is not doubtful."""

import numpy as np
import pandas as pd
import pytest

from ferlab.data.store import Store
from ferlab.evaluation.predictions import predictions_table
from ferlab.expressions import EXPRESSIONS
from ferlab.live.correction.doubtful import (
    DISAGREE,
    IMPROBABLE,
    ISSUE,
    SOURCES,
    UNSURE,
    Scores,
    choose,
    count_doubtful,
    find_doubtful,
    neighbours,
    score_split,
)
from ferlab.paths import InputError

FACES = pd.DataFrame({"face_id": list("abcde"), "split": ["train", "val", "val", "test", "val"], "target": [0, 1, 2, 3, 4]})


def table(rows, names=EXPRESSIONS):
    """Predictions by face: (split, target, {expression: probability}); what is left goes to neutral."""
    probs = np.zeros((len(rows), len(names)))
    for row, (_, _, given) in enumerate(rows.values()):
        for place, value in given.items():
            probs[row, place] = value
        probs[row, -1] += 1 - probs[row].sum()
    splits, targets = [split for split, _, _ in rows.values()], np.array([target for _, target, _ in rows.values()])
    return predictions_table(list(rows), splits, targets, probs=probs, expressions=names)


def test_each_source_finds_its_faces_and_the_most_doubtful_comes_first():
    one = table({"b": ("val", 1, {1: 0.9}), "c": ("val", 2, {2: 0.4, 3: 0.3}), "d": ("test", 3, {3: 0.05, 0: 0.9}), "x": ("val", 0, {0: 1.0})})
    two = table({"b": ("val", 1, {5: 0.9}), "c": ("val", 2, {2: 0.44, 3: 0.3}), "d": ("test", 3, {3: 0.05, 0: 0.9})})
    found = find_doubtful(FACES, Scores({"one": one, "two": two}, {"one": frozenset("bd")}), expressions=EXPRESSIONS).set_index("face_id")
    assert found.index.tolist() == ["b", "d", "c"]  # b: three reasons; d: two; c: one
    assert found.loc["b", list(SOURCES)].tolist() == [True, True, True, False]  # mean .45 for both labels
    assert found.loc["d", list(SOURCES)].tolist() == [True, False, False, True]
    assert found.loc["c", list(SOURCES)].tolist() == [False, False, True, False]
    assert found["quality"].round(3).tolist() == [0.45, 0.05, 0.42]
    assert found["given"].tolist() == ["disgust", "happy", "fear"]
    assert count_doubtful(found.reset_index(), splits=("train", "val")) == {ISSUE: 1, DISAGREE: 1, UNSURE: 2, IMPROBABLE: 0}
    chosen = choose(found.reset_index(), sources=[ISSUE, IMPROBABLE], splits=["test", "train"])
    assert chosen["face_id"].tolist() == ["d"]
    assert choose(found.reset_index(), sources=[], splits=["val"]).empty


def test_nothing_is_doubtful_where_nobody_has_scored():
    assert find_doubtful(FACES, Scores({}, {}), expressions=EXPRESSIONS).empty
    issue = find_doubtful(FACES, Scores({}, {"run": frozenset("a")}), expressions=EXPRESSIONS)
    assert issue["face_id"].tolist() == ["a"]
    assert issue["quality"].isna().all()


def test_two_models_that_agree_are_not_counted_as_disagreeing():
    same = {"b": ("val", 1, {1: 0.8}), "c": ("val", 2, {2: 0.8})}
    assert find_doubtful(FACES, Scores({"one": table(same), "two": table(same)}, {}), expressions=EXPRESSIONS).empty


def test_a_model_of_other_expressions_is_refused():
    other = table({"b": ("val", 1, {1: 0.8})}, names=(*EXPRESSIONS[:6], "contempt"))
    with pytest.raises(InputError, match="one predicts angry"):
        find_doubtful(FACES, Scores({"one": other}, {}), expressions=EXPRESSIONS)


def test_scores_tell_what_each_model_predicts_and_take_in_further_faces():
    scores = Scores({"one": table({"b": ("val", 1, {1: 0.8})})}, {}).with_model("one", table({"c": ("val", 2, {3: 0.7})}))
    assert scores.with_model("two", table({"b": ("val", 1, {5: 0.6})})).of("b") == {
        "one": ("disgust", pytest.approx(0.8)), "two": ("surprise", pytest.approx(0.6))
    }  # fmt: skip
    assert scores.of("c") == {"one": ("happy", pytest.approx(0.7))}
    assert scores.of("e") == {}


def test_copies_of_faces_are_not_scored():
    faces = FACES.assign(derived_from=["", "", "", "", "b"], derivation="")
    store = Store(images=np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8), faces=faces, expressions=EXPRESSIONS)
    scored = score_split(store, "val", lambda images: np.eye(7, dtype=np.float32)[np.asarray(images[:])[:, 0, 0]])
    assert scored["face_id"].tolist() == ["b", "c"]
    assert scored["pred"].tolist() == [1, 2]  # the pixels of these rows
    with pytest.raises(InputError, match="no face of the set is in other"):
        score_split(store, "other", len)


def test_neighbours_are_those_of_the_sequence_in_order_or_of_the_person_in_time():
    faces = pd.DataFrame({"sequence": ["p", "q", "p", "p", "p"], "frame": [3, 1, 1, 2, 4], "subject": "s"}, index=[10, 11, 12, 13, 14])
    assert neighbours(faces, 0) == [2, 3, 4]
    assert neighbours(faces, 0, count=1) == [3, 4]
    assert neighbours(faces, 1) == []
    timed = pd.DataFrame({"subject": ["s", "t", "s"], "time": ["2026-01-02", "2026-01-01", "2026-01-01"]})
    assert neighbours(timed, 0) == [2]
    assert neighbours(FACES, 0) == []
