"""Weights files: one safetensors file with all that is needed to predict a face; reading it runs no code.

The metadata is one JSON string under one key: safetensors writes several keys in random order, and equal models must give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from annotated_types import Gt
from pydantic import AfterValidator, AllowInfNan, BaseModel, BeforeValidator, Field, Strict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ferlab.models.create import create_model, model_card
from ferlab.models.inputs import prepare_images, standardise
from ferlab.paths import InputError, write_whole
from ferlab.roles import SELECTING_BEFORE

KEY = "ferlab"  # the one metadata key
MEAN_IMAGE = "ferlab.mean_image"  # the only tensor beside the model's own, with `train.scaling: mean_image`
MOST_OPTION, MOST_LISTED = 65_536, 4096  # of options: a width, the sum of a list


def _different(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("repeated names")
    return names


def _whole(value: Any) -> Any:
    if type(value) is not int:  # True and 1.0 equal 1
        raise ValueError("not a whole number")
    return value


def _few(options: dict[str, Any]) -> dict[str, Any]:
    listed = chain(*(option for option in options.values() if isinstance(option, list)))
    if sum(abs(number) for number in listed if isinstance(number, (int, float))) > MOST_LISTED:
        raise ValueError("too large")
    return options


def _ordered(spans: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    if any(low >= high for low, high in spans.values()):
        raise ValueError("ends out of order")
    return spans


Text, Number = Annotated[str, Strict()], Annotated[float, Strict(), AllowInfNan(False)]
Names = Annotated[tuple[Text, ...], AfterValidator(_different)]
Span = tuple[Number, Number]
Bounded = Field(ge=-MOST_OPTION, le=MOST_OPTION)
Plain = str | bool | Annotated[int, Bounded] | Annotated[float, Bounded] | None


class Card(BaseModel):
    """The metadata of a weights file: the attributes of `LoadedModel` that JSON can hold. Descriptions are what errors expect."""

    channels: Annotated[Literal[1, 3], BeforeValidator(_whole)] = Field(description="1 or 3")
    expressions: Names = Field(min_length=1, max_length=100, description="a list of different names")
    trained_on: Names = Field(description="a list of names")
    mean: tuple[Number, ...] = Field(description="a list of numbers")
    name: Text = Field(description="a str")
    options: Annotated[dict[str, Plain | list[Plain]], AfterValidator(_few)] = Field(
        description=f"a dict of words and of numbers up to {MOST_OPTION:,}, in lists up to {MOST_LISTED:,}"
    )
    size: Annotated[int, Strict()] = Field(ge=1, le=1024, description="a whole number of 1 to 1024")
    std: tuple[Annotated[Number, Gt(0)], ...] = Field(description="a list of numbers above 0")
    selected_on: Names = Field(SELECTING_BEFORE, description="a list of names")
    values: Annotated[dict[str, Span], AfterValidator(_ordered)] = Field({}, max_length=100, description="two ends for each")
    output: Literal["softmax", "sigmoid"] = Field("softmax", description="softmax or sigmoid")
    preparation: dict[str, Any] = Field({}, description="a dict")
    sources: Names = Field((), description="a list of names")


@dataclass(frozen=True)
class LoadedModel:
    """A trained model with its preprocessing.

    Attributes:
        mean: Subtracted from faces in [0, 1]: a value per channel, or the mean image of the training faces, float32 (C, size, size).
        std: Divides them then, per channel.
        values: Values predicted beside the expression, each with its range, which outputs of -1 to 1 are scaled to.
        output: "softmax" for exclusive expressions, "sigmoid" for independent ones.
        selected_on: The splits that selected the epoch; see `ferlab.roles`.
        preparation: Of its training faces, see `ferlab.data.preparation.steps.prepared_as`; empty if unknown.
        sources: Of its training faces, see the face table; empty if unknown.
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

    def predicted_values(self, outputs: Tensor) -> Tensor:
        """Return the values predicted beside the expression, float32 (N, R), each on its own scale."""
        if not self.values:
            return outputs.new_zeros((len(outputs), 0), dtype=torch.float32)
        low, high = torch.tensor(list(self.values.values()), device=outputs.device).T
        return outputs[:, len(self.expressions) :].float() * (high - low) / 2 + (low + high) / 2

    def normalise(self, images: np.ndarray | Tensor) -> Tensor:
        """Return the model's input, float32 (N, C, H, W), from stored faces, uint8 (N, H, W) or (N, H, W, 3)."""
        return self.scale(prepare_images(images, size=self.size, channels=self.channels))

    def scale(self, faces: Tensor) -> Tensor:
        """Return the model's input from faces (N, C, H, W) in [0, 1]."""
        return standardise(faces, mean=self.mean, std=self.std)


