"""Build a model by its name in the registry; of the families' files only its own is imported."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from ferlab.models.registry import MODELS
from ferlab.params import nearest
from ferlab.paths import InputError

FOR_ALL = ("channels", "size")  # options of every model


def create_model(name: str, num_classes: int | None = None, in_channels: int | None = None, **options: Any) -> nn.Module:
    """Build a model with initial weights from torch's global generator.

    Args:
        name: A key of MODELS.
        num_classes: K, the width of the last layer; None: the paper's own.
        in_channels: C of the input; None: the option `channels`, or the paper's own.
        **options: Those of its card and builder; and for any model `channels`, and `size`, H and W of its input.

    Returns:
        A module in training mode, from float32 (N, C, H, W) to logits (N, K). Other shapes raise a ValueError.

    Raises:
        InputError: An unknown name or option, with its nearest neighbour; a size or a value that the card or the builder does not allow.
    """
    card = model_card(name)
    for option in options:
        if option not in card["options"] and option not in FOR_ALL:
            raise InputError(f"model {name!r}: unknown option {option!r}; {nearest(option, [*FOR_ALL, *card['options']])}")
    own_channels, size = input_shape(name, options)
    own = {option: value for option, value in options.items() if option in card["options"]}
    module_name, builder = card["build"].split(":")
    build = getattr(importlib.import_module(f"ferlab.models.{module_name}"), builder)
    classes = card["num_classes"] if num_classes is None else num_classes
    channels = own_channels if in_channels is None else in_channels
    if classes < 1 or channels < 1:
        raise InputError(f"model {name!r}: expected at least 1 class and 1 channel, got {classes} and {channels}")
    module = build(classes, channels, **own)
    fixed = str(size) if "size" in card["options"] else card["sizes"]
    module.register_forward_pre_hook(partial(_check_faces, name=name, channels=channels, sizes=fixed))
    return module


def input_shape(name: str, options: Mapping[str, Any]) -> tuple[int, int]:
    """Return C and the side of a model's input, by its options `channels` and `size` or as in the paper.

    Raises:
        InputError: A size that the card does not allow; channels other than 1 and 3.
    """
    card = model_card(name)
    channels, size = options.get("channels", card["channels"]), options.get("size", card["input_size"])
    if not isinstance(size, int) or not _allowed(size, card["sizes"]):
        raise InputError(f"model {name!r} takes faces of {_in_words(card['sizes'])} pixels a side, got size {size!r}")
    if channels not in (1, 3):
        raise InputError(f"model {name!r} takes grey faces (1 channel) or colour (3), got channels {channels!r}")
    return channels, size


def model_card(name: str, *, family: str | None = None) -> dict[str, Any]:
    """Return the card of a model.

    Args:
        name: A key of MODELS.
        family: The run's `family`, whose file makes the run stale when it changes; None: unchecked.

    Raises:
        InputError: An unknown name, with its nearest neighbour, or a family that is not the card's.
    """
    if name not in MODELS:
        raise InputError(f"no model is called {name!r}; {nearest(name, MODELS)}")
    if family is not None and family != MODELS[name]["family"]:
        raise InputError(f"model {name!r} is of the family {MODELS[name]['family']!r}, params.yaml says {family!r}; correct `family` of the run")
    return MODELS[name]


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def _allowed(size: int, sizes: str) -> bool:
    """Return whether a card's `sizes` include this one."""
    return size >= int(sizes[:-1]) if sizes.endswith("-") else str(size) in sizes.split()


def _in_words(sizes: str) -> str:
    return f"{sizes[:-1]} or more" if sizes.endswith("-") else " or ".join(sizes.split())


def _check_faces(_: nn.Module, inputs: tuple[Any, ...], *, name: str, channels: int, sizes: str) -> None:
    """Refuse faces of another shape, naming the model and the expected one."""
    shape = tuple(inputs[0].shape)
    if len(shape) != 4 or shape[1] != channels or shape[2] != shape[3] or not _allowed(int(shape[2]), sizes):
        wanted = f"float32 (N, {channels}, H, W) with H and W of {_in_words(sizes)}"
        raise ValueError(f"model {name!r} expects faces {wanted}, got {shape}")
