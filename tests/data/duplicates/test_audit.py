"""The audit on planted duplicates, with every number counted by hand."""

import numpy as np
import pandas as pd
import pytest

from ferlab.control import read
from ferlab.data.duplicates.audit import audit_set, find_blank, pick_pairs, write_duplicates
from ferlab.data.duplicates.pairs import find_pairs, group_faces
from ferlab.data.faces import hash_images
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS

NONE = {"exact_duplicates": 0, "mirrored_duplicates": 0, "near_duplicates": 0}


def stored(images, faces, pairs=None):
    """A store with its duplicate groups, and its pairs."""
    faces = faces.assign(content_hash=hash_images(images))
    pairs = find_pairs(images, faces)[0] if pairs is None else pairs
    return Store(images=images, faces=faces.assign(duplicate_group=group_faces(pairs, len(faces))), expressions=EXPRESSIONS), pairs


@pytest.fixture
def planted():
    """Ten faces. Contents A (faces 0 1 5 8), B (2 6), C (3 9), single: 4, 7. Face 4 is 0 mirrored; 7 is blank."""
    rng = np.random.default_rng(0)
    a, b, c = rng.integers(0, 256, (3, 6, 6), dtype=np.uint8)
    images = np.stack([a, a, b, c, a[:, ::-1], a, b, np.full((6, 6), 9, np.uint8), a, c])
    faces = pd.DataFrame(
        {
            "face_id": [f"x/{i}" for i in range(10)],
            "source": "x",
            "source_path": "x",
            "usage": ["Training"] * 5 + ["PublicTest"] * 3 + ["PrivateTest"] * 2,
            "split": ["train"] * 5 + ["val"] * 3 + ["test"] * 2,
            "target": [0, 1, 2, 3, 0, 0, 2, 5, 0, 4],  # A: 0 1 0 0, B: 2 2, C: 3 4
        }
    )
    return images, faces


def test_the_audit_by_hand(planted):
    found = audit_set(*stored(*planted))
    exact_alone = {a: {b: counts["exact_duplicates"] for b, counts in others.items()} for a, others in found["cross_usage"].items()}
    assert exact_alone == {
        "Training": {"PublicTest": 2, "PrivateTest": 2},
        "PublicTest": {"Training": 3, "PrivateTest": 1},
        "PrivateTest": {"Training": 3, "PublicTest": 1},
    }
    # Face 4 (Training) is A mirrored; A is faces 0 1 (Training), 5 (PublicTest), 8 (PrivateTest).
    assert found["cross_usage"]["Training"]["PublicTest"]["mirrored_duplicates"] == 1
    assert found["cross_usage"]["PublicTest"]["Training"]["mirrored_duplicates"] == 1
    assert found["cross_split"]["train"]["test"] == {"exact_duplicates": 2, "mirrored_duplicates": 1, "near_duplicates": 0}
    assert found["within_usage"] == {
        "Training": {"exact_duplicates": 2, "mirrored_duplicates": 3, "near_duplicates": 0},
        "PublicTest": NONE,
        "PrivateTest": NONE,
    }
    assert (found["groups"], found["faces_in_groups"], found["largest_group"]) == (3, 8, 4)
    assert (found["label_conflicts"], found["faces_in_label_conflicts"]) == (2, 6)
    assert (found["test_faces"], found["test_no_exact_duplicates"], found["test_dedup"]) == (2, 0, 0)
    assert found["mirrored_duplicates"] == 5  # faces 0 1 5 8 and 4
    assert found["blank_faces"] == 1
    assert found["near_duplicates"] == 0
    assert (found["near_groups"], found["faces_in_near_groups"], found["largest_near_group"]) == (3, 9, 5)  # A and its mirror image
    assert found["planted"] is None
    assert found["derived_rows_excluded"] == 0


def test_near_duplicates_by_hand(planted):
    """Besides the exact pairs: contents B (2, 6) and C (3, 9) are near-duplicates, and A (0 1 5 8) is face 4 mirrored."""
    pairs = pd.DataFrame(
        {
            "first": [0, 0, 0, 2, 3, 0, 2],
            "second": [1, 5, 8, 6, 9, 4, 3],
            "kind": ["exact"] * 5 + ["mirrored", "near"],
            "mirrored": [False] * 5 + [True, True],
            "score": [1.0] * 6 + [0.97],
        }
    )
    found = audit_set(*stored(*planted, pairs))
    assert (found["near_duplicates"], found["near_pairs"], found["near_pairs_mirrored"]) == (4, 1, 1)
    train_in_test = {"exact_duplicates": 2, "mirrored_duplicates": 1, "near_duplicates": 1}
    assert found["cross_usage"]["Training"]["PrivateTest"] == train_in_test  # 9 has 2 and 3 there
    assert found["within_usage"]["Training"]["near_duplicates"] == 2
    assert (found["near_label_conflicts"], found["faces_in_near_label_conflicts"]) == (2, 9)


