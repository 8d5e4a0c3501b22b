"""Weights that can be handed on: one safetensors file with everything needed to score a face, and nothing that runs code when opened.

The metadata is one JSON string under one key: several keys come out of safetensors in random order, and equal models must give
equal bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ferlab.models.create import create_model, model_card
from ferlab.models.inputs import prepare_images, standardise
from ferlab.paths import InputError, write_whole
from ferlab.roles import SELECTING_BEFORE

KEY = "ferlab"  # the one metadata key
MEAN_IMAGE = "ferlab.mean_image"  # the one tensor beside the model's own, where its inputs are scaled by a mean image
MOST_SIDE = 1024
MOST_OPTION, MOST_LISTED = 65_536, 4096  # of options: a layer's width, or how often a block stands in a row
NUMBERS = (int, float)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value) and len(set(value)) == len(value)


def _are_options(value: Any) -> bool:
    """Whether options are plain and small: a model of a thousand million blocks would never be built."""
    if not isinstance(value, dict):
        return False
    lists = [option for option in value.values() if isinstance(option, list)]
    alone = [option for option in value.values() if not isinstance(option, list)]
    plain = all(isinstance(option, (str, bool, *NUMBERS, type(None))) for option in (*alone, *chain(*lists)))
    largest = max((abs(option) for option in alone if isinstance(option, NUMBERS)), default=0)
    listed = sum(abs(option) for option in chain(*lists) if isinstance(option, NUMBERS))
    return plain and largest <= MOST_OPTION and listed <= MOST_LISTED


def _are_spans(value: Any) -> bool:
    """Whether values have two ends each, in order."""
    spans = value.values() if isinstance(value, dict) and len(value) <= 100 else [None]
    return all(isinstance(span, list) and len(span) == 2 and all(_is_finite(end) for end in span) and span[0] < span[1] for span in spans)


def _is_finite(value: Any) -> bool:
    return isinstance(value, NUMBERS) and not isinstance(value, bool) and math.isfinite(value)


# Every key of a card with what it must be, in words and as a test; those of the second table are lacking in older cards, or where nothing is said.
FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "channels": ("1 or 3", lambda value: type(value) is int and value in (1, 3)),
    "expressions": ("a list of different names", lambda value: _are_names(value) and 0 < len(value) <= 100),
    "trained_on": ("a list of names", _are_names),
    "mean": ("a list of numbers", lambda value: isinstance(value, list) and all(map(_is_finite, value))),
    "name": ("a str", lambda value: isinstance(value, str)),
    "options": (f"a dict of words and of numbers up to {MOST_OPTION:,}, in lists up to {MOST_LISTED:,}", _are_options),
    "size": (f"a whole number of 1 to {MOST_SIDE}", lambda value: type(value) is int and 1 <= value <= MOST_SIDE),
    "std": ("a list of numbers above 0", lambda value: isinstance(value, list) and all(_is_finite(number) and number > 0 for number in value)),
}
OPTIONAL: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "output": ("softmax or sigmoid", lambda value: value in ("softmax", "sigmoid")),
    "preparation": ("a dict", lambda value: isinstance(value, dict)),
    "selected_on": ("a list of names", _are_names),
    "sources": ("a list of names", _are_names),
    "values": ("two ends for each", _are_spans),
}


@dataclass(frozen=True)
class LoadedModel:
    """A trained model with what it needs to read a face.

    Attributes:
        mean: What is taken from faces in [0, 1]: per channel, as a rule the mean of those it was fitted on; or their mean image, float32
            (C, size, size).
        std: What they are divided by then, per channel.
        values: Values that it says beside the expression, each with the ends of its span; the model says -1 and 1 for them.
        output: "softmax" where the expressions exclude each other, "sigmoid" where each was asked for on its own.
        selected_on: The splits that chose among its epochs; see `ferlab.roles`.
        preparation: How the faces of its set were prepared, see `ferlab.data.preparation.steps.prepared_as`; empty where that is not known.
        sources: The sources of the faces it was fitted on, as their face table names them; empty where they are not known.
    """

    module: nn.Module
    name: str
    options: dict[str, Any]
    expressions: tuple[str, ...]
    mean: tuple[float, ...] | Tensor
    std: tuple[float, ...]
    size: int
    channels: int
    target_layer: str | None
    trained_on: tuple[str, ...]
    values: dict[str, tuple[float, float]] = field(default_factory=dict)
    output: str = "softmax"
    selected_on: tuple[str, ...] = SELECTING_BEFORE
    preparation: dict[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()

    def probs(self, outputs: Tensor) -> Tensor:
        """Return probabilities of the expressions, float32 (N, K), rows summing to 1, from the model's outputs (N, K) or (N, K + R)."""
        logits = outputs[:, : len(self.expressions)].float()
        if self.output == "softmax":
            return logits.softmax(dim=1)
        each = logits.sigmoid()
        return each / each.sum(dim=1, keepdim=True).clamp(min=1e-12)

    def said(self, outputs: Tensor) -> Tensor:
        """Return the values that the model says, float32 (N, R), each on its own scale."""
        if not self.values:
            return outputs.new_zeros((len(outputs), 0), dtype=torch.float32)
        low, high = torch.tensor(list(self.values.values()), device=outputs.device).T
        return outputs[:, len(self.expressions) :].float() * (high - low) / 2 + (low + high) / 2

    def normalise(self, images: np.ndarray | Tensor) -> Tensor:
        """Return float32 (N, C, H, W) as the model takes it, from uint8 faces (N, H, W) or (N, H, W, 3) as their set keeps them."""
        return self.scale(prepare_images(images, size=self.size, channels=self.channels))

    def scale(self, faces: Tensor) -> Tensor:
        """Return faces (N, C, H, W) in [0, 1] as the model takes them."""
        return standardise(faces, mean=self.mean, std=self.std)


