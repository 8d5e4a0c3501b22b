"""YAML as plain values within bounds: neither a malicious file (deep nesting, multiplying aliases, huge integers) nor a mistyped one costs more
than a line of error."""

from __future__ import annotations

import math
import unicodedata
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

from ferlab.paths import InputError

MOST_BYTES = 1_000_000
DEEPEST = 20  # lists and sections in each other
LARGEST = 2**63  # of an integer


def read_yaml(path: Path, *, source: str, round_trip: bool = False) -> Any:
    """Read a YAML file whose top is a mapping.

    Args:
        path: The file, which is there.
        source: Its name in errors.
        round_trip: Keep comments and order.

    Raises:
        InputError: It is no YAML in UTF-8, no mapping, too large or too deep, or holds an alias, a text with a line break or control character,
            or a number beyond 64 bits.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _check_shape(text, source)
        values = (YAML() if round_trip else YAML(typ="safe")).load(text)
    except InputError:
        raise
    except (YAMLError, ValueError, RecursionError, OverflowError) as error:
        raise InputError(f"{source}: not YAML: {' '.join(str(error).split())[:300]}") from None
    if not isinstance(values, dict):
        raise InputError(f"{source}: expected sections, got {'list' if isinstance(values, list) else type(values).__name__}")
    check_plain(values, source)
    return values


def check_plain(value: Any, source: str, where: str = "") -> None:
    """Refuse texts of several lines, which could inject Markdown into a page, numbers beyond 64 bits, and values that are not plain."""
    place = f"{source}: {where}" if where else source
    if isinstance(value, str) and any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in value):
        raise InputError(f"{place}: expected one line of text without control characters, got {shown(value)}")
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise InputError(f"{place}: expected a number within 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{place}: expected a number, got {value}")
    if not isinstance(value, (str, int, float, dict, list, tuple, type(None))):
        raise InputError(f"{place}: expected text, a number, true, false or null, got {shown(value)}; put text in quotes")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InputError(f"{place}: key {shown(key)}: expected text; put it in quotes")
            check_plain(key, source, f"{where}: key" if where else "key")
            check_plain(inner, source, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)):
        for place_in_list, inner in enumerate(value):
            check_plain(inner, source, f"{where}.{place_in_list}")


def shown(value: Any, most: int = 80) -> str:
    """Return a value for an error, of at most `most` characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _check_shape(text: str, source: str) -> None:
    """Check the parser's events, before any value is built."""
    if len(text) > MOST_BYTES:
        raise InputError(f"{source}: {len(text):,} characters; expected at most {MOST_BYTES:,}")
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, AliasEvent):
            line = event.start_mark.line + 1
            raise InputError(f"{source}: line {line}: *{event.anchor} repeats another place of the file; expected every value written out")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise InputError(f"{source}: line {event.start_mark.line + 1}: more than {DEEPEST} lists and sections in each other; expected a few")
