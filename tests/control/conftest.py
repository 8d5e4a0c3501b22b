from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from ferlab.control import FaceSpec, sample_identity


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures black, where only the table is asked about."""
    monkeypatch.setattr("ferlab.control.source.draw_image", lambda spec, size, colour: np.zeros((size, size), np.uint8))


@pytest.fixture
def plain_spec() -> Callable[..., FaceSpec]:
    """A frontal, evenly lit face without noise, beard, glasses or occluder, with the action units asked for."""

    def build(subject: int = 0, action_units: dict[int, float] | None = None, **changes: object) -> FaceSpec:
        who = dataclasses.replace(sample_identity(0, subject), beard="none", glasses=False, hair="bald")
        units = action_units or {}
        spec = FaceSpec(expression="neutral", intensity=0.0, action_units=units, identity=who)
        return dataclasses.replace(spec, **changes)

    return build
