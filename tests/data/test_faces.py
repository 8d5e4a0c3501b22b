"""The face table's schema and the content hash."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from ferlab.data.faces import REQUIRED, check_faces, content_hash, hash_images
from ferlab.paths import InputError


@pytest.fixture
def table():
    images = np.arange(3 * 4, dtype=np.uint8).reshape(3, 2, 2)
    faces = pd.DataFrame(
        {
            "face_id": ["a/0", "a/1", "a/2"],
            "source": "a",
            "source_path": "x.csv",
            "usage": ["Training", "Training", "PublicTest"],
            "target": [0, 6, 3],
        }
    )
    return faces.assign(content_hash=hash_images(images))


def test_a_right_table_comes_back_unchanged(table):
    pd.testing.assert_frame_equal(check_faces(table), table)


def test_columns_a_dataset_adds_are_allowed(table):
    more = table.assign(subject=["s1", "s1", "s2"], intensity=[0.0, np.nan, 5.0], votes_happy=[0, 3, 10], skin=0.5, split=["train", "val", "test"])
    pd.testing.assert_frame_equal(check_faces(more), more)


@pytest.mark.parametrize("column", REQUIRED)
def test_a_missing_column_is_named(table, column):
    with pytest.raises(InputError, match=f"lacks the column '{column}'"):
        check_faces(table.drop(columns=column))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"target": [0, -1, 3]}, r"'target', row 1: -1; expected"),
        ({"target": [0.0, 1.0, 3.0]}, r"'target': type float64; expected type int64"),
        ({"split": ["train", "valid", "test"]}, r"'split', row 1: 'valid'; expected one of train, val, test"),
        ({"face_id": ["a", "b", "a"]}, r"'face_id', row 2: 'a' appears twice"),
        ({"face_id": ["a", "", "c"]}, r"'face_id', row 1: ''"),
        ({"content_hash": ["0" * 64, "zz", "1" * 64]}, r"'content_hash', row 1: 'zz'; expected 64 hexadecimal digits"),
        ({"usage": ["Training", None, "PublicTest"]}, r"'usage', row 1: no value"),
        ({"subject": ["s1", None, "s2"]}, r"'subject', row 1: no value"),
        ({"intensity": [0.0, 5.5, 1.0]}, r"'intensity', row 1: 5.5; expected 0 to 5"),
        ({"votes_happy": [1, -2, 3]}, r"'votes_happy', row 1: -2"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(table, changed, said):
    with pytest.raises(InputError, match=said) as error:
        check_faces(table.assign(**changed))
    assert "\n" not in str(error.value)


def test_a_table_without_rows_is_refused(table):
    with pytest.raises(InputError, match="no rows"):
        check_faces(table.iloc[:0])


def test_the_hash_is_sha256_of_shape_dtype_and_pixels():
    image = np.array([[1, 2], [3, 4]], dtype=np.uint8)
    assert content_hash(image) == hashlib.sha256(b"(2, 2) |u1 " + bytes([1, 2, 3, 4])).hexdigest()


def test_same_bytes_in_another_shape_or_type_are_another_content():
    flat = np.zeros(4, dtype=np.uint8)
    assert len({content_hash(flat.reshape(2, 2)), content_hash(flat.reshape(1, 4)), content_hash(flat.view(np.int8).reshape(2, 2))}) == 3


@settings(deadline=None)  # seconds depend on the machine
@given(arrays(np.uint8, (5, 3, 2)))
def test_hashes_agree_exactly_where_images_do(images):
    hashes = hash_images(images)
    assert hashes == [content_hash(image) for image in images]
    for first in range(5):
        for second in range(5):
            assert (hashes[first] == hashes[second]) == np.array_equal(images[first], images[second])


def test_the_memory_layout_of_an_image_does_not_matter():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert content_hash(image.T) == content_hash(np.ascontiguousarray(image.T))
