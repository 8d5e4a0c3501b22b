"""The numpy duplicate of the models' input transform agrees with torch's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ferlab.deployment.inputs import prepare_faces, spread_rows
from ferlab.models.inputs import prepare_images
from ferlab.paths import InputError


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(4, 70),
    size=st.sampled_from([1, 16, 48, 64]),
    channels=st.sampled_from([1, 3]),
    colour=st.booleans(),
    seed=st.integers(0, 99),
)
def test_faces_of_any_size_come_out_as_torch_prepares_them(height, width, size, channels, colour, seed) -> None:
    shape = (2, height, width, 3) if colour else (2, height, width)
    faces = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    prepared = prepare_faces(faces, size=size, channels=channels)
    assert prepared.dtype == np.float32
    np.testing.assert_allclose(
        prepared, prepare_images(faces, size=size, channels=channels).numpy(), atol=1e-5
    )  # torch finds pixel centres in float32


def test_two_pixels_shrink_to_their_mean() -> None:
    faces = np.array([[[0, 255], [255, 255]]], dtype=np.uint8)
    assert prepare_faces(faces, size=1, channels=1) == pytest.approx(0.75)


def test_no_faces_give_no_faces() -> None:
    assert prepare_faces(np.zeros((0, 20, 20), np.uint8), size=16, channels=1).shape == (0, 1, 16, 16)


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        (np.zeros((48, 48), np.uint8), "one face needs a leading axis"),
        (np.zeros((48, 48, 3), np.uint8), "one face needs a leading axis"),
        (np.zeros((2, 48, 48), np.float32), "got float32 .* scale to 0-255"),
        (np.zeros((2, 48, 48, 4), np.uint8), r"got uint8 \(2, 48, 48, 4\)"),
        (np.zeros((2, 0, 48), np.uint8), r"\(2, 0, 48\)"),
        ([[1]], "got list"),
    ],
)
def test_other_input_is_refused_in_one_line(faces, said) -> None:
    with pytest.raises(InputError, match=said) as error:
        prepare_faces(faces, size=16, channels=1)
    assert "\n" not in str(error.value)


def test_rows_are_spread_over_a_split_and_all_taken_where_they_are_few() -> None:
    split = np.array(["val", "train"] * 50)
    assert spread_rows(split, "train", 4).tolist() == [1, 33, 67, 99]
    assert spread_rows(split, "val", 50).tolist() == list(range(0, 100, 2))
    assert spread_rows(split, "test", 5).tolist() == []