def save_model(
    path: Path,
    module: nn.Module,
    *,
    name: str,
    options: dict[str, Any],
    expressions: Sequence[str],
    mean: Iterable[float] | Tensor,
    std: Iterable[float],
    size: int,
    channels: int,
    trained_on: Sequence[str] = ("train",),
    values: Mapping[str, tuple[float, float]] | None = None,
    output: str = "softmax",
    selected_on: Sequence[str] = SELECTING_BEFORE,
    preparation: Mapping[str, Any] | None = None,
    sources: Sequence[str] = (),
) -> None:
    """Write weights and metadata, whole or not at all. Equal models give equal bytes.

    Args:
        path: The file to write, usually `weights.safetensors`.
        module: The model, on any device and in any memory format.
        name: Its key in MODELS.
        options: The options it was built with.
        expressions: The classes, in the order of the logits.
        mean: Per channel, of the fitted faces on the scale [0, 1]; or their mean image, see `LoadedModel`.
        std: Per channel, likewise.
        size: Side of the faces it takes.
        channels: Channels it takes.
        trained_on: The splits whose faces it was fitted on.
        values: See `LoadedModel`; None for a model that says none.
        output: See `LoadedModel`.
        selected_on: See `LoadedModel`.
        preparation: See `LoadedModel`; None where it is not known.
        sources: See `LoadedModel`.

    Raises:
        InputError: A disk that is full or cannot be written; a file from before stays as it was.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    if isinstance(mean, Tensor):
        tensors[MEAN_IMAGE] = mean.detach().cpu().to(torch.float32).contiguous()
        mean = tensors[MEAN_IMAGE].mean(dim=(1, 2))
    card = {
        "channels": channels,
        "expressions": list(expressions),
        "trained_on": list(trained_on),
        "mean": [float(value) for value in mean],
        "name": name,
        "options": options,
        "selected_on": list(selected_on),
        "size": size,
        "std": [float(value) for value in std],
    }
    if values:
        card["values"] = {name: list(span) for name, span in values.items()}
    if output != "softmax":
        card["output"] = output
    if preparation:
        card["preparation"] = dict(preparation)
    if sources:
        card["sources"] = list(sources)
    write_whole(path, save(tensors, metadata={KEY: json.dumps(card, sort_keys=True)}))


def load_model(path: Path) -> LoadedModel:
    """Read a model written by `save_model`, in eval mode on the CPU.

    Raises:
        InputError: A file that is missing, truncated, of another program, of an unknown model, that does not fit the model it names,
            or holds a NaN.
    """
    tensors, card = read_weights(Path(path))
    image = tensors.pop(MEAN_IMAGE, None)
    _check_mean_image(path, image, card)
    known = _registered(path, card)
    values = {name: (float(low), float(high)) for name, (low, high) in card.get("values", {}).items()}
    module = _build(path, card, tensors, outputs=len(card["expressions"]) + len(values))
    return LoadedModel(
        module=module,
        name=card["name"],
        options=card["options"],
        expressions=tuple(card["expressions"]),
        mean=tuple(card["mean"]) if image is None else image,
        std=tuple(card["std"]),
        size=card["size"],
        channels=card["channels"],
        target_layer=known["target_layer"],
        trained_on=tuple(card["trained_on"]),
        selected_on=tuple(card.get("selected_on", SELECTING_BEFORE)),
        values=values,
        output=card.get("output", "softmax"),
        preparation=card.get("preparation", {}),
        sources=tuple(card.get("sources", ())),
    )


def _build(path: Path, card: dict[str, Any], tensors: dict[str, Tensor], *, outputs: int) -> nn.Module:
    """Build the model that a card names and give it its weights; first without memory of its own, since options from anyone may ask for terabytes."""
    options = card["options"]
    try:
        with torch.random.fork_rng(devices=[]):  # fresh weights are drawn and thrown away: the caller's generator stays as it was
            with torch.device("meta"):
                _check_fit(path, create_model(card["name"], outputs, card["channels"], **options).state_dict(), tensors)
            module = create_model(card["name"], outputs, card["channels"], **options).eval()
        module.load_state_dict(tensors)
        with torch.inference_mode():
            answer = module(torch.zeros(1, card["channels"], card["size"], card["size"]))
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001 - a builder given options of another type, or layers faces of another size, raise whatever they like
        what = f"its card's options {str(options)[:80]} and size {card['size']} make no model ({' '.join(str(error).split())[:120]})"
        raise InputError(f"{path}: {what}; train the run again") from None
    if tuple(answer.shape) != (1, outputs):
        raise InputError(f"{path}: its model returns {tuple(answer.shape)} for one face, its card needs {(1, outputs)}; train the run again")
    return module


def _registered(path: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Return the registry's card of the model a weights file names."""
    try:
        return model_card(card["name"])
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the card of a file written by `save_model`, without building the model.

    Raises:
        InputError: A file that is missing, truncated or of another program, or whose card is not whole.
    """
    if not path.is_file():
        raise InputError(f"{path}: no weights there; train the run first")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
        what = f"not a whole safetensors file ({' '.join(str(error).split())[:120]})"
        raise InputError(f"{path}: {what}; expected one written by ferlab.models.save_model; train the run again") from None
    try:
        card = json.loads(metadata[KEY])
    except (KeyError, ValueError, RecursionError):
        raise InputError(f"{path}: no ferlab card in its metadata; expected a file written by ferlab.models.save_model") from None
    _check_card(path, card)
    return tensors, card


def _check_card(path: Path, card: Any) -> None:
    if not isinstance(card, dict):
        raise InputError(f"{path}: its card is no card but {type(card).__name__}; train the run again")
    if missing := [name for name in FIELDS if name not in card]:
        raise InputError(f"{path}: its card lacks {', '.join(missing)}; train the run again")
    for name, (expected, fits) in (FIELDS | {key: check for key, check in OPTIONAL.items() if key in card}).items():
        if not fits(card[name]):
            raise InputError(f"{path}: `{name}` of its card is {repr(card[name])[:60]}, expected {expected}; train the run again")
    for name in ("mean", "std"):
        if len(card[name]) != card["channels"]:
            raise InputError(f"{path}: `{name}` of its card is {card[name]}, expected {card['channels']} numbers; train the run again")


def _check_mean_image(path: Path, image: Tensor | None, card: dict[str, Any]) -> None:
    shape = (card["channels"], card["size"], card["size"])
    if image is not None and (tuple(image.shape) != shape or not torch.isfinite(image).all()):
        raise InputError(f"{path}: its mean image is {tuple(image.shape)}, expected {shape} of finite numbers; train the run again")


def _check_fit(path: Path, expected: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Name the first tensor that is missing, left over, of another shape or not finite."""
    another = "the file is of another model or another version of it; train the run again"
    for key in sorted(expected.keys() | tensors.keys()):
        if key not in tensors:
            raise InputError(f"{path}: tensor {key!r} of the model is missing; {another}")
        if key not in expected:
            raise InputError(f"{path}: tensor {key!r} is not one of the model's; {another}")
        if tensors[key].shape != expected[key].shape:
            found, needed = tuple(tensors[key].shape), tuple(expected[key].shape)
            raise InputError(f"{path}: tensor {key!r} has shape {found}, the model and its classes need {needed}; train the run again")
        if not torch.isfinite(tensors[key]).all():
            raise InputError(f"{path}: tensor {key!r} holds NaN or infinity; train the run again")
