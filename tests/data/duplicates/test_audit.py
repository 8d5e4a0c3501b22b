"""The audit on planted duplicates, with every number counted by hand."""

import numpy as np
import pandas as pd
import pytest

from ferlab.control import read
from ferlab.data.duplicates.audit import audit_set, find_blank, find_duplicates, find_mirrored, find_pairs, write_duplicates
from ferlab.data.faces import add_content_hashes, hash_images
from ferlab.data.store import Store
from ferlab.expressions import EXPRESSIONS


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
    return Store(images=images, faces=add_content_hashes(images, faces), expressions=EXPRESSIONS)


def test_the_duplicates_table_by_hand(planted):
    duplicates = find_duplicates(planted.faces)
    assert list(duplicates.columns) == ["face_id", "content_hash", "group", "group_size", "duplicate_in_train", "duplicate_in_val", "label_conflict"]
    assert duplicates["face_id"].tolist() == planted.faces["face_id"].tolist()
    assert duplicates["group"].tolist() == [0, 0, 1, 2, 3, 0, 1, 4, 0, 2]
    assert duplicates["group_size"].tolist() == [4, 4, 2, 2, 1, 4, 2, 1, 4, 2]
    yes = [row for row in range(10) if duplicates["duplicate_in_train"][row]]
    assert yes == [0, 1, 5, 6, 8, 9]  # 2 and 3 are alone in train: a face is not its own duplicate
    assert [row for row in range(10) if duplicates["duplicate_in_val"][row]] == [0, 1, 2, 8]
    assert [row for row in range(10) if duplicates["label_conflict"][row]] == [0, 1, 3, 5, 8, 9]
    assert duplicates.dtypes[["group", "group_size", "duplicate_in_train", "label_conflict"]].astype(str).tolist() == ["int64", "int64", "bool", "bool"]


def test_the_audit_by_hand(planted):
    found = audit_set(planted)
    bytes_alone = {a: {b: counts["exact_duplicates"] for b, counts in others.items()} for a, others in found["cross_usage"].items()}
    assert bytes_alone == {
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
        "PublicTest": dict.fromkeys(("exact_duplicates", "mirrored_duplicates", "near_duplicates"), 0),
        "PrivateTest": dict.fromkeys(("exact_duplicates", "mirrored_duplicates", "near_duplicates"), 0),
    }
    assert (found["groups"], found["faces_in_groups"], found["largest_group"]) == (3, 8, 4)
    assert (found["label_conflicts"], found["faces_in_label_conflicts"]) == (2, 6)
    assert found["test_dedup"] == 0
    assert found["mirrored_duplicates"] == 5  # faces 0 1 5 8 and 4
    assert found["blank_faces"] == 1
    assert found["near_duplicates"] == 0
    assert (found["near_groups"], found["faces_in_near_groups"], found["largest_near_group"]) == (3, 9, 5)  # A and its mirror image
    assert found["planted"] is None
    assert found["derived_rows_excluded"] == 0


def test_a_set_without_duplicates_has_none(planted):
    one = Store(images=planted.images[[2, 3, 7]], faces=planted.faces.iloc[[2, 3, 7]].reset_index(drop=True), expressions=EXPRESSIONS)
    found = audit_set(one)
    assert (found["groups"], found["faces_in_groups"], found["label_conflicts"], found["mirrored_duplicates"]) == (0, 0, 0, 0)
    assert not find_duplicates(one.faces)[["duplicate_in_train", "duplicate_in_val", "label_conflict"]].to_numpy().any()


def test_a_set_of_one_usage_has_no_crossing_usages(planted):
    one = Store(images=planted.images, faces=planted.faces.assign(usage="control"), expressions=EXPRESSIONS)
    assert audit_set(one)["cross_usage"] == {}


def test_counts_do_not_depend_on_row_order(planted):
    order = np.random.default_rng(1).permutation(10)
    shuffled = Store(images=planted.images[order], faces=planted.faces.iloc[order].reset_index(drop=True), expressions=EXPRESSIONS)
    assert audit_set(shuffled) == audit_set(planted)


