"""Sentences, tables and galleries of the audit's page: their numbers are the audit's."""

import io

import numpy as np
import pandas as pd
import pytest

from ferlab.data.duplicates.audit import audit_set
from ferlab.data.duplicates.pairs import group_faces
from ferlab.data.faces import hash_images
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS
from ferlab.reporting.pages import audit as page


@pytest.fixture
def pairs():
    """Faces 1 (train) and 8 (test) are exact duplicates; face 2 (train) is near face 9 (test); face 0 mirrored is face 5 (val)."""
    kinds = ["mirrored", "exact", "near"]
    return pd.DataFrame({"first": [0, 1, 2], "second": [5, 8, 9], "kind": kinds, "mirrored": [True, False, False], "score": [1.0, 1.0, 0.953]})


def store_of(pairs, rows=slice(None)):
    """Ten faces; the labels of the duplicates 1 and 8 differ."""
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
    faces = faces.assign(content_hash=hash_images(images)).iloc[rows].reset_index(drop=True)
    return Store(images=images[rows], faces=faces.assign(duplicate_group=group_faces(pairs, len(faces))), expressions=EXPRESSIONS)


@pytest.fixture
def store(pairs):
    return store_of(pairs)


@pytest.fixture
def audit(store, pairs):
    return audit_set(store, pairs)


@pytest.fixture
def nothing(pairs):
    """The audit of faces 2 to 7, without duplicates; of these, 7 tests."""
    return audit_set(store_of(pairs.iloc[:0], slice(2, 8)), pairs.iloc[:0])


def known(accuracy_all, accuracy_rest, *, majority=0.25, n=200):
    """A probe whose intervals are five points wide either way."""
    groups = {"all": accuracy_all, "dedup": accuracy_rest}
    bounds = {name: {"n": n, "accuracy": a, "accuracy_ci_low": a - 0.05, "accuracy_ci_high": a + 0.05} for name, a in groups.items()}
    return {"known": 900, "majority": majority} | bounds


def test_the_box_counts_the_test_faces_with_duplicates_and_warns(audit):
    box = page.crossings_box(audit, "The official <split>.")
    assert "admonition warning" in box
    assert "2 of 3 test faces (66.7 %) have a duplicate in train or val" in box
    assert "test_dedup, the 1 others" in box
    assert "Of the faces of test, 1 have an exact duplicate and 1 have a near-duplicate in train." in box
    assert "Of the faces of PublicTest, 1 have an exact duplicate and 1 have a near-duplicate in Training." in box
    assert "The official &lt;split&gt;." in box


def test_the_box_reports_subjects_on_both_sides(nothing):
    crossed = pd.DataFrame(
        [["subject", "train", "test", 7, "asked for"], ["subject", "test", "train", 9, "asked for"]],
        columns=["key", "first", "second", "faces", "rule"],
    )
    box = page.crossings_box(nothing, "At random.", crossed=crossed)
    assert "admonition warning" in box
    assert "7 faces of test share their subject with train (split: asked for)." in box
    assert "9 faces" not in box


def test_the_box_says_so_where_nothing_crosses(nothing):
    box = page.crossings_box(nothing, "By subject.")
    assert "admonition note" in box
    assert "No test face has a duplicate in train or val" in box


def test_the_box_never_says_none_where_pixels_predict_the_test_faces(nothing):
    box = page.crossings_box(nothing, "At random.", probe=known(0.8, 0.8))
    assert "No test face" not in box
    assert "admonition warning" in box
    assert "80.0 % [75.0, 85.0] of the 200 test faces without a duplicate in train" in box
    assert "No test face has" in page.crossings_box(nothing, "At random.", probe=known(0.3, 0.3))
    one_expression = known(0.8, 0.8, majority=0.75)  # always predicting it gives nearly as much
    assert "No test face has" in page.crossings_box(nothing, "At random.", probe=one_expression)
    assert "does not lie above 90 %" in page.probe_sentence(one_expression)


def test_the_box_reports_what_the_search_misses(audit):
    own = {"planted": 175, "found": 140, "recall": 0.8, "limit": 0.95}
    box = page.crossings_box(audit, "At random.", probe=known(0.8, 0.3), own=own)
    assert "At the limit of this dataset (0.950), 140 of 175 copies planted among its own faces were found (recall 0.800)" in box
    assert "has probably missed" not in box
    assert "has probably missed" in page.crossings_box(audit, "At random.", probe=known(0.8, 0.7), own=own)


