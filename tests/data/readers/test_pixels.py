"""Pixels from text: exact on what is right, and a clear refusal of what is not."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ferlab.data.readers.pixels import ROWS_AT_ONCE, parse_pixels
from ferlab.paths import InputError


def parse(*texts, per_face=4):
    return parse_pixels(pa.array(texts), per_face=per_face, where="faces.csv")


@settings(deadline=None)  # seconds depend on the machine
@given(arrays(np.uint8, st.tuples(st.integers(1, 2 * ROWS_AT_ONCE + 3), st.integers(1, 7))))
def test_any_pixels_come_back_as_written(pixels):
    texts = pa.array([" ".join(map(str, face)) for face in pixels.tolist()])
    np.testing.assert_array_equal(parse_pixels(texts, per_face=pixels.shape[1], where="x"), pixels)


@settings(deadline=None)  # seconds depend on the machine
@given(st.lists(st.text(alphabet="0129 5-.a", max_size=9), min_size=1, max_size=4))
def test_a_text_is_read_if_and_only_if_it_is_numbers_from_0_to_255_with_single_blanks(texts):
    def right(text):
        numbers = text.split(" ")
        return len(numbers) == 2 and all(n.isdigit() and len(n) <= 3 and int(n) <= 255 for n in numbers)

    if all(map(right, texts)):
        np.testing.assert_array_equal(parse(*texts, per_face=2), [[int(n) for n in text.split(" ")] for text in texts])
    else:
        wrong = next(row for row, text in enumerate(texts, start=1) if not right(text))
        with pytest.raises(InputError, match=rf"faces\.csv, data row {wrong} "):
            parse(*texts, per_face=2)


@pytest.mark.parametrize("value", ["256", "-1", "abc", "1.5", "NaN", "1234", "0x1F", "+7", "1e2", "é", "2,5"])
def test_a_value_that_is_no_pixel_is_named_with_its_place(value):
    with pytest.raises(InputError, match=r"data row 2 .*pixel 3 is '.*expected a whole number from 0 to 255") as error:
        parse("1 2 3 4", f"9 8 {value} 6")
    assert repr(value) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 2 3", "3 pixels; expected 4"),
        ("1 2 3 4 5", "5 pixels; expected 4"),
        ("", "pixels are empty"),
        ("   ", "pixels are empty"),
        ("1  2 3 4", "two blanks in a row, or one at the edge, near pixel 2"),
        ("1 2 3 4 ", "two blanks in a row, or one at the edge, near pixel 5"),
        (" 1 2 3 4", "near pixel 1"),
    ],
)
def test_a_wrong_count_or_blank_is_named(text, said):
    with pytest.raises(InputError, match=said):
        parse("1 2 3 4", text)


def test_two_rows_whose_errors_cancel_are_refused():
    with pytest.raises(InputError, match=r"data row 1 .*3 pixels"):
        parse("1 2 3", "4 5 6 7 8")


def test_a_wrong_row_past_the_first_block_is_counted_from_the_files_first():
    texts = ["1 2 3 4"] * (ROWS_AT_ONCE + 10) + ["1 2 3 400"]
    with pytest.raises(InputError, match=rf"data row {100 + ROWS_AT_ONCE + 10} .*'400'"):
        parse_pixels(pa.array(texts), per_face=4, where="x", first_row=100)


def test_a_slice_of_a_longer_array_is_read_from_its_own_start():
    np.testing.assert_array_equal(parse_pixels(pa.array(["9 9", "1 2", "3 4"])[1:], per_face=2, where="x"), [[1, 2], [3, 4]])