def test_a_face_that_mirrors_itself_is_no_mirrored_duplicate():
    same = np.tile(np.array([1, 2, 2, 1], np.uint8), (4, 1))
    images = np.stack([same, same])
    assert not find_mirrored(images, pd.Series(hash_images(images))).any()


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 4, 4, 3)])
def test_a_blank_face_is_one_whose_pixels_are_all_alike(shape):
    images = np.full(shape, 200, np.uint8)
    images[1, 3, 3] = 201
    assert find_blank(images).tolist() == [True, False, True]


def test_the_written_table_comes_back_and_its_bytes_repeat(tmp_path, planted):
    duplicates = find_duplicates(planted.faces)
    for name in ("one", "two"):
        write_duplicates(tmp_path / name / "duplicates.parquet", duplicates)
    assert (tmp_path / "one/duplicates.parquet").read_bytes() == (tmp_path / "two/duplicates.parquet").read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "one/duplicates.parquet"), duplicates)


def test_near_duplicates_by_hand(planted):
    """A near pair of contents B (2, 6) and C (3, 9), and the exact mirror images A (0 1 5 8) and face 4."""
    pairs = pd.DataFrame({"first": [0, 2], "second": [4, 3], "mirrored": [True, False], "score": [1.0, 0.97], "exact": [True, False]})
    duplicates = find_duplicates(planted.faces, pairs)
    assert duplicates["near_group"].tolist() == [0, 0, 1, 1, 0, 0, 1, 2, 0, 1]
    assert duplicates["near_group_size"].tolist() == [5, 5, 4, 4, 5, 5, 4, 1, 5, 4]
    assert [row for row in range(10) if not duplicates["near_duplicate_in_train"][row]] == [7]
    assert [row for row in range(10) if duplicates["near_duplicate_in_val"][row]] == [0, 1, 2, 3, 4, 8, 9]
    assert [row for row in range(10) if not duplicates["near_label_conflict"][row]] == [7]
    assert [row for row in range(10) if duplicates["mirrored_in_train"][row]] == [0, 1, 4, 5, 8]
    assert [row for row in range(10) if duplicates["mirrored_in_val"][row]] == [4]
    found = audit_set(planted, pairs)
    assert found["near_duplicates"] == 4
    assert found["near_pairs"] == 1
    assert found["cross_usage"]["Training"]["PrivateTest"] == {"exact_duplicates": 2, "mirrored_duplicates": 1, "near_duplicates": 1}  # 9 has 2 and 3 there
    assert found["within_usage"]["Training"]["near_duplicates"] == 2
    assert (found["near_label_conflicts"], found["faces_in_near_label_conflicts"]) == (2, 9)
    assert found["test_dedup_of_near"] == 0


def test_the_exact_mirror_image_is_found_once_whatever_the_search_finds(planted):
    pairs, _ = find_pairs(planted)
    assert pairs.loc[pairs["exact"], ["first", "second"]].to_numpy().tolist() == [[0, 4]]


def test_rows_derived_from_others_are_excluded_of_every_count(planted):
    order = [*range(10), 0, 4, 3]
    extra = planted.faces.iloc[order].reset_index(drop=True)
    extra["face_id"] = [f"x/{i}" for i in range(13)]
    extra["derived_from"] = [""] * 10 + ["x/0", "x/4", "x/3"]
    extra["split"] = planted.faces["split"].tolist() + ["train"] * 3
    more = Store(images=planted.images[order], faces=extra, expressions=EXPRESSIONS)
    found, before = audit_set(more), audit_set(planted)
    assert found.pop("derived_rows_excluded") == 3
    before.pop("derived_rows_excluded")
    assert found == before
    duplicates = find_duplicates(extra, find_pairs(more)[0])
    assert len(duplicates) == 13
    assert (duplicates["group_size"].iloc[10:] == 1).all()


def test_a_set_that_names_its_copies_tells_how_many_were_found():
    images, faces = read(faces=200, subjects=10, size=48, seed=0, duplicates=0.1)
    faces = add_content_hashes(images, faces.assign(split="train"))
    found = audit_set(Store(images=images, faces=faces, expressions=EXPRESSIONS))["planted"]
    assert (found["planted"], found["found"], found["recall"]) == (20, 20, 1.0)
    assert found["false_pairs"] <= 1
    assert found["precision"] == pytest.approx(20 / (20 + found["false_pairs"]))
    assert found["per_kind"] == {"exact": {"planted": 20, "found": 20, "recall": 1.0}}
