"""Pixels as text, `"70 80 82 ..."`, to arrays. FER2013 has 80 million numbers: each is found by the blank behind it, and every digit is checked."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ferlab.data.readers.tables import name_row
from ferlab.paths import InputError

ROWS_AT_ONCE = 64  # half a megabyte of text, which fits a processor's cache
BLANK, ZERO = 32, 48  # ASCII


def parse_pixels(texts: pa.Array, *, per_face: int, where: str, first_row: int = 1) -> np.ndarray:
    """Parse one text per face, whole numbers 0 to 255 with one blank between two, to uint8 (N, per_face).

    Args:
        texts: Arrow array of strings or binaries.
        per_face: Numbers in each text.
        where: The file in an error.
        first_row: Number of the first text in an error.

    Raises:
        InputError: Naming the first wrong row, its value and what was expected.
    """
    pixels = np.empty((len(texts), per_face), dtype=np.uint8)
    ended = pc.binary_join_element_wise(texts.cast(pa.large_binary()), pa.scalar(b"", pa.large_binary()), pa.scalar(b" ", pa.large_binary()))
    offsets = np.frombuffer(ended.buffers()[1], dtype=np.int64)[ended.offset : ended.offset + len(ended) + 1]
    text = np.frombuffer(ended.buffers()[2], dtype=np.uint8)
    for start in range(0, len(texts), ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, len(texts))
        ends = offsets[start + 1 : stop + 1] - 1 - offsets[start]
        values = _parse_block(text[offsets[start] : offsets[stop]], ends, per_face)
        if values is None:
            _explain(texts[start:stop], per_face=per_face, where=where, first_row=first_row + start)
        pixels[start:stop] = values
    return pixels


def _parse_block(text: np.ndarray, ends: np.ndarray, per_face: int) -> np.ndarray | None:
    """Parse rows that each end in a blank at `ends`; None if anything in them is wrong."""
    blanks = np.flatnonzero(text == BLANK)
    if len(blanks) != len(ends) * per_face or not np.array_equal(blanks[per_face - 1 :: per_face], ends):
        return None
    before = np.concatenate([np.full(3, BLANK, dtype=np.uint8), text])  # before[k:][blanks] is the byte 3 - k places before each blank
    ones, tens, hundreds = (before[k:][blanks] - np.uint8(ZERO) for k in (2, 1, 0))  # a byte that is no digit becomes 10 or more
    two = tens < 10
    three = two & (hundreds < 10)
    # Every byte is a blank, or the first, second or third digit before one: none is left for a fourth digit, a sign or a point.
    if ones.max() > 9 or 2 * len(blanks) + np.count_nonzero(two) + np.count_nonzero(three) != len(text):
        return None
    below = ones + tens * two * np.uint8(10)
    hundreds *= three
    if ((hundreds > 2) | ((hundreds == 2) & (below > 55))).any():
        return None
    return (hundreds * np.uint8(100) + below).reshape(len(ends), per_face)


def _explain(texts: pa.Array, *, per_face: int, where: str, first_row: int) -> None:
    """Raise an `InputError` for the first wrong text."""
    for row, text in enumerate(texts.to_pylist(), start=first_row):
        written = text.decode("utf-8", errors="backslashreplace") if isinstance(text, bytes) else text
        place = name_row(where, row)
        if not written.strip():
            raise InputError(f"{place}: the pixels are empty; expected {per_face} numbers from 0 to 255. Get the file again.")
        numbers = written.split(" ")
        if "" in numbers:
            near = numbers.index("") + 1
            raise InputError(f"{place}: two blanks in a row, or one at the edge, near pixel {near}; expected single blanks. Get the file again.")
        for pixel, number in enumerate(numbers, start=1):
            if not (number.isascii() and number.isdigit() and len(number) <= 3 and int(number) <= 255):
                raise InputError(f"{place}: pixel {pixel} is {number[:20]!r}; expected a whole number from 0 to 255. Get the file again.")
        if len(numbers) != per_face:
            raise InputError(f"{place}: {len(numbers)} pixels; expected {per_face}. The file is cut or changed: get it again.")
    raise AssertionError("a block was refused, yet every row of it is right")