def test_a_table_holds_every_kind_between_all_parts(audit):
    table = page.duplicates_table(audit, by="split")
    assert table.loc[("near", "train"), "test"] == table.loc[("near", "test"), "train"] == 1
    assert table.loc["near"].to_numpy().sum() == 2
    assert table.loc[("mirrored", "train"), "val"] == 1
    assert page.duplicates_table(audit, by="usage").loc[("exact", "Training"), "PublicTest"] == 1


def test_sentences_repeat_the_counts(audit):
    said = page.duplicates_sentence(audit, limit=0.9, search="exhaustive search")
    assert "2 faces are exact duplicates, in 1 groups; 2 are mirrored" in said
    assert "2 have a near-duplicate (correlation once aligned at least 0.900: 1 pairs, 0 of them mirrored)" in said
    assert "3 photographs occur more than once, as 6 faces; the commonest 2 times. Search: exhaustive search." in said
    conflicts = page.conflicts_sentence(audit)
    assert "In 1 of 1 groups of exact duplicates (100.0 %) the labels differ, 2 faces in all." in conflicts
    assert "In 1 of 3 photographs" in conflicts
    assert "errs on at least 1 of these faces" in conflicts


def test_a_dataset_without_duplicates_says_so(nothing):
    said = page.duplicates_sentence(nothing, limit=0.9, search="exhaustive search")
    assert "No duplicates were found" in said
    assert said.endswith("Search: exhaustive search.")
    assert "so none has two labels" in page.conflicts_sentence(nothing)


def test_labels_that_meet_on_one_photograph_are_counted(store):
    assert page.label_pairs(store.faces, EXPRESSIONS).to_numpy().tolist() == [["disgust and happy", 1]]


def test_recall_is_shown_per_kind_and_precision_where_it_is_known():
    one = {"planted": 4, "found": 3, "recall": 0.75}
    found = {**one, "false_pairs": 1, "precision": 0.75, "per_kind": {"jpeg": one}}
    own = {key: found[key] for key in ("planted", "found", "recall", "per_kind")}
    table = page.found_table({"control": found, "own": own, "none": None})
    assert table["control"].to_dict() == {"jpeg": "3 of 4 (0.75)", "all": "3 of 4 (0.75)", "precision": "0.750 (1 false pairs)"}
    assert table["own"].to_dict() == {"jpeg": "3 of 4 (0.75)", "all": "3 of 4 (0.75)", "precision": ""}
    assert list(table.columns) == ["control", "own"]


def accuracy(share, n, low, high):
    return {"n": n, "accuracy": share, "accuracy_ci_low": low, "accuracy_ci_high": high}


def test_the_probe_says_whether_pixels_predict_too_much_and_what_duplicates_are_worth():
    leaky = {"known": 100, "majority": 0.2, "all": accuracy(0.6, 200, 0.53, 0.67), "dedup": accuracy(0.3, 100, 0.22, 0.40)}
    said = page.probe_sentence(leaky)
    assert "all: 60.0 % [53.0, 67.0] (n = 200)" in said
    assert "lies above 40 %" in said
    assert "accuracy is 30.0 points lower" in said
    less = page.probe_sentence(leaky | {"all": accuracy(0.31, 200, 0.25, 0.38)})
    assert "does not lie above 40 %" in less
    assert "points lower" not in less


def test_pairs_stand_side_by_side_with_score_split_and_label_and_a_frame_where_labels_differ(store, pairs):
    figure = page.pairs_gallery(store.images, store.faces, pairs, EXPRESSIONS)
    shown = [axes for axes in figure.axes if axes.images]
    np.testing.assert_array_equal(shown[4].images[0].get_array(), store.images[2])
    np.testing.assert_array_equal(shown[5].images[0].get_array(), store.images[9])
    assert [axes.get_title() for axes in shown] == ["1.000, mirrored", "", "", "", "0.953", ""]
    assert [axes.get_xlabel() for axes in shown[2:4]] == ["train\ndisgust", "test\nhappy"]
    assert [axes.spines["left"].get_visible() for axes in shown] == [False, False, True, True, False, False]
    with pytest.raises(ValueError, match="1 to 48"):
        page.pairs_gallery(store.images, store.faces, pairs.iloc[:0], EXPRESSIONS)


def test_unlike_images_stand_in_their_order(store):
    figure = page.unlike_gallery(store.images, store.faces, [9, 8, 7])
    assert [axes.get_title() for axes in figure.axes] == ["9", "8", "7"]
    odd = store.faces.assign(face_id=[f"s/happy/price $5_$ {row}.png" for row in range(len(store.faces))])
    page.unlike_gallery(store.images, odd, [9]).savefig(io.BytesIO())  # as a formula it is a ParseException
    with pytest.raises(ValueError, match="1 to 48"):
        page.unlike_gallery(store.images, store.faces, [])
