"""The card of a model file: what stands in its metadata, checked key by key and against the graph. It needs no onnx.

`ferlab.deployment.model_files` checks the graph itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ferlab.paths import InputError

KEY = "ferlab"  # of the metadata, where the card stands
MOST_FILE = (1 << 31) - 1  # bytes: protobuf's own bound
MOST_BATCH = 256  # faces per call of the runtime
MOST_SIDE = 1024
OURS = "expected a file written by the deploy stage"


class Field(NamedTuple):
    """A key of the card: its expected value in words and as a test."""

    expected: str
    fits: Callable[[Any], bool]


def _is_number(value: Any, *, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _are_names(value: Any) -> bool:
    if not isinstance(value, list) or not 1 <= len(value) <= 100:
        return False
    return all(isinstance(name, str) and 0 < len(name) <= 40 and name.isprintable() for name in value) and len(set(value)) == len(value)


# Every key that `Predictor` reads; `_check_shapes` compares them with the graph.
CARD: dict[str, Field] = {
    "channels": Field("1 or 3", lambda value: _is_number(value, low=1, high=3) and value != 2),
    "expressions": Field("a list of 1 to 100 different names", _are_names),
    "size": Field(f"a whole number from 1 to {MOST_SIDE}", lambda value: _is_number(value, low=1, high=MOST_SIDE)),
}
OPTIONAL: dict[str, Field] = {  # what older cards lack
    "confidence": Field("a table", lambda value: isinstance(value, dict)),  # value by value: `ferlab.deployment.confidence`
    "preparation": Field("a table of steps", lambda value: isinstance(value, dict)),  # step by step: `ferlab.deployment.face_steps.read_steps`
    "sources": Field("a list of names", lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value)),
}


def read_card(metadata: Mapping[str, str], *, inputs: list[Any], outputs: list[Any], where: str) -> dict[str, Any]:
    """Return the card of a model file, checked key by key and against the graph's inputs and outputs.

    Args:
        metadata: The file's metadata.
        inputs: The session's inputs, each with `name`, `type` and `shape`.
        outputs: Likewise.
        where: The file's name in errors.

    Raises:
        InputError: If the card or a key is missing, a value is not as in `CARD`, or the card contradicts the graph.
    """
    try:
        card = json.loads(metadata[KEY])
    except (KeyError, ValueError, RecursionError):
        raise InputError(f"{where}: no ferlab card in its metadata; {OURS}, or its card beside it: {Path(where).stem}.yaml (docs/live.md)") from None
    if not isinstance(card, dict):
        raise InputError(f"{where}: its card is a {type(card).__name__}, not a table of keys; {OURS}")
    if lacking := [key for key in CARD if key not in card]:
        raise InputError(f"{where}: its card lacks `{lacking[0]}`; {OURS}")
    for key, field in (CARD | {key: field for key, field in OPTIONAL.items() if key in card}).items():
        if not field.fits(card[key]):
            shown = f"a {type(card[key]).__name__}" if isinstance(card[key], (list, dict)) else repr(card[key])[:60]
            raise InputError(f"{where}: `{key}` of its card is {shown}; expected {field.expected}; {OURS}")
    _check_shapes(card, inputs=inputs, outputs=outputs, where=where)
    return card


def _check_shapes(card: Mapping[str, Any], *, inputs: list[Any], outputs: list[Any], where: str) -> None:
    wanted = {
        "faces": (inputs, [card["channels"], card["size"], card["size"]]),
        "probabilities": (outputs, [len(card["expressions"])]),
    }
    for name, (nodes, shape) in wanted.items():
        found = [(node.name, node.type, list(node.shape)) for node in nodes]
        free = len(found) == 1 and found[0][2][:1] and not isinstance(found[0][2][0], int)  # the first axis, over faces, has no size
        if not free or found[0][:2] != (name, "tensor(float)") or found[0][2][1:] != shape:
            shown = ", ".join(f"{title} {kind} {size}" for title, kind, size in found)
            raise InputError(f"{where}: its graph has {shown[:160]}; its card states {name} tensor(float) {['N', *shape]}; {OURS}")