def test_test_dedup_excludes_what_has_any_duplicate_in_train_or_val(planted):
    images, faces = planted
    split = ["train", "test", "val", "test", "test", "test", "test", "test", "test", "test"]  # A: 1 5 8 and, mirrored, 4; B: 6; C: 3 9 in test alone
    found = audit_set(*stored(images, faces.assign(split=split)))
    assert found["test_dedup"] == 3  # 3, 9 and the blank 7
    assert found["test_no_exact_duplicates"] == 4  # and 4, which is A mirrored


def test_a_dataset_without_duplicates_has_none(planted):
    images, faces = planted
    found = audit_set(*stored(images[[2, 3, 7]], faces.iloc[[2, 3, 7]].reset_index(drop=True)))
    assert (found["groups"], found["faces_in_groups"], found["label_conflicts"], found["mirrored_duplicates"], found["near_groups"]) == (0,) * 5


def test_a_dataset_of_one_usage_has_no_crossing_usages(planted):
    images, faces = planted
    assert audit_set(*stored(images, faces.assign(usage="control")))["cross_usage"] == {}


def test_counts_do_not_depend_on_row_order(planted):
    images, faces = planted
    order = np.random.default_rng(1).permutation(10)
    assert audit_set(*stored(images[order], faces.iloc[order].reset_index(drop=True))) == audit_set(*stored(images, faces))


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 4, 4, 3)])
def test_a_blank_face_is_one_whose_pixels_are_all_alike(shape):
    images = np.full(shape, 200, np.uint8)
    images[1, 3, 3] = 201
    assert find_blank(images).tolist() == [True, False, True]


def test_the_written_pairs_name_both_faces_and_their_bytes_repeat(tmp_path, planted):
    store, pairs = stored(*planted)
    for name in ("one", "two"):
        write_duplicates(tmp_path / name / "duplicates.parquet", pairs, store.faces)
    assert (tmp_path / "one/duplicates.parquet").read_bytes() == (tmp_path / "two/duplicates.parquet").read_bytes()
    table = pd.read_parquet(tmp_path / "one/duplicates.parquet")
    first = table.query("face_id_first == 'x/0' and face_id_second == 'x/5'").iloc[0]
    assert first[["split_first", "split_second", "usage_second", "target_second", "kind"]].tolist() == ["train", "val", "PublicTest", 0, "exact"]
    assert len(table) == len(pairs)


def test_rows_derived_from_others_are_in_no_count(planted):
    store, pairs = stored(*planted)
    extra = store.faces.iloc[[0, 4, 3]].assign(face_id=["x/10", "x/11", "x/12"], derived_from=["x/0", "x/4", "x/3"], split="train")
    faces = pd.concat([store.faces.assign(derived_from=""), extra], ignore_index=True)
    more = Store(images=store.images[[*range(10), 0, 4, 3]], faces=faces, expressions=EXPRESSIONS)
    assert audit_set(more, pairs) == audit_set(store, pairs) | {"derived_rows_excluded": 3}


def test_a_dataset_that_names_its_copies_shows_how_many_were_found():
    images, faces = read(faces=200, subjects=10, size=48, seed=0, duplicates=0.1)
    found = audit_set(*stored(images, faces.assign(split="train")))["planted"]
    assert (found["planted"], found["found"], found["recall"]) == (20, 20, 1.0)
    assert found["false_pairs"] <= 1
    assert found["precision"] == pytest.approx(20 / (20 + found["false_pairs"]))
    assert found["per_kind"] == {"exact": {"planted": 20, "found": 20, "recall": 1.0}}


def test_pairs_to_look_at_differ_as_asked_and_show_no_face_twice():
    faces = pd.DataFrame({"split": ["train", "train", "test", "test", "train", "val", "test", "val"], "target": [0, 0, 0, 1, 2, 3, 4, 4]})
    kinds = ["exact", "exact", "exact", "exact", "near", "mirrored"]
    pairs = pd.DataFrame({"first": [0, 0, 2, 4, 6, 1], "second": [1, 2, 3, 5, 7, 4], "kind": kinds, "mirrored": False, "score": 1.0})

    def chosen(which, most=8):
        return pick_pairs(pairs, faces, which=which, most=most)[["first", "second"]].to_numpy().tolist()

    assert chosen("crossing") == [[4, 5], [0, 2]]  # labels of 4 and 5 differ
    assert chosen("conflict") == [[4, 5], [2, 3]]  # 4 and 5 stand in different splits
    assert chosen("near") == [[6, 7], [1, 4]]
    assert chosen("near", most=1) == [[6, 7]]


def test_a_face_of_a_chain_of_pairs_is_shown_once():
    faces = pd.DataFrame({"split": ["train"] * 3, "target": [0] * 3})
    pairs = pd.DataFrame({"first": [0, 1], "second": [1, 2], "kind": "near", "mirrored": False, "score": 1.0})
    assert len(pick_pairs(pairs, faces, which="near", most=8)) == 1
    assert pick_pairs(pairs, faces, which="crossing", most=8).columns.tolist() == pairs.columns.tolist(), "none is chosen"
