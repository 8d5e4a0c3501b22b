"""Architectures: does the stated one have the stated parameters, and do the pretrained weights fit it?

Models are built without memory for their weights (PyTorch's meta device), so a count costs milliseconds after PyTorch's start.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ferlab.evaluation.claims.schema import FAILS, HOLDS, OPEN, Claim, Context, Finding, Record

MILLIONS = re.compile(r"(\d+)(?:\.(\d+))?M")


def _count(text: str) -> str:
    if not MILLIONS.fullmatch(text):
        raise ValueError(f"expected millions as printed, e.g. 37.8M, got {text!r}")
    return text


class Build(Record):
    """A model of the registry."""

    family: str
    model: str
    num_classes: int | None = Field(None, ge=2)
    channels: int | None = Field(None, ge=1)
    options: dict[str, Any] = {}


class Architecture(Claim):
    """A stated number of parameters or of inputs of the first dense layer, and the readings of the text."""

    check: Literal["architecture"]
    parameters: Annotated[str, AfterValidator(_count)] | None = None  # as printed
    dense_inputs: int | None = None
    family: str
    model: str
    readings: tuple[dict[str, Any], ...] = ({},)  # options that the text allows

    @model_validator(mode="after")
    def _one_number(self) -> Architecture:
        if (self.parameters is None) == (self.dense_inputs is None):
            raise ValueError("expected one of `parameters` and `dense_inputs`")
        return self


class Transfer(Claim):
    """That pretrained weights were used but for the layers that are named."""

    check: Literal["transfer"]
    built: Build
    pretrained: Build
    retrained: int = Field(2, ge=0)  # layers that were trained anew: the first and the last


def key_of(build: Build) -> str:
    """Return what names a build among measured ones."""
    return json.dumps([build.model, build.num_classes, build.channels, build.options], sort_keys=True)


def builds_of(claims: Iterable[Claim]) -> list[Build]:
    """Return the models that claims need."""
    builds: list[Build] = []
    for claim in claims:
        if isinstance(claim, Architecture):
            builds += _readings(claim)
        elif isinstance(claim, Transfer):
            builds += [claim.built, claim.pretrained]
    return builds


def measure(build: Build) -> dict[str, Any]:
    """Build a model and return its trainable `parameters`, `with_statistics` (those of batch normalisation counted), and the shape of each weight.

    Raises:
        InputError: An unknown model or option, or a model of another family.
    """
    import torch  # Keep: a page whose result is taken starts no PyTorch

    from ferlab.models.create import count_parameters, create_model, model_card

    model_card(build.model, family=build.family)
    with torch.device("meta"):
        module = create_model(build.model, build.num_classes, build.channels, **build.options)
    statistics = sum(buffer.numel() for name, buffer in module.named_buffers() if name.endswith(("running_mean", "running_var")))
    shapes = {name: list(each.shape) for name, each in module.named_parameters() if name.endswith("weight") and each.dim() > 1}
    return {"parameters": (count := count_parameters(module)), "with_statistics": count + statistics, "shapes": shapes}


def check_architecture(claim: Architecture, context: Context) -> list[Finding]:
    """Build each reading of the text and compare its number with the printed one."""
    builds = _readings(claim)
    sizes = [_measured(build, context) for build in builds]
    if claim.dense_inputs is not None:
        values = [next(shape[1] for shape in of["shapes"].values() if len(shape) == 2) for of in sizes]
        fits, stated = [value == claim.dense_inputs for value in values], f"{claim.dense_inputs:,} inputs of the first dense layer"
        shown = [f"{value:,}" for value in values]
    else:
        fits = [_prints(of["parameters"], str(claim.parameters)) or _prints(of["with_statistics"], str(claim.parameters)) for of in sizes]
        stated, shown = f"{claim.parameters} parameters", [f"{of['parameters'] / 1e6:.2f}M" for of in sizes]
    verdict = HOLDS if all(fits) else OPEN if any(fits) else FAILS
    marks = [" (fits)" if fit and verdict == OPEN else "" for fit in fits]
    told = "; ".join(f"{_named(build)}{value}{mark}" for build, value, mark in zip(builds, shown, marks))
    note = " The text leaves these readings open." if verdict == OPEN else ""
    return [Finding(f"{stated} of the stated network", verdict, f"Built and counted: {told}.{note}")]


def check_transfer(claim: Transfer, context: Context) -> list[Finding]:
    """Compare the shapes of all layers with those of the pretrained network."""
    built, pretrained = (_measured(build, context)["shapes"] for build in (claim.built, claim.pretrained))
    names = list(built)
    anew = {names[0], names[-1]} if claim.retrained else set()
    off = [f"{name} {_shape(built[name])} (pretrained {_shape(pretrained.get(name))})" for name in names if built[name] != pretrained.get(name)]
    others = [text for name, text in zip([n for n in names if built[n] != pretrained.get(n)], off) if name not in anew]
    told = f"Of {len(names)} layers {len(off)} differ in shape from the pretrained network"
    if others:
        told += f", besides the first and the last also {'; '.join(others)}: weights of that shape cannot be loaded"
    return [Finding("pretrained weights fit all layers that were not retrained", FAILS if others else HOLDS, f"{told}.")]


def _readings(claim: Architecture) -> list[Build]:
    return [Build(family=claim.family, model=claim.model, options=options) for options in claim.readings]


def _measured(build: Build, context: Context) -> dict[str, Any]:
    return dict(context.sizes.get(key_of(build)) or measure(build))


def _prints(count: int, stated: str) -> bool:
    decimals = len((MILLIONS.fullmatch(stated) or re.match("()()", ""))[2] or "")  # type: ignore[index]
    return f"{count / 1e6:.{decimals}f}M" == stated


def _named(build: Build) -> str:
    options = ", ".join(f"{key} {value}" for key, value in build.options.items())
    return f"{build.model}{f' ({options})' if options else ''} "


def _shape(shape: list[int] | None) -> str:
    return "×".join(map(str, shape)) if shape else "absent"
