"""Build a net by its name in the registry. Imports the one family file that is asked for, and no other."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from ferlab.models.registry import MODELS
from ferlab.params import nearest
from ferlab.paths import InputError


def create_model(name: str, num_classes: int | None = None, in_channels: int | None = None, **options: Any) -> nn.Module:
    """Build a net with fresh weights, drawn from torch's global generator.

    Args:
        name: A key of MODELS.
        num_classes: K, the width of the last layer; None means the paper's own.
        in_channels: C of the input; None means the paper's own.
        **options: The net's own options, see its card.

    Returns:
        A module from float32 (N, C, H, W) to logits (N, K), in training mode; H and W are the card's input_size.

    Raises:
        InputError: An unknown name or option, with its nearest neighbour, or a value the builder refuses.
    """
    card = model_card(name)
    for option in options:
        if option not in card["options"]:
            raise InputError(f"model {name!r}: unknown option {option!r}; {nearest(option, card['options'])}")
    module_name, builder = card["build"].split(":")
    build = getattr(importlib.import_module(f"ferlab.models.{module_name}"), builder)
    classes = card["num_classes"] if num_classes is None else num_classes
    channels = card["channels"] if in_channels is None else in_channels
    if classes < 2 or channels < 1:
        raise InputError(f"model {name!r}: expected at least 2 classes and 1 channel, got {classes} and {channels}")
    return build(classes, channels, **options)


def model_card(name: str, *, family: str | None = None) -> dict[str, Any]:
    """Return the card of a net.

    Args:
        name: A key of MODELS.
        family: What a run calls the net's family; None leaves it unchecked. It names the file whose change makes the run stale,
            so a wrong one is refused.

    Raises:
        InputError: An unknown name, with its nearest neighbour, or a family that is not the card's.
    """
    if name not in MODELS:
        raise InputError(f"no model is called {name!r}; {nearest(name, MODELS)}")
    if family is not None and family != MODELS[name]["family"]:
        raise InputError(f"model {name!r} is of the family {MODELS[name]['family']!r}, params.yaml says {family!r}; mend `family` of the run")
    return MODELS[name]


def count_parameters(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
