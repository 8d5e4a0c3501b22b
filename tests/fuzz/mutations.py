"""Spoil bytes, texts and values, equally for equal generators: what a copy cut short, a bad disk, an editor or a person with intent does."""

from __future__ import annotations

import copy
import random
import re
import struct
from typing import Any

NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
WORDS = ("", " ", "-1", "--5", "+1", "1e309", "nan", "inf", "0x10", "²", "٣", "9" * 400, "1" * 5000, "null", "true", "~", "..", "../..",
         "/etc/passwd", "a/b", "$5_$", "<b>", "'", '"', "\x1b[31m", "\u202e", "\ufeff", "\x00", "é" * 300, "1,2", "[", "{",
         "&a [*a]", "!!python/name:os.system", "=1+1", "2026-01-01",
         "12:30:45", "1_000", ".5", "happy", "angry", "contempt", "train", "Training")  # fmt: skip
VALUES: tuple[Any, ...] = (None, True, False, 0, 1, -1, 0.5, 1e308, float("nan"), 10**9, 10**30, "", "x", "48", [], [1], [[]], {}, {"a": 1})


def spoil_bytes(rng: random.Random, data: bytes, *, others: tuple[bytes, ...] = ()) -> bytes:
    """Change bytes in one to four places: flipped, cut, moved, overwritten by numbers at the edge of a type, or by a part of another file."""
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        rng.choice(WAYS)(rng, spoilt, others)
    return bytes(spoilt)


def spoil_text(rng: random.Random, text: str) -> bytes:
    """Change a text in one to three places: a word for another, a line lost, twice or elsewhere, a separator, bytes that are no UTF-8."""
    lines = text.split("\n")
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(len(lines))
        way = rng.randrange(7)
        if way <= 2:
            tokens = re.split(r"([\w.+-]+)", lines[place])
            tokens[rng.randrange(len(tokens))] = rng.choice(WORDS)
            lines[place] = "".join(tokens)
        elif way == 3 and len(lines) > 1:
            del lines[place]
        elif way == 4:
            lines.insert(rng.randrange(len(lines) + 1), lines[place])
        elif way == 5:
            lines[place] = lines[place].replace(*rng.choice(((",", ";"), (":", "="), (" ", "\t"), ("-", "–"), ("\n", "\r"))))
        else:
            lines[place] = rng.choice((" ", "  ", "\t", "- ", "#", ": ")) + lines[place]
    spoilt = "\n".join(lines).encode(errors="surrogateescape")
    return spoilt if rng.random() < 0.85 else spoil_bytes(rng, spoilt)


def spoil_value(rng: random.Random, value: Any) -> Any:
    """Change one place of nested lists and tables: another value, a key lost or doubled, a value deeper than it was."""
    spoilt = copy.deepcopy(value)
    inside = spoilt
    while isinstance(inside, (dict, list)) and inside:
        key = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        if not isinstance(inside[key], (dict, list)) or not inside[key] or rng.random() < 0.4:
            break
        inside = inside[key]
    else:
        return rng.choice(VALUES)
    way = rng.randrange(5)
    if way == 0 and isinstance(inside, dict):
        del inside[key]
    elif way == 1:
        inside[key] = [inside[key]] if rng.random() < 0.5 else {"x": inside[key]}
    elif way == 2 and isinstance(inside, dict):
        inside[f"{key}s"] = inside[key]
    elif way == 3:
        inside[key] = rng.choice(WORDS)
    else:
        inside[key] = rng.choice(VALUES)
    return spoilt if rng.random() < 0.95 else rng.choice(VALUES)


def _flip(rng: random.Random, data: bytearray, _: tuple[bytes, ...]) -> None:
    for _place in range(rng.choice((1, 1, 3, 20))):
        if data:
            data[rng.randrange(min(len(data), rng.choice((64, 512, len(data)))))] ^= 1 << rng.randrange(8)


def _cut(rng: random.Random, data: bytearray, _: tuple[bytes, ...]) -> None:
    if data:
        del data[rng.randrange(len(data)) :]


def _lose(rng: random.Random, data: bytearray, _: tuple[bytes, ...]) -> None:
    start = rng.randrange(len(data) + 1)
    del data[start : start + rng.choice((1, 2, 4, 16, 200))]


def _repeat(rng: random.Random, data: bytearray, _: tuple[bytes, ...]) -> None:
    start = rng.randrange(len(data) + 1)
    data[start:start] = data[start : start + rng.choice((1, 4, 16, 1000))]


def _number(rng: random.Random, data: bytearray, _: tuple[bytes, ...]) -> None:
    value, form = rng.choice(NUMBERS), rng.choice("<>") + rng.choice("BHIQ")
    packed = struct.pack(form, value % (1 << 8 * struct.calcsize(form)))
    start = rng.randrange(max(1, min(len(data), rng.choice((64, 512, len(data) or 1)))))
    data[start : start + len(packed)] = packed


def _noise(rng: random.Random, data: bytearray, _: tuple[bytes, ...]) -> None:
    start = rng.randrange(len(data) + 1)
    noise = rng.choice((rng.randbytes(8), b"\xff" * 16, b"\0" * 16, rng.randbytes(200)))
    data[start : start + len(noise)] = noise


def _splice(rng: random.Random, data: bytearray, others: tuple[bytes, ...]) -> None:
    other = rng.choice(others) if others else bytes(data)
    start, source = rng.randrange(len(data) + 1), rng.randrange(len(other) + 1)
    data[start : start + rng.choice((4, 64, 10_000))] = other[source : source + rng.choice((4, 64, 10_000))]


WAYS = (_flip, _flip, _number, _number, _cut, _lose, _repeat, _noise, _splice)
