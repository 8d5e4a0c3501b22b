"""The audit on planted twins, with every number counted by hand."""

import numpy as np
import pandas as pd
import pytest

from ferlab.data.audit import audit_set, find_blank, find_mirrored, find_twins, write_twins
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


def test_the_twins_table_by_hand(planted):
    twins = find_twins(planted.faces)
    assert list(twins.columns) == ["face_id", "content_hash", "group", "group_size", "twin_in_train", "twin_in_val", "label_conflict"]
    assert twins["face_id"].tolist() == planted.faces["face_id"].tolist()
    assert twins["group"].tolist() == [0, 0, 1, 2, 3, 0, 1, 4, 0, 2]
    assert twins["group_size"].tolist() == [4, 4, 2, 2, 1, 4, 2, 1, 4, 2]
    yes = [row for row in range(10) if twins["twin_in_train"][row]]
    assert yes == [0, 1, 5, 6, 8, 9]  # 2 and 3 are alone in train: a face is not its own twin
    assert [row for row in range(10) if twins["twin_in_val"][row]] == [0, 1, 2, 8]
    assert [row for row in range(10) if twins["label_conflict"][row]] == [0, 1, 3, 5, 8, 9]
    assert twins.dtypes[["group", "group_size", "twin_in_train", "label_conflict"]].astype(str).tolist() == ["int64", "int64", "bool", "bool"]


def test_the_audit_by_hand(planted):
    found = audit_set(planted)
    assert found["cross_usage"] == {
        "Training": {"PublicTest": {"byte_twins": 2}, "PrivateTest": {"byte_twins": 2}},
        "PublicTest": {"Training": {"byte_twins": 3}, "PrivateTest": {"byte_twins": 1}},
        "PrivateTest": {"Training": {"byte_twins": 3}, "PublicTest": {"byte_twins": 1}},
    }
    assert found["cross_split"]["train"]["test"] == {"byte_twins": 2}
    assert found["within_usage"] == {"Training": {"byte_twins": 2}, "PublicTest": {"byte_twins": 0}, "PrivateTest": {"byte_twins": 0}}
    assert (found["groups"], found["faces_in_groups"], found["largest_group"]) == (3, 8, 4)
    assert (found["label_conflicts"], found["faces_in_label_conflicts"]) == (2, 6)
    assert found["test_clean"] == 0
    assert found["mirrored_twins"] == 5  # faces 0 1 5 8 and 4
    assert found["blank_faces"] == 1
    assert found["near_twins"] is None


def test_a_set_without_twins_has_none(planted):
    one = Store(images=planted.images[[2, 3, 7]], faces=planted.faces.iloc[[2, 3, 7]].reset_index(drop=True), expressions=EXPRESSIONS)
    found = audit_set(one)
    assert (found["groups"], found["faces_in_groups"], found["label_conflicts"], found["mirrored_twins"]) == (0, 0, 0, 0)
    assert not find_twins(one.faces)[["twin_in_train", "twin_in_val", "label_conflict"]].to_numpy().any()


def test_a_set_of_one_usage_has_no_crossing_usages(planted):
    one = Store(images=planted.images, faces=planted.faces.assign(usage="control"), expressions=EXPRESSIONS)
    assert audit_set(one)["cross_usage"] == {}


def test_counts_do_not_depend_on_row_order(planted):
    order = np.random.default_rng(1).permutation(10)
    shuffled = Store(images=planted.images[order], faces=planted.faces.iloc[order].reset_index(drop=True), expressions=EXPRESSIONS)
    assert audit_set(shuffled) == audit_set(planted)


def test_a_face_that_mirrors_itself_is_no_mirrored_twin():
    same = np.tile(np.array([1, 2, 2, 1], np.uint8), (4, 1))
    images = np.stack([same, same])
    assert not find_mirrored(images, pd.Series(hash_images(images))).any()


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 4, 4, 3)])
def test_a_blank_face_is_one_whose_pixels_are_all_alike(shape):
    images = np.full(shape, 200, np.uint8)
    images[1, 3, 3] = 201
    assert find_blank(images).tolist() == [True, False, True]


def test_the_written_table_comes_back_and_its_bytes_repeat(tmp_path, planted):
    twins = find_twins(planted.faces)
    for name in ("one", "two"):
        write_twins(tmp_path / name / "twins.parquet", twins)
    assert (tmp_path / "one/twins.parquet").read_bytes() == (tmp_path / "two/twins.parquet").read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "one/twins.parquet"), twins)