def save_model(path: Path, module: nn.Module, *, mean: Iterable[float] | Tensor, trained_on: Sequence[str] = ("train",), **card: Any) -> None:
    """Write weights and card, whole or not at all. Equal models give equal bytes.

    Args:
        path: The file to write, usually `weights.safetensors`.
        module: The model, on any device and in any memory format.
        mean: See `LoadedModel`.
        trained_on: The splits that it was trained on.
        **card: The other keys of `Card`.

    Raises:
        InputError: A disk that is full or cannot be written; an earlier file stays as it was.
        TypeError: An unknown key.
    """
    if unknown := card.keys() - Card.model_fields.keys():
        raise TypeError(f"save_model: unknown keys of a card: {', '.join(sorted(unknown))}")
    tensors = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    if isinstance(mean, Tensor):
        tensors[MEAN_IMAGE] = mean.detach().cpu().to(torch.float32).contiguous()
        mean = tensors[MEAN_IMAGE].mean(dim=(1, 2))
    lists = {"mean": [float(value) for value in mean], "trained_on": list(trained_on), "std": [float(value) for value in card["std"]]}
    stated = {key: value for key, value in {"selected_on": SELECTING_BEFORE, **card, **lists}.items() if value is not None}
    write_whole(path, save(tensors, metadata={KEY: json.dumps(stated, sort_keys=True)}))


def load_model(path: Path) -> LoadedModel:
    """Read a model written by `save_model`, in eval mode on the CPU.

    Raises:
        InputError: A file that is missing, truncated, foreign, of an unknown model, does not fit its model, or holds a NaN.
    """
    tensors, card = read_weights(Path(path))
    image = tensors.pop(MEAN_IMAGE, None)
    _check_mean_image(path, image, card)
    try:
        known = model_card(card.name)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    module = _build(path, card, tensors, outputs=len(card.expressions) + len(card.values))
    fields = card.model_dump() | ({} if image is None else {"mean": image})
    return LoadedModel(module=module, target_layer=known["target_layer"], **fields)


def _build(path: Path, card: Card, tensors: dict[str, Tensor], *, outputs: int) -> nn.Module:
    """Build the model of a card and load its weights; first on the meta device, since options from anyone may ask for terabytes."""
    options = card.options
    try:
        with torch.random.fork_rng(devices=[]):  # the initial weights are overwritten: keep the caller's generator
            with torch.device("meta"):
                _check_fit(path, create_model(card.name, outputs, card.channels, **options).state_dict(), tensors)
            module = create_model(card.name, outputs, card.channels, **options).eval()
        module.load_state_dict(tensors)
        with torch.inference_mode():
            answer = module(torch.zeros(1, card.channels, card.size, card.size))
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001 - builders and layers raise anything, given options of another type or size
        what = f"its card's options {str(options)[:80]} and size {card.size} fit no model ({' '.join(str(error).split())[:120]})"
        raise InputError(f"{path}: {what}; train the run again") from None
    if tuple(answer.shape) != (1, outputs):
        raise InputError(f"{path}: its model returns {tuple(answer.shape)} for one face, its card needs {(1, outputs)}; train the run again")
    return module


def read_weights(path: Path) -> tuple[dict[str, Tensor], Card]:
    """Return the tensors and the card of a file written by `save_model`, without building the model.

    Raises:
        InputError: A file that is missing, truncated or foreign, or whose card is incomplete.
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
    return tensors, _checked_card(path, card)


def _checked_card(path: Path, card: Any) -> Card:
    try:
        checked = Card.model_validate(card)
    except ValidationError as errors:
        names = [str(error["loc"][0]) for error in errors.errors() if error["loc"]]
        if not names:
            wrong = f"its card is no dict but {type(card).__name__}"
        elif missing := [name for name in names if name not in card]:
            wrong = f"its card lacks {', '.join(missing)}"
        else:
            wrong = f"`{names[0]}` of its card is {repr(card[names[0]])[:60]}, expected {Card.model_fields[names[0]].description}"
        raise InputError(f"{path}: {wrong}; train the run again") from None
    for name in ("mean", "std"):
        if len(card[name]) != checked.channels:
            raise InputError(f"{path}: `{name}` of its card is {card[name]}, expected {checked.channels} numbers; train the run again")
    return checked


def _check_mean_image(path: Path, image: Tensor | None, card: Card) -> None:
    shape = (card.channels, card.size, card.size)
    if image is not None and (tuple(image.shape) != shape or not torch.isfinite(image).all()):
        raise InputError(f"{path}: its mean image is {tuple(image.shape)}, expected {shape} of finite numbers; train the run again")


def _check_fit(path: Path, expected: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Name the first tensor that is missing, unknown, of another shape or not finite."""
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
