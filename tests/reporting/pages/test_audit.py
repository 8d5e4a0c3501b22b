"""Sentences, tables and galleries of an audit: their numbers are the audit's."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ferlab.data.duplicates.audit import audit_set, find_duplicates
from ferlab.data.faces import add_content_hashes
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS
from ferlab.reporting.pages import audit as told


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def pairs():
    """Face 2 (train) is near face 9 (test); face 0 mirrored is face 5 (val)."""
    return pd.DataFrame({"first": [0, 2], "second": [5, 9], "mirrored": [True, False], "score": [1.0, 0.953], "exact": [True, False]})


@pytest.fixture
def store():
    """Ten faces; 1 (train) and 8 (test) are exact duplicates whose labels differ."""
    images = np.random.default_rng(0).integers(0, 256, (10, 48, 48), dtype=np.uint8)
    images[8] = images[1]
    faces = pd.DataFrame(
        {
            "face_id": [f"x/{n}" for n in range(10)],
            "source": "x",
            "usage": ["Training"] * 7 + ["PublicTest"] * 3,
            "split": ["train"] * 5 + ["val"] * 2 + ["test"] * 3,
            "target": [0, 1, 2, 3, 4, 0, 5, 6, 3, 2],
        }
    )
    return Store(images=images, faces=add_content_hashes(images, faces), expressions=EXPRESSIONS)


@pytest.fixture
def audit(store, pairs):
    return audit_set(store, pairs)


def test_the_box_counts_the_pictures_that_cross_and_warns(audit):
    box = told.crossings_box(audit, "The official <split>.", test_faces=3)
    assert "admonition warning" in box
    assert "2 of 3 test faces (66.7 %)" in box
    assert "Of the faces of test, 1 have a byte-identical duplicate and 1 have a near duplicate in train." in box
    assert "Of the faces of PublicTest, 1 have a byte-identical duplicate and 1 have a near duplicate in Training." in box
    assert "The official &lt;split&gt;." in box


def test_the_box_tells_of_people_on_both_sides(store, pairs):
    crossed = pd.DataFrame(
        [["subject", "train", "test", 7, "asked for"], ["subject", "test", "train", 9, "asked for"]],
        columns=["key", "first", "second", "faces", "rule"],
    )
    alone = Store(images=store.images[2:7], faces=store.faces.iloc[2:7].reset_index(drop=True), expressions=EXPRESSIONS)
    box = told.crossings_box(audit_set(alone, pairs.iloc[:0]), "At random.", test_faces=0, crossed=crossed)
    assert "admonition warning" in box
    assert "7 faces of test share their subject with train (split: asked for)." in box
    assert "9 faces" not in box


def test_the_box_says_so_where_nothing_crosses(store, pairs):
    alone = Store(images=store.images[2:7], faces=store.faces.iloc[2:7].reset_index(drop=True), expressions=EXPRESSIONS)
    box = told.crossings_box(audit_set(alone, pairs.iloc[:0]), "By subject.", test_faces=0)
    assert "admonition note" in box
    assert "No test face shows a picture" in box


def known(accuracy_all, accuracy_rest, *, majority=0.25, n=200):
    """A probe whose intervals are five points wide either way."""
    groups = {"all": accuracy_all, "without_duplicates": accuracy_rest}
    bounds = {name: {"n": n, "accuracy": a, "accuracy_ci_low": a - 0.05, "accuracy_ci_high": a + 0.05} for name, a in groups.items()}
    return {"known": 900, "majority": majority} | bounds


def test_the_box_never_says_none_where_pixels_know_the_test_faces(store, pairs):
    alone = Store(images=store.images[2:7], faces=store.faces.iloc[2:7].reset_index(drop=True), expressions=EXPRESSIONS)
    nothing = audit_set(alone, pairs.iloc[:0])
    box = told.crossings_box(nothing, "At random.", test_faces=200, probe=known(0.8, 0.8))
    assert "No test face" not in box
    assert "admonition warning" in box
    assert "80.0 % of the 200 test faces without a duplicate in train" in box
    assert "No test face shows" in told.crossings_box(nothing, "At random.", test_faces=0, probe=known(0.3, 0.3))
    one_expression = known(0.8, 0.8, majority=0.75)  # to answer it alone gives nearly as much
    assert "No test face shows" in told.crossings_box(nothing, "At random.", test_faces=0, probe=one_expression)
    assert "does not lie above 90 %" in told.probe_sentence(one_expression)


def test_the_box_tells_what_the_search_misses(audit):
    own = {"planted": 175, "found": 140, "recall": 0.8, "limit": 0.95}
    box = told.crossings_box(audit, "At random.", test_faces=3, probe=known(0.8, 0.3), own=own)
    assert "At the limit that this set got (0.950), 140 of 175 copies hidden among its own faces were found (recall 0.800)" in box
    assert "has probably missed" not in box
    assert "has probably missed" in told.crossings_box(audit, "At random.", test_faces=3, probe=known(0.8, 0.7), own=own)


def test_squares_hold_one_kind_of_duplicate(audit):
    table = told.duplicates_table(audit["cross_split"], audit["within_split"], kind="near_duplicates")
    assert table.loc["train", "test"] == 1
    assert table.loc["test", "train"] == 1
    assert table.to_numpy().sum() == 2
    assert told.duplicates_table(audit["cross_split"], audit["within_split"], kind="mirrored_duplicates").loc["train", "val"] == 1


def test_sentences_repeat_the_counts(audit):
    assert "2 faces are byte-identical" in told.duplicates_sentence(audit, test_faces=3)
    assert "1 of the 3 test faces (33.3 %)" in told.duplicates_sentence(audit, test_faces=3)
    near = told.near_sentence(audit, limit=0.9)
    assert "2 faces have a near-duplicate, in 1 pairs (0 of them mirrored)" in near
    assert "2 are another face's exact mirror image" in near
    conflicts = told.conflicts_sentence(audit)
    assert "In 1 of 1 groups of byte-identical faces (100.0 %) the labels differ, 2 faces in all." in conflicts
    assert "In 1 of 3 pictures" in conflicts


def test_a_set_without_duplicates_says_so():
    nothing = dict.fromkeys(("groups", "near_groups", "near_pairs", "mirrored_duplicates"), 0)
    assert "No two faces" in told.duplicates_sentence(nothing, test_faces=3)
    assert "No near-duplicates" in told.near_sentence(nothing, limit=0.9)
    assert "so none has two labels" in told.conflicts_sentence(nothing)


def test_labels_that_meet_on_one_picture_are_counted(store, pairs):
    table = told.label_pairs(store.faces, find_duplicates(store.faces, pairs), EXPRESSIONS)
    assert table.to_numpy().tolist() == [["disgust and happy", 1]]


def test_what_was_found_of_hidden_copies_is_told_per_kind_and_in_all():
    one = {"planted": 4, "found": 3, "recall": 0.75}
    found = {**one, "false_pairs": 1, "precision": 0.75, "per_kind": {"jpeg": one}}
    sentence = told.found_sentence(found, where="300 control faces")
    assert "Of 4 copies hidden among 300 control faces, 3 were found (recall 0.750)" in sentence
    assert "1 pairs found are no copies (precision 0.750)" in sentence
    own = {key: found[key] for key in ("planted", "found", "recall", "per_kind")}
    assert "no precision" in told.found_sentence(own, where="its own")
    assert "Nobody hid" in told.found_sentence(None, where="its own")
    table = told.found_table({"control": found, "none": None})
    assert table["control"].to_dict() == {"jpeg": "3 of 4 (0.75)", "all": "3 of 4 (0.75)"}
    assert list(table.columns) == ["control"]


def accuracy(share, n, low, high):
    return {"n": n, "accuracy": share, "accuracy_ci_low": low, "accuracy_ci_high": high}


def test_the_probe_says_whether_pixels_know_too_much_and_what_duplicates_are_worth():
    leaky = {"known": 100, "majority": 0.2, "all": accuracy(0.6, 200, 0.53, 0.67), "without_duplicates": accuracy(0.3, 100, 0.22, 0.40)}
    said = told.probe_sentence(leaky)
    assert "60.0 % [53.0, 67.0] of 200" in said
    assert "lies above 40 %" in said
    assert "accuracy is 30.0 points lower" in said
    clean = told.probe_sentence(leaky | {"all": accuracy(0.31, 200, 0.25, 0.38)})
    assert "does not lie above 40 %" in clean
    assert "points lower" not in clean


def test_counts_beside_the_official_ones():
    rows = [("d", "a", "all", 5, 5, 0), ("d", "b", "all", 0, 7, -7), ("d", "c", "all", 3, 4, -1)]
    counts = pd.DataFrame(rows, columns=["source", "part", "expression", "here", "official", "difference"])
    said = told.fingerprint_sentence(counts, "ab" * 32)
    assert "d, a: exactly the official counts** (5)" in said
    assert "d, b: not here" in said
    assert "d, c: 3, officially 4" in said
    assert "`abababababababab`" in said
    assert "No official counts" in told.fingerprint_sentence(counts.iloc[:0], "ab" * 32)


def test_galleries_show_the_pairs_with_their_score_and_the_most_unlike_first(store, pairs):
    figure = told.pairs_gallery(store.images, store.faces, pairs, EXPRESSIONS)
    shown = [axes.images[0].get_array() for axes in figure.axes]
    np.testing.assert_array_equal(shown[2], store.images[2])
    np.testing.assert_array_equal(shown[3], store.images[9])
    assert [panel.get_suptitle() for panel in figure.subfigs] == ["1.000, mirrored", "0.953"]
    unlike = pd.DataFrame({"unlike": np.arange(10.0), "nearly_blank": False})
    figure = told.unlike_gallery(store.images, store.faces, unlike, most=3)
    assert [axes.get_title() for axes in figure.axes] == ["9", "8", "7"]
    odd = store.faces.assign(face_id=[f"s/happy/price $5_$ {row}.png" for row in range(len(store.faces))])
    told.unlike_gallery(store.images, odd, unlike, most=3).savefig(io.BytesIO())  # as a formula it is a ParseException
    with pytest.raises(ValueError, match="1 to 48"):
        told.unlike_gallery(store.images, store.faces, unlike, most=0)
